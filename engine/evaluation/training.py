"""Training a network from scratch on a small set of clips, and testing it on real ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import nn

from engine.data.batches import RealClips
from engine.models.precision import autocast, seeded
from engine.models.registry import video_model
from engine.seeds import derive, generator
from engine.synthetic.base import SyntheticSet


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD for ``epochs`` passes, the rate divided by 10 half way; hard labels."""

    model: str
    epochs: int
    lr: float
    momentum: float
    weight_decay: float
    batch: int
    precision: torch.dtype = torch.float32


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one trained network does on a split; fractions in [0, 1].

    ``confusion[t][p]`` counts videos of class t that were taken for p; ``per_class`` is None where the split has no
    video of the class.
    """

    top1: float
    top5: float
    per_class: list[float | None]
    confusion: list[list[int]]


def train_network(
    synthetic: SyntheticSet, recipe: Recipe, seed: int, watch: Callable[[float], None] = lambda fraction: None
) -> nn.Module:
    """A network trained from scratch on ``synthetic``, whose clips are drawn anew for every epoch.

    The network's start, the draws, the order and the dropout come from ``seed``; the caller's random state is not
    touched. ``watch`` is called before every training step with the part that is done, and may raise.
    """
    spec, device = synthetic.spec, synthetic.device
    network = video_model(recipe.model, len(spec.classes), spec.frames, spec.height, derive(seed, "init"), device)
    optimiser = torch.optim.SGD(
        network.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    network.train()
    with seeded(derive(seed, "dropout"), device):
        for epoch in range(recipe.epochs):
            if epoch == (recipe.epochs + 1) // 2:
                optimiser.param_groups[0]["lr"] = recipe.lr / 10
            rng = generator(seed, "epoch", epoch)
            with torch.no_grad():
                drawn = synthetic.draw(rng)
            clips, labels = drawn.clips, drawn.labels
            for chosen in torch.randperm(len(labels), generator=rng).to(device).split(recipe.batch):
                watch(epoch / recipe.epochs)
                with autocast(device, recipe.precision):
                    logits = network(clips[chosen])
                optimiser.zero_grad()
                nn.functional.cross_entropy(logits.float(), labels[chosen]).backward()
                optimiser.step()
    return network.eval()


@torch.inference_mode()
def evaluate_network(
    network: nn.Module,
    real: RealClips,
    precision: torch.dtype,
    watch: Callable[[float], None] = lambda fraction: None,
    size: int = 32,
) -> Outcome:
    """Classify every clip of ``real``; logits are averaged over the clips of a video, accuracies are per video."""
    logits = []
    for clips, _ in real.batches(size):
        watch(1.0)
        with autocast(real.device, precision):
            logits.append(network(clips).float().cpu())
    return outcome(torch.cat(logits), real.labels, torch.tensor(real.view.video), len(real.spec.classes))


def outcome(logits: torch.Tensor, labels: torch.Tensor, video: torch.Tensor, classes: int) -> Outcome:
    """Accuracies of clip logits (N, classes), averaged over the clips of each video. Videos have one label each."""
    _, group = torch.unique(video, return_inverse=True)
    number = int(group.max()) + 1
    summed = torch.zeros(number, classes, dtype=torch.float64).index_add_(0, group, logits.double())
    target = torch.zeros(number, dtype=torch.int64).index_copy_(0, group, labels)
    ranked = summed.argsort(dim=1, descending=True, stable=True)
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    confusion.index_put_((target, ranked[:, 0]), torch.ones(number, dtype=torch.int64), accumulate=True)
    totals = confusion.sum(1)
    per_class = [int(confusion[c, c]) / int(totals[c]) if totals[c] else None for c in range(classes)]
    hits = ranked[:, :5] == target.unsqueeze(1)
    return Outcome(
        top1=float(hits[:, 0].double().mean()),
        top5=float(hits.any(1).double().mean()),
        per_class=per_class,
        confusion=confusion.tolist(),
    )
