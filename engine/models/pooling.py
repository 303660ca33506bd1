"""Pooling of clips whose backward pass is the same to the bit at every repetition, also on CUDA.

CUDA's own 3-D pooling adds gradients in the order in which its threads finish, so the same seed does not give the same
bytes. A maximum or a mean over a dimension has a fixed order. On a CPU torch's layers have one too, and are faster.
"""

from __future__ import annotations

import torch
from torch import nn


class MaxPool(nn.Module):
    """``MaxPool3d`` of blocks that do not overlap. On CUDA, equal largest values of a block share its gradient."""

    def __init__(self, kernel: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return the maxima (N, C, T // t, H // h, W // w) of clips (N, C, T, H, W)."""
        return block_maximum(clips, self.kernel) if clips.is_cuda else nn.functional.max_pool3d(clips, self.kernel)


class MeanPool(nn.Module):
    """``AvgPool3d`` with stride 1."""

    def __init__(self, kernel: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return the means (N, C, T - t + 1, H - h + 1, W - w + 1) of clips (N, C, T, H, W)."""
        return window_mean(clips, self.kernel) if clips.is_cuda else nn.functional.avg_pool3d(clips, self.kernel, 1)


def block_maximum(clips: torch.Tensor, kernel: tuple[int, int, int]) -> torch.Tensor:
    """Return the maximum of each block (t, h, w); an incomplete block at the end of a dimension is dropped."""
    blocks = clips.movedim(1, -1)  # channels last, as clips lie
    for axis, length in reversed(list(enumerate(kernel, start=1))):
        if blocks.shape[axis] % length:
            blocks = blocks.narrow(axis, 0, blocks.shape[axis] // length * length)
        blocks = blocks.unflatten(axis, (-1, length))
    return blocks.amax(dim=(2, 4, 6)).movedim(-1, 1)


def window_mean(clips: torch.Tensor, kernel: tuple[int, int, int]) -> torch.Tensor:
    """Return the mean of each window (t, h, w), at stride 1."""
    pooled = clips
    for axis, length in enumerate(kernel, start=2):
        places = pooled.shape[axis] - length + 1
        if places == 1:
            pooled = pooled.mean(axis, keepdim=True)
        elif length > 1:
            pooled = torch.stack([pooled.narrow(axis, k, places) for k in range(length)]).mean(0)
    return pooled
