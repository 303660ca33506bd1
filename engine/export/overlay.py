"""Curves of several runs in one picture: accuracy over steps with its spread, and the loss of each stage.

Lines differ in style as well as in colour, so that everyone can tell them apart, also in grey. Losses of different
objectives differ in unit; a lower line then means nothing, and the axis says so.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.events import STAGES
from engine.runs.comparison import Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""The colours of Okabe and Ito, which most people with a colour vision deficiency can tell apart."""
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (9, 3)))
POINTS = 400
"""The number of stretches of a line (``decimated``), fewer than in the picture of one run: there are more lines."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclasses.dataclass(frozen=True)
class RunCurves:
    """The curves of one run. ``accuracy`` holds fractions, as (step, mean, std or None) in the order of steps."""

    label: str
    accuracy: tuple[tuple[int, float, float | None], ...]
    split: str
    losses: dict[str, tuple[Sequence[int], Sequence[float]]]
    objectives: dict[str, str]
    """The objective of each stage, as the preset names it."""


def curves_of(sources: Sequence[Source]) -> list[RunCurves]:
    """Return the curves of those ``sources`` that are runs and have any."""
    found = []
    for source in sources:
        folded, run = source.folded, source.run
        if folded is None or run is None:
            continue
        points = sorted((p for p in folded.accuracy_curve() if p.split != "test" or _chose(source)), key=_step)
        preset = run.preset_values()
        tables = {stage: preset.get(stage) for stage in folded.losses}
        found.append(
            RunCurves(
                source.label,
                tuple((point.step, point.mean, point.std) for point in points),
                points[0].split if points else "",
                {stage: (curve.steps, curve.values) for stage, curve in folded.losses.items()},
                {stage: str(table.get("objective")) for stage, table in tables.items() if isinstance(table, dict)},
            )
        )
    return [curves for curves in found if curves.accuracy or curves.losses]


def _step(point: Any) -> int:
    return int(point.step)


def _chose(source: Source) -> bool:
    """Return True if the iteration was chosen on the test split, so that its curve is the one to draw."""
    return not any(p.split != "test" for p in source.folded.accuracy_curve()) if source.folded else False


def overlay_png(curves: Sequence[RunCurves]) -> bytes | None:
    """Return all ``curves`` as a PNG on white, or None if there are none. The same curves give the same bytes."""
    if not curves:
        return None
    from engine.export.plots import style

    with style("overlay"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        buffer = io.BytesIO()
        figure = _figure(curves)
        figure.savefig(buffer, format="png", dpi=140, facecolor="white", transparent=False, metadata={"Software": None})
        return buffer.getvalue()


def overlay_svg(curves: Sequence[RunCurves]) -> str:
    """Return all ``curves`` as an SVG element for a page, or "" if there are none."""
    if not curves:
        return ""
    from engine.export.plots import style, svg

    with style("overlay"):
        return svg(_figure(curves), "Accuracy and losses of the runs over optimiser steps")


def _figure(curves: Sequence[RunCurves]) -> Figure:
    """Return a panel for accuracy and one for each stage with a loss, side by side, above the legend."""
    from matplotlib.figure import Figure

    from engine.export.plots import short

    stages = [stage for stage in STAGES if any(stage in one.losses for one in curves)]
    has_accuracy = any(one.accuracy for one in curves)
    number = len(stages) + has_accuracy
    rows = -(-len(curves) // 3)
    figure = Figure(figsize=(4.6 * number, 3.2 + 0.24 * rows), layout="constrained")
    panels = list(figure.subplots(1, number, squeeze=False)[0])
    if has_accuracy:
        _accuracies(panels[0], curves)
    for panel, stage in zip(panels[has_accuracy:], stages, strict=True):
        _losses(panel, stage, curves)
    handles = [panels[0].plot([], [], label=short(one.label, 48), **look)[0] for one, look in _looks(curves)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(curves)), fontsize=9)
    return figure


def _looks(curves: Sequence[RunCurves]) -> list[tuple[RunCurves, dict[str, Any]]]:
    """Return each run with the colour and the style of its lines; the pairs repeat only after 35 runs."""
    colours, lines = itertools.cycle(COLOURS), itertools.cycle(LINES)
    return [(one, {"color": next(colours), "linestyle": next(lines), "linewidth": 1.6}) for one in curves]


def _accuracies(axes: Axes, curves: Sequence[RunCurves]) -> None:
    from engine.export.names import shown

    splits = list(dict.fromkeys(one.split for one in curves if one.accuracy))
    for number, (one, look) in enumerate(_looks(curves)):
        if not one.accuracy:
            continue
        steps, means, stds = zip(*one.accuracy, strict=True)
        mean, std = [100 * value for value in means], [100 * (value or 0) for value in stds]
        low, high = ([m + sign * s for m, s in zip(mean, std, strict=True)] for sign in (-1, 1))
        axes.fill_between(steps, low, high, color=look["color"], alpha=0.12, linewidth=0)
        axes.plot(steps, mean, marker=MARKERS[number % len(MARKERS)], markersize=4, **look)
    _labelled(axes, f"top-1 on {shown(' or '.join(splits))}, %")
    axes.set_ylim(bottom=0)


def _losses(axes: Axes, stage: str, curves: Sequence[RunCurves]) -> None:
    import numpy as np

    from engine.export.plots import decimated, logarithmic, running_mean

    positive = True
    for one, look in _looks(curves):
        steps, values = one.losses.get(stage, ((), ()))
        y = np.array([np.nan if value is None else value for value in values], float)
        finite = np.isfinite(y)
        if not finite.any():
            continue
        positive &= bool((y[finite] > 0).all())
        x = np.array(steps, float)
        smooth = len(y) > 60
        if smooth:
            axes.plot(*decimated(x, y, POINTS), color=look["color"], linewidth=0.6, alpha=0.2)
        axes.plot(*decimated(x, running_mean(y) if smooth else y, POINTS), **look)
    objectives = {one.objectives.get(stage) for one in curves if stage in one.losses}
    _labelled(axes, f"{stage} loss" if len(objectives) == 1 else f"{stage} loss (objectives differ in unit)")
    if positive:
        logarithmic(axes)


def _labelled(axes: Axes, ylabel: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.grid(True)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
