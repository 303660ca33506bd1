"""Data against preset: a run that cannot work is refused in a second, not after an hour."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.config import load_preset
from engine.data import check
from engine.data.check import check_data, needed_path, open_checked
from engine.data.recipe import other_data
from engine.data.store import ClipStore
from engine.errors import DataError, PresetError
from engine.models import ConvNet3D
from tests.tiny import PYTHON, ROOT


@dataclasses.dataclass
class FakeSplit:
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def by_class(self, label: int) -> np.ndarray:
        return np.flatnonzero(self.labels == label)


@dataclasses.dataclass
class FakeStore:
    """What a store says of its clips."""

    frames: int = 8
    height: int = 64
    width: int = 64
    interval: int = 2
    official_split: int = 1
    layout: str = "folders"
    classes: tuple[str, ...] = ("run", "jump")
    train: tuple[int, ...] = (0, 1, 1)
    test: tuple[int, ...] = (0,)
    closed: bool = False

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "test")

    def split(self, name: str) -> FakeSplit:
        return FakeSplit(np.array({"train": self.train, "test": self.test}[name]))

    def close(self) -> None:
        self.closed = True


def opened(monkeypatch: pytest.MonkeyPatch, store: FakeStore, overrides: dict[str, Any] | None = None) -> Any:
    monkeypatch.setattr(ClipStore, "open", classmethod(lambda cls, path: store))
    return open_checked(Path("data.h5"), load_preset("default", overrides or {}))


def test_data_that_fits_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing said, any; with the right things said, too."""
    store = FakeStore()
    assert opened(monkeypatch, store) is store
    said = {"dataset.frames": 8, "dataset.size": 64, "dataset.interval": 2, "dataset.split": 1}
    assert opened(monkeypatch, store, said) is store and not store.closed


@pytest.mark.parametrize(("name", "found"), [("frames", 8), ("size", 64), ("interval", 2), ("split", 1)])
def test_a_difference_is_named_with_both_ways_out(monkeypatch: pytest.MonkeyPatch, name: str, found: int) -> None:
    """Results on clips of another shape are not those of the preset."""
    with pytest.raises(DataError) as caught:
        opened(monkeypatch, FakeStore(), {f"dataset.{name}": 99})
    assert name in caught.value.problem and str(found) in caught.value.problem and "99" in caught.value.problem
    assert f"--{name} 99" in caught.value.hint and f"dataset.{name}={found}" in caught.value.hint


def test_data_of_no_official_split_are_none_of_a_preset_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other test videos than the published number's: a comparison that means nothing."""
    with pytest.raises(DataError, match="split 0, but the preset wants 2"):
        opened(monkeypatch, FakeStore(official_split=0), {"dataset.split": 2})


def test_frames_spaced_in_another_way_have_no_interval_to_prepare_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--interval 0` is refused by prepare; the hint must be one that works."""
    with pytest.raises(DataError) as caught:
        opened(monkeypatch, FakeStore(), {"dataset.interval": 0})
    assert "--interval" not in caught.value.hint and "--uniform" in caught.value.hint


@pytest.mark.parametrize(
    ("store", "word"),
    [
        (FakeStore(width=80), "square"),
        (FakeStore(height=32, width=32), "small"),
        (FakeStore(frames=4), "small"),
        (FakeStore(train=(0, 0)), "'jump'"),
        (FakeStore(test=()), "test"),
    ],
    ids=["not square", "few pixels", "few frames", "empty class", "no test"],
)
def test_what_cannot_work_is_refused(monkeypatch: pytest.MonkeyPatch, store: FakeStore, word: str) -> None:
    """Clips that vanish in the network, a class without clips, nothing to test on."""
    with pytest.raises(DataError) as caught:
        opened(monkeypatch, store)
    assert word in caught.value.problem and caught.value.hint


@pytest.mark.parametrize("size", [65, 80, 96, 106])
def test_sizes_between_the_published_ones_are_taken(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The reference's pooling fails there; a size that passes this check must not end the run in its first pass."""
    opened(monkeypatch, FakeStore(height=size, width=size))
    with torch.device("meta"):
        assert ConvNet3D(3, 8, size)(torch.empty(2, 3, 8, size, size)).shape == (2, 3)


def test_no_data_says_how_to_make_it() -> None:
    """The first thing that a new user meets."""
    with pytest.raises(PresetError) as caught:
        check_data(load_preset("default"))
    assert "vdtui prepare" in caught.value.hint and "--data" in caught.value.hint


def test_the_demo_needs_none() -> None:
    """`vdtui distill --preset demo` works out of the box."""
    check_data(load_preset("demo"))


def test_the_file_is_closed_after_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dashboard checks on every keystroke of a form."""
    store = FakeStore()
    monkeypatch.setattr(ClipStore, "open", classmethod(lambda cls, path: store))
    check_data(load_preset("default", {"dataset.path": "x.h5"}))
    assert store.closed
    assert needed_path(load_preset("default", {"dataset.path": "x.h5"})) == "x.h5"


def test_a_refused_file_is_closed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each refusal in a form keeps a file open, which can then be neither replaced nor, on some disks, removed."""
    store = FakeStore(test=())
    with pytest.raises(DataError):
        opened(monkeypatch, store)
    assert store.closed


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    """Before a worker is started."""
    with pytest.raises(DataError, match="no clips file"):
        check_data(load_preset("default", {"dataset.path": str(tmp_path / "gone.h5")}))


def test_limits_are_those_of_the_network() -> None:
    """Written down twice, since checking works without torch: they must stay the same."""
    from engine.models import convnet3d

    assert (check.MIN_SIZE, check.MIN_FRAMES) == (convnet3d.MIN_SIZE, convnet3d.MIN_FRAMES)


def test_checking_needs_no_torch() -> None:
    """`vdtui distill` refuses wrong data at once, not after seconds of imports."""
    code = "import sys, engine.data.check; sys.exit('torch' in sys.modules)"
    assert subprocess.run([PYTHON, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("layout", "classes", "told"),
    [
        ("kinetics400", 400, ""),
        ("folders", 3, "the preset is for kinetics400, and these clips were prepared as folders"),
        ("kinetics400", 3, "the preset is for kinetics400 with 400 classes, and these clips have 3"),
    ],
)
def test_clips_of_other_data_are_told(layout: str, classes: int, told: str) -> None:
    """The accuracy on a toy file would be quoted as one on Kinetics."""
    assert other_data(load_preset("kinetics400-ipc1").dataset, layout, classes) == told
    assert other_data(load_preset("default").dataset, layout, classes) == ""
