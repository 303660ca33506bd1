"""The line above the keys that says what is being exported or written, and for how long, until it has ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.text import Text
from textual.timer import Timer

from vdtui.tui import words
from vdtui.tui.widgets.lines import Lines


class WorkLine(Lines):
    """Hidden while nothing goes on."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.display = False
        self._work: Mapping[str, float] = {}
        self._timer: Timer | None = None

    def on_mount(self) -> None:
        """Show what goes on already, whatever screen it was begun on."""
        self.show(getattr(self.app, "work", {}))

    def show(self, work: Mapping[str, float]) -> None:
        """Show ``work``: what is done, in words, and when each began (monotonic seconds)."""
        self._work = work
        if self._timer is not None and not work:
            self._timer.stop()
            self._timer = None
        elif self._timer is None and work:
            self._timer = self.set_interval(1.0, self._draw)
        self._draw()

    def _draw(self) -> None:
        if self.display != bool(self._work):
            self.display = bool(self._work)
        now, colours = time.monotonic(), self.app.theme_variables
        text = Text(no_wrap=True, overflow="ellipsis")
        for what, began in self._work.items():
            text.append(" ◐ ", colours["warning"]).append(f"{words.plain(what)}, {words.duration(now - began)} ")
        self.put(text)
