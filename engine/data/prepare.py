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
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np

from engine.data.decode import Sampling
from engine.data.layouts.base import SPLITS, Listing, VideoEntry, natural_key, one_line
from engine.data.layouts.folders import frame_files
from engine.data.partial import PartialClips, exclusive, remove
from engine.data.pool import decode_in_order
from engine.data.store import FORMAT, VERSION
from engine.errors import DataError, StorageError, UsageError
from engine.runs.files import storage_errors
from engine.version import VERSION as TOOL_VERSION

COMPRESSIONS = (None, "gzip", "lzf")
HASHED_BYTES = 64 * 1024
BLOCK_BYTES = 16 * 2**20
METADATA_BYTES = 1024
"""More than name, labels and HDF5's own bookkeeping of a video take."""

Progress = Callable[[int, int, str], None]
Check = Callable[[], None]


@dataclass(frozen=True)
class PrepareSummary:
    """What a prepare made."""

    path: Path
    dataset: str
    layout: str
    classes: tuple[str, ...]
    videos: dict[str, int]
    """Split -> videos that gave clips."""
    clips: dict[str, int]
    """Split -> clips."""
    skipped: tuple[tuple[str, str], ...]
    """(video, reason) of those that gave none."""
    short_videos: int
    """Videos with fewer frames than a clip, whose last frame is repeated."""
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
    *,
    frames: int,
    size: int,
    interval: int = 1,
    clips_per_video: int = 1,
    workers: int = 1,
    max_skipped_percent: float = 5.0,
    overwrite: bool = False,
    compression: str | None = None,
    progress: Progress | None = None,
    check: Check | None = None,
) -> PrepareSummary:
    """Decode all videos of ``listing`` into ``output``.

    ``progress(done, total, name)`` is told of each video, in order; ``check()`` is called several times a second and
    may raise to stop, which loses nothing. The result does not depend on ``workers`` or on interruptions.

    Raises :class:`UsageError` (impossible option, output exists, another process writes it), :class:`DataError` (too
    many videos skipped, a class without training clips, no test clips), :class:`StorageError` (disk).
    """
    started = time.monotonic()
    sampling = Sampling(frames, size, interval, clips_per_video)
    _check_options(output, overwrite, max_skipped_percent, compression)
    check = check or _nothing
    videos = sorted(listing.videos, key=_order)
    fingerprint = source_fingerprint(videos, sampling, check)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "source_fingerprint": fingerprint,
        "classes": list(listing.classes),
        "decoder": av.__version__,
    }
    folder = output.with_name(output.name + ".partial")
    with storage_errors(output), exclusive(folder):
        _check_options(output, overwrite, max_skipped_percent, compression)  # it may have appeared meanwhile
        partial = PartialClips(folder, header, (clips_per_video, frames, size, size, 3))
        try:
            resumed = len(partial.done)
            _decode_rest(videos, partial, sampling, workers, max_skipped_percent, progress or _quiet, check)
            work = _Work(listing, videos, partial, sampling, fingerprint)
            work.validate()
            mean, std = _assemble(work, folder / "assembled.h5", compression, check)
        finally:
            partial.close()
        _publish(folder / "assembled.h5", output)
        remove(folder)
    return work.summary(output, resumed, mean, std, time.monotonic() - started)


