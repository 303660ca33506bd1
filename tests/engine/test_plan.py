"""If these fail, people start a run for the night that will take the week, or buy memory that they do not need."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

import engine.plan
import engine.worker
from engine.config import Preset, load_preset
from engine.counts import candidate_steps
from engine.data.store import ClipStore
from engine.events import Evaluated, Event, RunStarted, StageFinished, StageStarted, Step
from engine.matching.bank import Schedule
from engine.plan import plan
from engine.runs import RunDirectory
from tests.tiny_run import QUICK, make_clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"))


class Machine:
    """A machine whose clock says exactly what things cost, and that does nothing."""

    STATIC, DYNAMIC, FILL, BEGIN = 2.0, 3.0, 7.0, 5.0
    now = 100.0

    def work(self, run: RunDirectory, listen: Any) -> None:
        """Go through a run as the engine tells of it."""
        from engine.config import read_preset

        for event, seconds in self.course(read_preset(run.preset_file)):
            self.now += seconds
            listen(event)

    def course(self, preset: Preset) -> list[tuple[Event, float]]:
        """Every event, and the seconds before it."""
        told: list[tuple[Event, float]] = [(RunStarted("x", 0, "cpu", preset.stages, False), 0.0)]
        told += [(StageStarted("prepare", 0, 1), 0.0), (StageFinished("prepare", 4.0), 4.0)]
        told += [(StageStarted("static", 0, preset.static.steps), 0.0)]
        for step in range(preset.static.steps):
            told.append((self.step("static", step), self.STATIC + self.BEGIN * (step == 0)))
        told += [(StageFinished("static", 0.0), 0.0), (StageStarted("dynamic", 0, 1), 0.0)]
        schedule = Schedule(preset.run.seed, preset.dynamic.dm.bank, preset.dynamic.dm.renew_every)
        met: set[int] = set()
        for step in range(preset.dynamic.steps + 1):
            if step in candidate_steps(preset.dynamic):
                seconds = 1.5 + 0.5 * preset.evaluation.epochs
                told.append((Evaluated("synthetic", step, "val", 0.1, 0.0, (0.1,), seconds), seconds))
            if step < preset.dynamic.steps:
                fill = schedule.number(step) not in met
                met.add(schedule.number(step))
                told.append((self.step("dynamic", step), self.DYNAMIC + self.FILL * fill))
        seconds = 10.0 + 2.0 * preset.evaluation.epochs
        return [*told, (StageStarted("evaluate", 0, 1), 0.0), (StageFinished("evaluate", seconds), seconds)]

    def step(self, stage: str, number: int) -> Step:
        return Step(stage, number + 1, 1, 1.0, 1.0, {})


@pytest.mark.parametrize("epochs", [1, 2, 400])
def test_the_time_of_a_run_whose_costs_are_known(clips: Path, monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """From three steps and two lengths of training, to the second."""
    machine = Machine()
    preset = load_preset(
        "default",
        [
            f"dataset.path={clips}",
            "static.steps=40",
            "dynamic.steps=230",
            "dynamic.eval_every=50",
            f"evaluation.epochs={epochs}",
        ],
    )
    assert preset.dynamic.dm.target == "bank"
    monkeypatch.setattr(engine.worker, "work", machine.work)
    monkeypatch.setattr(engine.plan.time, "monotonic", lambda: machine.now)
    found = plan(preset)
    assert found.seconds == pytest.approx(sum(seconds for _, seconds in machine.course(preset)))
    assert found.device == "cpu" and found.memory_bytes > 10**7


def test_a_chosen_coreset_has_a_rival_and_a_random_one_has_none(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the networks of a night would be missing from its plan."""
    machine = Machine()
    monkeypatch.setattr(engine.worker, "work", machine.work)
    rows = {}
    for method in ("herding", "random"):
        changes = ["synthetic.kind=coreset", f"selection.method={method}", "evaluation.repeats=5"]
        rows[method] = plan(load_preset("default", [f"dataset.path={clips}", *changes])).parts[-1].number
    assert rows == {"herding": 10, "random": 5}


def test_a_rehearsal_of_a_real_run(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of what will happen are those of the whole run; nothing stays behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    changes = ["dynamic.steps=9", "dynamic.eval_every=4", "evaluation.epochs=1", "dynamic.dm.bank=2"]
    preset = load_preset("default", [*QUICK, *changes, f"dataset.path={clips}"])
    heard: list[Event] = []
    found = plan(preset, heard.append)
    parts = {(part.stage, part.what): part for part in found.parts}
    assert [stage for stage, _ in parts] == ["prepare", "static", "dynamic", "dynamic", "dynamic", "evaluate"]
    assert parts["static", "steps"].number == 4 and parts["dynamic", "steps"].number == 9
    assert parts["dynamic", "networks to choose the step"].number == 4  # steps 0, 4, 8 and 9
    assert parts["evaluate", "networks for the final table"].number == 6
    # What a fill of the bank takes is the first step less a usual one: of such small clips it may be nothing.
    assert all(part.seconds > 0 or "target bank" in part.what for part in found.parts)
    assert all(part.seconds >= 0 for part in found.parts) and found.rehearsed_seconds > 0
    statics, dynamics = 2 * 2 * 3 * 64 * 64, 2 * 2 * 8 * 64 * 64
    assert found.stored_values == statics + dynamics + 327 and found.stored_bytes == 4 * found.stored_values
    with ClipStore.open(clips) as store:
        assert 0 < found.data_bytes <= len(store.split("train")) * 8 * 64 * 64 * 3
    assert any(isinstance(event, StageStarted) for event in heard) and not list(tmp_path.glob("vdtui*"))
