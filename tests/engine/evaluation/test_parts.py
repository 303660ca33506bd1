"""The clips of a preset in three parts: what a user loses here is that a number is measured on clips never learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.config import Preset, load_preset
from engine.data.batches import RealClips
from engine.data.store import ClipStore
from engine.errors import DataError
from engine.evaluation.parts import Parts, open_parts
from tests.tiny_run import make_clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("data"))


def opened(clips: Path, *changes: str) -> Parts:
    preset: Preset = load_preset("default", [f"dataset.path={clips}", "dataset.val_fraction=0.4", *changes])
    return open_parts(clips.parent, preset, torch.device("cpu"), lambda *_: None, lambda: None)


def videos(part: RealClips | None) -> set[int]:
    return set() if part is None else {int(video) for video in part.view.video}


def test_no_video_is_in_two_parts(clips: Path) -> None:
    """The iteration would be chosen by clips that the set was learned from, or the table would be of them."""
    with opened(clips) as parts:
        train, val, test = videos(parts.train), videos(parts.val), videos(parts.test)
        assert train and val and test
        assert not train & val and not train & test and not val & test
        assert len(train | val) == 6 and len(test) == 4  # of 5 videos a class, 3 are for training


@pytest.mark.parametrize("change", ["evaluation.protocol=vdsd", "dataset.val_fraction=0.0"])
def test_nothing_is_held_out_where_nothing_is_chosen_by_it(clips: Path, change: str) -> None:
    """A protocol that chooses on the test split would learn from fewer clips than was published."""
    with opened(clips, change) as parts:
        assert parts.val is None and len(videos(parts.train)) == 6


def test_a_network_that_cannot_take_the_clips_is_refused_before_anything(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be found out after hours, at the final table; and the file would stay open."""
    closed: list[bool] = []
    close = ClipStore.close
    monkeypatch.setattr(ClipStore, "close", lambda store: closed.append(True) or close(store))
    monkeypatch.setattr("engine.evaluation.parts.check_model", refuse)
    with pytest.raises(DataError):
        opened(clips)
    assert closed


def refuse(name: str, frames: int, size: int) -> None:
    assert (name, frames, size) == ("convnet3d", 8, 64)
    raise DataError("too small", "prepare larger ones")
