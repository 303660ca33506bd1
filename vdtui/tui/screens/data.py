"""The data of a run: what is in its clips file, and random real clips of a class, playing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from vdtui.tui import keys, words
from vdtui.tui.clips import ClipsAnswer, ask
from vdtui.tui.previews import Panel
from vdtui.tui.screens.base import DashboardScreen
from vdtui.tui.widgets.films import Films
from vdtui.tui.widgets.keyline import KeyLine
from vdtui.tui.widgets.lines import Lines

WIDE = 110


class DataScreen(DashboardScreen):
    """Shows the clips file ``file``; None if the run has none yet."""

    SCREEN = "data"
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(SCREEN)]
    HEADING = "data"
    NOTES = ("The clips are random real ones that the run learns from.", "The same in words: vdtui data FILE.h5")
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, file: Path | None, playing: bool = True) -> None:
        super().__init__()
        self.answer: ClipsAnswer | None = None
        self._file = file
        self._label = 0
        self._playing = playing

    def compose(self) -> ComposeResult:
        """Class, facts beside (or above) films, keys."""
        yield Lines(id="class")
        with Container(id="data"):
            with VerticalScroll():
                yield Static(id="facts", markup=False)
            yield Films()
        yield KeyLine(self.SCREEN, self.useful)

    def on_mount(self) -> None:
        """Ask for the file."""
        self.query_one(Films).playing = self._playing
        if self._file is None:
            self._take(ClipsAnswer("The data of this run is not there yet: it is still to be made.", None))
            return
        self.query_one("#facts", Static).update(Text(f"Reading {words.plain(self._file)} ..."))
        self.run_worker(self._ask(self._file), exclusive=True)

    async def _ask(self, file: Path) -> None:
        self._take(await asyncio.to_thread(ask, file))

    @property
    def ready(self) -> bool:
        """Tell whether all is shown."""
        return self.answer is not None and (self.answer.preview is None or self.query_one(Films).ready)

    def _take(self, answer: ClipsAnswer) -> None:
        self.answer = answer
        lines = (words.literal(line) for line in answer.text.splitlines())
        self.query_one("#facts", Static).update(Text("\n".join(lines)))
        self.query_one(Films).display = answer.preview is not None
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        """Side by side where there is room."""
        self.set_class(event.size.width >= WIDE, "wide")
        self.call_after_refresh(self._show_head)

    def _show(self) -> None:
        preview = self.answer.preview if self.answer else None
        if preview is not None:
            films = [Panel(f"clip {number + 1}", clip) for number, clip in enumerate(preview.clips[self._label])]
            self.query_one(Films).show(films)
        self._show_head()

    def _show_head(self) -> None:
        colours = self.app.theme_variables
        preview = self.answer.preview if self.answer else None
        head = Text(" data", f"bold {colours['primary']}", no_wrap=True, overflow="ellipsis")
        if preview is not None:
            name = words.short(words.plain(preview.classes[self._label]) or "(no name)", max(10, self.size.width - 40))
            head = Text.assemble(
                (f" {name}", f"bold {colours['primary']}"),
                (f"   class {self._label + 1} of {len(preview.classes)}   real clips", colours["text-muted"]),
                (f"   frame {self.query_one(Films).frame + 1} of {preview.frames}", colours["text-muted"]),
                no_wrap=True,
            )
        self.query_one("#class", Lines).put(head)

    def action_turn(self, by: int) -> None:
        """Another class."""
        if self.answer is not None and self.answer.preview is not None:
            self._label = (self._label + by) % len(self.answer.preview.classes)
            self._show()

    def scrolled(self) -> VerticalScroll:
        """The facts of the file."""
        return self.query_one(VerticalScroll)

    def action_copy_path(self) -> None:
        """Put the path of the file on the clipboard, where the terminal lets us."""
        if self._file is not None:
            self.copy(str(self._file.resolve()))

    def action_frame(self, by: int) -> None:
        """The frame before or after, alone."""
        self._playing = False
        self.query_one(Films).step_frame(by)

    def on_films_shown(self, event: Films.Shown) -> None:
        """Say which frame it is."""
        self._show_head()

    def action_play(self) -> None:
        """Play or pause."""
        self._playing = not self._playing
        self.query_one(Films).playing = self._playing
