"""Work in forked processes, which share what this one has imported: torch takes seconds, a fork a hundredth of one.

This process itself must never compute with torch: the threads of OpenMP do not survive a fork.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CRASHED = 70
"""The exit code of work that raised something."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "shutil.rmtree"})
"""Audit events of what changes a file system; ``open`` is another, where it is for writing."""


@dataclass(frozen=True)
class Ending:
    """The end of a process: its exit ``code`` (negative: the signal that ended it), and what it printed."""

    code: int
    output: str
    hung: bool = False
    """True if it was killed because it ran past its patience."""
    changes: int = 0
    """Changes of the file system that it began."""


def run_child(
    work: Callable[[], int],
    *,
    patience: float = 120.0,
    die_at: int | None = None,
    kill_after: float | None = None,
    memory: int | None = None,
) -> Ending:
    """Do ``work`` in a child, which returns an exit code, and return how it ended.

    It kills itself before change number ``die_at`` of the file system, and is killed ``kill_after`` seconds from its
    start; its address space may grow by ``memory`` bytes.
    """
    with tempfile.TemporaryFile() as printed, _pipe() as (told, tell):
        pid = os.fork()
        if pid == 0:
            _be_child(work, printed.fileno(), tell, die_at, memory)
        os.close(tell)
        hung = False
        if not _ends(pid, patience if kill_after is None else min(patience, kill_after)):
            hung = kill_after is None or kill_after > patience
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # what it started
        changes = len(os.read(told, 1 << 16)) if die_at is None else 0
        printed.seek(0)
        return Ending(os.waitstatus_to_exitcode(status), printed.read().decode("utf-8", "replace"), hung, changes)


def must(ended: Ending, what: str) -> None:
    """Raise AssertionError if ``what`` ended in anything but success."""
    assert ended.code == 0, f"{what} failed without a kill ({ended.code}):\n{ended.output[-3000:]}"


@contextlib.contextmanager
def _pipe() -> Any:
    told, tell = os.pipe()
    try:
        yield told, tell
    finally:
        os.close(told)


def _ends(pid: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def _be_child(work: Callable[[], int], printed: int, tell: int, die_at: int | None, memory: int | None) -> None:
    code = CRASHED
    try:
        os.setpgid(0, 0)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if memory is not None:
            with open("/proc/self/statm", encoding="ascii") as file:
                now = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
        _count_changes(tell, die_at)
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _count_changes(tell: int, die_at: int | None) -> None:
    """Kill this process before its change ``die_at`` of the file system; without one, tell of each by a byte."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & WRITES or str(path).startswith("/dev/"):
                return
        elif event not in CHANGES:
            return
        seen += 1
        if die_at is None:
            os.write(tell, b".")
        elif seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
