"""Everything that can happen in a run, as frozen dataclasses.

A run tells the world about itself only through these. They are appended to ``events.jsonl``; the dashboard, `vdtui
show` and the report fold that log (``engine.runs.state``), and a notebook may receive them through a callback. If
the engine reported in any second way, a replayed run and a live one could differ.

A record on disk is one JSON object: ``event`` (the snake-case name of the class), ``time`` (Unix seconds), and the
fields. Readers ignore names and fields that they do not know, so that an older dashboard can follow a newer run.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, ClassVar, Literal, get_args

SCHEMA = "vdtui.events"
SCHEMA_VERSION = 1

Stage = Literal["prepare", "budget", "experts", "static", "dynamic", "select", "evaluate"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""The stages of a run in their order, of which each has some: one with plain pixels has no ``static``, only one whose
bytes are given ``budget``, only trajectory matching ``experts``, and a coreset ``select`` in place of what is
learned."""
Split = Literal["val", "test"]
"""The clips that a network is tested on."""
Level = Literal["info", "warning"]
Occasion = Literal["synthetic", "now"]
"""Evaluations while a set is learned: ``synthetic`` to choose the iteration, ``now`` because somebody asked."""


@dataclasses.dataclass(frozen=True)
class Event:
    """Base of all events; ``kind`` is the name in the log."""

    kind: ClassVar[str] = "event"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


@dataclasses.dataclass(frozen=True)
class RunStarted(Event):
    """A worker took the run; ``resumed`` when it goes on from a checkpoint or after an earlier worker."""

    name: str
    seed: int
    device: str
    stages: tuple[str, ...]
    resumed: bool


@dataclasses.dataclass(frozen=True)
class StageStarted(Event):
    """A stage begins at ``step`` of ``total``; everything logged of it beyond ``step`` before now is void.

    ``step`` is above zero when the stage goes on from a checkpoint. Units of steps: videos (prepare), epochs
    of all experts (experts), optimiser steps (static, dynamic), trained networks (budget, evaluate).
    """

    stage: Stage
    step: int
    total: int


@dataclasses.dataclass(frozen=True)
class StageFinished(Event):
    """A stage is complete; ``seconds`` counts this worker's part of it."""

    stage: Stage
    seconds: float


@dataclasses.dataclass(frozen=True)
class Progress(Event):
    """``step`` of ``total`` units of a stage are done; ``rate`` in units per second, ``eta`` in seconds.

    Stages 1 and 2 send it while they evaluate, with ``what`` saying so. ``networks`` counts those of the evaluation, or
    of the final table, that are trained, parts of them counted; None of other work.
    """

    stage: Stage
    step: int
    total: int
    rate: float
    what: str
    eta: float | None = None
    networks: float | None = None


@dataclasses.dataclass(frozen=True)
class Step(Event):
    """One optimiser step of stage 1 or 2 is done, or one epoch of an expert, whose loss is the mean over its clips.

    ``rate`` in steps per second, without the time that evaluations take; ``eta`` in seconds until the end of the
    stage, with them. ``figures`` holds norms and ranges (``grad_dynamic``, ``min_dynamic``, ``max_dynamic``, ...), and
    about once a second ``device_memory`` (bytes) and ``device_load`` (fraction).
    """

    stage: Stage
    step: int
    total: int
    loss: float
    rate: float
    figures: dict[str, float]
    eta: float | None = None


@dataclasses.dataclass(frozen=True)
class NetworkTrained(Event):
    """One network of an evaluation was trained from scratch and tested."""

    what: str
    step: int
    split: Split
    seed: int
    accuracy: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Evaluated(Event):
    """The synthetic set as it was at ``step`` was evaluated on ``split``: top-1 as fractions over network seeds.

    ``std`` is None of a single network, which has none; logs of older versions have 0.0 there.
    ``what`` is ``now`` where somebody asked for it in between; such a one takes no part in the choice.
    """

    what: str
    step: int
    split: Split
    mean: float
    std: float | None
    values: tuple[float, ...]
    seconds: float


@dataclasses.dataclass(frozen=True)
class RungTried(Event):
    """Real clips in the bytes of the budget were judged: ``ipc`` of each class, stored as ``storage``.

    ``values`` are top-1 on the validation split by network, as fractions; ``std`` is None of a single one.
    """

    rung: str
    storage: str
    ipc: int
    bytes: int
    mean: float
    std: float | None
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class BudgetSpent(Event):
    """The set of the run will start from ``ipc`` real clips of each class as ``rung`` stores them, in ``bytes``.

    ``budget`` is in bytes too, for all classes; ``accuracy`` is that of the rung, None where nothing was trained.
    """

    budget: int
    rung: str
    storage: str
    ipc: int
    bytes: int
    accuracy: float | None


@dataclasses.dataclass(frozen=True)
class BestChanged(Event):
    """The set of ``step`` is the best so far by the validation split (or the last one, if there is none)."""

    step: int
    accuracy: float | None


@dataclasses.dataclass(frozen=True)
class ResultReady(Event):
    """One row of the final table; ``result`` is the JSON object of ``engine.evaluation.results``."""

    result: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class CheckpointSaved(Event):
    """The run can go on from here, whatever happens."""

    stage: Stage
    step: int


@dataclasses.dataclass(frozen=True)
class PreviewSaved(Event):
    """``previews/<file>`` shows the synthetic set as it was at this step."""

    stage: Stage
    step: int
    file: str


@dataclasses.dataclass(frozen=True)
class Note(Event):
    """A line for the log."""

    level: Level
    text: str


@dataclasses.dataclass(frozen=True)
class Paused(Event):
    """The run waits at a step boundary."""


@dataclasses.dataclass(frozen=True)
class Continued(Event):
    """The run goes on after a pause."""


@dataclasses.dataclass(frozen=True)
class RunStopped(Event):
    """The run was asked to stop and saved its state."""

    reason: str


@dataclasses.dataclass(frozen=True)
class RunFailed(Event):
    """The run ended by an error; ``problem`` and ``hint`` are one line each."""

    problem: str
    hint: str


@dataclasses.dataclass(frozen=True)
class RunCompleted(Event):
    """Everything is done; ``seconds`` counts the working time of all workers of this run."""

    seconds: float


def to_record(event: Event, time: float) -> dict[str, Any]:
    """Return the JSON object of ``event`` in the log; ``time`` is Unix seconds."""
    fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    return {"event": event.kind, "time": round(time, 3), **fields}
