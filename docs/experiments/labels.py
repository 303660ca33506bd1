"""Soft labels of an early-stopped teacher beside hard ones, on the same real stills: the table of labels.md.

    vdtui prepare ucf101 --source UCF10 --output ucf64.h5 --frames 8 --size 64
    OMP_NUM_THREADS=1 python docs/experiments/labels.py --data ucf64.h5 --runs RUNS --seeds 0 1 2 3 4

A cell is a draw of so many real stills per class by the run's seed, as `storage.py` draws them, stored, decoded, and
labelled in one of the ways of `--kinds`; networks of the same seeds for all ways are trained on it. A teacher learns
all training clips, and is stopped after E epochs:

    hard      the class
    soft:E    what the teacher says of each stored clip
    half:E    the mean of both
    then:E    what it says in the first half of the steps, the class in the second

Soft labels are the three likeliest classes in four bits each, as a set file keeps them (`engine.synthetic.labels`): the
bytes of a cell count them. A finished cell is a line of RUNS/labels.jsonl, and is not made again.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from typing import Any

import torch
from cells import Record, answered, spread
from real_stills import drawn, of_the_data, of_the_judge, parser
from safetensors.torch import load_file, save_file
from torch import nn

from engine import load_preset
from engine.config import Preset
from engine.data.batches import RealClips
from engine.evaluation import training
from engine.evaluation.augmentation import crop_and_flip
from engine.evaluation.judge import recipe_of
from engine.evaluation.parts import open_parts
from engine.evaluation.protocols import Recipe, network_seed
from engine.models import video_model
from engine.models.base import Network
from engine.seeds import derive, generator
from engine.synthetic import SyntheticSet
from engine.synthetic.labels import LabelCode

TEACHER_BATCH, TEACHER_RATE, TEACHER_DECAY = 16, 3e-4, 0.01


def main() -> None:
    """Measure the cells that are not there yet, and print the table."""
    options = arguments()
    judge = of_the_judge(options)
    preset = load_preset("stills", [*of_the_data(options), "dataset.val_fraction=0", *judge])
    common = {"data": options.data.name, "how": options.how, "number": options.number, "changes": judge}
    common |= {"steps": options.steps, "networks": options.networks, "teacher": options.teacher}
    asked = [
        (common | {"kind": kind, "seed": seed}, (preset, options, kind, seed))
        for seed, kind in itertools.product(options.seeds, options.kinds)
    ]
    options.runs.mkdir(parents=True, exist_ok=True)
    table(answered(asked, measure, options.runs / "labels.jsonl", 1))


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    found = parser(__doc__, "runs-labels", networks=3)
    found.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of draws, and of networks")
    found.add_argument("--kinds", nargs="+", default=["hard", "soft:40", "half:40", "then:40"], metavar="KIND")
    found.add_argument("--teacher", type=int, default=0, help="the seed of the teacher, a network of --model")
    found.add_argument("--steps", type=int, default=1500, help="of every network, in whole epochs")
    return found.parse_args()


def measure(preset: Preset, options: argparse.Namespace, kind: str, seed: int) -> Record:
    """Bytes of a draw with its labels, how they agree with the classes, and what networks trained on it reach."""
    with open_parts(options.runs, preset, torch.device("cpu"), lambda *_: None, lambda: None) as parts:
        number, classes = options.number, len(parts.spec.classes)
        stored = drawn(parts.train, options, seed, "storage")
        synthetic = stored.decode()
        way, _, epochs = kind.partition(":")
        found: Record = {"bytes": stored.nbytes, "top1": [], "train_loss": []}
        if way != "hard":
            clips, labels = synthetic.expand()
            said = answers(teacher(parts.train, options, int(epochs)), clips)
            found["agreement"] = float((said.argmax(1) == labels).float().mean())
            if way == "half":
                said = (said + nn.functional.one_hot(labels, classes)) / 2
            code = LabelCode(classes)
            content = code.encode(said.numpy())
            found["bytes"] += len(content)
            synthetic.soft_labels = torch.from_numpy(code.decode(content, len(said))).view(classes, number, classes)
        batches = -(-number * classes // options.batch)
        section = preset.evaluation.model_copy(update={"epochs": max(1, round(options.steps / batches))})
        recipe = recipe_of(section, options.model, torch.float32, None)
        for network in range(options.networks):
            fitted = trained(synthetic, recipe, network_seed(seed, "final", network), way, recipe.epochs * batches)
            outcome = training.evaluate_network(fitted.network, parts.test, torch.float32, protocol=recipe.protocol)
            found["top1"].append(outcome.top1)
            found["train_loss"].append(fitted.loss)
        return found


def trained(synthetic: SyntheticSet, recipe: Recipe, seed: int, way: str, steps: int) -> training.Fit:
    """The network of ``recipe``, which learns the set's labels in place of its classes: ``then``, for half the steps.

    The tool has no such recipe, so the one place where targets are made is replaced while a network is trained.
    """
    usual, made = training._targets, itertools.count()

    def targets(drawn: Any, *others: Any) -> torch.Tensor:
        late = way == "then" and next(made) >= steps / 2
        return drawn.labels if late else drawn.targets  # type: ignore[no-any-return]

    training._targets = targets
    try:
        return training.fit(synthetic, recipe, seed)
    finally:
        training._targets = usual


def answers(network: Network, clips: torch.Tensor) -> torch.Tensor:
    """The probabilities (N, C) that ``network`` gives to ``clips``."""
    with torch.inference_mode():
        return torch.cat([network(part).softmax(1) for part in clips.split(8)])


def teacher(train: RealClips, options: argparse.Namespace, epochs: int) -> Network:
    """A network after ``epochs`` on all training clips, with crops and flips, at one rate; kept in the runs' folder."""
    spec, seed = train.spec, options.teacher
    start = derive(seed, "teacher")
    network = video_model(options.model, len(spec.classes), spec.frames, spec.height, start, train.device)
    file = options.runs / f"teacher-{options.data.stem}-{options.model}-{seed}-{epochs}.safetensors"
    if file.exists():
        network.load_state_dict(load_file(file))
        return network.eval()
    optimiser = torch.optim.AdamW(network.parameters(), TEACHER_RATE, weight_decay=TEACHER_DECAY)
    network.train()
    for epoch in range(epochs):
        drawn = training.one_pass(train, generator(seed, "teacher-epoch", epoch), TEACHER_BATCH)
        for number, batch in enumerate(drawn):
            clips = crop_and_flip(batch.clips, generator(seed, "teacher-augment", epoch, number))
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(clips), batch.labels).backward()
            optimiser.step()
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, file)
    return network.eval()


def table(records: list[Record]) -> None:
    """Print a row for each kind; differences are paired with hard labels of the same seed."""
    kinds = dict.fromkeys(one["key"]["kind"] for one in records)
    mean = {(one["key"]["kind"], one["key"]["seed"]): 100 * statistics.fmean(one["top1"]) for one in records}
    lines = ["| labels | bytes | they name the class | top-1 of each seed | mean | over hard, paired |"]
    lines.append("|" + 6 * "---|")
    for kind in kinds:
        rows = [one for one in records if one["key"]["kind"] == kind]
        seeds = [one["key"]["seed"] for one in rows]
        own = [mean[kind, seed] for seed in seeds]
        paired = [mean[kind, seed] - mean["hard", seed] for seed in seeds if ("hard", seed) in mean]
        over = "" if kind == "hard" or not paired else f"{spread(paired, '+')}"
        size = statistics.fmean(one["bytes"] for one in rows)
        agree = [one["agreement"] for one in rows if "agreement" in one]
        agreed = f"{100 * statistics.fmean(agree):.0f} %" if agree else ""
        shown = ", ".join(f"{one:.1f}" for one in own)
        lines.append(f"| {kind} | {size:,.0f} | {agreed} | {shown} % | {spread(own)} % | {over} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
