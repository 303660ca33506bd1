"""The two curves of a run: the loss (or another figure) of a stage, and the accuracy over steps.

textual-plot draws; what it lacks is done here: a logarithmic axis (log10 is plotted, and the ticks say the value),
decimation (minimum and maximum of each column, so that no spike is lost however many steps there are), whiskers of
one standard deviation, and limits that stay finite for whatever a diverging run has logged.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Grid
from textual.events import MouseScrollDown, MouseScrollUp
from textual.strip import Strip
from textual_hires_canvas import Canvas
from textual_plot import HiResMode
from textual_plot.axis_formatter import AxisFormatter
from textual_plot.plot_widget import Legend

from engine.runs.state import Accuracy
from vdtui.tui import words
from vdtui.tui.watch import Loss
from vdtui.tui.widgets.reading import Readable
from vdtui.tui.widgets.series import SMOOTHINGS, Window, exponential, within

LARGEST = 1e30
"""Losses are clipped to this: differences of greater ones overflow in the plot."""
LEFT = 8
HISTORY = 20
"""Time constants of the smoothing before the window: what is older weighs less than a millionth."""
LINE_COLOURS = ("primary", "success", "warning", "secondary", "error", "accent")


class Labels(AxisFormatter):
    """Says the ticks that were chosen before; see ``nice_ticks`` and ``log_ticks``."""

    def __init__(self) -> None:
        self.labels: list[str] = []

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        """Never asked: the ticks are always set."""
        return []

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """The label of each tick."""
        return self.labels


class StyledCanvas(Canvas):
    """A canvas whose lines always have a style: without one, textual's filter for NO_COLOR fails."""

    def render_line(self, y: int) -> Strip:
        """One line; a blank one where the canvas has not been enlarged to the widget yet."""
        strip = super().render_line(y)
        return strip if strip.cell_length else Strip.blank(self.size.width, self.rich_style)


class Curve(Readable):
    """A plot whose limits and ticks are set with its data; what stands at a step can be read off."""

    ALLOW_MAXIMIZE = False

    def __init__(self, title: str, **kwargs: Any) -> None:
        super().__init__(allow_pan_and_zoom=False, **kwargs)
        self.can_focus = False
        self.border_title = Text(title)
        self._labels_x, self._labels_y = Labels(), Labels()
        self.set_x_formatter(self._labels_x)
        self.set_y_formatter(self._labels_y)

    def compose(self) -> ComposeResult:
        """The canvases that textual-plot looks for by their names."""
        with Grid():
            for name in ("margin-top", "margin-left", "plot", "margin-bottom"):
                yield StyledCanvas(1, 1, id=name)
        yield Legend(id="legend")

    def on_mount(self) -> None:
        """Small margins: the title is in the border."""
        self.margin_top, self.margin_bottom, self.margin_left = 0, 1, LEFT

    def on_resize(self) -> None:
        """Draw again: the number of columns and of ticks depends on the size."""
        self.draw()

    def draw(self) -> None:
        """Put the present data on the canvas; the curves of each kind do."""

    def write(self, canvas: Canvas) -> None:
        """Put words on the finished picture; the curves of each kind may."""

    @property
    def columns(self) -> int:
        """Cells of the plot from left to right."""
        return max(8, self.size.width - LEFT - 2)

    @property
    def rows(self) -> int:
        """Cells of the plot from top to bottom."""
        return max(2, self.size.height - 3)

    def blank(self) -> None:
        """An empty frame."""
        self.clear()
        self.limits((0.0, 1.0), (0.0, 1.0), ([], []), ([], []))

    def limits(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        x_ticks: tuple[list[float], list[str]],
        y_ticks: tuple[list[float], list[str]],
    ) -> None:
        """Set both axes: limits, and ticks with their labels."""
        self.set_xlimits(*x)
        self.set_ylimits(*y)
        self.set_xticks(x_ticks[0])
        self.set_yticks(y_ticks[0])
        self._labels_x.labels, self._labels_y.labels = x_ticks[1], y_ticks[1]

    def colour(self, name: str) -> str:
        """The theme's colour ``name``."""
        return self.app.theme_variables[name]

    def dim(self, name: str) -> str:
        """A shade of it that stands back: darker on a dark ground, lighter on a light one."""
        return self.colour(f"{name}-{'darken' if self.app.current_theme.dark else 'lighten'}-3")

    def _render_plot(self) -> None:
        if self.size.width < LEFT + 6 or self.size.height < 5:
            return  # textual-plot fails on a frame without an inside
        canvas = self.query_one("#plot", Canvas)
        if canvas._canvas_size.width != canvas.size.width or canvas._canvas_size.height != canvas.size.height:
            return  # being laid out: it comes again with its new size
        with canvas.batch_refresh():
            super()._render_plot()
            self._lighten(canvas)
            self.write(canvas)
            self.draw_cursor(canvas, self.colour("text-muted"))

    def _lighten(self, canvas: Canvas) -> None:
        """Turn textual-plot's heavy box into two thin axes; the panel around it has a frame already."""
        right, bottom = canvas._canvas_size.width - 1, canvas._canvas_size.height - 1
        style = str(self.get_component_rich_style("plot--axis"))
        for x in range(right + 1):
            tick = canvas.get_pixel(x, bottom)[0] not in "━"
            canvas.set_pixel(x, bottom, "┬" if tick else "─", style)
            canvas.set_pixel(x, 0, " ", style)
        for y in range(bottom):
            tick = canvas.get_pixel(0, y)[0] not in "┃ ┏"
            canvas.set_pixel(0, y, "┤" if tick else "│", style)
            canvas.set_pixel(right, y, " ", style)
        canvas.set_pixel(0, bottom, "└", style)
        canvas.set_pixel(right, bottom, "─", style)


