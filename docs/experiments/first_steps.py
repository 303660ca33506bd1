"""Whether the first steps of stage 2 go down: the loss by step under each setting, and how far the clips have moved.

    python docs/experiments/first_steps.py --data FILE.h5 --steps 20 --vary dynamic.lr_dynamic=0.03,0.1,0.3 \
        --set synthetic.kind=pixels

Nothing is held out and no network is trained on the set, so clips of 16 x 112 x 112 take minutes. `moved` is the root
mean square of the change, in units of the data's standard deviation; `motion` is the part of its square that is not the
same in all frames.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

import torch
from cells import to_the_table

from engine import load_preset, load_synthetic
from engine.events import Event, Step
from engine.runs.new import new_run

SHOWN = (1, 2, 3, 5, 8, 10, 20, 50, 100, 200)


def main() -> None:
    """Print a row for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="clips file of `vdtui prepare`")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--vary", action="append", default=[], metavar="KEY=V1,V2", help="all combinations are tried")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="overrides of every run")
    options = parser.parse_args()
    steps = [step for step in SHOWN if step < options.steps] + [options.steps]
    print("| setting | " + " | ".join(f"loss, step {step}" for step in steps) + " | moved | motion |")  # noqa: T201
    print("|" + (len(steps) + 3) * "---|")  # noqa: T201
    pairs = [text.partition("=") for text in options.vary]
    for chosen in itertools.product(*(values.split(",") for _, _, values in pairs)):
        setting = [f"{name}={value}" for (name, _, _), value in zip(pairs, chosen, strict=True)]
        losses, change = learned(options, [*options.set, *setting])
        motion = 1 - change.mean(2).square().mean() / change.square().mean()
        shown = [f"{losses[step - 1]:.3g}" for step in steps]
        moved = [f"{change.square().mean().sqrt():.2f}", f"{100 * motion:.1f} %"]
        print("| " + " | ".join([" ".join(setting), *shown, *moved]) + " |", flush=True)  # noqa: T201


def learned(options: argparse.Namespace, overrides: list[str]) -> tuple[list[float], torch.Tensor]:
    """The loss of every step, and what the steps changed in all clips of the set."""
    fixed = [
        f"dynamic.steps={options.steps}",
        "dynamic.schedule=constant",
        "dynamic.checkpoint_every=100000",
        "dataset.val_fraction=0",
    ]
    losses: list[float] = []

    def listen(event: Event) -> None:
        if isinstance(event, Step) and event.stage == "dynamic":
            losses.append(event.loss)

    with tempfile.TemporaryDirectory() as runs:
        preset = load_preset(options.preset, [*fixed, *overrides])
        run = new_run(preset, options.data, Path(runs), None, "first-steps", sys.argv)
        to_the_table(run, listen)
        start = new_run(
            load_preset(options.preset, [*fixed, *overrides, "dynamic.steps=0"]),
            options.data,
            Path(runs),
            None,
            "start",
            sys.argv,
        )
        to_the_table(start)
        first, last = (load_synthetic(one.path / "synthetic" / "last.safetensors").expand()[0] for one in (start, run))
    return losses, last - first


if __name__ == "__main__":
    main()
