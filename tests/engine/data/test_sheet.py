"""Contact sheets: the pictures by which a wrong crop or a mixed-up class is seen must not be wrong themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.data.layouts import list_videos
from engine.data.prepare import prepare
from engine.data.sampling import Sampling
from engine.data.sheet import CAPTION, GAP, MARGIN, pick, save_preview, save_sheet, strips
from engine.data.store import ClipStore
from engine.errors import UsageError
from tests.videos import write_dataset


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sheet")
    write_dataset(folder / "s", ("walk", "[red]run\x1b"), each=4, length=8)
    prepare(list_videos("folders", folder / "s"), folder / "c.h5", Sampling(6, 32))
    return folder / "c.h5"


def test_strips_are_the_clips_frames_side_by_side(file: Path) -> None:
    """First and last frame are among those shown, in their order, and the video is named."""
    with ClipStore.open(file) as store:
        for label in (0, 1):
            chosen = pick(store, "train", label, 2, seed=3)
            found = strips(store, [label], clips=2, frames=3, seed=3)
            assert len(found) == 2 and {strip.name for strip in found} == {store.classes[label]}
            for index, strip in zip(chosen.tolist(), found, strict=True):
                clip = store.split("train").clips([index])[0]
                assert np.array_equal(strip.pixels, np.concatenate([clip[0], clip[2], clip[5]], axis=1))
                assert strip.video == store.video_names[int(store.split("train").video[index])]
                assert store.split("train").labels[index] == label


def test_a_seed_decides_what_is_shown(file: Path) -> None:
    """Two people who speak of a sheet must see the same one."""
    with ClipStore.open(file) as store:
        draws = [tuple(pick(store, "train", 0, 3, seed).tolist()) for seed in (0, 0, 1, 2, 3)]
        assert draws[0] == draws[1] and len(set(draws)) > 1
        assert all(len(set(draw)) == len(draw) == 3 for draw in draws)


def test_the_picture_holds_the_strips(file: Path, tmp_path: Path) -> None:
    """Pixel for pixel, under captions; an existing file is kept."""
    with ClipStore.open(file) as store:
        rows = [strips(store, [label], clips=2, frames=2) for label in (0, 1)]
    size = save_sheet(tmp_path / "a.png", rows)
    sheet = np.asarray(Image.open(tmp_path / "a.png"))
    assert sheet.shape == (size[1], size[0], 3)
    for row, found in enumerate(rows):
        for column, strip in enumerate(found):
            height, width = strip.pixels.shape[:2]
            top = MARGIN + row * (height + CAPTION + GAP) + CAPTION
            left = MARGIN + column * (width + GAP)
            assert np.array_equal(sheet[top : top + height, left : left + width], strip.pixels)
    with pytest.raises(UsageError, match="exists"):
        save_sheet(tmp_path / "a.png", rows)
    save_sheet(tmp_path / "a.png", rows, overwrite=True)


def test_previews_are_what_the_gallery_reads(file: Path, tmp_path: Path) -> None:
    """The dashboard plays them; a class with fewer clips than films repeats its own."""
    with ClipStore.open(file) as store:
        save_preview(tmp_path / "p.npz", store, clips=5)
        with np.load(tmp_path / "p.npz", allow_pickle=False) as arrays:
            classes, clips = arrays["classes"], arrays["clips"]
        assert clips.shape == (2, 5, 6, 32, 32, 3) and clips.dtype == np.uint8
        own = store.split("train").clips(pick(store, "train", 1, 5, 0))
        assert np.array_equal(clips[1, :3], own) and np.array_equal(clips[1, 3], own[0])
    assert "\x1b" not in "".join(classes)
