"""Frames in, clips out: the frames and their geometry, and files that are broken or hostile in many ways.

What is decoded cleverly is compared with decoding everything, by other code, from the same real file.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.data import container, decode, pictures
from engine.data.decode import DecodedVideo, SkippedVideo, read_video
from engine.data.layouts.base import VideoEntry
from engine.data.sampling import Placement, Sampling
from tests.videos import grey_ramp, moving_square, ramp_numbers, write_image, write_video


def entry(path: Path, start: float | None = None, end: float | None = None) -> VideoEntry:
    return VideoEntry(path, path.name, 0, "train", start, end)


def decoded(path: Path, sampling: Sampling, start: float | None = None, end: float | None = None) -> DecodedVideo:
    outcome = read_video(entry(path, start, end), sampling)
    assert isinstance(outcome, DecodedVideo), outcome
    return outcome


def clips_of(path: Path, sampling: Sampling) -> np.ndarray:
    return decoded(path, sampling).clips


def reason_of(path: Path, sampling: Sampling | None = None, root: Path | None = None, **stretch: float) -> str:
    outcome = read_video(entry(path, **stretch), sampling or Sampling(4, 32), root)
    assert isinstance(outcome, SkippedVideo), outcome
    assert outcome.reason.isprintable()
    return outcome.reason


def all_frames(path: Path, size: int) -> tuple[np.ndarray, list[float | None]]:
    """Every frame (n, size, size, 3) as published, and its time in seconds: decoded from the first to the last."""
    pictures, times = [], []
    width, height = round(size * 160 / 112 + 1e-9), round(size * 120 / 112 + 1e-9)
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for packet in container.demux(video=0):
            with suppress(av.error.FFmpegError):
                for frame in packet.decode():
                    rgb = frame.reformat(width, height, "rgb24", interpolation="BILINEAR", threads=1).to_ndarray()
                    top, left = (height - size) // 2, (width - size) // 2
                    pictures.append(rgb[top : top + size, left : left + size])
                    times.append(frame.time)
    return np.stack(pictures), times


def rewrite(source: Path, path: Path, change: Any, **options: Any) -> Path:
    """Write the packets of a video again; ``change`` (number, packet) gives those that shall be written for each."""
    with av.open(str(source)) as old, av.open(str(path), "w", **options) as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in old.demux(stream) if packet.size):
            for other in change(number, packet):
                other.stream = copy
                new.mux(other)
    return path


class Counter:
    """How many packets were decoded, and how often everything was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packets = self.everything = 0
        decode_one, read_all = container.Video.decode, decode._read_all

        def count_packet(video: Any, packet: Any) -> Any:
            self.packets += 1
            return decode_one(video, packet)

        def count_all(*arguments: Any) -> DecodedVideo:
            self.everything += 1
            return read_all(*arguments)

        monkeypatch.setattr(container.Video, "decode", count_packet)
        monkeypatch.setattr(decode, "_read_all", count_all)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(monkeypatch)


# ---------------------------------------------------------------- which frames


def x264(parameters: str) -> dict[str, Any]:
    return {"codec": "libx264", "options": {"x264-params": f"scenecut=0:{parameters}"}}


def x265(parameters: str) -> dict[str, Any]:
    return {"codec": "libx265", "options": {"x265-params": f"log-level=none:{parameters}"}}


FILES: dict[str, tuple[str, dict[str, Any], bool]] = {
    # what it is called: suffix, how it is written, whether its frames can be found without decoding all
    "H.264, long GOP, B-frames": (".mp4", {}, True),
    "H.264, short GOPs": (".mp4", x264("keyint=8:bframes=3"), True),
    "H.264, open GOPs, mp4": (".mp4", x264("keyint=9:min-keyint=9:bframes=3:open-gop=1"), True),
    "H.264, open GOPs, Matroska": (".mkv", x264("keyint=9:min-keyint=9:bframes=3:open-gop=1"), True),
    "H.264, open GOPs, transport stream": (".ts", x264("keyint=9:min-keyint=9:bframes=3:open-gop=1"), True),
    "H.264, gradual refresh": (".ts", x264("keyint=10:intra-refresh=1"), True),
    "H.264 in AVI": (".avi", x264("keyint=8:bframes=3"), False),
    "H.264, no container": (".h264", x264("keyint=8:bframes=3"), False),
    "HEVC, open GOPs": (".mp4", x265("keyint=9:min-keyint=9:bframes=3:open-gop=1"), True),
    "MPEG-4 in AVI": (".avi", {"gop": 12}, True),
    "MPEG-4 in AVI, B-frames": (".avi", {"gop": 12, "b_frames": 2}, False),
    "MPEG-4 in mp4, B-frames": (".mp4", {"codec": "mpeg4", "gop": 12, "b_frames": 2}, True),
    "MPEG-2 in a transport stream": (".ts", {"codec": "mpeg2video", "gop": 12, "b_frames": 2, "fps": 25}, True),
    "MPEG-2 in a program stream": (".mpg", {"codec": "mpeg2video", "gop": 12, "b_frames": 2, "fps": 25}, True),
    "VP9": (".webm", {"gop": 20, "options": {"lag-in-frames": "16", "auto-alt-ref": "1", "b": "0"}}, True),
    "VP8": (".webm", {"codec": "libvpx", "gop": 20, "options": {"b": "200k"}}, False),
    "AV1": (".mkv", {"codec": "libsvtav1", "options": {"preset": "10", "svtav1-params": "keyint=16"}}, True),
    "Motion JPEG": (".avi", {"codec": "mjpeg", "pixels": "yuvj420p"}, True),
    "GIF": (".gif", {}, False),
    "WMV": (".wmv", {"codec": "wmv2"}, False),
}

SAMPLINGS = {
    "middle": Sampling(4, 32),
    "apart": Sampling(4, 32, 4),
    "three clips": Sampling(2, 32, 3, train=Placement("uniform", 3)),
    "single frames": Sampling(1, 32, train=Placement("uniform", 5)),
    "uniform": Sampling(5, 32, spacing="uniform"),
    "sliding": Sampling(3, 32, 2, train=Placement("sliding", None, 5)),
}

