"""What is learned: the seam between what is stored and the clips that are made of it.

A parameterisation owns the stored tensors and knows how to draw clips from them; objectives and evaluations know
nothing else of it. Everything that a network can be trained on here (memories, a still video, real clips of a
coreset) is one, so that all rows of a table are trained by the same code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch.utils.data import Dataset

from engine.data.spec import ClipSpec

PRECISIONS = {"float32": 4, "float16": 2, "uint8": 1}
"""Bytes per stored value."""


class SyntheticSet(ABC):
    """A small set of clips. ``labels`` are hard: an instance of class c has label c."""

    kind: ClassVar[str]

    def __init__(self, spec: ClipSpec, ipc: int) -> None:
        self.spec = spec
        self.ipc = ipc

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """The stored tensors by their name in the file, detached; they share memory with the parameters."""

    @abstractmethod
    def parameters(self) -> dict[str, torch.Tensor]:
        """The learnable tensors by name; an optimiser steps on these."""

    @abstractmethod
    def compose(self, labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """Clips (N, 3, T, H, W) of ``labels`` (N), where ``choice`` (N) picks one of ``clips_per_class``.

        Choices are ordered by instance: those of instance j are the j-th ``variants`` of them.
        """

    @property
    @abstractmethod
    def variants(self) -> int:
        """How many different clips one instance can give."""

    @property
    def clips_per_class(self) -> int:
        """How many different clips a class can give."""
        return self.ipc * self.variants

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(iter(self.tensors().values())).device

    def sample(self, rng: torch.Generator, classes: Sequence[int] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """One draw: a clip of every instance of ``classes`` (default all), each variant equally likely.

        Returns clips (len(classes) * ipc, 3, T, H, W), ordered by class, and labels int64. The draw of a class does
        not depend on which other classes are asked for, so a large set may be drawn in parts.
        """
        number = len(self.spec.classes)
        variant = torch.randint(self.variants, (number, self.ipc), generator=rng)
        choice = torch.arange(self.ipc) * self.variants + variant
        wanted = torch.arange(number) if classes is None else torch.as_tensor(list(classes))
        labels = wanted.repeat_interleave(self.ipc).to(self.device)
        return self.compose(labels, choice[wanted].flatten().to(self.device)), labels

    def expand(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All different clips (C * clips_per_class, 3, T, H, W), ordered by class and instance, and their labels."""
        number = len(self.spec.classes)
        labels = torch.arange(number, device=self.device).repeat_interleave(self.clips_per_class)
        choice = torch.arange(self.clips_per_class, device=self.device).repeat(number)
        with torch.no_grad():
            return self.compose(labels, choice), labels

    def as_dataset(self) -> Dataset[tuple[torch.Tensor, int]]:
        """A torch Dataset of all different clips: items (float32 (3, T, H, W), normalised by ``spec``; label)."""
        return _Expanded(self)

    def nbytes(self, precision: str = "float32") -> int:
        """Bytes of the stored values at ``precision``; in uint8 with the float32 range of each tensor's slices."""
        return sum(stored_bytes(name, tensor, precision) for name, tensor in self.tensors().items())

    @property
    def stored_values(self) -> int:
        """How many numbers are stored: the size of the set whatever the precision."""
        return sum(tensor.numel() for tensor in self.tensors().values())


def is_memory(name: str) -> bool:
    """Whether the stored tensor ``name`` is a memory; the hallucinator's 327 weights are always kept in float32."""
    return not name.startswith("hallucinator.")


def stored_bytes(name: str, tensor: torch.Tensor, precision: str) -> int:
    """Bytes of one tensor in the file at ``precision``."""
    if not is_memory(name):
        return tensor.numel() * PRECISIONS["float32"]
    ranges = 8 * tensor.shape[0] * tensor.shape[1] if precision == "uint8" else 0
    return tensor.numel() * PRECISIONS[precision] + ranges


class _Expanded(Dataset[tuple[torch.Tensor, int]]):
    def __init__(self, synthetic: SyntheticSet) -> None:
        self._synthetic = synthetic

    def __len__(self) -> int:
        return len(self._synthetic.spec.classes) * self._synthetic.clips_per_class

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        label, choice = divmod(index, self._synthetic.clips_per_class)
        device = self._synthetic.device
        with torch.no_grad():
            clips = self._synthetic.compose(torch.tensor([label], device=device), torch.tensor([choice], device=device))
        return clips[0], label
