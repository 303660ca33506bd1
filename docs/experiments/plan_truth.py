"""How far `vdtui plan` is from the truth: eight presets at reduced size, planned and then run.

    python docs/experiments/plan_truth.py --data hmdb51-8x64.h5 [--clock processor] [--only dm mtt]

The clips file has the layout `hmdb51` (any classes, any size). Each preset is planned and run in processes of their
own, the plan first; with `--twice` it is planned again afterwards, and the mean of both is compared, so that a machine
that becomes slower counts for neither. Seconds begin with the start of the process, as a plan's do. Memory is the most
that the process and its children held together, as sampled ten times a second; pages of files, which are those of
libraries, count once, and not for each process that maps them. A finished preset is a line of the file `--output`, and
is not run again.

On a machine with other work on it seconds by the clock say nothing. With `--clock processor` plan and run are of one
thread, and all their seconds are of the processor: then the table tells whether the plan counts right, and not whether
cores are shared as it thinks. The start of a process is then in neither time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.machine.usage import MemoryPeak

SMALL = (
    'evaluation.models=["convnet3d_small"]',
    "evaluation.epochs=8",
    "evaluation.repeats=2",
    "evaluation.selection_repeats=1",
    'evaluation.baselines=["random"]',
    "dynamic.batch_real=16",
    "dynamic.checkpoint_every=10",
)
TRAJECTORIES = (
    "experts.number=2",
    "experts.epochs=4",
    "dynamic.mtt.max_start_epoch=2",
    "dynamic.mtt.expert_epochs=1",
    "dynamic.mtt.syn_steps=3",
)
COMPRESSED = ('evaluation.baselines=["random", "compressed-random"]',)
PRESETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "dm": ("hmdb51-ipc1-dm", ("dynamic.dm.target=batch", "dynamic.steps=12", "dynamic.eval_every=6")),
    "mtt": ("hmdb51-ipc1-mtt", (*TRAJECTORIES, "dynamic.steps=8", "dynamic.eval_every=4")),
    "pixels-dm": ("hmdb51-ipc1-pixels-dm", ("dynamic.steps=40", "dynamic.eval_every=20")),
    "frepo": ("hmdb51-ipc1-frepo", ("dynamic.steps=12", "dynamic.eval_every=6", "dynamic.frepo.batch_real=48")),
    "real clips": ("default", ("synthetic.kind=coreset", "selection.method=herding", "selection.epochs=2")),
    "ncfm": ("hmdb51-ipc1-ncfm", ("dynamic.steps=8", "dynamic.eval_every=4")),
    "static-dynamic": ("default", (*COMPRESSED, "dynamic.steps=40", "dynamic.eval_every=20")),
    "budget": ("default", ('storage.budget="2kB"', "dynamic.steps=40", "dynamic.eval_every=20")),
}


def main() -> None:
    """Plan and run the presets that are not in the output yet, and print the table."""
    options = arguments()
    if options.child:
        child(options)
        return
    done = {}
    if options.output.is_file():
        done = {one["name"]: one for one in map(json.loads, options.output.read_text().splitlines())}
    for name in options.only or PRESETS:
        if name not in done:
            done[name] = measured(options, name)
            with open(options.output, "a") as file:
                file.write(json.dumps(done[name]) + "\n")
    table([done[name] for name in options.only or PRESETS])


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="clips file of `vdtui prepare hmdb51`")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--only", nargs="*", choices=list(PRESETS), help="some of the presets")
    parser.add_argument("--twice", action="store_true", help="plan again after the run")
    parser.add_argument("--output", type=Path, default=Path("plan_truth.jsonl"), help="finished presets, JSON lines")
    parser.add_argument("--child", choices=["plan", "run"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Plan and run one preset."""
    with tempfile.TemporaryDirectory() as folder:
        order = ["plan", "run", *(["plan"] if options.twice else [])]
        answers = [(what, *asked(options, name, what, folder)) for what in order]
    plans = [(said, held) for what, said, held in answers if what == "plan"]
    (truth, held) = next((said, held) for what, said, held in answers if what == "run")
    return {"name": name, "plans": [said for said, _ in plans], "run": truth, "held": held}


def asked(options: argparse.Namespace, name: str, what: str, folder: str) -> tuple[dict[str, Any], int]:
    """Return what a child says, and the most memory in bytes that it and its children held."""
    command = [sys.executable, __file__, "--data", str(options.data), "--clock", options.clock, "--only", name]
    environment = dict(os.environ) | ({"OMP_NUM_THREADS": "1"} if options.clock == "processor" else {})
    process = subprocess.Popen(
        [*command, "--child", what, "--folder", folder, "--began", str(time.monotonic())],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    with MemoryPeak(process.pid) as peak:
        said, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{name}: the {what} ended with code {process.returncode}")
    return json.loads(said.splitlines()[-1]), peak.bytes


def child(options: argparse.Namespace) -> None:
    """Plan or run one preset, and print what was planned, or what it took."""
    if options.clock == "processor":
        time.monotonic = time.perf_counter = time.process_time
    from engine import load_preset
    from engine.data.store import ClipStore
    from engine.distilling.process import carry_out
    from engine.events import Event, StageFinished
    from engine.runs.new import new_run, with_data

    (name,) = options.only
    preset, changes = PRESETS[name]
    with ClipStore.open(options.data) as store:
        sizes = [f"dataset.frames={store.frames}", f"dataset.size={store.height}"]
    resolved = with_data(load_preset(preset, [*SMALL, *changes, *sizes]), options.data)
    if options.child == "plan":
        from engine.distilling.plan import plan

        print(json.dumps(dataclasses.asdict(plan(resolved))))  # noqa: T201
        return
    stages: dict[str, float] = {}

    def listen(event: Event) -> None:
        if isinstance(event, StageFinished):
            stages[event.stage] = event.seconds

    began = options.began
    if options.clock == "processor":
        import engine.distilling.stages  # noqa: F401 - the time of that is another process's in a plan

        began = time.monotonic()
    carry_out(new_run(resolved, None, options.folder, None, "run", ["plan_truth"]), listen)
    print(json.dumps({"seconds": time.monotonic() - began, "stages": stages}))  # noqa: T201


def table(records: list[dict[str, Any]]) -> None:
    """A row per preset: planned and true seconds and memory, and the stages that are most off."""
    print("| preset | planned s | true s | error % | planned MB | true MB | error % | stages: planned, true s |")  # noqa: T201
    print("|" + 8 * "---|")  # noqa: T201
    for record in records:
        plans = record["plans"]
        mean = sum(part["seconds"] for plan in plans for part in plan["parts"]) / len(plans)
        memory = sum(plan["memory_bytes"] for plan in plans) / len(plans)
        true, held = record["run"]["seconds"], record["held"]
        stages = []
        for stage, seconds in record["run"]["stages"].items():
            own = sum(part["seconds"] for plan in plans for part in plan["parts"] if part["stage"] == stage)
            stages.append(f"{stage} {own / len(plans):.1f}, {seconds:.1f}")
        cells = [record["name"], f"{mean:.1f}", f"{true:.1f}", f"{100 * (mean / true - 1):+.0f}"]
        cells += [f"{memory / 1e6:,.0f}", f"{held / 1e6:,.0f}", f"{100 * (memory / held - 1):+.0f}"]
        print("| " + " | ".join([*cells, "; ".join(stages)]) + " |")  # noqa: T201


if __name__ == "__main__":
    main()