LENGTH = 45


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The file of :data:`FILES` with a name, written once."""
    folder, paths = tmp_path_factory.mktemp("files"), {}

    def path_of(name: str) -> Path:
        if name not in paths:
            suffix, how, _ = FILES[name]
            paths[name] = write_video(folder / f"{len(paths)}{suffix}", moving_square(LENGTH), **how)
        return paths[name]

    return path_of


@pytest.mark.parametrize("name", FILES)
def test_same_frames_as_decoding_everything(
    name: str, written: Any, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One frame off, and motion in the clips is not that of the video; and files that need not be decoded whole are
    not: a data set would take twice as long."""
    path, sensible = written(name), FILES[name][2]
    expected, _ = all_frames(path, 32)
    assert len(expected) == LENGTH
    for hold in (decode.HOLD_BYTES, 100):  # packets in memory, or read again from where they are in the file
        monkeypatch.setattr(decode, "HOLD_BYTES", hold)
        counter.everything = 0
        for sampling in SAMPLINGS.values():
            found = decoded(path, sampling)
            assert found.length == LENGTH
            assert np.array_equal(found.indices, sampling.indices(LENGTH))
            assert np.array_equal(found.clips, expected[found.indices])
        if not sensible:
            assert counter.everything == len(SAMPLINGS)
        elif "refresh" not in name and (hold > 100 or "program stream" not in name):  # which cannot be searched exactly
            assert counter.everything == 0


def test_little_is_decoded(tmp_path: Path, counter: Counter) -> None:
    """A clip from the middle of an hour must not cost the hour."""
    path = write_video(tmp_path / "v.mp4", moving_square(100), **x264("keyint=10:bframes=2"))
    decoded(path, Sampling(4, 32))
    assert counter.packets <= 15
    counter.packets = 0
    decoded(path, Sampling(1, 32, train=Placement("uniform", 2)))  # the first frame and the last
    assert counter.packets <= 15


def test_frames_that_nobody_wants_are_not_scaled(tmp_path: Path, written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scaling costs as much as decoding. Also where the length is only known at the end, without reading twice."""
    scaled = opened = 0
    into, begin = pictures.Squarer.into, container.Video.open

    def count(*arguments: Any) -> None:
        nonlocal scaled
        scaled += 1
        into(*arguments)

    def count_opened(video: Any) -> None:
        nonlocal opened
        opened += 1
        begin(video)

    monkeypatch.setattr(pictures.Squarer, "into", count)
    monkeypatch.setattr(container.Video, "open", count_opened)
    packed = pack(write_video(tmp_path / "v.avi", moving_square(31), b_frames=1, gop=31), tmp_path / "packed.avi")
    for path in (written("H.264, short GOPs"), written("MPEG-4 in AVI, B-frames"), packed):
        scaled = opened = 0
        decoded(path, Sampling(4, 32, 2))
        assert scaled <= 8
        assert opened == 1


def test_edit_list(tmp_path: Path, counter: Counter) -> None:
    """A video that was trimmed without encoding it again has frames that no player shows."""
    source = write_video(tmp_path / "v.mp4", moving_square(40), **x264("keyint=8:bframes=3"))

    def earlier(number: int, packet: Any) -> list[Any]:
        ticks = round(1.3 / packet.time_base)
        packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
        return [packet]

    options = {"avoid_negative_ts": "disabled", "use_editlist": "1"}
    path = rewrite(source, tmp_path / "trimmed.mp4", earlier, options=options)
    expected, _ = all_frames(path, 32)
    assert len(expected) == 27
    for sampling in SAMPLINGS.values():
        found = decoded(path, sampling)
        assert found.length == 27
        assert np.array_equal(found.clips, expected[found.indices])
    assert counter.everything == 0


def pack(source: Path, path: Path) -> Path:
    """Write MPEG-4 with single B-frames as DivX did: each B-frame in the packet of the frame before it in the stream,
    followed by a packet that is next to empty."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        packets = [bytes(packet) for packet in old.demux(old.streams.video[0]) if packet.size]
        mark = packets[0].index(b"\x00\x00\x01\xb2Lavc")
        picture = packets[0].index(b"\x00\x00\x01\xb6")
        contents = [packets[0][:mark] + b"\x00\x00\x01\xb2DivX503b1393p" + packets[0][picture:], b"\x7f"]
        for at in range(1, len(packets) - 1, 2):
            contents += [packets[at] + packets[at + 1], b"\x00\x00\x01\xb6\x50\x00\x7f"]
        for number, content in enumerate(contents):
            packet = av.Packet(content)
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = copy, number, number, number == 0
            packet.time_base = Fraction(1, 10)
            new.mux(packet)
    return path


def test_packed_divx(tmp_path: Path, counter: Counter) -> None:
    """That is how HMDB51 is written: one packet more than frames, with times that mean nothing."""
    source = write_video(tmp_path / "v.avi", moving_square(31), b_frames=1, gop=31)
    path = pack(source, tmp_path / "packed.avi")
    expected, _ = all_frames(path, 32)
    with av.open(str(path)) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) == len(expected) + 1
    for sampling in SAMPLINGS.values():
        found = decoded(path, sampling)
        assert found.length == len(expected)
        assert np.array_equal(found.clips, expected[found.indices])
    assert counter.everything == len(SAMPLINGS)
    assert decoded(path, Sampling(4, 32), 1.05, 2.05).length == 10


def test_wrong_timestamps_are_noticed(counter: Counter, monkeypatch: pytest.MonkeyPatch, written: Any) -> None:
    """If packets promise other frames than come out, all must be counted: the result is the same, only slower."""
    path = written("H.264, short GOPs")
    expected, _ = all_frames(path, 32)
    collect = decode._collect

    def later(track: Any) -> None:
        track.times[20:] += 1

    def fewer(track: Any) -> None:
        track.shown[18] = False

    for number, lie in enumerate((later, fewer)):

        def lying(*arguments: Any, lie: Any = lie, **more: Any) -> Any:
            track = collect(*arguments, **more)
            lie(track)
            return track

        monkeypatch.setattr(decode, "_collect", lying)
        found = decoded(path, Sampling(4, 32, 2))
        assert counter.everything == number + 1
        assert found.length == LENGTH
        assert np.array_equal(found.clips, expected[found.indices])


