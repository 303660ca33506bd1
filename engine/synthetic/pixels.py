"""Whole clips as pixels: the published baselines' parameterisation, and what a coreset of real clips is."""

from __future__ import annotations

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


class Coreset(Pixels):
    """Real clips: exact in uint8, so that is what is stored, a byte a value without ranges."""

    kind: ClassVar[str] = "coreset"

    def nbytes(self, precision: str = "uint8") -> int:
        """Bytes of the stored values."""
        return sum(
            tensor.numel() * PRECISIONS[precision if is_memory(name) else "float32"]
            for name, tensor in self.tensors().items()
        )
