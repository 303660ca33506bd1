"""Networks of several seeds, trained at once: a pool of processes that run trials.

On a CPU k processes of cores/k threads train k networks sooner than one process of all threads does one after the
other: the small batches of an evaluation do not scale. What must not suffer is the meaning of a number. The threads of
a network follow from the cores and from how many networks a table asks for, never from how many happen to be trained
at the moment, are known already, or are left after an interruption; so the same question has the same answer.

On other devices, with one network, with one core, and under torchrun, networks are trained in this process, one after
the other; on a GPU on request in turn (``engine.evaluation.turns``).

The processes are started by their own small program and not by `multiprocessing`, which would run the user's script
or notebook again in each. They do not see Ctrl+C or SIGTERM, which their parent answers for them; they end with it,
however it ends. While the parent waits, as a paused run does, they finish their network, or wait too once it has too
much to read. Everything that crosses the border is made by our own processes, so pickle is safe here.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
from torch import nn

from engine.data.batches import RealClips
from engine.errors import RunError, VdtuiError
from engine.evaluation.protocols import Recipe
from engine.evaluation.requests import Queue, QueueState, Request, Wanted, Watch
from engine.evaluation.training import TrainingData
from engine.evaluation.trials import Trial, run_trial, train_trial
from engine.evaluation.turns import in_turn
from engine.machine.imports import own_path
from engine.machine.out_of_memory import memory_errors
from engine.machine.torchrun import started_by_torchrun
from engine.models.repeated import Recorder

POLL_SECONDS = 0.2
START_SECONDS = 600.0
"""Seconds that a process may take to begin: many import torch at once, maybe from a network's file system."""
END_SECONDS = 10.0
PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from engine.evaluation.trainers import serve
serve(int(sys.argv[2]), int(sys.argv[3]))
"""
ONE_AT_A_TIME = (
    "What is finished is kept. With OMP_NUM_THREADS=1 networks are trained one at a time, by the process itself."
)


Data = TypeVar("Data", bound=TrainingData)


def shares(cores: int, networks: int) -> tuple[int, int]:
    """Return the threads of each network and the number of processes, for ``networks`` that are asked for at once.

    With one process, which has all cores, networks are trained in the process that asks; with more, in others.
    """
    threads = max(1, cores // networks)
    return threads, min(networks, cores // threads)


class Trainers:
    """A context manager that holds the processes; they start when they are needed, and serve until it is left.

    With ``record`` there are none: networks are trained in this process, a step of each in turn, and steps are recorded
    by it.
    """

    def __init__(self, device: torch.device, record: Recorder | None = None) -> None:
        self._device, self._record = device, record
        self._processes: list[_Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, also those that train."""
        self._end(self._processes)

    def trials(self, requests: Iterable[Request], networks: int, watch: Watch = lambda state: None) -> Iterator[Trial]:
        """Yield the trial of each request, in their order. A row of their table has ``networks``.

        ``watch`` is called several times a second and may raise: networks that are under way are then lost. Raises
        RunError if a process cannot be started or dies, and whatever training raises.
        """
        if self._record is not None:
            return in_turn(Queue(requests, watch), networks, self._device, self._record)
        threads, processes = shares(torch.get_num_threads(), networks)
        if self._device.type != "cpu" or started_by_torchrun() or processes == 1:
            return _one_by_one(requests, watch)
        return self._at_once(Queue(requests, watch, threads), processes, threads)

    def _at_once(self, queue: Queue, processes: int, threads: int) -> Iterator[Trial]:
        busy: dict[_Process, int] = {}
        try:
            while True:
                while len(busy) < processes and (wanted := queue.next()) is not None:
                    process = self._idle(busy)
                    busy[process] = wanted.place
                    process.give(_message(wanted, threads))
                yield from queue.answers()
                if not busy:
                    return
                for process in _readable(busy):
                    answer = process.receive()
                    if isinstance(answer, Trial):
                        queue.finish(busy.pop(process), answer)
                    elif answer is not None:
                        queue.progress(busy[process], answer)
                queue.report()
        finally:
            self._end(list(busy))

    def _idle(self, busy: dict[_Process, int]) -> _Process:
        for process in self._processes:
            if process not in busy:
                return process
        self._processes.append(_Process())
        return self._processes[-1]

    def _end(self, processes: list[_Process]) -> None:
        for process in processes:
            process.kill()
        for process in processes:
            process.bury()
        self._processes = [process for process in self._processes if process not in processes]


def _one_by_one(requests: Iterable[Request], watch: Watch) -> Iterator[Trial]:
    known = 0
    for place, request in enumerate(requests):
        here = _Here(place, known, watch)
        yield here.run(request)
        known += not here.trained


class _Here:
    """One network that is trained in this process, or whose trial is known."""

    def __init__(self, place: int, known: int, watch: Watch) -> None:
        self._place, self._known, self._watch = place, known, watch
        self.trained = False

    def run(self, request: Request) -> Trial:
        make = request.teacher
        teacher = None if make is None else lambda: make(self._report)
        return run_trial(
            request.data(), request.real, request.recipe, request.seed, request.cache, self._report, teacher
        )

    def _report(self, part: float) -> None:
        self.trained = True
        self._watch(QueueState(self._place, self._known, ((self._place, part),)))


