"""Previews: the synthetic set as it took shape, small uint8 pictures that the dashboard plays without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from engine.files import replacing
from engine.synthetic import SyntheticSet

SIDE = 64
PER_CLASS = 2
PIXELS = 4 << 20
"""Roughly how many pixels a preview may hold; more classes or frames make it smaller in height and width."""


def save_preview(folder: Path, stage: str, step: int, synthetic: SyntheticSet) -> str:
    """Write ``<stage>-<step>.npz`` into ``folder`` and return its name.

    Arrays: ``classes`` (text), ``clips`` uint8 (C, N, T, h, w, 3), and of sets that show them beside their clips
    (``SyntheticSet.shown_parts``) ``static`` uint8 (C, S, h, w, 3), the stills, and ``dynamic`` uint8 (C, D, T, h, w),
    a signed map in which 128 is zero: the dynamic memory as the hallucinator sees it, with all frames, also where
    fewer or smaller ones are stored.
    """
    spec = synthetic.spec
    number = len(spec.classes)
    shown = min(PER_CLASS, synthetic.clips_per_class)
    side = min(SIDE, spec.height, max(16, int((PIXELS / (number * shown * synthetic.frames)) ** 0.5)))
    arrays = {"classes": np.array(spec.classes, dtype=np.str_), "clips": _clips(synthetic, shown, side)}
    arrays |= _parts(synthetic, side)
    name = f"{stage}-{step:06d}.npz"
    with replacing(folder / name) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
    return name


def _clips(synthetic: SyntheticSet, shown: int, side: int) -> np.ndarray:
    # The first and the last variant of a class have no static and no dynamic in common, where there are two of each.
    variants = torch.linspace(0, synthetic.clips_per_class - 1, shown).round().long()
    rows = []
    for label in range(len(synthetic.spec.classes)):  # class by class: composing all at once may not fit
        labels = torch.full((shown,), label, device=synthetic.device)
        with torch.no_grad():
            clips = synthetic.compose(labels, variants.to(synthetic.device))
        if clips.dim() == 4:
            clips = clips.unsqueeze(2)
        small = _small(clips.flatten(1, 2), side).unflatten(1, (3, -1))
        rows.append(synthetic.spec.to_pixels(small).cpu().numpy())
    return np.stack(rows)


def _parts(synthetic: SyntheticSet, side: int) -> dict[str, np.ndarray]:
    stills, signed = [], []
    for label in range(len(synthetic.spec.classes)):  # class by class: all of them enlarged may not fit
        shown = synthetic.shown_parts(label, PER_CLASS)
        if len(shown.stills):
            stills.append(synthetic.spec.to_pixels(_small(shown.stills, side)).cpu().numpy())
        if len(shown.signed):
            levels = _small(shown.signed, side) / 3 * 127 + 128
            signed.append(levels.round().clamp(0, 255).to(torch.uint8).cpu().numpy())
    return {name: np.stack(rows) for name, rows in (("static", stills), ("dynamic", signed)) if rows}


def _small(images: torch.Tensor, side: int) -> torch.Tensor:
    if images.shape[-1] == side:
        return images
    return nn.functional.interpolate(images, (side, side), mode="area")
