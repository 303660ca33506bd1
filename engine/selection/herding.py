"""Herding (Welling 2009; as exemplars are chosen by Rebuffi et al. 2017): clips whose mean is that of their class."""

from __future__ import annotations

import torch


def herding(features: torch.Tensor, number: int) -> torch.Tensor:
    """Indices of up to ``number`` rows of ``features`` (n, D), in the order in which they are chosen.

    Each next one is the row, of those left, that brings the mean of the chosen nearest to the mean of all; of equals
    the first. Computed in float64.
    """
    rows = features.double()
    number = min(number, len(rows))
    wanted, summed = rows.mean(0), torch.zeros(rows.shape[1], dtype=torch.float64)
    left = torch.ones(len(rows), dtype=torch.bool)
    chosen = []
    for k in range(number):
        distance = ((summed + rows) / (k + 1) - wanted).square().sum(1)
        best = int(distance.masked_fill(~left, torch.inf).argmin())
        left[best] = False
        summed += rows[best]
        chosen.append(best)
    return torch.tensor(chosen, dtype=torch.int64)
