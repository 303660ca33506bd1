"""The clips that a set stands for, and the way from stored bytes to what a network sees and back."""

from __future__ import annotations

import dataclasses

import torch

from engine.machine.copies import constant


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """The clips that a set stands for: class names (index = label), shape, and the normalisation of pixels.

    ``mean`` and ``std`` are per channel, of pixels in [0, 1]; memories live in normalised units.
    """

    classes: tuple[str, ...]
    frames: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalise(self, clips: torch.Tensor) -> torch.Tensor:
        """uint8 (N, T, H, W, 3) to float32 (N, 3, T, H, W), channels last; the layout of the bytes does not change."""
        return _normalise(clips.permute(0, 4, 1, 2, 3), self.mean, self.std)

    def normalise_images(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (N, H, W, 3) to float32 (N, 3, H, W), channels last."""
        return _normalise(images.permute(0, 3, 1, 2), self.mean, self.std)

    def to_pixels(self, clips: torch.Tensor) -> torch.Tensor:
        """Normalised (N, 3, ..., H, W) to uint8 (N, ..., H, W, 3), rounded and clipped to what a screen can show."""
        shape = (3,) + (1,) * (clips.dim() - 2)
        mean, std = (torch.tensor(values, device=clips.device).view(shape) for values in (self.mean, self.std))
        pixels = ((clips * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        return pixels.movedim(1, -1).contiguous()


def _normalise(pixels: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    shape = (3,) + (1,) * (pixels.dim() - 2)
    scale = constant(tuple(1 / (255 * value) for value in std), pixels.device).view(shape)
    shift = constant(tuple(m / s for m, s in zip(mean, std, strict=True)), pixels.device).view(shape)
    return pixels.to(torch.float32).mul_(scale).sub_(shift)
