"""Training a network from scratch on a set of clips, and testing it on real ones."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import TypeVar

import torch
from torch import nn

from engine.data.batches import RealClips
from engine.data.spec import ClipSpec
from engine.evaluation.augmentation import crop_and_flip, reorder
from engine.evaluation.protocols import STRICT, Protocol, Recipe, as_seen
from engine.machine.copies import to_device
from engine.models.base import Network
from engine.models.convnet3d import ConvNet3D
from engine.models.precision import Chance, autocast
from engine.models.registry import sees_stills, video_model
from engine.models.repeated import Made, Recorder, Repeated
from engine.seeds import derive, generator
from engine.synthetic.base import Draw, SyntheticSet

TrainingData = SyntheticSet | RealClips
"""Data that a network can be trained on: a small set, or all real clips of a split."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The accuracies of one trained network on a split, as fractions in [0, 1].

    ``confusion[t][p]`` counts videos of class t that were taken for p; ``per_class`` is None where the split has no
    video of the class.
    """

    top1: float
    top5: float
    per_class: list[float | None]
    confusion: list[list[int]]


T = TypeVar("T")
Work = Generator[float, None, T]
"""Work in parts, which ends with a result: before each part it yields how much of it is done, from 0 to 1."""


def carried_out(work: Work[T], watch: Callable[[float], None] = lambda fraction: None) -> T:
    """Return the result of ``work``; ``watch`` is called before each part, and may raise."""
    while True:
        try:
            done = next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        watch(done)


def train_network(
    data: TrainingData,
    recipe: Recipe,
    seed: int,
    watch: Callable[[float], None] = lambda fraction: None,
    teacher: nn.Module | None = None,
) -> Network:
    """Return the network of ``fit``."""
    return fit(data, recipe, seed, watch, teacher).network


@dataclasses.dataclass(frozen=True)
class Fit:
    """A network that was trained, and how well it has learned what it was trained on."""

    network: Network
    loss: float
    """Mean training loss over as many steps as an epoch has, the last ones; NaN if it diverged."""
    guess: float
    """The loss of the best constant answer: log C for classes, for learned labels their variance."""
    epochs: int
    """The number of epochs that were made; fewer than the recipe's if its rule ended the training."""


def fit(
    data: TrainingData,
    recipe: Recipe,
    seed: int,
    watch: Callable[[float], None] = lambda fraction: None,
    teacher: nn.Module | None = None,
) -> Fit:
    """Train a network from scratch on ``data``; the clips of a synthetic set are drawn anew for every epoch.

    The network's start, the draws, the order, the augmentation and the dropout come from ``seed``; the caller's random
    state is not touched. ``watch`` is called before every training step with the part that is done, and may raise.
    Where the recipe has a rule to stop by, the loss is read from the device once an epoch.
    ``teacher`` gives the labels where the protocol has one. Clips that do not move are drawn, cropped and shown as one
    frame where the network allows it (``as_stills``).
    """
    return carried_out(fitting(data, recipe, seed, teacher), watch)


def fitting(
    data: TrainingData, recipe: Recipe, seed: int, teacher: nn.Module | None = None, record: Recorder | None = None
) -> Work[Fit]:
    """Do what ``fit`` does, a training step at a time; others may be trained between two of them.

    Passes and gradients are recorded and repeated by ``record``, if there is one (``engine.models.repeated``).
    """
    spec, device, protocol = data.spec, data.device, recipe.protocol
    assert (teacher is not None) == protocol.teacher
    stills = as_stills(data, recipe)
    data = data if stills is None else stills
    network = video_model(recipe.model, len(spec.classes), spec.frames, spec.height, derive(seed, "init"), device)
    optimiser = _optimiser(network, recipe)
    gradients = _Gradients(network, recipe, spec.frames)
    compute = gradients if record is None else Repeated(gradients, record)
    batches = math.ceil(instances(data) / recipe.batch)
    losses: deque[torch.Tensor] = deque(maxlen=batches)
    learned = Moments()
    steps = recipe.steps or recipe.epochs * batches
    chance = Chance(derive(seed, "dropout"), device)
    network.train()
    for epoch in range(recipe.passes(batches)):
        if protocol.restart and epoch == recipe.half:
            optimiser = _optimiser(network, recipe)
        left = steps - epoch * batches
        for number, drawn in enumerate(islice(one_pass(data, generator(seed, "epoch", epoch), recipe.batch), left)):
            made = epoch * batches + number
            yield made / steps
            optimiser.param_groups[0]["lr"] = recipe.rate(made if recipe.steps else epoch)
            clips = reorder(drawn.clips, recipe.frames, generator(seed, "frames", epoch, number))
            if protocol.augment:
                clips = crop_and_flip(clips, generator(seed, "augment", epoch, number))
            clips = as_seen(clips, spec, protocol)
            targets = _targets(drawn, clips, recipe, teacher, spec)
            with chance.taken():
                losses.append(gradients.take(compute(clips, targets)))
            optimiser.step()
            if recipe.labels == "own" and epoch == 0:  # they are the same in all
                learned.add(targets)
        if recipe.stop is not None and recipe.stop.ends(_mean(losses), _guess(learned, recipe, len(spec.classes))):
            break
    return Fit(network.eval(), _mean(losses), _guess(learned, recipe, len(spec.classes)), epoch + 1)


