"""Plays clips as half-block pixels: several films side by side, each under its label.

Frames are turned into strips once, in a thread, one frame at a time, and then only handed out: playing costs a
repaint and nothing else.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from vdtui.tui import words
from vdtui.tui.previews import Panel, fitted, half_blocks

FRAMES_PER_SECOND = 4
GAP = 2


class Films(Widget):
    """The player. ``show`` gives it films, ``playing`` starts and stops it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._panels: list[Panel] = []
        self._message = ""
        self._frames: list[list[Strip]] = []
        self.frame = 0
        self.playing = False

    def on_mount(self) -> None:
        """Start the clock."""
        self.set_interval(1 / FRAMES_PER_SECOND, self._tick)

    def on_resize(self) -> None:
        """Build anew in the new size."""
        self._rebuild()

    @property
    def length(self) -> int:
        """Frames of the longest film."""
        return max((len(panel.frames) for panel in self._panels), default=0)

    @property
    def ready(self) -> bool:
        """Whether every frame is built."""
        return bool(self._message) or 0 < self.length == len(self._frames)

    def show(self, panels: list[Panel]) -> None:
        """Play ``panels`` from their first frame."""
        self._panels, self._message, self.frame = panels, "", 0
        self._rebuild()

    def say(self, message: str) -> None:
        """Show a message instead of films."""
        self._panels, self._message = [], message
        self._rebuild()

    def _tick(self) -> None:
        if self.playing and self.screen.is_current and len(self._frames) > 1:
            self.frame = (self.frame + 1) % len(self._frames)
            self.refresh()

    def _rebuild(self) -> None:
        self._frames = []
        self.refresh()
        if self._panels and self.size.width and self.size.height > 1:
            self.run_worker(self._build(self._panels, self.size), exclusive=True)

    async def _build(self, panels: list[Panel], size: Size) -> None:
        background = self.rich_style
        stills: dict[int, list[Strip]] = {}
        for time in range(self.length):
            frame = await asyncio.to_thread(lines_of, panels, time, size, background, stills)
            self._frames.append(frame)
            if time == self.frame:
                self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the present frame."""
        if self._message:
            return self._message_line(y)
        if self.frame < len(self._frames) and y < len(self._frames[self.frame]):
            return self._frames[self.frame][y]
        return Strip.blank(self.size.width, self.rich_style)

    def _message_line(self, y: int) -> Strip:
        if y != self.size.height // 2:
            return Strip.blank(self.size.width, self.rich_style)
        text = words.short(self._message, self.size.width).center(self.size.width)
        return Strip([Segment(text, self.rich_style)], self.size.width)


def lines_of(
    panels: list[Panel], time: int, size: Size, background: Style, stills: dict[int, list[Strip]]
) -> list[Strip]:
    """All lines of one frame in the middle of ``size``. ``stills`` keeps what is the same in every frame."""
    columns = []
    for places in arranged(panels, size):
        blocks = []
        for place in places:
            panel = panels[place.panel]
            strips = stills.get(place.panel)
            if strips is None:
                strips = half_blocks(panel.frames[time % len(panel.frames)], place.columns, place.rows)
            if len(panel.frames) == 1:
                stills[place.panel] = strips
            blocks.append((panel.label, strips))
        columns.append(_stacked(blocks, background))
    return _side_by_side(columns, size, background)


@dataclasses.dataclass(frozen=True)
class Place:
    """The cells that a panel fills, without its label."""

    panel: int
    columns: int
    rows: int


def arranged(panels: list[Panel], size: Size) -> list[list[Place]]:
    """Where the panels stand: columns from left to right, each from top to bottom.

    All in a row if there is width for it; else the last one, the clip, as large as the height allows, and the others
    stacked beside it.
    """
    count = len(panels)
    room = (size.width - GAP * (count - 1)) // count
    row = [[_place(panels, index, room, size.height - 1)] for index in range(count)]
    large = _place(panels, count - 1, size.width, size.height - 1)
    if count < 3 or row[-1][0].rows >= large.rows:
        return row
    half = (size.height - count + 1) // (count - 1)
    small = [_place(panels, index, size.width // 3, half) for index in range(count - 1)]
    rest = size.width - GAP - max(place.columns for place in small)
    return [small, [_place(panels, count - 1, rest, size.height - 1)]]


def _place(panels: list[Panel], index: int, columns: int, rows: int) -> Place:
    height, width = panels[index].frames.shape[1:3]
    return Place(index, *fitted(height, width, max(1, columns), max(1, rows)))


def _stacked(blocks: list[tuple[str, list[Strip]]], background: Style) -> list[Strip]:
    """Films under each other, each under its label, as lines of equal width."""
    width = max(max(len(label), strips[0].cell_length) for label, strips in blocks)
    lines = []
    for label, strips in blocks:
        lines.append(Strip([Segment(label.ljust(width), background + Style(bold=True))], width))
        lines += [strip.adjust_cell_length(width, background) for strip in strips]
    return lines


def _side_by_side(columns: list[list[Strip]], size: Size, background: Style) -> list[Strip]:
    """Columns of lines next to each other, in the middle of ``size``."""
    widths = [lines[0].cell_length for lines in columns]
    margin = Strip.blank(max(0, (size.width - sum(widths) - GAP * (len(columns) - 1)) // 2), background)
    gap = Strip.blank(GAP, background)
    height = max(len(lines) for lines in columns)
    rows = []
    for y in range(height):
        parts = [margin]
        for index, (lines, width) in enumerate(zip(columns, widths, strict=True)):
            parts += [gap] if index else []
            parts.append(lines[y] if y < len(lines) else Strip.blank(width, background))
        rows.append(Strip.join(parts).adjust_cell_length(size.width, background))
    above = max(0, (size.height - height) // 2)
    return [Strip.blank(size.width, background)] * above + rows[: size.height]