# --- the parent's side -----------------------------------------------------------------------------------------------


def _message(wanted: Wanted, threads: int) -> bytes:
    request = wanted.request
    job = _Job(_light(wanted.data), _light(request.real), request.recipe, request.seed, wanted.teacher, threads)
    return pickle.dumps(job, pickle.HIGHEST_PROTOCOL)


def _light(data: Data) -> Data:
    """Return the data as they cross to a process: real clips without pixels, which it reads from their file."""
    return type(data)(data.view, data.spec, data.device) if isinstance(data, RealClips) else data


def _readable(busy: Iterable[_Process]) -> list[_Process]:
    """Return the processes that have sent something, or have died; after POLL_SECONDS at most."""
    by_connection = {process.connection: process for process in busy}
    readable = [by_connection[one] for one in wait(list(by_connection), POLL_SECONDS)]  # type: ignore[index]
    for process in set(by_connection.values()).difference(readable):
        process.check_start()
    return readable


class _Process:
    """One process, as its parent sees it. A message waits here until the process listens."""

    def __init__(self) -> None:
        self.connection, other = Pipe()
        command = [
            sys.executable,
            "-P",
            "-c",
            PROGRAM,
            json.dumps(own_path()),
            str(other.fileno()),
            str(os.getpid()),
        ]
        try:
            with other, _signals_held():
                self._popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[other.fileno()])
        except OSError as error:
            self.connection.close()
            reason = error.strerror or type(error).__name__
            raise RunError(f"A process that trains networks cannot be started: {reason}.", ONE_AT_A_TIME) from error
        self._began = time.monotonic()
        self._listens = False
        self._message = b""

    def give(self, message: bytes) -> None:
        """Send the process a network to train."""
        self._message = message
        self._send()

    def _send(self) -> None:
        if self._listens and self._message:
            message, self._message = self._message, b""
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has died: ``receive`` says so
                self.connection.send_bytes(message)

    def receive(self) -> Trial | float | None:
        """Return the trial or the part that is done; None when the process begins to listen.

        Raises what training raised, and RunError if the process died.
        """
        try:
            kind, content = self.connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if kind == "listens":
            self._listens = True
            self._send()
            return None
        if kind == "failed":
            if isinstance(content, VdtuiError):
                raise content
            raise RuntimeError(f"in a process that trains networks:\n{content}")
        return content  # type: ignore[no-any-return]

    def _died(self) -> RunError:
        try:
            code = self._popen.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return RunError("A process that trained a network has gone silent.", ONE_AT_A_TIME)
        if code == -signal.SIGKILL:
            return RunError("A process that trained a network was killed, as for want of memory.", ONE_AT_A_TIME)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return RunError(f"A process that trains networks {how}.", ONE_AT_A_TIME)

    def check_start(self) -> None:
        """Raise RunError if the process should have begun long ago."""
        if not self._listens and time.monotonic() - self._began > START_SECONDS:
            raise RunError(f"A process that trains networks did not begin in {START_SECONDS:g} s.", ONE_AT_A_TIME)

    def kill(self) -> None:
        self.connection.close()
        self._popen.kill()

    def bury(self) -> None:
        """Wait for the end of the process, so that nothing is left of it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(END_SECONDS)


HELD = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """A process that is started meanwhile never sees these: a terminal or a batch system sends them to all at once,
    and the parent answers; a child that is still importing could not ignore them yet."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- the process's side ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """A network for a process to train, and how this process computes; it crosses to the other."""

    data: TrainingData
    real: RealClips
    recipe: Recipe
    seed: int
    teacher: nn.Module | None
    threads: int
    deterministic: bool = field(default_factory=torch.are_deterministic_algorithms_enabled)
    warn_only: bool = field(default_factory=torch.is_deterministic_algorithms_warn_only_enabled)

    def run(self, watch: Callable[[float], None]) -> Trial:
        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(self.deterministic, warn_only=self.warn_only)
        return train_trial(self.data, self.real, self.recipe, self.seed, watch, self.teacher)


def serve(descriptor: int, parent: int) -> None:
    """Train the networks that come through the connection ``descriptor`` until ``parent`` is gone."""
    connection: Connection = Connection(descriptor)
    messages: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, parent, messages), daemon=True).start()
    try:
        connection.send(("listens", None))
        while True:
            connection.send(_answer(connection, messages.get()))
    except OSError:
        os._exit(1)  # the parent is gone


def _receive(connection: Connection, parent: int, messages: SimpleQueue[bytes]) -> None:
    """Wait for messages in a thread of its own, so that the parent's end is noticed while a network is trained."""
    while os.getppid() == parent:
        try:
            if connection.poll(POLL_SECONDS):
                messages.put(connection.recv_bytes())
        except (EOFError, OSError):
            break
    os._exit(1)


def _answer(connection: Connection, message: bytes) -> tuple[str, Any]:
    last = -1

    def report(part: float) -> None:
        nonlocal last
        if int(100 * part) != last:  # a hundred lines a network: they must not fill the pipe of a paused parent
            last = int(100 * part)
            connection.send(("part", part))

    try:
        with memory_errors():
            return "trial", pickle.loads(message).run(report)
    except VdtuiError as error:
        return "failed", error
    except Exception:
        return "failed", traceback.format_exc()
