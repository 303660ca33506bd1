"""From a listing of videos to one file of clips, CLIPS.h5 (format ``vdtui.clips``, version 1).

Training reads clips thousands of times, so decoding happens once, here. The file is complete or absent: work in
progress lives in ``NAME.h5.partial`` beside it, and after an interruption, even a kill -9, the next prepare goes on
there and ends with the same file. Where in the pipeline a video was skipped, read and counted is recorded in the file,
so a result can be traced to the videos that it came from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np

from engine.data.copies import Copies, find_copies
from engine.data.decode import REMARKS, SkippedVideo
from engine.data.digest import Digest, Task, digest
from engine.data.layouts.base import SPLITS, Listing, VideoEntry, natural_key
from engine.data.partial import RULES, PartialClips, Records, exclusive, remove
from engine.data.pool import Workers
from engine.data.sampling import Sampling
from engine.data.shards import Shard, join
from engine.data.store import FORMAT, VERSION
from engine.data.verify import content_checksum
from engine.errors import DataError, StorageError, UsageError
from engine.files import storage_errors
from engine.text import counted, human_bytes, one_line
from engine.version import VERSION as TOOL_VERSION

COMPRESSIONS = (None, "gzip", "lzf")
BLOCK_BYTES = 16 * 2**20
METADATA_BYTES = 1024
"""More than name, labels and HDF5's own bookkeeping of a video take."""

Progress = Callable[[int, int, str], None]
Check = Callable[[], None]


