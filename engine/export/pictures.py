"""The pictures of a class of a synthetic set, as arrays: its clips and memories.

They are of one class at a time, because all clips of a large set would not fit into memory.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from engine.synthetic import SyntheticSet

Pixels8 = NDArray[np.uint8]


def class_clips(synthetic: SyntheticSet, label: int, most: int | None = None) -> Pixels8:
    """Return the different clips of class ``label`` in their order, at most ``most``: uint8 (K, T, H, W, 3).

    A set of still images gives clips of one frame.
    """
    number = min(synthetic.clips_per_class, most or synthetic.clips_per_class)
    choice = torch.arange(number, device=synthetic.device)
    with torch.no_grad():
        clips = synthetic.compose(torch.full_like(choice, label), choice)
    pixels: Pixels8 = synthetic.spec.to_pixels(clips).cpu().numpy()
    return pixels if pixels.ndim == 5 else pixels[:, None]


def class_statics(synthetic: SyntheticSet, label: int) -> Pixels8:
    """Return the stills that are shown beside the clips of class ``label``: uint8 (S, H, W, 3); S is 0 without any."""
    pixels: Pixels8 = synthetic.spec.to_pixels(synthetic.shown_parts(label).stills.float()).cpu().numpy()
    return pixels


def class_dynamics(synthetic: SyntheticSet, label: int) -> NDArray[np.float32]:
    """Return the dynamic memories of class ``label`` as the hallucinator sees them: float32 (D, T, H, W), D >= 0."""
    values: NDArray[np.float32] = synthetic.shown_parts(label).signed.float().cpu().numpy()
    return values


def evenly(number: int, most: int) -> list[int]:
    """Return at most ``most`` of the indices 0 .. number - 1, evenly spaced, the first and the last among them."""
    if number <= most:
        return list(range(number))
    return sorted({round(index) for index in np.linspace(0, number - 1, most)})


SIGNED_LEVELS = 33
"""The number of colours of a signed map: odd, so that zero has one of its own; small, which keeps animations small."""


def signed_palette() -> Pixels8:
    """Return the colours of a signed map, (SIGNED_LEVELS, 3): blue below zero, near white at zero, red above."""
    low, middle, high = (np.array(rgb, float) for rgb in ((33, 102, 172), (247, 247, 247), (178, 24, 43)))
    at = np.linspace(-1, 1, SIGNED_LEVELS)[:, None]
    colours = np.where(at < 0, middle + at * (middle - low), middle + at * (high - middle))
    return colours.round().astype(np.uint8)


def signed_levels(values: NDArray[np.float32]) -> tuple[Pixels8, float]:
    """Return ``values`` (any shape) as indices into ``signed_palette``, and the magnitude of its strongest colours.

    The ends of the scale are plus and minus the 99.5th percentile of the magnitudes, so that a single extreme value
    does not wash out the rest.
    """
    most = float(np.quantile(np.abs(values), 0.995)) if values.size else 0.0
    half = SIGNED_LEVELS // 2
    levels = np.clip(values / (most or 1.0), -1, 1) * half + half
    return levels.round().astype(np.uint8), most
