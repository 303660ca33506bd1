"""One video in, clips of one size out.

All of FFmpeg that training data touches is here, so that the published geometry and sampling are written down once.
Real files lie (about their length), are broken, or try to name other files; whatever a file does, the answer is
either clips or a :class:`SkippedVideo` that says why in plain words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from engine.data.layouts.folders import frame_files
from engine.errors import UsageError

KEEP_BYTES = 256 * 2**20
"""Scaled frames kept while a video is decoded; a longer video is read twice instead, so memory stays bounded."""

LARGEST_SIZE = 1024

TEXT_ART = frozenset({"tty", "bin", "xbin", "adf", "idf"})
"""Demuxers that turn any text or bytes into "video"."""


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video become clips; the clips' shape and their rule in time and space.

    ``size`` S: frames are resized to S*160/112 x S*120/112, whatever their aspect, and centre-cropped to S x S
    (published for S = 112: 160 x 120, cropped to 112 x 112).
    """

    frames: int
    size: int
    interval: int = 1
    clips_per_video: int = 1

    def __post_init__(self) -> None:
        for option in ("frames", "size", "interval", "clips_per_video"):
            if getattr(self, option) < 1:
                flag = option.replace("_", "-")
                raise UsageError(
                    f"--{flag} is {getattr(self, option)}, which makes no clips.", f"Give --{flag} 1 or more."
                )
        if self.size > LARGEST_SIZE:
            raise UsageError(f"--size {self.size} is too large.", f"Give --size a number up to {LARGEST_SIZE}.")

    @property
    def resized(self) -> tuple[int, int]:
        """Width and height before the crop, rounded half up."""
        return (20 * self.size + 7) // 14, (15 * self.size + 7) // 14

    def indices(self, length: int) -> np.ndarray:
        """Frame numbers (clips_per_video, frames), int32, in a video of ``length`` >= 1 frames.

        Every ``interval``-th frame; every (length // frames)-th where the video is shorter than frames * interval;
        below that all frames, with the last one repeated. One clip is taken from the middle, several at uniform
        distances from the first frame to the last.
        """
        assert length >= 1
        step = self.interval if length >= self.frames * self.interval else max(1, length // self.frames)
        slack = max(0, length - (self.frames - 1) * step - 1)
        if self.clips_per_video == 1:
            starts = np.array([slack // 2])
        else:
            starts = slack * np.arange(self.clips_per_video) // (self.clips_per_video - 1)
        wanted = starts[:, None] + step * np.arange(self.frames)
        return np.minimum(wanted, length - 1).astype(np.int32)


@dataclass(frozen=True)
class DecodedVideo:
    """Clips of one video."""

    clips: np.ndarray
    """uint8 (clips_per_video, T, S, S, 3), RGB."""
    length: int
    """Frames in the whole video, counted by decoding."""


@dataclass(frozen=True)
class SkippedVideo:
    """A video that gave no clips, and why: one line in plain words, nothing taken from inside the file."""

    reason: str


def read_video(path: Path, sampling: Sampling) -> DecodedVideo | SkippedVideo:
    """Decode the clips of ``path``, a video file or a folder of images.

    A frame whose own size is S x S already is taken as it is, neither resized nor cropped: demo videos and data that
    was cropped before would lose their border otherwise. Rotation metadata is ignored.
    """
    try:
        if path.is_dir():
            return _read_folder(frame_files(path), sampling)
        return _read_file(path, sampling)
    except _UnreadableError as error:
        return SkippedVideo(str(error))
    except FileNotFoundError:
        return SkippedVideo("the file is missing")
    except PermissionError:
        return SkippedVideo("no permission to read it")
    except (OSError, ValueError, av.error.FFmpegError):
        return SkippedVideo("it is damaged, or not a video that FFmpeg can read")
    except MemoryError:
        return SkippedVideo("its frames do not fit into memory")


class _UnreadableError(Exception):
    """A reason to skip that FFmpeg has no error for."""


class _Scaler:
    """Frames of any size and pixel format to uint8 (S, S, 3)."""

    def __init__(self, sampling: Sampling) -> None:
        self.size = sampling.size
        self.width, self.height = sampling.resized
        self.reformatter = VideoReformatter()  # one per video: setting up FFmpeg's scaler costs more than using it

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        size, width, height = self.size, self.width, self.height
        if (frame.width, frame.height) == (size, size):
            width = height = size
        rgb = self.reformatter.reformat(frame, width, height, "rgb24", interpolation="BILINEAR", threads=1)
        left, top = (width - size) // 2, (height - size) // 2
        return np.ascontiguousarray(rgb.to_ndarray()[top : top + size, left : left + size])


def _read_file(path: Path, sampling: Sampling) -> DecodedVideo | SkippedVideo:
    """Decode once and keep every frame scaled, since the length, and with it the middle, is known only at the end."""
    scale = _Scaler(sampling)
    room = max(sampling.frames, KEEP_BYTES // (3 * sampling.size**2))
    kept: dict[int, np.ndarray] = {}
    length = 0
    for frame in _frames(path):
        if length < room:
            kept[length] = scale(frame)
        length += 1
    if length == 0:
        return SkippedVideo("it has no frame that can be decoded")
    indices = sampling.indices(length)
    missing = set(indices.ravel().tolist()) - kept.keys()
    if missing:
        for number, frame in enumerate(_frames(path)):
            if number in missing:
                kept[number] = scale(frame)
            if number >= max(missing):
                break
    return DecodedVideo(np.stack([[kept[int(number)] for number in clip] for clip in indices]), length)


def _read_folder(files: list[Path], sampling: Sampling) -> DecodedVideo | SkippedVideo:
    if not files:
        return SkippedVideo("the folder holds no images")
    scale = _Scaler(sampling)
    indices = sampling.indices(len(files))
    kept: dict[int, np.ndarray] = {}
    for number in np.unique(indices).tolist():
        with files[number].open("rb") as image:  # as a path, FFmpeg would take a % in its name for a pattern
            frame = next(_frames(image), None)
        if frame is None:
            return SkippedVideo(f"image {number + 1} of {len(files)} cannot be decoded")
        kept[number] = scale(frame)
    return DecodedVideo(np.stack([[kept[int(number)] for number in clip] for clip in indices]), len(files))


def _frames(source: Path | BinaryIO) -> Iterator[av.VideoFrame]:
    """Frames of the first video stream in order; damaged packets are passed over, as players do.

    One thread, so that the frames do not depend on the machine. Only local files: a "video" may be a playlist that
    names an address in the network.
    """
    file: Any = str(source.absolute()) if isinstance(source, Path) else source
    with av.open(file, options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
        if container.format.name in TEXT_ART:
            raise _UnreadableError("it is text, not a video")
        if not container.streams.video:
            raise _UnreadableError("it has no video stream")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        good = damaged = 0
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:
                damaged += 1
                continue
            for frame in decoded:
                good += 1
                yield frame
        if damaged > good:
            raise _UnreadableError("more of it is damaged than can be decoded")
