"""Curves of several runs over each other, told apart by colour and, where there are no colours, by marker."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.text import Text
from textual.events import MouseScrollDown, MouseScrollUp
from textual_plot import HiResMode

from vdtui.tui import words
from vdtui.tui.watch import Loss
from vdtui.tui.widgets.curves import (
    LARGEST,
    Curve,
    averaged,
    last_cell,
    nearest,
    padded,
    percent_axis,
    plottable,
    step_axis,
    value_axis,
)
from vdtui.tui.widgets.series import Window, exponential, within

MARKERS = ("●", "▲", "■", "◆", "✚", "○")
COLOURS = ("primary", "accent", "success", "secondary", "error", "foreground")
"""The colour of the first run, the second, and so on; as many as can be compared."""
MARKS = 6
"""The number of markers on a curve of many points."""


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """The curve of run number ``place``."""

    place: int
    curve: Loss


class Overlay(Curve):
    """Some curves in one plot; in percent, or as they are with a scale that may be logarithmic."""

    def __init__(self, title: str, percent: bool, **kwargs: Any) -> None:
        super().__init__(title, **kwargs)
        self._heading = title
        self._percent = percent
        self._lines: tuple[Line, ...] = ()
        self.logarithmic = False
        self.smoothing = 0.0
        self.window = Window()

    def show(self, lines: Sequence[Line], logarithmic: bool = False, title: str = "") -> None:
        """Show ``lines``; nothing is drawn if they are the present ones."""
        same = [(one.place, id(one.curve)) for one in lines] == [(one.place, id(one.curve)) for one in self._lines]
        title = title or self._heading
        if same and (logarithmic, title) == (self.logarithmic, self._heading):
            return
        self._lines, self.logarithmic, self._heading = tuple(lines), logarithmic, title
        self.draw()

    def smooth(self, weight: float) -> None:
        """Smooth the curves by an exponential mean; 0 takes it back."""
        self.smoothing = weight
        self.draw()

    def zoom(self, closer: bool) -> None:
        """Show half or twice as many steps."""
        self._look(lambda low, high: self.window.zoomed(closer, low, high))

    def zoom_to(self, first: float, last: float) -> None:
        """Show the steps from ``first`` to ``last``."""
        self._look(lambda low, high: self.window.between(first, last, high))

    def _look(self, through: Callable[[float, float], Window]) -> None:
        if (extent := self._extent()) is not None:
            self.window = through(*extent)
            self.draw()

    def _extent(self) -> tuple[float, float] | None:
        known = [one.curve.steps for one in self._lines if len(one.curve.steps)]
        return (min(float(one[0]) for one in known), max(float(one[-1]) for one in known)) if known else None

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Zoom in."""
        event.stop()
        self.zoom(closer=True)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Zoom out."""
        event.stop()
        self.zoom(closer=False)

    def steps(self) -> np.ndarray:
        """The steps of all runs that are shown."""
        known = [one.curve.steps for one in self._lines if len(one.curve.steps)]
        if not known:
            return np.empty(0)
        merged = np.unique(np.concatenate(known))
        first, last = self.window.limits(float(merged[0]), float(merged[-1]))
        return merged[(merged >= first) & (merged <= last)]

    def read(self, step: float) -> list[tuple[str, str]]:
        """The value of each run at ``step``, or at its nearest one."""
        found = []
        for one in self._lines:
            if len(one.curve.steps):
                value = float(one.curve.values[nearest(one.curve.steps, step)])
                text = words.percent(value) if self._percent else words.number(value)
                found.append((f"{MARKERS[one.place]} {text}", self.colour(COLOURS[one.place])))
        return found

    def draw(self) -> None:
        """Put the present data on the canvas."""
        scale = "" if self._percent else " · log scale" if self.logarithmic else " · linear scale"
        self.border_title = Text(f"{self._heading}{scale}")
        shown = [(one.place, *plottable(self._part(one.curve), self.logarithmic)[:2]) for one in self._lines]
        shown = [one for one in shown if len(one[1])]
        notes = [f"smoothed {self.smoothing:g}"] if self.smoothing else []
        notes += [f"{self.window.span:.0f} steps"] if self.window.span is not None else []
        self.put_note(Text(" · ".join(notes) if shown else "nothing to draw yet"))
        if not shown:
            self.blank()
            return
        self.clear()
        drawn = [self._line(place, steps, values) for place, steps, values in shown]
        self._axes(np.concatenate([steps for _, steps, _ in shown]), np.concatenate(drawn))

    def _part(self, curve: Loss) -> Loss:
        """The points of ``curve`` in the window, smoothed if they are to be."""
        if self.smoothing:
            finite = np.isfinite(curve.values)
            values = np.clip(curve.values[finite], -LARGEST, LARGEST)
            curve = Loss(curve.steps[finite], exponential(values, self.smoothing))
        extent = self._extent()
        return within(curve, *self.window.limits(*extent)) if extent is not None else curve

    def _line(self, place: int, steps: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Draw one curve, the mean of each column where it has many points; the values that were drawn."""
        if len(steps) > self.columns:
            steps, values = averaged(steps, values, max(4, self.columns // 2))
        colour = self.colour(COLOURS[place])
        if len(steps) > 1:
            self.plot(steps, values, line_style=colour, hires_mode=HiResMode.BRAILLE)
        marks = np.arange(len(steps))
        if len(steps) > 2 * MARKS:  # not at the same steps for every run, where one would hide the other
            marks = np.unique(np.linspace(place * len(steps) // 30, len(steps) - 1, MARKS).astype(np.int64))
        self.scatter(steps[marks], values[marks], marker=MARKERS[place], marker_style=colour)
        return values

    def _axes(self, steps: np.ndarray, values: np.ndarray) -> None:
        low, high = padded(float(values.min()), float(values.max()), least=0.02 if self._percent else 0.0)
        x, x_ticks = step_axis(np.append(steps, 0) if self.window.span is None else steps, self.columns)
        x = x[0], last_cell(*x, self.columns, 1.5)  # a marker at the edge is cut off by the frame
        rows = self.rows
        y, y_ticks = percent_axis(low, high, rows) if self._percent else value_axis(low, high, rows, self.logarithmic)
        self.limits(x, y, x_ticks, y_ticks)