def source_fingerprint(videos: list[VideoEntry], sampling: Sampling, check: Check) -> str:
    """sha256 over which videos there are, what is in them (size, first and last 64 KiB), and what is taken of them.

    Names are relative, so a data set that was moved keeps its fingerprint.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, VERSION, asdict(sampling)]).encode())
    for video in sorted(videos, key=lambda video: video.name):
        check()
        record = [video.name, video.label, video.split, *_content(video.path)]
        digest.update(json.dumps(record).encode())
    return digest.hexdigest()


def _content(path: Path) -> list[Any]:
    """Size and hash of a file; of a folder of frames, their names and sizes and the hashes of the first and last."""
    try:
        if path.is_dir():
            images = frame_files(path)
            names = [[image.name.encode(errors="surrogateescape").hex(), image.stat().st_size] for image in images]
            return [names, *(_content(image) for image in images[:1] + images[-1:])]
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            ends = hashlib.sha256(file.read(HASHED_BYTES))
            file.seek(max(HASHED_BYTES, size - HASHED_BYTES))
            ends.update(file.read(HASHED_BYTES))
        return [size, ends.hexdigest()]
    except OSError:
        return ["unreadable"]  # decoding will say so too; once mended, the fingerprint is another


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
    videos: list[VideoEntry],
    partial: PartialClips,
    sampling: Sampling,
    workers: int,
    max_skipped_percent: float,
    progress: Progress,
    check: Check,
) -> None:
    """Bring ``partial`` up to the last video; stop early when more are skipped than allowed."""
    allowed = len(videos) * max_skipped_percent / 100
    rest = videos[len(partial.done) :]
    progress(len(partial.done), len(videos), "")
    try:
        _limit_skipped(videos, partial, allowed)
        for video, outcome in zip(
            rest, decode_in_order([video.path for video in rest], sampling, workers, check), strict=True
        ):
            partial.append(outcome)
            _limit_skipped(videos, partial, allowed)
            progress(len(partial.done), len(videos), video.name)
    finally:
        partial.commit()


def _limit_skipped(videos: list[VideoEntry], partial: PartialClips, allowed: float) -> None:
    skipped = len(partial.done) - partial.decoded
    if skipped > allowed:
        video, reason = next(_skipped(videos, partial))
        raise DataError(
            f"{skipped} of {len(videos)} videos cannot be used, more than allowed; first {one_line(video)}: {reason}.",
            "Mend or remove such videos, or allow more with --max-skipped PERCENT.",
        )


def _skipped(videos: list[VideoEntry], partial: PartialClips) -> Iterator[tuple[str, str]]:
    for video, outcome in zip(videos, partial.done, strict=False):  # not all are done yet
        if isinstance(outcome, str):
            yield video.name, outcome


@dataclass(frozen=True)
class _Work:
    """Everything that goes into the file."""

    listing: Listing
    videos: list[VideoEntry]
    partial: PartialClips
    sampling: Sampling
    fingerprint: str

    def used(self) -> list[tuple[VideoEntry, int]]:
        """(video, number of its frames) of all that have clips, in the order of their clips."""
        pairs = zip(self.videos, self.partial.done, strict=True)
        return [(video, outcome) for video, outcome in pairs if isinstance(outcome, int)]

    def validate(self) -> None:
        trained = {video.label for video, _ in self.used() if video.split == "train"}
        for label, name in enumerate(self.listing.classes):
            if label not in trained:
                raise DataError(
                    f"No training clips are left for class {one_line(name)!r}.",
                    "Add videos that can be read to it, or remove the class.",
                )
        if not any(video.split == "test" for video, _ in self.used()):
            raise DataError(
                "No videos are left for testing.", "Add videos: a class needs two or more for one to be set aside."
            )

    def notes(self) -> tuple[str, ...]:
        tested = {video.label for video, _ in self.used() if video.split == "test"}
        names = [one_line(name) for label, name in enumerate(self.listing.classes) if label not in tested]
        if not names:
            return ()
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        return (f"No test videos in {len(names)} of {len(self.listing.classes)} classes: {shown}.",)

    def summary(self, path: Path, resumed: int, mean: np.ndarray, std: np.ndarray, seconds: float) -> PrepareSummary:
        used = self.used()
        counts = Counter(video.split for video, _ in used)
        videos = {split: counts[split] for split in SPLITS if counts[split]}
        return PrepareSummary(
            path=path,
            dataset=self.listing.dataset,
            layout=self.listing.layout,
            classes=self.listing.classes,
            videos=videos,
            clips={split: count * self.sampling.clips_per_video for split, count in videos.items()},
            skipped=tuple(_skipped(self.videos, self.partial)),
            short_videos=sum(length < self.sampling.frames for _, length in used),
            resumed_videos=resumed,
            mean=tuple(mean.tolist()),
            std=tuple(std.tolist()),
            source_fingerprint=self.fingerprint,
            nbytes=path.stat().st_size,
            seconds=seconds,
            notes=self.notes(),
        )


def _assemble(work: _Work, path: Path, compression: str | None, check: Check) -> tuple[np.ndarray, np.ndarray]:
    """Write the HDF5 file; returns mean and std of the training clips."""
    statistics = _Statistics()
    used = work.used()
    clips = work.partial.clips()
    per_video = METADATA_BYTES + 4 * work.sampling.frames * work.sampling.clips_per_video
    _reserve(path, clips.nbytes + 2**20 + len(used) * per_video)
    with _hdf5(path) as file:
        for split in SPLITS:
            rows = [row for row, (video, _) in enumerate(used) if video.split == split]  # contiguous: see _order
            if rows:
                seen = statistics.add if split == "train" else None
                group = file.create_group(split)
                _write_clips(group, clips[rows[0] : rows[-1] + 1], compression, seen, check)
                _write_labels(group, rows, used, work.sampling)
        _write_videos(file, used, list(_skipped(work.videos, work.partial)))
        mean, std = statistics.result()
        file.attrs.update(_attributes(work, mean, std))
    return mean, std


def _reserve(path: Path, nbytes: int) -> None:
    """Run into a full disk or a quota here, as an OSError: HDF5 leaves half-closed files and crashes at exit."""
    if hasattr(os, "posix_fallocate"):
        try:
            with path.open("wb") as file:
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


def _write_clips(
    group: h5py.Group,
    clips: np.ndarray,
    compression: str | None,
    seen: Callable[[np.ndarray], None] | None,
    check: Check,
) -> None:
    """Copy ``clips`` (videos, clips_per_video, T, H, W, 3) block by block."""
    flat = clips.reshape(-1, *clips.shape[2:])
    dataset = group.create_dataset(
        "clips", flat.shape, np.uint8, chunks=(1, *flat.shape[1:]), compression=compression, track_times=False
    )
    step = max(1, BLOCK_BYTES // int(np.prod(flat.shape[1:])))
    for start in range(0, len(flat), step):
        check()
        block = np.asarray(flat[start : start + step])
        dataset[start : start + step] = block
        if seen is not None:
            seen(block)


def _write_labels(group: h5py.Group, rows: list[int], used: list[tuple[VideoEntry, int]], sampling: Sampling) -> None:
    repeated = np.repeat(rows, sampling.clips_per_video)
    labels = np.array([used[row][0].label for row in repeated], np.int64)
    indices = np.concatenate([sampling.indices(used[row][1]) for row in rows])
    group.create_dataset("labels", data=labels, track_times=False)
    group.create_dataset("video", data=repeated.astype(np.int64), track_times=False)
    group.create_dataset("frame_indices", data=indices, track_times=False)


def _write_videos(file: h5py.File, used: list[tuple[VideoEntry, int]], skipped: list[tuple[str, str]]) -> None:
    """``videos``: one row for each that has clips, to which ``video`` points. ``skipped``: the others."""
    text = h5py.string_dtype()
    group = file.create_group("videos")
    group.create_dataset("name", data=[video.name for video, _ in used], dtype=text, track_times=False)
    group.create_dataset("split", data=[video.split for video, _ in used], dtype=text, track_times=False)
    group.create_dataset("label", data=np.array([video.label for video, _ in used], np.int64), track_times=False)
    group.create_dataset("frames", data=np.array([length for _, length in used], np.int64), track_times=False)
    rows = np.array(skipped, dtype=[("path", text), ("reason", text)])
    file.create_dataset("skipped", data=rows, track_times=False)


def _attributes(work: _Work, mean: np.ndarray, std: np.ndarray) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "dataset": work.listing.dataset,
        "layout": work.listing.layout,
        "classes": json.dumps(list(work.listing.classes), ensure_ascii=False),
        "frames": work.sampling.frames,
        "height": work.sampling.size,
        "width": work.sampling.size,
        "interval": work.sampling.interval,
        "mean": mean,
        "std": std,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tool": f"vdtui {TOOL_VERSION}",
        "source_fingerprint": work.fingerprint,
    }


class _Statistics:
    """Mean and standard deviation per channel from sums of integers, which no order of adding can change."""

    def __init__(self) -> None:
        self.count = 0
        self.sums = [0, 0, 0]
        self.squares = [0, 0, 0]

    def add(self, clips: np.ndarray) -> None:
        """``clips``: uint8 (n, T, H, W, 3)."""
        frames = clips.reshape(-1, *clips.shape[2:])
        self.count += frames.size // 3
        for start in range(0, len(frames), 4096):  # 4096 * 255^2 fits into 32 bits
            part = frames[start : start + 4096]
            sums = part.sum(axis=0, dtype=np.uint32).sum(axis=(0, 1), dtype=np.uint64)
            squares = np.square(part, dtype=np.uint16).sum(axis=0, dtype=np.uint32).sum(axis=(0, 1), dtype=np.uint64)
            self.sums = [total + int(new) for total, new in zip(self.sums, sums, strict=True)]
            self.squares = [total + int(new) for total, new in zip(self.squares, squares, strict=True)]

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std, float64 (3,), of pixel values in [0, 1].

        A constant channel gets the std of one grey level: data is divided by it.
        """
        n = self.count
        mean = [total / (255 * n) for total in self.sums]
        spread = [n * square - total**2 for total, square in zip(self.sums, self.squares, strict=True)]
        std = [np.sqrt(value / n**2) / 255 for value in spread]
        return np.array(mean), np.array([value or 1 / 255 for value in std])


def _publish(finished: Path, output: Path) -> None:
    """Give the finished file its name; after this it survives a power cut."""
    with finished.open("rb") as file:
        os.fsync(file.fileno())
    finished.replace(output)
    directory = os.open(output.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
