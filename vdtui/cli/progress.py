"""One line of progress on stderr: rewritten in place on a terminal, and told ever more rarely in a file.

A log of a run of a day with a line every two seconds is one in which nobody finds the warning.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable

import typer

from vdtui.cli.options import note, printable

ON_TERMINAL_SECONDS = 0.5
FIRST_SECONDS, LONGEST_SECONDS = 2.0, 300.0
"""The pause between two lines in a file: at first, and at most; each is twice as long as the one before."""
ERASED = "\r\x1b[K"


class ProgressLine:
    """The progress of some work; ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told = float("-inf")
        self._pause = FIRST_SECONDS
        self._part = ""
        self._shown = ""
        self._open = False

    def tell(self, text: str, part: str = "") -> None:
        """Show how far the work is, if it is time to. A new ``part`` of it is told at once, and often at first."""
        now = self._clock()
        if part != self._part:
            self._part, self._pause, self._told = part, FIRST_SECONDS, float("-inf")
        if text == self._shown or now - self._told < (ON_TERMINAL_SECONDS if _can_rewrite() else self._pause):
            return
        if self._told > float("-inf"):
            self._pause = min(LONGEST_SECONDS, 2 * self._pause)
        self._told, self._shown = now, text
        if not _can_rewrite():
            note(text)
            return
        width = shutil.get_terminal_size().columns - 1  # one that fills the line would begin another
        typer.echo(f"{ERASED}{printable(text)[:width]}", nl=False, err=True)
        self._open = True

    def line(self, text: str) -> None:
        """Say something that stays, above the progress."""
        self.close()
        note(text)

    def close(self) -> None:
        """Take the progress away from a terminal: something else is said now."""
        if self._open:
            typer.echo(ERASED, nl=False, err=True)
            self._open = False
            self._shown = ""


def _can_rewrite() -> bool:
    """Tell whether stderr is a terminal that can go back in a line; a dumb one can only go on."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
