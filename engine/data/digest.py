"""The digest of one video: its clips, and the few numbers that are cheap while its pixels are at hand.

Checksums, sums for mean and deviation, and the fingerprint of the source are taken here, in the process that has just
read the file: taken later, each would be another pass over all videos or all clips.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.data.decode import Remark, SkippedVideo, read_video
from engine.data.layouts.base import VideoEntry
from engine.data.layouts.frames import frame_files
from engine.data.sampling import Sampling

HASHED_BYTES = 64 * 1024


@dataclass(frozen=True)
class Task:
    """A video to digest; travels to another process."""

    entry: VideoEntry
    sampling: Sampling
    root: Path | None


@dataclass(frozen=True)
class Digest:
    """A video's clips and what is recorded of them."""

    clips: np.ndarray
    """uint8 (n, T, S, S, 3)."""
    indices: np.ndarray
    """int32 (n, T): the frames that they show."""
    frames: int
    """The number of frames of the whole video."""
    dense: bool
    """True if its frames lie closer than was asked for, since it is short."""
    crc32: tuple[int, ...]
    """The checksum of each clip's bytes."""
    totals: tuple[int, ...]
    """Sums of red, green and blue, then of their squares, over all pixels of all clips."""
    content: str
    """Hash of what is in the source: a file's size and ends, or the images of a folder."""
    remarks: tuple[Remark, ...] = ()


def digest(task: Task) -> Digest | SkippedVideo:
    """Read the clips of a video, with their checksums and sums."""
    entry, sampling = task.entry, task.sampling
    decoded = read_video(entry, sampling, task.root)
    if isinstance(decoded, SkippedVideo):
        return decoded
    clips = np.ascontiguousarray(decoded.clips)
    return Digest(
        clips,
        decoded.indices,
        decoded.length,
        _dense(sampling, decoded.length, decoded.rate),
        tuple(zlib.crc32(clip.data) for clip in clips),
        totals(clips),
        content(entry.path, decoded.rules),
        decoded.remarks,
    )


def _dense(sampling: Sampling, frames: int, rate: float | None) -> bool:
    if sampling.spacing == "uniform" or frames < sampling.frames:
        return False  # the last frame is repeated, which is counted by itself
    wanted = sampling.interval if sampling.fps is None else (rate or 0.0) / sampling.fps
    return sampling.step(frames, rate) < wanted


def totals(clips: np.ndarray) -> tuple[int, ...]:
    """Exact sums per channel of uint8 (..., 3), then sums of squares: six integers that no order of adding changes."""
    counts = [np.bincount(clips[..., channel].ravel(), minlength=256).tolist() for channel in range(3)]
    sums = [sum(value * number for value, number in enumerate(count)) for count in counts]
    squares = [sum(value * value * number for value, number in enumerate(count)) for count in counts]
    return (*sums, *squares)


def content(path: Path, rules: tuple[str, ...] = ()) -> str:
    """32 hex digits of a file's size, first and last 64 KiB; of a folder, of its images' names, sizes and two ends.

    ``rules`` (:attr:`DecodedVideo.rules`) count too.
    """
    sha = hashlib.sha256()
    for part in _parts(path):
        sha.update(part)
    for rule in rules:
        sha.update(rule.encode())
    return sha.hexdigest()[:32]


def _parts(path: Path) -> Iterator[bytes]:
    if path.is_dir():
        images = frame_files(path)
        for image in images:
            yield os.fsencode(image.name) + b"\0%d\0" % image.stat().st_size
        for image in (*images[:1], *images[-1:]):
            yield from _parts(image)
        return
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        yield b"%d\0" % size
        yield file.read(HASHED_BYTES)
        file.seek(max(HASHED_BYTES, size - HASHED_BYTES))
        yield file.read(HASHED_BYTES)
