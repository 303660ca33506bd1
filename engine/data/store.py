"""Reading CLIPS.h5: the only door through which training, evaluation and selection see real clips.

A clips file may come from somebody else, so everything in it is checked before it is used, and what HDF5 offers for
reaching outside the file (links, virtual and external storage, filters that it would load as plugins) is refused.
Opening reads only what describes the clips; pixels are read when they are asked for, or once for all by
:meth:`SplitView.load`.

HDF5 is asked only once where the clips lie in the file; they are then read past it, with plain reads into the result.
Through HDF5 a random batch costs several times as much. Plain reads, and not mapped memory: a file that loses its end
while it is mapped kills the process, a read tells. Stores and views may go to other processes, forked or spawned:
no two of them ever use one HDF5 handle.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import os
import struct
import weakref
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from engine.data.layouts.base import SPLITS
from engine.data.sources import recording
from engine.errors import DataError
from engine.text import one_line

FORMAT, VERSION = "vdtui.clips", 1
REPREPARE = "Make it anew with `vdtui prepare`."
COLUMNS = {"labels": np.int64, "video": np.int64, "frame_indices": np.int32, "crc32": np.uint32}
"""The datasets of a split beside its clips; the last two may be missing in files of older versions."""
TEXTS = ("videos/name", "videos/split", "skipped", "missing")
SHUFFLE, FLETCHER32, COMPRESSORS = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, (h5py.h5z.FILTER_DEFLATE, 32000)
"""HDF5's own filters and h5py's LZF; a dataset with any other is refused."""
MOST_COMPRESSED = 1100
"""Neither gzip (1032) nor LZF (90) can make bytes fewer by a larger factor: that file claims what it has not."""
LARGEST_READ = 1 << 30
HEAP, HEAP_HEADER, SEARCHED_AT_ONCE = b"GCOL\1", 16, 1 << 24
DAMAGED = (OSError, RuntimeError, ArithmeticError, LookupError, ValueError, TypeError, AttributeError, MemoryError)
"""The errors of HDF5, NumPy and conversions on values that are not what they should be."""


class ClipStore:
    """An open clips file, read-only; any number of processes may have the same file open. Close it or use ``with``."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        """Use :meth:`open`."""
        self.path = path
        self._hdf5, self._process = file, os.getpid()
        self._descriptor = os.dup(file.id.get_vfd_handle())
        self._close_descriptor = weakref.finalize(self, os.close, self._descriptor)
        self._loaded: dict[str, np.ndarray] = {}
        with _damage(path):
            _check_links(path, file)
            stretches = {dataset.name: _stretches(dataset) for dataset in _datasets(file)}
            _check_heaps(path, self._descriptor, list(stretches.values()))
            attributes = _attributes(path, file)
            self.classes: tuple[str, ...] = tuple(_json(attributes["classes"], list))
            self.frames, self.height, self.width, self.interval = (
                int(attributes[name]) for name in ("frames", "height", "width", "interval")
            )
            self.mean = _three(attributes["mean"])
            self.std = _three(attributes["std"])
            self.dataset, self.layout, self.created, self.tool, self.source_fingerprint = (
                str(attributes[name]) for name in ("dataset", "layout", "created", "tool", "source_fingerprint")
            )
            self.sampling: dict[str, Any] = _json(attributes.get("sampling", "{}"), dict)
            self.notes: tuple[str, ...] = tuple(map(str, _json(attributes.get("notes", "[]"), list)))
            self.official_split, self.missing, self.short_videos, self.dense_videos = (
                int(attributes.get(name, 0)) for name in ("split", "missing", "short_videos", "dense_videos")
            )
            self.checksum: str | None = str(attributes["checksum"]) if "checksum" in attributes else None
            self.splits: tuple[str, ...] = tuple(split for split in SPLITS if split in file)
            _require(path, min(self.std) > 0, "its std is not positive")
            self._check()
            self._pieces: dict[str, _Pieces | None] = {
                split: _pieces_of(file[split]["clips"], stretches[f"/{split}/clips"], self._descriptor)
                for split in self.splits
            }

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

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the file for itself, and refuses it if it holds other data by then."""
        return _reopened, (str(self.path.absolute()), self.fingerprint)

    def close(self) -> None:
        self._hdf5.close()
        self._close_descriptor()
        self._descriptor = -1
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
            return tuple((_text(row["path"]), _text(row["reason"])) for row in self.file["skipped"][()])

    @cached_property
    def video_names(self) -> tuple[str, ...]:
        """Names of the videos, relative to their source; ``SplitView.video`` points here."""
        with _damage(self.path):
            return tuple(_text(name) for name in self.file["videos/name"][()])

    @cached_property
    def recordings(self) -> np.ndarray:
        """Which recording each video was cut from, int64 (videos); numbered in the order of their first videos."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(recording(name), len(numbers)) for name in self.video_names], np.int64)

    def split(self, name: str) -> SplitView:
        """The clips of ``train``, ``test`` or (if the data has one) ``val``."""
        if name not in self.splits:
            raise DataError(f"{one_line(self.path)} has no split {name!r}.", f"It has: {', '.join(self.splits)}.")
        return SplitView(self, name, np.arange(len(self._columns[name, "labels"])))

    def crc32(self, split: str) -> np.ndarray | None:
        """The checksum of each clip when it was written, uint32 (n); None in a file of an older version."""
        with _damage(self.path):
            return self.file[split]["crc32"][()] if "crc32" in self.file[split] else None

    @property
    def file(self) -> h5py.File:
        """HDF5's view of the file. A forked process gets its own: HDF5 does not expect to be in two processes."""
        if self._process != os.getpid():
            opened, found = os.fstat(self._descriptor), self.path.stat()
            same = (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino)
            _require(self.path, same, "it was replaced while it was in use")
            self._hdf5.close()
            self._hdf5, self._process = _open_unlocked(self.path), os.getpid()
        return self._hdf5

    def _check(self) -> None:
        """Shapes, types and ranges; the cheap ones of all that could go wrong later."""
        _require(self.path, "train" in self.splits, "it has no train clips")
        _require(self.path, all(isinstance(name, str) for name in self.classes), "its classes are no names")
        _require(self.path, len(self.classes) > 0 and min(self.clip_shape) > 0, "its shape is impossible")
        file = self._hdf5
        for name in TEXTS:
            if name in file:
                _require(self.path, _texts_fit(file[name], self._descriptor), f"{name} is more than the file holds")
        videos = file["videos/label"].shape[0]
        for name in ("label", "frames"):
            self._check_column(f"videos/{name}", np.int64, (videos,))
        for split in self.splits:
            count, clips = file[split]["labels"].shape[0], file[split]["clips"]
            _require(self.path, clips.dtype == np.uint8 and clips.shape == (count, *self.clip_shape), f"{split} clips")
            _require(self.path, count > 0 and _is_stored(clips), f"{split} clips are missing")
            for name, dtype in COLUMNS.items():
                if name in ("labels", "video") or name in file[split]:
                    shape = (count, self.frames) if name == "frame_indices" else (count,)
                    self._check_column(f"{split}/{name}", dtype, shape)
            for name, limit in (("labels", len(self.classes)), ("video", videos)):
                values = file[split][name][()]
                inside = bool(np.all((values >= 0) & (values < limit)))
                _require(self.path, inside, f"{split} {name} point outside")

    def _check_column(self, name: str, dtype: type, shape: tuple[int, ...]) -> None:
        values = self._hdf5[name]
        _require(self.path, values.dtype == dtype and values.shape == shape, name)
        _require(self.path, values.id.get_storage_size() >= _nbytes(values), f"{name}: numbers are missing")

    def _read(self, split: str, rows: np.ndarray) -> np.ndarray:
        """Clips at ``rows``, in that order."""
        if split in self._loaded:
            return self._loaded[split][rows]
        read = np.empty((len(rows), *self.clip_shape), np.uint8)
        with _damage(self.path):
            pieces = self._pieces[split]
            if pieces is None:
                return _read_filtered(self.file[split]["clips"], rows)
            pieces.read(rows, read)
        return read

    def _read_frames(self, split: str, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        if split in self._loaded:
            return self._loaded[split][rows, numbers]
        read = np.empty((len(rows), *self.clip_shape[1:]), np.uint8)
        with _damage(self.path):
            pieces = self._pieces[split]
            if pieces is not None:
                pieces.read(rows, read, numbers)
                return read
            clips = self.file[split]["clips"]
            for position, (row, number) in enumerate(zip(rows.tolist(), numbers.tolist(), strict=True)):
                clips.read_direct(read, np.s_[row, number], np.s_[position])
        return read

    def _load(self, split: str) -> None:
        if split not in self._loaded:
            self._loaded[split] = self._read(split, np.arange(len(self._columns[split, "labels"])))

    @cached_property
    def _columns(self) -> dict[tuple[str, str], np.ndarray]:
        with _damage(self.path):
            return {(split, name): self.file[split][name][()] for split in self.splits for name in ("labels", "video")}


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

    def __reduce__(self) -> tuple[Any, ...]:
        return SplitView, (self.store, self.name, self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def identity(self) -> str:
        """A fingerprint of which clips of which data these are."""
        sha = hashlib.sha256(f"{self.store.fingerprint} {self.name}".encode())
        sha.update(np.ascontiguousarray(self._rows, dtype="<i8").tobytes())
        return sha.hexdigest()[:32]

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
        """Part with about ``fraction`` of each class's videos: (what stays for training, what is held out).

        All clips of a video go to the same side, and so do all videos of a recording (`engine.data.sources`), unless
        a class has only one. A class gives one video at least and keeps one at least, so a class of one video gives
        none. Which ones depends on ``seed``, the class and nothing else.
        """
        if not 0 <= fraction < 1:
            raise ValueError(f"fraction must be in [0, 1), not {fraction}")
        held: list[np.ndarray] = []
        for label in np.unique(self.labels):
            videos = np.unique(self.video[self.labels == label])
            wanted = max(1, round(len(videos) * fraction)) if fraction > 0 else 0
            generator = np.random.default_rng([seed, int(label)])
            recordings = self.store.recordings[videos]
            if len(np.unique(recordings)) == 1:
                recordings = videos
            held.append(_some(videos, recordings, min(wanted, len(videos) - 1), generator))
        out = np.isin(self.video, np.concatenate(held)) if held else np.zeros(len(self), bool)
        return SplitView(self.store, self.name, self._rows[~out]), SplitView(self.store, self.name, self._rows[out])


def _some(videos: np.ndarray, recordings: np.ndarray, wanted: int, generator: np.random.Generator) -> np.ndarray:
    """``wanted`` of ``videos``, or fewer: whole recordings, in a random order, that still fit; at least one."""
    numbers, counts = np.unique(recordings, return_counts=True)
    order = generator.permutation(len(numbers))
    if not wanted:
        return videos[:0]
    taken, total = [], 0
    for place in order:
        if total + counts[place] <= wanted:
            taken.append(numbers[place])
            total += counts[place]
    if not taken:
        taken = [numbers[order[np.argmin(counts[order])]]]
    return videos[np.isin(recordings, taken)]


class _Pieces:
    """The clips of a split that lie in the file byte by byte, each in one piece."""

    def __init__(self, descriptor: int, starts: np.ndarray, clip_bytes: int) -> None:
        """``starts``: where in the file ``descriptor`` each clip begins, int64 (n)."""
        self._descriptor = descriptor
        self._starts = starts
        self._clip_bytes = clip_bytes

    def read(self, rows: np.ndarray, into: np.ndarray, frames: np.ndarray | None = None) -> None:
        """Fill ``into`` (n, ...) with the clips ``rows``, or with frame ``frames[i]`` of each.

        In the order of the file, for the disk's sake; neighbours that shall be neighbours come in one read.
        """
        if not len(rows):
            return
        size = into[0].nbytes
        starts = self._starts[rows] if frames is None else self._starts[rows] + frames * size
        order = np.argsort(starts, kind="stable")
        starts = starts[order]
        joined = (np.diff(starts) == size) & (np.diff(order) == 1)
        bounds = np.flatnonzero(np.concatenate([[True], ~joined, [True]]))
        target = into.reshape(-1).data
        begins = (order[bounds[:-1]] * size).tolist()
        lengths = (np.diff(bounds) * size).tolist()
        for offset, begin, length in zip(starts[bounds[:-1]].tolist(), begins, lengths, strict=True):
            self._fill(target[begin : begin + length], offset)

    def _fill(self, target: memoryview, offset: int) -> None:
        while len(target):
            count = os.preadv(self._descriptor, [target[:LARGEST_READ]], offset)
            if count == 0:
                raise OSError("the file has become shorter")
            target, offset = target[count:], offset + count


def _stretches(dataset: h5py.Dataset) -> np.ndarray:
    """Return a dataset's places in the file, int64 (n, 4): first row, first byte, length, 1 if it is no plain clip."""
    if dataset.chunks is None:
        start = dataset.id.get_offset()
        found = [] if start is None else [(0, start, dataset.id.get_storage_size(), True)]
    else:
        found = []
        dataset.id.chunk_iter(
            lambda c: found.append((c.chunk_offset[0], c.byte_offset, c.size, c.filter_mask or any(c.chunk_offset[1:])))
        )
    return np.array(found, np.int64).reshape(-1, 4)


def _pieces_of(clips: h5py.Dataset, stretches: np.ndarray, descriptor: int) -> _Pieces | None:
    """Return the places of the clips, if they lie there as they are; raises OSError where they cannot be clips."""
    chunk, count = (1, *clips.shape[1:]), len(clips)
    plain = clips.chunks == chunk and clips.id.get_create_plist().get_nfilters() == 0
    if not plain or not hasattr(os, "preadv"):
        return None
    rows, starts, lengths, odd = stretches.T
    size = math.prod(chunk)
    known = (rows >= 0) & (rows < count) & (lengths == size) & (odd == 0)
    if len(np.unique(rows)) != count or not known.all():
        raise OSError("clips of another size")
    ordered = np.empty(count, np.int64)
    ordered[rows] = starts
    return _Pieces(descriptor, ordered, size)


def _read_filtered(clips: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    """Clips at ``rows`` through HDF5, which undoes compression: in runs of neighbours, each clip once."""
    wanted, positions = np.unique(rows, return_inverse=True)
    read = np.empty((len(wanted), *clips.shape[1:]), np.uint8)
    for start, stop in _runs(wanted):
        clips.read_direct(read, np.s_[wanted[start] : wanted[stop - 1] + 1], np.s_[start:stop])
    in_order = len(wanted) == len(rows) and bool(np.all(wanted == rows))
    return read if in_order else read[positions]


def _reopened(path: str, fingerprint: str) -> ClipStore:
    """The store that was pickled."""
    store = ClipStore.open(Path(path))
    if store.fingerprint != fingerprint:
        store.close()
        raise DataError(f"{one_line(path)} was replaced by other data while it was in use.", "Start again.")
    return store


def _open_unlocked(path: Path) -> h5py.File:
    # No cache of chunks: a chunk is a clip, and without the cache one frame of it can be read alone.
    try:
        return h5py.File(path, "r", locking=False, rdcc_nbytes=0)
    except OSError as error:
        if "locking flag" not in str(error):
            raise
        return h5py.File(path, "r", rdcc_nbytes=0)  # open in this very process with locking, as in a notebook


def _attributes(path: Path, file: h5py.File) -> dict[str, Any]:
    attributes = {name: file.attrs[name] for name in small_attributes(file)}
    if attributes.get("format") != FORMAT:
        raise DataError(f"{one_line(path)} is an HDF5 file, but not one of clips.", REPREPARE)
    version = attributes.get("version")
    if version != VERSION:
        raise DataError(
            f"{one_line(path)} has version {one_line(str(version))} of the clips format; this is version {VERSION}.",
            "Update vdtui, or make the file anew with `vdtui prepare`.",
        )
    return attributes


def small_attributes(file: h5py.File) -> list[str]:
    """Names of the attributes of up to three values, as those of the format; only these may be read."""
    return [name for name in file.attrs if math.prod(file.attrs.get_id(name).shape or ()) <= 3]


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
    for dataset in _datasets(file):
        if dataset.is_virtual or dataset.external:
            raise DataError(
                f"{one_line(path)} refers to other files ({one_line(dataset.name)}), which is refused.", REPREPARE
            )
        _check_filters(path, dataset)


def _datasets(group: h5py.Group) -> Iterator[h5py.Dataset]:
    for name in group:
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _datasets(item)
        elif isinstance(item, h5py.Dataset):
            yield item


def _check_filters(path: Path, dataset: h5py.Dataset) -> None:
    """Refuse what HDF5 would look for in plugins, and bytes that were made fewer twice: a bomb."""
    plan = dataset.id.get_create_plist()
    found = [plan.get_filter(number)[0] for number in range(plan.get_nfilters())]
    known = set(found) <= {SHUFFLE, FLETCHER32, *COMPRESSORS}
    if not known or sum(number in COMPRESSORS for number in found) > 1:
        raise DataError(
            f"{one_line(path)} is compressed in a way that is refused ({one_line(dataset.name)}).", REPREPARE
        )


def _check_heaps(path: Path, descriptor: int, stretches: list[np.ndarray]) -> None:
    """Refuse damaged heaps, where HDF5 keeps texts: it walks over them for ever.

    They are anywhere between the ``stretches`` that datasets fill.
    """
    filled = np.concatenate([np.empty((0, 4), np.int64), *stretches])[:, 1:3]
    size = os.fstat(descriptor).st_size
    inside = (filled >= 0).all(axis=1) & (filled[:, 1] <= size) & (filled[:, 0] <= size - filled[:, 1])
    _require(path, bool(inside.all()), "something is not in it")
    filled = filled[np.argsort(filled[:, 0])]
    begins = np.maximum.accumulate(np.concatenate([[0], filled.sum(axis=1)]))
    ends = np.concatenate([filled[:, 0], [size]])
    wide = ends - begins >= HEAP_HEADER
    for begin, end in zip(begins[wide].tolist(), ends[wide].tolist(), strict=True):
        _require(path, _heaps_are_whole(descriptor, begin, end), "its texts")


def _heaps_are_whole(descriptor: int, begin: int, end: int) -> bool:
    """Return whether all heaps between two places in the file are such that HDF5 comes to their end."""
    while end - begin >= HEAP_HEADER:
        window = os.pread(descriptor, min(SEARCHED_AT_ONCE, end - begin), begin)
        position = window.find(HEAP)
        if not window:
            return False  # it has just become shorter
        if position < 0:
            begin += max(HEAP_HEADER, len(window) - len(HEAP) + 1)
            continue
        begin += position
        length = int.from_bytes(os.pread(descriptor, HEAP_HEADER, begin)[8:], "little")
        if not HEAP_HEADER <= length <= end - begin or not _heap_is_whole(os.pread(descriptor, length, begin)):
            return False
        begin += length
    return True


def _heap_is_whole(heap: bytes) -> bool:
    """Its objects lie one behind the other: number, count, length, and bytes to the next multiple of 8."""
    position = HEAP_HEADER
    while position + HEAP_HEADER <= len(heap):
        number, size = struct.unpack_from("<H6xQ", heap, position)
        if number == 0 and size == 0:
            return False
        position += HEAP_HEADER + -(-size // 8) * 8 if number else size  # number 0: free space, header and all
    return position <= len(heap)


def _nbytes(dataset: h5py.Dataset) -> int:
    return math.prod(dataset.shape) * int(dataset.dtype.itemsize)  # h5py's own overflows where a file lies


def _is_stored(clips: h5py.Dataset) -> bool:
    """Return whether all clips are in the file; HDF5 gives zeros for what was never written."""
    stored, claimed = clips.id.get_storage_size(), _nbytes(clips)
    if clips.id.get_create_plist().get_nfilters():
        return stored > 0 and claimed <= MOST_COMPRESSED * stored
    return bool(stored == claimed)


def _texts_fit(dataset: h5py.Dataset, descriptor: int) -> bool:
    """Return whether texts take no more memory than the file is large: many may refer to one that is large.

    HDF5 stores a text as its length, 4 bytes, and where it is, 12 bytes.
    """
    kinds = [dataset.dtype[name] for name in dataset.dtype.names] if dataset.dtype.names else [dataset.dtype]
    if any(getattr(h5py.check_string_dtype(kind), "length", 0) is not None for kind in kinds):
        return False
    claimed, stored = 16 * len(kinds) * math.prod(dataset.shape), dataset.id.get_storage_size()
    if not claimed:
        return True
    offset, size = dataset.id.get_offset(), os.fstat(descriptor).st_size
    if offset is None or stored != claimed or claimed > size:
        return False
    lengths = np.frombuffer(os.pread(descriptor, claimed, offset), "<u4")[::4]
    return int(lengths.sum(dtype=np.int64)) <= size


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Errors of HDF5, and of values that are not what they should be, in the user's words."""
    try:
        yield
    except DAMAGED as error:
        raise DataError(f"{one_line(path)} is damaged: it cannot be read as clips.", REPREPARE) from error


def _require(path: Path, good: bool, what: str) -> None:
    if not good:
        raise DataError(f"{one_line(path)} is damaged ({what}).", REPREPARE)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    if not np.isfinite([red, green, blue]).all():
        raise ValueError
    return red, green, blue


def _json(text: Any, kind: type) -> Any:
    found = json.loads(text)
    if not isinstance(found, kind):
        raise TypeError
    return found


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
