"""Real clips as networks see them: drawn by class, normalised on the device, late.

The bytes stay uint8 until here; a batch is a quarter of the float's size until it is where it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from engine.data.spec import ClipSpec

if TYPE_CHECKING:
    from engine.data.store import SplitView


class RealClips:
    """The clips of one split, on ``device``.

    Draws are without replacement, so a class with fewer clips than asked for gives all that it has.
    """

    def __init__(self, view: SplitView, spec: ClipSpec, device: torch.device) -> None:
        self.view = view
        self.spec = spec
        self.device = device
        self.labels = torch.tensor(view.labels)  # a copy: views are read-only
        self._by_class = [torch.as_tensor(np.flatnonzero(view.labels == c)) for c in range(len(spec.classes))]

    def __len__(self) -> int:
        return len(self.view)

    def available(self, label: int) -> int:
        """How many clips the class has."""
        return len(self._by_class[label])

    def pick(self, label: int, number: int, rng: torch.Generator) -> torch.Tensor:
        """Indices of up to ``number`` different clips of a class."""
        own = self._by_class[label]
        return own[torch.randperm(len(own), generator=rng)[:number]]

    def clips(self, indices: torch.Tensor) -> torch.Tensor:
        """Normalised clips (N, 3, T, H, W), channels last, on the device."""
        return self.spec.normalise(self._to_device(self.view.clips(indices.numpy())))

    def draw_clips(self, labels: Sequence[int], number: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Up to ``number`` random clips of each class, and their labels (on the device), ordered as ``labels``."""
        picks = [self.pick(label, number, rng) for label in labels]
        indices = torch.cat(picks)
        return self.clips(indices), self.labels[indices].to(self.device)

    def draw_frames(self, label: int, number: int, rng: torch.Generator) -> torch.Tensor:
        """One random frame of each of up to ``number`` random clips of a class: images (N, 3, H, W)."""
        indices = self.pick(label, number, rng)
        frames = torch.randint(self.spec.frames, (len(indices),), generator=rng)
        images = self.view.frames_at(indices.numpy(), frames.numpy())
        return self.spec.normalise_images(self._to_device(images))

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All clips in order, ``size`` at a time, with their indices."""
        for indices in torch.arange(len(self)).split(size):
            yield self.clips(indices), indices

    def _to_device(self, pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pixels).to(self.device)
