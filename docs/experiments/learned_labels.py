"""Whether networks learn a set's own labels: the squared error summed over classes, averaged, or relative to a guess's.

    OMP_NUM_THREADS=1 python docs/experiments/learned_labels.py --losses hard sum mean relative --classes 51 --passes 60

ConvNet3D on one smooth random clip of 8 x 64 x 64 a class, in batches of 4, by SGD as `strict` has it (0.003, momentum
0.9, a tenth of it from half way). The labels are those that FRePo starts from, (one-hot - 1/C) / sqrt(C/10). Every
few passes: the loss, that of the best constant answer, and the part of its own training clips that the network knows.
"""

from __future__ import annotations

import argparse
import math

import torch
from torch import nn

from engine.evaluation.training import centred
from engine.models import autocast, choose_precision, video_model
from engine.models.precision import seeded

CPU = torch.device("cpu")
SHOWN_EVERY = 5


def main() -> None:
    """Train a network by each loss, and print how it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--losses", nargs="+", choices=("hard", "sum", "mean", "relative"), default=["hard", "sum", "mean"]
    )
    parser.add_argument("--classes", type=int, default=51)
    parser.add_argument("--passes", type=int, default=60)
    parser.add_argument("--lr", type=float, default=0.003)
    options = parser.parse_args()
    for name in options.losses:
        train(name, options.classes, options.passes, options.lr)


def train(name: str, classes: int, passes: int, rate: float) -> None:
    """One network, from scratch."""
    rng = torch.Generator().manual_seed(0)
    small = torch.randn(classes, 3, 4, 8, 8, generator=rng)
    clips = nn.functional.interpolate(small, size=(8, 64, 64), mode="trilinear")
    clips = (clips / clips.std()).contiguous(memory_format=torch.channels_last_3d)
    labels = torch.arange(classes)
    targets = centred(labels, classes)
    variance = (targets - targets.mean(0)).square().sum(1).mean()
    guess = (
        math.log(classes)
        if name == "hard"
        else variance.item() / {"sum": 1, "mean": classes}.get(name, variance.item())
    )
    network = video_model("convnet3d", classes, 8, 64, 0, CPU)
    optimiser = torch.optim.SGD(network.parameters(), rate, momentum=0.9, weight_decay=5e-4)
    precision = choose_precision("auto", CPU)
    with seeded(1, CPU):
        for done in range(1, passes + 1):
            if done > (passes + 1) // 2:
                optimiser.param_groups[0]["lr"] = rate / 10
            total = 0.0
            for chosen in torch.randperm(classes, generator=rng).split(4):
                with autocast(CPU, precision):
                    logits = network(clips[chosen])
                loss = error(name, logits.float(), labels[chosen], targets[chosen], variance)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                total += loss.item() * len(chosen) / classes
            if done % SHOWN_EVERY == 0 or done == passes:
                known = f"{100 * accuracy(network, clips, labels, precision):.0f} %"
                print(f"{name}: after {done} passes loss {total:.4f} (a guess {guess:.4f}), knows {known}", flush=True)  # noqa: T201


def error(
    name: str, logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor, variance: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy, or the squared error summed over classes, averaged over them, or relative to that of a guess."""
    if name == "hard":
        return nn.functional.cross_entropy(logits, labels)
    squares = (logits - targets).square()
    if name == "mean":
        return squares.mean()
    summed = squares.sum(1).mean()
    return summed if name == "sum" else summed / variance


@torch.no_grad()
def accuracy(network: nn.Module, clips: torch.Tensor, labels: torch.Tensor, precision: torch.dtype) -> float:
    """The part of the clips that the network names rightly."""
    network.eval()
    with autocast(CPU, precision):
        said = torch.cat([network(part) for part in clips.split(32)]).float().argmax(1)
    network.train()
    return float((said == labels).float().mean())


if __name__ == "__main__":
    main()
