"""Changes of a batch of clips before a network sees it: random crops and flips, another order of frames."""

from __future__ import annotations

import math

import torch
from torch import nn

from engine.evaluation.protocols import FrameOrder
from engine.machine.copies import to_device

SCALE = (0.4, 1.0)
"""Part of the area that a crop keeps."""
RATIO = (3 / 4, 4 / 3)
"""Width over height of a crop."""


def crop_and_flip(clips: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Return random resized crops (Szegedy et al. 2015), each flipped with probability 1/2, of clips (N, 3, T, H, W).

    All frames of a clip are cropped and flipped alike; crops are scaled back bilinearly.
    """
    height, width = clips.shape[-2:]
    out = torch.empty_like(clips)
    draws = torch.rand(len(clips), 5, generator=rng, dtype=torch.float64).tolist()
    for number, (area, ratio, down, right, flip) in enumerate(draws):
        top, left, tall, wide = crop_box(height, width, area, ratio, down, right)
        crop = clips[number, :, :, top : top + tall, left : left + wide]
        shown = nn.functional.interpolate(crop, size=(height, width), mode="bilinear", align_corners=False)
        out[number] = shown.flip(-1) if flip < 0.5 else shown
    return out


def crop_box(
    height: int, width: int, area: float, ratio: float, down: float, right: float
) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a crop by draws in [0, 1) for its area, its shape, and its place."""
    kept = SCALE[0] + area * (SCALE[1] - SCALE[0])
    shape = math.exp(math.log(RATIO[0]) + ratio * (math.log(RATIO[1]) - math.log(RATIO[0])))
    tall = min(height, max(1, round(math.sqrt(height * width * kept / shape))))
    wide = min(width, max(1, round(math.sqrt(height * width * kept * shape))))
    return int(down * (height - tall + 1)), int(right * (width - wide + 1)), tall, wide


def reorder(clips: torch.Tensor, frames: FrameOrder, rng: torch.Generator) -> torch.Tensor:
    """Return clips (N, 3, T, H, W) with frames ``as-is``, ``reversed``, ``frozen`` at a random one, or ``shuffled``."""
    if frames == "as-is":
        return clips
    number, _, length = clips.shape[:3]
    if frames == "reversed":
        order = torch.arange(length - 1, -1, -1).expand(number, -1)
    elif frames == "frozen":
        order = torch.randint(length, (number, 1), generator=rng).expand(-1, length)
    else:
        order = torch.rand(number, length, generator=rng).argsort(1)
    index = to_device(order, clips.device).view(number, 1, length, 1, 1).expand_as(clips)
    return clips.gather(2, index).contiguous(memory_format=torch.channels_last_3d)
