"""Every objective on both parameterisations, beside its own start and beside random real clips: the accuracy table.

    vdtui prepare hmdb51 --source JHMDB --output jhmdb1.h5 --frames 8 --size 64
    python docs/experiments/objectives.py --data jhmdb1.h5 --runs RUNS --ipc 1 5 --seeds 0 1 2 --workers 8

A cell is `vdtui distill --preset hmdb51-ipcN-KIND --set ...` with the preset's own start, optimiser and rates, on the
frames and pixels of the data. Validation clips (whole recordings) choose the iteration, of which step 0 is one; the
chosen set, the last one and random real clips are judged on the test split by `--repeats` networks. A seed decides
which clips a set starts from, which are held out, and all networks, so kinds of one seed are paired; the table has the
mean and the sample standard deviation over seeds, each the mean of its networks. A finished cell is a line of
RUNS/objectives.jsonl, and is not run again. `--steps` shortens what the presets have, but for the published ones:
`--steps dm=100 mtt=10`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from cells import Record, answered, spread, to_the_table

from engine import load_preset
from engine.api import resume_distillation
from engine.config import Preset
from engine.evaluation.evaluate import evaluate, find_source
from engine.runs.new import new_run
from engine.synthetic import load_set

HALF = "synthetic.dynamic_size=32"
ONE_PAIR = ("synthetic.statics_per_instance=1", "synthetic.dynamics_per_instance=1")
TWO_PAIRS = ("synthetic.statics_per_instance=2", "synthetic.dynamics_per_instance=2")
STILL = (
    *("synthetic.kind=static-only", "synthetic.statics_per_instance=2", "static.init=frame", "static.steps=200"),
    *("static.objective=dc", "static.optimiser=sgd", "static.schedule=constant", "static.lr=0.1"),
)
ONE_STAGE = ("static.steps=0", "dynamic.init=residual", "storage.how=float32")
ONE_OF_TWO = (*ONE_STAGE, *TWO_PAIRS)
"""As `default` was until it had two stages."""
STILLS_BY_DM = (
    "static.objective=dm",
    "static.network=auto",
    "static.optimiser=whitened-adam",
    "static.schedule=cosine",
    "static.lr=0.15",
    "static.steps=300",
    "static.dm.target=bank",
    "static.dm.bank=10",
    "static.dm.renew_every=10",
    "static.dm.bank_frames=2",
)
LOW_RATE = (*ONE_PAIR, "storage.how=av1-10+h264-43@half")
TWO_STAGES = (*STILLS_BY_DM, "dynamic.init=motion", *LOW_RATE)
STAGE_1 = (*STILLS_BY_DM, "synthetic.kind=static-only", "synthetic.statics_per_instance=1", "storage.how=av1-10")

KINDS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    # kind: (memories, objective of the preset, kind of its start, overrides)
    "start": ("static-dynamic 2/2", "dm", "", (*ONE_OF_TWO, "dynamic.steps=0")),
    "start-1": ("static-dynamic 1/1", "dm", "", (*ONE_STAGE, *ONE_PAIR, "dynamic.steps=0")),
    "start-half": ("static-dynamic 2/2, half size", "dm", "", (*ONE_OF_TWO, "dynamic.steps=0", HALF)),
    "pixels-start": ("pixels", "pixels-dm", "", ("dynamic.steps=0",)),
    "static-start": ("static", "dm", "", (*STILL, "static.steps=0")),
    "static-dc": ("static", "dm", "static-start", STILL),
    "dm": ("static-dynamic 2/2", "dm", "start", ONE_OF_TWO),
    "dm-1": ("static-dynamic 1/1", "dm", "start-1", (*ONE_STAGE, *ONE_PAIR)),
    "dm-half": ("static-dynamic 2/2, half size", "dm", "start-half", (*ONE_OF_TWO, HALF)),
    "pixels-dm": ("pixels", "pixels-dm", "pixels-start", ()),
    # Two stages, beside stage 2 alone, in storages of some hundred bytes per class.
    "one-stage": ("static-dynamic 2/2, h264-35", "dm", "", (*ONE_OF_TWO, "storage.how=h264-35")),
    "one-stage-1": ("static-dynamic 1/1, low rate", "dm", "", (*ONE_STAGE, *LOW_RATE)),
    "stage-1": ("static, av1-10", "dm", "", STAGE_1),
    "two-stages-start": ("static-dynamic 1/1, low rate", "dm", "stage-1", (*TWO_STAGES, "dynamic.steps=0")),
    "two-stages-frozen": (
        "static-dynamic 1/1, low rate, statics frozen",
        "dm",
        "stage-1",
        (*TWO_STAGES, "dynamic.train_static=false"),
    ),
    "two-stages": ("static-dynamic 1/1, low rate", "dm", "stage-1", (*TWO_STAGES, "dynamic.train_static=true")),
    "mtt": ("static-dynamic 2/2", "mtt", "start", ONE_OF_TWO),
    "mtt-1": ("static-dynamic 1/1", "mtt", "start-1", (*ONE_STAGE, *ONE_PAIR)),
    "pixels-mtt": ("pixels", "pixels-mtt", "pixels-start", ()),
    # Sets with learned labels are judged by them, and so are their starts.
    "start-frepo": ("static-dynamic 1/1", "frepo", "", (*ONE_STAGE, "dynamic.steps=0")),
    "start-frepo-2": ("static-dynamic 2/2", "frepo", "", (*ONE_OF_TWO, "dynamic.steps=0")),
    "pixels-start-frepo": ("pixels", "pixels-frepo", "", ("dynamic.steps=0",)),
    "frepo": ("static-dynamic 1/1", "frepo", "start-frepo", ONE_STAGE),
    "frepo-2": ("static-dynamic 2/2", "frepo", "start-frepo-2", ONE_OF_TWO),
    "pixels-frepo": ("pixels", "pixels-frepo", "pixels-start-frepo", ()),
    "dynamic-only": ("dynamic 2", "ablation-dynamic-only", "", (TWO_PAIRS[1],)),
    "per-class": ("static-dynamic 2/2, hallucinator per class", "ablation-hallucinator-per-class", "start", ONE_OF_TWO),
    "fixed": ("static-dynamic 2/2, hallucinator fixed", "ablation-hallucinator-fixed", "start", ONE_OF_TWO),
    "frozen": ("static-dynamic 2/2, statics frozen", "ablation-static-frozen", "start", ONE_OF_TWO),
    "dm-published": ("static-dynamic 2/2", "dm-published", "", ()),
    "pixels-dm-published": ("pixels", "pixels-dm-published", "pixels-start", ()),
}


def main() -> None:
    """Run the cells that are not there yet, and print the table."""
    options = arguments()
    steps = dict(text.split("=") for text in options.steps)
    asked = []
    for ipc, seed, kind in itertools.product(options.ipc, options.seeds, options.kinds):
        preset = preset_of(options, kind, ipc, seed, steps)
        key = {"data": options.data.name, "kind": kind, "ipc": ipc, "seed": seed, "set": options.set, "steps": steps}
        asked.append((key, (preset, options.data, options.runs, f"{kind}-ipc{ipc}-seed{seed}")))
    options.runs.mkdir(parents=True, exist_ok=True)
    table(answered(asked, measure, options.runs / "objectives.jsonl", options.workers))


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="clips file of `vdtui prepare`")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs-objectives"), help="folder of the runs and of the cells"
    )
    parser.add_argument("--ipc", type=int, nargs="+", choices=(1, 5), default=[1, 5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help=" ".join(KINDS))
    parser.add_argument("--steps", nargs="*", default=[], metavar="OBJECTIVE=N", help="dm, mtt, frepo")
    parser.add_argument("--epochs", type=int, default=60, help="epochs of a network that evaluates a set")
    parser.add_argument("--batch", type=int, default=4, help="clips in its training step")
    parser.add_argument("--repeats", type=int, default=3, help="networks that evaluate a set")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="overrides of every cell")
    parser.add_argument("--workers", type=int, default=1, help="cells at once, in a process each")
    return parser.parse_args()


def preset_of(options: argparse.Namespace, kind: str, ipc: int, seed: int, steps: dict[str, str]) -> Preset:
    """The preset of a cell."""
    _, objective, _, changes = KINDS[kind]
    ablation = objective.startswith("ablation-")
    name = "dm" if ablation else objective.removeprefix("pixels-")
    overrides = [
        "dataset.frames=8",
        "dataset.size=64",
        "dynamic.checkpoint_every=100000",
        "static.checkpoint_every=100000",
        f"evaluation.epochs={options.epochs}",
        f"evaluation.batch={options.batch}",
        f"evaluation.repeats={options.repeats}",
        f"evaluation.selection_repeats={options.repeats}",
        *([f"dynamic.steps={steps[name]}", f"dynamic.eval_every={-(-int(steps[name]) // 2)}"] if name in steps else []),
        *([f"synthetic.ipc={ipc}"] if ablation else []),
        *options.set,
        *changes,
        f"run.seed={seed}",
    ]
    return load_preset(objective if ablation else f"hmdb51-ipc{ipc}-{objective}", overrides)


def measure(preset: Preset, data: Path, runs: Path, name: str) -> Record:
    """One cell: top-1 of the networks on the chosen set, and on the last one; bytes, seconds.

    Of `start`, which all seeds have, the run goes on to its whole table: random clips stand in that.
    """
    began = time.monotonic()
    run = new_run(preset, data, runs, free(runs, name), "cell", sys.argv)
    if name.startswith("start-ipc"):
        resume_distillation(run)
    else:
        to_the_table(run)
    found = run.folded()
    own = judged(run.best, preset, data, runs)
    random: Record = next((row for row in found.results if row["what"] == "random"), {})
    course = {point.step: point.mean for point in found.accuracies if point.split == "val"}
    chosen = load_set(run.best).provenance.step
    last = chosen if chosen == max(course, default=chosen) else max(course)
    return {
        "what": own["what"],
        "bytes": own["bytes"],
        "top1": own["top1"]["values"],
        "random": random["top1"]["values"] if random else [],
        "random_bytes": random.get("bytes", 0),
        "last": (own if last == chosen else judged(run.last, preset, data, runs))["top1"]["values"],
        "train_loss": own["train_loss"],
        "chosen": chosen,
        "val": course,
        "seconds": {stage.name: stage.seconds for stage in found.stages.values()},
        "all_seconds": round(time.monotonic() - began, 1),
        "loss": [found.losses["dynamic"].values[k] for k in (0, -1)] if "dynamic" in found.losses else [],
    }


def free(runs: Path, name: str) -> str:
    """``name``, or with a number: a cell that was cut off has left a run of that name behind."""
    names = itertools.chain([name], (f"{name}-again{k}" for k in itertools.count(1)))
    return next(one for one in names if not (runs / one).exists())


def judged(file: Path, preset: Preset, data: Path, runs: Path) -> dict[str, Any]:
    """The result on the test split of networks that are trained on the set in ``file``."""
    table = preset.evaluation
    names = ("epochs", "batch", "repeats", "protocol", "labels")
    changes = [f"evaluation.{name}={getattr(table, name)}" for name in names]
    changes.append(f"evaluation.models={json.dumps(table.models)}")
    source = find_source(str(file), runs, data, [*changes, f"run.seed={preset.run.seed}"])
    return next(iter(evaluate(source, runs)))


# --- the table -------------------------------------------------------------------------------------------------------


def table(records: list[Record]) -> None:
    """Print a row for each kind and IPC; gains are paired with the start of the same seed."""
    columns = (
        "IPC",
        "memories",
        "learned by",
        "bytes",
        "top-1 (chosen)",
        "gain on the start",
        "at the last step",
        "gain",
    )
    print("| " + " | ".join([*columns, "chosen steps", "val: start, last", "seconds"]) + " |")  # noqa: T201
    print("|" + 11 * "---|")  # noqa: T201
    by_cell = {(one["key"]["kind"], one["key"]["ipc"], one["key"]["seed"]): one for one in records}
    for ipc in sorted({one["key"]["ipc"] for one in records}):
        own = [one for one in records if one["key"]["ipc"] == ipc]
        drawn = {one["key"]["seed"]: one for one in own if one["random"]}
        if drawn:
            shown = spread([100 * statistics.fmean(one["random"]) for one in drawn.values()])
            size = next(iter(drawn.values()))["random_bytes"]
            print(f"| {ipc} | random real clips | | {size / 1e6:.2f} MB | {shown} % | | | | | | |")  # noqa: T201
        for kind, (memories, _, start, _) in KINDS.items():
            rows = [one for one in own if one["key"]["kind"] == kind]
            if rows:
                print("| " + " | ".join([str(ipc), memories, learned_by(kind), *cells(rows, start, by_cell)]) + " |")  # noqa: T201
    sys.stdout.flush()


def learned_by(kind: str) -> str:
    """The objective, in a word."""
    if kind == "static-dc":
        return "DC"
    if "start" in kind:
        return "start, labels of FRePo" if "frepo" in kind else "start"
    objective = KINDS[kind][1].removeprefix("pixels-")
    return "DM" if objective.startswith("ablation-") else objective.replace("-", ", ")


def cells(rows: list[Record], start: str, by_cell: dict[tuple[str, int, int], Record]) -> list[str]:
    """What stands in a row."""
    pairs = [(one, by_cell.get((start, one["key"]["ipc"], one["key"]["seed"]))) for one in rows]
    gains: dict[str, list[float]] = {"top1": [], "last": []}
    for one, begun in pairs:
        for name, found in gains.items():
            if begun is not None:
                found.append(100 * (statistics.fmean(one[name]) - statistics.fmean(begun["top1"])))
    courses = [{int(step): value for step, value in one["val"].items()} for one in rows]
    ends = [100 * statistics.fmean(course[pick(course)] for course in courses) for pick in (min, max) if all(courses)]
    return [
        f"{rows[0]['bytes'] / 1e6:.2f} MB",
        spread([100 * statistics.fmean(one["top1"]) for one in rows]) + " %",
        spread(gains["top1"], "+"),
        spread([100 * statistics.fmean(one["last"]) for one in rows]) + " %",
        spread(gains["last"], "+"),
        " ".join(str(one["chosen"]) for one in rows),
        ", ".join(f"{value:.1f}" for value in ends) + " %" if ends else "",
        f"{statistics.fmean(sum(one['seconds'].get(name) or 0 for name in ('static', 'dynamic')) for one in rows):.0f}",
    ]


if __name__ == "__main__":
    main()
