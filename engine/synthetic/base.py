"""The learned set: the seam between what is stored and the clips that are made of it.

A parameterisation owns the stored tensors and knows how to draw clips from them; objectives and evaluations know
nothing else of it. Everything that a network can be trained on here (memories, a still video, real clips of a
coreset) is one, so that all rows of a table are trained by the same code.
"""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch.utils.data import Dataset

from engine.config.kinds import KINDS, Kind
from engine.data.spec import ClipSpec
from engine.machine.copies import to_device
from engine.synthetic.numbers import decode, encode, stored_bytes
from engine.synthetic.temporal import Temporal

if TYPE_CHECKING:
    from engine.synthetic.start import Start


@dataclass(frozen=True)
class Draw:
    """Clips of one draw, with what they are and what a network shall say of them."""

    clips: torch.Tensor
    """(N, 3, T, H, W), or images (N, 3, H, W)."""
    labels: torch.Tensor
    """int64 (N): the class that each belongs to."""
    targets: torch.Tensor
    """``labels``, or soft ones (N, C) where the set has them: what a cross-entropy compares with."""


@dataclass(frozen=True)
class Shown:
    """The pictures of what a class stores, to be looked at beside its clips."""

    stills: torch.Tensor
    """(S, 3, H, W), normalised as clips are; S may be 0."""
    signed: torch.Tensor
    """(D, T, H, W): maps of values around 0, over time; D may be 0."""


class SyntheticSet(ABC):
    """A small set of clips. An instance of class c has label c, and may have a soft label that says more.

    ``soft_labels`` (C, ipc, C), float32, or None: one value for each class, for every instance, whichever of its
    variants is drawn. They are stored and counted; with ``learn_labels`` they are among the parameters too.
    """

    kind: ClassVar[str]
    """The name of its description in ``engine.config.kinds``."""
    metadata_read: ClassVar[tuple[str, ...]] = ()
    """The names that ``build`` may find in a file's metadata, beside those that all files have."""
    soft_labels: torch.Tensor | None = None
    temporal: Temporal | None = None
    """The way from stored frames to those of a clip; None where all of them are stored, or none."""

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

    @property
    def description(self) -> Kind:
        """Return the description of its kind."""
        return KINDS[self.kind]

    @property
    def distinct(self) -> tuple[int, ...] | None:
        """Return how many clips each class has before they come again, or None where none need come again."""
        return None

    @classmethod
    @abstractmethod
    def start(cls, start: Start) -> Self:
        """The set before the first step of the last stage that makes it."""

    @classmethod
    @abstractmethod
    def build(cls, spec: ClipSpec, ipc: int, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> Self:
        """The set of ``tensors``, by their name in ``tensors()``, and the ``metadata`` of its file.

        Raises what ``load_set`` makes a DataError of (ValueError, KeyError, AssertionError) if they do not go together.
        """

    def metadata(self) -> dict[str, str]:
        """Return what the tensors do not say, by name, as ``build`` reads it; most sets have nothing to say.

        ``temporal``: how stored frames become a clip's, where not all are stored.
        """
        if self.temporal is None:
            return {}
        return {"temporal": json.dumps(self.temporal.described())}

    def pairing(self) -> dict[str, int]:
        """Count the memories of each sort that an instance owns."""
        return {"statics": self.variants, "dynamics": 0}

    def encoded(self, precision: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """The tensors, on the CPU, that store it at ``precision``, and the metadata that ``decoded`` needs of them."""
        stored: dict[str, torch.Tensor] = {}
        for name, tensor in self.tensors().items():
            stored |= encode(self.description.part(name), tensor.cpu(), precision)
        return stored, {}

    @classmethod
    def decoded(
        cls, spec: ClipSpec, ipc: int, stored: Mapping[str, torch.Tensor], metadata: Mapping[str, str], precision: str
    ) -> dict[str, torch.Tensor]:
        """The tensors, but soft labels, that ``encoded`` has stored. Raises KeyError or ValueError."""
        return {part.name: decode(part, stored, precision) for part in KINDS[cls.kind].parts}

    @abstractmethod
    def project(self, name: str, clips: torch.Tensor) -> torch.Tensor:
        """The tensor ``name`` that stores each of real ``clips`` (N, 3, T, H, W) best: (N, as that of a memory).

        For parts that have axes along which they are smooth.
        """

    def of_one_frame(self) -> Self | None:
        """Return this set with clips of one frame, if its clips do not move; None if one does, or may.

        Draws, labels and targets are the same. Where it depends on values, they are compared: ask once, not at a step.
        """
        return None

    def shown_parts(self, label: int, most: int | None = None) -> Shown:
        """Show what class ``label`` stores beside its clips, at most ``most`` of each sort: nothing for most sets."""
        spec = self.spec
        stills = torch.zeros(0, 3, spec.height, spec.width)
        return Shown(stills, torch.zeros(0, spec.frames, spec.height, spec.width))

    def baselines(self) -> dict[str, SyntheticSet]:
        """The sets that stand beside it in tables since it contains them, by kind (``Kind.baselines``)."""
        return {}

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that is stored, by name, detached; the tensors share memory with the parameters.

        Names are those in the file, but ``soft_labels``, which are ``labels`` there.
        """
        stored = self._stored() | ({} if self.soft_labels is None else {"soft_labels": self.soft_labels})
        return {name: tensor.detach() for name, tensor in stored.items()}

    def seen_as(self, pictures: Mapping[str, torch.Tensor]) -> Self:
        """Return this set with ``pictures``, by part, in place of its own; all else is shared with it."""
        twin = copy.copy(self)
        for name, tensor in pictures.items():
            assert self.description.part(name).channels and getattr(self, name).shape == tensor.shape, name
            setattr(twin, name, tensor)
        return twin

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
        """Return the tensors of ``_stored`` that an optimiser steps on."""

    @abstractmethod
    def compose(self, labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """Clips (N, 3, T, H, W) of ``labels`` (N), where ``choice`` (N) picks one of ``clips_per_class``.

        Choices are ordered by instance: those of instance j are the j-th ``variants`` of them.
        """

    @property
    @abstractmethod
    def variants(self) -> int:
        """The number of different clips that one instance can give."""

    @property
    def sharing(self) -> int:
        """The number of instances that share a picture; 1 where each has its own."""
        return 1

    @property
    def frames(self) -> int:
        """Frames of what a draw gives: those of a clip, or 1 where it gives images."""
        return self.spec.frames

    def describe(self) -> str:
        """Return all that its clips depend on beside its tensors, as a text that differs where clips may."""
        return f"{self.kind} {self.ipc} {self.temporal}"

    @property
    def clips_per_class(self) -> int:
        """The number of different clips that a class can give."""
        return self.ipc * self.variants

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return next(iter(self.tensors().values())).device

    def sample(self, rng: torch.Generator, classes: Sequence[int] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the clips and targets (labels (N), or soft ones (N, C)) of ``draw``."""
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
        labels = wanted.repeat_interleave(self.ipc)
        return to_device(labels, self.device), to_device(choice[wanted].flatten(), self.device)

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
        kind = self.description
        return sum(stored_bytes(kind.part(name), tensor, precision) for name, tensor in self.tensors().items())

    @property
    def stored_values(self) -> int:
        """The number of values that are stored: the size of the set whatever the precision."""
        return sum(tensor.numel() for tensor in self.tensors().values())


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
