"""Protocols: what exactly is measured when a set is said to reach an accuracy, under a name and a version.

Two accuracies can be compared only if they were measured in the same way; published ones differ in labels, clips,
augmentation, and in the split on which the iteration was chosen. So everything that may differ is in one object with a
name, and a change of what a name means changes its version.

``strict`` (ours, the default): networks are trained from scratch on the set alone (hard labels, no augmentation),
tested once on fixed clips with logits averaged per video, over several seeded networks; mean and *sample* standard
deviation. The iteration is chosen on a validation split that was held out of training, with other network seeds than
the final ones, and the test split is touched only for the final table.

``strict-strong`` and ``strict-teacher`` are ``strict`` with the training that recent studies found to matter as much as
the set does (AdamW with a cosine, random resized crops and flips; the second also the labels of a teacher that was
trained on all of the training clips), for every baseline alike.

``vdsd``: as published (Wang et al., CVPR 2024, and the code of its line), in every quirk: ImageNet's mean and
deviation, each *whole batch* then shifted and scaled to zero mean and unit variance, also at test, in batches of 64;
three passes over the test split, each with a random clip of every video and a random flip, accuracy per clip;
*population* standard deviation; and the iteration chosen on the test split itself, which flatters the number. Sets with
learned labels were judged otherwise (``VDSD_LABELS``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import Any, Literal, get_args

import torch

from engine.config.choosing import split_of_choice
from engine.data.spec import ClipSpec
from engine.evaluation.stopping import StoppingRule
from engine.events import Split
from engine.machine.copies import constant
from engine.seeds import derive

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One way of measuring. Values that a preset sets (epochs, rate, batch) are in the ``Recipe``."""

    name: str
    version: int
    selected_on: Split = "val"
    """The split on which the iteration is chosen."""
    population: bool = False
    """True if the deviation over networks is that of a population, not that of a sample."""
    whole_batches: bool = False
    """True if each whole batch is shifted and scaled to zero mean and unit variance, after ImageNet's normalisation."""
    passes: int = 0
    """0: every test clip once, logits averaged per video; n: n passes of random clips and flips, each clip counts."""
    restart: bool = False
    """True if the optimiser is made anew half way, without its momentum."""
    adamw: bool = False
    """True for AdamW whose rate falls along half a cosine, in place of SGD whose rate is divided by 10 half way."""
    augment: bool = False
    """True if clips are randomly cropped, resized and flipped while training."""
    teacher: bool = False
    """True if the labels are the probabilities that a teacher gives to each clip as it is seen."""
    lr: float = 0.003
    """The learning rate at the start, where the preset has none."""
    weight_decay: float | None = None
    """The weight decay if the protocol fixes it; None: the preset's."""
    published: tuple[tuple[str, tuple[float, ...]], ...] = ()
    """The published values of the recipe, several where they differ by method; a result of others says so."""
    imagenet: bool = False
    """True for ImageNet's mean and deviation in place of the data's."""
    test_batch: int = 0
    """Test clips of one batch where ``passes`` are made: its size matters to ``whole_batches``."""
    warm_up: bool = False
    """True if AdamW's rate rises over the first tenth of the epochs, and its cosine ends at a hundredth of it."""
    mean_error: bool = False
    """True if the squared error to learned labels is averaged over classes, not summed."""


_ADDED = ("imagenet", "test_batch", "warm_up", "mean_error")
"""Fields that are in a fingerprint only where they are not the default: networks trained before them still count."""
_STRONG = {"adamw": True, "augment": True, "lr": 3e-4, "weight_decay": 0.01}
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("strict", 2),
        Protocol("strict-strong", 2, **_STRONG),  # type: ignore[arg-type]
        Protocol("strict-teacher", 2, teacher=True, **_STRONG),  # type: ignore[arg-type]
        Protocol(
            "vdsd",
            2,
            selected_on=split_of_choice("vdsd"),
            population=True,
            imagenet=True,
            whole_batches=True,
            passes=3,
            test_batch=64,
            restart=True,
            lr=0.01,
            published=(
                ("epochs", (500,)),
                ("lr", (0.01,)),
                ("momentum", (0.9,)),
                ("weight_decay", (5e-4,)),
                ("batch", (256, 128)),  # 128 for MTT at IPC 5
            ),
        ),
    )
}
STRICT = PROTOCOLS["strict"]
VDSD_LABELS = Protocol(
    "vdsd",
    2,
    selected_on=split_of_choice("vdsd"),
    population=True,
    imagenet=True,
    passes=1,
    test_batch=64,
    adamw=True,
    warm_up=True,
    mean_error=True,
    lr=1e-4,
    published=(("epochs", (1000,)), ("lr", (1e-4,)), ("weight_decay", (5e-4,)), ("batch", (500,))),
)
"""``vdsd`` where networks learn the set's own labels: as the numbers of FRePo are published.

AdamW whose rate rises over the first tenth of the epochs and falls along a cosine, mean squared error over batch and
classes, no standardised batches, one pass over the test split. (The public code trains for one epoch more than it is
told to, at a hundredth of the rate; that one is left out.)
"""


def protocol_named(name: str, labels: str) -> Protocol:
    """Return the protocol ``name`` for networks that learn ``hard`` labels, or the set's ``own`` ones."""
    return VDSD_LABELS if (name, labels) == (VDSD_LABELS.name, "own") else PROTOCOLS[name]


