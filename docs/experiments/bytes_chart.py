"""Accuracy over bytes per class, from the cells of storage.py: the chart of the README.

    python docs/experiments/bytes_chart.py "UCF, 10 classes:10:28.8:runs-ucf64/storage.jsonl" \\
        "JHMDB, 12 classes:12:19.2:runs-jhmdb64/storage.jsonl" --output docs/bytes.png

A panel for each TITLE:CLASSES:ALL:FILE, where ALL is the accuracy that all real clips reach, in per cent. A point is a
form of a set: the mean over run seeds of the mean of each seed's networks, with the sample standard deviation over
seeds as its bar. Forms of one seed are left out, or with `--single` drawn hollow, with the deviation over networks.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from cells import read
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from storage import Forms, by_form, means

NAMES = {
    "clips": "random real clips",
    "mean": "mean frame",
    "stills": "learned stills",
    "pixels": "learned clips",
    "static-dynamic": "learned, static-dynamic",
    "formation": "random real clips in formation",
}
MARKS = {"clips": "s", "mean": "x", "stills": "D", "pixels": "o", "static-dynamic": "^", "formation": "P"}


def main() -> None:
    """Draw the panels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panels", nargs="+", metavar="TITLE:CLASSES:ALL:FILE")
    parser.add_argument("--single", action="store_true", help="forms of one run seed, too")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    figure = Figure((4.2 * len(options.panels), 3.8), layout="constrained")
    panels = figure.subplots(1, len(options.panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(panels, options.panels, strict=True):
        title, classes, whole, file = panel.split(":", 3)
        draw(axes, by_form([*read(Path(file))]), int(classes), options.single)
        axes.axhline(float(whole), color="black", linestyle="--", linewidth=1, label="all training clips")
        axes.axhline(100 / int(classes), color="grey", linestyle=":", linewidth=1, label="chance")
        axes.set(xscale="log", xlabel="bytes per class, whole file", title=title)
    panels[0].set(ylabel="top-1 on test, %", ylim=(0, None))
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize="small", loc="outside lower center", ncols=2 * len(options.panels))
    figure.savefig(options.output, dpi=120, metadata={"Software": None})


def draw(axes: Axes, forms: Forms, classes: int, single: bool) -> None:
    """Draw the forms of each kind; those of one seed if ``single``."""
    for number, (kind, name) in enumerate(NAMES.items()):
        points, hollow = [], []
        for (own, _), by_seed in forms.items():
            tops = list(means(by_seed).values())
            size = statistics.fmean(found["bytes"] for found in by_seed.values()) / classes
            if own == kind and len(tops) > 1:
                points.append((size, statistics.fmean(tops), statistics.stdev(tops)))
            elif own == kind and single:
                (networks,) = ([100 * value for value in found["top1"]] for found in by_seed.values())
                hollow.append((size, statistics.fmean(networks), statistics.stdev(networks)))
        style: dict[str, Any] = {"fmt": MARKS[kind], "capsize": 2, "markersize": 5, "color": f"C{number}"}
        if points:
            axes.errorbar(*zip(*sorted(points), strict=True), label=name, **style)
        if hollow:
            axes.errorbar(*zip(*sorted(hollow), strict=True), markerfacecolor="none", **style)


if __name__ == "__main__":
    main()
