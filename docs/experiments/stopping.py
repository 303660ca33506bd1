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

The first table is of networks, the second of choices: how the order of the sets by stopped networks agrees with that by
whole ones (Kendall's tau-b), and what is lost, on the whole networks' scale, by taking the best set of the stopped ones
out of all, and out of each pair.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from cells import Record, answered, to_the_table
from objectives import free

from engine import load_preset
from engine.config import Preset
from engine.evaluation import Recipe, evaluate_network, training
from engine.evaluation.judge import Judge, networks_folder
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
        judge = Judge(preset.evaluation, parts.train, preset.run.seed, torch.float32, networks_folder(runs))
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


@dataclasses.dataclass(frozen=True)
class Judged:
    """A set by its whole networks and by its stopped ones: mean top-1 in per cent."""

    whole: float
    stopped: float


def tables(records: list[Record], share: str) -> None:
    """Print a row for each data set and protocol, of its networks and of choices among its sets."""
    columns = (
        "data",
        "protocol",
        "sets",
        "networks that stopped",
        "epochs saved",
        "time saved",
        "top-1, whole less stopped",
    )
    columns += ("mean of absolute differences", "tau-b of sets", "the best one is the best", "points lost", "in pairs")
    print("| " + " | ".join(columns) + " |\n|" + len(columns) * "---|")  # noqa: T201
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record["key"]["data"], record["key"]["protocol"]), []).append(record)
    for (data, protocol), cells in groups.items():
        shown = [data, protocol, str(len(cells)), *of_networks(cells, share), *of_choices(cells, share)]
        print("| " + " | ".join(shown) + " |")  # noqa: T201
    sys.stdout.flush()


def of_networks(cells: list[Record], share: str) -> list[str]:
    """How many networks stopped, what they saved, and how their accuracies moved afterwards, in points."""
    pairs = [(cell, one, at_stop(cell, one, share)) for cell in cells for one in cell["networks"]]
    saved = [1 - stop["epochs"] / cell["epochs"] for cell, _, stop in pairs]
    whole = sum(one["seconds"] + one["test_seconds"] for _, one, _ in pairs)
    stopped = sum(stop["seconds"] + one["test_seconds"] for _, one, stop in pairs)
    moved = [100 * (one["top1"] - stop["top1"]) for _, one, stop in pairs]
    deviation = statistics.stdev(moved)
    return [
        f"{sum(share in one['stops'] for _, one, _ in pairs)} of {len(pairs)}",
        f"{100 * statistics.fmean(saved):.0f} %",
        f"{100 * (1 - stopped / whole):.0f} %",
        f"{statistics.fmean(moved):+.1f} +- {deviation:.1f}",
        f"{statistics.fmean(map(abs, moved)):.1f}",
    ]


def at_stop(cell: Record, one: Record, share: str) -> Record:
    """The network where it stopped, or at the end."""
    whole = {"epochs": cell["epochs"], "top1": one["top1"], "seconds": one["seconds"]}
    found: Record = one["stops"].get(share, whole)
    return found


def of_choices(cells: list[Record], share: str) -> list[str]:
    """How the order of sets by stopped networks agrees with that by whole ones, and what a choice by them loses."""
    sets = [
        Judged(
            100 * statistics.fmean(one["top1"] for one in cell["networks"]),
            100 * statistics.fmean(at_stop(cell, one, share)["top1"] for one in cell["networks"]),
        )
        for cell in cells
    ]
    pairs = list(itertools.combinations(sets, 2))
    same = sum(lost(pair) == 0 for pair in pairs)
    return [
        f"{tau(pairs):.2f}",
        "yes" if lost(sets) == 0 else "no",
        f"{lost(sets):.1f}",
        f"{same} of {len(pairs)} as by whole ones, {statistics.fmean(map(lost, pairs)):.2f} points lost",
    ]


def lost(sets: Any) -> float:
    """The points by which whole networks of the set that stopped ones choose, the first of equals, fall short."""
    chosen = max(sets, key=lambda one: one.stopped)
    return max(one.whole for one in sets) - chosen.whole


def tau(pairs: list[tuple[Judged, Judged]]) -> float:
    """Kendall's tau-b, in which sets that are equal by one of both count for neither order."""

    def sign(difference: float) -> int:
        return (difference > 1e-9) - (difference < -1e-9)

    signs = [(sign(a.whole - b.whole), sign(a.stopped - b.stopped)) for a, b in pairs]
    untied = math.sqrt(math.prod(sum(both[k] != 0 for both in signs) for k in (0, 1)))
    return sum(a * b for a, b in signs) / untied


if __name__ == "__main__":
    main()
