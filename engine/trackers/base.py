"""The interface of a tracker, and the numbers of events as it gets them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from engine.events import Evaluated, Event, ResultReady, RungTried, Step
from engine.runs.directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class Point:
    """A value of a curve: ``name`` at ``step`` of ``stage``, at ``time`` in Unix seconds."""

    stage: str
    name: str
    step: int
    value: float
    time: float


class Tracker:
    """Base of trackers, which may raise anything: it is told once, and the tracker is left out from then on.

    All methods are called in one thread, which is not that of the run. A resumed run makes a new tracker, which goes on
    with what the one before it has left; points of steps that are repeated may come twice, with the same values.
    """

    def __init__(self, run: RunDirectory, settings: Mapping[str, str]) -> None:
        """Begin or go on; ``settings`` are all values of the run's preset by SECTION.KEY."""

    def begin_stage(self, stage: str, step: int) -> None:
        """Take note that all points of ``stage`` beyond ``step`` are void; they are coming again."""

    def log(self, points: Sequence[Point]) -> None:
        """Record ``points``, the oldest first."""

    def close(self, state: str) -> None:
        """End, the run being ``completed``, ``stopped`` or ``failed``; nothing comes after this."""


def points_of(event: Event, stage: str, time: float) -> list[Point]:
    """Return the numbers of ``event``, which happened in ``stage`` at ``time``; none of most events."""
    if isinstance(event, Step):
        found = {"loss": event.loss, "steps_per_second": event.rate, **event.figures}
        return [Point(event.stage, name, event.step, value, time) for name, value in found.items()]
    if isinstance(event, Evaluated):
        name = "accuracy" if event.what == "synthetic" else f"accuracy_{event.what}"
        found = {f"{name}/{event.split}": event.mean}
        found |= {} if event.std is None else {f"{name}_std/{event.split}": event.std}
        return [Point(stage, name, event.step, value, time) for name, value in found.items()]
    if isinstance(event, RungTried):
        return [Point(stage, f"accuracy/{event.rung}", 0, event.mean, time)]
    if isinstance(event, ResultReady):
        return _points_of_result(event.result, stage, time)
    return []


def _points_of_result(result: Mapping[str, Any], stage: str, time: float) -> list[Point]:
    """Return accuracies and bytes of a row of the final table."""
    name = f"{result['what']}/{result.get('storage') or result['precision']}/{result['model']}"
    found = {f"{measure}/{name}": result[measure]["mean"] for measure in ("top1", "top5")}
    found[f"bytes/{name}"] = result["bytes"]
    return [Point(stage, name, result.get("step") or 0, float(value), time) for name, value in found.items()]
