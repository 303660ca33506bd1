"""The time that a run will still take: all of it, its later stages, evaluations and final table included.

The preset says how much there is to do, the events how long it takes of late, and a plan that was made before the start
stands in for what nothing has been measured of yet. The worker folds its own events and writes the time left into
``status.json``; docs/experiments/time_left.py replays old logs through the same class. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from engine.config import Preset, read_preset
from engine.config.choosing import split_of_choice
from engine.config.counts import baseline_networks, candidates, clips_shown
from engine.config.kinds import CLASS_MEAN, COMPRESSED
from engine.config.storage import PLAIN
from engine.errors import VdtuiError
from engine.events import STAGES
from engine.files import is_number, read_json
from engine.runs.directory import RunDirectory
from engine.runs.state import AGAIN

SHORTEST_MEMORY = 20.0
"""Seconds of work over which a pace is measured at least."""
MEMORY = 0.1
"""The share of the work so far over which it is measured: a changed load is believed after about as long."""
BACKWARD = 2
"""Passes forward that a pass backward costs."""
LEARNING = ("static", "dynamic")
UNITS = ("prepare", "budget", "experts", "select")
"""Stages whose progress is counted in units of equal cost."""


@dataclasses.dataclass(frozen=True)
class Left:
    """Seconds until the end: of the run, and of its present stage (None: unknown).

    ``at_least`` is true while there are parts ahead of which nobody knows how long they take.
    """

    run: float
    stage: float | None
    at_least: bool


class Pace:
    """Units of work per second, of late."""

    def __init__(self) -> None:
        self._units = 0.0
        self._seconds = 0.0
        self._worked = 0.0

    def add(self, units: float, seconds: float) -> None:
        """Take in that ``units`` took ``seconds``."""
        self._worked += seconds
        kept = math.exp(-seconds / max(SHORTEST_MEMORY, MEMORY * self._worked))
        self._units = kept * self._units + units
        self._seconds = kept * self._seconds + seconds

    @property
    def each(self) -> float | None:
        """Seconds of a unit; None until one is done."""
        return self._seconds / self._units if self._units > 0 and self._seconds > 0 else None


@dataclasses.dataclass(frozen=True)
class Work:
    """The amount of work that a preset makes on its data.

    ``clips`` has the number of training, validation and test clips, none where they are not known yet.
    """

    preset: Preset
    classes: int = 0
    clips: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, run: RunDirectory) -> Work | None:
        """Return the work of ``run`` as its files tell at present; None if its preset cannot be read."""
        try:
            preset = read_preset(run.preset_file)
        except VdtuiError:
            return None
        meta = run.meta()
        clips, classes = meta.get("data_clips"), meta.get("classes")
        known = isinstance(clips, dict) and all(is_number(count) for count in clips.values())
        return cls(preset, len(classes) if isinstance(classes, list) else 0, clips if known and clips else {})

    @property
    def chooses(self) -> bool:
        """Tell whether networks choose the iteration."""
        if split_of_choice(self.preset.evaluation.protocol) == "test":
            return True
        return bool(self.clips.get("val")) if self.clips else self.preset.dataset.val_fraction > 0

    @property
    def choosing_networks(self) -> int:
        """The networks of one evaluation that chooses the iteration."""
        return self.preset.evaluation.selection_repeats

    def evaluations(self, after: int) -> int:
        """Count the evaluations of stage 2 at steps later than ``after``."""
        return candidates(self.preset.dynamic, after) if self.chooses else 0

    def network(self, times: float = 1.0, split: str = "test") -> float:
        """Return the cost of a network that learns from ``times`` as many clips as the set has, and is tested.

        In passes forward; in networks where the number of clips is not known.
        """
        if not self.clips or not self.classes:
            return times
        instances = max(1, round(times * self.classes * self.preset.synthetic.ipc))
        learned = clips_shown(self.preset.evaluation, instances)
        return (1 + BACKWARD) * learned + self.clips.get(split, 0)

    @property
    def choosing_network(self) -> float:
        """The cost of one of those networks."""
        return self.network(split=split_of_choice(self.preset.evaluation.protocol))

    @property
    def table(self) -> list[float]:
        """The cost of each network of the final table, in their order."""
        evaluation = self.preset.evaluation
        costs = [self.network(self._times(row)) for row in self.preset.kind.rows(self.preset)]
        return [cost for _ in evaluation.models for cost in costs for _ in range(evaluation.repeats)]

    def _times(self, row: str) -> float:
        preset = self.preset
        if row in COMPRESSED:
            return float(preset.evaluation.baseline_clips)
        if row == CLASS_MEAN:
            return 1 / preset.synthetic.ipc
        if row == "full" and self.clips and self.classes:
            return self.clips.get("train", 0) / (self.classes * preset.synthetic.ipc)
        return 1.0

    @property
    def baselines(self) -> float:
        """The cost of the networks that choose how baselines are stored; next to any set of floats, none has to."""
        plain = self.preset.storage.how in PLAIN
        return 0.0 if plain else baseline_networks(self.preset) * self.network(split="val")


class Forecast:
    """Folds the records of a run's log, oldest first; ``left`` says what is ahead.

    ``planned`` are the parts of a plan that was made for the same work (``engine.distilling.plan``), as JSON has them.
    """

    def __init__(self, work: Work, planned: Sequence[Mapping[str, Any]] = ()) -> None:
        self.work = work
        """May be replaced when more of it is known."""
        self._planned = planned_seconds(planned)
        self._steps: dict[str, Pace] = {}
        self._networks = Pace()
        self._at: dict[str, int] = {}
        self._total: dict[str, int] = {}
        self._finished: set[str] = set()
        self._stage = ""
        self._evaluated = -1
        self._done = 0.0
        self._began = 0.0
        self._mark = 0.0
        self._told: float | None = None
        self._first: float | None = None

    @classmethod
    def of(cls, run: RunDirectory) -> Forecast | None:
        """Return the forecast of ``run`` before its first event; None where its preset cannot be read."""
        work = Work.of(run)
        parts = (read_json(run.plan_file) or {}).get("parts")
        return None if work is None else cls(work, parts if isinstance(parts, list) else ())

    # --- what happened -----------------------------------------------------------------------------------------------

    def add(self, record: Mapping[str, Any]) -> None:
        """Fold one record in; one that is damaged changes nothing."""
        handler = getattr(self, f"_on_{record.get('event')}", None)
        time: Any = record.get("time")
        if handler is None or not is_number(time):
            return
        try:
            handler(record, float(time))
        except (KeyError, TypeError, ValueError, OverflowError):
            return

    def _on_run_started(self, record: Mapping[str, Any], time: float) -> None:
        self._stage, self._mark = "", time

    def _on_continued(self, record: Mapping[str, Any], time: float) -> None:
        self._mark = time

    def _on_stage_started(self, record: Mapping[str, Any], time: float) -> None:
        stage = str(record["stage"])
        later = STAGES[STAGES.index(stage) + 1 :] if stage in STAGES and stage not in AGAIN else ()  # type: ignore[arg-type]
        self._finished -= {stage, *later}
        self._stage, self._mark, self._began = stage, time, time
        self._at[stage], self._total[stage] = int(record["step"]), int(record["total"])
        self._done, self._told, self._first = 0.0, None, None
        if stage == "dynamic":
            self._evaluated = min(self._evaluated, self._at[stage]) if self._at[stage] else -1

    def _on_stage_finished(self, record: Mapping[str, Any], time: float) -> None:
        self._finished.add(str(record["stage"]))
        self._mark = time

    def _on_step(self, record: Mapping[str, Any], time: float) -> None:
        stage = str(record["stage"])
        step = int(record["step"])
        if self._first is None:  # what happens once is in it: networks are compiled, banks are filled
            self._first = time - self._mark
        else:
            self._steps.setdefault(stage, Pace()).add(step - self._at[stage], time - self._mark)
        self._at[stage], self._total[stage], self._mark = step, int(record["total"]), time

    def _on_progress(self, record: Mapping[str, Any], time: float) -> None:
        stage, networks = str(record["stage"]), record.get("networks")
        if stage in UNITS:
            self._at[stage], self._total[stage] = int(record["step"]), int(record["total"])
            told = record.get("eta")
            self._told, self._mark = (float(told) if told is not None and is_number(told) else None), time
        elif networks is not None and is_number(networks):
            done = self._cost_until(stage, float(networks))
            if not self._done:  # until here processes were started, and clips were made
                self._done, self._mark = done, time
            self._train(done, time)

    def _cost_until(self, stage: str, networks: float) -> float:
        """Return the cost of the first ``networks`` of an evaluation, or of the final table."""
        if stage != "evaluate":
            return networks * self.work.choosing_network
        costs, whole = self.work.table, int(networks)
        rest = costs[whole] * (networks - whole) if whole < len(costs) else 0.0
        return sum(costs[:whole]) + rest

    def _train(self, done: float, time: float) -> None:
        """Take in that networks of the cost ``done`` are trained at ``time``."""
        if done > self._done:
            self._networks.add(done - self._done, time - self._mark)
            self._done, self._mark = done, time

    def _on_network_trained(self, record: Mapping[str, Any], time: float) -> None:
        if self._stage == "evaluate" and record["split"] == "test":
            self._at["evaluate"] = self._at.get("evaluate", 0) + 1
            done = self._cost_until("evaluate", self._at["evaluate"])
        elif self._stage == "dynamic" and record["what"] in ("synthetic", "now"):
            done = self._done  # the end of the evaluation tells when all are
        else:
            self._mark = time
            return
        if float(record["seconds"]) > 1.2 * (time - self._began) + 1:  # not trained here: an earlier worker did
            self._done, self._mark = max(done, self._done), time
        elif self._stage == "evaluate":
            self._train(done, time)

    def _on_evaluated(self, record: Mapping[str, Any], time: float) -> None:
        if self._stage != "dynamic":
            return
        values = record["values"]
        if self._mark < time:
            self._train(len(values) * self.work.choosing_network, time)
        if record["what"] == "synthetic":
            self._evaluated = int(record["step"])
        self._done, self._mark, self._began = 0.0, time, time

    # --- what is ahead -----------------------------------------------------------------------------------------------

    def left(self, now: float) -> Left:
        """Return the time that is left at ``now`` (Unix seconds), as far as it can be told."""
        stages = [stage for stage in self.work.preset.stages if stage not in self._finished]
        known = {stage: self._stage_left(stage) for stage in stages}
        sums = {stage: sum(part for part in parts if part is not None) for stage, parts in known.items()}
        unknown = any(part is None for parts in known.values() for part in parts)
        run, stage = sum(sums.values()), sums.get(self._stage)
        waited = max(0.0, now - self._mark) if self._mark and stage is not None else 0.0
        passed = min(waited, self._unit_seconds(), stage or 0.0)
        known_stage = stage is not None and None not in known[self._stage]
        return Left(max(0.0, run - passed), stage - passed if known_stage and stage is not None else None, unknown)

    def _unit_seconds(self) -> float:
        """Seconds that the present step or network takes: until its end, the time that passes is known to count."""
        if self._stage in UNITS:
            return math.inf
        steps = self._steps.get(self._stage)
        each = steps.each if steps is not None else None
        network = self._networks.each
        return max(each or 0.0, (network or 0.0) * self.work.choosing_network)

    def _stage_left(self, stage: str) -> list[float | None]:
        """Seconds of each part of ``stage`` that is still to be done; None for one of which nobody knows."""
        present = stage == self._stage
        if stage in UNITS:
            return [self._units_left(stage, present)]
        if stage in LEARNING:
            parts = [self._steps_left(stage)]
            return [*parts, self._evaluations_left(present)] if stage == "dynamic" else parts
        cost = sum(self.work.table) - (self._done if present else 0.0)
        baselines = 0.0 if present and self._done else self.work.baselines
        return [self._training(max(0.0, cost) + baselines, "evaluate", sum(self.work.table))]

    def _units_left(self, stage: str, present: bool) -> float | None:
        if present and self._told is not None:
            return self._told
        if (planned := self._planned.get((stage, "units"))) is not None:
            return planned * self._load()
        if stage == "experts" and not present:
            return None
        return None if stage == "budget" else 0.0  # data are opened, clips are drawn: a moment

    def _steps_left(self, stage: str) -> float | None:
        section = getattr(self.work.preset, stage)
        total = self._total.get(stage, section.steps)
        left = max(0, total - self._at.get(stage, 0))
        if (pace := self._steps.get(stage)) is not None and (each := pace.each) is not None:
            return left * each
        if (planned := self._planned.get((stage, "units"))) is not None and total:
            return planned * left / total * self._load()
        return left * self._first if stage == self._stage and self._first is not None else None if left else 0.0

    def _evaluations_left(self, present: bool) -> float | None:
        number, networks = self.work.evaluations(self._evaluated), self.work.choosing_networks
        cost = number * networks * self.work.choosing_network
        return self._training(max(0.0, cost - (self._done if present else 0.0)), "dynamic", cost)

    def _training(self, cost: float, stage: str, whole: float) -> float | None:
        """Seconds of training networks of ``cost``, a part of the ``whole`` that is planned for ``stage``."""
        if cost <= 0:
            return 0.0
        if (each := self._networks.each) is not None:
            return cost * each
        planned = self._planned.get((stage, "networks"))
        return None if planned is None else planned * cost / whole

    def _load(self) -> float:
        """The factor by which networks take longer than planned; 1 while there is none to compare."""
        each, planned = self._networks.each, self._planned.get(("evaluate", "networks"))
        whole = sum(self.work.table)
        if each is None or not planned or not whole:
            return 1.0
        return each * whole / planned


def planned_seconds(parts: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    """Sum the seconds of a plan's ``parts`` by stage, and by whether networks are judged in them or units are done."""
    found: dict[tuple[str, str], float] = {}
    for part in parts:
        stage, what, seconds = part.get("stage"), part.get("what"), part.get("seconds")
        if not isinstance(stage, str) or not isinstance(what, str) or not is_number(seconds):
            continue
        judged = stage == "evaluate" or what == "networks to choose the step"
        place = (stage, "networks" if judged else "units")
        found[place] = found.get(place, 0.0) + float(seconds)  # type: ignore[arg-type]
    return found