def test_keys_that_are_none(tmp_path: Path, counter: Counter) -> None:
    """Files whose index says that decoding can begin anywhere: it would begin with a grey picture."""
    source = write_video(tmp_path / "v.mp4", moving_square(45), "mpeg4", gop=45, b_frames=0)

    def mark(number: int, packet: Any) -> list[Any]:
        packet.is_keyframe = number % 10 == 0
        return [packet]

    path = rewrite(source, tmp_path / "marked.mp4", mark)
    expected, _ = all_frames(path, 32)
    assert np.array_equal(clips_of(path, Sampling(4, 32))[0], expected[20:24])
    assert counter.everything == 1


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
@pytest.mark.parametrize("codec", [x264, x265])
def test_beginning_in_the_middle_of_a_broadcast(tmp_path: Path, suffix: str, codec: Any) -> None:
    """The first frames rest on some that were cut away, and are never shown; they must not be counted."""
    how = codec("keyint=9:min-keyint=9:bframes=3:open-gop=1")
    source = write_video(tmp_path / f"whole{suffix}", moving_square(45), **how)
    keys = 0

    def after_first_group(number: int, packet: Any) -> list[Any]:
        nonlocal keys
        keys += packet.is_keyframe
        return [packet] if keys > 1 else []

    path = rewrite(source, tmp_path / f"cut{suffix}", after_first_group)
    expected, _ = all_frames(path, 32)
    assert 30 < len(expected) < 40
    for sampling in SAMPLINGS.values():
        found = decoded(path, sampling)
        assert found.length == len(expected)
        assert np.array_equal(found.clips, expected[found.indices])


def test_packets_without_a_picture(tmp_path: Path) -> None:
    """MPEG-4 says "as before" with a few bytes, for which no frame comes out; counted, they would shift the clip."""
    source = write_video(tmp_path / "v.mp4", moving_square(45), "mpeg4", gop=5, b_frames=0)

    def repeat(number: int, packet: Any) -> list[Any]:
        packet.pts, packet.dts = 2 * packet.pts, 2 * packet.dts
        if number < 38 or number % 5 == 4:
            return [packet]
        empty = av.Packet(b"\x00\x00\x01\xb6\x50\x00\x7f")
        empty.pts = empty.dts = packet.pts + packet.duration
        empty.time_base = packet.time_base
        return [packet, empty]

    path = rewrite(source, tmp_path / "repeated.mp4", repeat)
    expected, _ = all_frames(path, 32)
    with av.open(str(path)) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) > len(expected) + 2
    found = decoded(path, Sampling(4, 32))
    assert found.length == len(expected)
    assert np.array_equal(found.clips, expected[found.indices])


# ---------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        (".mp4", x264("keyint=8:bframes=3")),
        (".mkv", x264("keyint=9:min-keyint=9:bframes=3:open-gop=1")),
        (".ts", x264("keyint=9:min-keyint=9:bframes=3:open-gop=1")),
        (".avi", {"gop": 12}),
        (".avi", {"gop": 12, "b_frames": 2}),
        (".webm", {"gop": 20}),
        (".webm", {"codec": "libvpx", "gop": 20}),
        (".gif", {}),
    ],
)
def test_stretches(tmp_path: Path, suffix: str, how: dict[str, Any]) -> None:
    """An action in a film: frames with start <= t < end and no others. 10 frames per second, so times are numbers."""
    path = write_video(tmp_path / f"v{suffix}", moving_square(50), **how)
    expected, _ = all_frames(path, 32)
    every = Sampling(1, 32, train=Placement("sliding", None, 1))
    for start, end, first, last in [
        (1.2, 2.9, 12, 29),
        (0.1, 0.3, 1, 3),
        (None, 1.55, 0, 16),
        (4.25, None, 43, 50),
        (3.1, 99, 31, 50),
        (0, 0.1, 0, 1),
    ]:
        found = decoded(path, every, start, end)
        assert found.length == last - first
        assert found.indices[:, 0].tolist() == list(range(found.length))
        assert np.array_equal(found.clips[:, 0], expected[first:last])
    assert "no frames from 7 s to 8 s" in reason_of(path, start=7, end=8)
    assert "no frames from 2 s to 2 s" in reason_of(path, start=2, end=2)
    assert "no frames from 1e+300 s" in reason_of(path, start=1e300)
    assert "number" in reason_of(path, start=float("nan"))


def test_neighbouring_stretches_share_no_frame(written: Any) -> None:
    path = written("VP9")
    lengths = [decoded(path, Sampling(1, 32), at / 7, (at + 1) / 7).length for at in range(31)]
    assert sum(lengths) == 45


def test_a_stretch_is_found_without_reading_the_film(tmp_path: Path, counter: Counter) -> None:
    """Films with thousands of labelled stretches: each may cost only what is around it."""
    path = write_video(tmp_path / "v.mp4", moving_square(50).repeat(8, axis=0), **x264("keyint=10:bframes=2"))
    collected = []
    collect = decode._collect

    def count(*arguments: Any, **more: Any) -> Any:
        track = collect(*arguments, **more)
        collected.append(len(track.times))
        return track

    counter.packets = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "_collect", count)
        decoded(path, Sampling(4, 32), 30, 31.5)
    assert len(collected) == 1
    assert collected[0] < 50
    assert counter.packets < 30


def test_searching_may_miss(monkeypatch: pytest.MonkeyPatch, written: Any) -> None:
    """Containers without an index are searched by guessing; too late a place must not cost the first frames."""
    path = written("H.264, short GOPs")
    expected, _ = all_frames(path, 32)
    seek = container.Video.seek

    def too_late(video: Any, time: int) -> None:
        seek(video, time + round(1.7 / video.stream.time_base))

    monkeypatch.setattr(container.Video, "seek", too_late)
    found = decoded(path, Sampling(1, 32, train=Placement("sliding", None, 1)), 2.0, 3.0)
    assert np.array_equal(found.clips[:, 0], expected[20:30])


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".webm", ".gif"])
def test_frames_per_second(tmp_path: Path, suffix: str) -> None:
    """The same span of time, whatever the video's rate: 2 per second, of 10 and of 20."""
    sampling = Sampling(4, 32, fps=2, spacing="fps")
    for rate in (10, 20):
        path = write_video(tmp_path / f"{rate}{suffix}", grey_ramp(44, step=5), fps=rate)
        found = decoded(path, sampling)
        assert found.rate == pytest.approx(rate)
        step = rate // 2 if rate == 10 else 10
        assert np.diff(found.indices[0]).tolist() == [step] * 3


