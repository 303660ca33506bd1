"""Whether a clips file still holds what `prepare` wrote: disks and copies lose bytes silently.

Each clip has a checksum, and so has everything else together. They are compared only when somebody asks (`vdtui data
--verify`), since that reads every byte; ordinary reads trust the disk.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

SPLITS = ("train", "val", "test")
COLUMNS = ("labels", "video", "frame_indices", "crc32")
VIDEO_COLUMNS = ("name", "split", "label", "frames")
UNCHECKED = frozenset({"created", "checksum"})
CLIPS_AT_ONCE = 16

Progress = Callable[[int, int, str], None]
Check = Callable[[], None]


@dataclass(frozen=True)
class Damage:
    """Something that is not as it was written."""

    split: str
    """Empty for what is not a clip."""
    clip: int
    """Its number in the split; -1 for what is not a clip."""
    video: str
    """The video that the clip is from."""
    what: str
    """In plain words."""


def content_checksum(file: h5py.File) -> str:
    """sha256 over everything in ``file`` but the pixels, which have checksums of their own in it."""
    sha = hashlib.sha256()
    names = [f"{split}/{column}" for split in SPLITS if split in file for column in COLUMNS]
    names += [f"videos/{column}" for column in VIDEO_COLUMNS] + ["skipped", "missing"]
    for name in names:
        if name in file:
            sha.update(_described(name, file[name][()]))
    for name in sorted(set(file.attrs) - UNCHECKED):
        sha.update(_described(f"@{name}", file.attrs[name]))
    return sha.hexdigest()


def _described(name: str, value: Any) -> bytes:
    """Name, shape and values in one encoding, however HDF5 stores them."""
    array = np.asarray(value)
    if array.dtype.kind in "iufb":
        kind = {"i": "<i8", "u": "<u8", "b": "<u8", "f": "<f8"}[array.dtype.kind]
        return f"{name} {array.dtype.kind}{array.shape}".encode() + array.astype(kind).tobytes()
    texts = [_text(item) for row in array.ravel().tolist() for item in (row if isinstance(row, tuple) else (row,))]
    return f"{name} text{array.shape}{json.dumps(texts)}".encode()


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def verify(path: Path, progress: Progress | None = None, check: Check | None = None) -> list[Damage] | None:
    """All damage in the clips file, in order; None if it has no checksums (made by an older version).

    Raises DataError where so much is damaged that it cannot be read as a clips file.
    """
    from engine.data.store import ClipStore

    with ClipStore.open(path) as store:
        return store.damage(progress or (lambda done, total, what: None), check or (lambda: None))


def damaged_clips(clips: np.ndarray, expected: np.ndarray) -> Iterator[int]:
    """Positions in ``clips`` (n, ...) whose bytes do not have the checksums ``expected`` (n)."""
    for position, (clip, crc32) in enumerate(zip(clips, expected.tolist(), strict=True)):
        if zlib.crc32(np.ascontiguousarray(clip).data) != crc32:
            yield position
