"""Pictures of studies: the accuracy of each cell, with its spread, beside its cost in seconds or in bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from engine.export.names import shown
from engine.export.wording import LEARNED
from engine.files import replacing
from engine.runs.study import own_result

ORDERS = {"as-is": "o", "shuffled": "s", "reversed": "^", "frozen": "D"}
"""The orders of frames in training, with their markers, which tell them apart without colour too."""


def draw(path: Path, rows: Sequence[dict[str, Any]], kind: str) -> None:
    """Write a PNG of ``rows`` (``engine.runs.study``): cells side by side, accuracy above, seconds per step below."""
    done = [row for row in rows if own_result(row) is not None]
    if not done:
        return
    figure = Figure(figsize=(max(6.0, 1.5 + 0.6 * len(done)), 6.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    places = range(len(done))
    for order, marker in ORDERS.items():
        results = [own_result(row, order) for row in done]
        if any(results):
            aside = 0.12 * (list(ORDERS).index(order) - 1.5)
            at = [place + aside for place, result in zip(places, results, strict=True) if result is not None]
            mean = [100 * result["top1"]["mean"] for result in results if result is not None]
            std = [_bar(result) for result in results if result is not None]
            above.errorbar(at, mean, std, marker=marker, capsize=3, label=f"frames {order}", linestyle="none")
    above.set_ylabel("top-1 on test, %")
    above.set_ylim(bottom=0)
    above.grid(alpha=0.2)
    above.legend(fontsize=8)
    above.set_title("Temporal compression" if kind == "temporal" else "Study", fontsize=10)
    below.bar(places, [row.get("seconds_per_step") or 0 for row in done], width=0.5)
    below.set_ylabel("seconds per step")
    below.set_xticks(list(places), [_label(row) for row in done], fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _bar(result: dict[str, Any]) -> float:
    """Return the standard deviation in points; NaN, for which no bar is drawn, for a single network, which has none."""
    std = result["top1"]["std"]
    return math.nan if std is None else 100 * float(std)


def _label(row: dict[str, Any]) -> str:
    """Return the varied values of a cell, a line each."""
    return "\n".join(
        shown(f"{key.rpartition('.')[2]} {value}") for key, value in row["values"].items() if value is not None
    )


ARMS = {"random": "x"} | dict(zip(LEARNED, "osd^v<>", strict=False))
"""The names of results in the study of bytes, with their markers."""


def draw_bytes(path: Path, rows: Sequence[dict[str, Any]], classes: int) -> None:
    """Write a PNG of accuracy over the bytes per class of each row's file, on a logarithmic axis."""
    figure = Figure(figsize=(8.0, 5.5), layout="constrained")
    axes = figure.add_subplot()
    for run, what in dict.fromkeys((row["run"] if row["what"] != "random" else "", row["what"]) for row in rows):
        own = [row for row in rows if row["what"] == what and (row["run"] == run or not run)]
        own.sort(key=lambda row: row["bytes"])
        size = [row["bytes"] / classes for row in own]
        mean, std = [100 * row["top1"]["mean"] for row in own], [_bar(row) for row in own]
        label = "random real clips" if what == "random" else f"{shown(run)} ({what})"
        axes.errorbar(size, mean, std, marker=ARMS.get(what, "d"), capsize=3, linestyle="none", label=label)
        for x, y, row in zip(size, mean, own, strict=True):
            text = f"{row['ipc']} x {row['storage']}" if what == "random" else row["storage"]
            axes.annotate(text, (x, y), textcoords="offset points", xytext=(4, 4), fontsize=6)
    axes.axhline(100 / classes, linewidth=0.8, linestyle=":", color="black", label="chance")
    axes.set_xscale("log")
    axes.set_xlabel("bytes per class")
    axes.set_ylabel("top-1 on test, %")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.2)
    axes.legend(fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
