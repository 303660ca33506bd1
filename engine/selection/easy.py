"""Easy clips first: those of which a network is surest after a short training.

Small sets are better made of easy examples than of typical or hard ones (Sorscher et al., NeurIPS 2022; on distilled
images "easy" selection by an early-stopped network, arXiv 2502.06434).
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from engine.data.batches import RealClips
from engine.models.base import Network
from engine.models.precision import autocast


@torch.inference_mode()
def clip_losses(
    real: RealClips, label: int, network: Network, precision: torch.dtype = torch.float32, size: int = 32
) -> torch.Tensor:
    """The cross-entropy of each clip of class ``label`` by ``network``, float32 (n) on the CPU, in their order."""
    network.eval()
    found = []
    for indices in real.of_class(label).split(size):
        with autocast(real.device, precision):
            logits = network(real.clips(indices)).float()
        target = torch.full((len(indices),), label, device=logits.device)
        found.append(cross_entropy(logits, target, reduction="none").cpu())
    return torch.cat(found)


def easiest(losses: torch.Tensor, number: int) -> torch.Tensor:
    """Indices of the ``number`` smallest of ``losses`` (n), the smallest first; of equals the first."""
    return losses.argsort(stable=True)[:number]
