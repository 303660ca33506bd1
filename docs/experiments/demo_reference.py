"""How hard the demo data are: a ConvNet3D trained on all of them, and on one random clip per class.

Run it with `python docs/experiments/demo_reference.py`; about 10 minutes on two cores.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import torch

from engine.data.batches import RealClips
from engine.data.demo import prepare_demo
from engine.data.spec import ClipSpec
from engine.data.store import ClipStore
from engine.evaluation import Recipe, evaluate_network, train_network
from engine.seeds import generator
from engine.synthetic import Coreset

CPU = torch.device("cpu")


def coreset(real: RealClips, per_class: int, seed: int) -> Coreset:
    """``per_class`` random clips of each class."""
    picks = [real.pick(c, per_class, generator(seed, "reference", c)) for c in range(len(real.spec.classes))]
    clips = real.clips(torch.cat(picks)).unflatten(0, (-1, per_class))
    return Coreset(real.spec, clips.transpose(2, 3).contiguous())


def report(name: str, train: RealClips, test: RealClips, per_class: int, recipe: Recipe, seeds: range) -> None:
    """Train one network per seed and print the accuracies on the test split."""
    values = []
    for seed in seeds:
        network = train_network(coreset(train, per_class, seed), recipe, seed)
        values.append(evaluate_network(network, test, torch.float32).top1)
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    listed = " ".join(f"{100 * value:.1f}" for value in values)
    print(f"{name}: {100 * statistics.fmean(values):.1f} +- {100 * deviation:.1f} % ({listed})", flush=True)  # noqa: T201


def main() -> None:
    """Measure both."""
    with tempfile.TemporaryDirectory() as folder:
        store = ClipStore.open(prepare_demo(Path(folder)))
        spec = ClipSpec(store.classes, store.frames, store.height, store.width, store.mean, store.std)
        train, test = (RealClips(store.split(name).load(), spec, CPU) for name in ("train", "test"))
        few = Recipe("convnet3d", epochs=30, lr=0.003, momentum=0.9, weight_decay=5e-4, batch=4)
        report("one random clip per class, trained as in the preset demo", train, test, 1, few, range(5))
        everything = Recipe("convnet3d", epochs=16, lr=0.01, momentum=0.9, weight_decay=5e-4, batch=8)
        report("all training clips, 16 epochs, lr 0.01, batch 8", train, test, 64, everything, range(1))


if __name__ == "__main__":
    main()
