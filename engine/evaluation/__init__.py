"""Evaluation: training from scratch, metrics, protocols."""

from engine.evaluation.protocols import PROTOCOL, PROTOCOL_VERSION, TrialCache, mean_std, network_seed, result, run_trial
from engine.evaluation.training import Outcome, Recipe, outcome, evaluate_network, train_network

__all__ = [
    "PROTOCOL",
    "PROTOCOL_VERSION",
    "Outcome",
    "Recipe",
    "TrialCache",
    "mean_std",
    "network_seed",
    "outcome",
    "result",
    "run_trial",
    "evaluate_network",
    "train_network",
]
