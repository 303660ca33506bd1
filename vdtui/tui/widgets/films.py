"""Plays clips as half-block pixels: several films side by side, each under its label.

Frames are turned into strips once, in a thread, one frame at a time, and then only handed out: playing costs a
repaint of the cells that change and nothing else.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import work
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from vdtui.tui import words
from vdtui.tui.previews import Panel, cells_of, fitted, resized, settled, strips_of

REPAINTS = 5
"""Per second at most, whatever the rate of the clips: frames between two repaints are passed over."""
GAP = 2
MOST_IN_A_ROW = 5
"""More films than these stand in a grid."""
TILE = (12, 6)
"""The least cells of a film in a grid: columns, and rows without its label."""


class Films(Widget):
    """The player. ``show`` gives it films, ``playing`` starts and stops it; ``Shown`` tells of each frame."""

    class Shown(Message):
        """The frame ``frame``, from 0, is on the screen now."""

        def __init__(self, frame: int) -> None:
            super().__init__()
            self.frame = frame

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._panels: list[Panel] = []
        self._message = ""
        self._frames: list[Frame] = []
        self._places: dict[int, Offset] = {}
        self._time = 0.0
        self.frame = 0
        self.rate = 4.0
        self.playing = False

    def on_mount(self) -> None:
        """Start the clock."""
        self.set_interval(1 / REPAINTS, self._tick)

    def on_resize(self) -> None:
        """Build anew in the new size."""
        self._rebuild()

    @property
    def length(self) -> int:
        """Frames of the longest film."""
        return max((len(panel.frames) for panel in self._panels), default=0)

    @property
    def ready(self) -> bool:
        """Tell whether every frame is built."""
        return bool(self._message) or 0 < self.length == len(self._frames)

    def show(self, panels: list[Panel]) -> None:
        """Play ``panels`` from their first frame."""
        self._panels, self._message, self.frame, self._time = panels, "", 0, 0.0
        self._rebuild()

    def step_frame(self, by: int) -> int:
        """Stop, show the frame before or after, and return its number from 0."""
        self.playing = False
        if self._frames:
            self.frame = (self.frame + by) % len(self._frames)
            self._time = float(self.frame)
            self.refresh()
            self.post_message(self.Shown(self.frame))
        return self.frame

    def say(self, message: str) -> None:
        """Show a message instead of films."""
        self._panels, self._message = [], message
        self._rebuild()

    def _tick(self) -> None:
        if self.playing and self.screen.is_current and len(self._frames) > 1:
            self._time += self.rate / REPAINTS
            frame = int(self._time) % len(self._frames)
            if frame != self.frame:
                regions = changed(self._frames[self.frame], self._frames[frame], self._places)
                self.frame = frame
                if regions:
                    self.refresh(*regions)
                self.post_message(self.Shown(frame))

    def _rebuild(self) -> None:
        self._frames = []
        self.refresh()
        if self._panels and self.size.width and self.size.height > 1:
            self._build()

    @work(exclusive=True)
    async def _build(self) -> None:
        panels, size, background = self._panels, self.size, self.rich_style
        self._places = corners(panels, size)
        pixels: dict[int, np.ndarray] = {}
        for time in range(max(len(panel.frames) for panel in panels)):
            frame = await asyncio.to_thread(frame_of, panels, time, size, background, pixels)
            self._frames.append(frame)
            if time == self.frame:
                self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the present frame."""
        if self._message:
            return self._message_line(y)
        if self.frame < len(self._frames) and y < len(self._frames[self.frame].lines):
            return self._frames[self.frame].lines[y]
        return Strip.blank(self.size.width, self.rich_style)

    def _message_line(self, y: int) -> Strip:
        if y != self.size.height // 2:
            return Strip.blank(self.size.width, self.rich_style)
        text = words.short(self._message, self.size.width).center(self.size.width)
        return Strip([Segment(text, self.rich_style)], self.size.width)


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """All lines of one frame, and the cells of each film in it."""

    lines: list[Strip]
    cells: dict[int, np.ndarray]


