"""Rows of a table, judged: for each, networks are trained on its subject and tested, and a result is made of them.

A run's final table and `vdtui evaluate` are both made here, so that their numbers mean the same. What they tell while
they go on is their own.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from engine.data.batches import RealClips
from engine.evaluation.judge import Judge
from engine.evaluation.protocols import Recipe
from engine.evaluation.requests import Request, Watch
from engine.evaluation.results import result
from engine.evaluation.subjects import Subject
from engine.evaluation.trainers import Trainers
from engine.evaluation.trials import Trial, TrialCache


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: its subject, the recipe of its networks, and the place where finished ones are kept."""

    subject: Subject
    recipe: Recipe
    cache: TrialCache

    def __post_init__(self) -> None:
        assert self.recipe.stop is None, "what is reported is trained for all epochs"

    def requests(self, judge: Judge, test: RealClips) -> Iterator[Request]:
        """Yield the networks that the row needs."""
        for k, seed in enumerate(judge.seeds("final", judge.section.repeats)):
            yield judge.request(partial(self.subject.data, k), test, self.recipe, seed, self.cache)


def judged(
    rows: Sequence[Row],
    judge: Judge,
    test: RealClips,
    fingerprint: str,
    watch: Watch,
    finished: Callable[[Row, Trial], None] = lambda row, trial: None,
) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Yield each of ``rows`` with its result (docs/formats.md, "A result"), as soon as all of its networks are done.

    ``test`` are the clips of the data ``fingerprint`` that networks are tested on. ``watch`` is called several times a
    second and may raise; ``finished`` is called with each network, in the order of the rows.
    """
    with Trainers(test.device, judge.record) as trainers:
        requests = (request for row in rows for request in row.requests(judge, test))
        trials = trainers.trials(requests, judge.at_once("final"), watch)
        for row in rows:
            own: list[Trial] = []
            for trial in itertools.islice(trials, judge.section.repeats):
                own.append(trial)
                finished(row, trial)
            yield row, result(row.subject, own, row.recipe, fingerprint, test.several_clips)
