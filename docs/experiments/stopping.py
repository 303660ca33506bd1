"""What is lost where networks that choose stop early, and what it saves: the tables of stopping.md.

    vdtui prepare ucf101 --source UCF10 --output ucf64.h5 --frames 8 --size 64
    python docs/experiments/stopping.py --data ucf64.h5 --runs RUNS --protocols strict strict-strong

A cell is a set of stills and a protocol: three networks of the seeds that choose are trained on the set for all
epochs, each once, and tested on the validation clips twice or more: as they are when the loss of an epoch is first at
most each of `--shares` of a guess's, and at the end. Learning rates, draws and order are those of the whole training,
as they are where a network stops. `real HOW N SEED` are N random real clips of each class through a codec, `mean` is
the mean frame of each class, and `learned STEPS` are stills of the preset `stills` after so many steps. None has seen
the validation clips, which are held out by run seed 0. A finished cell is a line of RUNS/stopping.jsonl, and is not run
again.

The first table is of networks: what they saved (epochs; seconds of the processor, tests included), how far stopping
moved their accuracies, and how far those of one set lie apart. The second is of choices: how the order of the sets by
stopped networks agrees with that by whole ones (Kendall's tau-b), and what is lost, on the whole networks' scale, by
taking the set that they say is best, of all or of each pair. Two of the three whole networks stand beside them.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from cells import Record, answered, to_the_table
from objectives import free

from engine import load_preset
from engine.config import Preset
from engine.evaluation import Recipe, evaluate_network, training
from engine.evaluation.judge import Judge
from engine.evaluation.parts import Parts, open_parts
from engine.evaluation.stopping import STOPS, StoppingRule
from engine.models import Network
from engine.models.precision import deterministic
from engine.runs.new import new_run
from engine.seeds import generator
from engine.synthetic import Start, SyntheticSet, encode_set, load_set
from engine.synthetic.compressed import compressed_clips
from engine.synthetic.still import StillVideo

MODEL = "convnet3d_collapsed"
SETS = (
    "mean",
    *(f"real av1-10:repeat1 1 {seed}" for seed in range(4)),
    *(f"real av1-10@16:repeat1 1 {seed}" for seed in (4, 5)),
    *(f"real av1-10@half:repeat1 3 {seed}" for seed in range(6, 9)),
    "learned 30",
    "learned 300",
)
PILOT = ("real av1-10:repeat1 1 100", "real av1-10@16:repeat1 1 101", "real av1-10@half:repeat1 3 102")
"""Sets by which the share was settled; they are in no other table."""
BATCH = {"strict": 4, "strict-strong": 8}
EPOCHS = 60
"""Epochs of `strict`."""
STEPS = 1500
"""Training steps of `strict-strong`, whatever the number of clips."""
UNBOUNDED = 1 << 62


def main() -> None:
    """Measure the cells that are not there yet, and print the tables."""
    options = arguments()
    asked: list[tuple[Record, tuple[Any, ...]]] = []
    sets = PILOT if options.pilot else SETS[: options.sets]
    shares = sorted(options.shares, reverse=True)
    for protocol, name, data in itertools.product(options.protocols, sets, options.data):
        key = {"data": data.name, "set": name, "protocol": protocol, "shares": shares, "networks": options.networks}
        asked.append((key, (name, data, options.runs, protocol, shares, options.networks)))
    options.runs.mkdir(parents=True, exist_ok=True)
    records = answered(asked, measure, options.runs / "stopping.jsonl", options.workers)
    for share in shares:
        print(f"\nshare {share:g}\n")  # noqa: T201
        tables(records, f"{share:g}")


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="clips files of `vdtui prepare`")
    parser.add_argument("--runs", type=Path, default=Path("runs-stopping"), help="folder of the runs and of the cells")
    parser.add_argument("--protocols", nargs="+", choices=BATCH, default=["strict"])
    parser.add_argument("--shares", type=float, nargs="+", default=[STOPS["learned"].share], help="of a guess's loss")
    parser.add_argument("--pilot", action="store_true", help="the sets by which the share was settled")
    parser.add_argument("--sets", type=int, default=len(SETS), help="the first so many of them")
    parser.add_argument("--networks", type=int, default=3, help="networks of each set")
    parser.add_argument("--workers", type=int, default=1, help="cells at once, in a process each")
    return parser.parse_args()


def measure(name: str, data: Path, runs: Path, protocol: str, shares: list[float], networks: int) -> Record:
    """One cell: of each network the course of its loss, and its accuracy at each share and at the end."""
    preset = preset_of(data, [f"evaluation.protocol={protocol}", f"evaluation.batch={BATCH[protocol]}"])
    with deterministic(), open_parts(runs, preset, torch.device("cpu"), lambda *_: None, lambda: None) as parts:
        synthetic = set_of(name, parts, data, runs)
        judge = Judge.of(preset, parts.train, torch.float32, runs)
        recipe = judge.recipe(MODEL, "selection")
        batches = math.ceil(training.instances(synthetic) / recipe.batch)
        recipe = dataclasses.replace(recipe, epochs=EPOCHS if protocol == "strict" else round(STEPS / batches))
        found = [network(synthetic, parts, recipe, seed, shares) for seed in judge.seeds("selection", networks)]
    return {"epochs": recipe.epochs, "batches": batches, "networks": found}


def preset_of(data: Path, changes: list[str]) -> Preset:
    """The preset `stills` on ``data``, with the training that these experiments have."""
    fixed = ["dataset.frames=8", "dataset.size=64", "run.seed=0", f"evaluation.models=['{MODEL}']"]
    return load_preset("stills", [*fixed, f"dataset.path={data.resolve()}", *changes])


def set_of(name: str, parts: Parts, data: Path, runs: Path) -> SyntheticSet:
    """The set ``name``, as it comes out of its file."""
    kind, *details = name.split()
    if kind == "real":
        how, number, seed = details[0], int(details[1]), int(details[2])
        labels = range(len(parts.spec.classes))
        order = [parts.train.pick(label, number, generator(seed, "stopping", label)) for label in labels]
        return compressed_clips(parts.train, UNBOUNDED, order, how).decode()
    if kind == "mean":
        still = StillVideo(parts.spec, 1, Start(parts.preset, parts.train).mean_frames().unsqueeze(1))
        return encode_set(still, "av1-10").decode()
    preset = preset_of(data, [f"static.steps={details[0]}", "static.checkpoint_every=100000"])
    folder = f"{data.stem}-learned-{details[0]}"
    if not (runs / folder).is_dir():
        to_the_table(new_run(preset, data, runs, free(runs, folder), "cell", sys.argv))
    return load_set(runs / folder / "synthetic" / "best.vds").synthetic


@dataclasses.dataclass(frozen=True)
class Looking(StoppingRule):
    """A rule that ends no training, and calls ``look`` with the loss of each epoch, as a part of a guess's."""

    look: Callable[[float], None] = lambda part: None

    def ends(self, loss: float, guess: float) -> bool:
        """Look, and go on."""
        self.look(loss / guess)
        return False