def frame_of(panels: list[Panel], time: int, size: Size, background: Style, pixels: dict[int, np.ndarray]) -> Frame:
    """One frame in the middle of ``size``. ``pixels`` are those of the frame before, and then of this one."""
    columns, cells = [], {}
    for places in arranged(panels, size):
        blocks = []
        for place in places:
            panel = panels[place.panel]
            drawn = resized(panel.frames[time % len(panel.frames)], 2 * place.rows, place.columns)
            pixels[place.panel] = settled(drawn, pixels.get(place.panel))
            cells[place.panel] = cells_of(pixels[place.panel])
            label = panel.label if len(panels) <= MOST_IN_A_ROW else words.short(panel.label, place.columns)
            blocks.append((label, strips_of(cells[place.panel])))
        columns.append(_stacked(blocks, background))
    return Frame(_side_by_side(columns, size, background), cells)


def changed(before: Frame, after: Frame, places: dict[int, Offset]) -> list[Region]:
    """Find what to repaint from one frame to another: in each row of each film, from its first change to its last."""
    regions = []
    for panel, cells in after.cells.items():
        differs = cells != before.cells[panel]
        for row in np.flatnonzero(differs.any(1)).tolist():
            spots = np.flatnonzero(differs[row])
            x, y = places[panel]
            regions.append(Region(x + int(spots[0]), y + row, int(spots[-1] - spots[0]) + 1, 1))
    return regions


@dataclasses.dataclass(frozen=True)
class Place:
    """The cells that a panel fills, without its label."""

    panel: int
    columns: int
    rows: int


def arranged(panels: list[Panel], size: Size) -> list[list[Place]]:
    """Arrange the panels in columns from left to right, each from top to bottom.

    All in a row, or the first two, the memories, small above each other and the clips beside them: as the clips become
    larger.
    """
    if len(panels) > MOST_IN_A_ROW:
        return _grid(panels, size)
    row = _row(panels, list(range(len(panels))), size.width, size.height)
    if len(panels) < 3:
        return row
    half = (size.height - 2) // 2
    small = [_place(panels, index, size.width // 3, half) for index in range(2)]
    rest = max(1, size.width - GAP - _width(panels, small))
    beside = [small, *_row(panels, list(range(2, len(panels))), rest, size.height)]
    return beside if beside[-1][0].rows > row[-1][0].rows else row


def tiles(size: Size) -> int:
    """The number of films that a grid in ``size`` has room for."""
    return max(1, (size.width + GAP) // (TILE[0] + GAP)) * max(1, size.height // (TILE[1] + 1))


def _grid(panels: list[Panel], size: Size) -> list[list[Place]]:
    """Rows of equal films from left to right, as columns; as many beside each other as make them largest."""
    best: list[list[Place]] = []
    for across in range(1, len(panels) + 1):
        down = -(-len(panels) // across)
        columns, rows = (size.width - GAP * (across - 1)) // across, size.height // down - 1
        if columns < 1 or rows < 1:
            continue
        places = [_place(panels, index, columns, rows) for index in range(len(panels))]
        if not best or places[0].rows > best[0][0].rows:
            best = [places[first::across] for first in range(min(across, len(panels)))]
    return best or [[_place(panels, 0, size.width, size.height - 1)]]


def _row(panels: list[Panel], indices: list[int], width: int, height: int) -> list[list[Place]]:
    room = (width - GAP * (len(indices) - 1)) // len(indices)
    return [[_place(panels, index, room, height - 1)] for index in indices]


def _place(panels: list[Panel], index: int, columns: int, rows: int) -> Place:
    height, width = panels[index].frames.shape[1:3]
    return Place(index, *fitted(height, width, max(1, columns), max(1, rows)))


def corners(panels: list[Panel], size: Size) -> dict[int, Offset]:
    """The cell of each film's first pixel."""
    columns = arranged(panels, size)
    widths = [_width(panels, places) for places in columns]
    height = max(sum(place.rows + 1 for place in places) for places in columns)
    x, found = max(0, (size.width - sum(widths) - GAP * (len(columns) - 1)) // 2), {}
    for places, width in zip(columns, widths, strict=True):
        y = max(0, (size.height - height) // 2)
        for place in places:
            found[place.panel] = Offset(x, y + 1)
            y += place.rows + 1
        x += width + GAP
    return found


def _width(panels: list[Panel], places: list[Place]) -> int:
    if len(panels) > MOST_IN_A_ROW:
        return max(place.columns for place in places)
    return max(max(place.columns, len(panels[place.panel].label)) for place in places)


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
