"""Results: one row of a table as the JSON object that outside scripts read (docs/formats.md, "A result")."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from engine.config.schema import EvaluationSection
from engine.evaluation.protocols import STRICT, Protocol, Recipe
from engine.evaluation.subjects import Subject
from engine.evaluation.trials import Trial


def mean_std(values: Sequence[float], protocol: Protocol = STRICT) -> tuple[float, float | None]:
    """Return mean and sample (or population) standard deviation; that of a single value is None.

    Raises statistics.StatisticsError if there are no values.
    """
    if len(values) < 2:
        return statistics.fmean(values), None
    deviation = statistics.pstdev if protocol.population else statistics.stdev
    return statistics.fmean(values), deviation(values)


def summary(values: list[float], seeds: list[int], protocol: Protocol) -> dict[str, Any]:
    """Return ``{mean, std, values, seeds}`` of a result; ``std`` is None where there is one value."""
    mean, std = mean_std(values, protocol)
    return {"mean": mean, "std": std, "values": values, "seeds": seeds}


def _unlearned(trials: Sequence[Trial]) -> int:
    """Return how many networks learned nothing: they diverged, or their training loss is within 5 % of that of a guess.

    An accuracy at chance says something of a set only if the networks have learned it.
    """

    def learned(trial: Trial) -> bool:
        guess = math.log(len(trial.outcome.confusion)) if trial.guess is None else trial.guess
        return trial.train_loss is not None and trial.train_loss < 0.95 * guess

    return sum(not learned(trial) for trial in trials)


def caution(trials: Sequence[Trial], recipe: Recipe) -> str | None:
    """Return a warning of networks that learned nothing, or None if all have learned."""
    number = _unlearned(trials)
    if not number or len(trials[0].outcome.confusion) < 2:
        return None
    key = "evaluation.steps" if recipe.steps else "evaluation.epochs"
    rate = f"try evaluation.lr below {recipe.lr:g}, or more {key} than {recipe.length}"
    return f"{number} of {len(trials)} networks did not learn the clips that they were trained on; {rate}"


def stopped(trials: Sequence[Trial], section: EvaluationSection) -> str:
    """Return after how many epochs networks that choose stopped, in words; "" if all made all of ``section``'s."""
    epochs = section.epochs
    made = [epochs if trial.epochs is None else trial.epochs for trial in trials]
    if section.selection_stop == "none" or not made or min(made) == epochs:
        return ""
    return f"networks that choose stopped after {statistics.fmean(made):.0f} of {epochs} epochs on average"


def result(
    subject: Subject, trials: list[Trial], recipe: Recipe, data_fingerprint: str, several_clips: bool
) -> dict[str, Any]:
    """Return one result: accuracies are fractions, per-class ones means over networks, confusion summed over them.

    ``several_clips`` says that videos of the test split have several clips.
    """
    protocol = recipe.protocol
    seeds = [trial.seed for trial in trials]
    outcomes = [trial.outcome for trial in trials]
    columns = zip(*(outcome.per_class for outcome in outcomes), strict=True)
    matrices = zip(*(outcome.confusion for outcome in outcomes), strict=True)
    document = {
        "what": subject.what,
        "objective": subject.objective,
        "ipc": subject.ipc,
        "bytes": subject.nbytes,
        "stored_values": subject.stored_values,
        "precision": subject.precision,
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "selected_on": subject.selected_on,
        "model": recipe.model,
        "recipe": recipe.record(),
        "deviations": recipe.deviations(several_clips),
        "std_kind": "population" if protocol.population else "sample",
        "top1": summary([outcome.top1 for outcome in outcomes], seeds, protocol),
        "top5": summary([outcome.top5 for outcome in outcomes], seeds, protocol),
        "per_class": [
            None if None in column else mean_std([v for v in column if v is not None])[0] for column in columns
        ],
        "confusion": [[sum(cells) for cells in zip(*rows, strict=True)] for rows in matrices],
        "train_loss": [trial.train_loss for trial in trials],
        "caution": caution(trials, recipe),
        "seconds": round(sum(trial.seconds for trial in trials), 3),
        "data_fingerprint": data_fingerprint,
        "step": subject.step,
    }
    ladder = None if subject.ladder is None else list(subject.ladder)
    extra = {
        "storage": subject.storage,
        "distinct_clips": subject.distinct_clips,
        "capped": subject.capped or None,
        "ladder": ladder,
    }
    return document | {name: value for name, value in extra.items() if value is not None}
