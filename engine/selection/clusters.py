"""Clusters: the clip nearest to the centre of each cluster of a class, found by k-means (Lloyd 1982)."""

from __future__ import annotations

import torch

from engine.selection.k_center import k_center

MOST_ROUNDS = 100
"""Rounds of k-means at most."""


def clusters(features: torch.Tensor, number: int) -> torch.Tensor:
    """Indices of up to ``number`` rows of ``features`` (n, D), one for each cluster; that of the largest comes first.

    Clusters begin at the rows that ``k_center`` takes, so nothing is drawn. Of each it is the row nearest to their
    mean; of equals the first. A mean of which no row is the nearest stays where it was. Computed in float64.
    """
    rows = features.double()
    centres = rows[k_center(features, number)]
    own = torch.full((len(rows),), -1)
    for _ in range(MOST_ROUNDS):
        nearest = torch.cdist(rows, centres).argmin(1)
        if torch.equal(nearest, own):
            break
        own = nearest
        for cluster in own.unique().tolist():
            centres[cluster] = rows[own == cluster].mean(0)
    distance = torch.cdist(rows, centres)
    left = torch.ones(len(rows), dtype=torch.bool)
    chosen = []
    for cluster in torch.bincount(own, minlength=len(centres)).argsort(descending=True, stable=True).tolist():
        best = int(distance[:, cluster].masked_fill(~left, torch.inf).argmin())
        left[best] = False
        chosen.append(best)
    return torch.tensor(chosen, dtype=torch.int64)