def _mean(losses: Iterable[torch.Tensor]) -> float:
    return torch.stack(list(losses)).mean().item()


class _Gradients:
    """The loss of a batch, and its gradient by each parameter of ``network``, None of one that has none."""

    def __init__(self, network: Network, recipe: Recipe, frames: int) -> None:
        self._network, self._recipe, self._frames = network, recipe, frames
        self._weights = list(network.parameters())

    def __call__(self, clips: torch.Tensor, targets: torch.Tensor) -> Made:
        """Return both for ``clips`` with ``targets``."""
        self._network.zero_grad()
        with autocast(clips.device, self._recipe.precision):
            logits = _logits_of(self._network, clips, self._frames)
        loss = _loss(logits.float(), targets, self._recipe)
        loss.backward()
        return loss.detach(), *(weight.grad for weight in self._weights)

    def take(self, made: Made) -> torch.Tensor:
        """Let the parameters have the gradients of ``made``; return a copy of its loss."""
        loss, *gradients = made
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.grad = gradient
        assert loss is not None
        return loss.clone()


def as_stills(data: TrainingData, recipe: Recipe) -> SyntheticSet | None:
    """Return ``data`` with clips of one frame, if none moves and networks of ``recipe`` need not see it repeated.

    A network that is trained on them is the same but for rounding, in a fraction of the time. Real clips stay clips.
    """
    if isinstance(data, RealClips) or not sees_stills(recipe.model):
        return None
    return data.of_one_frame()


def _logits_of(network: nn.Module, clips: torch.Tensor, frames: int) -> torch.Tensor:
    """Return the logits of clips of ``frames`` frames, given whole or, where none moves, as one of their frames."""
    if clips.shape[2] == frames:
        return network(clips)  # type: ignore[no-any-return]
    assert isinstance(network, ConvNet3D) and clips.shape[2] == 1, (type(network), clips.shape)
    return network.stills(clips.squeeze(2), frames)


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.protocol.adamw:
        return torch.optim.AdamW(network.parameters(), recipe.lr, weight_decay=recipe.decay)
    return torch.optim.SGD(network.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.decay)


def instances(data: TrainingData) -> int:
    """Return the number of clips of an epoch: instances of a synthetic set, or real clips."""
    return len(data) if isinstance(data, RealClips) else data.ipc * len(data.spec.classes)


def one_pass(data: TrainingData, rng: torch.Generator, batch: int) -> Iterator[Draw]:
    """Yield one epoch in batches: every instance of a synthetic set, drawn anew, or every real clip; in a random order.

    Variants are drawn for the whole epoch first; clips are made a batch at a time, so that memory is bounded by
    the batch and not by the set.
    """
    if isinstance(data, RealClips):
        for chosen in torch.randperm(len(data), generator=rng).split(batch):
            labels = to_device(data.labels[chosen], data.device)
            yield Draw(data.clips(chosen), labels, labels)
        return
    labels, choice = data.choose(rng)
    for chosen in to_device(torch.randperm(len(labels), generator=rng), data.device).split(batch):
        with torch.no_grad():
            drawn = data.made_of(labels[chosen], choice[chosen])
        yield drawn


def _targets(
    drawn: Draw, clips: torch.Tensor, recipe: Recipe, teacher: nn.Module | None, spec: ClipSpec
) -> torch.Tensor:
    """Return the targets of ``clips``: classes (N), a teacher's probabilities or learned labels (N, C)."""
    if teacher is not None:
        with torch.no_grad(), autocast(clips.device, recipe.precision):
            return _logits_of(teacher, clips, spec.frames).float().softmax(1)
    if recipe.labels == "own":
        return drawn.targets if drawn.targets.dim() == 2 else centred(drawn.labels, len(spec.classes))
    return drawn.labels


