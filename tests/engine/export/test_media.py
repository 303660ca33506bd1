"""If these fail, a user's videos and pictures do not show the clips, or an export destroys somebody's files."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from engine.errors import StorageError, UsageError
from engine.export import encode
from engine.export.grid import BOUNDS, LEAST_CELL, fitted, plan
from engine.export.media import export_gif, export_mp4, export_png
from engine.export.output import Exported
from engine.export.pictures import class_clips, evenly, signed_levels, signed_palette
from engine.synthetic import ClipSpec, Pixels, StaticDynamic, StaticImages
from tests.engine.export.made_up import COLOURS, SCRIPT, make_set

MOVING = {"mp4": export_mp4, "gif": export_gif}
EXPORTS: dict[str, Callable[..., Exported]] = {**MOVING, "png": export_png}


@pytest.fixture
def small_set() -> StaticDynamic:
    """Three classes, four clips each, 4 x 16 x 16."""
    return make_set(("red", "green", SCRIPT))


def decoded(path: Path) -> np.ndarray:
    """All frames of a video or gif, (T, H, W, 3)."""
    if path.suffix == ".gif":
        return np.stack([np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(Image.open(path))])
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize("kind", MOVING)
def test_a_folder_has_every_clip_in_its_own_size_and_colours(
    small_set: StaticDynamic, kind: str, tmp_path: Path
) -> None:
    exported = MOVING[kind](small_set, tmp_path / "clips")
    index = json.loads((tmp_path / "clips" / "index.json").read_text())
    assert len(exported.files) == 3 * 4 + 1 and all(path.is_file() for path in exported.files)
    for row in index["classes"]:
        for number in range(1, 5):
            frames = decoded(tmp_path / "clips" / row["folder"] / f"{number}.{kind}").astype(int)
            assert frames.shape == (4, 16, 16, 3)
            expected = np.array(COLOURS[row["label"]]) + 20 * np.arange(4)[:, None]
            assert np.abs(frames[:, 4:12, 4:12].mean((1, 2)) - expected.clip(0, 255)).max() < 6


@pytest.mark.parametrize("kind", MOVING)
def test_a_file_is_one_grid_of_everything(small_set: StaticDynamic, kind: str, tmp_path: Path) -> None:
    exported = MOVING[kind](small_set, tmp_path / f"all.{kind}")
    frames = decoded(tmp_path / f"all.{kind}")
    layout = plan(3, 4, 16, 16, kind)
    assert exported.notes == () and layout.cells == 4 and 16 * layout.scale >= LEAST_CELL
    assert frames.shape == (4, *layout.size, 3)
    for label in range(3):
        top, left = (place + LEAST_CELL // 2 for place in layout.place(label, 3))
        assert np.abs(frames[0, top, left].astype(int) - COLOURS[label]).max() < 8
        caption = frames[0, top - 12 : top + 12, layout.place(label, 0)[1] - 60 : layout.place(label, 0)[1]]
        assert caption.max() > 180  # something bright is written there


def test_videos_and_gifs_run_at_the_speed_that_was_asked_for(small_set: StaticDynamic, tmp_path: Path) -> None:
    export_mp4(small_set, tmp_path / "a.mp4", fps=12.5)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(12.5)
    export_gif(small_set, tmp_path / "a.gif", fps=8)
    image = Image.open(tmp_path / "a.gif")
    delays = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
    assert sum(delays) == 500 and image.info["loop"] == 0  # 4 frames at 8 per second, for ever
    with pytest.raises(UsageError):
        export_gif(small_set, tmp_path / "b.gif", fps=100)
    with pytest.raises(UsageError):
        export_mp4(small_set, tmp_path / "b.mp4", fps=float("nan"))


def test_stills_are_exact(small_set: StaticDynamic, tmp_path: Path) -> None:
    export_png(small_set, tmp_path / "stills")
    sheet = np.array(Image.open(tmp_path / "stills" / "01_green" / "1.png"))
    static = np.array(Image.open(tmp_path / "stills" / "01_green" / "static-2.png"))
    assert (
        sheet.shape == (16, 4 * 16, 3) and (sheet == np.concatenate(list(class_clips(small_set, 1)[0]), axis=1)).all()
    )
    assert (static == COLOURS[1]).all()
    exported = export_png(small_set, tmp_path / "all.png")
    assert "1 of 4 clips" in exported.notes[0]
    assert Image.open(tmp_path / "all.png").size[::-1] == plan(3, 2 + 4, 16, 16, "png").size


def test_odd_sizes_and_other_kinds_of_sets_work(tmp_path: Path) -> None:
    spec = ClipSpec(("a",), 3, 15, 17, (0.5,) * 3, (0.25,) * 3)
    for name, synthetic in (
        ("pixels", Pixels(spec, torch.zeros(1, 1, 3, 3, 15, 17))),
        ("images", StaticImages(spec, torch.zeros(1, 2, 3, 15, 17))),
    ):
        for kind, export in EXPORTS.items():
            export(synthetic, tmp_path / f"{name}-{kind}")
            assert export(synthetic, tmp_path / f"{name}.{kind}").nbytes > 0
    assert decoded(tmp_path / "pixels-mp4" / "00_a" / "1.mp4").shape == (3, 16, 18, 3)


@pytest.mark.parametrize("kind", BOUNDS)
@pytest.mark.parametrize("classes", [1, 8, 101, 400, 5000])
@pytest.mark.parametrize("size", [16, 112, 224])
def test_grids_of_any_number_of_classes_stay_in_bounds(kind: str, classes: int, size: int) -> None:
    layout = plan(classes, 20, size, size, kind)
    height, width = layout.size
    assert height <= BOUNDS[kind][0] and width <= BOUNDS[kind][1] and height % 2 == width % 2 == 0
    assert 1 <= layout.classes <= classes
    places = {layout.place(row, cell) for row in range(layout.classes) for cell in range(layout.cells)}
    assert len(places) == layout.classes * layout.cells
    bottom, right = (max(place[axis] for place in places) + size * layout.scale for axis in (0, 1))
    assert bottom <= height and right <= width


def test_what_a_grid_leaves_out_is_said(tmp_path: Path) -> None:
    exported = export_gif(make_set([f"class {n}" for n in range(45)], size=240, frames=1), tmp_path / "many.gif")
    layout = plan(45, 4, 240, 240, "gif")
    assert layout.classes < 45 and f"{layout.classes} of 45 classes" in exported.notes[0]


HOSTILE = ["..", "/etc/passwd", "a/b", "a_b", "A/B", "", "nul\0", "CON", "x" * 300, SCRIPT, "\ud800", "index.json"]


def test_hostile_class_names_stay_inside_the_folder(tmp_path: Path) -> None:
    output = tmp_path / "inside" / "clips"
    exported = export_gif(make_set(HOSTILE, size=8, frames=2), output)
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]
    assert [path.name for path in (tmp_path / "inside").iterdir()] == ["clips"]
    assert len({path.parent for path in exported.files}) == len(HOSTILE) + 1
    assert all(path.resolve().is_relative_to(output.resolve()) and path.is_file() for path in exported.files)


@pytest.mark.parametrize("kind", EXPORTS)
def test_existing_outputs_are_refused_by_name_of_the_flag(small_set: StaticDynamic, kind: str, tmp_path: Path) -> None:
    for output in (tmp_path / f"all.{kind}", tmp_path / "clips"):
        EXPORTS[kind](small_set, output)
        with pytest.raises(UsageError) as refusal:
            EXPORTS[kind](small_set, output)
        assert "--overwrite" in refusal.value.hint
        EXPORTS[kind](small_set, output, overwrite=True)
    with pytest.raises(UsageError):
        EXPORTS[kind](small_set, tmp_path / "all.avi")


def test_overwrite_never_removes_files_that_no_export_wrote(small_set: StaticDynamic, tmp_path: Path) -> None:
    """`--output ~ --overwrite` must not cost anybody their home folder."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError):
        export_gif(small_set, home, overwrite=True)
    export_gif(small_set, tmp_path / "clips")
    (tmp_path / "clips" / "mine.txt").write_text("a note")
    with pytest.raises(UsageError) as refusal:
        export_gif(small_set, tmp_path / "clips", overwrite=True)
    assert "mine.txt" in refusal.value.problem
    assert (home / "thesis.tex").read_text() == "years of work" and (tmp_path / "clips" / "mine.txt").is_file()


