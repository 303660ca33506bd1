"""What a bank of targets does to distribution matching: seconds per step, fit and accuracy, beside plain DM.

    python docs/experiments/target_bank.py --data FILE.h5 --steps 500 --seeds 0 1 2 --banks 30 100 --renew 0 10

Each cell is a run of its own: plain DM, and each size of the bank with each rate of renewal (`dynamic.dm.bank`,
`dynamic.dm.renew_every`), with each seed. Cells of one seed are paired: the same start, validation clips and networks
of the evaluation. A finished cell is one line of the file `--output`, and is not run again: interrupt it at will, and
start it again with the same options. Every cell learns its static memory anew, which `--set static.steps=0` (real
frames) or a preset of pixels spares. Losses of plain DM and of banks cannot be compared with each other: one is
against means of a few clips, the other against networks that are met again. So the finished set is also judged by
networks that no run has met, against the means of all training clips (columns fresh loss: at the start, at the end);
the distance between a bank's own loss and that is how far it was overfitted.

Seconds are of the processor (all its threads: set OMP_NUM_THREADS=1 where other work runs beside), from event to
event, without evaluations, previews and checkpoints; `median` is the usual step, `mean` has the steps in which targets
were computed too.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from cells import Record, answered, spread

from engine import load_preset, load_synthetic, run_distillation
from engine.config import Preset
from engine.data.batches import RealClips
from engine.data.spec import ClipSpec
from engine.data.store import ClipStore
from engine.evaluation.parts import train_and_val
from engine.events import BestChanged, Evaluated, Event, Step
from engine.matching import Setting
from engine.matching.bank import Schedule, TargetBank
from engine.matching.distribution import DistributionMatching
from engine.models import choose_device, choose_precision, video_model
from engine.models.precision import deterministic
from engine.seeds import derive
from engine.synthetic import SyntheticSet


def main() -> None:
    """Run the cells that are not in the output yet, and print the table."""
    options = arguments()
    asked = [
        ({"seed": seed, "setting": setting, "options": described(options)}, (options, seed, setting))
        for seed, setting in itertools.product(options.seeds, settings(options))
    ]
    table(answered(asked, measure, options.output, options.workers), settings(options))


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="clips file of `vdtui prepare`")
    parser.add_argument("--preset", default="default", help="its dynamic.objective must be dm")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="overrides of every cell")
    parser.add_argument("--steps", type=int, default=500, help="steps of stage 2")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--banks", type=int, nargs="*", default=[30, 100, 300], help="networks in the bank")
    parser.add_argument("--renew", type=int, nargs="*", default=[0, 1, 10], help="steps between renewals; 0: never")
    parser.add_argument("--bank-clips", type=int, nargs="*", default=[0], help="clips per class and network; 0: all")
    parser.add_argument("--epochs", type=int, default=100, help="of the evaluation on validation clips")
    parser.add_argument("--repeats", type=int, default=3, help="networks of the evaluation")
    parser.add_argument("--fresh", type=int, default=10, help="networks that no run has met, for the fresh loss")
    parser.add_argument("--output", type=Path, default=Path("target_bank.jsonl"), help="finished cells, JSON lines")
    parser.add_argument("--runs-dir", type=Path, help="keeps the runs; otherwise they are thrown away")
    parser.add_argument("--workers", type=int, default=1, help="cells at once, in a process each")
    return parser.parse_args()


def settings(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The tables [dynamic.dm] to compare; the first is plain DM."""
    banks = itertools.product(options.banks, options.renew, options.bank_clips)
    return [
        {"target": "batch"},
        *({"target": "bank", "bank": bank, "renew_every": renew, "bank_clips": clips} for bank, renew, clips in banks),
    ]


def described(options: argparse.Namespace) -> dict[str, Any]:
    """What cells must have in common to stand in one table."""
    names = ("preset", "set", "steps", "epochs", "repeats", "fresh")
    return {"data": options.data.name} | {name: getattr(options, name) for name in names}


def name_of(setting: dict[str, Any]) -> str:
    """A setting in a word or two."""
    if setting["target"] == "batch":
        return "batch"
    renewed = f"renewed every {setting['renew_every']}" if setting["renew_every"] else "never renewed"
    clips = f", {setting['bank_clips']} clips" if setting["bank_clips"] else ""
    return f"bank {setting['bank']}, {renewed}{clips}"


def preset_of(options: argparse.Namespace, seed: int, setting: dict[str, Any]) -> Preset:
    """The preset of a cell: its iteration is not chosen, and its final table is as small as one can be."""
    overrides = [
        f"dynamic.steps={options.steps}",
        f"dynamic.eval_every={options.steps}",
        f"dynamic.checkpoint_every={options.steps}",
        f"evaluation.epochs={options.epochs}",
        f"evaluation.selection_repeats={options.repeats}",
        "evaluation.repeats=1",
        *options.set,
        f"run.seed={seed}",
        *(f"dynamic.dm.{key}={value}" for key, value in setting.items()),
    ]
    return load_preset(options.preset, overrides)


# --- one cell --------------------------------------------------------------------------------------------------------


