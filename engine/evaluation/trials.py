"""Trials: networks trained on a set and tested, each kept on the disk when it is done.

An evaluation of minutes or hours that is interrupted goes on with the next network; a number is taken from the disk
only if it was measured on exactly the same clips, by exactly the same recipe.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from engine.data.batches import RealClips
from engine.evaluation.protocols import Recipe
from engine.evaluation.training import Outcome, TrainingData, Work, as_stills, carried_out, fitting, testing
from engine.files import read_json, write_json
from engine.models.repeated import Recorder
from engine.seeds import derive


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trained and tested network."""

    seed: int
    outcome: Outcome
    seconds: float
    train_loss: float | None = None
    """Mean over its last epoch; None if it was not finite: the network diverged."""
    guess: float | None = None
    """The training loss of the best answer that is the same for all clips; None: not measured, log C."""
    epochs: int | None = None
    """The number of epochs that it was trained for; None: all of its recipe, in older files."""


@dataclasses.dataclass(frozen=True)
class TrialCache:
    """Finished networks of one evaluation in a folder; a file counts only if its key says the same set and recipe."""

    folder: Path
    name: str

    def load(self, key: str, seed: int) -> Trial | None:
        """Return the trial of ``seed`` if it was finished on the very set and recipe of ``key``, else None."""
        document = read_json(self._path(seed))
        if document is None or document.get("set") != key or document.get("seed") != seed:
            return None
        try:
            outcome = Outcome(**document["outcome"])
            loss, guess = document["train_loss"], document.get("guess")  # older files are all of hard labels
            return Trial(seed, outcome, float(document["seconds"]), loss, guess, document.get("epochs"))
        except (KeyError, TypeError, ValueError):
            return None

    def save(self, key: str, trial: Trial) -> None:
        """Keep ``trial``."""
        write_json(self._path(trial.seed), {"set": key, **dataclasses.asdict(trial)})

    def _path(self, seed: int) -> Path:
        return self.folder / f"{self.name}-{seed}.json"


def run_trial(
    data: TrainingData,
    real: RealClips,
    recipe: Recipe,
    seed: int,
    cache: TrialCache,
    watch: Callable[[float], None] = lambda fraction: None,
    teacher: Callable[[], nn.Module] | None = None,
) -> Trial:
    """Train one network on ``data`` and test it on ``real``, or take it from the cache."""
    key = trial_key(data, real, recipe)
    known = cache.load(key, seed)
    if known is not None:
        return known
    trial = train_trial(data, real, recipe, seed, watch, teacher() if teacher is not None else None)
    cache.save(key, trial)
    return trial


def train_trial(
    data: TrainingData,
    real: RealClips,
    recipe: Recipe,
    seed: int,
    watch: Callable[[float], None] = lambda fraction: None,
    teacher: nn.Module | None = None,
) -> Trial:
    """Train one network on ``data`` and test it on ``real``, even if its trial is known already."""
    return carried_out(trying(data, real, recipe, seed, teacher), watch)


def trying(
    data: TrainingData,
    real: RealClips,
    recipe: Recipe,
    seed: int,
    teacher: nn.Module | None = None,
    record: Recorder | None = None,
) -> Work[Trial]:
    """Do what ``train_trial`` does, a training step or a batch of the test at a time, by ``record`` if there is one."""
    began = time.monotonic()
    trained = yield from fitting(data, recipe, seed, teacher, record)
    test_seed = derive(seed, "test")
    result = yield from testing(trained.network, real, recipe.precision, protocol=recipe.protocol, seed=test_seed)
    loss = trained.loss if math.isfinite(trained.loss) else None
    return Trial(seed, result, round(time.monotonic() - began, 3), loss, trained.guess, trained.epochs)


def trial_key(data: TrainingData, real: RealClips, recipe: Recipe, threads: int | None = None) -> str:
    """Return a fingerprint of all that a trial's outcome depends on beside its seed.

    On a CPU sums are cut into one part per thread, so the number of threads (None: this process's) is part of it. So is
    whether clips were shown as stills, as before version 0.2.0 they were not: the network is the same but for rounding.
    """
    key = f"{digest(data)}-{digest(real)}-{recipe.digest()}"
    if as_stills(data, recipe) is not None:
        key += "-stills"
    return f"{key}-{threads or torch.get_num_threads()}" if real.device.type == "cpu" else key


def digest(data: TrainingData) -> str:
    """Return a fingerprint of a set's bytes, or of which real clips of which file these are."""
    if isinstance(data, RealClips):
        return data.digest()
    sha = hashlib.sha256(data.describe().encode())
    for name, tensor in sorted(data.tensors().items()):
        sha.update(f"{name}{tuple(tensor.shape)}".encode())
        sha.update(_bytes(tensor))
    return sha.hexdigest()[:32]


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.cpu().contiguous().numpy().tobytes()
