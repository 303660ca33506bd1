"""If these fail, other people's training code gets other clips than ours, or clips of another class."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from engine.data.layouts import LayoutOptions, list_videos
from engine.data.prepare import prepare
from engine.data.sampling import Sampling
from engine.data.store import ClipStore
from engine.errors import DataError, StorageError, UsageError
from engine.evaluation.evaluate import Questions, evaluate, find_source
from engine.export.clips import export_h5, export_pt
from engine.export.folders import export_folders
from engine.synthetic import LoadedSet
from tests.engine.export.made_up import noisy_set
from tests.tiny_run import make_clips

REACH = {"float32": 0.0, "float16": 2e-3, "uint8": 0.51}
"""float16 has 11 bits; a pixel is rounded."""


@pytest.fixture
def loaded() -> LoadedSet:
    return noisy_set(("red", "<i>green", "blue"))


def read(path: Path) -> dict[str, Any]:
    """What is in a file of either kind, by name."""
    if path.suffix == ".pt":
        return dict(torch.load(path, weights_only=True))
    with h5py.File(path) as file:
        texts = {name: json.loads(file.attrs[name]) for name in ("classes", "mean", "std", "provenance")}
        tensors = {name: torch.from_numpy(file[name][:]) for name in ("clips", "labels")}
        return texts | tensors | {"precision": file.attrs["precision"], "format": file.attrs["format"]}


@pytest.mark.parametrize("precision", REACH)
@pytest.mark.parametrize(("export", "name"), [(export_pt, "set.pt"), (export_h5, "set.h5")])
def test_every_clip_with_its_label(loaded: LoadedSet, tmp_path: Path, export: Any, name: str, precision: str) -> None:
    exported = export(loaded, tmp_path / name, precision)
    found, (clips, labels) = read(tmp_path / name), loaded.synthetic.expand()
    assert exported.files == (tmp_path / name,) and found["format"] == "vdtui.composed"
    assert found["classes"] == ["red", "<i>green", "blue"] and found["provenance"]["accuracy"] == 0.5
    assert torch.equal(found["labels"], labels) and found["clips"].shape == clips.shape
    assert str(found["clips"].dtype) == f"torch.{precision}" and found["precision"] == precision
    if precision == "uint8":
        mean, std = (torch.tensor(found[one]).view(3, 1, 1, 1) for one in ("mean", "std"))
        clips = ((clips * std + mean) * 255).clamp(0, 255)
    assert (found["clips"].double() - clips).abs().max() <= REACH[precision] * max(1.0, float(clips.abs().max()) / 255)
    again = tmp_path / f"again-{name}"
    export(loaded, again, precision)
    assert again.read_bytes() == exported.files[0].read_bytes()


@pytest.mark.parametrize(("export", "name"), [(export_pt, "set.pt"), (export_h5, "set.h5")])
def test_soft_labels_go_with_their_clips(loaded: LoadedSet, tmp_path: Path, export: Any, name: str) -> None:
    synthetic = loaded.synthetic
    synthetic.soft_labels = torch.rand(3, synthetic.ipc, 3)
    export(loaded, tmp_path / name)
    assert torch.equal(read(tmp_path / name)["labels"], synthetic.expand()[1])


@pytest.mark.parametrize(("export", "name"), [(export_pt, "set.pt"), (export_h5, "set.h5")])
def test_what_exists_is_kept_and_nothing_is_left_half(
    loaded: LoadedSet, tmp_path: Path, export: Any, name: str
) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        export(loaded, tmp_path / name)
    with pytest.raises(UsageError, match="precision"):
        export(loaded, tmp_path / f"new-{name}", "int3")
    assert (tmp_path / name).read_text() == "precious" and len(list(tmp_path.iterdir())) == 1
    export(loaded, tmp_path / name, overwrite=True)
    assert read(tmp_path / name)["labels"].shape == (3 * loaded.synthetic.clips_per_class,)


def test_a_disk_that_is_too_small_is_refused(
    loaded: LoadedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 would be cut off in the middle of it."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 0, 10))
    with pytest.raises(StorageError, match="MB"):
        export_h5(loaded, tmp_path / "set.h5")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("frames", [True, False])
def test_exported_folders_are_prepared_as_the_clips_they_were(loaded: LoadedSet, tmp_path: Path, frames: bool) -> None:
    """The way to every other tool of the field, and back: nothing is held out, and classes keep names and numbers."""
    synthetic = loaded.synthetic
    export_folders(loaded, tmp_path / "out", frames)
    spec = synthetic.spec
    listing = list_videos("folders", tmp_path / "out", LayoutOptions(test_fraction=0))
    assert {video.split for video in listing.videos} == {"train"}
    prepare(listing, tmp_path / "out.h5", Sampling(spec.frames, spec.height, interval=1))
    pixels, labels = spec.to_pixels(synthetic.expand()[0]).numpy(), synthetic.expand()[1].tolist()
    with ClipStore.open(tmp_path / "out.h5") as store:
        assert store.classes == spec.classes and store.splits == ("train",)
        assert any("no test videos" in note for note in store.notes)
        train = store.split("train")
        found = list(zip(train.clips(range(len(train))), train.labels.tolist(), strict=True))
    # Of videos of the same bytes, as variants of an instance may be, one is used.
    assert len(found) == (len(pixels) if frames else len({clip.tobytes() for clip in pixels}))
    for clip, label in found:
        own = [one for one, of in zip(pixels, labels, strict=True) if of == label]
        assert min(np.abs(clip.astype(int) - one).max() for one in own) <= (0 if frames else 2)


def test_clips_without_a_test_split_are_judged_on_those_of_another_file(tmp_path: Path) -> None:
    """`prepare folders --test-fraction 0` makes a training set; what it is worth is asked of other clips."""
    data = make_clips(tmp_path, per_class=4)
    with h5py.File(data) as file, h5py.File(tmp_path / "train.h5", "w", libver=("v108", "v110")) as alone:
        for name in file:
            if name != "test":
                file.copy(name, alone)
        alone.attrs.update(file.attrs)
    changes = ["evaluation.epochs=1", "evaluation.repeats=1"]
    source = find_source(str(tmp_path / "train.h5"), tmp_path, data, changes)
    (row,) = evaluate(source, tmp_path, Questions())
    assert row["what"] == "full" and sum(map(sum, row["confusion"])) == 4
    (tmp_path / "videos-of-mine").mkdir()
    with pytest.raises(UsageError) as told:
        find_source(str(tmp_path / "videos-of-mine"), tmp_path, data, changes)
    assert "vdtui prepare folders" in told.value.hint
    with pytest.raises(DataError) as refusal:
        list(evaluate(find_source(str(tmp_path / "train.h5"), tmp_path, None, changes), tmp_path, Questions()))
    assert "--data" in refusal.value.hint and "no test clips" in refusal.value.problem
