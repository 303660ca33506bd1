"""What is learned: the seam between what is stored and the clips that are made of it.

A parameterisation owns the stored tensors and knows how to draw clips from them; objectives and evaluations know
nothing else of it. Everything that a network can be trained on here (memories, a still video, real clips of a
coreset) is one, so that all rows of a table are trained by the same code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.utils.data import Dataset

from engine.data.spec import ClipSpec
from engine.errors import UsageError
from engine.synthetic.temporal import Temporal

PRECISIONS = {"float32": 4, "float16": 2, "uint8": 1}
"""Bytes per stored value."""


def check_precision(precision: str) -> None:
    """Raise UsageError unless ``precision`` is one of PRECISIONS."""
    if precision not in PRECISIONS:
        raise UsageError(f"There is no precision {precision!r}.", f"Choose one of {', '.join(PRECISIONS)}.")


@dataclass(frozen=True)
class Draw:
    """Clips of one draw, with what they are and what a network shall say of them."""

    clips: torch.Tensor
    """(N, 3, T, H, W), or images (N, 3, H, W)."""
    labels: torch.Tensor
    """int64 (N): the class that each belongs to."""
    targets: torch.Tensor
    """``labels``, or soft ones (N, C) where the set has them: what a cross-entropy compares with."""


class SyntheticSet(ABC):
    """A small set of clips. An instance of class c has label c, and may have a soft label that says more.

    ``soft_labels`` (C, ipc, C), float32, or None: one value for each class, for every instance, whichever of its
    variants is drawn. They are stored and counted; with ``learn_labels`` they are among the parameters too.
    """

    kind: ClassVar[str]
    soft_labels: torch.Tensor | None = None
    temporal: Temporal | None = None
    """How the stored frames become those of a clip; None where all of them are stored, or none."""

    def __init__(
        self, spec: ClipSpec, ipc: int, *, soft_labels: torch.Tensor | None = None, learn_labels: bool = False
    ) -> None:
        number = len(spec.classes)
        assert soft_labels is None or soft_labels.shape == (number, ipc, number), soft_labels.shape
        assert soft_labels is not None or not learn_labels, "there are no labels to learn"
        self.spec = spec
        self.ipc = ipc
        self.soft_labels = soft_labels
        self.learn_labels = learn_labels

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that is stored, by name, detached; the tensors share memory with the parameters.

        Names are those in the file, but ``soft_labels``, which are ``labels`` there.
        """
        stored = self._stored() | ({} if self.soft_labels is None else {"soft_labels": self.soft_labels})
        return {name: tensor.detach() for name, tensor in stored.items()}

    def parameters(self) -> dict[str, torch.Tensor]:
        """The learnable tensors by name; an optimiser steps on these."""
        if self.learn_labels:
            assert self.soft_labels is not None
            return self._learned() | {"soft_labels": self.soft_labels}
        return self._learned()

    @abstractmethod
    def _stored(self) -> dict[str, torch.Tensor]:
        """The tensors that clips are made of, by their name in the file."""

    @abstractmethod
    def _learned(self) -> dict[str, torch.Tensor]:
        """Those of them that an optimiser steps on."""

    @abstractmethod
    def compose(self, labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """Clips (N, 3, T, H, W) of ``labels`` (N), where ``choice`` (N) picks one of ``clips_per_class``.

        Choices are ordered by instance: those of instance j are the j-th ``variants`` of them.
        """

    @property
    @abstractmethod
    def variants(self) -> int:
        """How many different clips one instance can give."""

    def describe(self) -> str:
        """What its clips depend on beside its tensors, as a text that differs where clips may."""
        return f"{self.kind} {self.ipc} {self.temporal}"

    @property
    def clips_per_class(self) -> int:
        """How many different clips a class can give."""
        return self.ipc * self.variants

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(iter(self.tensors().values())).device

    def sample(self, rng: torch.Generator, classes: Sequence[int] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """As ``draw``: clips and targets (labels (N), or soft ones (N, C))."""
        drawn = self.draw(rng, classes)
        return drawn.clips, drawn.targets

    def draw(self, rng: torch.Generator, classes: Sequence[int] | None = None) -> Draw:
        """One draw: a clip of every instance of ``classes`` (default all), each variant equally likely.

        Gives len(classes) * ipc clips, ordered by class. The draw of a class does not depend on which other classes
        are asked for, so a large set may be drawn in parts.
        """
        return self.made_of(*self.choose(rng, classes))

    def choose(self, rng: torch.Generator, classes: Sequence[int] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The labels and choices, int64 (N), of a draw, none of whose clips is made yet.

        ``made_of`` makes those that are asked for: a set takes many times its bytes if all are made at once.
        """
        number = len(self.spec.classes)
        variant = torch.randint(self.variants, (number, self.ipc), generator=rng)
        choice = torch.arange(self.ipc) * self.variants + variant
        wanted = torch.arange(number) if classes is None else torch.as_tensor(list(classes))
        labels = wanted.repeat_interleave(self.ipc).to(self.device)
        return labels, choice[wanted].flatten().to(self.device)

    def made_of(self, labels: torch.Tensor, choice: torch.Tensor) -> Draw:
        """The draw of ``labels`` and ``choice`` (N): some, or all, of what ``choose`` gave."""
        return Draw(self.compose(labels, choice), labels, self.targets(labels, choice))

    def targets(self, labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """Targets of the clips that ``compose`` makes of ``labels`` and ``choice``: (N), or soft ones (N, C)."""
        return labels if self.soft_labels is None else self.soft_labels[labels, choice // self.variants]

    def expand(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All different clips (C * clips_per_class, 3, T, H, W), ordered by class and instance, and their targets.

        Targets are labels, int64 (N), or with soft labels those of each clip's instance, float32 (N, C).
        """
        number = len(self.spec.classes)
        labels = torch.arange(number, device=self.device).repeat_interleave(self.clips_per_class)
        choice = torch.arange(self.clips_per_class, device=self.device).repeat(number)
        with torch.no_grad():
            return self.compose(labels, choice), self.targets(labels, choice)

    def as_dataset(self) -> Dataset[tuple[torch.Tensor, int | torch.Tensor]]:
        """A torch Dataset of all different clips in the order of ``expand``.

        Items are (float32 (3, T, H, W), normalised by ``spec``; label, or with soft labels float32 (C)).
        """
        return _Expanded(self)

    def nbytes(self, precision: str = "float32") -> int:
        """Bytes of the stored values at ``precision``; in uint8 with the float32 range of each memory's slices.

        Hard labels are not counted: they say nothing that the place of an instance does not.
        """
        return sum(stored_bytes(name, tensor, precision) for name, tensor in self.tensors().items())

    @property
    def stored_values(self) -> int:
        """How many numbers are stored: the size of the set whatever the precision."""
        return sum(tensor.numel() for tensor in self.tensors().values())


def is_memory(name: str) -> bool:
    """Whether the stored tensor ``name`` is a memory, which may be stored at a lower precision.

    Hallucinators (327 weights each) and soft labels are always float32: they are few, and every clip depends on them.
    """
    return not name.startswith("hallucinator.") and name != "soft_labels"


def stored_bytes(name: str, tensor: torch.Tensor, precision: str) -> int:
    """Bytes of one tensor in the file at ``precision``."""
    if not is_memory(name):
        return tensor.numel() * PRECISIONS["float32"]
    ranges = 8 * tensor.shape[0] * tensor.shape[1] if precision == "uint8" else 0
    return tensor.numel() * PRECISIONS[precision] + ranges


class _Expanded(Dataset[tuple[torch.Tensor, int | torch.Tensor]]):
    def __init__(self, synthetic: SyntheticSet) -> None:
        self._synthetic = synthetic

    def __len__(self) -> int:
        return len(self._synthetic.spec.classes) * self._synthetic.clips_per_class

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int | torch.Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        synthetic = self._synthetic
        label, number = divmod(index, synthetic.clips_per_class)
        labels, choice = (torch.tensor([value], device=synthetic.device) for value in (label, number))
        with torch.no_grad():
            clip = synthetic.compose(labels, choice)[0]
            return clip, label if synthetic.soft_labels is None else synthetic.targets(labels, choice)[0]
