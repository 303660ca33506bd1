"""Coresets: which real clips of a class are kept, as baselines of every distilled set."""

from engine.selection.choose import SELECTORS, coreset, select_coreset
from engine.selection.clusters import clusters
from engine.selection.coverage import coverage
from engine.selection.easy import clip_losses, easiest
from engine.selection.features import clip_features
from engine.selection.herding import herding
from engine.selection.k_center import k_center

__all__ = [
    "SELECTORS",
    "clip_features",
    "clip_losses",
    "clusters",
    "coreset",
    "coverage",
    "easiest",
    "herding",
    "k_center",
    "select_coreset",
]