def test_overwrite_leaves_nothing_of_the_earlier_export(tmp_path: Path) -> None:
    export_gif(make_set(("old", "kept"), size=8), tmp_path / "clips")
    export_gif(make_set(("kept", "new"), size=8), tmp_path / "clips", overwrite=True)
    assert {path.name for path in (tmp_path / "clips").iterdir()} == {"00_kept", "01_new", "index.json"}
    assert {path.name for path in tmp_path.iterdir()} == {"clips"}


@pytest.mark.parametrize("name", ["clips", "all.gif"])
def test_links_that_somebody_planted_send_nothing_elsewhere(
    small_set: StaticDynamic, name: str, tmp_path: Path
) -> None:
    """In a folder for all, such as one for results: the name of a draft could be foreseen from the process's number."""
    elsewhere, home = tmp_path / "elsewhere", tmp_path / "home"
    elsewhere.mkdir()
    home.mkdir()
    for planted in (f".vdtui-export-{os.getpid()}.tmp", f".all.{os.getpid()}-{threading.get_ident()}.tmp.gif"):
        (home / planted).symlink_to(elsewhere / ("" if planted.endswith(".tmp") else "file"))
    export_gif(small_set, home / name)
    assert (home / name).exists() and not list(elsewhere.iterdir())


@pytest.mark.parametrize("name", ["clips", "all.gif"])
def test_what_a_killed_export_left_goes_with_the_next_one(small_set: StaticDynamic, name: str, tmp_path: Path) -> None:
    """And nothing else that lies there."""
    left, other = (tmp_path / f".vdtui-{2**22 + 1}-00000000-{end}.tmp" for end in ("abcdefgh", "notours"))
    for folder in (left, other):
        folder.mkdir()
        os.utime(folder, (0, 0))
    export_gif(small_set, tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {name, other.name}


@pytest.mark.parametrize("name", ["clips", "all.gif"])
def test_a_failing_encoder_leaves_what_was_there(
    small_set: StaticDynamic, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complete or absent: an export that breaks off half way leaves the earlier one, and no rubbish beside it."""
    output = tmp_path / name
    export_gif(small_set, output)
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    calls = []

    def break_off(frames: object, fps: float) -> bytes:
        calls.append(1)
        if len(calls) > (5 if name == "clips" else 0):
            raise OSError(28, "No space left on device")
        return b"half"

    monkeypatch.setattr(encode, "gif", break_off)
    with pytest.raises((StorageError, OSError)):
        export_gif(small_set, output, overwrite=True)
    assert calls and {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    with pytest.raises((StorageError, OSError)):
        export_gif(small_set, tmp_path / f"new-{name}")
    assert not (tmp_path / f"new-{name}").exists()


def test_captions_fit_and_say_something() -> None:
    assert fitted("short", 150) == "short" and fitted("", 150) == "(no name)"
    assert fitted("w" * 400, 150).endswith("…") and "\n" not in fitted("two\nlines", 150)


def test_signed_maps_have_blue_below_and_red_above_zero() -> None:
    levels, most = signed_levels(np.array([-2.0, 0.0, 2.0], np.float32))
    low, zero, high = signed_palette()[levels].astype(int)
    assert low[2] > low[0] + 50 and high[0] > high[2] + 50 and np.ptp(zero) == 0 and most == pytest.approx(2, rel=0.02)
    assert evenly(3, 8) == [0, 1, 2] and evenly(100, 3) == [0, 50, 99]