@dataclass(frozen=True)
class PrepareSummary:
    """The result of a prepare."""

    path: Path
    dataset: str
    layout: str
    split: int | None
    """Which official split, where the data set has several."""
    classes: tuple[str, ...]
    videos: dict[str, int]
    """Split -> videos that gave clips."""
    clips: dict[str, int]
    """Split -> clips."""
    skipped: tuple[tuple[str, str], ...]
    """(video, reason) of those that gave none."""
    missing: int
    """Videos that are not on the disk, in a data set where that is normal."""
    short_videos: int
    """Videos with fewer frames than a clip, whose last frame is repeated."""
    dense_videos: int
    """Videos too short for the spacing of frames that was asked for, whose frames are taken closer together."""
    resumed_videos: int
    """Videos that an interrupted prepare had already done."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source_fingerprint: str
    nbytes: int
    """Size of the file."""
    seconds: float
    notes: tuple[str, ...]
    """Things that a user should know and that are no error."""


def prepare(
    listing: Listing,
    output: Path,
    sampling: Sampling,
    *,
    workers: int = 0,
    max_skipped_percent: float = 5.0,
    overwrite: bool = False,
    compression: str | None = None,
    progress: Progress | None = None,
    check: Check | None = None,
) -> PrepareSummary:
    """Decode all videos of ``listing`` into ``output``.

    ``progress(done, total, name)`` is told of each video, in order; ``check()`` is called several times a second and
    may raise to stop, which loses nothing. The result does not depend on ``workers`` (processes; 0: this one) or on
    interruptions.

    Raises :class:`UsageError` (impossible option, output exists, another process writes it), :class:`DataError` (too
    many videos skipped, a class without training clips, no test clips), :class:`StorageError` (disk).
    """
    started = time.monotonic()
    _check_options(output, overwrite, max_skipped_percent, compression)
    check = check or _nothing
    before = _state(output)
    folder = output.with_name(output.name + ".partial")
    with Workers(digest, min(workers, len(listing.videos))) as processes, storage_errors(output):
        plan = _Plan.of(listing, sampling, check)
        _limit_skipped(listing, {}, plan.videos, max_skipped_percent)
        with exclusive(folder):
            _check_options(output, overwrite, max_skipped_percent, compression)  # it may have appeared meanwhile
            partial = PartialClips(folder, plan.header, sampling.clip_shape)
            try:
                join(output, partial, plan.header, len(plan.videos), check)
                resumed = partial.records.done
                _require_room(folder, plan.videos, partial, sampling, max_skipped_percent, compression)
                work = _Work(listing, plan.videos, partial, sampling, plan.copies)
                _decode_rest(work, processes, max_skipped_percent, progress or _quiet, check)
                work.validate()
                work.fingerprint = work.source_fingerprint()
                mean, std = _assemble(work, folder / "assembled.h5", compression, check)
            finally:
                partial.close()
            _publish(folder / "assembled.h5", output, before)
            remove(folder)
    return work.summary(output, resumed, mean, std, time.monotonic() - started, processes.notes)


@dataclass(frozen=True)
class ShardSummary:
    """The part that one machine did of a prepare that several share."""

    folder: Path
    shard: str
    """`3/16`."""
    videos: int
    """Number of videos in this shard, skipped ones included."""
    skipped: tuple[tuple[str, str], ...]
    """(video, reason) of those that gave no clips."""
    resumed_videos: int
    seconds: float


def prepare_shard(
    listing: Listing,
    output: Path,
    sampling: Sampling,
    shard: Shard,
    *,
    workers: int = 0,
    max_skipped_percent: float = 5.0,
    progress: Progress | None = None,
    check: Check | None = None,
) -> ShardSummary:
    """Decode the videos of ``shard`` for a later :func:`prepare` to join, of the same listing and sampling.

    Options and errors are those of :func:`prepare`; what is done already is not done again.
    """
    started = time.monotonic()
    _check_options(output, overwrite=False, max_skipped_percent=max_skipped_percent, compression=None)
    check = check or _nothing
    folder = shard.folder(output)
    most = len(shard.part(len(listing.videos)))
    with Workers(digest, min(workers, most)) as processes, storage_errors(output), exclusive(folder):
        plan = _Plan.of(listing, sampling, check)
        part = shard.part(len(plan.videos))
        videos = plan.videos[part.start : part.stop]
        partial = PartialClips(folder, plan.header, sampling.clip_shape)
        try:
            resumed = partial.records.done
            _require_room(folder, videos, partial, sampling, max_skipped_percent, compression=None)
            work = _Work(listing, videos, partial, sampling)
            _decode_rest(work, processes, max_skipped_percent, progress or _quiet, check, len(plan.videos))
        finally:
            partial.close()
    skipped = tuple((videos[number].name, reason) for number, reason in partial.records.skipped.items())
    return ShardSummary(folder, str(shard), len(videos), skipped, resumed, time.monotonic() - started)


@dataclass(frozen=True)
class _Plan:
    """The videos to be decoded, in order, and what identifies them."""

    videos: list[VideoEntry]
    copies: Copies
    header: dict[str, Any]

    @classmethod
    def of(cls, listing: Listing, sampling: Sampling, check: Check) -> _Plan:
        sizes = _sizes(listing.videos, check)
        copies = Copies() if listing.published else find_copies(listing.videos, sizes, listing.classes, check)
        videos = sorted((video for video in listing.videos if video.name not in copies.names), key=_order)
        return cls(videos, copies, _header(listing, videos, sampling, sizes, copies))


def _sizes(videos: Sequence[VideoEntry], check: Check) -> dict[str, int]:
    """Bytes of each video by its name; -1 of folders, -2 of what is not there (decoding will say so too)."""
    sizes = {}
    for video in videos:
        check()
        try:
            status = video.path.stat()
        except OSError:
            sizes[video.name] = -2
        else:
            sizes[video.name] = status.st_size if stat.S_ISREG(status.st_mode) else -1
    return sizes


def _header(
    listing: Listing, videos: list[VideoEntry], sampling: Sampling, sizes: dict[str, int], copies: Copies
) -> dict[str, Any]:
    """The task that an interrupted prepare must have had for its work to be taken over.

    Sources count by name and size; looking into hundreds of thousands of files is left to the moment when each of them
    is read.
    """
    sha = hashlib.sha256()
    for video in videos:
        record = [video.name, video.label, video.split, *video.stretch(), video.within, sizes[video.name]]
        sha.update(json.dumps(record).encode())
    for rest in (listing.rejected, copies.skipped, listing.missing, listing.notes):
        sha.update(json.dumps(rest).encode())
    return {
        "format": FORMAT,
        "version": VERSION,
        "tool": TOOL_VERSION,
        "rules": RULES,
        "dataset": listing.dataset,
        "layout": listing.layout,
        "split": listing.official_split,
        "classes": list(listing.classes),
        "sampling": sampling.record(),
        "videos": sha.hexdigest(),
        "decoder": av.__version__,
    }


def _require_room(
    folder: Path,
    videos: Sequence[VideoEntry],
    partial: PartialClips,
    sampling: Sampling,
    max_skipped_percent: float,
    compression: str | None,
) -> None:
    """Refuse at once what surely cannot fit: the clips twice, for a while. Sliding windows count as one clip each."""
    numbers = sum(sampling.placement(video.split).number or 1 for video in videos)
    copies = 2 if compression is None else 1
    needed = copies * numbers * partial.clip_bytes * (1 - max_skipped_percent / 100)
    there = partial.records.clip_count * partial.clip_bytes
    free = shutil.disk_usage(folder).free
    if free < needed - there:
        raise StorageError(
            f"The clips need {human_bytes(needed)} for a while, of which {human_bytes(there)} are there, but only "
            f"{human_bytes(free)} are free at {one_line(folder.parent)}.",
            "Free some space, choose an --output on another disk, or make smaller clips: --size, --frames.",
        )


def _check_options(output: Path, overwrite: bool, max_skipped_percent: float, compression: str | None) -> None:
    if not 0 <= max_skipped_percent <= 100:
        raise UsageError(f"--max-skipped {max_skipped_percent:g} is not a percentage.", "Give a number from 0 to 100.")
    if compression not in COMPRESSIONS:
        raise UsageError(f"--compression {compression!r} is unknown.", "Choose gzip or lzf, or leave it out.")
    if output.is_dir():
        raise UsageError(f"The output {one_line(output)} is a folder.", "Give --output the name of a file.")
    if output.exists() and not overwrite:
        raise UsageError(
            f"{one_line(output)} exists already.", "Add --overwrite to replace it, or choose another --output."
        )


def _order(video: VideoEntry) -> tuple[Any, ...]:
    return SPLITS.index(video.split), video.label, natural_key(video.name)


def _nothing() -> None:
    pass


def _quiet(done: int, total: int, name: str) -> None:
    pass


def _decode_rest(
    work: _Work,
    processes: Workers[Task, Digest | SkippedVideo],
    max_skipped_percent: float,
    progress: Progress,
    check: Check,
    total: int | None = None,
) -> None:
    """Bring the partial clips up to the last video; stop early when more are skipped than allowed.

    ``total`` is the number of videos that the limit is a share of, where these are a part.
    """
    videos, partial, listing = work.videos, work.partial, work.listing
    rest = videos[partial.records.done :]
    progress(partial.records.done, len(videos), "")
    tasks = [Task(video, work.sampling, listing.root) for video in rest]
    try:
        _limit_skipped(listing, partial.records.skipped, videos, max_skipped_percent, total)
        for video, outcome in zip(rest, processes.map(tasks, check), strict=True):
            partial.append(outcome)
            if not isinstance(outcome, Digest):
                _limit_skipped(listing, partial.records.skipped, videos, max_skipped_percent, total)
            progress(partial.records.done, len(videos), video.name)
    finally:
        partial.commit()


def _limit_skipped(
    listing: Listing, skipped: dict[int, str], videos: list[VideoEntry], percent: float, total: int | None = None
) -> None:
    """Raise DataError if more are skipped than ``percent`` of all allows; those that the layout rejected count too."""
    total = (len(videos) if total is None else total) + len(listing.rejected)
    number = len(skipped) + len(listing.rejected)
    if number <= total * percent / 100:
        return
    name, reason = next(_skipped(listing, skipped, videos))
    raise DataError(
        f"{number} of {total} videos cannot be used, more than allowed; first {one_line(name)}: {reason}.",
        "Mend or remove such videos, or allow more with --max-skipped PERCENT.",
    )


def _state(path: Path) -> tuple[int, ...] | None:
    """Return the identity of a file, which another in its place has not; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _skipped(listing: Listing, skipped: dict[int, str], videos: list[VideoEntry]) -> Iterator[tuple[str, str]]:
    """(name, reason): first those that the layout rejected, then those that gave no clips."""
    yield from listing.rejected
    for number, reason in skipped.items():
        yield videos[number].name, reason


