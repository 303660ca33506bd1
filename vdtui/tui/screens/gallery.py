"""The gallery: the synthetic clips of a class, playing, at any of the steps that were saved, beside real clips.

They stand beside what they began as, too, beside those of other runs, or beside what their file decodes to; or all
classes stand in a grid. What is not in previews comes from a process of its own (``vdtui.tui.clips``,
``vdtui.stored``), some time after everything else is there.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.timer import Timer

from engine.events import STAGES
from vdtui.tui import keys, words
from vdtui.tui.clips import RealClips
from vdtui.tui.commands import run_module
from vdtui.tui.previews import (
    Panel,
    Preview,
    PreviewError,
    difference_panel,
    load_preview,
    panels_of,
    real_panel,
)
from vdtui.tui.screens.base import DashboardScreen
from vdtui.tui.widgets.films import MOST_IN_A_ROW, REPAINTS, Films, tiles
from vdtui.tui.widgets.keyline import KeyLine
from vdtui.tui.widgets.lines import Lines
from vdtui.tui.widgets.search import SearchLine

Saved = tuple[str, int, str]
"""Stage, step and file of a preview."""
LAPSE_SECONDS = 1.0
PARTS, ALL, START, STORED = "parts", "all classes", "beside its start", "beside its file"
"""The part of a set that is shown."""
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


def saved_previews(folder: Path) -> tuple[Saved, ...]:
    """The previews in ``folder`` in the order of the stages and their steps, by the names of their files."""
    found = [re.fullmatch(r"([a-z]+)-(\d+)\.npz", path.name) for path in sorted(folder.glob("*.npz"))]
    named = [(match[1], int(match[2]), match[0]) for match in found if match is not None and match[1] in STAGES]
    return tuple(sorted(named, key=lambda saved: (STAGES.index(saved[0]), saved[1])))  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class OtherSet:
    """The newest preview of another run: its name, the folder of its previews, and the file."""

    name: str
    folder: Path
    file: str


class GalleryScreen(DashboardScreen):
    """Plays what ``previews`` names in ``folder``; ``follow`` tells it of new ones. ``others`` stand beside it."""

    SCREEN = "gallery"
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(SCREEN)]
    HEADING = "gallery"
    AUTO_FOCUS = ""  # not the line of the search, which is hidden
    NOTES = (
        "A static memory is one picture, a dynamic memory its change over time",
        "(orange above, blue below zero); the hallucinator makes a clip of them.",
        "The newest step is followed until an earlier one is chosen.",
        "Differences are orange where it is brighter now, blue where it is darker.",
        "Real speed is that of videos with 25 frames a second; fast clips are slowed.",
    )

    def __init__(
        self,
        folder: Path,
        previews: tuple[Saved, ...],
        playing: bool = True,
        real: RealClips | None = None,
        interval: int = 0,
        others: Sequence[OtherSet] = (),
    ) -> None:
        super().__init__()
        self.mode = PARTS
        self._others = others
        self._beside: dict[str, Preview] = {}
        """Previews that are shown beside the present one: the start, the stored file, those of other runs."""
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
        self._stored_step: int | None = None
        self._playing = playing

    def compose(self) -> ComposeResult:
        """Class, films, steps."""
        yield Lines(id="class")
        yield Films()
        yield Lines(id="timeline")
        yield SearchLine(hint="letters of a class; enter goes to it")
        yield KeyLine(self.SCREEN, self.useful)

    def on_mount(self) -> None:
        """Load the newest preview."""
        films = self.query_one(Films)
        films.playing, films.rate = self._playing, frame_rate(self._interval)[0]
        self._load()
        if self._source is not None:
            self._fetch()
        for other in self._others:
            self._read_beside(other.name, other.folder, other.file)

    @work(group="real")
    async def _fetch(self) -> None:
        assert self._source is not None
        self._real = await asyncio.to_thread(self._source.preview)
        self._source = None
        self._show()

    @work(group="beside")
    async def _read_beside(self, name: str, folder: Path, file: str) -> None:
        try:
            self._beside[name] = await asyncio.to_thread(load_preview, folder, file)
        except PreviewError as error:
            self.say(f"{name}: {error}", warn=True)
            return
        self._show()

    @work(group="stored")
    async def _fetch_stored(self) -> None:
        """Decode the stored set in a process of its own."""
        self.say("Decoding the stored file, some seconds ...")
        run = str(self._folder.parent.resolve())
        with tempfile.TemporaryDirectory(prefix="vdtui-") as folder:
            done = await asyncio.to_thread(run_module, "vdtui.stored", run, folder)
            try:
                found = await asyncio.to_thread(load_preview, Path(folder), done.out.strip())
            except PreviewError as error:
                self.say(done.problem or str(error), warn=True)
                self.mode = PARTS
                return
        self._beside[STORED] = found
        step = re.search(r"stored-(\d+)", done.out)
        self._stored_step = int(step[1]) if step else None
        self._go_to_stored()

    def _go_to_stored(self) -> None:
        """Show the saved step that is nearest to the one that is stored: what was learned there."""
        last = self._previews[-1][0] if self._previews else ""  # the stage that made it
        steps = [
            (abs(saved[1] - (self._stored_step or 0)), place)
            for place, saved in enumerate(self._previews)
            if saved[0] == last
        ]
        if steps and self._stored_step is not None and self._at != (nearest := min(steps)[1]):
            self._at = nearest
            self._load()
        else:
            self._show()

    def on_resize(self) -> None:
        """Texts are cut to the width; another number of classes fits into a grid."""
        self.call_after_refresh(self._show if self.mode == ALL else self._show_texts)

    def on_films_shown(self, event: Films.Shown) -> None:
        """Say which frame it is."""
        self._show_texts()

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
        self.query_one(Films).show(self._panels(self._preview))
        self._show_texts()

    def _panels(self, preview: Preview) -> list[Panel]:
        """The films of what is to be shown."""
        clip = preview.clips[self._label, self._clip]
        if self.mode == ALL:
            first, last = self._page()
            return [
                Panel(words.plain(name) or "(no name)", preview.clips[label, 0])
                for label, name in list(enumerate(preview.classes))[first:last]
            ]
        if self.mode in (START, STORED) and (beside := self._beside_clip(self.mode)) is not None:
            before, label = ("at the start", "change since") if self.mode == START else ("its file", "difference")
            pair = [Panel(before, beside), Panel("learned", clip)]
            shown = pair if self.mode == START else pair[::-1]
            return [*shown, difference_panel(label, *(panel.frames for panel in shown))]
        if self._others:
            found = [(other.name, self._beside_clip(other.name)) for other in self._others]
            rest = [Panel(words.short(words.plain(name), 24), frames) for name, frames in found if frames is not None]
            name = words.short(words.plain(self._folder.parent.name), 24)
            return [Panel(name, clip), *rest][:MOST_IN_A_ROW]
        panels = panels_of(preview, self._label, self._clip)
        real = real_panel(self._real, self.class_name, self._label, self._real_clip) if self._real else None
        return self._films(panels + ([real] if real is not None else []))

    def _beside_clip(self, name: str) -> np.ndarray | None:
        """The clip of the same class and number in the preview ``name``, where there is one."""
        found = self._beside.get(name)
        if found is None:
            return None
        label = found.classes.index(self.class_name) if self.class_name in found.classes else self._label
        return found.clips[label, self._clip % found.instances] if label < len(found.classes) else None

    def _page(self) -> tuple[int, int]:
        """The first class of the grid, and the one after its last: as many as fit, with the present one."""
        number = max(MOST_IN_A_ROW + 1, tiles(self.query_one(Films).size))
        first = self._label // number * number
        return first, first + number

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
            if self.mode == ALL:
                first, last = self._page()
                last = min(last, len(preview.classes))
                head = Text(f" classes {first + 1} to {last} of {len(preview.classes)}", f"bold {colours['primary']}")
            elif self.mode != PARTS:
                head.append(f" · {self.mode}", colours["accent"])
            frames = preview.frames
            if frames > 1:
                play = f"▶ {frame_rate(self._interval)[1]}" if self._playing else "‖ paused"
                at = self.query_one(Films).frame + 1
                head.append(f"   frame {at} of {frames} · {play}", colours["text-muted"])
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
        """Another class; in the grid, those before or after."""
        if self._preview is None:
            return
        count = len(self._preview.classes)
        if self.mode == ALL:
            first, last = self._page()
            pages, number = -(-count // (last - first)), last - first
            self._label = (first // number + by) % pages * number
        else:
            self._label = (self._label + by) % count
        self._clip = 0
        self._show()

    def action_frame(self, by: int) -> None:
        """The frame before or after, alone."""
        self._playing = False
        self.query_one(Films).step_frame(by)
        self._show_texts()

    def action_all(self) -> None:
        """All classes in a grid, or one."""
        self._set_mode(ALL)

    def action_start(self) -> None:
        """The set beside what it began as, and its change; or its parts again."""
        if self._previews and START not in self._beside:
            stage = self._previews[self._at][0]
            first = next((saved for saved in self._previews if saved[0] == stage), None)
            if first is not None:
                self._read_beside(START, self._folder, first[2])
        self._set_mode(START)

    def action_stored(self) -> None:
        """The set as it was learned beside what its file decodes to, and the difference; or its parts again."""
        if STORED not in self._beside:
            self._fetch_stored()
        self._set_mode(STORED)
        if STORED in self._beside and self.mode == STORED:
            self._go_to_stored()

    def _set_mode(self, mode: str) -> None:
        self.mode = PARTS if self.mode == mode else mode
        self._show()

    # --- a class by its name -----------------------------------------------------------------------------------------

    def action_search(self) -> None:
        """Type letters of a class's name."""
        self.query_one(SearchLine).open()

    def on_search_line_sought(self, event: SearchLine.Sought) -> None:
        """Go to the first class that begins with what was typed, else that has it."""
        preview, typed = self._preview, event.text.casefold()
        if preview is not None and typed:
            names = [words.plain(name).casefold() for name in preview.classes]
            fitting = [label for label, name in enumerate(names) if name.startswith(typed)]
            fitting += [label for label, name in enumerate(names) if typed in name]
            if fitting:
                self._label, self._clip = fitting[0], 0
                self._show()
        if event.done and event.text:
            if self.mode == ALL:
                self._set_mode(PARTS)
            self.query_one(SearchLine).close()
            self.set_focus(None)

    def action_back(self) -> None:
        """End the search, else go back."""
        if not self.query_one(SearchLine).close():
            self.app.pop_screen()

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
        self.mode = PARTS
        if self._preview is not None:
            panels = (1 if self._preview.static is None else 3) + (self._real is not None)
            self._view = (self._view + 1) % (panels + 1 if panels > 1 else 1)
            self._show()

    def action_play(self) -> None:
        """Play or pause."""
        self._playing = not self._playing
        self.query_one(Films).playing = self._playing
        self._show_texts()
