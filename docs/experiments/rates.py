"""The search of rates: what stage 2 makes of a start under each setting, judged on validation clips only.

    python docs/experiments/rates.py --data FILE.h5 --preset default --vary dynamic.lr_dynamic=0.003,0.01,0.03 \
        --set dynamic.steps=100 --set dynamic.eval_every=50 --seeds 0 1

Each cell is a run that ends before its final table, so the test split is not touched. Cells of one seed are paired:
they have the same start, validation clips and networks; a start that a cell shares with one before it is judged once,
and experts of trajectory matching are trained once per seed. A finished cell is one line of the file `--output`, and
is not run again: interrupt it at will, and start it again with the same options. `gain` is the mean over seeds of the
accuracy at the last step less that at step 0, its +- the sample standard deviation over seeds. With `--workers` cells
share a GPU, or the cores.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from cells import Record, answered, to_the_table

from engine import load_preset
from engine.config import Preset
from engine.events import Evaluated, Event, Step
from engine.runs.new import new_run


def main() -> None:
    """Run the cells that are not in the output yet, and print the table."""
    options = arguments()
    names = [text.partition("=")[0] for text in options.vary]
    values = [text.partition("=")[2].split(",") for text in options.vary]
    common = {"data": options.data.name, "preset": options.preset, "set": options.set}
    with tempfile.TemporaryDirectory() as runs:
        asked = []
        for chosen, seed in itertools.product(itertools.product(*values), options.seeds):
            setting = [f"{name}={value}" for name, value in zip(names, chosen, strict=True)]
            preset = load_preset(options.preset, [*options.set, *setting, f"run.seed={seed}"])
            asked.append((common | {"setting": setting, "seed": seed}, (preset, options.data, Path(runs))))
        table(answered(asked, measure, options.output, options.workers))


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="clips file of `vdtui prepare`")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--vary", action="append", default=[], metavar="KEY=V1,V2", help="all combinations are tried")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="overrides of every cell")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("rates.jsonl"), help="finished cells, JSON lines")
    parser.add_argument("--workers", type=int, default=1, help="cells at once, in a process each")
    return parser.parse_args()


def measure(preset: Preset, data: Path, runs: Path) -> Record:
    """One cell: accuracies on validation by step, last losses, and what a step costs."""
    accuracy: dict[int, float] = {}
    losses: list[float] = []
    spent: list[float] = []
    before, began = time.process_time(), time.monotonic()
    run = new_run(preset, data, runs, None, "cell", sys.argv)

    def listen(event: Event) -> None:
        nonlocal before
        if isinstance(event, Step) and event.stage == "dynamic":
            losses.append(event.loss)
            spent.append(time.process_time() - before)
        if isinstance(event, Evaluated) and event.split == "val":
            accuracy[event.step] = event.mean
        before = time.process_time()

    # Networks of step 0 that another cell has trained; one counts only if it saw the very same set.
    starts = runs / ".data" / "starts"
    starts.mkdir(parents=True, exist_ok=True)
    shutil.copytree(starts, run.evaluations, dirs_exist_ok=True)
    to_the_table(run, listen)
    for file in run.evaluations.glob("*-000000-*.json"):
        os.replace(file, starts / file.name)
    shutil.rmtree(run.path)
    return {
        "accuracy": accuracy,
        # Without steps (of stage 2: what stage 1 does to the start) there is neither loss nor cost.
        "first_loss": statistics.fmean(losses[: max(1, len(losses) // 10)] or [math.nan]),
        "last_loss": statistics.fmean(losses[-max(1, len(losses) // 10) :] or [math.nan]),
        "cpu_seconds_per_step": statistics.fmean(spent or [math.nan]),
        "seconds": round(time.monotonic() - began, 1),
    }


def table(records: list[Record]) -> None:
    """Print one line per setting."""
    by_setting: dict[str, list[Record]] = {}
    for record in records:
        by_setting.setdefault(" ".join(record["key"]["setting"]), []).append(record)
    print(f"{'setting':60} seeds  start    best     end      gain             loss first, last   CPU s/step")  # noqa: T201
    for name, own in by_setting.items():
        courses = [{int(step): value for step, value in record["accuracy"].items()} for record in own]
        starts, ends = ([course[pick(course)] for course in courses] for pick in (min, max))
        gains = [end - start for start, end in zip(starts, ends, strict=True)]
        spread = statistics.stdev(gains) if len(gains) > 1 else 0.0
        best = statistics.fmean(max(course.values()) for course in courses)
        means = {key: statistics.fmean(r[key] for r in own) for key in ("first_loss", "last_loss")}
        cost = statistics.fmean(record["cpu_seconds_per_step"] for record in own)
        print(  # noqa: T201
            f"{name:60} {len(own):5} {100 * statistics.fmean(starts):6.1f} % {100 * best:6.1f} % "
            f"{100 * statistics.fmean(ends):6.1f} % {100 * statistics.fmean(gains):+6.1f} +- {100 * spread:4.1f} "
            f"{means['first_loss']:12.4g} {means['last_loss']:12.4g} {cost:8.2f}"
        )


if __name__ == "__main__":
    main()
