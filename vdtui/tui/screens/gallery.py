"""The gallery: the synthetic clips of one class, playing, at any of the steps that were saved, beside real clips.

The real clips come from a process of their own (``vdtui.tui.clips``), some time after everything else is there.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.timer import Timer

from vdtui.tui import keys, words
from vdtui.tui.clips import RealClips
from vdtui.tui.previews import Panel, Preview, PreviewError, load_preview, panels_of, real_panel
from vdtui.tui.screens.base import DashboardScreen
from vdtui.tui.widgets.films import REPAINTS, Films
from vdtui.tui.widgets.keyline import KeyLine
from vdtui.tui.widgets.lines import Lines

Saved = tuple[str, int, str]
"""Stage, step and file of a preview."""
LAPSE_SECONDS = 1.0
VIDEO_RATE = 25
"""Frames a second of an ordinary video; the clips file does not say it."""


def frame_rate(interval: int) -> tuple[float, str]:
    """Frames a second for clips of every ``interval``-th frame (0: unknown), and what to call that."""
    if interval <= 0:
        return float(REPAINTS), "playing"
    real = VIDEO_RATE / interval
    if real > 2 * REPAINTS:  # most frames would be passed over
        return float(REPAINTS), f"playing, slowed {real / REPAINTS:.0f} times"
    return real, "playing at real speed"


class GalleryScreen(DashboardScreen):
    """Plays what ``previews`` names in ``folder``; ``follow`` tells it of new ones."""

    SCREEN = "gallery"
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(SCREEN)]
    HEADING = "gallery"
    NOTES = (
        "A static memory is one picture, a dynamic memory its change over time",
        "(orange above, blue below zero); the hallucinator makes a clip of them.",
        "The newest step is followed until an earlier one is chosen.",
        "Real speed is that of videos with 25 frames a second; fast clips are slowed.",
    )

    def __init__(
        self,
        folder: Path,
        previews: tuple[Saved, ...],
        playing: bool = True,
        real: RealClips | None = None,
        interval: int = 0,
    ) -> None:
        super().__init__()
        self._source = real
        self._real: Preview | None = None
        self._real_clip = 0
        self._interval = interval
        self._lapse: Timer | None = None
        self._folder = folder
        self._previews = previews
        self._at = len(previews) - 1
        self._preview: Preview | None = None
        self._loaded: Saved | None = None
        self._label = 0
        self._clip = 0
        self._view = 0
        self._playing = playing

    def compose(self) -> ComposeResult:
        """Class, films, steps."""
        yield Lines(id="class")
        yield Films()
        yield Lines(id="timeline")
        yield KeyLine(self.SCREEN, self.useful)

    def on_mount(self) -> None:
        """Load the newest preview."""
        films = self.query_one(Films)
        films.playing, films.rate = self._playing, frame_rate(self._interval)[0]
        self._load()
        if self._source is not None:
            self._fetch()

    @work(group="real")
    async def _fetch(self) -> None:
        assert self._source is not None
        self._real = await asyncio.to_thread(self._source.preview)
        self._source = None
        self._show()

    def on_resize(self) -> None:
        """Texts are cut to the width."""
        self.call_after_refresh(self._show_texts)

    @property
    def ready(self) -> bool:
        """Tell whether everything that was asked for is on the screen."""
        return self._loaded == self._wanted and self.query_one(Films).ready and self._source is None

    @property
    def class_name(self) -> str:
        """The class that is shown, as found in the file."""
        return self._preview.classes[self._label] if self._preview else ""

    @property
    def _wanted(self) -> Saved | None:
        return self._previews[self._at] if 0 <= self._at < len(self._previews) else None

    def follow(self, previews: tuple[Saved, ...]) -> None:
        """Take the run's present list of previews; whoever looks at the newest sees the next newest."""
        if previews == self._previews:
            return
        newest, wanted = self._at == len(self._previews) - 1, self._wanted
        self._previews = previews
        if newest or wanted not in previews:
            self._at = len(previews) - 1
        else:
            self._at = previews.index(wanted)
        if self._wanted != self._loaded:
            self._load()
        else:
            self._show_texts()

    def _load(self) -> None:
        if self._wanted is None:
            self._preview = None
            self.query_one(Films).say("No preview has been saved yet: the first comes soon after the stage begins.")
            self._show_texts()
            return
        self._load_wanted()

    @work(exclusive=True)
    async def _load_wanted(self) -> None:
        wanted = self._wanted
        if wanted is None:
            return
        try:
            self._preview = await asyncio.to_thread(load_preview, self._folder, wanted[2])
        except PreviewError as error:
            self._preview, self._loaded = None, wanted
            self.query_one(Films).say(words.plain(error))
            self._show_texts()
            return
        self._loaded = wanted
        self._show()

    def _show(self) -> None:
        if self._preview is None:
            self._show_texts()
            return
        self._label = min(self._label, len(self._preview.classes) - 1)
        self._clip %= self._preview.instances
        panels = panels_of(self._preview, self._label, self._clip)
        real = real_panel(self._real, self.class_name, self._label, self._real_clip) if self._real else None
        self.query_one(Films).show(self._films(panels + ([real] if real is not None else [])))
        self._show_texts()

    def _films(self, panels: list[Panel]) -> list[Panel]:
        """All of ``panels``, or the chosen one: first the composed clip, then what is around it."""
        order = sorted(panels, key=lambda panel: not panel.label.startswith("clip"))
        return [order[(self._view - 1) % len(order)]] if self._view else panels

    def _show_texts(self) -> None:
        colours, preview = self.app.theme_variables, self._preview
        head = Text(no_wrap=True, overflow="ellipsis")
        if preview is not None:
            name = words.short(words.plain(self.class_name) or "(no name)", max(10, self.size.width - 40))
            head = Text.assemble(
                (f" {name}", f"bold {colours['primary']}"),
                (f"   class {self._label + 1} of {len(preview.classes)}", colours["text-muted"]),
                no_wrap=True,
            )
            frames = preview.frames
            if frames > 1:
                play = f"▶ {frame_rate(self._interval)[1]}" if self._playing else "‖ paused"
                head.append(f"   {frames} frames · {play}", colours["text-muted"])
            if self._source is not None:
                head.append(" · fetching real clips", colours["text-muted"])
            elif self._real is None:
                head.append(" · no real clips found", colours["text-muted"])
        self.query_one("#class", Lines).put(head)
        self.query_one("#timeline", Lines).put(self._timeline())

    def _timeline(self) -> Text:
        colours, count = self.app.theme_variables, len(self._previews)
        if not count:
            return Text("")
        stage, step, _ = self._previews[self._at]
        note = f" {words.plain(stage, 16)} step {step} · preview {self._at + 1} of {count}  "
        most = max(1, (self.size.width - len(note) - 2) // 2)
        shown = min(count, most)
        present = self._at if count <= most else round(self._at * (shown - 1) / max(1, count - 1))
        text = Text(note, no_wrap=True)
        for index in range(shown):
            dot, colour = ("●", "primary") if index == present else ("○", "text-muted")
            text.append(("─" if index else "") + dot, colours[colour])
        return text

    def action_turn(self, by: int) -> None:
        """Another class."""
        if self._preview is not None:
            self._label, self._clip = (self._label + by) % len(self._preview.classes), 0
            self._show()

    def action_travel(self, by: int) -> None:
        """Another step."""
        self._end_lapse()
        at = min(len(self._previews) - 1, max(0, self._at + by))
        if at != self._at:
            self._at = at
            self._load()

    def action_lapse(self) -> None:
        """Go through all steps from the first, one a second, or stop that."""
        if self._lapse is not None:
            self._end_lapse()
        elif len(self._previews) > 1:
            self._at = 0
            self._load()
            self._lapse = self.set_interval(LAPSE_SECONDS, self._lapsed)

    def _lapsed(self) -> None:
        if self._loaded != self._wanted:
            return  # the disk is slower than the clock
        if self._at + 1 >= len(self._previews):
            self._end_lapse()
            return
        self._at += 1
        self._load()

    def _end_lapse(self) -> None:
        if self._lapse is not None:
            self._lapse.stop()
            self._lapse = None

    def action_next_real(self) -> None:
        """Another real clip of the class."""
        if self._real is not None:
            self._real_clip = (self._real_clip + 1) % self._real.instances
            self._show()

    def action_end(self, last: bool) -> None:
        """The first or the last class."""
        if self._preview is not None:
            self._label, self._clip = len(self._preview.classes) - 1 if last else 0, 0
            self._show()

    def action_next_clip(self, by: int) -> None:
        """Another clip of the class."""
        if self._preview is not None:
            self._clip = (self._clip + by) % self._preview.instances
            self._show()

    def action_view(self) -> None:
        """All films, or one of them."""
        if self._preview is not None:
            panels = (1 if self._preview.static is None else 3) + (self._real is not None)
            self._view = (self._view + 1) % (panels + 1 if panels > 1 else 1)
            self._show()

    def action_play(self) -> None:
        """Play or pause."""
        self._playing = not self._playing
        self.query_one(Films).playing = self._playing
        self._show_texts()