@dataclass
class _Work:
    """Everything that goes into the file."""

    listing: Listing
    videos: list[VideoEntry]
    partial: PartialClips
    sampling: Sampling
    copies: Copies = field(default_factory=Copies)
    fingerprint: str = ""

    @property
    def records(self) -> Records:
        return self.partial.records

    @cached_property
    def used(self) -> list[VideoEntry]:
        """The videos that have clips, in the order of their clips; to be asked for when all are done."""
        assert self.records.done == len(self.videos)
        return [video for number, video in enumerate(self.videos) if number not in self.records.skipped]

    @cached_property
    def clips_of(self) -> np.ndarray:
        """Number of clips of each used video, int64."""
        return np.frombuffer(self.records.clips, np.int64) if self.used else np.empty(0, np.int64)

    def rows(self, split: str) -> range:
        """The used videos of ``split``; contiguous, see :func:`_order`."""
        rows = [row for row, video in enumerate(self.used) if video.split == split]
        return range(rows[0], rows[-1] + 1) if rows else range(0)

    def clip_range(self, rows: range) -> slice:
        """Return the places of the clips of the used videos ``rows``."""
        ends = np.concatenate([[0], np.cumsum(self.clips_of)])
        return slice(int(ends[rows.start]), int(ends[rows.stop]))

    def validate(self) -> None:
        trained = {video.label for video in self.used if video.split == "train"}
        for label, name in enumerate(self.listing.classes):
            if label not in trained:
                raise DataError(
                    f"No training clips are left for class {one_line(name)!r}.",
                    "Add videos that can be read to it, or remove the class.",
                )
        if not self.listing.untested and not any(video.split == "test" for video in self.used):
            raise DataError(
                "No videos are left for testing.", "Add videos: a class needs two or more for one to be set aside."
            )

    def source_fingerprint(self) -> str:
        """sha256 over which videos there are, what is in them, and what is taken of them.

        Names are relative, so a data set that was moved keeps its fingerprint.
        """
        sha = hashlib.sha256(json.dumps([FORMAT, VERSION, self.sampling.record()]).encode())
        contents = iter(self.records.contents)
        for number, video in enumerate(self.videos):
            content = "" if number in self.records.skipped else next(contents)
            sha.update(json.dumps([video.name, video.label, video.split, *video.stretch(), content]).encode())
        return sha.hexdigest()

    @cached_property
    def notes(self) -> tuple[str, ...]:
        found = list(self.listing.notes)
        tested = {video.label for video in self.used if video.split == "test"}
        names = [one_line(name) for label, name in enumerate(self.listing.classes) if label not in tested]
        if not tested:
            found.append(
                "There are no test videos: train on these clips, and test on others by `vdtui evaluate --data`."
            )
        elif names:
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            found.append(f"No test videos in {len(names)} of {len(self.listing.classes)} classes: {shown}.")
        return (*found, *self._remarks(), *self.copies.notes, *self._copies_used())

    def _remarks(self) -> Iterator[str]:
        """A note for each kind of thing that is to be told of single videos."""
        for kind, (one, several) in REMARKS.items():
            told = [
                (number, at.detail) for number, own in self.records.remarks.items() for at in own if at.kind == kind
            ]
            if told:
                number, detail = told[0]
                first = f"{one_line(self.videos[number].name)}{f' ({detail})' if detail else ''}"
                shown = f"1 {one}: {first}" if len(told) == 1 else f"{len(told)} {several}, first {first}"
                yield f"{shown}."

    def _copies_used(self) -> Iterator[str]:
        """Yield notes on videos that are, as far as their ends tell, copies of others, and are used as they are."""
        first: dict[Any, VideoEntry] = {}
        leaks, conflicts, doubles = [], [], []
        whole = zip(self.used, self.records.contents, strict=True)
        for video, content in whole:  # training videos come first
            other = first.setdefault((content, *video.stretch()), video)
            if other is video:
                continue
            if other.split == "train" and video.split != "train":
                leaks.append((video, other))
            elif other.label == video.label:
                doubles.append((video, other))
            if other.label != video.label:
                conflicts.append((video, other))
        leak = "video held out of training copies", "videos held out of training copy"
        double = (
            "video copies another of its class, and counts twice",
            "videos copy others of their class, and count twice",
        )
        conflict = "video copies one of another class", "videos copy some of another class"
        for found, (one, several), rest in (
            (leaks, leak, " training videos"),
            (doubles, double, ""),
            (conflicts, conflict, ", so that a label is wrong"),
        ):
            if found:
                video, other = found[0]
                warning = "Warning: " if found is conflicts else ""
                pair = f"{one_line(video.name)} and {one_line(other.name)}"
                named = pair if len(found) == 1 else f"first {pair}"
                yield f"{warning}{counted(len(found), one, several)}{rest}: {named}."

    @property
    def short_videos(self) -> int:
        return sum(frames < self.sampling.frames for frames in self.records.frames)

    @property
    def dense_videos(self) -> int:
        return sum(self.records.dense)

    def skipped(self) -> tuple[tuple[str, str], ...]:
        return (*_skipped(self.listing, self.records.skipped, self.videos), *self.copies.skipped)

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std of the training clips, float64 (3,), of pixel values in [0, 1].

        From sums of integers, which no order of adding can change. A constant channel gets the std of one grey level:
        data is divided by it.
        """
        rows = self.rows("train")
        totals = [sum(self.records.totals[6 * row + k] for row in rows) for k in range(6)]
        pixels = int(self.clips_of[rows.start : rows.stop].sum()) * self.partial.clip_bytes // 3
        mean = [total / (255 * pixels) for total in totals[:3]]
        spread = [pixels * square - total**2 for total, square in zip(totals[:3], totals[3:], strict=True)]
        std = [np.sqrt(value / pixels**2) / 255 for value in spread]
        return np.array(mean), np.array([value or 1 / 255 for value in std])

    def summary(
        self, path: Path, resumed: int, mean: np.ndarray, std: np.ndarray, seconds: float, more: tuple[str, ...]
    ) -> PrepareSummary:
        rows = {split: self.rows(split) for split in SPLITS if len(self.rows(split))}
        return PrepareSummary(
            path=path,
            dataset=self.listing.dataset,
            layout=self.listing.layout,
            split=self.listing.official_split,
            classes=self.listing.classes,
            videos={split: len(own) for split, own in rows.items()},
            clips={split: int(self.clips_of[own.start : own.stop].sum()) for split, own in rows.items()},
            skipped=self.skipped(),
            missing=len(self.listing.missing),
            short_videos=self.short_videos,
            dense_videos=self.dense_videos,
            resumed_videos=resumed,
            mean=tuple(mean.tolist()),
            std=tuple(std.tolist()),
            source_fingerprint=self.fingerprint,
            nbytes=path.stat().st_size,
            seconds=seconds,
            notes=(*self.notes, *more),
        )


def _assemble(work: _Work, path: Path, compression: str | None, check: Check) -> tuple[np.ndarray, np.ndarray]:
    """Write the HDF5 file; returns mean and std of the training clips."""
    clips = work.partial.clips()
    per_clip = 4 * work.sampling.frames + 64
    path.unlink(missing_ok=True)  # of an interrupted prepare; or a link
    _reserve(path, clips.nbytes + 2**20 + len(clips) * per_clip + len(work.used) * METADATA_BYTES)
    mean, std = work.statistics()
    with _hdf5(path) as file:
        for split in SPLITS:
            rows = work.rows(split)
            if len(rows):
                group = file.create_group(split)
                _write_clips(group, clips[work.clip_range(rows)], compression, check)
                _write_labels(group, rows, work)
        _write_videos(file, work)
        file.attrs.update(_attributes(work, mean, std))
        file.attrs["checksum"] = content_checksum(file)
    return mean, std


def _reserve(path: Path, nbytes: int) -> None:
    """Run into a full disk or a quota here, as an OSError: HDF5 leaves half-closed files and crashes at exit."""
    if hasattr(os, "posix_fallocate"):
        try:
            with path.open("xb") as file:
                os.posix_fallocate(file.fileno(), 0, nbytes)
        except OSError:
            path.unlink(missing_ok=True)
            raise


@contextmanager
def _hdf5(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file; a full disk becomes a :class:`StorageError`."""
    file = h5py.File(path, "w", libver=("v108", "v110"))  # older ones limit attributes to 64 KiB
    try:
        yield file
        file.flush()
    except BaseException as error:
        if "No space left" in str(error) or "errno = 28" in str(error):  # of varying types
            hint = "Free some space there and run the same command: what is decoded is kept."
            raise StorageError(f"No space left on the disk while writing {path}.", hint) from error
        raise
    finally:
        file.close()


