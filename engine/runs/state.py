"""The state of a run, folded from its event log.

The dashboard, `vdtui show` and the report all read a run through this, so that a live, a finished, a crashed and a
replayed run look the same. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, get_args

from engine.events import STAGES, Occasion
from engine.runs.spread import spread, with_spreads
from engine.text import counted

LOG_LINES = 2000
UNITS = {
    "prepare": "video",
    "budget": "network",
    "experts": "epoch",
    "select": "part",
    "evaluate": "network",
}
"""The steps of a stage, where they are not optimiser steps."""
AGAIN = ("prepare", "experts")
"""Stages that a resumed run begins anew, whatever it has done since: they find what is there."""
LAST_TIME = 1e11
"""Unix seconds that no clock of a run can have reached, in the year 5138."""
FIGURE_POINTS = 2000
"""Points that are kept of a figure over a whole stage; there are many figures, and a screen has few columns."""


@dataclasses.dataclass
class Stage:
    """One stage: how far it is and how fast it goes. ``rate`` is in steps per second, 0 if unknown."""

    name: str
    step: int = 0
    total: int = 0
    rate: float = 0.0
    started: float | None = None
    finished: bool = False
    seconds: float = 0.0
    what: str = ""
    left: float | None = None

    @property
    def eta(self) -> float | None:
        """Seconds until the end of this stage as its worker last estimated them, or None if unknown."""
        if self.finished:
            return 0.0
        if self.left is not None:
            return self.left
        return (self.total - self.step) / self.rate if self.rate > 0 else None


@dataclasses.dataclass
class Curve:
    """A figure over optimiser steps, ordered by step; going on from a checkpoint cuts what comes after it."""

    steps: list[int] = dataclasses.field(default_factory=list)
    values: list[float] = dataclasses.field(default_factory=list)

    def add(self, step: int, value: float) -> None:
        """Append a point."""
        self.steps.append(step)
        self.values.append(value)

    def cut(self, step: int) -> None:
        """Forget the points after ``step``."""
        while self.steps and self.steps[-1] > step:
            self.steps.pop()
            self.values.pop()


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Top-1 of the synthetic set of one step; fractions. ``std`` is None where there is a single network."""

    what: str
    step: int
    split: str
    mean: float
    std: float | None
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class LogLine:
    """One line of the run's log; ``time`` in Unix seconds."""

    time: float
    level: str
    text: str