class LossCurve(Curve):
    """The loss of one stage, or other figures of it, over the steps that the window shows.

    A noisy loss is drawn as minimum and maximum of each column, dark, and its mean as a bright line; smoothed, as the
    raw line, dark, and the exponential mean.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("loss", **kwargs)
        self.stage = ""
        self.logarithmic = False
        self.smoothing = 0.0
        self.window = Window()
        self._heading = "loss"
        self._lines: dict[str, Loss] = {}
        self._ends: list[tuple[float, float, str, str]] = []
        self._legend_lines: list[tuple[str, str]] = []
        self._chosen: int | None = None

    def show(
        self, stage: str, lines: dict[str, Loss], logarithmic: bool, heading: str = "loss", chosen: int | None = None
    ) -> bool:
        """Show ``lines`` by their names, and the ``chosen`` step; returns whether anything had to be drawn."""
        same = lines.keys() == self._lines.keys() and all(lines[name] is self._lines[name] for name in lines)
        shown = (self.stage, self.logarithmic, self._heading, self._chosen)
        if (stage, logarithmic, heading, chosen) == shown and same:
            return False
        if stage != self.stage:
            self.window = Window()
        self.stage, self._lines, self.logarithmic, self._heading = stage, lines, logarithmic, heading
        self._chosen = chosen
        self.draw()
        return True

    def steps(self) -> np.ndarray:
        """The steps of all lines that are shown."""
        known = [loss.steps for loss in self._lines.values() if len(loss.steps)]
        if not known:
            return np.empty(0)
        first, last = self.window.limits(*_extent(known))
        merged = known[0] if len(known) == 1 else np.unique(np.concatenate(known))
        return merged[(merged >= first) & (merged <= last)]

    def read(self, step: float) -> list[tuple[str, str]]:
        """The value of each line at ``step``."""
        found = []
        for index, (name, loss) in enumerate(self._lines.items()):
            if len(loss.steps):
                value = _figure(self._heading, float(loss.values[nearest(loss.steps, step)]))
                label = f"{index + 1} {name} " if len(self._lines) > 1 else ""
                found.append((f"{label}{value}", self.colour(LINE_COLOURS[index % len(LINE_COLOURS)])))
        return found

    def zoom_to(self, first: float, last: float) -> None:
        """Show the steps from ``first`` to ``last``."""
        self._look(lambda low, high: self.window.between(first, last, high))

    def smooth(self) -> float:
        """Take the next smoothing, draw anew, and return it."""
        self.smoothing = SMOOTHINGS[(SMOOTHINGS.index(self.smoothing) + 1) % len(SMOOTHINGS)]
        self.draw()
        return self.smoothing

    def zoom(self, closer: bool) -> None:
        """Show half or twice as many steps."""
        self._look(lambda low, high: self.window.zoomed(closer, low, high))

    def move(self, later: bool) -> None:
        """Show earlier or later steps."""
        self._look(lambda low, high: self.window.moved(later, low, high))

    def _look(self, through: Callable[[float, float], Window]) -> None:
        known = [loss.steps for loss in self._lines.values() if len(loss.steps)]
        if known:
            self.window = through(*_extent(known))
            self.draw()

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Zoom in."""
        event.stop()
        self.zoom(closer=True)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Zoom out."""
        event.stop()
        self.zoom(closer=False)

    def draw(self) -> None:
        """Put the present data on the canvas."""
        self._ends = []
        self.border_title = Text(f"{self._heading} · {words.plain(self.stage, 20)}" if self.stage else self._heading)
        lines = {name: loss for name, loss in self._lines.items() if len(loss.steps)}
        if not lines:
            self.put_note(Text("no step yet"))
            self.blank()
            return
        first, last = self.window.limits(*_extent([loss.steps for loss in lines.values()]))
        points = {name: self._points(loss, first, last) for name, loss in lines.items()}
        notes = self._notes(lines, sum(one.dropped for one in points.values()))
        self._legend_lines = []
        if len(lines) > 1 and len(" · ".join(notes)) > self.size.width - 4:  # else the last names would be cut off
            colours = [self.colour(LINE_COLOURS[index % len(LINE_COLOURS)]) for index in range(len(lines))]
            self._legend_lines, notes = list(zip(notes, colours, strict=False)), notes[len(lines) :]
        self.put_note(Text(" · ".join(notes)))
        if not any(len(one.steps) for one in points.values()):
            self.blank()
            return
        self._draw(points, np.array((0.0 if self.window.span is None else first, last)))

    def _notes(self, lines: dict[str, Loss], dropped: int) -> list[str]:
        if len(lines) == 1:
            notes = [f"now {_figure(self._heading, float(loss.values[-1]))}" for loss in lines.values()]
        else:
            notes = [
                f"{index + 1} {name} {words.number(float(lines[name].values[-1]))}" for index, name in enumerate(lines)
            ]
        notes += [f"{dropped} not shown"] if dropped else []
        notes += [f"smoothed {self.smoothing:g}"] if self.smoothing else []
        notes += [f"{self.window.span:.0f} steps"] if self.window.span is not None else []
        return [*notes, "log scale" if self.logarithmic else "linear scale"]

    def _points(self, loss: Loss, first: float, last: float) -> _Points:
        steps, values, dropped = plottable(within(loss, first, last), self.logarithmic)
        # With so many steps a column, its mean is the smoother one, and smoothing a million steps would be felt.
        if not self.smoothing or len(steps) > 2 * self.columns / (1 - self.smoothing):
            return _Points(steps, values, None, dropped)
        loss = within(loss, first - HISTORY / (1 - self.smoothing), last)
        finite = Loss(*(array[np.isfinite(loss.values)] for array in (loss.steps, loss.values)))
        clipped = np.clip(finite.values, -LARGEST, LARGEST)
        smooth = within(Loss(finite.steps, exponential(clipped, self.smoothing)), first, last)
        return _Points(steps, values, plottable(smooth, self.logarithmic)[:2], dropped)

    def _draw(self, points: dict[str, _Points], x_range: np.ndarray) -> None:
        self.clear()
        x, x_ticks = step_axis(x_range, self.columns)
        lows, highs = [], []
        for index, one in enumerate(points.values()):
            if len(one.steps):
                drawn = self._line(one, LINE_COLOURS[index % len(LINE_COLOURS)], index + 1 if len(points) > 1 else None)
                lows.append(float(drawn.min()))
                highs.append(float(drawn.max()))
        x = x[0], last_cell(*x, self.columns, 0.5)  # else the end of the line, which is its present value, is cut off
        y, y_ticks = value_axis(*padded(min(lows), max(highs)), self.rows, self.logarithmic)
        if self._heading == "device memory" and not self.logarithmic:
            y_ticks = (y_ticks[0], [words.size(tick) for tick in y_ticks[0]])
        self.limits(x, y, x_ticks, y_ticks)

    def _line(self, one: _Points, colour: str, number: int | None) -> np.ndarray:
        """Draw one line and return the values by which the plot must reach."""
        drawn = decimated(one.steps, one.values, 2 * self.columns)
        noisy = len(one.steps) > 2 * self.columns
        line = drawn
        if one.smooth is not None and len(one.smooth[0]):
            line = decimated(*one.smooth, 2 * self.columns)
        elif noisy:
            line = averaged(one.steps, one.values, max(4, self.columns // 2))
        if line is not drawn:
            self.plot(*drawn, line_style=self.dim(colour), hires_mode=HiResMode.BRAILLE)
        self.plot(*line, line_style=self.colour(colour), hires_mode=HiResMode.BRAILLE)
        if number is not None:
            self._ends.append((float(line[0][-1]), float(line[1][-1]), str(number), self.colour(colour)))
        return drawn[1]

    def write(self, canvas: Canvas) -> None:
        """The chosen step; the number of each line at its end: colours alone do not tell them apart; their names."""
        if self._chosen is not None and self._lines:
            x, _ = self.get_pixel_from_coordinate(self._chosen, 0.0)
            if 0 < x < canvas._canvas_size.width - 1:
                for y in range(1, canvas._canvas_size.height - 1):
                    if canvas.get_pixel(x, y)[0] == " ":
                        canvas.set_pixel(x, y, "┊", self.dim("accent"))
                canvas.set_pixel(x, canvas._canvas_size.height - 2, "★", self.colour("accent"))
        for step, value, number, colour in self._ends:
            x, y = self.get_pixel_from_coordinate(step, value)
            canvas.set_pixel(min(x, canvas._canvas_size.width - 2), y, number, colour)
        self._write_legend(canvas)

    def _write_legend(self, canvas: Canvas) -> None:
        """The names of the lines in the upper corner that has more room."""
        lines = self._legend_lines[: max(0, canvas._canvas_size.height - 3)]
        width = max((len(text) for text, _ in lines), default=0) + 1
        corners = [2, max(2, canvas._canvas_size.width - width - 2)]
        places = range(1, len(lines) + 1)
        left = min(
            corners,
            key=lambda x: sum(canvas.get_pixel(x + offset, y)[0] != " " for offset in range(width) for y in places),
        )
        for y, (text, colour) in zip(places, lines, strict=True):
            for offset, character in enumerate(f"{text} "):
                canvas.set_pixel(left + offset, y, character, colour)


def nearest(steps: np.ndarray, step: float) -> int:
    """The place in ``steps`` (N), which are ordered, of the one that is nearest to ``step``."""
    place = min(int(np.searchsorted(steps, step)), len(steps) - 1)
    return place - 1 if place and abs(steps[place - 1] - step) <= abs(steps[place] - step) else place


@dataclasses.dataclass(frozen=True, eq=False)
class _Points:
    """One line of a plot, in its scale: raw, and smoothed if it is to be."""

    steps: np.ndarray
    values: np.ndarray
    smooth: tuple[np.ndarray, np.ndarray] | None
    dropped: int


def _extent(steps: list[np.ndarray]) -> tuple[float, float]:
    return min(float(one[0]) for one in steps), max(float(one[-1]) for one in steps)


def _figure(heading: str, value: float) -> str:
    if heading == "device memory":
        return words.size(value)
    return words.percent(value, 0) if heading == "device load" else words.number(value)


class AccuracyCurve(Curve):
    """Accuracy of the synthetic set over steps with one standard deviation, and lines of what others reach.

    Evaluations that somebody asked for in between are hollow: the choice knows nothing of them.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("accuracy", **kwargs)
        self._points: tuple[Accuracy, ...] = ()
        self._asked: tuple[Accuracy, ...] = ()
        self._references: tuple[Reference, ...] = ()
        self._total = 0
        self._best: int | None = None

    def show(
        self,
        points: tuple[Accuracy, ...],
        references: tuple[Reference, ...],
        total: int,
        asked: tuple[Accuracy, ...] = (),
        best: int | None = None,
    ) -> bool:
        """Show ``points`` over ``total`` steps, and the step ``best``; returns whether anything had to be drawn."""
        shown = (self._points, self._references, self._total, self._asked, self._best)
        if (points, references, total, asked, best) == shown:
            return False
        self._points, self._references, self._total, self._asked, self._best = points, references, total, asked, best
        self.draw()
        return True

    def steps(self) -> np.ndarray:
        """The steps of all evaluations."""
        return np.array(sorted({one.step for one in (*self._points, *self._asked)}), np.float64)

    def read(self, step: float) -> list[tuple[str, str]]:
        """The accuracies at ``step``."""
        found = [
            (words.plus_minus(one.mean, one.std), self.colour("success")) for one in self._points if one.step == step
        ]
        found += [
            (f"◇ {words.plus_minus(one.mean, one.std)}", self.colour("accent"))
            for one in self._asked
            if one.step == step
        ]
        return [*found, *([("★ chosen", self.colour("accent"))] if step == self._best else [])]

    def draw(self) -> None:
        """Put the present data on the canvas."""
        every = self._points or self._asked
        if not every:
            self.border_title = Text("accuracy")
            self.put_note(Text("no evaluation yet"))
            self.blank()
            return
        last = every[-1]
        several = any(one.std is not None for one in every)
        self.border_title = Text(f"accuracy · {words.plain(last.split, 12)}{' · mean ± std' if several else ''}")
        now = words.plus_minus(last.mean, last.std)
        notes = [f"now {now}"] + (["◇ asked for"] if self._asked else [])
        notes += [f"★ chosen: step {self._best}"] if self._best is not None else []
        self.put_note(Text(" · ".join(notes)))
        self._draw()

    def _draw(self) -> None:
        self.clear()
        steps, means, spreads = _bars(self._points)
        extra, extra_means, _ = _bars(self._asked)
        levels = [min(1.0, max(0.0, one.mean)) for one in self._references]
        reach = np.concatenate([means - spreads, means + spreads, extra_means, levels])
        low, high = padded(float(reach.min()), float(reach.max()), least=0.05)
        (first, last), x_ticks = step_axis(np.concatenate([steps, extra, (0, self._total)]), self.columns)
        x = first, last_cell(first, last, self.columns, 1.5)  # else the last marker falls on the frame and is lost
        for level, one in zip(levels, self._references, strict=True):
            dots = np.linspace(*x, self.columns)
            self.scatter(dots, np.full(len(dots), level), marker="┄", marker_style=self.colour(one.colour))
        if len(steps) > self.columns:
            self.plot(steps, means, line_style=self.colour("success"), hires_mode=HiResMode.BRAILLE)
        elif len(steps):
            self.plot(steps, means, line_style=self.dim("success"), hires_mode=HiResMode.BRAILLE)
            self.errorbar(steps, means, np.full(len(steps), np.nan), spreads, "●", self.colour("success"))
        chosen = steps == self._best
        if chosen.any():
            self.scatter(steps[chosen], means[chosen], marker="★", marker_style=self.colour("accent"))
        if len(extra):
            self.scatter(extra, extra_means, marker="◇", marker_style=self.colour("accent"))
        y, y_ticks = percent_axis(low, high, self.rows)
        self.limits(x, y, x_ticks, y_ticks)

    def write(self, canvas: Canvas) -> None:
        """Say on each line what it is; two that fall into one row do so beside each other."""
        if not (self._points or self._asked):
            return
        for one in self._references:
            _, y = self.get_pixel_from_coordinate(0, min(1.0, max(0.0, one.mean)))
            width = canvas._canvas_size.width - 3
            level = words.percent(one.mean)
            texts = [f" {level} {one.what} ", f" {level} {one.brief} ", f" {one.brief} "]
            # On its line where the curve leaves room for it, else just above or below: it must not hide a point.
            spots = [
                (text, x, row) for text in texts for row in (y, y - 1, y + 1) for x in range(2, width - len(text) + 1)
            ]
            free = (spot for spot in spots if self._free(canvas, *spot[1:], len(spot[0])))
            text, x, row = next(free, ("", 0, 0))
            for offset, character in enumerate(text):
                canvas.set_pixel(x + offset, row, character, self.colour(one.colour))

    def _free(self, canvas: Canvas, x: int, y: int, length: int) -> bool:
        inside = 0 <= y < canvas._canvas_size.height - 1
        return inside and all(canvas.get_pixel(column, y)[0] in " ┄" for column in range(x, x + length))


