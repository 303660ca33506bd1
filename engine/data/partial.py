"""The files of an unfinished prepare, by which the next one goes on where it stopped.

An HDF5 file that is killed while it is written may be lost as a whole, so decoded videos are appended to a plain file
first and become HDF5 at the end. That costs the disk space twice for a while, and is safe at any moment: a record
is written to ``videos.jsonl`` only after the bytes it stands for have reached the disk, and whatever lies beyond the
last whole record is cut off.

    NAME.h5.partial/
      header.json    what is being prepared; with any other, the work is thrown away
      clips.raw      clips of the decoded videos, one after the other
      videos.jsonl   one line per video in order: what prepare must know of it, or {"skipped": REASON}
      lock           held by the process that writes
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from engine.data.decode import REMARKS, Remark, SkippedVideo
from engine.data.digest import Digest
from engine.data.pool import Lost
from engine.errors import UsageError
from engine.files import read_json, sweep, try_lock, unlinked, write_json

RULES = 2
"""The revision of what becomes of a video: which frames, which series of images, which stream, which colours. A change
of any of that counts it up, so that what an older version has half done is not mixed with what this one does."""

COMMIT_BYTES = 256 * 2**20
COMMIT_SECONDS = 2.0


class Records:
    """The records of the videos that are done, in order: columns, since there may be hundreds of thousands.

    Columns but ``skipped`` and ``remarks`` have the videos with clips only.
    """

    def __init__(self, frames_per_clip: int) -> None:
        self.done = 0
        self.skipped: dict[int, str] = {}
        """Number of the video -> reason."""
        self.remarks: dict[int, list[Remark]] = {}
        """Number of the video -> what is to be told of it; few have any."""
        self.frames, self.clips, self.dense = array("q"), array("q"), array("b")
        self.contents: list[str] = []
        self.totals = array("Q")
        """Six for each video; see ``digest.totals``."""
        self.crc32 = array("I")
        """One for each clip."""
        self.indices = array("i")
        """``frames_per_clip`` for each clip."""
        self._frames_per_clip = frames_per_clip

    def add(self, record: dict[str, Any]) -> None:
        """Take over ``record``; raises ValueError, KeyError or TypeError, and changes nothing, if it is not one."""
        if "skipped" in record:
            self.skipped[self.done] = str(record["skipped"])
        else:
            frames, dense, content = int(record["frames"]), bool(record["dense"]), str(record["content"])
            crc32, indices, totals = (array(kind, record[key]) for kind, key in _LISTS)
            if len(indices) != len(crc32) * self._frames_per_clip or len(totals) != 6 or not crc32:
                raise ValueError
            remarks = [Remark(str(kind), str(detail)) for kind, detail in record.get("remarks", ())]
            if not {remark.kind for remark in remarks} <= REMARKS.keys():
                raise ValueError
            if remarks:
                self.remarks[self.done] = remarks
            self.frames.append(frames)
            self.clips.append(len(crc32))
            self.dense.append(dense)
            self.contents.append(content)
            self.crc32 += crc32
            self.indices += indices
            self.totals += totals
        self.done += 1

    @property
    def clip_count(self) -> int:
        """Clips of all videos."""
        return len(self.crc32)


_LISTS = (("I", "crc32"), ("i", "indices"), ("Q", "totals"))


class PartialClips:
    """The videos that are done, in order; ``append`` adds the next one."""

    def __init__(self, folder: Path, header: dict[str, Any], clip_shape: tuple[int, ...]) -> None:
        """``clip_shape`` is (T, H, W, 3)."""
        self.clip_shape = clip_shape
        self._raw_path, self._log_path = folder / "clips.raw", folder / "videos.jsonl"
        sweep(folder)
        if read_json(folder / "header.json") != header:
            for path in (self._raw_path, self._log_path):
                path.unlink(missing_ok=True)
            write_json(folder / "header.json", header)
        self._raw = open(self._raw_path, "ab", buffering=0, opener=unlinked)  # noqa: SIM115 - see close
        self._log = open(self._log_path, "ab", buffering=0, opener=unlinked)  # noqa: SIM115
        self.records = self._recover()
        self._pending: list[str] = []
        self._pending_bytes = 0
        self._committed_at = time.monotonic()

    @property
    def clip_bytes(self) -> int:
        return int(np.prod(self.clip_shape))

    def _recover(self) -> Records:
        """Take over the records whose clips are there, and cut off the rest."""
        records = Records(self.clip_shape[0])
        room, whole = self._raw_path.stat().st_size // self.clip_bytes, 0
        with self._log_path.open("rb") as log:
            for line in log:
                record = _parse(line)
                if record is None or records.clip_count + len(record.get("crc32", ())) > room:
                    break
                try:
                    records.add(record)
                except (ValueError, KeyError, TypeError, OverflowError):
                    break
                whole += len(line)
        self._log.truncate(whole)
        self._raw.truncate(records.clip_count * self.clip_bytes)
        return records

    def append(self, outcome: Digest | SkippedVideo | Lost) -> None:
        if isinstance(outcome, Digest):
            record: dict[str, Any] = {
                "frames": outcome.frames,
                "dense": outcome.dense,
                "indices": outcome.indices.ravel().tolist(),
                "crc32": outcome.crc32,
                "totals": outcome.totals,
                "content": outcome.content,
            }
            if outcome.remarks:
                record["remarks"] = outcome.remarks
            self._add(record, outcome.clips)
        else:
            self._add({"skipped": outcome.reason}, None)

    def take_over(self, other: PartialClips, skip: int, check: Callable[[], None]) -> None:
        """Append the videos that ``other`` has done, but for the first ``skip``."""
        clips, place = other.clips(), 0
        with other._log_path.open("rb") as log:
            for number, line in enumerate(log):
                check()
                record = json.loads(line)
                count = len(record.get("crc32", ()))
                if number >= skip:
                    self._add(record, np.asarray(clips[place : place + count]) if count else None)
                place += count
        self.commit()

    def _add(self, record: dict[str, Any], clips: np.ndarray | None) -> None:
        if clips is not None:
            assert clips.shape[1:] == self.clip_shape
            _write_all(self._raw, clips.data)
            self._pending_bytes += clips.nbytes
        self.records.add(record)
        self._pending.append(json.dumps(record, separators=(",", ":")) + "\n")
        if self._pending_bytes >= COMMIT_BYTES or time.monotonic() - self._committed_at > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Make all that was appended survive a crash."""
        if self._pending:
            os.fdatasync(self._raw.fileno())
            _write_all(self._log, "".join(self._pending).encode())
            os.fdatasync(self._log.fileno())
        self._pending, self._pending_bytes = [], 0
        self._committed_at = time.monotonic()

    def clips(self) -> np.ndarray:
        """All clips so far, uint8 (clips, T, H, W, 3), read from the disk as they are used."""
        count = self.records.clip_count
        if count == 0:
            return np.empty((0, *self.clip_shape), np.uint8)
        return np.memmap(self._raw_path, np.uint8, "r", shape=(count, *self.clip_shape))

    def close(self) -> None:
        self._raw.close()
        self._log.close()


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record in ``line``, or None if it was torn."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("crc32", []), list) else None


