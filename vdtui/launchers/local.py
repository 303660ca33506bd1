"""Workers on this machine, some at a time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vdtui.launch import launch
from vdtui.launchers import Ended, Work

if TYPE_CHECKING:
    from engine.runs import RunDirectory

POLL_SECONDS = 0.5


class Local:
    """Processes of this machine: ``processes`` of them share a run, and ``jobs`` runs are worked on at a time."""

    def __init__(self, processes: int = 1, jobs: int = 1) -> None:
        self._processes = processes
        self._jobs = jobs

    def start(self, run: RunDirectory) -> None:
        """Start a worker on ``run`` in a session of its own, which lives on when this process ends."""
        launch(run, self._processes)

    def run_all(self, works: Sequence[Work]) -> Iterator[Ended]:
        """Carry each of ``works`` to its end and yield it then; leaving early stops those that run, state saved."""
        left = list(works)
        working: list[tuple[RunDirectory, subprocess.Popen[bytes]]] = []
        try:
            while left or working:
                while left and len(working) < self._jobs:
                    run = left.pop(0).make()
                    working.append((run, launch(run, self._processes)))
                time.sleep(POLL_SECONDS)
                for one in [one for one in working if one[1].poll() is not None]:
                    working.remove(one)
                    yield Ended(one[0], "")
        finally:
            for _, process in working:
                process.terminate()
            for _, process in working:
                process.wait()

    def interrupted(self) -> str:
        """Return that all states are saved."""
        return "Interrupted, with the state of every run saved; the same command goes on."
