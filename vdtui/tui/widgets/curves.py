"""The two curves of a run: the loss of a stage, and the accuracy over steps.

textual-plot draws; what it lacks is done here: a logarithmic axis (log10 is plotted, and the ticks say the value),
decimation (minimum and maximum of each column, so that no spike is lost however many steps there are), whiskers of
one standard deviation, and limits that stay finite for whatever a diverging run has logged.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Grid
from textual.strip import Strip
from textual_hires_canvas import Canvas
from textual_plot import HiResMode, PlotWidget
from textual_plot.axis_formatter import AxisFormatter
from textual_plot.plot_widget import Legend

from engine.runs.state import Accuracy
from vdtui.tui import words
from vdtui.tui.watch import Loss

LARGEST = 1e30
"""Losses are clipped to this: differences of greater ones overflow in the plot."""
LEFT = 8


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


class Curve(PlotWidget):
    """A plot without mouse or keys whose limits and ticks are set with its data."""

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

    def _render_plot(self) -> None:
        if self.size.width < LEFT + 6 or self.size.height < 5:
            return  # textual-plot fails on a frame without an inside
        canvas = self.query_one("#plot", Canvas)
        if canvas._canvas_size.width != canvas.size.width or canvas._canvas_size.height != canvas.size.height:
            return  # being laid out: it comes again with its new size
        with canvas.batch_refresh():
            super()._render_plot()
            self._lighten(canvas)

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
    """The loss of one stage: minimum and maximum of each column, and the mean as a bright line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("loss", **kwargs)
        self.stage = ""
        self.logarithmic = False
        self._loss: Loss | None = None

    def show(self, stage: str, loss: Loss | None, logarithmic: bool) -> bool:
        """Show ``loss``; returns whether anything had to be drawn."""
        if (stage, logarithmic) == (self.stage, self.logarithmic) and loss is self._loss:
            return False
        self.stage, self._loss, self.logarithmic = stage, loss, logarithmic
        self.draw()
        return True

    def draw(self) -> None:
        """Put the present data on the canvas."""
        scale = "log scale" if self.logarithmic else "linear scale"
        self.border_title = Text(f"loss · {words.plain(self.stage, 20)}" if self.stage else "loss")
        if self._loss is None or not len(self._loss.steps):
            self.border_subtitle = Text("no step yet")
            self.blank()
            return
        steps, values, dropped = plottable(self._loss, self.logarithmic)
        last = self._loss.values[-1]
        notes = [f"now {words.number(float(last))}", scale]
        if dropped:
            notes.insert(1, f"{dropped} not shown")
        self.border_subtitle = Text(" · ".join(notes))
        if not len(steps):
            self.blank()
            return
        self._draw(steps, values)

    def _draw(self, steps: np.ndarray, values: np.ndarray) -> None:
        self.clear()
        drawn = decimated(steps, values, 2 * self.columns)
        smooth = averaged(steps, values, max(4, self.columns // 2))
        noisy = len(steps) > 2 * self.columns
        if noisy:
            self.plot(*drawn, line_style=self.colour("primary-darken-3"), hires_mode=HiResMode.BRAILLE)
        line = smooth if noisy else drawn
        self.plot(*line, line_style=self.colour("primary"), hires_mode=HiResMode.BRAILLE)
        low, high = padded(float(drawn[1].min()), float(drawn[1].max()))
        wanted = max(2, 2 * self.rows // 3)
        y_ticks = log_ticks(low, high, wanted) if self.logarithmic else nice_ticks(low, high, wanted)
        x, x_ticks = step_axis(np.append(steps, 0), self.columns)
        self.limits(x, (low, high), x_ticks, y_ticks)


class AccuracyCurve(Curve):
    """Accuracy of the synthetic set over steps with one standard deviation, and reference lines from the results."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("accuracy", **kwargs)
        self._points: tuple[Accuracy, ...] = ()
        self._references: tuple[Reference, ...] = ()
        self._total = 0

    def show(self, points: tuple[Accuracy, ...], references: tuple[Reference, ...], total: int) -> bool:
        """Show ``points`` over ``total`` steps; returns whether anything had to be drawn."""
        if (points, references, total) == (self._points, self._references, self._total):
            return False
        self._points, self._references, self._total = points, references, total
        self.draw()
        return True

    def draw(self) -> None:
        """Put the present data on the canvas."""
        if not self._points:
            self.border_title, self.border_subtitle = Text("accuracy"), Text("no evaluation yet")
            self.blank()
            return
        self.border_title = Text(f"accuracy · {words.plain(self._points[-1].split, 12)} · mean ± std")
        last = self._points[-1]
        notes = [f"now {words.plus_minus(last.mean, last.std)}"]
        notes += [f"┄ {words.plain(one.what, 16)} {words.percent(one.mean)}" for one in self._references]
        self.border_subtitle = Text(" · ".join(notes))
        self._draw()

    def _draw(self) -> None:
        self.clear()
        steps = np.array([point.step for point in self._points], np.float64)
        means = np.clip([point.mean for point in self._points], 0, 1)
        spreads = np.clip(np.nan_to_num([point.std for point in self._points]), 0, 1)
        levels = [min(1.0, max(0.0, one.mean)) for one in self._references]
        low, high = padded(min([*(means - spreads), *levels]), max([*(means + spreads), *levels]), least=0.05)
        low, high = max(0.0, low), min(1.0, high)
        x, x_ticks = step_axis(np.append(steps, (0, self._total)), self.columns)
        for level, one in zip(levels, self._references, strict=True):
            dots = np.linspace(*x, self.columns)
            self.scatter(dots, np.full(len(dots), level), marker="┄", marker_style=self.colour(one.colour))
        if len(steps) > self.columns:
            self.plot(steps, means, line_style=self.colour("success"), hires_mode=HiResMode.BRAILLE)
        else:
            self.plot(steps, means, line_style=self.colour("success-darken-2"), hires_mode=HiResMode.BRAILLE)
            self.errorbar(steps, means, np.full(len(steps), np.nan), spreads, "●", self.colour("success"))
        ticks, _ = nice_ticks(100 * low, 100 * high, max(2, 2 * self.rows // 3))
        self.limits(x, (low, high), x_ticks, ([tick / 100 for tick in ticks], [f"{tick:g} %" for tick in ticks]))


@dataclasses.dataclass(frozen=True)
class Reference:
    """A horizontal line: what another set of the same size, or all data, reaches."""

    what: str
    mean: float
    colour: str


def plottable(loss: Loss, logarithmic: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Steps and values (log10 of them if ``logarithmic``) that can be drawn, and how many cannot."""
    shown = np.isfinite(loss.values) & np.isfinite(loss.steps)
    if logarithmic:
        shown &= loss.values > 0
    steps, values = loss.steps[shown], np.clip(loss.values[shown], -LARGEST, LARGEST)
    dropped = int(len(shown) - shown.sum())
    return steps, np.log10(np.maximum(values, 1 / LARGEST)) if logarithmic else values, dropped


def decimated(steps: np.ndarray, values: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """At most two points a column, the least and the greatest value in it, in the order of their steps."""
    if len(steps) <= 2 * columns:
        return steps, values
    column = _columns(steps, columns)
    order = np.lexsort((values, column))
    starts = np.flatnonzero(np.diff(column[order], prepend=-1))
    ends = np.append(starts[1:], len(order)) - 1
    kept = np.unique(np.concatenate([order[starts], order[ends]]))
    return steps[kept], values[kept]


def averaged(steps: np.ndarray, values: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean step and the mean value of each column that has any."""
    column = _columns(steps, columns)
    count = np.bincount(column, minlength=columns)
    some = count > 0
    step_sums = np.bincount(column, steps, columns)
    value_sums = np.bincount(column, values, columns)
    return step_sums[some] / count[some], value_sums[some] / count[some]


def _columns(steps: np.ndarray, columns: int) -> np.ndarray:
    low, high = float(steps.min()), float(steps.max())
    return np.minimum(((steps - low) / max(high - low, 1e-9) * columns).astype(np.int64), columns - 1)


def padded(low: float, high: float, least: float = 0.0) -> tuple[float, float]:
    """Limits with some air around ``low`` and ``high``, apart by at least ``least`` or a few units of precision."""
    air = max(0.05 * (high - low), least / 2, 1e-6 * max(abs(low), abs(high)), 1e-9)
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
    """At most ``most`` + 1 ticks at multiples of 1, 2 or 5 times a power of ten, and their labels."""
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    spacing = next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= rough)
    first, last = math.ceil(low / spacing), math.floor(high / spacing)
    ticks = [number * spacing for number in range(first, last + 1)]
    return ticks, [tick_label(tick, spacing) for tick in ticks]


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