@dataclasses.dataclass
class RunState:
    """Everything that the event log of a run says. Built by ``add``; read freely between calls."""

    name: str = ""
    seed: int = 0
    device: str = ""
    stages: dict[str, Stage] = dataclasses.field(default_factory=dict)
    stage: str = ""
    losses: dict[str, Curve] = dataclasses.field(default_factory=dict)
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    """The last value of each figure of the present stage."""
    figure_curves: dict[str, dict[str, Curve]] = dataclasses.field(default_factory=dict)
    """By stage and name, at every n-th step; n depends on the number of steps alone, so resuming changes nothing."""
    accuracies: list[Accuracy] = dataclasses.field(default_factory=list)
    best: tuple[int, float | None] | None = None
    spent: dict[str, Any] | None = None
    """The use of the run's budget, as ``BudgetSpent`` says; None without one, or before it is chosen."""
    results: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    previews: list[tuple[str, int, str]] = dataclasses.field(default_factory=list)
    log: list[LogLine] = dataclasses.field(default_factory=list)
    problem: tuple[str, str] | None = None
    started: float | None = None
    updated: float | None = None
    seconds: float = 0.0
    """Working seconds of all workers, when completed."""
    events: int = 0
    damaged: int = dataclasses.field(default=0, compare=False)
    """Records and lines that were left out because they are not what they should be."""
    _figures_of: str = ""

    @property
    def step(self) -> int:
        """The step of the present stage."""
        return self.stages[self.stage].step if self.stage in self.stages else 0

    @property
    def total(self) -> int:
        """The steps of the present stage."""
        return self.stages[self.stage].total if self.stage in self.stages else 0

    @property
    def best_accuracy(self) -> float | None:
        """The accuracy on the validation split by which the best step was chosen."""
        return self.best[1] if self.best else None

    def accuracy_curve(self, occasion: Occasion = "synthetic") -> list[Accuracy]:
        """The evaluations of ``occasion`` by step, on the split that chooses the iteration."""
        return [accuracy for accuracy in self.accuracies if accuracy.what == occasion]

    def add(self, record: dict[str, Any]) -> None:
        """Fold one record of the log in. Unknown events and records with missing fields change nothing."""
        handler = getattr(self, f"_on_{record.get('event')}", None)
        time = record.get("time")
        if handler is None:
            return
        if not isinstance(time, (int, float)) or not 0 <= time < LAST_TIME:
            self.damaged += 1
            return
        try:
            handler(record, float(time))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            self.damaged += 1
            return
        self.events += 1
        self.updated = float(time)
        if self.started is None:
            self.started = float(time)

    def _say(self, time: float, text: str, level: str = "info") -> None:
        self.log.append(LogLine(time, level, text))
        if len(self.log) > LOG_LINES:
            del self.log[: LOG_LINES // 10]

    def _stage(self, name: str) -> Stage:
        return self.stages.setdefault(name, Stage(name))

    def _on_run_started(self, record: dict[str, Any], time: float) -> None:
        self.name, self.seed, self.device = str(record["name"]), int(record["seed"]), str(record["device"])
        for stage in record["stages"]:
            self._stage(str(stage))
        self.problem = None
        self._say(time, f"{'resumed' if record['resumed'] else 'started'} on {self.device}, seed {self.seed}")

    def _on_stage_started(self, record: dict[str, Any], time: float) -> None:
        name, step = str(record["stage"]), int(record["step"])
        # Every worker goes through prepare and experts again, which undoes nothing; others undo what came after them.
        later = STAGES[STAGES.index(name) + 1 :] if name in STAGES and name not in AGAIN else ()
        for other in later:
            if other in self.stages:
                self.stages[other] = Stage(other)
            self._forget(other, -1)
        stage = self._stage(name)
        stage.step, stage.total, stage.started, stage.finished = step, int(record["total"]), time, False
        if name not in AGAIN:
            self._forget(name, step)
        self.stage = name
        self._say(time, f"stage {name}{_amount(name, step, stage.total)}")

    def _forget(self, stage: str, step: int) -> None:
        if stage in self.losses:
            self.losses[stage].cut(step)
        for curve in self.figure_curves.get(stage, {}).values():
            curve.cut(step)
        self.previews = [preview for preview in self.previews if preview[0] != stage or preview[1] <= step]
        if stage == "dynamic":
            self.accuracies = [accuracy for accuracy in self.accuracies if accuracy.step <= step]
            if self.best and self.best[0] > step:
                self.best = None
        if stage == "evaluate" and step <= 0:
            self.results = []
            self.accuracies = [accuracy for accuracy in self.accuracies if accuracy.what in get_args(Occasion)]

    def _on_stage_finished(self, record: dict[str, Any], time: float) -> None:
        stage = self._stage(str(record["stage"]))
        stage.finished, stage.seconds, stage.step = True, float(record["seconds"]), stage.total
        self._say(time, f"stage {stage.name} done in {stage.seconds:.0f} s")

    def _on_progress(self, record: dict[str, Any], time: float) -> None:
        step, total, rate = int(record["step"]), int(record["total"]), float(record["rate"])
        what, left = str(record["what"]), _seconds(record.get("eta"))
        stage = self._stage(str(record["stage"]))
        stage.step, stage.total, stage.rate, stage.what, stage.left = step, total, rate, what, left
        self.stage = stage.name

    def _on_step(self, record: dict[str, Any], time: float) -> None:
        step, total, rate = int(record["step"]), int(record["total"]), float(record["rate"])
        loss, left = _number(record["loss"]), _seconds(record.get("eta"))
        figures = {str(name): _number(value) for name, value in record["figures"].items()}
        stage = self._stage(str(record["stage"]))
        # Not every step tells every figure.
        self.figures = self.figures | figures if stage.name == self._figures_of else figures
        self._figures_of = stage.name
        stage.step, stage.total, stage.rate, stage.what, stage.left = step, total, rate, "", left
        self.stage = stage.name
        self.losses.setdefault(stage.name, Curve()).add(step, loss)
        if step % max(1, -(-total // FIGURE_POINTS)) == 0:
            curves = self.figure_curves.setdefault(stage.name, {})
            for name, value in self.figures.items():
                curves.setdefault(name, Curve()).add(step, value)

    def _on_network_trained(self, record: dict[str, Any], time: float) -> None:
        text = (
            f"{record['what']} at step {record['step']}: network {record['seed']} reaches "
            f"{100 * record['accuracy']:.1f} % on {record['split']} ({record['seconds']:.0f} s)"
        )
        self._say(time, text)

    def _on_evaluated(self, record: dict[str, Any], time: float) -> None:
        values = tuple(map(_number, record["values"]))
        accuracy = Accuracy(
            str(record["what"]),
            int(record["step"]),
            str(record["split"]),
            float(record["mean"]),
            spread(record["std"], values),
            values,
        )
        same = (accuracy.what, accuracy.step, accuracy.split)
        self.accuracies = [old for old in self.accuracies if (old.what, old.step, old.split) != same]
        self.accuracies.append(accuracy)
        either_side = "" if accuracy.std is None else f" +- {100 * accuracy.std:.1f}"
        reached = f"{100 * accuracy.mean:.1f}{either_side} % on {accuracy.split}"
        self._say(time, f"{accuracy.what} at step {accuracy.step}: {reached}")

    def _on_rung_tried(self, record: dict[str, Any], time: float) -> None:
        deviation = None if record["std"] is None else float(record["std"])
        either_side = "" if deviation is None else f" +- {100 * deviation:.1f}"
        held = f"{record['rung']}: {counted(int(record['ipc']), 'clip')} per class in {int(record['bytes']):,} bytes"
        self._say(time, f"{held}, {100 * float(record['mean']):.1f}{either_side} % on val")

    def _on_budget_spent(self, record: dict[str, Any], time: float) -> None:
        accuracy = record["accuracy"]
        self.spent = {
            "budget": int(record["budget"]),
            "rung": str(record["rung"]),
            "storage": str(record["storage"]),
            "ipc": int(record["ipc"]),
            "bytes": int(record["bytes"]),
            "accuracy": None if accuracy is None else float(accuracy),
        }
        why = "fixed: nothing tells a better one" if accuracy is None else f"{100 * float(accuracy):.1f} % on val"
        spent = f"{counted(self.spent['ipc'], 'clip')} per class as {self.spent['rung']}, {self.spent['bytes']:,} bytes"
        self._say(time, f"budget of {self.spent['budget']:,} bytes: {spent} ({why})")

    def _on_best_changed(self, record: dict[str, Any], time: float) -> None:
        accuracy = math.nan if record["accuracy"] is None else float(record["accuracy"])
        self.best = (int(record["step"]), accuracy if math.isfinite(accuracy) else None)
        self._say(time, f"best so far: step {self.best[0]}")

    def _on_result_ready(self, record: dict[str, Any], time: float) -> None:
        result = with_spreads(dict(record["result"]))
        same = (result.get("what"), result.get("model"))
        self.results = [old for old in self.results if (old.get("what"), old.get("model")) != same] + [result]

    def _on_checkpoint_saved(self, record: dict[str, Any], time: float) -> None:
        self._say(time, f"checkpoint: {record['stage']} step {record['step']}")

    def _on_preview_saved(self, record: dict[str, Any], time: float) -> None:
        self.previews.append((str(record["stage"]), int(record["step"]), str(record["file"])))

    def _on_note(self, record: dict[str, Any], time: float) -> None:
        self._say(time, str(record["text"]), str(record["level"]))

    def _on_paused(self, record: dict[str, Any], time: float) -> None:
        self._say(time, "paused")

    def _on_continued(self, record: dict[str, Any], time: float) -> None:
        self._say(time, "continued")

    def _on_run_stopped(self, record: dict[str, Any], time: float) -> None:
        self._say(time, f"stopped: {record['reason']}", "warning")

    def _on_run_failed(self, record: dict[str, Any], time: float) -> None:
        self.problem = (str(record["problem"]), str(record["hint"]))
        self._say(time, f"failed: {self.problem[0]} {self.problem[1]}", "error")

    def _on_run_completed(self, record: dict[str, Any], time: float) -> None:
        self.seconds = float(record["seconds"])
        self._say(time, f"completed in {self.seconds:.0f} s")


def _amount(stage: str, step: int, total: int) -> str:
    """Say how much a stage that begins at ``step`` has to do: `: 12 networks`; nothing where it does not know yet."""
    unit = UNITS.get(stage, "step")
    if step:
        return f": {unit} {step} of {total}"
    if total <= 1:
        return f": 1 {unit}" if total and unit == "step" else ""
    return f": {total} {unit}s"


def _number(value: Any) -> float:
    """A figure of the log; null, which is what it has for numbers that are not finite, is NaN."""
    return math.nan if value is None else float(value)


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)


def fold(records: Iterable[dict[str, Any]]) -> RunState:
    """The state that ``records`` lead to."""
    state = RunState()
    for record in records:
        state.add(record)
    return state
