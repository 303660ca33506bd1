"""The picture of a study: accuracy, with its spread, over what was varied, and what each cell cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from engine.export.names import shown
from engine.runs.files import replacing
from engine.runs.study import own_result

ORDERS = {"as-is": "o", "shuffled": "s", "reversed": "^", "frozen": "D"}
"""Orders of frames while training, with their markers: they are told apart without colour too."""


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
            at = [place for place, result in zip(places, results, strict=True) if result is not None]
            mean = [100 * result["top1"]["mean"] for result in results if result is not None]
            std = [100 * result["top1"]["std"] for result in results if result is not None]
            above.errorbar(at, mean, std, marker=marker, capsize=3, label=f"frames {order}", linestyle="none")
    above.set_ylabel("top-1 on test, %")
    above.set_ylim(bottom=0)
    above.grid(alpha=0.2)
    above.legend(fontsize=8)
    above.set_title("Temporal compression" if kind == "temporal" else "Study", fontsize=10)
    below.bar(places, [row.get("seconds_per_step") or 0 for row in done], width=0.5)
    below.set_ylabel("seconds per step")
    below.set_xticks(list(places), [shown(row["name"]) for row in done], rotation=30, ha="right", fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
