"""Coverage: clips of which each other of the class has one that is like it, for as few bytes as it takes.

Facility location, greedily (Nemhauser, Wolsey and Fisher 1978; of training data Wei, Iyer and Bilmes, ICML 2015), with
the gain of a clip divided by its cost, as for budgets (Leskovec et al., KDD 2007).
"""

from __future__ import annotations

import torch


def coverage(features: torch.Tensor, number: int, costs: torch.Tensor | None = None) -> torch.Tensor:
    """Indices of up to ``number`` rows of ``features`` (n, D), in the order in which they are chosen.

    A set of rows covers sum_i max_j (d - |x_i - x_j|), over its rows j and all rows i, with d the largest distance of
    two. Each next one is the row, of those left, that adds most to it for its cost, ``costs`` (n), positive, or 1; of
    equals the first. With equal costs it covers 1 - 1/e of what the best choice of as many rows does, or more. Computed
    in float64.
    """
    rows = features.double()
    number = min(number, len(rows))
    distance = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    near = distance.max() - distance
    each = torch.ones(len(rows), dtype=torch.float64) if costs is None else costs.double()
    left = torch.ones(len(rows), dtype=torch.bool)
    covered = torch.zeros(len(rows), dtype=torch.float64)
    chosen = []
    for _ in range(number):
        gains = (near - covered.unsqueeze(1)).clamp_min(0).sum(0) / each
        best = int(gains.masked_fill(~left, -1.0).argmax())
        left[best] = False
        covered = torch.maximum(covered, near[:, best])
        chosen.append(best)
    return torch.tensor(chosen, dtype=torch.int64)
