"""Reading CLIPS.h5: the only door through which training, evaluation and selection see real clips.

A clips file may come from somebody else, so everything in it is checked before it is used, and what HDF5 offers for
reaching outside the file (links, virtual and external storage) is refused. Opening reads only what describes the
clips; pixels are read when they are asked for, or once for all by :meth:`SplitView.load`.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from engine.data.layouts.base import SPLITS, one_line
from engine.errors import DataError

FORMAT, VERSION = "vdtui.clips", 1
REPREPARE = "Make it anew with `vdtui prepare`."


class ClipStore:
    """An open clips file, read-only; any number of processes may have the same file open. Close it or use ``with``."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        """Use :meth:`open`."""
        self.path = path
        self._file = file
        self._loaded: dict[str, np.ndarray] = {}
        with _damage(path):
            _check_links(path, file)
            attributes = _attributes(path, file)
            self.classes: tuple[str, ...] = tuple(json.loads(attributes["classes"]))
            self.frames, self.height, self.width, self.interval = (
                int(attributes[name]) for name in ("frames", "height", "width", "interval")
            )
            self.mean = _three(attributes["mean"])
            self.std = _three(attributes["std"])
            self.dataset, self.layout, self.created, self.tool, self.source_fingerprint = (
                str(attributes[name]) for name in ("dataset", "layout", "created", "tool", "source_fingerprint")
            )
            self.splits: tuple[str, ...] = tuple(split for split in SPLITS if split in file)
            _require(path, min(self.std) > 0, "its std is not positive")
            self._check()

    @classmethod
    def open(cls, path: Path) -> ClipStore:
        """Open and check ``path``; raises :class:`DataError` if it is missing, damaged, foreign or unsafe."""
        path = Path(path)
        if not path.is_file():
            raise DataError(f"There is no clips file {one_line(path)}.", "Make one with `vdtui prepare`.")
        try:
            file = _open_unlocked(path)
        except PermissionError as error:
            raise DataError(f"No permission to read {one_line(path)}.", "Ask its owner, or use a copy.") from error
        except (OSError, RuntimeError) as error:
            raise DataError(f"{one_line(path)} is not a clips file, or it is truncated.", REPREPARE) from error
        try:
            return cls(path, file)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        self._file.close()
        self._loaded.clear()

    def __enter__(self) -> ClipStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(T, H, W, 3)."""
        return self.frames, self.height, self.width, 3

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that tell this data from other data: sources, classes, shapes, labels."""
        digest = hashlib.sha256(json.dumps([self.source_fingerprint, self.classes, self.clip_shape]).encode())
        for split in self.splits:
            digest.update(f"{split} {len(self.split(split))}".encode())
            digest.update(self.split(split).labels.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """(video, reason) of the videos that gave no clips."""
        with _damage(self.path):
            return tuple((_text(row["path"]), _text(row["reason"])) for row in self._file["skipped"][()])

    @cached_property
    def video_names(self) -> tuple[str, ...]:
        """Names of the videos, relative to their source; ``SplitView.video`` points here."""
        with _damage(self.path):
            return tuple(_text(name) for name in self._file["videos/name"][()])

    def split(self, name: str) -> SplitView:
        """The clips of ``train``, ``test`` or (if the data has one) ``val``."""
        if name not in self.splits:
            raise DataError(f"{one_line(self.path)} has no split {name!r}.", f"It has: {', '.join(self.splits)}.")
        return SplitView(self, name, np.arange(self._file[name]["labels"].shape[0]))

    def _check(self) -> None:
        """Shapes, types and ranges; the cheap ones of all that could go wrong later."""
        _require(self.path, "train" in self.splits and "test" in self.splits, "it has no train or no test clips")
        _require(self.path, all(isinstance(name, str) for name in self.classes), "its classes are no names")
        _require(self.path, len(self.classes) > 0 and min(self.clip_shape) > 0, "its shape is impossible")
        videos = self._file["videos/label"].shape[0]
        for split in self.splits:
            group = self._file[split]
            clips, count = group["clips"], group["labels"].shape[0]
            _require(self.path, clips.dtype == np.uint8 and clips.shape == (count, *self.clip_shape), f"{split} clips")
            stored = clips.id.get_storage_size()
            whole = stored == clips.nbytes if clips.compression is None else stored > 0
            _require(self.path, count > 0 and whole, f"{split} clips are missing")
            for name, limit in (("labels", len(self.classes)), ("video", videos)):
                values = group[name]
                _require(self.path, values.dtype == np.int64 and values.shape == (count,), f"{split} {name}")
                _require(self.path, values.id.get_storage_size() >= values.nbytes, f"{split} {name} are missing")
                inside = bool(np.all((values[()] >= 0) & (values[()] < limit)))
                _require(self.path, inside, f"{split} {name} point outside")

    def _read(self, split: str, rows: np.ndarray) -> np.ndarray:
        """Clips at ``rows``, in that order; on the disk in runs of neighbours, each clip once."""
        if split in self._loaded:
            return self._loaded[split][rows]
        wanted, positions = np.unique(rows, return_inverse=True)
        read = np.empty((len(wanted), *self.clip_shape), np.uint8)
        with _damage(self.path):
            clips = self._file[split]["clips"]
            for start, stop in _runs(wanted):
                clips.read_direct(read, np.s_[wanted[start] : wanted[stop - 1] + 1], np.s_[start:stop])
        in_order = len(wanted) == len(rows) and bool(np.all(wanted == rows))
        return read if in_order else read[positions]

    def _read_frames(self, split: str, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        if split in self._loaded:
            return self._loaded[split][rows, numbers]
        read = np.empty((len(rows), *self.clip_shape[1:]), np.uint8)
        with _damage(self.path):
            clips = self._file[split]["clips"]
            for position, (row, number) in enumerate(zip(rows.tolist(), numbers.tolist(), strict=True)):
                clips.read_direct(read, np.s_[row, number], np.s_[position])
        return read

    def _load(self, split: str) -> None:
        if split not in self._loaded:
            self._loaded[split] = self._read(split, np.arange(self._file[split]["labels"].shape[0]))

    @cached_property
    def _columns(self) -> dict[tuple[str, str], np.ndarray]:
        with _damage(self.path):
            return {
                (split, name): self._file[split][name][()].astype(np.int64)
                for split in self.splits
                for name in ("labels", "video")
            }


class SplitView:
    """Some clips of one split of a :class:`ClipStore`, numbered from 0."""

    def __init__(self, store: ClipStore, name: str, rows: np.ndarray) -> None:
        """``rows``: which clips of split ``name``, int64 (n)."""
        self.store = store
        self.name = name
        self._rows = rows
        self.labels: np.ndarray = _fixed(store._columns[name, "labels"][rows])
        """int64 (n)."""
        self.video: np.ndarray = _fixed(store._columns[name, "video"][rows])
        """int64 (n): which video a clip is from; several clips may be from one."""

    def __len__(self) -> int:
        return len(self._rows)

    def clips(self, indices: Any) -> np.ndarray:
        """Clips at ``indices`` (any order, repeats allowed) in that order, uint8 (len(indices), T, H, W, 3)."""
        return self.store._read(self.name, self._rows[_indices(indices)])

    def frames_at(self, indices: Any, frame_numbers: Any) -> np.ndarray:
        """Frame ``frame_numbers[i]`` of clip ``indices[i]``, uint8 (n, H, W, 3); reads no other frame."""
        rows, numbers = np.broadcast_arrays(self._rows[_indices(indices)], _indices(frame_numbers))
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < self.store.frames:
            raise IndexError(f"frame numbers must be in [0, {self.store.frames})")
        return self.store._read_frames(self.name, rows, numbers)

    def by_class(self, label: int) -> np.ndarray:
        """Indices of the clips of class ``label``, ascending, int64."""
        return np.flatnonzero(self.labels == label)

    def load(self) -> SplitView:
        """Read the whole split into memory once; every view of it then takes its clips from there. Returns itself."""
        self.store._load(self.name)
        return self

    def holdout(self, fraction: float, seed: int) -> tuple[SplitView, SplitView]:
        """Part with ``fraction`` of each class's videos: (what stays for training, what is held out).

        All clips of a video go to the same side. A class gives one video at least and keeps one at least, so a class
        of one video gives none. Which ones depends on ``seed``, the class and nothing else.
        """
        if not 0 <= fraction < 1:
            raise ValueError(f"fraction must be in [0, 1), not {fraction}")
        held: list[np.ndarray] = []
        for label in np.unique(self.labels):
            videos = np.unique(self.video[self.labels == label])
            wanted = max(1, round(len(videos) * fraction)) if fraction > 0 else 0
            generator = np.random.default_rng([seed, int(label)])
            held.append(generator.permutation(videos)[: min(wanted, len(videos) - 1)])
        out = np.isin(self.video, np.concatenate(held)) if held else np.zeros(len(self), bool)
        return SplitView(self.store, self.name, self._rows[~out]), SplitView(self.store, self.name, self._rows[out])


def _open_unlocked(path: Path) -> h5py.File:
    # No cache of chunks: a chunk is a clip, and without the cache one frame of it can be read alone.
    try:
        return h5py.File(path, "r", locking=False, rdcc_nbytes=0)
    except OSError as error:
        if "locking flag" not in str(error):
            raise
        return h5py.File(path, "r", rdcc_nbytes=0)  # open in this very process with locking, as in a notebook


def _attributes(path: Path, file: h5py.File) -> dict[str, Any]:
    attributes = dict(file.attrs)
    if attributes.get("format") != FORMAT:
        raise DataError(f"{one_line(path)} is an HDF5 file, but not one of clips.", REPREPARE)
    if attributes.get("version") != VERSION:
        raise DataError(
            f"{one_line(path)} has version {attributes.get('version')} of the clips format; this is version {VERSION}.",
            "Update vdtui, or make the file anew with `vdtui prepare`.",
        )
    return attributes


def _check_links(path: Path, file: h5py.File) -> None:
    """Refuse whatever would read from another file, before anything is read at all."""
    groups = [file]
    while groups:
        group = groups.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise DataError(
                    f"{one_line(path)} refers to other places ({one_line(name)} is a link), which is refused.",
                    REPREPARE,
                )
            item = group[name]
            if isinstance(item, h5py.Group):
                _require(path, len(groups) < 100 and item.name.count("/") < 5, "it has too many groups")
                groups.append(item)
            elif isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
                raise DataError(
                    f"{one_line(path)} refers to other files ({one_line(name)}), which is refused.", REPREPARE
                )


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Errors of HDF5, and of values that are not what they should be, in the user's words."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise DataError(f"{one_line(path)} is damaged: it cannot be read as clips.", REPREPARE) from error


def _require(path: Path, good: bool, what: str) -> None:
    if not good:
        raise DataError(f"{one_line(path)} is damaged ({what}).", REPREPARE)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    if not np.isfinite([red, green, blue]).all():
        raise ValueError
    return red, green, blue


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _fixed(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def _indices(values: Any) -> np.ndarray:
    """Any sequence of integers as int64 (n); a boolean mask would silently mean 0 and 1, so it is refused."""
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError("indices must be integers")
    return np.atleast_1d(array).astype(np.int64)


def _runs(ascending: np.ndarray) -> Iterator[tuple[int, int]]:
    """Bounds (start, stop) of the stretches of neighbours in ``ascending``."""
    if len(ascending):
        breaks = np.flatnonzero(np.diff(ascending) != 1) + 1
        bounds = [0, *breaks.tolist(), len(ascending)]
        yield from itertools.pairwise(bounds)
