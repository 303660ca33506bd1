"""Other commands of vdtui, run for the dashboard in processes of their own.

Export, report and whatever opens a clips file need libraries that the dashboard does without. Their output goes to
files, never to the screen's own; what they say at the end is what the user is shown.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.machine.imports import own_environment

PATIENCE_SECONDS = 1800
LONGEST_LINE = 1 << 22
"""Bytes of a line of output that is heard: a summary names every skipped video."""


@dataclass(frozen=True)
class Done:
    """The end of a command: its exit code, what it printed, and what it said to the user."""

    code: int
    out: str
    said: str

    @property
    def problem(self) -> str:
        """The problem and its remedy in one line; empty if there is none."""
        if self.code == 0:
            return ""
        lines = [line.removeprefix("error: ").removeprefix("hint: ") for line in self.said.splitlines() if line.strip()]
        told = " ".join(lines[-2:] if not self.said.startswith("error: ") else lines[:2])
        return told or f"It ended with code {self.code}, without a word."


def run_module(module: str, *arguments: str, patience: float = PATIENCE_SECONDS) -> Done:
    """Run ``python -m module``; takes as long as that takes, so call it in a thread."""
    with tempfile.TemporaryDirectory(prefix="vdtui-") as folder:
        out, said = Path(folder) / "out", Path(folder) / "said"
        with out.open("wb") as stdout, said.open("wb") as stderr:
            try:
                code = subprocess.run(
                    [sys.executable, "-P", "-m", module, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    env=own_environment(),
                    timeout=patience,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                return Done(124, "", f"error: It took longer than {patience:g} s.")
        texts = (file.read_text(encoding="utf-8", errors="replace").strip() for file in (out, said))
        return Done(code, *texts)


class LongCommand:
    """``python -m module`` in a process of its own, whose lines are heard as they come."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-P", "-m", module, *arguments]
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, hear: Callable[[str], None]) -> Done:
        """Run it, call ``hear`` with each line of its output, and return its end."""
        with tempfile.TemporaryFile() as said:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=said,
                env=own_environment(),
                limit=LONGEST_LINE,
            )
            try:
                assert self._process.stdout is not None
                async for line in self._process.stdout:
                    hear(line.decode("utf-8", errors="replace").rstrip("\n"))
                code = await self._process.wait()
            finally:
                self.stop()
            said.seek(0)
            return Done(code, "", said.read().decode("utf-8", errors="replace").strip())

    def stop(self) -> None:
        """End it, if it goes on."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()


def open_elsewhere(path: Path) -> bool:
    """Show ``path`` in whatever program this machine has for it; False where there is no screen for one."""
    opener = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    has_screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if opener is None or not has_screen:
        return False
    nowhere = subprocess.DEVNULL
    subprocess.Popen([opener, str(path)], stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
    return True


def run_vdtui(*arguments: str) -> Done:
    """Run ``vdtui`` with ``arguments``."""
    return run_module("vdtui.cli.main", *arguments)
