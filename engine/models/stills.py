"""Maps of a video network for stills that are shown as clips: exact, and of few slices in time.

All frames of such a clip are one image. The maps of the network then are equal at all times but near the two ends,
where zeros pad the clip: behind the first convolution there are the first slice, the last one, and one for all between.
To compute each slice of a map for as often as it is shown would be most of the work of judging a set of stills.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import torch
from torch import nn

_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True)
class StillMap:
    """A map (N, C, T, H, W) by its distinct slices in time, each (N, C, H, W), and the slice that each time shows."""

    slices: tuple[torch.Tensor, ...]
    times: tuple[int, ...]
    endless: bool = False
    """True if the clip goes on before its first time and behind its last one, in place of zeros."""

    @classmethod
    def of_images(cls, images: torch.Tensor, frames: int, *, endless: bool = False) -> Self:
        """Return the clips that show images (N, 3, H, W) for ``frames`` frames."""
        return cls((images.contiguous(memory_format=torch.channels_last),), (0,) * frames, endless)

    def expanded(self) -> torch.Tensor:
        """Return the whole map (N, C, T, H, W), channels last."""
        whole = torch.stack([self.slices[shown] for shown in self.times], 2)
        return whole.contiguous(memory_format=torch.channels_last_3d)

    def convolved(self, layer: nn.Conv3d) -> StillMap:
        """Return the map behind ``layer``, whose stride over time is 1, and which keeps the number of times.

        A slice is the sum over k of slice k of the kernel applied to the slice of the time that it lies on: a 2-D
        convolution each, of which one that several times have in common is computed once.
        """
        length, padding = layer.kernel_size[0], int(layer.padding[0])
        assert layer.stride[0] == layer.groups == 1 and length == 2 * padding + 1, layer
        kernels = layer.weight.unbind(2)
        first, last = (self.times[0], self.times[-1]) if self.endless else (None, None)
        padded = (first,) * padding + self.times + (last,) * padding
        windows, times = _distinct([padded[time : time + length] for time in range(len(self.times))])
        if len(self.slices) == 1:
            return StillMap(self._of_one_slice(layer, kernels, windows), times, self.endless)
        seen = [[window[k] for window in windows] for k in range(length)]
        biases = [layer.bias if k == padding else None for k in range(length)]  # the middle is a part of all
        parts = [self._seen_by(layer, *one) for one in zip(kernels, biases, seen, strict=True)]
        terms = [[parts[k][one] for k, one in enumerate(window) if one is not None] for window in windows]
        return StillMap(tuple(functools.reduce(torch.add, own) for own in terms), times, self.endless)

    def _of_one_slice(
        self, layer: nn.Conv3d, kernels: Sequence[torch.Tensor], windows: Sequence[Sequence[int | None]]
    ) -> tuple[torch.Tensor, ...]:
        """Return the slices of ``windows`` of one and the same slice: each is one convolution by a sum of kernels."""
        seen = [[kernels[k] for k, one in enumerate(window) if one is not None] for window in windows]
        sums = [functools.reduce(torch.add, own) for own in seen]
        bias = None if layer.bias is None else layer.bias.repeat(len(sums))
        return _convolve(self.slices[0], torch.cat(sums), bias, layer).chunk(len(sums), 1)

    def _seen_by(
        self, layer: nn.Conv3d, kernel: torch.Tensor, bias: torch.Tensor | None, seen: Sequence[int | None]
    ) -> dict[int, torch.Tensor]:
        """Return the slices that are ``seen`` by a slice of the kernel, convolved by it in one batch."""
        places = sorted({one for one in seen if one is not None})
        batch = torch.cat([self.slices[place] for place in places])
        parts = _convolve(batch, kernel, bias, layer).chunk(len(places))
        return dict(zip(places, parts, strict=True))

    def pooled(self, kernel: tuple[int, int, int]) -> StillMap:
        """Return the maxima of its blocks (t, h, w), as ``MaxPool`` does: what is left over at the end is dropped."""
        length = kernel[0]
        starts = range(0, len(self.times) // length * length, length)
        blocks, times = _distinct([frozenset(self.times[start : start + length]) for start in starts])
        # Over time first: then the larger part of the work is for fewer slices.
        tops = [functools.reduce(torch.maximum, [self.slices[one] for one in sorted(block)]) for block in blocks]
        return StillMap(tuple(nn.functional.max_pool2d(top, kernel[1:]) for top in tops), times, self.endless)

    def rectified(self) -> StillMap:
        """Return its positive part."""
        return StillMap(tuple(one.relu() for one in self.slices), self.times, self.endless)


def _convolve(images: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None, layer: nn.Conv3d) -> torch.Tensor:
    """Return ``images`` (N, C, H, W) convolved as ``layer`` does over space."""
    padding = tuple(int(side) for side in layer.padding[1:])
    return nn.functional.conv2d(images, kernel, bias, layer.stride[1:], padding)


def _distinct(keys: Sequence[_K]) -> tuple[list[_K], tuple[int, ...]]:
    """Return the different ``keys`` in the order in which they come, and the place of each among them."""
    different = list(dict.fromkeys(keys))
    return different, tuple(different.index(key) for key in keys)