FrameOrder = Literal["as-is", "shuffled", "frozen", "reversed"]
FRAMES: tuple[FrameOrder, ...] = get_args(FrameOrder)
"""Orders of frames while training; all but the first one ask whether time matters in a set."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The training and testing of one network: the protocol, and the values that a preset sets beside it."""

    model: str
    epochs: int
    lr: float
    """The learning rate at the start."""
    momentum: float
    weight_decay: float
    batch: int
    precision: torch.dtype = torch.float32
    protocol: Protocol = STRICT
    labels: str = "hard"
    """``hard``: the class; ``own``: the set's learned ones, by squared error (all others get centred one-hot ones)."""
    frames: FrameOrder = "as-is"
    teacher: str = ""
    """Fingerprint of the teacher where the protocol has one."""
    learned_lr: bool = False
    """True if ``lr`` was learned with the set, as by MTT."""
    stop: StoppingRule | None = None
    """The rule by which a network that chooses may stop early; None: all epochs are made, as in every final table."""
    steps: int = 0
    """The number of training steps, whatever the number of clips; 0: as many as ``epochs`` make."""

    @property
    def length(self) -> int:
        """The training in the units of its schedule: steps where they are counted, else epochs."""
        return self.steps or self.epochs

    def passes(self, batches: int) -> int:
        """Return the number of epochs of so many ``batches`` that are made; the last one is cut where steps end it."""
        return -(-self.steps // batches) if self.steps else self.epochs

    @property
    def decay(self) -> float:
        """The weight decay."""
        return self.weight_decay if self.protocol.weight_decay is None else self.protocol.weight_decay

    def record(self) -> dict[str, Any]:
        """Return the recipe as a result states it; results of different records do not stand in one column."""
        protocol = self.protocol
        error = "mean squared error" if protocol.mean_error else "squared error, summed over classes"
        added: dict[str, Any] = {"loss": error} if self.labels == "own" else {}
        if self.stop is not None:
            added["stop"] = self.stop.record()
        cosine = "warm-up and cosine" if protocol.warm_up else "cosine"
        if self.steps:
            added["steps"] = self.steps
        return {
            "epochs": None if self.steps else self.epochs,
            "optimiser": "adamw" if protocol.adamw else "sgd",
            "schedule": cosine if protocol.adamw else "a tenth half way",
            "lr": self.lr,
            "momentum": None if protocol.adamw else self.momentum,
            "weight_decay": self.decay,
            "batch": self.batch,
            "augment": "resized crop and flip" if protocol.augment else "none",
            "labels": f"teacher {self.teacher}" if protocol.teacher else self.labels,
            "frames": self.frames,
            "precision": str(self.precision).removeprefix("torch."),
        } | added

    def rate(self, time: int) -> float:
        """Return the learning rate after ``time`` units of ``length``: epochs, or steps where they are counted."""
        if not self.protocol.adamw:
            return self.lr if time < self.half else self.lr / 10
        cosine = 0.5 * (1 + math.cos(math.pi * time / self.length))
        if not self.protocol.warm_up:
            return self.lr * cosine
        risen = min(1.0, 0.01 + 0.99 * time / max(1, self.length // 10))
        return self.lr * risen * (0.01 + 0.99 * cosine)

    @property
    def half(self) -> int:
        """The epoch, or step, from which SGD's rate is a tenth."""
        return (self.length + 1) // 2

    def deviations(self, several_clips: bool) -> list[str]:
        """Return the differences from the values that the protocol was published with, as texts.

        ``several_clips`` says that test videos have several clips, of which a protocol of random ones can draw.
        """
        given = self.record()
        found = []
        for name, values in self.protocol.published:
            if given[name] not in values and not (name == "lr" and self.learned_lr):
                found.append(f"{name} {given[name]:g}, published {' or '.join(f'{value:g}' for value in values)}")
        if self.protocol.published and self.protocol.passes and not several_clips:
            found.append("one test clip per video, published a random one in each pass")
        return found

    def digest(self) -> str:
        """Return a fingerprint of all that makes a difference to a network."""
        fixed = {
            field.name: value
            for field in dataclasses.fields(self.protocol)
            if (value := getattr(self.protocol, field.name)) != field.default or field.name not in _ADDED
        }
        text = json.dumps([self.model, self.record(), fixed], sort_keys=True, default=list)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


Purpose = Literal["selection", "final"]
"""Networks that choose the iteration, and those of the final table."""


def network_seed(seed: int, purpose: Purpose, number: int) -> int:
    """Return the seed of network ``number``; those that choose the iteration differ from those of the final table."""
    return derive(seed, f"network-{purpose}", number) % 2**31


def as_seen(clips: torch.Tensor, spec: ClipSpec, protocol: Protocol) -> torch.Tensor:
    """Return a batch (N, 3, T, H, W), given in the data's normalisation, as the protocol shows it to networks.

    T is the frames of ``spec``, or 1 of clips that do not move: then each value counts as if it came that many times.
    """
    if not protocol.imagenet:
        return clips
    shape = (3, 1, 1, 1)
    ours = (constant(values, clips.device).view(shape) for values in (spec.mean, spec.std))
    theirs = (constant(values, clips.device).view(shape) for values in (IMAGENET_MEAN, IMAGENET_STD))
    (mean, std), (their_mean, their_std) = ours, theirs
    shown = clips * (std / their_std) + (mean - their_mean) / their_std
    if not protocol.whole_batches:
        return shown
    times_shown = spec.frames / clips.shape[2]
    return (shown - shown.mean()) / shown.std(correction=1 / times_shown)  # sum_T / (T n - 1) = sum / (n - 1 / T)
