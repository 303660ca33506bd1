"""The hallucinator: the small network, shared by all classes, that joins a still image and a dynamic memory."""

from __future__ import annotations

from typing import Self

import torch
from torch import nn


class Hallucinator(nn.Conv3d):
    """One Conv3d of 4 input and 3 output channels, kernel 3, padding 1: 327 parameters (Wang et al. 2024)."""

    def __init__(self) -> None:
        super().__init__(4, 3, kernel_size=3, padding=1)

    @classmethod
    def identity(cls, std: tuple[float, ...]) -> Self:
        """A hallucinator that passes the still image through and adds the dynamic memory to all its colours.

        ``std`` are the data's channel deviations: a dynamic value of 1 adds the same brightness, the mean of them,
        to each channel of a normalised image.
        """
        self = cls()
        mean_std = sum(std) / len(std)
        with torch.no_grad():
            self.weight.zero_()
            assert self.bias is not None
            self.bias.zero_()
            for channel in range(3):
                self.weight[channel, channel, 1, 1, 1] = 1.0
                self.weight[channel, 3, 1, 1, 1] = mean_std / std[channel]
        return self

    def compose(self, static: torch.Tensor, dynamic: torch.Tensor) -> torch.Tensor:
        """Clips (N, 3, T, H, W), channels last, of still images (N, 3, H, W) and dynamic memories (N, T, H, W)."""
        still = static.unsqueeze(2).expand(-1, -1, dynamic.shape[1], -1, -1)
        joined = torch.cat([still, dynamic.unsqueeze(1)], dim=1)
        return self(joined).contiguous(memory_format=torch.channels_last_3d)
