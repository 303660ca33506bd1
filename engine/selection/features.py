"""The features that clips are chosen by: what a network's classifier sees of each."""

from __future__ import annotations

from collections.abc import Callable

import torch

from engine.data.batches import RealClips
from engine.models.base import Network
from engine.models.precision import autocast


def clip_features(
    real: RealClips,
    label: int,
    network: Network,
    precision: torch.dtype = torch.float32,
    check: Callable[[], None] = lambda: None,
    size: int = 32,
) -> torch.Tensor:
    """The pooled features of all clips of class ``label``, as ``of_each_clip`` gives them: float32 (n, D)."""
    return of_each_clip(network.eval().pooled, real, label, precision, check, size)


@torch.inference_mode()
def of_each_clip(
    see: Callable[[torch.Tensor], torch.Tensor],
    real: RealClips,
    label: int,
    precision: torch.dtype,
    check: Callable[[], None],
    size: int,
) -> torch.Tensor:
    """Return what ``see`` gives for each clip of class ``label``, float32 (n, D) on the CPU, in the order of ``real``.

    One class at a time, since those of all may not fit into memory where a network embeds to many values. ``check``
    is called between batches of ``size`` clips, and may raise.
    """
    found = []
    for indices in real.of_class(label).split(size):
        check()
        with autocast(real.device, precision):
            found.append(see(real.clips(indices)).float().cpu())
    return torch.cat(found)
