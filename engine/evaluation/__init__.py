"""Evaluation: training from scratch, metrics, protocols."""

from engine.evaluation.protocols import (
    PROTOCOLS,
    TrialCache,
    mean_std,
    network_seed,
    result,
    run_trial,
)
from engine.evaluation.training import Outcome, Recipe, evaluate_network, outcome, train_network

__all__ = [
    "PROTOCOLS",
    "Outcome",
    "Recipe",
    "TrialCache",
    "evaluate_network",
    "mean_std",
    "network_seed",
    "outcome",
    "result",
    "run_trial",
    "train_network",
]
