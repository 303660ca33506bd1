"""A job of a cluster from inside: a command as a process of its own, ended in time and begun again.

submitit pickles a ``Job`` by the name of this module, so it can be read wherever vdtui is installed. All that is known
of the work lies in the run's directory, so a job that is requeued is the same command again.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vdtui.launch import worker_environment

WARNING = signal.SIGUSR2
"""The signal that the scheduler sends some time before it ends a job; submitit then calls ``Job.checkpoint``."""


class Job:
    """A command in a job: ``command`` in ``directory``, its stdout appended to ``output`` and its stderr to ``log``."""

    def __init__(self, command: Sequence[str], directory: Path, log: Path, output: Path | None = None) -> None:
        self._parts = (tuple(command), directory, log, output)
        self._process: subprocess.Popen[bytes] | None = None

    def __reduce__(self) -> tuple[type[Job], tuple[Any, ...]]:
        return type(self), self._parts

    def __call__(self) -> None:
        """Run the command to its end; raises CalledProcessError if it fails.

        SIGTERM reaches the command without our help: the scheduler sends it to all processes of a job.
        """
        command, directory, log, output = self._parts
        # The command inherits that it ignores the warning, which is meant for this process.
        handler = signal.signal(WARNING, signal.SIG_IGN)
        try:
            with open(log, "ab") as errors, open(output or log, "ab" if output is None else "wb") as words:
                self._process = subprocess.Popen(
                    command,
                    cwd=directory,
                    env=worker_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=words,
                    stderr=errors,
                )
        finally:
            signal.signal(WARNING, handler)
        self._wait()
        code = self._process.wait()
        if preempted():
            # Within the time of grace a job that ends is done for SLURM; it is for us to say that it is not.
            subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)
            sys.exit(1)
        if code:
            raise subprocess.CalledProcessError(code, command)

    def checkpoint(self) -> Any:
        """End the command with its state saved; return the submission with which the requeued job begins.

        submitit calls it from a signal handler.
        """
        from submitit.helpers import DelayedSubmission

        if self._process is not None:
            self._process.terminate()
            self._wait()
        return DelayedSubmission(Job(*self._parts))

    def _wait(self) -> None:
        """Wait until the process has ended. Unlike Popen's own, this wait can be interrupted by another of its kind."""
        assert self._process is not None
        if self._process.returncode is None:
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)


def preempted() -> bool:
    """Return whether this process is in a job of SLURM that makes room for another, and is not cancelled."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return False
    asked = subprocess.run(["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True, check=False)
    words = asked.stdout.split()
    return "JobState=RUNNING" in words and any(re.fullmatch(r"PreemptTime=\d.*", word) for word in words)
