"""Decoding with several processes, in order.

A file that crashes FFmpeg takes its process along, so a lost process is not the end: the videos that were under way
are read again, each alone, and the one that crashes again is skipped. Results come in the order of the paths and only
a few are ahead of the reader at any time, so neither the output nor the memory depends on the number of workers.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path

from engine.data.decode import DecodedVideo, Sampling, SkippedVideo, read_video

POLL_SECONDS = 0.2

Outcome = DecodedVideo | SkippedVideo


def decode_in_order(
    paths: Sequence[Path], sampling: Sampling, workers: int, check: Callable[[], None]
) -> Iterator[Outcome]:
    """Yield the outcome of each path; ``check`` is called often and may raise to stop. 0 or 1 workers: no processes."""
    pool = _start(workers) if workers > 1 and len(paths) > 1 else None
    if pool is None:
        for path in paths:
            check()
            yield read_video(path, sampling)
        return
    try:
        under_way: deque[tuple[Path, Future[Outcome]]] = deque()
        todo = deque(paths)
        while todo or under_way:
            try:
                while todo and len(under_way) < 3 * workers:
                    under_way.append((todo[0], _submit(pool, todo[0], sampling)))
                    todo.popleft()
                outcome = _wait(under_way[0][1], check)
            except BrokenProcessPool:
                _stop(pool)
                for path, future in under_way:
                    yield _salvage(path, future, sampling, check)
                under_way.clear()
                pool = _pool(workers)
            else:
                under_way.popleft()
                yield outcome
    finally:
        _stop(pool)


def _salvage(path: Path, future: Future[Outcome], sampling: Sampling, check: Callable[[], None]) -> Outcome:
    """The outcome of a video that was under way when a process died."""
    if future.done() and not future.cancelled() and future.exception() is None:
        return future.result()
    alone = _pool(1)
    try:
        return _wait(_submit(alone, path, sampling), check)
    except BrokenProcessPool:
        return SkippedVideo("it crashes the decoder")
    finally:
        _stop(alone)


def _wait(future: Future[Outcome], check: Callable[[], None]) -> Outcome:
    while True:
        check()
        try:
            return future.result(timeout=POLL_SECONDS)
        except TimeoutError:
            continue


def _start(workers: int) -> ProcessPoolExecutor | None:
    """A pool that is known to work; None where processes cannot start, as from a script without a main guard."""
    pool = _pool(workers)
    try:
        with _interrupts_held():
            first = pool.submit(os.getpid)
        first.result()
    except BrokenProcessPool:
        _stop(pool)
        return None
    return pool


def _pool(workers: int) -> ProcessPoolExecutor:
    # Not fork: FFmpeg, BLAS and a dashboard's threads do not survive it.
    resource_tracker.ensure_running()  # starting it later would undo _interrupts_held
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_become_worker)


def _submit(pool: ProcessPoolExecutor, path: Path, sampling: Sampling) -> Future[Outcome]:
    with _interrupts_held():
        return pool.submit(read_video, path, sampling)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes that are started meanwhile never see Ctrl+C, which is the parent's to answer; a terminal sends it to
    all of them, and one that is still importing would print a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(pool: ProcessPoolExecutor) -> None:
    pool.shutdown(wait=True, cancel_futures=True)


def _become_worker() -> None:
    """Die with the parent: after a kill -9 of it nobody else would end us."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
