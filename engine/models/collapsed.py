"""ConvNet3D as still videos see it: a 2-D network whose kernels are those of the video network, summed over time."""

from __future__ import annotations

import torch
from torch import nn

from engine.models.base import Network
from engine.models.convnet3d import ConvNet3D, last_side


class CollapsedConvNet3D(Network):
    """ConvNet3D's map of a video that does not move, at a time that lies four frames or more from either end.

    Where all frames are one image x, the slices w_t of a kernel over time are applied to the same x, and sum_t w_t * x
    = (sum_t w_t) * x: one 2-D convolution of one frame, in place of three for each of its frames. Maxima over time are
    of equal values. What it leaves out are the zeros that pad a clip before its first and behind its last frame: it is
    a network to learn images by, not one to judge them.

    It takes images (N, 3, H, W), and has the first weights of ``network``, which is not changed.
    """

    def __init__(self, network: ConvNet3D, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer in network.features:
            if isinstance(layer, nn.Conv3d):
                flat = nn.Conv2d(layer.in_channels, layer.out_channels, kernel_size=7, stride=2, padding=3)
                assert layer.kernel_size[1:] == flat.kernel_size and layer.stride[1:] == flat.stride
                assert flat.bias is not None and layer.bias is not None
                with torch.no_grad():
                    flat.weight.copy_(layer.weight.sum(2))
                    flat.bias.copy_(layer.bias)
                layers += [flat, nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AvgPool2d(2 if last_side(size) > 1 else 1, stride=1)
        self.logits = nn.Conv2d(network.logits.in_channels, network.logits.out_channels, 1)
        with torch.no_grad():
            self.logits.weight.copy_(network.logits.weight.squeeze(2))
            assert self.logits.bias is not None and network.logits.bias is not None
            self.logits.bias.copy_(network.logits.bias)

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the last map before the average pool, flattened: (N, 128 h w), 128 at 64 and 512 at 112 pixels."""
        return self.features(batch).flatten(1)

    def pooled(self, batch: torch.Tensor) -> torch.Tensor:
        """Return features behind the average pool over space: (N, 128) at 64 and at 112 pixels."""
        return self.pool(self.features(batch)).flatten(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return class logits (N, classes): those of the video network, without its dropout."""
        return self.logits(self.pool(self.features(images))).mean(dim=(2, 3))
