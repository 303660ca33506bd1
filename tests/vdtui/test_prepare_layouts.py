"""`vdtui prepare` as a user types it: every layout from real files to a clips file, every refusal in plain words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from tests.layouts import MAKERS, frame_folder, make_hmdb51, make_ucf101, real_video, write_lines
from tests.vdtui.test_cli import typed
from tests.videos import grey_ramp, write_video

ROOT = Path(__file__).parents[2]
VDTUI = [sys.executable, "-c", "import sys; sys.argv[0] = 'vdtui'; from vdtui.cli.main import main; main()"]
SMALL = ("--frames", "4", "--size", "32", "--workers", "0")

EXPECTED = {
    # layout: classes, videos of train, val and test, videos not on the disk
    "hmdb51": (["brush_hair", "wave"], {"train": 6, "test": 4}, 0),
    "ucf101": (["ApplyEyeMakeup", "Archery", "Biking"], {"train": 9, "test": 3}, 0),
    "miniucf101": (["ApplyEyeMakeup", "Biking"], {"train": 6, "test": 2}, 0),
    "kinetics400": (["air drumming", "zumba"], {"train": 4, "test": 2}, 4),
    "ssv2": (["Pushing something left", "Dropping something into something"], {"train": 4, "test": 2}, 0),
    "folders": (["run", "walk"], {"train": 6, "test": 2}, 0),
    "table": (["run", "walk"], {"train": 4, "test": 2}, 0),
}


def vdtui(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VDTUI, *words], cwd=folder, env=environment(), capture_output=True, text=True, timeout=120)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def refused(result: subprocess.CompletedProcess[str], *words: str) -> str:
    """Exit code 2 and two plain lines, or more where a tree is shown; no traceback."""
    assert result.returncode == 2, (result.returncode, result.stderr)
    lines = result.stderr.strip().splitlines()
    assert lines[0].startswith("error: ") and lines[1].startswith("hint: "), result.stderr
    assert "Traceback" not in result.stderr and not result.stdout
    for word in words:
        assert word in result.stderr, (word, result.stderr)
    return result.stderr


@pytest.mark.parametrize("layout", EXPECTED)
def test_every_layout_becomes_a_clips_file(tmp_path: Path, layout: str) -> None:
    """A data set as it comes off the disk, one command, and the counts that its authors gave it."""
    MAKERS[layout](tmp_path / "source", real_video)
    extra = ["--test-fraction", "0.25"] if layout == "folders" else []
    result = vdtui(tmp_path, "prepare", layout, "--source", "source", *SMALL, *extra, "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    classes, videos, missing = EXPECTED[layout]
    assert (summary["classes"], summary["videos"], summary["missing"]) == (classes, videos, missing)
    assert summary["skipped"] == [] and summary["layout"] == layout
    name = "source" if layout in ("folders", "table") else layout
    with h5py.File(tmp_path / f"{summary['dataset']}.h5") as file:
        assert (file.attrs["layout"], file.attrs["frames"], file.attrs["height"]) == (layout, 4, 32)
        spacing = json.loads(file.attrs["sampling"])["spacing"]
        published = {"kinetics400": ("fps", 0), "ssv2": ("uniform", 0)}.get(layout, ("interval", 4))
        assert (spacing, file.attrs["interval"]) == published
        assert {split: len(file[split]["clips"]) for split in videos} == videos
    assert summary["dataset"] in (name, "clips")


@pytest.mark.parametrize("layout", ["hmdb51", "ucf101", "ssv2"])
def test_folders_of_frames_do_as_well(tmp_path: Path, layout: str) -> None:
    """The frame archives that people have, with the public split files."""
    MAKERS[layout](tmp_path / "source", frame_folder)
    result = vdtui(tmp_path, "prepare", layout, "--source", "source", "--output", "f.h5", *SMALL, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["videos"] == EXPECTED[layout][1]


def test_another_split_and_the_unused_third(tmp_path: Path) -> None:
    """The published 5,236 are the official train list with the unused videos added."""
    make_hmdb51(tmp_path / "source", real_video)
    words = ("prepare", "hmdb51", "--source", "source", *SMALL, "--json")
    second = json.loads(vdtui(tmp_path, *words, "--split", "2", "--unused", "train").stdout)
    assert second["videos"] == {"train": 8, "test": 4} and second["split"] == 2
    assert Path(second["path"]).name == "hmdb51-split2.h5"
    refused(vdtui(tmp_path, *words, "--split", "4"), "--split")
    refused(vdtui(tmp_path, "prepare", "ucf101", "--source", "source", "--unused", "train"), "--unused")


def test_a_wrong_folder_shows_the_tree_and_the_right_layout(tmp_path: Path) -> None:
    """The commonest mistake of all."""
    make_ucf101(tmp_path / "source")
    text = refused(vdtui(tmp_path, "prepare", "hmdb51", "--source", "source"), "prepare ucf101")
    assert "Expected" in text and "_test_split1.txt" in text
    assert not list(tmp_path.glob("*.h5*"))


def test_bad_options_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    """Each in two lines that name the option."""
    MAKERS["folders"](tmp_path / "source", real_video)
    for words, named in (
        (("--interval", "2", "--fps", "3"), "--interval"),
        (("--placement", "sliding"), "stride"),
        (("--placement", "sideways"), "sideways"),
        (("--resize", "big"), "big"),
        (("--clips-per-video", "0"), "--clips-per-video"),
        (("--frames", "0"), "--frames"),
        (("--uniform", "--stride", "2"), "slide"),
        (("--size", "9999"), "--size"),
        (("--compression", "zip"), "zip"),
    ):
        refused(typed(tmp_path, "prepare", "folders", "--source", "source", *words), named)
    refused(typed(tmp_path, "prepare", "nosuch", "--source", "source"), "hmdb51")
    refused(typed(tmp_path, "prepare", "hmdb51"), "--source")


def test_bad_files_are_skipped_and_named(tmp_path: Path) -> None:
    """What went in, and what did not."""
    MAKERS["folders"](tmp_path / "source", real_video)
    for name, content in (("broken.mp4", b"\x00" * 5000), ("empty.mp4", b""), ("text.avi", b"hello\n")):
        (tmp_path / "source/run" / name).write_bytes(content)
    real_video(tmp_path / "outside.mp4")
    (tmp_path / "source/walk/link.mp4").symlink_to(tmp_path / "outside.mp4")
    words = ("prepare", "folders", "--source", "source", "--output", "s.h5", *SMALL, "--json")
    refused(vdtui(tmp_path, *words), "--max-skipped")
    summary = json.loads(vdtui(tmp_path, *words, "--max-skipped", "50").stdout)
    assert {Path(name).name for name, _ in summary["skipped"]} == {"broken.mp4", "empty.mp4", "text.avi", "link.mp4"}
    followed = json.loads(vdtui(tmp_path, *words, "--max-skipped", "50", "--follow-links", "--overwrite").stdout)
    assert "link.mp4" not in {Path(name).name for name, _ in followed["skipped"]}


def test_stretches_of_a_film(tmp_path: Path) -> None:
    """A table may cut one file into many videos."""
    write_video(tmp_path / "t/film.mp4", grey_ramp(40), fps=10)
    lines = ["path,label,split,start,end", "film.mp4,a,train,0,1", "film.mp4,b,train,1,2"]
    lines += ["film.mp4,a,test,2,3", "film.mp4,b,test,3,"]
    write_lines(tmp_path / "t/scenes.csv", lines)
    result = vdtui(tmp_path, "prepare", "table", "--source", "t/scenes.csv", *SMALL, "--interval", "1", "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    with h5py.File(tmp_path / summary["path"]) as file:
        greys = [round(float(clip.mean())) for split in ("train", "test") for clip in file[split]["clips"][()]]
    assert greys == sorted(greys) and greys[0] < 50 < 100 < greys[-1]


def test_an_interrupted_prepare_goes_on(tmp_path: Path) -> None:
    """Kinetics takes hours: Ctrl+C, or a lost connection, must not cost them."""
    for number in range(40):
        frames = grey_ramp(60, height=240, width=320, start=number)
        write_video(tmp_path / f"source/{'ab'[number % 2]}/{number}.mp4", frames)
    words = ["prepare", "folders", "--source", "source", "--output", "c.h5", "--frames", "16", "--workers", "1"]
    process = subprocess.Popen([*VDTUI, *words], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    log, end = tmp_path / "c.h5.partial" / "videos.jsonl", time.monotonic() + 60
    while (
        not (tmp_path / "c.h5.partial" / "clips.raw").exists()
        or not (tmp_path / "c.h5.partial/clips.raw").stat().st_size
    ):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130 and "same command again" in text
    done = len(log.read_text().splitlines())
    result = vdtui(tmp_path, *words, "--json")
    assert json.loads(result.stdout)["resumed_videos"] == done > 0
    refused(vdtui(tmp_path, *words), "--overwrite")


def test_distill_says_which_data_it_wants(tmp_path: Path) -> None:
    """The first thing that somebody who has read a paper types."""
    text = refused(vdtui(tmp_path, "distill", "--preset", "hmdb51-ipc5", "--plain"), "hmdb51.h5", "serre-lab")
    assert "vdtui prepare hmdb51 --source DIR" in text
    (tmp_path / "hmdb51.h5").write_bytes(b"not one")
    refused(vdtui(tmp_path, "distill", "--preset", "hmdb51-ipc5", "--plain"), "hmdb51.h5 is not a clips file")