def test_rate_that_the_header_gets_wrong(tmp_path: Path) -> None:
    """Variable rates: what counts is how many frames there are per second."""
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=50)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number, pixels in enumerate(grey_ramp(30)):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 5)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert decoded(path, Sampling(2, 32, fps=1, spacing="fps")).rate == pytest.approx(5, rel=0.01)


def test_rate_that_nobody_knows() -> None:
    class Stream:
        average_rate = None
        time_base = Fraction(1, 10)

    assert container.frame_rate(Stream, np.array([], np.int64)) is None
    assert container.frame_rate(Stream, np.array([5])) is None
    assert container.frame_rate(Stream, np.array([5, 10])) == 2
    Stream.average_rate = Fraction(90_000)  # type: ignore[assignment]
    assert container.frame_rate(Stream, np.array([5, 10])) == 2
    assert container.frame_rate(Stream, np.array([5])) is None
    with pytest.raises(container.UnreadableError, match="per second"):
        decode._indices(9, decode._Clock(None), entry(Path("v")), Sampling(1, 32, fps=1, spacing="fps"))


UNEVEN = [40 * n for n in range(20)] + [800 + 200 * n for n in range(20)]
"""Milliseconds: a phone in the dark shows fewer frames per second."""


def shown_at(time: float) -> int:
    """The frame of :data:`UNEVEN` that a player shows at ``time``, in milliseconds."""
    return max(number for number, begin in enumerate(UNEVEN) if begin <= time)


@pytest.mark.parametrize(
    ("suffix", "how"),
    [(".mp4", {}), (".mkv", {}), (".webm", {"codec": "libvpx"}), (".gif", {}), (".mp4", x264("bframes=3"))],
)
def test_frames_that_do_not_come_evenly(tmp_path: Path, suffix: str, how: dict[str, Any]) -> None:
    """Half a second must be half a second: counted, frames were 160 or 800 ms apart in place of 500."""
    path = write_video(tmp_path / f"v{suffix}", moving_square(40), times=UNEVEN, **how)
    expected, _ = all_frames(path, 32)
    found = decoded(path, Sampling(8, 32, fps=2, spacing="fps"))
    last = max(start for start in range(40) if UNEVEN[start] + 3500 < UNEVEN[-1] + UNEVEN[-1] / 39)
    start = shown_at(UNEVEN[last] / 2)
    assert found.indices[0].tolist() == [shown_at(UNEVEN[start] + 500 * k) for k in range(8)]
    assert np.array_equal(found.clips, expected[found.indices])
    assert found.rules == (decode.BY_TIMES,)
    found = decoded(path, Sampling(3, 32, fps=5, spacing="fps"), 0.6, 2.0)
    inside = [number for number, time in enumerate(UNEVEN) if 600 <= time < 2000]
    assert found.length == len(inside)
    times = [UNEVEN[inside[number]] for number in found.indices[0]]
    assert np.diff(times).tolist() == pytest.approx([200, 200], abs=40)
    assert decoded(path, Sampling(8, 32, 2)).rules == ()


def test_frames_that_a_screen_recorder_left_out(tmp_path: Path) -> None:
    """AVI says "as before" with an empty packet; the frame before it is then shown for longer."""
    source = write_video(tmp_path / "v.avi", moving_square(40), b_frames=0, gop=5)

    def thin(number: int, packet: Any) -> list[Any]:
        return [packet] if number < 20 or number % 5 == 0 else []

    path = rewrite(source, tmp_path / "thin.avi", thin)
    _, times = all_frames(path, 32)
    found = decoded(path, Sampling(3, 32, fps=1, spacing="fps"))
    assert found.length == 24
    assert np.diff([times[number] or 0.0 for number in found.indices[0]]).tolist() == pytest.approx([1, 1], abs=0.5)
    assert decoded(path, Sampling(1, 32), 2.0, 3.0).length == 2


def test_nearly_even_frames_are_counted(tmp_path: Path) -> None:
    """Times that are rounded, or shake by less than half a frame, must not change clips that were right."""
    shaken = [33 * n + (n % 3) * 5 for n in range(60)]
    path = write_video(tmp_path / "v.mkv", moving_square(60), times=shaken)
    found = decoded(path, Sampling(4, 32, fps=5, spacing="fps"))
    assert found.rules == ()
    assert found.rate is not None
    assert np.array_equal(found.indices, Sampling(4, 32, fps=5, spacing="fps").indices(60, rate=found.rate))


# ---------------------------------------------------------------- geometry


def marked(height: int, width: int) -> np.ndarray:
    """One white column at each side, grey between."""
    frames = np.full((4, height, width, 3), 100, np.uint8)
    frames[:, :, :4] = frames[:, :, -4:] = 250
    return frames


def test_own_size_keeps_its_border(tmp_path: Path) -> None:
    """Videos that were cropped before would lose a quarter of the picture again."""
    clip = clips_of(write_video(tmp_path / "v.mp4", marked(32, 32)), Sampling(4, 32))[0]
    assert clip[:, :, 1].min() > 220
    assert clip[:, :, 16].max() < 130


def test_other_sizes_are_resized_then_cropped(tmp_path: Path) -> None:
    """The aspect is ignored as published: 160 x 120 and 320 x 120 give the same picture, without the sides."""
    sampling = Sampling(4, 32)
    usual = clips_of(write_video(tmp_path / "v.mp4", marked(120, 160)), sampling)[0]
    wide = clips_of(write_video(tmp_path / "w.mp4", marked(120, 320)), sampling)[0]
    assert usual.shape == wide.shape == (4, 32, 32, 3)
    assert usual.max() < 130
    assert wide.max() < 130


def test_centre_of_the_crop(tmp_path: Path) -> None:
    """A white half must end in the middle of the crop, not at some other column."""
    frames = np.zeros((2, 120, 160, 3), np.uint8)
    frames[:, :, 80:] = 255
    clip = clips_of(write_video(tmp_path / "v.mp4", frames), Sampling(2, 112))[0]
    assert clip[:, :, :53].max() < 40
    assert clip[:, :, 59:].min() > 215


