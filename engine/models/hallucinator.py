"""The hallucinator: the small network that makes a clip of a still image and a dynamic memory.

A set has one for all classes, several of which each draw picks one, or one for each class. All of them are one module
with stacked weights, so an optimiser, a checkpoint and a file hold two tensors, however many hallucinators there are.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import nn


class Hallucinator(nn.Module):
    """One Conv3d of 4 input and 3 output channels, kernel 3, padding 1: 327 parameters (Wang et al. 2024).

    ``weight`` is (3, 4, 3, 3, 3) and ``bias`` (3). Several hallucinators have their weights stacked: ``weight``
    (number, 3, 4, 3, 3, 3) and ``bias`` (number, 3).
    """

    def __init__(self, number: int = 1) -> None:
        super().__init__()
        convolutions = [nn.Conv3d(4, 3, kernel_size=3) for _ in range(number)]  # they draw their weights as torch does
        weight, bias = ([getattr(each, name).detach() for each in convolutions] for name in ("weight", "bias"))
        self.weight = nn.Parameter(torch.stack(weight) if number > 1 else weight[0])
        self.bias = nn.Parameter(torch.stack(bias) if number > 1 else bias[0])

    @property
    def number(self) -> int:
        """The number of hallucinators."""
        return 1 if self.bias.dim() == 1 else len(self.bias)

    @classmethod
    def of(cls, weight: torch.Tensor, bias: torch.Tensor) -> Self:
        """Return the hallucinator, or hallucinators, with these weights, which are not copied."""
        assert weight.shape == (*bias.shape, 4, 3, 3, 3) and bias.shape[-1] == 3, (weight.shape, bias.shape)
        self = cls()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        return self

    @classmethod
    def identity(cls, std: tuple[float, ...], number: int = 1) -> Self:
        """Return a hallucinator that passes the still image through and adds the dynamic memory to all its channels.

        ``std`` are the standard deviations of the data's channels: a dynamic value of 1 adds their mean to the
        brightness of each channel, before normalisation. Several hallucinators start alike, and differ once each has
        learned from the clips that it was drawn for.
        """
        self = cls(number)
        mean_std = sum(std) / len(std)
        with torch.no_grad():
            self.weight.zero_()
            self.bias.zero_()
            for channel in range(3):
                self.weight[..., channel, channel, 1, 1, 1] = 1.0
                self.weight[..., channel, 3, 1, 1, 1] = mean_std / std[channel]
        return self

    def compose(self, static: torch.Tensor, dynamic: torch.Tensor, which: torch.Tensor | None = None) -> torch.Tensor:
        """Return clips (N, 3, T, H, W), channels last, of still images (N, 3, H, W) and dynamic memories (N, T, H, W).

        ``which``, int64 (N), is the index of the hallucinator that makes each clip; a single one needs none.
        """
        if self.number == 1:
            return _convolve(static, dynamic, self.weight, self.bias)
        assert which is not None
        # One convolution per hallucinator: a single grouped one, with a group for every clip, took twice the time.
        order = which.argsort(stable=True)
        sizes = torch.bincount(which, minlength=self.number).tolist()
        parts = zip(static[order].split(sizes), dynamic[order].split(sizes), self.weight, self.bias, strict=True)
        clips = torch.cat([_convolve(*part) for part in parts if len(part[0])])
        return clips.index_select(0, order.argsort()).contiguous(memory_format=torch.channels_last_3d)


def _convolve(static: torch.Tensor, dynamic: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    still = static.unsqueeze(2).expand(-1, -1, dynamic.shape[1], -1, -1)
    joined = torch.cat([still, dynamic.unsqueeze(1)], dim=1)
    return nn.functional.conv3d(joined, weight, bias, padding=1).contiguous(memory_format=torch.channels_last_3d)
