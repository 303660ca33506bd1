"""Real clips on the rungs of a ladder: which of them are worth training networks on, and how good they are.

What so many bytes can hold of each rung differs by the data. Which rung is best is found on the validation split, by
networks of the seeds that choose and not of those that report; for the start of a set of a budget as for the baselines
that stand beside a set, so that neither gets the better choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from engine.config.budget import MOST_RUNGS
from engine.data.batches import RealClips
from engine.evaluation.judge import Judge
from engine.evaluation.requests import Request, Watch
from engine.evaluation.trainers import Trainers
from engine.evaluation.trials import Trial, TrialCache
from engine.synthetic import SyntheticSet


class AnyRung(Protocol):
    """The interface of rungs: ``storage`` is as ``Storage.parse`` reads it, ``title`` tells one from all others."""

    @property
    def storage(self) -> str: ...

    @property
    def title(self) -> str: ...

    def as_good(self, other: Self) -> bool:
        """Return True if nothing that ``other`` keeps of a clip is less on this rung."""


R = TypeVar("R", bound=AnyRung)


@dataclasses.dataclass(frozen=True)
class Held(Generic[R]):
    """A rung, and what a budget holds of it: clips per class, and the bytes of the largest file.

    Where not one of each class fits, ``per_class`` is 0, and ``nbytes`` is what one would take.
    """

    rung: R
    per_class: int
    nbytes: int


class Filled(Protocol):
    """The interface of real clips that are stored on rungs; ``what`` names them."""

    @property
    def what(self) -> str: ...

    def decoded(self, one: Held[Any], number: int) -> SyntheticSet:
        """Return what network ``number`` is trained on."""


def worth_judging(found: Sequence[Held[R]]) -> list[Held[R]]:
    """Return those of ``found`` that may be best, at most MOST_RUNGS, by clips per class.

    Left out are rungs that hold no clip, and those of which an earlier one, as good in everything, holds as many; where
    more are left, they are taken evenly among them.
    """
    useful = [
        one
        for number, one in enumerate(found)
        if one.per_class
        and not any(other.rung.as_good(one.rung) and other.per_class >= one.per_class for other in found[:number])
    ]
    useful.sort(key=lambda one: one.per_class)
    if len(useful) <= MOST_RUNGS:
        return useful
    return [useful[round(place * (len(useful) - 1) / (MOST_RUNGS - 1))] for place in range(MOST_RUNGS)]


def in_a_name(title: str) -> str:
    """Return ``title`` as names of files have it."""
    return title.replace(":", "_").replace(" ", "-")


def judged(
    filled: Filled,
    rungs: Sequence[Held[R]],
    judge: Judge,
    val: RealClips,
    folder: Path,
    watch: Watch,
    finished: Callable[[Held[R], Trial], None] = lambda rung, trial: None,
) -> Iterator[tuple[Held[R], list[Trial]]]:
    """Yield each of ``rungs`` with networks that are trained on what is stored on it, and tested on ``val``.

    As many networks as evaluate a step, of the seeds that choose and not of those that report; finished ones are kept
    in ``folder``. ``watch`` and ``finished`` are as in ``rows.judged``.
    """
    recipe, number = judge.recipe(judge.section.models[0], "selection"), judge.section.selection_repeats

    def requests() -> Iterator[Request]:
        for one in rungs:
            cache = TrialCache(folder, f"{filled.what}-{in_a_name(one.rung.title)}-val")
            for k, seed in enumerate(judge.seeds("selection", number)):
                yield judge.request(partial(filled.decoded, one, k), val, recipe, seed, cache)

    with Trainers(val.device, judge.record) as trainers:
        trials = trainers.trials(requests(), judge.at_once("selection"), watch)
        for one in rungs:
            own = []
            for _ in range(number):
                own.append(next(trials))
                finished(one, own[-1])
            yield one, own