@pytest.mark.parametrize(
    ("kind", "size", "frame", "aspect", "expected"),
    [
        ("published", 112, (320, 240), 1.0, (160, 120)),
        ("published", 112, (50, 999), 3.0, (160, 120)),
        ("published", 64, (320, 240), 1.0, (91, 69)),
        ("published", 7, (320, 240), 1.0, (10, 8)),  # 7.5 rounded up
        ("published", 64, (64, 64), 1.0, (64, 64)),
        ("pad", 112, (320, 240), 1.0, (112, 84)),
        ("pad", 112, (240, 320), 1.0, (84, 112)),
        ("pad", 112, (320, 240), 0.75, (112, 112)),
        ("pad", 112, (1, 500), 1.0, (1, 112)),
        ("centre-crop", 112, (320, 240), 1.0, (149, 112)),
        ("centre-crop", 112, (240, 320), 1.0, (112, 149)),
        ("centre-crop", 112, (720, 576), 64 / 45, (199, 112)),  # 16:9 television
        ("shorter-side", 112, (320, 240), 1.0, (171, 128)),
        ("shorter-side", 112, (112, 112), 1.0, (128, 128)),
        ("shorter-side", 112, (1, 500), 1.0, (128, 2048)),  # not 64,000
    ],
)
def test_sizes_before_the_crop(
    kind: Any, size: int, frame: tuple[int, int], aspect: float, expected: tuple[int, int]
) -> None:
    squarer = pictures.Squarer(Sampling(1, size, resize=kind))
    assert squarer.resized(*frame, aspect) == expected


