"""What a file is by what is in it, where its name does not tell."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.data.layouts import list_videos
from engine.data.looks import is_video, moves
from tests.layouts import touch
from tests.videos import grey_ramp, write_video


@pytest.mark.parametrize(
    "suffix", [".mp4", ".avi", ".mkv", ".webm", ".ts", ".mpg", ".flv", ".wmv", ".mov", ".h264", ".ivf"]
)
def test_containers_of_video_are_known_by_their_beginning(tmp_path: Path, suffix: str) -> None:
    codec = {
        ".mpg": "mpeg2video",
        ".flv": "flv",
        ".wmv": "wmv2",
        ".mov": "libx264",
        ".h264": "libx264",
        ".ivf": "libvpx",
    }
    path = write_video(tmp_path / f"v{suffix}", grey_ramp(8), codec.get(suffix), fps=25)
    assert is_video(str(path))


def test_what_is_no_video(tmp_path: Path) -> None:
    contents = [
        b"",
        b"x",
        b"label 1\n",
        b"RIFF\1\0\0\0WAVE",
        b"OggS" + bytes(30) + b"\x01vorbis",
        b"\0\0\0\x18ftypheic",
    ]
    for content in (*contents, np.random.default_rng(0).bytes(5000), b"ply\nformat ascii 1.0\n", bytes(64)[:3] + b"P"):
        (tmp_path / "x").write_bytes(content)
        assert not is_video(str(tmp_path / "x"))
    assert not is_video(str(tmp_path / "none"))
    assert not is_video(str(tmp_path))


def test_images_that_move(tmp_path: Path) -> None:
    pictures = [Image.fromarray(frame) for frame in grey_ramp(3)]
    for suffix in ("gif", "webp"):
        pictures[0].save(tmp_path / f"still.{suffix}")
        pictures[0].save(tmp_path / f"film.{suffix}", save_all=True, append_images=pictures[1:])
        assert moves(str(tmp_path / f"film.{suffix}")) and not moves(str(tmp_path / f"still.{suffix}"))
    assert not moves(str(tmp_path / "none.gif"))


def test_ogg_and_video_cd_are_not_passed_over(tmp_path: Path) -> None:
    """They are called like songs and tables of numbers, and were neither used, nor skipped, nor counted."""
    program_stream = write_video(tmp_path / "v.mpg", grey_ramp(8), "mpeg2video", fps=25).read_bytes()
    touch(tmp_path, "s/a/1.mp4", "s/a/numbers.dat", "s/a/song.ogg")
    (tmp_path / "s/a/AVSEQ01.DAT").write_bytes(program_stream)
    (tmp_path / "s/a/disc.dat").write_bytes(b"RIFF\0\0\0\0CDXAfmt " + bytes(20) + program_stream)
    (tmp_path / "s/a/theora.ogg").write_bytes(b"OggS\0\2" + bytes(22) + b"\x80theora\3\2\1")
    (tmp_path / "s/a/no-link.ogg").symlink_to(os.devnull)
    names = {video.name for video in list_videos("folders", tmp_path / "s").videos}
    assert names == {"a/1.mp4", "a/AVSEQ01.DAT", "a/disc.dat", "a/theora.ogg"}
