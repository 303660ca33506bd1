"""Whole clips as pixels: the published baselines' parameterisation, and what a coreset of real clips is."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import ClassVar

import torch

from engine.data.spec import ClipSpec
from engine.synthetic.base import PRECISIONS, SyntheticSet, is_memory
from engine.synthetic.temporal import Temporal


class Pixels(SyntheticSet):
    """``pixels`` (C, ipc, stored, 3, H, W), normalised: all T frames, or those that ``temporal`` stores of a clip."""

    kind: ClassVar[str] = "pixels"

    def __init__(
        self,
        spec: ClipSpec,
        pixels: torch.Tensor,
        *,
        temporal: Temporal | None = None,
        soft_labels: torch.Tensor | None = None,
        learn_labels: bool = False,
    ) -> None:
        super().__init__(spec, pixels.shape[1], soft_labels=soft_labels, learn_labels=learn_labels)
        assert temporal is None or temporal.frames == spec.frames, (temporal, spec.frames)
        stored = spec.frames if temporal is None else temporal.stored
        assert pixels.shape[0] == len(spec.classes)
        assert pixels.shape[2:] == (stored, 3, spec.height, spec.width), pixels.shape
        self.pixels = pixels
        self.temporal = temporal if temporal is not None and temporal.compresses else None

    @property
    def variants(self) -> int:
        """One: an instance is a clip."""
        return 1

    def _stored(self) -> dict[str, torch.Tensor]:
        return {"pixels": self.pixels}

    def _learned(self) -> dict[str, torch.Tensor]:
        return {"pixels": self.pixels}

    def compose(self, labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """The clips of instances ``choice``."""
        stored = self.pixels[labels, choice]
        if self.temporal is None:
            return stored.transpose(1, 2).contiguous(memory_format=torch.channels_last_3d)
        # Channels go last while there are few frames: what is stretched is in the layout that networks want.
        shown = self.temporal.stretch(stored.movedim(2, -1).contiguous(), 1)
        return shown.movedim(-1, 1).contiguous(memory_format=torch.channels_last_3d)


MOST_REPEATS = 1 << 10
"""How often a file may say that a clip comes again, which costs it next to nothing."""


class Coreset(Pixels):
    """Real clips: exact in uint8, so that is what is stored, a byte a value without ranges.

    A class with fewer clips than ``ipc`` shows them again, in the same order, so that an epoch has as many of each
    class. What comes again is neither stored nor counted.
    """

    kind: ClassVar[str] = "coreset"

    @functools.cached_property
    def distinct(self) -> tuple[int, ...]:
        """How many clips each class has before they come again; clips are compared once, since real ones stay."""
        return tuple(_period(own) for own in self.pixels)

    def nbytes(self, precision: str = "uint8") -> int:
        """Bytes of the stored values."""
        return sum(
            number * PRECISIONS[precision if is_memory(name) else "float32"] for name, number in self._counted().items()
        )

    @property
    def stored_values(self) -> int:
        """How many numbers are stored: those of each clip once."""
        return sum(self._counted().values())

    def _counted(self) -> dict[str, int]:
        numbers = {name: tensor.numel() for name, tensor in self.tensors().items()}
        return numbers | {"pixels": sum(self.distinct) * self.pixels[0, 0].numel()}


def _period(own: torch.Tensor) -> int:
    """After how many of ``own`` (n, ...) the first ones come again to the end; n if they do not."""
    places = range(1, len(own))
    return next((n for n in places if torch.equal(own[n], own[0]) and torch.equal(own[n:], own[:-n])), len(own))


def stored_of(distinct: Sequence[int], number: int) -> list[int]:
    """How many clips of each class a file stores that shows ``number``, of which ``distinct`` are different.

    One class stores a clip for every MOST_REPEATS, so that a small file cannot claim all memory.
    """
    kept = list(distinct)
    largest = kept.index(max(kept))
    kept[largest] = max(kept[largest], math.ceil(number / MOST_REPEATS))
    return kept
