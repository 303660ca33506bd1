"""The event log of a run: append-only JSON lines, written by one worker, followed by any number of readers.

A line that was torn by a kill is the end of the log for now: readers wait for its rest, and the next worker cuts it
off before it appends, so that it never merges with a new record.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.events import SCHEMA, SCHEMA_VERSION, Event, to_record
from engine.files import finite, parse_record, storage_errors


class EventLog:
    """The writing end. One process at a time (the run's lock sees to that).

    Each event is handed to the operating system at once, so a killed worker loses none; ``sync`` also waits for the
    disk and is called with every checkpoint, so that the log is never behind the state it tells of.
    """

    def __init__(self, path: Path) -> None:
        with storage_errors(path):
            cut_torn_line(path)
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - lives as long as the worker
            if self._file.tell() == 0:
                self._append({"schema": SCHEMA, "version": SCHEMA_VERSION})
        self._path = path

    def append(self, event: Event) -> None:
        """Append ``event`` with the time of now."""
        with storage_errors(self._path):
            self._append(to_record(event, time.time()))

    def _append(self, record: dict[str, Any]) -> None:
        line = json.dumps(finite(record), ensure_ascii=False, separators=(",", ":")) + "\n"
        content = line.encode("utf-8")
        start = os.fstat(self._file.fileno()).st_size
        if self._file.write(content) != len(content):
            self._file.truncate(start)  # else the next event would be appended to the half of this one
            raise OSError(errno.ENOSPC, "only a part of the line could be written")

    def sync(self) -> None:
        """Wait until the log is on the disk."""
        with storage_errors(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def cut_torn_line(path: Path) -> None:
    """Cut ``path`` back to its last complete line; an absent file is left absent."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return
    with open(path, "rb+") as file:
        tail = b""
        while size and b"\n" not in tail:
            start = max(0, size - 65536)
            file.seek(start)
            tail = file.read(size - start)
            keep = start + tail.rfind(b"\n") + 1
            size = start if b"\n" not in tail else keep
        file.truncate(size)


def is_event_log(path: Path) -> bool:
    """Return whether ``path`` begins as an event log of any version."""
    try:
        if not path.is_file():  # to open a named pipe would wait for its writer
            return False
        with open(path, "rb") as file:
            head = parse_record(file.readline(1 << 16))
    except OSError:
        return False
    return head is not None and head.get("schema") == SCHEMA


class EventTail:
    """The reading end: ``read()`` returns the records that were added since the last call, ``block()`` their lines.

    A line without an end is waited for, or read anew if the next worker has cut it off. Lines that are not JSON
    objects are passed over (a damaged disk must not end the view of a run). A log that became shorter was replaced,
    and is read again from its start: both then return everything, and ``restarted`` is true until the next call.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.offset = 0
        """Bytes of the lines that were read whole."""
        self._torn = 0  # bytes seen of the next; they are read again, for the next worker may have cut them off
        self.restarted = False
        self.damaged = 0
        """Lines that ``read`` has passed over."""

    @property
    def seen(self) -> int:
        """Bytes of the log that have been looked at."""
        return self.offset + self._torn

    def read(self, limit: int = 1 << 24) -> list[dict[str, Any]]:
        """Up to ``limit`` bytes of new records, oldest first.

        Raises RunError if the log was written by a newer version.
        """
        found = []
        for line in self.block(limit).split(b"\n")[:-1]:
            record = parse_record(line)
            if record is None:
                self.damaged += 1
            elif "schema" not in record:
                found.append(record)
        return found

    def block(self, limit: int) -> bytes:
        """The lines of those records, each with its end; less than all of a line that is longer is no line yet.

        Raises RunError as ``read`` does.
        """
        self.restarted = False
        try:
            found = self._path.stat()
            size = found.st_size
            if size < self.offset:
                self.offset, self._torn, self.damaged, self.restarted = 0, 0, 0, True
            if not stat.S_ISREG(found.st_mode):
                return b""
            if size == self.seen:
                return b""
            with open(self._path, "rb") as file:
                file.seek(self.offset)
                block = file.read(limit if limit < 0 else self._torn + limit)
        except OSError:
            return b""
        whole = block.rfind(b"\n") + 1
        if whole and self.offset == 0:
            self._check(parse_record(block[: block.index(b"\n")]))
        self.offset, self._torn = self.offset + whole, len(block) - whole
        return block[:whole]

    def _check(self, header: dict[str, Any] | None) -> None:
        """Refuse what is not read before anything is, so that the next call says it again."""
        if header is None or "schema" not in header:
            return
        if header["schema"] != SCHEMA or header.get("version") != SCHEMA_VERSION:
            problem = f"{self._path} has format {header['schema']} {header.get('version')}, not {SCHEMA} 1."
            raise RunError(problem, "It was written by another version of vdtui: update vdtui to read it.")
