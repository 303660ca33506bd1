"""Evaluation: training from scratch, metrics, protocols."""

from engine.evaluation.protocols import (
    FRAMES,
    PROTOCOLS,
    STRICT,
    Protocol,
    Purpose,
    Recipe,
    network_seed,
    protocol_named,
)
from engine.evaluation.requests import QueueState, Request
from engine.evaluation.results import Subject, caution, mean_std, result, stopped
from engine.evaluation.trainers import Trainers
from engine.evaluation.training import Outcome, TrainingData, evaluate_network, outcome, train_network
from engine.evaluation.trials import Trial, TrialCache, digest, run_trial

__all__ = [
    "FRAMES",
    "PROTOCOLS",
    "STRICT",
    "Outcome",
    "Protocol",
    "Purpose",
    "QueueState",
    "Recipe",
    "Request",
    "Subject",
    "Trainers",
    "TrainingData",
    "Trial",
    "TrialCache",
    "caution",
    "digest",
    "evaluate_network",
    "mean_std",
    "network_seed",
    "outcome",
    "protocol_named",
    "result",
    "run_trial",
    "stopped",
    "train_network",
]
