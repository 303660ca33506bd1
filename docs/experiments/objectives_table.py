"""The table of `objectives.sh`: accuracies over all seeds that were run, with bytes and the seconds of learning.

    python docs/experiments/objectives_table.py RUNS

The mean and the sample standard deviation are over seeds (of each the mean of its networks): a seed chooses the clips
that a set starts from, the networks that it learns with, and those that judge it. `gain` is paired: each seed's set
less the start of the same memories, IPC and seed (FRePo's own, since its presets pair memories otherwise).
"""

from __future__ import annotations

import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from engine.runs import RunDirectory
from engine.runs.results import results_of

NAME = re.compile(r"(pixels-|pair-|two-)?(\w+(?:-only|-start)?)-ipc(\d+)-seed(\d+)")

ONE_PAIR = "static-dynamic, one of each"
MEMORIES = {
    "": "static-dynamic",
    "pixels-": "pixels",
    "pair-": ONE_PAIR,
    "two-": "static-dynamic",
    "static-only": "static, still",
    "frepo-start": ONE_PAIR,
    "frepo": ONE_PAIR,
}


def main() -> None:
    """Print a row for each kind of run and IPC."""
    means: dict[tuple[str, str, int], dict[int, float]] = defaultdict(dict)
    networks: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    sizes: dict[tuple[str, str, int], int] = {}
    spent: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        found = NAME.fullmatch(folder.name)
        rows = [row for row in results_of(RunDirectory(folder)) if asked(row["recipe"])] if found else []
        if found is None or not rows:
            continue
        key = (found[1] or "", found[2], int(found[3]))
        means[key][int(found[4])] = rows[0]["top1"]["mean"]
        networks[key].append(" ".join(f"{100 * value:.1f}" for value in rows[0]["top1"]["values"]))
        sizes[key] = rows[0]["bytes"]
        learned = RunDirectory(folder).folded().stages
        spent[key].append(sum(learned[name].seconds or 0 for name in ("static", "dynamic") if name in learned))
    print("| IPC | memories | learned by | top-1 | networks, seed by seed | gain | bytes | seconds |")  # noqa: T201
    print("|" + 8 * "---|")  # noqa: T201
    for key in sorted(means, key=lambda key: (key[2], key[1], key[0])):
        memories, kind, ipc = key
        first = "" if memories == "two-" else memories  # two of each are what `start` has, too
        starts = means.get((memories, f"{kind}-start", ipc)) or means.get((first, "start", ipc), {})
        gains = [100 * (mean - starts[seed]) for seed, mean in means[key].items() if seed in starts]
        cells = [
            str(ipc),
            MEMORIES.get(memories + kind) or MEMORIES[memories],
            kind,
            spread([100 * mean for mean in means[key].values()]) + " %",
            "; ".join(networks[key]),
            spread(gains, "+") if gains and not kind.endswith(("start", "-only")) else "",
            f"{sizes[key] / 1e6:.2f} MB",
            f"{statistics.fmean(spent[key]):.0f}",
        ]
        print("| " + " | ".join(cells) + " |")  # noqa: T201


def asked(recipe: dict[str, Any]) -> bool:
    """Whether networks were trained as `objectives.sh` has it; a run may have been judged in other ways besides."""
    return (recipe["batch"], recipe["epochs"], recipe["lr"]) == (4, 60, 0.003)


def spread(values: list[float], sign: str = "") -> str:
    """Mean and sample standard deviation."""
    deviation = f" +- {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{sign}.1f}{deviation}"


if __name__ == "__main__":
    main()
