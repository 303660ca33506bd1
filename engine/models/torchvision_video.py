"""torchvision's video networks, from random weights: the field's standard ones, for cross-architecture evaluation.

The last linear layer stands by itself here, so that the features before it can be had; nothing else is changed. MViT
is left out: it takes only 224 x 224 pixels.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from engine.models.base import VideoNetwork, too_small

SPATIAL_STRIDE = 16
"""The spatial stride of the last map of the 18-layer ResNets, in pixels."""


class TorchvisionNetwork(VideoNetwork):
    """The network ``name`` of ``torchvision.models.video``, with the random weights that torchvision would draw."""

    name: ClassVar[str]
    last_layer: ClassVar[str] = "fc"

    def __init__(self, classes: int, frames: int, size: int) -> None:
        super().__init__()
        self.check(frames, size)
        from torchvision.models import get_model  # takes seconds, which runs of ConvNet3D need not spend

        self.features = get_model(self.name, weights=None, num_classes=classes)
        self.classifier = getattr(self.features, self.last_layer)
        setattr(self.features, self.last_layer, nn.Identity())

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        """Return features averaged over space and time: (N, 512), or (N, 768) of Swin3DTiny."""
        return self.features(batch)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return class logits (N, classes)."""
        return self.classifier(self.embed(clips))


class ResNetVideo(TorchvisionNetwork):
    """An 18-layer video ResNet with batch normalisation (Tran et al., CVPR 2018)."""

    temporal_stride: ClassVar[int]
    """The temporal stride of the last map, in frames."""

    @classmethod
    def check(cls, frames: int, size: int) -> None:
        """Raise DataError for clips whose last map is 1 x 1 x 1.

        The last batch of an epoch may be a single clip, and such a clip gives batch normalisation a single value, which
        has no variance: torch refuses to train on it.
        """
        if frames <= cls.temporal_stride and size <= SPATIAL_STRIDE:
            why = "its batch normalisation would have a single value of a batch of one"
            remedy = f"--frames {cls.temporal_stride + 1} or --size {SPATIAL_STRIDE + 1}"
            raise too_small(cls.name, frames, size, why, remedy)


class R3D18(ResNetVideo):
    """The ResNet of 3 x 3 x 3 convolutions: 33.2 M parameters at 50 classes."""

    name = "r3d_18"
    temporal_stride = 8


class MC3D18(ResNetVideo):
    """The ResNet of 3-D convolutions in its first blocks and 2-D ones after; it never reduces the number of frames.

    11.5 M parameters at 50 classes.
    """

    name = "mc3_18"
    temporal_stride = 1


class R2Plus1D18(ResNetVideo):
    """The ResNet of convolutions over space, each followed by one over time: 31.3 M parameters at 50 classes."""

    name = "r2plus1d_18"
    temporal_stride = 8


class Swin3DTiny(TorchvisionNetwork):
    """The tiny Video Swin Transformer (Liu et al., CVPR 2022): 27.9 M parameters at 50 classes.

    It takes clips of any shape, which it pads to whole patches and windows. Its normalisation is by layer, so it trains
    on a batch of one. In training, stochastic depth draws from torch's global generator.
    """

    name = "swin3d_t"
    last_layer = "head"
