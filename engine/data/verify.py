"""The check that a clips file still holds what `prepare` wrote: disks and copies lose bytes silently.

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

from engine.data.layouts.base import SPLITS
from engine.data.store import COLUMNS, DAMAGED, ClipStore, SplitView, small_attributes
from engine.errors import DataError

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

    ``progress(done, total, split)`` counts clips; ``check()`` is called between blocks of them and may raise to stop.
    Raises DataError where so much is damaged that it cannot be read as a clips file.
    """
    with ClipStore.open(path) as store:
        views = [store.split(split) for split in store.splits]
        expected = [store.crc32(view.name) for view in views]
        if store.checksum is None and all(values is None for values in expected):
            return None
        found = list(_metadata_damage(store))
        done, total = 0, sum(map(len, views))
        for view, values in zip(views, expected, strict=True):
            if values is None:
                found.append(Damage(view.name, -1, "", f"the checksums of the {view.name} clips are gone"))
                continue
            for start in range(0, len(view), CLIPS_AT_ONCE):
                if check is not None:
                    check()
                found += _clip_damage(view, range(start, min(start + CLIPS_AT_ONCE, len(view))), values)
                if progress is not None:
                    progress(done + min(start + CLIPS_AT_ONCE, len(view)), total, view.name)
            done += len(view)
        return found


def _metadata_damage(store: ClipStore) -> Iterator[Damage]:
    """Return the faults of everything but the pixels; that the numbers make sense was seen when it was opened."""
    what = "labels, names or attributes are not as they were written"
    try:
        same = len(small_attributes(store.file)) == len(store.file.attrs)  # prepare writes no others
        same = same and store.checksum == content_checksum(store.file)
    except DAMAGED:
        same = False
    if not same:
        yield Damage("", -1, "", what)


def _clip_damage(view: SplitView, rows: range, expected: np.ndarray) -> Iterator[Damage]:
    """The damage in the clips ``rows`` of a split whose checksums were ``expected``."""
    try:
        clips = view.clips(rows)
    except DataError:
        if len(rows) > 1:
            for row in rows:
                yield from _clip_damage(view, range(row, row + 1), expected)
        else:
            yield _damaged(view, rows[0], "it cannot be read")
        return
    for row, clip in zip(rows, clips, strict=True):
        if zlib.crc32(clip.data) != expected[row]:
            yield _damaged(view, row, "its pixels are not as they were written")


def _damaged(view: SplitView, row: int, what: str) -> Damage:
    try:
        name = view.store.video_names[int(view.video[row])]
    except (DataError, IndexError):
        name = ""
    return Damage(view.name, row, name, what)
