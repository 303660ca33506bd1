"""The report's plots, as SVG inside the page, so that their ink follows its light or dark colours.

Matplotlib draws them without a display. Their text stays text, and some of it comes from data sets: matplotlib escapes
it, formulas between dollar signs are off, and comments, metadata and addresses of schemas are removed from the output.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from engine.export.names import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#0b1c2f"
"""The colour that is drawn in place of the page's text colour; ``currentColor`` replaces it in the output."""
BLUE, AMBER = "#4c8dff", "#e8930c"
POINTS = 1500
"""The most stretches of a line; one with more points is drawn through the least and the largest of each stretch."""
NAMED_CLASSES, NUMBERED_CLASSES = 30, 12
"""The most classes of a confusion matrix with names at its sides, and of one with numbers in its cells."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "font.size": 10,
    "legend.frameon": False,
    "savefig.transparent": True,
}


def loss_plot(stage: str, steps: Sequence[int], values: Sequence[float | None]) -> str:
    """Return the loss of ``stage`` over optimiser steps, on a log scale if all values are positive; "" without any."""
    y = np.array([np.nan if value is None else value for value in values], float)
    finite = np.isfinite(y)
    if not finite.any():
        return ""
    with style(f"loss-{stage}"):
        figure, axes = _axes("optimiser step", "loss")
        x, thin = decimated(np.array(steps, float), y)
        smooth = len(y) > 60
        axes.plot(x, thin, color=BLUE, linewidth=0.8 if smooth else 1.6, alpha=0.35 if smooth else 1.0)
        if smooth:
            axes.plot(*decimated(np.array(steps, float), running_mean(y)), color=BLUE, linewidth=1.8)
        if len(y) == 1:
            axes.plot(x, thin, "o", color=BLUE)
        if (y[finite] > 0).all():
            logarithmic(axes)
        return svg(figure, f"Loss of the {stage} stage over optimiser steps")


def decimated(x: np.ndarray, y: np.ndarray, most: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Return at most 2 * ``most`` points of a line, its every peak among them."""
    if len(x) <= 2 * most:
        return x, y
    kept = []
    for stretch in np.array_split(np.arange(len(x)), most):
        part = np.where(np.isfinite(y[stretch]), y[stretch], np.inf)
        high = np.where(np.isfinite(y[stretch]), y[stretch], -np.inf)
        kept += sorted({int(stretch[part.argmin()]), int(stretch[high.argmax()])})
    return x[kept], y[kept]