def network(synthetic: SyntheticSet, parts: Parts, recipe: Recipe, seed: int, shares: list[float]) -> Record:
    """Train one network for all epochs, and test it whenever its loss first reaches one of ``shares``."""
    real = parts.val
    assert real is not None
    made: list[Network] = []
    course: list[float] = []
    stops: dict[str, Record] = {}
    testing = 0.0

    def kept(*details: Any) -> Network:
        made.append(make(*details))
        return made[-1]

    def top1(of: Network) -> float:
        return evaluate_network(of.eval(), real, recipe.precision, protocol=recipe.protocol).top1

    def look(part: float) -> None:
        nonlocal testing
        course.append(part)
        now = time.process_time()
        reached = [share for share in shares if part <= share and f"{share:g}" not in stops]
        if reached:
            found = top1(copy.deepcopy(made[-1]))
            stopped = {"epochs": len(course), "top1": found, "seconds": round(now - began - testing, 2)}
            stops.update({f"{share:g}": stopped for share in reached})
        testing += time.process_time() - now

    make = training.video_model
    began = time.process_time()
    looking = dataclasses.replace(recipe, stop=Looking("looking", 1, 0.0, look))
    with mock.patch.object(training, "video_model", kept):
        whole = training.fit(synthetic, looking, seed).network
    seconds = time.process_time() - began - testing
    end = time.process_time()
    accuracy = top1(whole)
    return {
        "seed": seed,
        "top1": accuracy,
        "seconds": round(seconds, 2),
        "test_seconds": round(time.process_time() - end, 2),
        "stops": stops,
        "course": [float(f"{part:.3g}") for part in course],
    }


# --- the tables ------------------------------------------------------------------------------------------------------

Cells = list[Record]


