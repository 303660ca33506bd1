"""torchvision's video networks, from random weights: the field's own, for cross-architecture evaluation.

Only the last linear layer is taken off and put on again, so that the features before it can be asked for. MViT is left
out: it takes nothing but 224 x 224 pixels.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from engine.models.base import VideoNetwork, too_small

SPATIAL_STRIDE = 16
"""Of the last map of the 18-layer ResNets, in pixels."""


class TorchvisionNetwork(VideoNetwork):
    """``torchvision.models.video``'s network ``name``, weights=None; the same seed draws the weights it would draw."""

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
        """Features averaged over space and time, all that is asked of these: (N, 512), of Swin3DTiny (N, 768)."""
        return self.features(batch)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Class logits (N, classes)."""
        return self.classifier(self.embed(clips))


class ResNetVideo(TorchvisionNetwork):
    """An 18-layer video ResNet with batch normalisation (Tran et al., CVPR 2018)."""

    temporal_stride: ClassVar[int]
    """Of the last map, in frames."""

    @classmethod
    def check(cls, frames: int, size: int) -> None:
        """Any clip goes through; but one whose last map is 1 x 1 x 1 has no variance, and may be a batch by itself.

        The last batch of an epoch is as large as what is left. torch refuses to train on such a batch.
        """
        if frames <= cls.temporal_stride and size <= SPATIAL_STRIDE:
            why = "its batch normalisation would have a single value of a batch of one"
            remedy = f"--frames {cls.temporal_stride + 1} or --size {SPATIAL_STRIDE + 1}"
            raise too_small(cls.name, frames, size, why, remedy)


class R3D18(ResNetVideo):
    """3 x 3 x 3 convolutions throughout: 33.2 M parameters at 50 classes."""

    name = "r3d_18"
    temporal_stride = 8


class MC3D18(ResNetVideo):
    """3-D convolutions in the first blocks, 2-D ones after: time is never reduced. 11.5 M parameters at 50 classes."""

    name = "mc3_18"
    temporal_stride = 1


class R2Plus1D18(ResNetVideo):
    """Each 3-D convolution as one over space and one over time: 31.3 M parameters at 50 classes."""

    name = "r2plus1d_18"
    temporal_stride = 8


class Swin3DTiny(TorchvisionNetwork):
    """Video Swin Transformer, tiny (Liu et al., CVPR 2022): 27.9 M parameters at 50 classes.

    Takes clips of any shape: what its patches and windows do not divide is padded. Layer normalisation, so a batch of
    one trains. In training, stochastic depth draws from torch's global generator.
    """

    name = "swin3d_t"
    last_layer = "head"
