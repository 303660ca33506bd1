"""The choice of the iteration: which of the sets that stage 2 goes through is the run's.

The last set is often not the best one, and the best on the test split flatters: so candidates are judged on clips that
were held out of training. ``Learning`` asks one interface at every step boundary, whether there is something to choose
by or not.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Protocol, Self

from engine.config.counts import candidates, is_candidate
from engine.data.batches import RealClips
from engine.distilling.keeping import as_kept, keep_set
from engine.distilling.opening import Work
from engine.distilling.progress import TablePace
from engine.evaluation import Trainers, TrialCache, caution, mean_std, stopped
from engine.events import BestChanged, Evaluated, NetworkTrained, Note, Occasion, Split
from engine.matching import Objective
from engine.runs.checkpoints import Checkpoint
from engine.runs.session import Session
from engine.synthetic import Provenance, SyntheticSet


class Choice(Protocol):
    """The interface of choices; a context manager that holds what evaluations need."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def consider(self, step: int) -> None:
        """Judge the set as it is at ``step`` if it is a candidate, and keep it if it is the best so far."""

    def look(self, step: int) -> None:
        """Evaluate the set as it is at ``step`` because somebody asked; nothing that is chosen depends on it."""

    def seconds_left(self, step: int) -> float:
        """Return the seconds that evaluations after ``step`` will take, judging by those that were made."""

    def document(self) -> dict[str, Any]:
        """Return what a checkpoint must hold of the choice."""


class NoChoice:
    """The choice of a stage whose sets are not judged: it evaluates nothing and keeps nothing."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def consider(self, step: int) -> None:
        """Do nothing."""

    def look(self, step: int) -> None:
        """Say that this stage cannot be evaluated."""
        self._session.emit(Note("info", f"no evaluation at step {step}: only the dynamic stage can be evaluated"))

    def seconds_left(self, step: int) -> float:
        """Return 0."""
        return 0.0

    def document(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class IterationChoice(ABC):
    """A choice among the candidates of stage 2 (``is_candidate``; step 0 is one too), which the leader makes.

    The kept set is written at once, and what is judged is what such a file decodes to. ``resume`` says how far the
    choice was.
    """

    selected_on: Split | None = None
    """The split whose clips the sets are judged by, if any."""

    def __init__(self, work: Work, synthetic: SyntheticSet, objective: Objective, resume: Checkpoint | None) -> None:
        document = resume.document if resume else {}
        self._work = work
        self._synthetic = synthetic
        self._objective = objective
        self._best_step: int = document.get("best_step", -1)
        self._best_accuracy: float | None = document.get("best_accuracy")
        self._evaluated: int = document.get("evaluated", -1)

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def consider(self, step: int) -> None:
        """Judge the set as it is at ``step`` if it is a candidate, and keep it if it is the best so far."""
        work = self._work
        if not work.group.leads or step <= self._evaluated or not is_candidate(work.preset.dynamic, step):
            return
        accuracy = self._judged(step)
        if accuracy is None or self._best_accuracy is None or accuracy > self._best_accuracy:
            self._best_step, self._best_accuracy = step, accuracy
            keep_set(work, "best", self._synthetic, self.provenance(step, accuracy))
            work.session.emit(BestChanged(step, accuracy))
        self._evaluated = step

    @abstractmethod
    def _judged(self, step: int) -> float | None:
        """Return the accuracy of the set as it is at ``step``, or None to keep it whatever was kept before."""

    @abstractmethod
    def look(self, step: int) -> None:
        """Evaluate the set as it is at ``step`` because somebody asked; nothing that is chosen depends on it."""

    @abstractmethod
    def seconds_left(self, step: int) -> float:
        """Return the seconds that evaluations after ``step`` will take, judging by those that were made."""

    def document(self) -> dict[str, Any]:
        """Return what a checkpoint must hold of the choice."""
        return {"best_step": self._best_step, "best_accuracy": self._best_accuracy, "evaluated": self._evaluated}

    def provenance(self, step: int, accuracy: float | None) -> Provenance:
        """Return the origin that the file of the set of ``step`` states."""
        preset = self._work.preset
        return Provenance(
            preset.title,
            self._work.seed,
            step,
            preset.evaluation.protocol,
            self.selected_on or "none",
            accuracy,
            self._step_size(),
            preset.dynamic.objective,
        )

    def _step_size(self) -> float | None:
        learned = self._objective.parameters().get("step_size")
        return None if learned is None else learned.item()


class LastIteration(IterationChoice):
    """The choice where there are no clips to choose by: each candidate takes the place of the one before."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def _judged(self, step: int) -> None:
        return None

    def look(self, step: int) -> None:
        """Say that there is nothing to evaluate by."""
        self._work.session.emit(Note("info", f"no evaluation at step {step}: there is no validation split"))

    def seconds_left(self, step: int) -> float:
        """Return 0: nothing is evaluated."""
        return 0.0


