"""Does validation tell which draw of real clips is a good one? The table of selection.md.

    vdtui prepare ucf101 --source UCF10 --output ucf64.h5 --frames 8 --size 64
    OMP_NUM_THREADS=1 python docs/experiments/draws.py --data ucf64.h5 --runs RUNS --draws 0 1 2 3 4 5 6 7

A cell is a draw of so many real stills per class, out of the clips that are left when validation recordings are held
out, stored and decoded. Networks of the same seeds for all draws are trained on it, and each is tested on validation
and on test. If draws differ, and validation says how, the best of several draws is worth more than a random one. A
finished cell is a line of RUNS/draws.jsonl, and is not made again.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys

import torch
from cells import Record, answered, spread
from real_stills import drawn, of_the_data, of_the_judge, parser

from engine import load_preset
from engine.config import Preset
from engine.evaluation.judge import recipe_of
from engine.evaluation.parts import open_parts
from engine.evaluation.protocols import network_seed
from engine.evaluation.training import evaluate_network, train_network


def main() -> None:
    """Measure the draws that are not there yet, and print the table."""
    options = arguments()
    judge = [*of_the_judge(options), f"evaluation.epochs={options.epochs}"]
    preset = load_preset("stills", [*of_the_data(options), *judge])
    common = {"data": options.data.name, "how": options.how, "number": options.number, "changes": judge}
    asked = [(common | {"draw": draw, "networks": options.networks}, (preset, options, draw)) for draw in options.draws]
    options.runs.mkdir(parents=True, exist_ok=True)
    table(answered(asked, measure, options.runs / "draws.jsonl", 1))


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    found = parser(__doc__, "runs-draws", networks=2)
    found.add_argument("--draws", type=int, nargs="+", default=list(range(8)))
    found.add_argument("--epochs", type=int, default=107, help="107 epochs of 110 clips in batches of 8: 1,498 steps")
    return found.parse_args()


def measure(preset: Preset, options: argparse.Namespace, draw: int) -> Record:
    """Bytes of a draw, and what each network trained on it reaches on validation and on test."""
    with open_parts(options.runs, preset, torch.device("cpu"), lambda *_: None, lambda: None) as parts:
        assert parts.val is not None, "no validation recordings are held out"
        stored = drawn(parts.train, options, draw, "draw")
        recipe = recipe_of(preset.evaluation, options.model, torch.float32, None)
        found: Record = {"bytes": stored.nbytes, "val": [], "test": []}
        for number in range(options.networks):
            network = train_network(stored.decode(), recipe, network_seed(0, "final", number))
            for name, real in (("val", parts.val), ("test", parts.test)):
                outcome = evaluate_network(network, real, torch.float32, protocol=recipe.protocol)
                found[name].append(outcome.top1)
        return found


def table(records: list[Record]) -> None:
    """Print a row for each draw, the correlations over draws, and what the best on validation reaches on test."""
    mean = {name: [100 * statistics.fmean(one[name]) for one in records] for name in ("val", "test")}
    lines = ["| draw | bytes | validation | test |", "|---|---|---|---|"]
    lines += [
        f"| {one['key']['draw']} | {one['bytes']:,} | {val:.1f} % | {test:.1f} % |"
        for one, val, test in zip(records, mean["val"], mean["test"], strict=True)
    ]
    lines.append(f"| all | | {spread(mean['val'])} % | {spread(mean['test'])} % |")
    if len(records) > 2:
        networks = range(min(len(one["test"]) for one in records))
        own = [statistics.correlation(*([one["test"][k] for one in records] for k in pair))
               for pair in itertools.combinations(networks, 2)]  # fmt: skip
        lines.append(f"\nCorrelation over draws of validation and test: {statistics.correlation(*mean.values()):.2f}")
        lines += [f"Of one network and another, on test: {statistics.fmean(own):.2f}"] if own else []
        best = max(range(len(records)), key=lambda place: mean["val"][place])
        lines.append(f"The best on validation reaches {mean['test'][best]:.1f} % on test")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