class Watch:
    """Takes the time of every step of stage 2, keeps what the run in ``folder`` says of it, and its start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start = b""
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self.accuracy: dict[int, float] = {}
        self.fills = 0.0
        self._before = time.process_time()

    def __call__(self, event: Event) -> None:
        now = time.process_time()
        if isinstance(event, Step) and event.stage == "dynamic":
            self.seconds.append(now - self._before)
            self.losses.append(event.loss)
            self.fills = event.figures.get("bank_fills", 0.0)
        if isinstance(event, Evaluated) and event.split == "val":
            self.accuracy[event.step] = event.mean
        if isinstance(event, BestChanged) and event.step == 0:
            self.start = next(self.folder.rglob("best.safetensors")).read_bytes()
        self._before = time.process_time()


def measure(options: argparse.Namespace, seed: int, setting: dict[str, Any]) -> Record:
    """Run one cell: everything that the table needs of it."""
    preset = preset_of(options, seed, setting)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.runs_dir or scratch) / f"{seed}-{name_of(setting).replace(' ', '-')}"
        watch = Watch(folder)
        run = run_distillation(preset, options.data, runs_dir=folder, on_event=watch)
        if options.steps not in watch.accuracy:
            sys.exit("There are no validation clips to judge by: give data or a preset that has some.")
        with deterministic():
            fresh = fresh_loss(options, preset, run.last)
            start = Path(scratch) / "start.safetensors"
            start.write_bytes(watch.start)
            start_fresh = fresh_loss(options, preset, start)
    tail = watch.losses[-max(1, len(watch.losses) // 10) :]
    return {
        "mean_seconds": statistics.fmean(watch.seconds),
        "median_seconds": statistics.median(watch.seconds),
        "fills": watch.fills,
        "loss": statistics.fmean(tail),
        "fresh_loss": fresh,
        "start_fresh_loss": start_fresh,
        "accuracy": watch.accuracy[options.steps],
        "start_accuracy": watch.accuracy[0],
    }


def fresh_loss(options: argparse.Namespace, preset: Preset, path: Path) -> float:
    """The loss of the set ``path`` by networks that no run has met, against all training clips: the mean over them."""
    device = choose_device(preset.run.device)
    with ClipStore.open(options.data) as store:
        spec = ClipSpec(store.classes, store.frames, store.height, store.width, store.mean, store.std)
        real = RealClips(train_and_val(store, preset)[0], spec, device).keep_on_device()
        model, seed = preset.evaluation.models[0], preset.run.seed
        setting = Setting(
            real,
            lambda number: video_model(
                model, len(spec.classes), spec.frames, spec.height, derive(seed, "fresh-network", number), device
            ),
            derive(seed, "fresh"),
            choose_precision(preset.run.precision, device),
        )
        # One member, renewed at every step: step k has network k.
        bank = TargetBank(setting, Schedule(setting.seed, 1, 1))
        objective = DistributionMatching(setting, preset.dynamic.batch_real, bank=bank)
        return mean_loss(objective, load_synthetic(path, device), options.fresh)


@torch.no_grad()
def mean_loss(objective: DistributionMatching, synthetic: SyntheticSet, steps: int) -> float:
    """The mean of the loss over ``steps`` steps that change nothing."""
    return statistics.fmean(objective.loss(synthetic, step).item() for step in range(steps))


# --- the table ------------------------------------------------------------------------------------------------------


def table(records: list[Record], wanted: list[dict[str, Any]]) -> None:
    """One row per setting: means over the seeds; accuracies with their standard deviation, and paired with plain DM."""
    columns = ("setting", "seeds", "CPU s/step median", "mean", "fills", "loss", "fresh loss: start", "end")
    print("| " + " | ".join([*columns, "top-1 val %: start", "end", "less plain DM's"]) + " |")  # noqa: T201
    print("|" + 11 * "---|")  # noqa: T201
    plain = {record["key"]["seed"]: record for record in records if record["key"]["setting"] == wanted[0]}
    for setting in wanted:
        own = [record for record in records if record["key"]["setting"] == setting]
        if own:
            print("| " + " | ".join([name_of(setting), *cells(own, plain)]) + " |", flush=True)  # noqa: T201


def cells(own: list[Record], plain: dict[int, Record]) -> list[str]:
    """What stands in a row."""
    named = ("median_seconds", "mean_seconds", "fills", "loss", "start_fresh_loss", "fresh_loss")
    median, mean, fills, loss, start, fresh = (statistics.fmean(record[name] for record in own) for name in named)
    pairs = [(record, plain[record["key"]["seed"]]) for record in own if record["key"]["seed"] in plain]
    return [
        str(len(own)),
        f"{median:.3f}",
        f"{mean:.3f}",
        f"{fills:.1f}",
        f"{loss:.4g}",
        f"{start:.4g}",
        f"{fresh:.4g}",
        spread([100 * record["start_accuracy"] for record in own]),
        spread([100 * record["accuracy"] for record in own]),
        spread([100 * (record["accuracy"] - other["accuracy"]) for record, other in pairs]),
    ]


if __name__ == "__main__":
    main()