def _loss(logits: torch.Tensor, targets: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Return the cross-entropy, or the squared error to learned labels, summed over classes and averaged over clips.

    Averaged over classes, too, it would shrink as they grow in number while SGD's rate stays. A ConvNet3D told 51
    smooth random clips apart, one a class, by the sum after 10 passes in batches of 4, as by cross-entropy; by the mean
    it knew 80 % after 60, with a loss hardly below that of a guess. Nor is the sum set in relation to the labels'
    variance (0.19 there): that took 60 passes, since it is too much for the rate. AdamW does not see such factors, so
    ``VDSD_LABELS`` has the published mean.
    """
    if recipe.labels != "own":
        return nn.functional.cross_entropy(logits, targets)
    squares = (logits - targets).square()
    return squares.mean() if recipe.protocol.mean_error else squares.sum(1).mean()


def _guess(learned: Moments, recipe: Recipe, classes: int) -> float:
    """Return the loss of the best answer that is the same for all clips."""
    if recipe.labels != "own":
        return math.log(classes)
    return learned.variance() / (classes if recipe.protocol.mean_error else 1)


class Moments:
    """Number, sum and sum of squares of targets (N, C) that come in batches."""

    def __init__(self) -> None:
        self._number = 0
        self._sum, self._squares = torch.zeros(()), torch.zeros(())

    def add(self, targets: torch.Tensor) -> None:
        """Add one batch of targets; nothing is read from the device."""
        self._number += len(targets)
        self._sum = self._sum.to(targets) + targets.sum(0)
        self._squares = self._squares.to(targets) + targets.square().sum()

    def variance(self) -> float:
        """Return the mean of |target - mean of all targets|^2: the squared error of the best constant."""
        mean = self._sum.double().cpu() / self._number
        return float(self._squares.double().cpu() / self._number - mean.square().sum())


def centred(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return labels (N) as kernel regression starts from them: (one-hot - 1/C) / sqrt(C/10) (Zhou et al. 2022)."""
    return (nn.functional.one_hot(labels, classes).float() - 1 / classes) / math.sqrt(classes / 10)


def evaluate_network(
    network: nn.Module,
    real: RealClips,
    precision: torch.dtype,
    watch: Callable[[float], None] = lambda fraction: None,
    size: int = 32,
    *,
    protocol: Protocol = STRICT,
    seed: int = 0,
) -> Outcome:
    """Test ``network`` on ``real`` by ``protocol``; at most ``size`` clips go through it at once.

    Either every clip once, logits averaged over the clips of a video, accuracies per video; or the protocol's passes of
    random clips and flips, drawn from ``seed``, each in the protocol's batches, accuracies per clip.
    """
    return carried_out(testing(network, real, precision, size, protocol=protocol, seed=seed), watch)


@torch.inference_mode()
def testing(
    network: nn.Module, real: RealClips, precision: torch.dtype, size: int = 32, *, protocol: Protocol, seed: int
) -> Work[Outcome]:
    """Do what ``evaluate_network`` does, a batch at a time; nothing is read from the device before the last one."""
    video = torch.tensor(real.view.video)
    if protocol.passes:
        logits, labels = [], []
        for clips, of_batch in random_passes(real, protocol.passes, protocol.test_batch, seed):
            yield 1.0
            shown = as_seen(clips, real.spec, protocol)
            logits += [_logits(network, part, precision) for part in shown.split(size)]
            labels.append(of_batch)
        every = torch.cat(labels)
        return outcome(torch.cat(logits).cpu(), every, torch.arange(len(every)), len(real.spec.classes))
    logits = []
    for clips, _ in real.batches(size):
        yield 1.0
        logits.append(_logits(network, clips, precision))
    return outcome(torch.cat(logits).cpu(), real.labels, video, len(real.spec.classes))


def _logits(network: nn.Module, clips: torch.Tensor, precision: torch.dtype) -> torch.Tensor:
    with autocast(clips.device, precision):
        return network(clips).float()


def random_passes(real: RealClips, passes: int, batch: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches of ``passes`` passes over the videos: a random clip of each, half of them flipped, and labels."""
    video = torch.tensor(real.view.video)
    _, group = torch.unique(video, return_inverse=True)
    order = group.argsort(stable=True)
    counts = torch.bincount(group)
    first = counts.cumsum(0) - counts
    for number in range(passes):
        rng = generator(seed, "test-pass", number)
        offset = (torch.rand(len(counts), generator=rng, dtype=torch.float64) * counts).long()
        flip = torch.rand(len(counts), generator=rng) < 0.5
        chosen = order[first + offset]
        for part, flipped in zip(chosen.split(batch), flip.split(batch), strict=True):
            clips = real.clips(part)
            where = to_device(flipped, clips.device).view(-1, 1, 1, 1, 1)
            yield torch.where(where, clips.flip(-1), clips), real.labels[part]


def outcome(logits: torch.Tensor, labels: torch.Tensor, video: torch.Tensor, classes: int) -> Outcome:
    """Return the accuracies of clip logits (N, classes), averaged over the clips of each video, which has one label."""
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
