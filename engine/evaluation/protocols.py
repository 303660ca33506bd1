"""Protocols: what exactly is measured when a set is said to reach an accuracy.

``strict``, version 1: networks are trained from scratch on the set alone (hard labels, no augmentation), tested once
on fixed clips with logits averaged per video, over several seeded networks; mean and *sample* standard deviation. The
iteration is chosen on a validation split that was held out of training, with other network seeds than the final ones,
and the test split is touched only for the final table.
"""

from __future__ import annotations

import dataclasses
import hashlib
import statistics
import time
from collections.abc import Callable
from typing import Any

from engine.data.batches import RealClips
from engine.evaluation.training import Outcome, Recipe, evaluate_network, train_network
from engine.runs.directory import RunDirectory
from engine.runs.files import read_json, write_json
from engine.seeds import derive
from engine.synthetic.base import SyntheticSet

PROTOCOLS = {"strict": 1}
"""Protocols and their versions."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trained and tested network."""

    seed: int
    outcome: Outcome
    seconds: float


def network_seed(seed: int, purpose: str, number: int) -> int:
    """The seed of network ``number``; those that choose the iteration differ from those of the final table."""
    return derive(seed, f"network-{purpose}", number) % 2**31


def run_trial(
    synthetic: SyntheticSet,
    real: RealClips,
    recipe: Recipe,
    seed: int,
    cache: TrialCache,
    watch: Callable[[float], None] = lambda fraction: None,
) -> Trial:
    """Train one network on ``synthetic`` and test it on ``real``, or take it from the cache."""
    key = f"{digest(synthetic)}-{recipe.lr!r}"
    known = cache.load(key, seed)
    if known is not None:
        return known
    began = time.monotonic()
    network = train_network(synthetic, recipe, seed, watch)
    result = evaluate_network(network, real, recipe.precision, watch)
    trial = Trial(seed, result, round(time.monotonic() - began, 3))
    cache.save(key, trial)
    return trial


@dataclasses.dataclass(frozen=True)
class TrialCache:
    """Finished networks of one evaluation on the disk, so that an interrupted one goes on where it was.

    A file counts only if it was measured on exactly the same set: it holds a digest of the set's bytes.
    """

    run: RunDirectory
    name: str

    def load(self, key: str, seed: int) -> Trial | None:
        """The trial of ``seed`` if it was finished on this very set."""
        document = read_json(self._path(seed))
        if document is None or document.get("set") != key or document.get("seed") != seed:
            return None
        try:
            return Trial(seed, Outcome(**document["outcome"]), float(document["seconds"]))
        except (KeyError, TypeError, ValueError):
            return None

    def save(self, key: str, trial: Trial) -> None:
        """Keep ``trial``."""
        write_json(self._path(trial.seed), {"set": key, **dataclasses.asdict(trial)})

    def _path(self, seed: int) -> Any:
        return self.run.evaluations / f"{self.name}-{seed}.json"


def digest(synthetic: SyntheticSet) -> str:
    """A fingerprint of a set's bytes."""
    sha = hashlib.sha256(f"{synthetic.kind} {synthetic.ipc} {synthetic.temporal}".encode())
    for name, tensor in sorted(synthetic.tensors().items()):
        sha.update(f"{name}{tuple(tensor.shape)}".encode())
        sha.update(tensor.cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:32]


def mean_std(values: list[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; the deviation of a single value is 0."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def summary(values: list[float], seeds: list[int]) -> dict[str, Any]:
    """``{mean, std, values, seeds}`` of a result."""
    mean, std = mean_std(values)
    return {"mean": mean, "std": std, "values": values, "seeds": seeds}


def result(
    what: str,
    synthetic: SyntheticSet,
    trials: list[Trial],
    *,
    precision: str,
    selected_on: str,
    protocol: str,
    model: str,
    data_fingerprint: str,
    step: int | None,
) -> dict[str, Any]:
    """One result as the JSON object of design.md; accuracies are fractions, confusion is summed over the networks."""
    seeds = [trial.seed for trial in trials]
    outcomes = [trial.outcome for trial in trials]
    columns = zip(*(outcome.per_class for outcome in outcomes), strict=True)
    matrices = zip(*(outcome.confusion for outcome in outcomes), strict=True)
    return {
        "what": what,
        "ipc": synthetic.ipc,
        "bytes": synthetic.nbytes(precision),
        "stored_values": synthetic.stored_values,
        "precision": precision,
        "protocol": protocol,
        "protocol_version": PROTOCOLS[protocol],
        "selected_on": selected_on,
        "model": model,
        "top1": summary([outcome.top1 for outcome in outcomes], seeds),
        "top5": summary([outcome.top5 for outcome in outcomes], seeds),
        "per_class": [
            None if None in column else mean_std([v for v in column if v is not None])[0] for column in columns
        ],
        "confusion": [[sum(cells) for cells in zip(*rows, strict=True)] for rows in matrices],
        "seconds": round(sum(trial.seconds for trial in trials), 3),
        "data_fingerprint": data_fingerprint,
        "step": step,
    }