class BestIteration(IterationChoice):
    """The choice of the set whose networks are best on ``real``, clips that it was not learned from.

    Processes that train networks are kept for all evaluations, until the context is left.
    """

    def __init__(
        self,
        work: Work,
        synthetic: SyntheticSet,
        objective: Objective,
        resume: Checkpoint | None,
        real: RealClips,
        split: Split,
    ) -> None:
        super().__init__(work, synthetic, objective, resume)
        self.selected_on: Split = split
        self._real = real
        self._seconds: list[float] = []
        self._trainers = Trainers(work.device, work.judge.record)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._trainers.close()

    def _judged(self, step: int) -> float:
        began = time.monotonic()
        accuracy = self._evaluate(step, "synthetic")
        self._seconds.append(time.monotonic() - began)
        return accuracy

    def look(self, step: int) -> None:
        """Evaluate the set as it is at ``step`` because somebody asked; nothing that is chosen depends on it."""
        self._evaluate(step, "now")

    def seconds_left(self, step: int) -> float:
        """Return the seconds that evaluations after ``step`` will take, judging by those that were made."""
        if not self._seconds:
            return 0.0
        return candidates(self._work.preset.dynamic, after=step) * mean_std(self._seconds)[0]

    def _evaluate(self, step: int, occasion: Occasion) -> float:
        """Return the mean top-1 accuracy of the set at ``step``, and tell it and that of each network."""
        began = time.monotonic()
        work, split = self._work, self.selected_on
        number = work.preset.evaluation.selection_repeats
        recipe = work.judge.recipe(work.preset.evaluation.models[0], "selection", self._step_size())
        cache = TrialCache(work.session.run.evaluations, f"{occasion}-{split}-{step:06d}")
        judged = as_kept(work, self._synthetic)
        requests = (
            work.judge.request(lambda: judged, self._real, recipe, seed, cache)
            for seed in work.judge.seeds("selection", number)
        )
        title = [f"evaluating step {step}"]
        pace = TablePace(work.session, "dynamic", title, number, step=step, total=work.preset.dynamic.steps)
        trials = []
        for trial in self._trainers.trials(requests, work.judge.at_once("selection"), pace.watch):
            trials.append(trial)
            work.session.emit(NetworkTrained(occasion, step, split, trial.seed, trial.outcome.top1, trial.seconds))
        if warning := caution(trials, recipe):
            work.session.emit(Note("warning", f"step {step}: {warning}"))
        if early := stopped(trials, work.preset.evaluation):
            work.session.emit(Note("info", f"step {step}: {early}"))
        values = tuple(trial.outcome.top1 for trial in trials)
        mean, std = mean_std(values, work.judge.protocol)
        seconds = round(time.monotonic() - began, 3)
        work.session.emit(Evaluated(occasion, step, split, mean, std, values, seconds))
        return mean


def choice_of_iteration(
    work: Work, synthetic: SyntheticSet, objective: Objective, resume: Checkpoint | None
) -> IterationChoice:
    """Return the choice by the clips that ``work`` has for it, or of the last iteration if it has none."""
    if work.choosing is None:
        return LastIteration(work, synthetic, objective, resume)
    return BestIteration(work, synthetic, objective, resume, *work.choosing)