def _write_all(file: IO[bytes], content: bytes | memoryview) -> None:
    """An unbuffered write may stop short of a full disk; the next one then says so."""
    rest = memoryview(content).cast("B")
    while rest:
        rest = rest[file.write(rest) :]


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold ``folder`` (made if absent) for this process; raises :class:`UsageError` if another one does."""
    lock = None
    while lock is None:
        lock = _try_lock(folder)
    with lock:
        yield


def _try_lock(folder: Path) -> IO[bytes] | None:
    """The locked file, or None if another process finished and removed the folder just now."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder} is in the way; it is not the folder of an unfinished prepare.", "Move it away.")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = open(folder / "lock", "ab", opener=unlinked)  # noqa: SIM115 - held by ``exclusive``
    except FileNotFoundError:
        return None
    try:
        try_lock(lock)
    except BlockingIOError:
        lock.close()
        hint = "Wait for it, or choose another --output."
        raise UsageError(f"Another process is preparing {folder.with_suffix('')}.", hint) from None
    if _same_file(lock, folder / "lock"):
        return lock
    lock.close()
    return None


def _same_file(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def remove(folder: Path) -> None:
    """Remove a partial folder that is no longer needed; what is left of it is removed by the next prepare."""
    shutil.rmtree(folder, ignore_errors=True)