def _bars(points: tuple[Accuracy, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, means and spreads as fractions that can be drawn."""
    means = np.clip(np.array([point.mean for point in points], np.float64), 0, 1)
    spreads = np.clip(np.nan_to_num(np.array([point.std for point in points], np.float64)), 0, 1)
    return np.array([point.step for point in points], np.float64), means, spreads


@dataclasses.dataclass(frozen=True)
class Reference:
    """A horizontal line: what another set of the same size, or all data, reaches; ``brief`` where space is short."""

    what: str
    brief: str
    mean: float
    colour: str


def plottable(loss: Loss, logarithmic: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Steps and values (log10 of them if ``logarithmic``) that can be drawn, and how many cannot."""
    steps, values, dropped = loss.steps, loss.values, 0
    if not _all_plottable(loss, logarithmic):
        shown = np.isfinite(values) & np.isfinite(steps)
        if logarithmic:
            shown &= values > 0
        steps, values, dropped = steps[shown], np.clip(values[shown], -LARGEST, LARGEST), int((~shown).sum())
        order = np.argsort(steps, kind="stable")  # the log of a damaged disk may have them in any
        steps, values = steps[order], values[order]
    return steps, np.log10(np.maximum(values, 1 / LARGEST)) if logarithmic else values, dropped


def _all_plottable(loss: Loss, logarithmic: bool) -> bool:
    """Tell whether all is as in the log of a sound run; with a million steps what follows otherwise would be felt."""
    if not len(loss.steps):
        return True
    low, high = float(loss.values.min()), float(loss.values.max())  # NaN if there is one
    ordered = bool(np.all(loss.steps[:-1] <= loss.steps[1:]))  # NaN is not
    least = 0.0 if logarithmic else -LARGEST
    return ordered and least < low and high < LARGEST and bool(np.isfinite(loss.steps[[0, -1]]).all())


def decimated(steps: np.ndarray, values: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep the least and the greatest value of each column; ``steps`` and what comes out are ordered."""
    if len(steps) <= 2 * columns:
        return steps, values
    starts, kept = _starts(steps, columns).tolist(), set()
    for start, stop in zip(starts, [*starts[1:], len(steps)], strict=True):
        part = values[start:stop]  # sorting all of them would take a hundred times as long
        kept |= {start + int(part.argmin()), start + int(part.argmax())}
    places = np.array(sorted(kept))
    return steps[places], values[places]


def averaged(steps: np.ndarray, values: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean step and the mean value of each column that has any; ``steps`` are ordered."""
    starts = _starts(steps, columns)
    counts = np.diff(starts, append=len(steps))
    return np.add.reduceat(steps, starts) / counts, np.add.reduceat(values, starts) / counts


def _starts(steps: np.ndarray, columns: int) -> np.ndarray:
    """The place of the first step of each of ``columns`` equal intervals that has any."""
    low, high = float(steps[0]), float(steps[-1])
    edges = low + np.arange(1, columns) * (max(high - low, 1e-9) / columns)
    starts = np.unique(np.append(0, np.searchsorted(steps, edges)))
    return starts[starts < len(steps)]


def padded(low: float, high: float, least: float = 0.0) -> tuple[float, float]:
    """Limits with some air around ``low`` and ``high``, apart by at least ``least`` or a thousandth of their size."""
    air = max(0.05 * (high - low), (least - high + low) / 2, 5e-4 * max(abs(low), abs(high)), 1e-9)
    return low - air, high + air


def step_axis(steps: np.ndarray, columns: int) -> tuple[tuple[float, float], tuple[list[float], list[str]]]:
    """Limits and ticks of an axis of steps; ticks are whole numbers."""
    low, high = float(steps.min()), float(steps.max())
    if high <= low:
        low, high = low - 1, high + 1
    ticks, _ = nice_ticks(low, high, max(2, columns // 12))
    ticks = [tick for tick in ticks if tick == round(tick)]
    return (low, high), (ticks, [_count(tick) for tick in ticks])


def _count(tick: float) -> str:
    if abs(tick) >= 1e6:
        return f"{tick / 1e6:g}M"
    return f"{tick / 1e3:g}k" if abs(tick) >= 1e4 else f"{tick:g}"


def nice_ticks(low: float, high: float, most: int) -> tuple[list[float], list[str]]:
    """Place at most ``most`` + 1 ticks at multiples of 1, 2 or 5 times a power of ten, and label them."""
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    spacing = next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= rough)
    first, last = math.ceil(low / spacing), math.floor(high / spacing)
    ticks = [number * spacing for number in range(first, last + 1)]
    return ticks, [tick_label(tick, spacing) for tick in ticks]


Axis = tuple[tuple[float, float], tuple[list[float], list[str]]]
"""Limits, and ticks with their labels."""


def row_axis(low: float, high: float, rows: int, most: float = math.inf) -> Axis:
    """Limits from about ``low`` to ``high`` for ``rows`` cells above each other, and ticks in the middle of cells.

    A tick is in every second cell or less often, always after equally many: where they fall as they may, one
    distance looks twice as long as the next. Of all such axes that reach far enough, the one with the finest cells.
    Where ``low`` is not below zero, nothing there is shown; no tick is above ``most``, or where its label cannot say.
    """
    low = max(low, 0.0) if low > -0.05 * high else low
    power = math.floor(math.log10((high - low) / rows))
    spacings = [factor * 10.0**exponent for exponent in (power, power + 1, power + 2) for factor in (1, 2, 2.5, 5)]
    gaps = range(min(2, rows - 1), max(3, rows // 4 + 1) + 1)
    choices = sorted((spacing / gap, gap, spacing) for spacing in spacings for gap in gaps)
    reach = [math.floor(high / cell + 0.5) - math.floor(low / cell + 0.5) for cell, _, _ in choices]
    best = next(index for index, cells in enumerate(reach) if cells < rows)
    (cell, gap, spacing), spare = choices[best], rows - 1 - reach[best]
    first = math.floor(low / cell + 0.5)
    first -= min(spare // 2, first) if low >= 0 else spare // 2
    if high <= most < math.inf:
        first = max(0, min(first, math.floor(most / cell + 0.5) - rows + 1))
    ticks = [number * cell for number in range(first, first + rows) if number % gap == 0]
    ticks = [tick for tick in ticks if tick <= most * (1 + 1e-9)]
    digits = spacing if f"{spacing:.3e}"[2] == "0" else spacing / 10  # 25 and 50 have as many as 20, but 2.5 one more
    labels = {tick: _shortened(tick_label(tick, digits)) for tick in ticks}
    told = [tick for tick in ticks if abs(float(labels[tick]) - tick) <= cell / 4]
    return ((first - 0.5) * cell, (first + rows - 0.5) * cell), (told, [labels[tick] for tick in told])


def _shortened(label: str) -> str:
    """``label`` as it fits beside the axis: a number that is cut there would be another number."""
    digits, sign, power = label.partition("e")
    room = LEFT - 1 - len(sign + power)
    return label if len(digits) <= room or "." not in digits else digits[:room].rstrip("0").rstrip(".") + sign + power


def value_axis(low: float, high: float, rows: int, logarithmic: bool) -> Axis:
    """The axis of a loss or another figure; ``low`` and ``high`` are powers of ten if ``logarithmic``."""
    if logarithmic:
        return (low, high), log_ticks(low, high, max(2, 2 * rows // 3))
    return row_axis(low, high, rows)


def percent_axis(low: float, high: float, rows: int) -> Axis:
    """The axis of an accuracy, in fractions with labels in percent."""
    limits, (ticks, _) = row_axis(100 * max(0.0, low), 100 * min(1.0, high), rows, most=100.0)
    return (limits[0] / 100, limits[1] / 100), ([tick / 100 for tick in ticks], [f"{tick:.4g} %" for tick in ticks])


def last_cell(first: float, last: float, columns: int, cells: float) -> float:
    """The end of an axis from ``first`` to ``last`` with so many more ``cells`` beside it."""
    return last + cells * (last - first) / columns


def log_ticks(low: float, high: float, most: int) -> tuple[list[float], list[str]]:
    """Ticks on a log10 axis: powers of ten, with 2 and 5 between them or plain steps where there are too few."""
    for factors in ((1,), (1, 2, 5)):
        decades = range(math.floor(low), math.ceil(high) + 1)
        marks = [(decade, factor) for decade in decades for factor in factors]
        ticks = [(decade + math.log10(factor), float(f"{factor}e{decade}")) for decade, factor in marks]
        ticks = [tick for tick in ticks if low <= tick[0] <= high]
        if len(ticks) >= 3:
            ticks = ticks[:: max(1, math.ceil(len(ticks) / (most + 1)))]
            return [tick[0] for tick in ticks], [tick_label(tick[1], tick[1]) for tick in ticks]
    values, labels = nice_ticks(10**low, 10**high, most)
    some = [(math.log10(value), label) for value, label in zip(values, labels, strict=True) if value > 0]
    return [tick[0] for tick in some], [tick[1] for tick in some]


def tick_label(value: float, spacing: float) -> str:
    """``value`` with as many digits as ``spacing`` needs, in at most seven characters where that can be."""
    if value == 0 or abs(value) < spacing / 1e6:
        return "0"
    if 1e-3 <= abs(value) < 1e5 or (spacing >= 1e-3 and abs(value) < 1e5):
        decimals = max(0, -math.floor(math.log10(spacing)))
        return f"{value:.{decimals}f}"
    digits = max(0, math.floor(math.log10(abs(value))) - math.floor(math.log10(spacing)))
    mantissa, _, exponent = f"{value:.{min(digits, 3)}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"