def tables(records: Cells, share: str) -> None:
    """Print the two tables, a row or two for each data set and protocol."""
    groups: dict[tuple[str, str], Cells] = {}
    for record in records:
        groups.setdefault((record["key"]["data"], record["key"]["protocol"]), []).append(record)
    columns = ("data", "protocol", "stopped", "epochs saved", "time saved", "moved", "its size", "networks of a set")
    print("| " + " | ".join(columns) + " |\n|" + len(columns) * "---|")  # noqa: T201
    for names, cells in groups.items():
        print("| " + " | ".join([*names, *of_networks(cells, share)]) + " |")  # noqa: T201
    columns = (
        "data",
        "protocol",
        "sets",
        "chosen by",
        "tau-b",
        "points lost",
        "pairs as by all",
        "points lost in pairs",
    )
    print("\n| " + " | ".join(columns) + " |\n|" + len(columns) * "---|")  # noqa: T201
    for names, cells in groups.items():
        ways = {"stopped networks": [mean(at_stop(cell, one, share) for one in cell["networks"]) for cell in cells]}
        if all(len(cell["networks"]) > 2 for cell in cells):
            ways["two of the whole ones"] = [mean(cell["networks"][:2]) for cell in cells]
        for way, found in ways.items():
            choices = of_choices([mean(cell["networks"]) for cell in cells], found)
            print("| " + " | ".join([*names, str(len(cells)), way, *choices]) + " |")  # noqa: T201
    sys.stdout.flush()


def of_networks(cells: Cells, share: str) -> list[str]:
    """How many networks stopped, what they saved, how far stopping moved them, and how far those of a set differ."""
    pairs = [(cell, one, at_stop(cell, one, share)) for cell in cells for one in cell["networks"]]
    saved = [1 - stop["epochs"] / cell["epochs"] for cell, _, stop in pairs]
    whole = sum(one["seconds"] + one["test_seconds"] for _, one, _ in pairs)
    stopped = sum(stop["seconds"] + one["test_seconds"] for _, one, stop in pairs)
    moved = [100 * (stop["top1"] - one["top1"]) for _, one, stop in pairs]
    several = [[100 * one["top1"] for one in cell["networks"]] for cell in cells if len(cell["networks"]) > 1]
    spreads = [statistics.variance(values) for values in several]
    return [
        f"{sum(share in one['stops'] for _, one, _ in pairs)} of {len(pairs)}",
        f"{100 * statistics.fmean(saved):.0f} %",
        f"{100 * (1 - stopped / whole):.0f} %",
        f"{statistics.fmean(moved):+.1f} +- {statistics.stdev(moved):.1f}",
        f"{statistics.fmean(map(abs, moved)):.1f}",
        f"+- {math.sqrt(statistics.fmean(spreads)):.1f}" if spreads else "",
    ]


def at_stop(cell: Record, one: Record, share: str) -> Record:
    """The network where it stopped, or at the end."""
    whole = {"epochs": cell["epochs"], "top1": one["top1"], "seconds": one["seconds"]}
    found: Record = one["stops"].get(share, whole)
    return found


def mean(networks: Iterable[Record]) -> float:
    """The mean top-1 of networks, in per cent."""
    return 100 * statistics.fmean(one["top1"] for one in networks)


def of_choices(whole: list[float], by: list[float]) -> list[str]:
    """How the order of sets ``by`` some networks agrees with that by all ``whole`` ones, and what a choice loses."""
    sets = list(zip(whole, by, strict=True))
    pairs = list(itertools.combinations(sets, 2))
    same = sum(lost(pair) == 0 for pair in pairs)
    return [
        f"{tau(pairs):.2f}",
        f"{lost(sets):.1f}",
        f"{same} of {len(pairs)}",
        f"{statistics.fmean(map(lost, pairs)):.2f}",
    ]


def lost(sets: Sequence[tuple[float, float]]) -> float:
    """The points by which the whole networks of the chosen set, of equals the first, fall short of the best."""
    chosen = max(sets, key=lambda one: one[1])
    return max(whole for whole, _ in sets) - chosen[0]


def tau(pairs: list[tuple[tuple[float, float], tuple[float, float]]]) -> float:
    """Kendall's tau-b, in which sets that are equal by one of both count for neither order; NaN if all are."""

    def sign(difference: float) -> int:
        return (difference > 1e-9) - (difference < -1e-9)

    signs = [(sign(a[0] - b[0]), sign(a[1] - b[1])) for a, b in pairs]
    untied = math.sqrt(math.prod(sum(both[k] != 0 for both in signs) for k in (0, 1)))
    return sum(a * b for a, b in signs) / untied if untied else math.nan


if __name__ == "__main__":
    main()