def _write_clips(group: h5py.Group, clips: np.ndarray, compression: str | None, check: Check) -> None:
    """Copy ``clips`` (N, T, H, W, 3) block by block; uncompressed ones chunk by chunk, past HDF5's own copies."""
    dataset = group.create_dataset(
        "clips", clips.shape, np.uint8, chunks=(1, *clips.shape[1:]), compression=compression, track_times=False
    )
    step = max(1, BLOCK_BYTES // int(np.prod(clips.shape[1:])))
    for start in range(0, len(clips), step):
        check()
        block = np.asarray(clips[start : start + step])
        if compression is not None:
            dataset[start : start + step] = block
            continue
        for number, clip in enumerate(block, start):
            dataset.id.write_direct_chunk((number, 0, 0, 0, 0), clip.reshape(-1))


def _write_labels(group: h5py.Group, rows: range, work: _Work) -> None:
    counts, clips, frames = work.clips_of[rows.start : rows.stop], work.clip_range(rows), work.sampling.frames
    labels = np.array([work.used[row].label for row in rows], np.int64)
    indices = np.frombuffer(work.records.indices, np.int32).reshape(-1, frames)
    columns = {
        "labels": np.repeat(labels, counts),
        "video": np.repeat(np.arange(rows.start, rows.stop, dtype=np.int64), counts),
        "frame_indices": indices[clips],
        "crc32": np.frombuffer(work.records.crc32, np.uint32)[clips],
    }
    for name, values in columns.items():
        group.create_dataset(name, data=values, track_times=False)


def _write_videos(file: h5py.File, work: _Work) -> None:
    """``videos``: one row for each that has clips, to which ``video`` points; ``skipped``, ``missing``: the others."""
    text = h5py.string_dtype()
    group = file.create_group("videos")
    group.create_dataset("name", data=[video.name for video in work.used], dtype=text, track_times=False)
    group.create_dataset("split", data=[video.split for video in work.used], dtype=text, track_times=False)
    group.create_dataset("label", data=np.array([video.label for video in work.used], np.int64), track_times=False)
    group.create_dataset("frames", data=np.array(work.records.frames, np.int64), track_times=False)
    rows = np.array(list(work.skipped()), dtype=[("path", text), ("reason", text)])
    file.create_dataset("skipped", data=rows, track_times=False)
    if work.listing.missing:
        file.create_dataset("missing", data=list(work.listing.missing), dtype=text, track_times=False)


def _attributes(work: _Work, mean: np.ndarray, std: np.ndarray) -> dict[str, Any]:
    sampling = work.sampling
    return {
        "format": FORMAT,
        "version": VERSION,
        "dataset": work.listing.dataset,
        "layout": work.listing.layout,
        "split": work.listing.official_split or 0,
        "classes": json.dumps(list(work.listing.classes), ensure_ascii=False),
        "frames": sampling.frames,
        "height": sampling.size,
        "width": sampling.size,
        "interval": sampling.interval if sampling.spacing == "interval" else 0,
        "sampling": json.dumps(sampling.record()),
        "mean": mean,
        "std": std,
        "missing": len(work.listing.missing),
        "short_videos": work.short_videos,
        "dense_videos": work.dense_videos,
        "notes": json.dumps(list(work.notes), ensure_ascii=False),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tool": f"vdtui {TOOL_VERSION}",
        "source_fingerprint": work.fingerprint,
    }


def _publish(finished: Path, output: Path, before: tuple[int, ...] | None) -> None:
    """Give the finished file its name; after this it survives a power cut.

    ``before`` is what was at ``output`` when the work began, and may be replaced. Nothing else is: whatever appeared
    there meanwhile is somebody's. Raises UsageError; the finished work is kept then.
    """
    with finished.open("rb") as file:
        os.fsync(file.fileno())
    if before is None:
        _name_exclusively(finished, output)
    elif _state(output) in (before, None):
        finished.replace(output)
    else:
        raise _appeared(output)
    directory = os.open(output.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _name_exclusively(finished: Path, output: Path) -> None:
    """Rename ``finished`` to ``output``, where nothing may be."""
    try:
        os.link(finished, output)
    except FileExistsError:
        raise _appeared(output) from None
    except OSError:  # a file system without hard links
        try:
            output.open("xb").close()
        except FileExistsError:
            raise _appeared(output) from None
        finished.replace(output)
    else:
        finished.unlink()


def _appeared(output: Path) -> UsageError:
    return UsageError(
        f"{one_line(output)} appeared while this was prepared, and is left as it is.",
        "Move it away and run the same command again: nothing is decoded a second time.",
    )
