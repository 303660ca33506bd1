"""Opening a video: which of its streams is the video, and whether all of the file is there."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engine.data.container import is_cut_off
from engine.data.decode import DecodedVideo, read_video
from engine.data.layouts import VideoEntry
from engine.data.sampling import Sampling
from tests.videos import grey_ramp, moving_square, write_video

DEFAULT = av.stream.Disposition.default


def write_streams(path: Path, streams: Sequence[tuple[int, int, int, int]]) -> Path:
    """A file with a stream of video for each (side, frames, grey, disposition)."""
    with av.open(str(path), "w") as container:
        made = []
        for side, length, grey, disposition in streams:
            stream: Any = container.add_stream("libx264", rate=10 if length > 9 else 1, options={"crf": "10"})
            stream.width = stream.height = side
            stream.pix_fmt, stream.disposition = "yuv420p", disposition
            made.append((stream, length, np.full((side, side, 3), grey, np.uint8)))
        for stream, length, pixels in made:
            for _ in range(length):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("streams", "chosen"),
    [
        ([(64, 20, 50, 0), (64, 20, 200, DEFAULT)], 2),
        ([(64, 20, 50, DEFAULT), (128, 20, 200, 0)], 1),  # the author's choice
        ([(32, 2, 50, 0), (128, 20, 200, 0)], 2),  # a track of thumbnails comes first
        ([(32, 2, 50, DEFAULT), (128, 20, 200, 0)], 2),
        ([(128, 20, 50, 0), (32, 2, 200, 0)], 1),
    ],
)
def test_the_stream_that_a_player_shows(
    tmp_path: Path, suffix: str, streams: list[tuple[int, int, int, int]], chosen: int
) -> None:
    """The first was taken, whatever it was."""
    path = write_streams(tmp_path / f"v{suffix}", streams)
    found = read_video(VideoEntry(path, "v", 0, "train"), Sampling(2, 32))
    assert isinstance(found, DecodedVideo)
    side, length, grey, _ = streams[chosen - 1]
    assert abs(float(found.clips.mean()) - grey) < 4
    assert found.length == length
    (remark,) = found.remarks
    assert (remark.kind, remark.detail) == ("streams", f"number {chosen} of 2, {side} x {side}")
    assert bool(found.rules) == (chosen > 1)  # the first was taken before too


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_file_that_ends_early_says_so(tmp_path: Path, suffix: str) -> None:
    """Half a download was used as if it were the video."""
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".mp4":
        source = write_video(tmp_path / "v.mp4", moving_square(60), gop=5)
        with av.open(str(source)) as old, av.open(str(whole), "w", options=options) as new:
            copy = new.add_stream_from_template(old.streams.video[0])
            for packet in old.demux(video=0):
                if packet.size:
                    packet.stream = copy
                    new.mux(packet)
    else:
        write_video(whole, moving_square(60), gop=5)
    content = whole.read_bytes()
    entry = VideoEntry(whole, "v", 0, "train")
    found = read_video(entry, Sampling(2, 32))
    assert isinstance(found, DecodedVideo)
    assert (found.length, found.remarks) == (60, ())
    whole.write_bytes(content[: len(content) * 6 // 10])
    found = read_video(entry, Sampling(2, 32))
    assert isinstance(found, DecodedVideo)
    assert 10 < found.length < 55
    (remark,) = found.remarks
    assert (remark.kind, remark.detail) == ("cut", f"{60 - found.length} of 60 frames are missing")


def test_whole_files_are_not_cut_off(tmp_path: Path) -> None:
    """Every format must be known well enough not to be called broken."""
    for suffix in (".mp4", ".avi", ".mkv", ".webm", ".ts", ".gif"):
        with write_video(tmp_path / f"v{suffix}", grey_ramp(8)).open("rb") as file:
            assert not is_cut_off(file)
    for content in (
        b"",
        b"RIFF",
        b"RIFF\xff\xff\xff\xffAVI ",
        b"\x1a\x45\xdf\xa3",
        b"\0\0\0\1ftyp",
        b"\0\0\0\0mdat" * 9,
    ):
        path = tmp_path / "x"
        path.write_bytes(content)
        with path.open("rb") as file:
            assert not is_cut_off(file)


def test_a_live_recording_of_unknown_length(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    buffer.seekable = lambda: False  # type: ignore[method-assign]
    with av.open(buffer, "w", format="matroska") as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for pixels in grey_ramp(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    path = tmp_path / "v.mkv"
    path.write_bytes(buffer.getvalue())
    with path.open("rb") as file:
        assert not is_cut_off(file)
