"""Processes forked from one that has imported all that a run imports: torch and matplotlib take four seconds.

They are processes like any other, with an id, a session, signals and memory of their own, so that they can be stopped
and killed; they only skip the imports. The one that they are forked from must never compute with torch: the threads of
OpenMP do not survive a fork.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from io import BufferedWriter
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vdtui import launch

WORKER = "engine.worker"
IMPORTED = (
    WORKER,
    "torch._dynamo",  # which the first optimiser imports
    "engine.distilling.stages",
    "engine.evaluation.evaluate",
    "engine.export.gallery",
    "engine.export.media",
    "engine.export.plots",
    "engine.export.report",
    "engine.export.side_by_side",
    "engine.export.tensors",
    "matplotlib.backends.backend_svg",
)


class Forked:
    """A process that runs ``python -m engine.worker RUN``; it has what is used of ``subprocess.Popen``.

    ``command`` is that of a worker; ``env`` are all of its variables, by default those of this process; what it prints
    is added to the file ``stdout``. It has a session of its own, and reads nothing.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        env: Mapping[str, str] | None = None,
        stdout: BufferedWriter | None = None,
        **_: object,
    ) -> None:
        assert list(command[:-1]) == [sys.executable, "-m", WORKER], command
        log = os.devnull if stdout is None else os.path.abspath(stdout.name)
        arguments = (command[-1], log, dict(os.environ if env is None else env), str(cwd))
        self._process = _context().Process(target=_work, args=arguments)
        self.began = time.time()
        """When it was started, in seconds since 1970, as events have it."""
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal that ended it), or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code; raises TimeoutExpired."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(WORKER, timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def workers_are_forked() -> Iterator[None]:
    """Let the command line and the dashboard start their workers so inside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": Forked}))
        yield


@cache
def _context() -> ForkServerContext:
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context


def _work(run: str, log: str, environment: dict[str, str], folder: str) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    with open(log, "ab") as file, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from engine import worker

    sys.argv = [worker.__file__, run]
    code = worker.main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # as a script ends: nothing of multiprocessing is left to be done
