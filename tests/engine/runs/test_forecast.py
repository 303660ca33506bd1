"""The time left: worked out on logs whose true ends are known by construction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from engine.config import load_preset
from engine.config.schema import Preset
from engine.runs.forecast import Forecast, Pace, Work

CLIPS = {"train": 80, "val": 20, "test": 40}


def preset(**changes: Any) -> Preset:
    """A run of 100 steps of stage 2, judged at 0, 50 and 100 by two networks, and a table of two rows of three."""
    values = {"dynamic.steps": 100, "dynamic.eval_every": 50, "evaluation.selection_repeats": 2}
    values |= {"evaluation.repeats": 3, "evaluation.baselines": ["random"], "synthetic.kind": "pixels"}
    return load_preset("default", values | changes)


def log(step_seconds: Any, network_seconds: Any, told: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the records of that run; seconds are functions of the time so far. ``told``: progress within networks."""
    time = 1000.0

    def record(event: str, **fields: Any) -> dict[str, Any]:
        return {"event": event, "time": time, **fields}

    yield record("run_started")
    yield record("stage_started", stage="prepare", step=0, total=1)
    time += 2
    yield record("stage_finished", stage="prepare")
    yield record("stage_started", stage="dynamic", step=0, total=100)
    for step in range(101):
        if step in (0, 50, 100):
            began = time
            for network in range(2):
                for part in range(10):
                    time += network_seconds(time) / 10
                    done = network + (part + 1) / 10
                    if told:
                        yield record("progress", stage="dynamic", step=step, total=100, networks=done)
                seconds = network_seconds(time)
                yield record("network_trained", what="synthetic", split="val", step=step, seconds=seconds)
            yield record("evaluated", what="synthetic", step=step, values=[0.5, 0.5], seconds=time - began)
        if step < 100:
            time += step_seconds(time) * (30 if step == 0 else 1)  # the first one fills a bank
            yield record("step", stage="dynamic", step=step + 1, total=100)
    yield record("stage_finished", stage="dynamic")
    yield record("stage_started", stage="evaluate", step=0, total=6)
    for network in range(6):
        for part in range(10):
            time += network_seconds(time) / 10
            done = network + (part + 1) / 10
            if told:
                yield record("progress", stage="evaluate", step=network, total=6, networks=done)
        yield record("network_trained", what="x", split="test", step=100, seconds=network_seconds(time))
    yield record("stage_finished", stage="evaluate")
    yield record("run_completed")


def errors(records: list[dict[str, Any]], forecast: Forecast, since: float) -> list[float]:
    """The errors of the total, as a fraction of it, from the fraction ``since`` of the run on."""
    began, total = records[0]["time"], records[-1]["time"] - records[0]["time"]
    found = []
    for record in records:
        forecast.add(record)
        passed = record["time"] - began
        if passed >= since * total:
            found.append(abs(passed + forecast.left(record["time"]).run - total) / total)
    return found


@pytest.mark.parametrize("told", [True, False])
def test_the_end_of_a_steady_run_is_known_after_its_first_steps(told: bool) -> None:
    """The dashboard would tell the end of a stage, and an hour of networks would come after it."""
    records = list(log(lambda time: 1.0, lambda time: 20.0, told))
    found = errors(records, Forecast(Work(preset(), 4, CLIPS)), 0.35)
    assert max(found) < 0.08


def test_a_load_that_doubles_is_followed() -> None:
    """A run that gets half of a core from now on would promise the old end until the last step."""
    times = [record["time"] for record in log(lambda time: 1.0, lambda time: 5.0)]
    changed = (times[0] + times[-1]) / 2
    records = list(log(lambda time: 1.0 + (time > changed), lambda time: 5.0 * (1 + (time > changed))))
    began, total = records[0]["time"], records[-1]["time"] - records[0]["time"]
    after = (changed - began) / total
    assert max(errors(records, Forecast(Work(preset(), 4, CLIPS)), after + 0.2)) < 0.2


def test_what_nobody_knows_is_said() -> None:
    """A minute would be told for what takes hours: nothing of it has been measured, and no plan was made."""
    records = list(log(lambda time: 1.0, lambda time: 20.0))
    forecast = Forecast(Work(preset(), 4, CLIPS))
    for record in records[:4]:  # stage 2 begins
        forecast.add(record)
    assert forecast.left(records[3]["time"]).at_least and forecast.left(records[3]["time"]).stage is None
    for record in records[4:]:
        forecast.add(record)
        left = forecast.left(record["time"])
    assert left == type(left)(0.0, left.stage, False)


def test_a_plan_stands_in_for_what_was_not_measured() -> None:
    """Who waited minutes for a rehearsal would be told nothing until the first evaluation is over."""
    parts = [
        {"stage": "prepare", "number": 1, "what": "data opened, or made", "seconds": 2.0},
        {"stage": "dynamic", "number": 100, "what": "steps", "seconds": 130.0},
        {"stage": "dynamic", "number": 6, "what": "networks to choose the step", "seconds": 120.0},
        {"stage": "evaluate", "number": 6, "what": "networks for the final table", "seconds": 120.0},
    ]
    records = list(log(lambda time: 1.0, lambda time: 20.0))
    forecast = Forecast(Work(preset(), 4, CLIPS), parts)
    assert forecast.left(0.0) == type(forecast.left(0.0))(372.0, None, False)
    assert max(errors(records, forecast, 0.0)) < 0.1
    slow = [{**record, "time": 1000 + 3 * (record["time"] - 1000)} for record in records]  # a third of the machine
    forecast = Forecast(Work(preset(), 4, CLIPS), parts)
    assert max(errors(slow, forecast, 0.1)) < 0.2


def test_a_resumed_run_takes_no_time_for_what_is_done() -> None:
    """After a night of standing still, and networks that come from the disk, its pace would be nonsense."""
    records = list(log(lambda time: 1.0, lambda time: 20.0))
    middle = next(place for place, one in enumerate(records) if one["event"] == "step" and one["step"] == 70)
    forecast = Forecast(Work(preset(), 4, CLIPS))
    for record in records[: middle + 1]:
        forecast.add(record)
    before, night = forecast.left(records[middle]["time"]).run, 50_000.0
    forecast.add({"event": "run_started", "time": records[middle]["time"] + night})
    for event in ("stage_started", "stage_finished"):
        again = {"event": event, "time": records[middle]["time"] + night, "stage": "prepare", "step": 0, "total": 1}
        forecast.add(again)
    at = {
        "event": "stage_started",
        "time": records[middle]["time"] + night,
        "stage": "dynamic",
        "step": 70,
        "total": 100,
    }
    forecast.add(at)
    assert forecast.left(at["time"]).run == pytest.approx(before, rel=0.05)


def test_the_pace_is_that_of_late() -> None:
    """An average over all of a run knows nothing of the last hour."""
    pace = Pace()
    assert pace.each is None
    for _ in range(100):
        pace.add(1, 1.0)
    assert pace.each == pytest.approx(1.0)
    for _ in range(100):
        pace.add(1, 3.0)
    assert pace.each == pytest.approx(3.0, rel=0.01)


@pytest.mark.parametrize("damage", [{"step": "x"}, {"stage": None}, {"time": None}, {"total": None}])
def test_damaged_records_change_nothing(damage: dict[str, Any]) -> None:
    """A worker would die of a line of an old log."""
    forecast = Forecast(Work(preset(), 4, CLIPS))
    for record in log(lambda time: 1.0, lambda time: 20.0):
        forecast.add({**record, **damage})
    assert forecast.left(1.0).run >= 0