def scene(height: int, width: int) -> np.ndarray:
    """Four quarters: white, red; green, blue."""
    frames = np.zeros((3, height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    frames[:, :top, :left] = 255
    frames[:, :top, left:, 0] = 255
    frames[:, top:, :left, 1] = 255
    frames[:, top:, left:, 2] = 255
    return frames


def quarters(picture: np.ndarray) -> str:
    """The colours of a square picture's quarters, row by row."""
    names = {(1, 1, 1): "w", (1, 0, 0): "r", (0, 1, 0): "g", (0, 0, 1): "b", (0, 0, 0): "-"}
    size = len(picture)
    near, far = int(0.4 * size), int(0.6 * size)
    return "".join(names[tuple((picture[y, x] > 127).astype(int).tolist())] for y in (near, far) for x in (near, far))


@pytest.mark.parametrize("kind", ["published", "pad", "centre-crop", "shorter-side"])
@pytest.mark.parametrize(
    ("turned", "expected"),
    [
        (None, "wrgb"),
        ({"degrees": 90}, "rbwg"),  # counter-clockwise
        ({"degrees": -90}, "gwbr"),
        ({"degrees": 180}, "bgrw"),
        ({"degrees": 0, "hflip": True}, "rwbg"),  # a selfie; FFmpeg's angle of it is 180
        ({"degrees": 0, "vflip": True}, "gbwr"),
        ({"degrees": 90, "hflip": True}, "brgw"),
        ({"degrees": -90, "hflip": True}, "wgrb"),
        ({"degrees": 45}, "wrgb"),
    ],
)
def test_phone_videos_stand_upright(tmp_path: Path, kind: Any, turned: dict[str, Any] | None, expected: str) -> None:
    """Phones write the picture as the sensor sees it, and a matrix that says how it was held."""
    path = write_video(tmp_path / "v.mp4", scene(64, 128), turned=turned, pixels="yuv444p")
    clip = clips_of(path, Sampling(1, 48, resize=kind))[0]
    assert quarters(clip[0]) == expected
    if kind == "pad":
        upright = turned is not None and turned["degrees"] in (90, -90)
        black = clip[0] if not upright else clip[0].transpose(1, 0, 2)
        assert black[:11].max() < 20
        assert black[-11:].max() < 20
        assert black[13:-13, :2].max() > 200


def test_turned_and_published_is_as_if_it_had_been_filmed_upright(tmp_path: Path) -> None:
    """The published frame is wider than high; so it must be for what is seen, not for what is stored."""
    upright = scene(128, 64)
    stored = np.rot90(upright, -1, axes=(1, 2)).copy()  # turning it counter-clockwise shows it upright
    plain = write_video(tmp_path / "plain.mp4", upright, pixels="yuv444p")
    turned = write_video(tmp_path / "turned.mp4", stored, turned={"degrees": 90}, pixels="yuv444p")
    one, two = (clips_of(path, Sampling(1, 112))[0, 0].astype(int) for path in (plain, turned))
    assert np.abs(one - two).mean() < 2


EXIF = {1: "wrgb", 2: "rwbg", 3: "bgrw", 4: "gbwr", 5: "wgrb", 6: "gwbr", 7: "brgw", 8: "rbwg"}
"""How :func:`scene` is to be shown by each orientation of Exif 2.3."""


@pytest.mark.parametrize("orientation", EXIF)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
def test_photos_stand_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    """Frame folders of a camera: the same, in Exif. Mirrored ones stood on their heads."""
    (tmp_path / "f").mkdir()
    exif = Image.Exif()
    exif[0x112] = orientation
    kind = {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix)
    options: dict[str, Any] = {} if suffix == "tif" else {"quality": 95}
    Image.fromarray(scene(64, 64)[0]).save(tmp_path / f"f/1.{suffix}", kind, exif=exif, **options)
    assert quarters(clips_of(tmp_path / "f", Sampling(1, 48))[0, 0]) == EXIF[orientation]


def test_a_picture_that_is_too_large_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was called damaged, which nobody can mend."""
    write_image(tmp_path / "f/1.jpg", moving_square(1)[0])
    paths = [write_video(tmp_path / "v.mp4", moving_square(3)), write_video(tmp_path / "v.avi", moving_square(3))]
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    monkeypatch.setattr(container, "LARGEST_PICTURE", 1000)
    for path in (*paths, tmp_path / "f"):
        assert "its pictures of 64 x 48 are too large" in reason_of(path)
        assert "damaged" in reason_of(tmp_path / "broken.mp4")  # although FFmpeg's last word was on sizes


@pytest.mark.parametrize("transposed", [False, True])
def test_pixels_that_are_not_square(tmp_path: Path, transposed: bool) -> None:
    """Television: 64 x 64 pixels that are shown 128 wide. `published` ignores it, as it ignores any aspect."""
    turned = {"degrees": 90} if transposed else None
    path = write_video(tmp_path / "v.mp4", scene(64, 64), aspect=Fraction(2, 1), turned=turned, pixels="yuv444p")
    padded = clips_of(path, Sampling(1, 48, resize="pad"))[0, 0]
    padded = padded.transpose(1, 0, 2) if transposed else padded
    assert padded[:11].max() < 20
    assert padded[13:35].max(axis=(0, 2)).min() > 200
    assert quarters(clips_of(path, Sampling(1, 48))[0, 0]) == ("rbwg" if transposed else "wrgb")


@pytest.mark.parametrize("kind", ["published", "pad", "centre-crop", "shorter-side"])
@pytest.mark.parametrize("shape", [(500, 1), (1, 500), (2, 2), (1, 1), (3, 5)])
@pytest.mark.parametrize("size", [1, 8, 113])
def test_odd_shapes(tmp_path: Path, kind: Any, shape: tuple[int, int], size: int) -> None:
    write_image(tmp_path / "f/1.png", np.full((*shape, 3), 200, np.uint8))
    picture = clips_of(tmp_path / "f", Sampling(1, size, resize=kind))[0, 0]
    assert picture.shape == (size, size, 3)
    assert abs(int(picture.max()) - 200) < 6
    if kind != "pad":
        assert abs(int(picture.min()) - 200) < 6


def test_size_may_change_on_the_way(tmp_path: Path) -> None:
    """Broadcasts do that; the clip stays one."""
    halves = [
        write_video(tmp_path / f"{at}.ts", frames, **x264("keyint=5"))
        for at, frames in enumerate((marked(32, 64), marked(64, 64)))
    ]
    (tmp_path / "v.ts").write_bytes(b"".join(half.read_bytes() for half in halves))
    outcome = decoded(tmp_path / "v.ts", Sampling(8, 16))
    assert outcome.length == 8
    assert outcome.clips.shape == (1, 8, 16, 16, 3)


# ---------------------------------------------------------------- folders of images


def test_frame_folder(tmp_path: Path) -> None:
    """Names with % are patterns to FFmpeg; natural order is time."""
    ramp = grey_ramp(12)
    for number in range(12):
        write_image(tmp_path / f"frames/%d {number}.{'png' if number % 2 else 'jpg'}", ramp[number])
    outcome = decoded(tmp_path / "frames", Sampling(4, 32, 3))
    assert outcome.length == 12
    assert ramp_numbers(outcome.clips[0]) == [1, 4, 7, 10]


def test_times_in_a_frame_folder(tmp_path: Path) -> None:
    """Images do not say how fast they follow; the user does."""
    for number, frame in enumerate(grey_ramp(20)):
        write_image(tmp_path / f"f/{number}.png", frame)
    every = Sampling(1, 32, folder_fps=10, train=Placement("sliding", None, 1))
    found = decoded(tmp_path / "f", every, 0.3, 0.7)
    assert found.length == 4
    assert [ramp_numbers(clip)[0] for clip in found.clips] == [3, 4, 5, 6]
    found = decoded(tmp_path / "f", Sampling(3, 32, fps=2.5, spacing="fps", folder_fps=10))
    assert ramp_numbers(found.clips[0]) == [5, 9, 13]
    assert "no frames from 2 s" in reason_of(tmp_path / "f", every, start=2)
    assert "--folder-fps" in reason_of(tmp_path / "f", Sampling(1, 32), start=1)
    assert "--folder-fps" in reason_of(tmp_path / "f", Sampling(1, 32, fps=1, spacing="fps"))


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp"])
@pytest.mark.parametrize("name", ["jpg", "png", "bmp", "webp"])
def test_image_with_another_suffix_is_read(tmp_path: Path, suffix: str, name: str) -> None:
    """Downloads are full of JPEG files called .png."""
    (tmp_path / "f").mkdir()
    Image.fromarray(grey_ramp(1, start=180)[0]).save(tmp_path / f"x.{suffix}")
    (tmp_path / f"x.{suffix}").rename(tmp_path / f"f/1.{name}")
    clip = clips_of(tmp_path / "f", Sampling(1, 32))
    assert clip.shape == (1, 1, 32, 32, 3)
    assert np.abs(clip.astype(int) - 180).max() < 5


def test_damaged_image_is_skipped(tmp_path: Path) -> None:
    write_image(tmp_path / "f/1.jpg", grey_ramp(1)[0])
    (tmp_path / "f/2.jpg").write_bytes(b"no image")
    assert "image 2 of 2" in reason_of(tmp_path / "f")
    (tmp_path / "f/2.jpg").write_bytes(b"")
    assert "image 2 of 2: the file is empty" in reason_of(tmp_path / "f")


# ---------------------------------------------------------------- files that lie, break, or reach for others


def test_metadata_that_is_not_utf8(tmp_path: Path) -> None:
    """Real HMDB51 files have it; it must not cost the video."""
    path = write_video(tmp_path / "v.avi", grey_ramp(8), metadata={"title": "PLACEHOLDER"})
    content = path.read_bytes()
    assert b"PLACEHOLDER" in content
    path.write_bytes(content.replace(b"PLACEHOLDER", b"\xff\xfe\xe9LACEHOLD"))
    assert clips_of(path, Sampling(4, 32)).shape == (1, 4, 32, 32, 3)


def test_broken_files_are_skipped_in_plain_words(tmp_path: Path) -> None:
    """One broken download of 240,000 must not end a prepare that took a day."""
    whole = write_video(tmp_path / "v.mp4", grey_ramp(8)).read_bytes()
    contents = {
        "noise.avi": np.random.default_rng(0).bytes(5000),
        "head.mp4": whole[: len(whole) // 2],
        "page.mp4": b"<html>404 not found</html>" * 50,
        "text.ans": b"just text\n" * 500,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert "damaged, or not a video" in reason_of(tmp_path / name)
    (tmp_path / "empty.mp4").touch()
    assert "empty" in reason_of(tmp_path / "empty.mp4")
    assert "missing" in reason_of(tmp_path / "gone.mp4")
    (tmp_path / "none.mp4").mkdir()
    assert "no images" in reason_of(tmp_path / "none.mp4")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", grey_ramp(8)).chmod(0)
    assert "permission" in reason_of(tmp_path / "v.mp4")


def test_sound_alone_is_skipped(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "no video stream" in reason_of(tmp_path / "a.mkv")


def test_damage_in_the_middle_keeps_the_rest(tmp_path: Path) -> None:
    """A cut-off AVI still has most of its frames."""
    path = write_video(tmp_path / "v.avi", grey_ramp(40))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    assert 0 < decoded(path, Sampling(4, 32)).length < 40


@pytest.mark.parametrize("name", ["H.264, short GOPs", "MPEG-4 in AVI, B-frames", "MPEG-2 in a transport stream"])
def test_damage_is_concealed_as_when_everything_is_decoded(
    tmp_path: Path, written: Any, name: str, counter: Counter
) -> None:
    """A scratch on the tape is no reason to lose the video; the frames are those a player shows."""
    source = written(name)
    content = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    begin = packets[20].pos + packets[20].size // 3
    content[begin : begin + 40] = bytes(40)
    path = tmp_path / f"v{source.suffix}"
    path.write_bytes(content)
    expected, _ = all_frames(path, 32)
    found = decoded(path, Sampling(12, 32))
    assert found.length == len(expected)
    assert np.array_equal(found.clips, expected[found.indices])
    if "H.264" in name:  # which says that a frame is not what it should be
        assert counter.everything == 1


PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{name}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{name}'\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="urn:mpeg:dash:'
    'profile:isoff-on-demand:2011" mediaPresentationDuration="PT3S"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{name}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "IMF": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2013">{name}',
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_playlists_reach_nowhere(tmp_path: Path, kind: str) -> None:
    """A "video" that names another file must not bring it into the data, nor make the tool connect to an address."""
    secret = write_video(tmp_path / "secret.ts", grey_ramp(30, start=100))
    for name in (secret.name, str(secret), f"file:{secret}", "http://127.0.0.1:9/x.ts"):
        for suffix in (".mp4", ".m3u8", ".avi"):
            (tmp_path / f"list{suffix}").write_text(PLAYLISTS[kind].format(name=name))
            assert "not a video" in reason_of(tmp_path / f"list{suffix}", Sampling(1, 32))


def test_either_wall_stands_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only listed formats are read, and none may open another file; if one of the two rules fails, the other holds."""
    write_video(tmp_path / "secret.ts", grey_ramp(30))
    (tmp_path / "list.mp4").write_text(PLAYLISTS["concat"].format(name="secret.ts"))
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(container, "FORMATS", container.FORMATS + ",concat")
        assert reason_of(tmp_path / "list.mp4")
    with monkeypatch.context() as patch:
        patch.setattr(container, "PROTOCOLS", "file")
        assert reason_of(tmp_path / "list.mp4")
        patch.setattr(container, "FORMATS", container.FORMATS + ",concat")
        assert decoded(tmp_path / "list.mp4", Sampling(1, 32)).length == 30  # so this is what they keep out


def test_formats_are_known_to_ffmpeg() -> None:
    """A misspelt name would refuse a whole data set."""
    known = {name for joined in av.formats_available for name in joined.split(",")}
    assert [name for name in container.FORMATS.split(",") if name not in known] == []


def test_links_out_of_the_source(tmp_path: Path) -> None:
    """Videos from strangers: a link in the archive must not pull a private picture into what is trained on."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    video = write_video(outside / "v.mp4", grey_ramp(8))
    write_image(outside / "f/1.png", grey_ramp(1)[0])
    write_image(root / "f/1.png", grey_ramp(1)[0])
    write_video(root / "own.mp4", grey_ramp(8))
    (root / "v.mp4").symlink_to(video)
    (root / "folder").symlink_to(outside / "f")
    (root / "f/2.png").symlink_to(outside / "f/1.png")
    (root / "inside.mp4").symlink_to("own.mp4")
    (root / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "alias").symlink_to(root)
    for name in ("v.mp4", "folder", "f", "../outside/v.mp4"):
        assert "a link out of the source folder; --follow-links reads it" in reason_of(root / name, root=root)
        assert isinstance(read_video(entry(root / name), Sampling(1, 32)), DecodedVideo)
    for name in ("own.mp4", "inside.mp4"):
        for base in (root, tmp_path / "alias"):
            assert isinstance(read_video(entry(base / name), Sampling(1, 32), base), DecodedVideo)
    assert reason_of(root / "loop.mp4", root=root)
    assert reason_of(root / "loop.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    """They hang, or never end."""
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / "1.png")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    assert "not an ordinary file" in reason_of(tmp_path / "pipe.mp4")
    assert "not an ordinary file" in reason_of(tmp_path / "zero.mp4")
    assert "image 1 of 1: it is not an ordinary file" in reason_of(tmp_path)


def huge_png(path: Path, side: int) -> None:
    """A PNG of ``side`` x ``side`` whose pixels are hardly there."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 1000))]
    parts = [struct.pack(">I", len(body)) + kind + body for kind, body in (*chunks, (b"IEND", b""))]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(part + struct.pack(">I", zlib.crc32(part[4:])) for part in parts))


@pytest.mark.parametrize("side", [30_000, 16_000, 7_000])
def test_absurd_dimensions_take_no_memory(tmp_path: Path, side: int) -> None:
    """A header of 30 bytes must not make a worker ask for gigabytes and take the machine down."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (tmp_path / "f").mkdir()
    huge_png(tmp_path / "f/1.png", side)
    assert "image 1 of 1" in reason_of(tmp_path / "f")
    gif = bytearray(write_video(tmp_path / "v.gif", moving_square(5)).read_bytes())
    gif[6:10] = struct.pack("<HH", side, side)
    (tmp_path / "v.gif").write_bytes(gif)
    assert reason_of(tmp_path / "v.gif")
    jpeg = bytearray(write_image(tmp_path / "1.jpg", moving_square(1)[0]).read_bytes())
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", side, side)
    (tmp_path / "f/1.png").write_bytes(jpeg)
    assert "image 1 of 1" in reason_of(tmp_path / "f")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < 400 * 2**20


def test_more_clips_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sliding window over a film would give a terabyte."""
    path = write_video(tmp_path / "v.mp4", grey_ramp(40))
    monkeypatch.setattr(decode, "CLIP_BYTES", 20 * 4 * 32 * 32 * 3)
    assert "37 clips do not fit" in reason_of(path, Sampling(4, 32, train=Placement("sliding", None, 1)))
    assert decoded(path, Sampling(4, 32, train=Placement("sliding", None, 2))).clips.shape[0] == 19


def test_absurd_numbers_of_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "v.mp4", grey_ramp(40))
    monkeypatch.setattr(decode, "MOST_PACKETS", 30)
    assert "more than 30 frames" in reason_of(path)


