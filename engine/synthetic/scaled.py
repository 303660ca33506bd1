"""Frames of another size, so that gradients reach the small ones."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate


def enlarge(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """``frames`` (N, T, h, w) at ``size`` (height and width), bilinearly between the centres of their pixels."""
    if frames.shape[-2:] == size:
        return frames
    return interpolate(frames, size, mode="bilinear", align_corners=False)


def shrink(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """``frames`` (N, T, H, W) at ``size`` (height and width), each pixel the mean of the area it stands for."""
    if frames.shape[-2:] == size:
        return frames
    return interpolate(frames, size, mode="area")