def running_mean(y: np.ndarray) -> np.ndarray:
    """Return the mean of the finite values in a window of about a thirtieth of the line, at each of its points."""
    window = np.ones(max(3, len(y) // 30))
    finite = np.isfinite(y)
    total = np.convolve(np.where(finite, y, 0.0), window, "same")
    number = np.convolve(finite.astype(float), window, "same")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number > 0, total / number, np.nan)


def accuracy_plot(points: Sequence[dict[str, Any]], split: str, chosen: int | None, classes: int | None) -> str:
    """Return top-1 in percent over steps, with its spread; ``chosen`` and chance are marked. "" without ``points``."""
    if not points:
        return ""
    points = sorted(points, key=lambda point: point["step"])
    steps, means, stds = ([point[name] for point in points] for name in ("step", "mean", "std"))
    mean, std = 100 * np.array(means, float), 100 * np.array(stds, float)  # None becomes NaN, for which no bar is drawn
    with style("accuracy"):
        figure, axes = _axes("optimiser step", f"top-1 on {shown(split)}, %")
        axes.fill_between(steps, mean - std, mean + std, color=BLUE, alpha=0.18, linewidth=0)
        axes.errorbar(steps, mean, std, color=BLUE, marker="o", markersize=4, linewidth=1.6, capsize=2, elinewidth=0.8)
        if chosen is not None and chosen in steps:
            at = steps.index(chosen)
            axes.axvline(chosen, color=AMBER, linewidth=1, linestyle=(0, (4, 3)))
            axes.plot(chosen, mean[at], "o", markersize=10, fillstyle="none", color=AMBER, markeredgewidth=1.8)
            axes.annotate(f"chosen: step {chosen}, {mean[at]:.1f} %", (1.0, 1.02), xycoords="axes fraction", ha="right",
                          fontsize=9, color=AMBER)  # fmt: skip
        if classes:
            axes.axhline(100 / classes, color=INK, linewidth=0.8, linestyle=":", alpha=0.6)
            axes.annotate("chance", (1.0, 100 / classes), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                          fontsize=8, alpha=0.7)  # fmt: skip
        axes.set_ylim(bottom=0)
        return svg(figure, f"Top-1 accuracy on {split} over optimiser steps")


def bytes_plot(rows: Sequence[tuple[str, float, float, float | None]], classes: int | None) -> str:
    """Return top-1 in percent over bytes, on a log scale, of ``rows``: name, bytes, mean and deviation (fractions).

    The first row is the set itself, and drawn so. "" without two rows that have bytes.
    """
    rows = [row for row in rows if row[1] > 0]
    if len(rows) < 2:
        return ""
    with style("bytes"):
        figure, axes = _axes("bytes that the training set takes", "top-1 on test, %")
        axes.set_xscale("log")
        for number, (name, size, mean, std) in enumerate(rows):
            colour = BLUE if number == 0 else AMBER
            spread = None if std is None else 100 * std
            axes.errorbar(size, 100 * mean, spread, color=colour, marker="o", markersize=6, capsize=3, linewidth=1)
            axes.annotate(short(name), (size, 100 * mean), xytext=(6, 5), textcoords="offset points", fontsize=8)
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _bytes(value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        least, most = min(row[1] for row in rows), max(row[1] for row in rows)
        axes.set_xlim(least / 2, most * 4)  # room for names
        if classes:
            axes.axhline(100 / classes, color=INK, linewidth=0.8, linestyle=":", alpha=0.6)
        axes.set_ylim(bottom=0)
        return svg(figure, "Top-1 accuracy over the bytes of the training set")


def _bytes(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} B"


def confusion_plot(matrix: np.ndarray, names: Sequence[str]) -> str:
    """Return the confusion matrix: the share of each class's test videos (rows) that was taken for each class."""
    number = len(matrix)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    colours = np.zeros((number, number, 4))
    colours[..., :3] = [int(BLUE[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    colours[..., 3] = share  # transparent where there is nothing, on any page
    side = 4.2 + 0.11 * min(number, NAMED_CLASSES)
    with style("confusion"):
        figure = Figure(figsize=(side, side), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[:].set_visible(True)
        axes.imshow(colours, interpolation="none")
        axes.set_xlabel("taken for")
        axes.set_ylabel("true class")
        if number <= NAMED_CLASSES:
            labels = [short(name) for name in names]
            axes.set_xticks(range(number), labels, rotation=60, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(number), labels)
        if number <= NUMBERED_CLASSES:
            for (row, column), value in np.ndenumerate(share):
                if value >= 0.005:
                    axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8)
        return svg(figure, "Confusion matrix")


def short(name: str, most: int = 28) -> str:
    """Return a class name as a tick label: one line, at most ``most`` characters."""
    line = " ".join(shown(name).split()) or "(no name)"
    return line if len(line) <= most else line[: most - 1] + "…"


def style(plot: str) -> AbstractContextManager[None]:
    """Return a context with the settings of all plots; ``plot`` makes the ids in one picture differ from another's."""
    settings: Any = {**_STYLE, "svg.hashsalt": plot}
    return rc_context(settings)


def _axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.5, 3.0), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(True)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return figure, axes


def logarithmic(axes: Axes) -> None:
    """Make the y axis logarithmic, with plain numbers: matplotlib's own labels are formulas, which are off here."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    decades = np.log10(high / low)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if decades > 3 else (1.0, 2.0, 5.0), numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def svg(figure: Figure, title: str) -> str:
    """Return ``figure`` as an SVG element; the same figure gives the same text. ``title`` is for screen readers."""
    import html

    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)  # the browser has it
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    opening, rest = text.split(">", 1)
    opening = re.sub(r'\s(xmlns(:\w+)?|version|width|height)="[^"]*"', "", opening)
    opening += f' role="img" aria-label="{html.escape(shown(title))}"'
    return (opening + ">" + rest).replace(INK, "currentColor").strip()