def test_frames_claimed_that_are_not_there(tmp_path: Path) -> None:
    """An index of a hundred thousand frames in a file of a few kilobytes: those that are there count."""
    path = write_video(tmp_path / "v.mp4", grey_ramp(10), "mpeg4", b_frames=0)
    content = bytearray(path.read_bytes())
    at = content.index(b"stsz")
    content[at + 8 : at + 16] = struct.pack(">II", 30, 10**5)
    for box, offset in ((b"stts", 12), (b"stsc", 16)):
        at = content.index(box)
        content[at + offset : at + offset + 4] = struct.pack(">I", 10**5)
    path.write_bytes(content)
    outcome = read_video(entry(path), Sampling(4, 32))
    assert isinstance(outcome, SkippedVideo) or outcome.length <= 10


def test_covers_are_no_videos(tmp_path: Path) -> None:
    """A song has its cover as a video stream."""
    path = tmp_path / "song.mp4"
    cover = write_image(tmp_path / "c.jpg", moving_square(1)[0]).read_bytes()
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=8000, layout="mono")
        picture: Any = container.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        packet = av.Packet(cover)
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = picture, 0, 0, True
        container.mux(packet)
    assert "no video stream" in reason_of(path)


def test_nothing_is_printed(tmp_path: Path) -> None:
    """FFmpeg's chatter about each damaged file would bury the progress."""
    for name, video in (("v.mp4", moving_square(20)), ("v.ts", moving_square(20))):
        content = bytearray(write_video(tmp_path / name, video).read_bytes())
        content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
        (tmp_path / name).write_bytes(content)
    code = (
        "import sys; from pathlib import Path; from engine.data.decode import read_video, VideoEntry, Sampling\n"
        "for path in sys.argv[1:]: read_video(VideoEntry(Path(path), 'x', 0, 'train'), Sampling(4, 32))"
    )
    paths = [str(tmp_path / "v.mp4"), str(tmp_path / "v.ts")]
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", code, *paths], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout + run.stderr == ""


