"""k-center, greedily (Gonzalez 1985; Sener and Savarese 2018): clips such that none of the class is far from all."""

from __future__ import annotations

import torch


def k_center(features: torch.Tensor, number: int) -> torch.Tensor:
    """Indices of up to ``number`` rows of ``features`` (n, D), in the order in which they are chosen.

    The first is the row nearest to the mean of all; each next one is the row, of those left, that is farthest from the
    chosen one nearest to it; of equals the first. The largest such distance that remains is at most twice that of the
    best choice of as many centres. Computed in float64, with one distance per row.
    """
    rows = features.double()
    number = min(number, len(rows))
    left = torch.ones(len(rows), dtype=torch.bool)
    nearest = torch.full((len(rows),), torch.inf, dtype=torch.float64)
    chosen = []
    for k in range(number):
        if k == 0:
            best = int((rows - rows.mean(0)).square().sum(1).argmin())
        else:
            best = int(nearest.masked_fill(~left, -1.0).argmax())
        left[best] = False
        nearest = torch.minimum(nearest, (rows - rows[best]).square().sum(1))
        chosen.append(best)
    return torch.tensor(chosen, dtype=torch.int64)
