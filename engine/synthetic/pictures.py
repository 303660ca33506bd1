"""Sizes and colours of pictures on their way into a codec and back.

Every codec here stores the same planes and shows them the same way, so that two codecs differ in nothing but what they
make of them. FFmpeg's own conversion takes the nearest pixel's chroma and 219 of 256 levels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, interpolate

Frames = np.ndarray
"""uint8 (T, H, W, 3), or (T, H, W, 1) of gray ones."""


def resized(frames: Frames, size: tuple[int, int]) -> Frames:
    """``frames`` at ``size`` (height and width), bicubic; without aliases where they become smaller."""
    if frames.shape[1:3] == tuple(size):
        return frames
    planes = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).to(torch.float32)
    # Without `antialias` torch's cubic is another one (a = -0.75 for Keys' -0.5), which bends straight ramps.
    scaled = interpolate(planes, tuple(size), mode="bicubic", align_corners=False, antialias=True)
    return _bytes(scaled).permute(0, 2, 3, 1).contiguous().numpy()


def _bytes(values: torch.Tensor) -> torch.Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


def even(frames: Frames) -> Frames:
    """With an edge row or column more where their number is odd: 4:2:0 has one chroma value for two by two pixels."""
    return np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")


def to_planes(frames: Frames, chroma: str = "420") -> np.ndarray:
    """Return FFmpeg's planes: gray (T, H, W), yuv420p (T, 3 H / 2, W) with chroma below luma, or yuv444p (T, 3, H, W).

    Y = 0.299 R + 0.587 G + 0.114 B, Cb = 128 + (B - Y) / 1.772, Cr = 128 + (R - Y) / 1.402 (JFIF 1.02), chroma of
    ``420`` as the mean of two by two.
    """
    if frames.shape[3] == 1:
        return np.ascontiguousarray(frames[..., 0])
    red, green, blue = torch.from_numpy(np.ascontiguousarray(frames)).to(torch.float32).unbind(3)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    colour = 128 + torch.stack([(blue - luma) / 1.772, (red - luma) / 1.402], 1)
    if chroma == "444":
        return _bytes(torch.cat([luma.unsqueeze(1), colour], 1)).numpy()
    parts = [_bytes(luma).flatten(1), _bytes(avg_pool2d(colour, 2)).flatten(1)]
    return torch.cat(parts, 1).view(len(frames), -1, frames.shape[2]).numpy()


def from_planes(planes: np.ndarray, height: int, width: int, chroma: str = "420") -> Frames:
    """RGB (T, H, W, 3) of the planes that ``to_planes`` makes of colours, chroma bilinearly between its centres."""
    flat = torch.from_numpy(planes).to(torch.float32).flatten(1)
    luma = flat[:, : height * width].view(-1, height, width)
    if chroma == "444":
        colour = flat[:, height * width :].view(-1, 2, height, width)
    else:
        quarter = flat[:, height * width :].view(-1, 2, height // 2, width // 2)
        colour = interpolate(quarter, (height, width), mode="bilinear", align_corners=False)
    blue, red = (colour - 128).unbind(1)
    green = luma - (0.114 * 1.772 / 0.587) * blue - (0.299 * 1.402 / 0.587) * red
    return _bytes(torch.stack([luma + 1.402 * red, green, luma + 1.772 * blue], 3)).numpy()
