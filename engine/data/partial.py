"""What an unfinished prepare keeps, so that the next one goes on where it stopped.

An HDF5 file that is killed while it is written may be lost as a whole, so decoded videos are appended to a plain file
first and become HDF5 at the end. That costs the disk space twice for a while, and is safe at any moment: a record
is written to ``videos.jsonl`` only after the bytes it stands for have reached the disk, and whatever lies beyond the
last whole record is cut off.

    NAME.h5.partial/
      header.json    what is being prepared; with any other, the work is thrown away
      clips.raw      clips of the decoded videos, one after the other
      videos.jsonl   one line per video in order: {"frames": N} or {"skipped": REASON}
      lock           held by the process that writes
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from engine.data.decode import DecodedVideo, SkippedVideo
from engine.errors import UsageError
from engine.runs.files import read_json, write_json

COMMIT_VIDEOS = 64
COMMIT_SECONDS = 2.0


class PartialClips:
    """The videos that are done, in order; ``append`` adds the next one.

    ``done`` holds for each either its number of frames (int) or the reason why it was skipped (str).
    """

    def __init__(self, folder: Path, header: dict[str, Any], video_shape: tuple[int, ...]) -> None:
        """``video_shape`` (clips_per_video, T, H, W, 3) is the shape of one video's clips."""
        self.video_shape = video_shape
        self.done: list[int | str] = []
        self.decoded = 0  # how many of done have clips
        self._raw_path, self._log_path = folder / "clips.raw", folder / "videos.jsonl"
        if read_json(folder / "header.json") != header:
            for path in (self._raw_path, self._log_path):
                path.unlink(missing_ok=True)
            write_json(folder / "header.json", header)
        self._raw = self._raw_path.open("ab", buffering=0)
        self._log = self._log_path.open("ab", buffering=0)
        self._recover()
        self._pending: list[str] = []
        self._committed_at = time.monotonic()

    def _recover(self) -> None:
        """Take over the records whose clips are there, and cut off the rest."""
        size, whole = self._raw_path.stat().st_size, 0
        for line in self._log_path.read_bytes().splitlines(keepends=True):
            outcome = _parse(line)
            if outcome is None or (isinstance(outcome, int) and (self.decoded + 1) * self.video_bytes > size):
                break
            self._count(outcome)
            whole += len(line)
        self._log.truncate(whole)
        self._raw.truncate(self.decoded * self.video_bytes)

    @property
    def video_bytes(self) -> int:
        return int(np.prod(self.video_shape))

    def _count(self, outcome: int | str) -> None:
        self.done.append(outcome)
        self.decoded += isinstance(outcome, int)

    def append(self, outcome: DecodedVideo | SkippedVideo) -> None:
        if isinstance(outcome, DecodedVideo):
            assert outcome.clips.shape == self.video_shape
            _write_all(self._raw, outcome.clips.tobytes())
            record: dict[str, Any] = {"frames": outcome.length}
            self._count(outcome.length)
        else:
            record = {"skipped": outcome.reason}
            self._count(outcome.reason)
        self._pending.append(json.dumps(record) + "\n")
        if len(self._pending) >= COMMIT_VIDEOS or time.monotonic() - self._committed_at > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Make all that was appended survive a crash."""
        if self._pending:
            os.fsync(self._raw.fileno())
            _write_all(self._log, "".join(self._pending).encode())
            os.fsync(self._log.fileno())
        self._pending = []
        self._committed_at = time.monotonic()

    def clips(self) -> np.ndarray:
        """All clips so far, uint8 (videos with clips, *video_shape), read from the disk as they are used."""
        if self.decoded == 0:
            return np.empty((0, *self.video_shape), np.uint8)
        return np.memmap(self._raw_path, np.uint8, "r", shape=(self.decoded, *self.video_shape))

    def close(self) -> None:
        self._raw.close()
        self._log.close()


def _parse(line: bytes) -> int | str | None:
    """The record in ``line``, or None if it was torn."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
        return int(record["frames"]) if "frames" in record else str(record["skipped"])
    except (ValueError, KeyError, TypeError):
        return None


def _write_all(file: IO[bytes], content: bytes) -> None:
    """An unbuffered write may stop short of a full disk; the next one then says so."""
    rest = memoryview(content)
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
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is in the way; it is not the folder of an unfinished prepare.", "Move it away.")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = (folder / "lock").open("ab")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
