"""Whole clips as pixels: the published baselines' parameterisation, and what a coreset of real clips is."""

from __future__ import annotations

from typing import ClassVar

import torch

from engine.data.spec import ClipSpec
from engine.synthetic.base import PRECISIONS, SyntheticSet


class Pixels(SyntheticSet):
    """``pixels`` (C, ipc, T, 3, H, W), normalised. Real clips are exact in uint8: their precision says so."""

    kind: ClassVar[str] = "pixels"

    def __init__(self, spec: ClipSpec, pixels: torch.Tensor) -> None:
        super().__init__(spec, pixels.shape[1])
        assert pixels.shape[0] == len(spec.classes)
        assert pixels.shape[2:] == (spec.frames, 3, spec.height, spec.width), pixels.shape
        self.pixels = pixels

    @property
    def variants(self) -> int:
        """One: an instance is a clip."""
        return 1

    def tensors(self) -> dict[str, torch.Tensor]:
        """Names as in the file."""
        return {"pixels": self.pixels.detach()}

    def parameters(self) -> dict[str, torch.Tensor]:
        """All pixels."""
        return {"pixels": self.pixels}

    def compose(self, labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """The clips of instances ``choice``."""
        clips = self.pixels[labels, choice].transpose(1, 2)
        return clips.contiguous(memory_format=torch.channels_last_3d)


class Coreset(Pixels):
    """Real clips: exact in uint8, so that is what is stored, a byte a value without ranges."""

    kind: ClassVar[str] = "coreset"

    def nbytes(self, precision: str = "uint8") -> int:
        """Bytes of the stored values."""
        return self.stored_values * PRECISIONS[precision]