def test_streams_that_come_up_later(tmp_path: Path) -> None:
    """Broadcasts: the sound joins after some seconds, when nobody counts on another stream."""
    silent = write_video(tmp_path / "silent.ts", moving_square(45), fps=3, **x264("keyint=8:bframes=2"))
    loud = tmp_path / "loud.ts"
    with av.open(str(silent)) as old, av.open(str(loud), "w") as new:
        picture = new.add_stream_from_template(old.streams.video[0])
        sound: Any = new.add_stream("mp2", rate=48000, layout="mono")
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = picture
                new.mux(packet)
        for _ in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), layout="mono")
            frame.sample_rate = 48000
            new.mux(sound.encode(frame))
        new.mux(sound.encode(None))
    joined = tmp_path / "joined.ts"
    times = 6 * 2**20 // silent.stat().st_size + 1  # FFmpeg looks for streams in the first 5 MB, and at the end
    joined.write_bytes(silent.read_bytes() * times + loud.read_bytes() + silent.read_bytes() * times)
    with av.open(str(joined)) as container:
        assert len(container.streams) == 1
    assert decoded(joined, Sampling(4, 32)).length == 45 * (2 * times + 1)


def test_places_that_do_not_exist(tmp_path: Path) -> None:
    """FFmpeg asks for them in damaged files; as exceptions, PyAV prints them into the progress."""
    with write_video(tmp_path / "v.mp4", grey_ramp(2)).open("rb", buffering=0) as file:
        assert container.Source(file).seek(-5, 0) == -errno.EINVAL
        assert container.Source(file).seek(5, 0) == 5


FUZZED = ["H.264, short GOPs", "H.264, open GOPs, Matroska", "H.264, open GOPs, transport stream", "MPEG-4 in AVI"]
FUZZED += ["MPEG-2 in a program stream", "VP9", "GIF", "Motion JPEG", "WMV"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", FUZZED)
def test_damaged_files_give_clips_or_a_reason(written: Any, tmp_path: Path, name: str, data: st.DataObject) -> None:
    """Nothing that a file holds may end in a traceback, which would end a prepare of days."""
    content = bytearray(written(name).read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content))) :]
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=20)):
        content[at] = value
    path = tmp_path / "fuzzed"
    path.write_bytes(content)
    sampling = data.draw(st.sampled_from([*SAMPLINGS.values(), Sampling(3, 16, fps=3, spacing="fps", resize="pad")]))
    start, end = data.draw(st.sampled_from([(None, None), (1.5, 3.0), (0.3, None), (None, 4.4)]))
    outcome = read_video(entry(path, start, end), sampling)
    if isinstance(outcome, SkippedVideo):
        assert outcome.reason.isprintable()
        return
    assert outcome.clips.shape == (*outcome.indices.shape, sampling.size, sampling.size, 3)
    assert outcome.clips.dtype == np.uint8
    assert 0 <= outcome.indices.min() <= outcome.indices.max() < outcome.length


def test_a_copy_gives_the_same_bytes_anywhere(tmp_path: Path, written: Any) -> None:
    """Clips must depend on the file alone: not on where it lies, what it is called, or what was read before."""
    source = written("H.264, long GOP, B-frames")
    (tmp_path / "other place").mkdir()
    copy = Path(shutil.copy(source, tmp_path / "other place/%03d.bin"))
    assert np.array_equal(clips_of(source, Sampling(4, 32)), clips_of(copy, Sampling(4, 32)))
