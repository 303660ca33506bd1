"""Sets of real clips on the rungs of a ladder: which of them are worth training networks on, and how good they are.

What a budget of bytes can hold of each rung differs by the data; which rung is best is found on the validation split,
by networks of the seeds that choose and not of those that report.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from engine.config.budget import MOST_RUNGS, Rung
from engine.data.batches import RealClips
from engine.evaluation.judge import Judge
from engine.evaluation.trainers import Request, Trainers, Watch
from engine.evaluation.trials import Trial, TrialCache
from engine.synthetic import SyntheticSet


@dataclasses.dataclass(frozen=True)
class Held:
    """A rung, and what a budget holds of it: ``per_class`` clips of each class in ``nbytes``.

    Where not one of each class fits, ``per_class`` is 0, and ``nbytes`` is what one would take.
    """

    rung: Rung
    per_class: int
    nbytes: int


def worth_judging(found: Sequence[Held], most: int = MOST_RUNGS) -> list[Held]:
    """Return those of ``found`` that may be best, at most ``most``, in their order.

    Left out are rungs that hold no clip, and those of which an earlier one, which keeps as much of each clip, holds as
    many; where more are left, they are taken evenly by clips per class.
    """
    useful = [
        one
        for number, one in enumerate(found)
        if one.per_class
        and not any(other.rung.keeps_as_much(one.rung) and other.per_class >= one.per_class for other in found[:number])
    ]
    if len(useful) <= most:
        return useful
    by_number = sorted(useful, key=lambda one: one.per_class)
    taken = [by_number[round(place * (len(useful) - 1) / (most - 1))] for place in range(most)]
    return [one for one in useful if one in taken]


def judged_rungs(
    rungs: Sequence[Held],
    decoded: Callable[[Held], SyntheticSet],
    judge: Judge,
    val: RealClips,
    folder: Path,
    watch: Watch,
    finished: Callable[[Held, Trial], None] = lambda rung, trial: None,
) -> Iterator[tuple[Held, list[Trial]]]:
    """Yield each of ``rungs`` with networks that are trained on what it is ``decoded`` to, and tested on ``val``.

    There are as many networks as evaluate a step of stage 2, of the same seeds. Finished ones are kept in ``folder``,
    and taken from there. ``watch`` may raise to stop; ``finished`` is told of each network.
    """
    recipe, number = judge.recipe(judge.section.models[0]), judge.section.selection_repeats

    def requests() -> Iterator[Request]:
        for one in rungs:
            cache = TrialCache(folder, f"rung-{one.rung.title.replace(' ', '-')}-val")
            for seed in judge.seeds("selection", number):
                yield judge.request(partial(decoded, one), val, recipe, seed, cache)

    with Trainers(val.device) as trainers:
        trials = trainers.trials(requests(), judge.at_once("selection"), watch)
        for one in rungs:
            own = []
            for _ in range(number):
                own.append(next(trials))
                finished(one, own[-1])
            yield one, own
