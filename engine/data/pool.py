"""A function over many items in several processes, in order.

A file that crashes FFmpeg takes its process along, and one on which it hangs keeps it; so neither is the end: items
that were under way are done again, each alone, and the one that fails again is given up. Results come in the order of
the items and only a few are ahead of the reader at any time, so neither the output nor the memory depends on the
number of workers.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Generic, Self, TypeVar

from engine.machine.imports import own_path_first

POLL_SECONDS = 0.2
PATIENCE_SECONDS = 600.0
"""The longest time that the oldest item may take before it is given up."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Check = Callable[[], None]


@dataclass(frozen=True)
class Lost:
    """An item that gave no result, and why: one line in plain words."""

    reason: str


CRASHED, STUCK = Lost("it crashes the decoder"), Lost("decoding it does not come to an end")


class _StuckError(Exception):
    """The oldest item takes longer than anyone would wait."""


class Workers(Generic[Item, Result]):
    """Processes that apply ``function``; a context manager. They start at once, and import while the caller goes on.

    With 0 workers, or where processes cannot start (from a script without a main guard; or ``trouble`` says why), the
    caller's does it.
    """

    def __init__(self, function: Callable[[Item], Result], workers: int) -> None:
        self._function = function
        self._number = workers
        self.trouble = ""
        """The reason why there are no processes where some were wanted; empty if there are."""
        self._pool: ProcessPoolExecutor | None = None
        self._first: Future[int] | None = None
        if workers > 0:
            self._start(workers)

    def _start(self, workers: int) -> None:
        try:
            self._pool = self._new_pool(workers)
            self._first = self._ping()
        except OSError as error:  # no room for their semaphores, or the limit of processes is reached
            self._end_pool()
            self._pool = None
            place = " in /dev/shm" if error.errno == errno.ENOSPC else ""
            self.trouble = f"{error.strerror or error}{place}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on them for the user, a line each."""
        return (f"One process did all the work: others could not start ({self.trouble}).",) if self.trouble else ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, items: Sequence[Item], check: Check) -> Iterator[Result | Lost]:
        """Yield the result of each item; ``check`` is called often and may raise to stop."""
        if not self._works():
            for item in items:
                check()
                yield self._function(item)
            return
        under_way: deque[tuple[Item, Future[Result]]] = deque()
        todo = deque(items)
        while todo or under_way:
            try:
                while todo and len(under_way) < 3 * self._number:
                    under_way.append((todo[0], self._submit(self._pool, todo[0])))
                    todo.popleft()
                result = _wait(under_way[0][1], check)
            except (BrokenProcessPool, _StuckError):
                self._end_pool()
                for item, future in under_way:
                    yield self._salvage(item, future, check)
                under_way.clear()
                self._pool = self._new_pool(self._number)
            else:
                under_way.popleft()
                yield result

    def _works(self) -> bool:
        """Return whether there are processes that could start."""
        if self._first is not None:
            try:
                self._first.result()
            except BrokenProcessPool:
                self._end_pool()
                self._pool = None
            self._first = None
        return self._pool is not None

    def _salvage(self, item: Item, future: Future[Result], check: Check) -> Result | Lost:
        """The result of an item that was under way when a process died, or was killed."""
        if future.done() and not future.cancelled() and future.exception() is None:
            return future.result()
        pool = self._new_pool(1)
        try:
            return _wait(self._submit(pool, item), check)
        except BrokenProcessPool:
            return CRASHED
        except _StuckError:
            return STUCK
        finally:
            _kill(pool)

    def _new_pool(self, workers: int) -> ProcessPoolExecutor:
        # Not fork: FFmpeg, BLAS and a dashboard's threads do not survive it.
        resource_tracker.ensure_running()  # starting it later would undo _interrupts_held
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(workers, mp_context=context, initializer=_become_worker, initargs=(self._function,))

    def _ping(self) -> Future[int]:
        assert self._pool is not None
        with _interrupts_held(), own_path_first():
            pings = [self._pool.submit(os.getpid) for _ in range(self._number)]  # each starts a process
        return pings[0]

    def _submit(self, pool: ProcessPoolExecutor | None, item: Item) -> Future[Result]:
        assert pool is not None
        with _interrupts_held(), own_path_first():
            return pool.submit(self._function, item)

    def _end_pool(self) -> None:
        if self._pool is not None:
            _kill(self._pool)


def _kill(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):  # no public way before Python 3.14
        process.kill()
    pool.shutdown(wait=True, cancel_futures=True)


def _wait(future: Future[Result], check: Check) -> Result:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        check()
        try:
            return future.result(timeout=POLL_SECONDS)
        except TimeoutError:
            if time.monotonic() > end:
                raise _StuckError from None


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes that are started meanwhile never see Ctrl+C, which is the parent's to answer; a terminal sends it to
    all of them, and one that is still importing would print a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _become_worker(function: object) -> None:
    """Die with the parent: after a kill -9 of it nobody else would end us. ``function`` comes for its imports."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
