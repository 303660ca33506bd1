"""Easy clips first: those of which a network is surest after a short training.

Small sets are better made of easy examples than of typical or hard ones (Sorscher et al., NeurIPS 2022; on distilled
images "easy" selection by an early-stopped network, arXiv 2502.06434).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy

from engine.data.batches import RealClips
from engine.models.base import Network
from engine.selection.features import of_each_clip


def clip_losses(
    real: RealClips,
    label: int,
    network: Network,
    precision: torch.dtype = torch.float32,
    check: Callable[[], None] = lambda: None,
    size: int = 32,
) -> torch.Tensor:
    """The cross-entropy of each clip of class ``label`` by ``network``, as ``of_each_clip`` gives it: float32 (n)."""
    logits = of_each_clip(network.eval(), real, label, precision, check, size)
    return cross_entropy(logits, torch.full((len(logits),), label), reduction="none")


def easiest(losses: torch.Tensor, number: int) -> torch.Tensor:
    """Indices of the ``number`` smallest of ``losses`` (n), the smallest first; of equals the first."""
    return losses.argsort(stable=True)[:number]
