"""Plays clips as half-block pixels: several films side by side, each under its label.

Frames are turned into strips once, in a thread, one frame at a time, and then only handed out: playing costs a
repaint and nothing else.
"""

from __future__ import annotations

import asyncio
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
    """All lines of one frame: labels, then the films side by side in the middle of ``size``.

    ``stills`` keeps what is the same in every frame.
    """
    room = (size.width - GAP * (len(panels) - 1)) // len(panels)
    blocks = []
    for index, panel in enumerate(panels):
        height, width = panel.frames.shape[1:3]
        columns, rows = fitted(height, width, room, size.height - 1)
        if index in stills:
            strips = stills[index]
        else:
            strips = half_blocks(panel.frames[time % len(panel.frames)], columns, rows)
        if len(panel.frames) == 1:
            stills[index] = strips
        blocks.append((panel.label, columns, strips))
    return _side_by_side(blocks, size, background)


def _side_by_side(blocks: list[tuple[str, int, list[Strip]]], size: Size, background: Style) -> list[Strip]:
    widest = [max(columns, len(label)) for label, columns, _ in blocks]
    gap = GAP if sum(widest) + GAP * (len(blocks) - 1) <= size.width else 1
    margin = max(0, (size.width - sum(widest) - gap * (len(blocks) - 1)) // 2)
    tallest = max(len(strips) for _, _, strips in blocks)
    lines = []
    for y in range(-1, tallest):
        parts = [Strip.blank(margin, background)] if margin else []
        for index, (label, columns, strips) in enumerate(blocks):
            if index:
                parts.append(Strip.blank(gap, background))
            if y < 0:
                text = words.short(label, widest[index]).ljust(widest[index])
                parts.append(Strip([Segment(text, background + Style(bold=True))], widest[index]))
                continue
            filled = columns if y < len(strips) else 0
            parts += [strips[y]] if filled else []
            if widest[index] > filled:
                parts.append(Strip.blank(widest[index] - filled, background))
        lines.append(Strip.join(parts).adjust_cell_length(size.width, background))
    above = max(0, (size.height - len(lines)) // 2)
    return [Strip.blank(size.width, background)] * above + lines
