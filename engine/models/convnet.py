"""ConvNet, the image network of the dataset distillation literature (Gidaris and Komodakis 2018), for stage 1."""

from __future__ import annotations

import torch
from torch import nn

from engine.models.base import Network

MIN_SIDE = 8
"""The least height and width, in pixels, that can be halved three times."""


class ConvNet(Network):
    """Three blocks of Conv2d 3x3 (width 128) - instance norm - ReLU - average pooling, then a linear classifier.

    It takes images (N, 3, H, W) of at least 8 x 8 pixels.
    """

    def __init__(self, classes: int, size: int, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.features = conv_blocks(width, depth)
        self.classifier = nn.Linear(width * (size // 2**depth) ** 2, classes)

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        """Return flattened features (N, D)."""
        return self.features(batch).flatten(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return class logits (N, classes)."""
        return self.classifier(self.embed(images))


def conv_blocks(width: int, depth: int) -> nn.Sequential:
    """Return ``depth`` blocks that take images (N, 3, H, W) to maps (N, width, H // 2**depth, W // 2**depth)."""
    blocks: list[nn.Module] = []
    channels = 3
    for _ in range(depth):
        blocks += [
            nn.Conv2d(channels, width, kernel_size=3, padding=1),
            nn.GroupNorm(width, width),  # one group per channel is instance norm, with learned scale and shift
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
        ]
        channels = width
    return nn.Sequential(*blocks)
