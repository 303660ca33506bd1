"""The gallery: the synthetic clips of one class, playing, at any of the steps that were saved."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer

from vdtui.tui import words
from vdtui.tui.previews import Panel, Preview, PreviewError, load_preview, panels_of
from vdtui.tui.screens.dialogs import HelpScreen
from vdtui.tui.widgets.films import Films
from vdtui.tui.widgets.lines import Lines

Saved = tuple[str, int, str]
"""Stage, step and file of a preview."""
KEYS = (
    ("left right", "the class before, the next class"),
    ("up down", "a later, an earlier step (also ] and [)"),
    ("n", "the next clip of this class"),
    ("v", "one film alone, large"),
    ("space", "play, pause"),
    ("escape", "back to the run"),
)
NOTES = (
    "A static memory is one picture, a dynamic memory its change over time",
    "(orange above, blue below zero); the hallucinator makes a clip of them.",
    "The newest step is followed until an earlier one is chosen.",
)


class GalleryScreen(Screen[None]):
    """Plays what ``previews`` names in ``folder``; ``follow`` tells it of new ones."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "turn(-1)", "Class", key_display="←→"),
        Binding("right", "turn(1)", show=False),
        Binding("down,left_square_bracket", "travel(-1)", "Step", key_display="↑↓"),
        Binding("up,right_square_bracket", "travel(1)", show=False),
        Binding("n", "next_clip", "Next clip"),
        Binding("v", "view", "View"),
        Binding("space", "play", "Play"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("escape,g", "app.pop_screen", "Back", key_display="esc"),
        Binding("q", "app.leave", "Leave"),
    ]

    def __init__(self, folder: Path, previews: tuple[Saved, ...], playing: bool = True) -> None:
        super().__init__()
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
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Load the newest preview."""
        self.query_one(Films).playing = self._playing
        self._load()

    def on_resize(self) -> None:
        """Texts are cut to the width."""
        self.call_after_refresh(self._show_texts)

    @property
    def ready(self) -> bool:
        """Whether everything that was asked for is on the screen."""
        return self._loaded == self._wanted and self.query_one(Films).ready

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
        self.run_worker(self._load_one(self._wanted), exclusive=True)

    async def _load_one(self, wanted: Saved) -> None:
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
        self.query_one(Films).show(self._films(panels_of(self._preview, self._label, self._clip)))
        self._show_texts()

    def _films(self, panels: list[Panel]) -> list[Panel]:
        if self._view:
            return [panels[-(self._view % len(panels))]]
        return panels

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
                play = "▶ playing" if self._playing else "‖ paused"
                head.append(f"   {frames} frames · {play}", colours["text-muted"])
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
        at = min(len(self._previews) - 1, max(0, self._at + by))
        if at != self._at:
            self._at = at
            self._load()

    def action_next_clip(self) -> None:
        """Another clip of the class."""
        if self._preview is not None:
            self._clip = (self._clip + 1) % self._preview.instances
            self._show()

    def action_view(self) -> None:
        """All films, or one of them."""
        if self._preview is not None:
            choices = 1 if self._preview.static is None else 4
            self._view = (self._view + 1) % choices
            self._show()

    def action_play(self) -> None:
        """Play or pause."""
        self._playing = not self._playing
        self.query_one(Films).playing = self._playing
        self._show_texts()

    def action_help(self) -> None:
        """The keys."""
        self.app.push_screen(HelpScreen("gallery", KEYS, NOTES))
