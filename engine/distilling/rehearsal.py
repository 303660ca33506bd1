"""A rehearsal: a short run of a preset with its own data, and the seconds that its parts took.

It has a few steps of each stage, and as few networks of few epochs as the cores train at once. Here is only what was
measured; what follows from it for the whole run is in ``plan_parts``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from engine.config import Preset, read_preset
from engine.config.counts import expert_epochs
from engine.config.kinds import COMPRESSED
from engine.config.objectives import named
from engine.config.schema import StageSection
from engine.events import (
    BestChanged,
    CheckpointSaved,
    Evaluated,
    Event,
    NetworkTrained,
    PreviewSaved,
    RungTried,
    StageFinished,
    StageStarted,
    Step,
)
from engine.runs.new import new_run

STEPS = 3
"""Steps of stage 1 that are rehearsed: the first has what happens once."""
DYNAMIC_STEPS = 4
"""Steps of stage 2 that are rehearsed. A bank is filled in the first and the third; the median of the rest is usual."""
REFILLED = 2
"""The step, counted from 0, at which a rehearsal fills a bank again: the first one has more that happens once."""
EXPERT_EPOCHS = 2
"""Epochs of the expert that is rehearsed: the first has what happens once."""
MARKS = (StageStarted, Step, Evaluated, CheckpointSaved, PreviewSaved, BestChanged)
"""Events at whose time something has ended that is timed by itself."""

S = TypeVar("S", bound=StageSection)


class Rehearsal:
    """One short run of ``preset`` with networks of ``length``, and the times of its events.

    A length is in epochs, or in steps where networks count these (``counts.length_of``).
    """

    def __init__(self, preset: Preset, length: int, folder: Path, check: Callable[[Event], None]) -> None:
        from engine.distilling.process import carry_out

        self.length = length
        self.device = ""
        self._happened: list[tuple[float, Event]] = []

        def listen(event: Event) -> None:
            self._happened.append((time.monotonic(), event))
            self.device = getattr(event, "device", self.device)
            check(event)

        name = f"{'steps' if preset.evaluation.steps else 'epochs'}-{length}"
        run = new_run(shortened(preset, length), None, folder, name, "", ["plan"])
        self._began = time.monotonic()
        carry_out(run, listen)
        self._ended = time.monotonic()
        self.best = run.best
        self.preset = read_preset(run.preset_file)
        """The preset that the rehearsal ended with: its budget, if there is one, is spent."""
        self.data_bytes: int = run.meta().get("data_bytes", 0)

    def stage(self, stage: str) -> float:
        """Return the seconds of a stage."""
        return sum(one.seconds for _, one in self._happened if isinstance(one, StageFinished) and one.stage == stage)

    def rungs(self) -> list[int]:
        """Return the clips per class of each rung on which networks were trained to choose one."""
        return [one.ipc for _, one in self._happened if isinstance(one, RungTried)]

    def selection(self) -> tuple[float, float]:
        """Return the seconds of one evaluation on the split that chooses the step, and those of the first beyond that.

        Both are 0 if none does.
        """
        found = [one.seconds for _, one in self._happened if isinstance(one, Evaluated) and one.what == "synthetic"]
        usual = min(found, default=0.0)
        return usual, max(0.0, found[0] - usual) if found else 0.0

    def baselines(self) -> tuple[int, float]:
        """Return how many networks chose the storage of baselines, and the seconds until all had."""
        began = min((when for when, one in self._happened if _begins_table(one)), default=0.0)
        chose = [when for when, one in self._happened if _chooses_baseline(one)]
        return len(chose), max(chose, default=began) - began

    def outside(self) -> tuple[float, float]:
        """Return the seconds before the first stage, and those between stages and after the last.

        Libraries are loaded in them, sets are written, and the report.
        """
        gaps, last = [], self._began
        for when, event in self._happened:
            if isinstance(event, StageStarted):
                gaps.append(when - last)
            if isinstance(event, (StageStarted, StageFinished)):
                last = when
        return gaps[0] if gaps else 0.0, sum(gaps[1:]) + self._ended - last

    def spans(self, stage: str, kind: type[Event]) -> list[float]:
        """Return the seconds of what each event of ``kind`` in ``stage`` tells the end of, since the mark before it."""
        found, last, now = [], self._began, ""
        for when, event in self._happened:
            now = event.stage if isinstance(event, StageStarted) else now
            if now == stage and isinstance(event, kind):
                found.append(when - last)
            last = when if isinstance(event, MARKS) else last
        return found

    def encodings(self, stage: str) -> list[float]:
        """Return the seconds in which the set was encoded, 0 where it was not, of each step of ``stage``."""
        steps = [one for _, one in self._happened if isinstance(one, Step) and one.stage == stage]
        return [step.figures.get("encoding_seconds", 0.0) for step in steps]

    def steps(self, stage: str) -> list[float]:
        """Return the seconds of each step of ``stage``, without those in which the set was encoded."""
        pairs = zip(self.spans(stage, Step), self.encodings(stage), strict=True)
        return [max(0.0, seconds - encoding) for seconds, encoding in pairs]


def shortened(preset: Preset, length: int) -> Preset:
    """Return ``preset`` with a few steps, networks of ``length``, and one of everything that fills slowly.

    Networks that choose are trained to their end, since nobody knows when those of the run will stop.
    """

    def section(name: str, **changes: Any) -> Any:
        return getattr(preset, name).model_copy(update=changes)

    networks = fewer_networks(preset)
    epochs_of_expert = expert_epochs(preset) // preset.experts.number if "experts" in preset.stages else 1
    dynamic = _rehearsed(preset.dynamic)
    static = preset.static if preset.static.steps <= STEPS else _rehearsed(preset.static)
    trained = {"steps" if preset.evaluation.steps else "epochs": length}
    shorter = {
        "static": static.model_copy(update={"steps": min(STEPS, static.steps)}),
        "dynamic": dynamic.model_copy(update={"steps": min(DYNAMIC_STEPS, dynamic.steps), "eval_every": DYNAMIC_STEPS}),
        "experts": section("experts", number=1, epochs=min(EXPERT_EPOCHS, epochs_of_expert)),
        "selection": section("selection", epochs=1),
        "evaluation": section("evaluation", **trained, teacher_epochs=1, selection_stop="none", **networks),
    }
    return preset.model_copy(update=shorter)


def _rehearsed(section: S) -> S:
    """``section`` with its objective's settings as they are to be rehearsed."""
    return section.with_settings(named(section.objective).rehearsed(section.settings))


def fewer_networks(preset: Preset) -> dict[str, int]:
    """Return the networks of a row, and of an evaluation, that are rehearsed: as many as are trained at once."""
    section, cores = preset.evaluation, max(1, torch.get_num_threads())
    return {name: min(getattr(section, name), cores) for name in ("repeats", "selection_repeats")}


def _begins_table(event: Event) -> bool:
    return isinstance(event, StageStarted) and event.stage == "evaluate"


def _chooses_baseline(event: Event) -> bool:
    return isinstance(event, NetworkTrained) and event.split == "val" and event.what.partition(" ")[0] in COMPRESSED
