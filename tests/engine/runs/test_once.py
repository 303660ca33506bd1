"""What is asked of a worker once, and figures over steps: from the request in a file to the folded state."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import StopRequested
from engine.events import Evaluated, StageStarted, Step, to_record
from engine.runs import EventTail, RunDirectory, create_run
from engine.runs import session as module
from engine.runs.session import RunSession
from engine.runs.state import FIGURE_POINTS, RunState, fold
from engine.runs.status import Control, request, request_once


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "r", "r", "", {})


@pytest.fixture(autouse=True)
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.0)


def test_requests_do_not_overwrite_each_other(tmp_path: Path) -> None:
    """Pausing right after asking for a checkpoint would lose the checkpoint."""
    path = tmp_path / "control.json"
    request_once(path, "checkpoint")
    request_once(path, "evaluate")
    assert request(path, "pause") == Control("pause", 3, {"checkpoint": 1, "evaluate": 2})
    assert request_once(path, "checkpoint") == Control("pause", 4, {"checkpoint": 4, "evaluate": 2})
    assert Control.load(path) == Control("pause", 4, {"checkpoint": 4, "evaluate": 2})


@pytest.mark.parametrize("once", ["3", "[]", '{"evaluate": "x", "format disk": 3}', '{"evaluate": null}', "null"])
def test_rubbish_is_not_served(tmp_path: Path, once: str) -> None:
    """A half-written file would make the worker do something, or fail."""
    path = tmp_path / "control.json"
    path.write_text(f'{{"want": "pause", "seq": 2, "once": {once}}}')
    assert Control.load(path) == Control("pause", 2)


def test_each_request_is_served_once_where_it_can_be(run: RunDirectory) -> None:
    """An evaluation of minutes would be made at every step, or never."""
    served: list[str] = []
    run.request_once("evaluate")  # of a worker that was not there: void
    with RunSession(run) as session:
        session.check(served.append)
        assert served == []
        run.request_once("evaluate")
        session.check()  # a boundary that cannot serve it
        session.check(served.append)
        session.check(served.append)
        assert served == ["evaluate"]
        run.request_once("checkpoint")
        run.request_once("evaluate")
        session.check(served.append)
        assert served == ["evaluate", "evaluate", "checkpoint"]
        assert json.loads(run.control_file.read_text())["want"] == "run"


def test_a_paused_run_saves_at_once_and_evaluates_later(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pauses and saves before the power goes; the pause must not turn into work."""
    served: list[str] = []

    def serve(what: str) -> None:
        served.append(f"{what} while {run.status().state}")
        if what == "checkpoint":
            run.request("run")

    with RunSession(run) as session:
        session.check()
        session.emit(StageStarted("dynamic", 0, 5))
        run.request("pause")

        def ask(seconds: float) -> None:
            if not served:
                run.request_once("evaluate")
                run.request_once("checkpoint")

        monkeypatch.setattr(module.time, "sleep", ask)
        session.check(serve)
        session.check(serve)
    assert served == ["checkpoint while paused", "evaluate while running"]
    assert [r["event"] for r in EventTail(run.events_file).read()][1:3] == ["paused", "continued"]


def test_stopping_while_it_is_served_stops(run: RunDirectory) -> None:
    """The user would wait for all that was asked for before the run ends."""

    def serve(what: str) -> None:
        session.stop("enough")
        session.check()

    with RunSession(run) as session:
        run.request_once("evaluate")
        run.request_once("checkpoint")
        with pytest.raises(StopRequested):
            session.check(serve)
        session.complete(lambda ending: None)


# --- figures over steps ----------------------------------------------------------------------------------------------


def records(*events: Any) -> list[dict[str, Any]]:
    return [json.loads(json.dumps(to_record(event, 1000.0))) for event in events]


def steps(first: int, last: int, total: int, stage: str = "dynamic") -> list[Step]:
    numbers = range(first, last + 1)
    return [Step(stage, n, total, 1.0, 2.0, {"grad_dynamic": float(n)}) for n in numbers]


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 40), st.integers(1, 50))
def test_resuming_leaves_the_curves_of_an_uninterrupted_run(total: int, died: int, saved: int, points: int) -> None:
    """The dashboard would show another history for who was interrupted, or steps twice."""
    died, saved = min(died, total), min(saved, died, total)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.runs.state.FIGURE_POINTS", points)
        begin = StageStarted("dynamic", 0, total)
        whole = fold(records(begin, *steps(1, total, total)))
        again = StageStarted("dynamic", saved, total)
        resumed = fold(records(begin, *steps(1, died, total), again, *steps(saved + 1, total, total)))
    assert resumed.figure_curves == whole.figure_curves
    curve = whole.figure_curves["dynamic"]["grad_dynamic"] if whole.figure_curves else None
    expected = [n for n in range(1, total + 1) if n % math.ceil(total / points) == 0]
    assert curve is None or (curve.steps == expected and curve.values == expected)


def test_a_long_run_keeps_few_points() -> None:
    """Ten figures of a million steps would fill the memory of whoever looks on."""
    total = 5 * FIGURE_POINTS
    state = fold(records(StageStarted("dynamic", 0, total), *steps(1, total, total)))
    curve = state.figure_curves["dynamic"]["grad_dynamic"]
    assert len(curve.steps) == FIGURE_POINTS and curve.steps[-1] == total
    assert len(state.losses["dynamic"].steps) == total


def test_a_figure_that_is_told_now_and_then_stays() -> None:
    """Memory and load, told once a second, would flicker; those of an earlier stage would stay for good."""
    state = RunState()
    told = [
        Step("static", 1, 9, 1.0, 2.0, {"grad_static": 1.0, "device_load": 0.5}),
        Step("static", 2, 9, 1.0, 2.0, {"grad_static": 2.0}),
    ]
    for record in records(*told):
        state.add(record)
    assert state.figures == {"grad_static": 2.0, "device_load": 0.5}
    assert state.figure_curves["static"]["device_load"].values == [0.5, 0.5]
    for record in records(Step("dynamic", 1, 9, 1.0, 2.0, {"grad_dynamic": 3.0})):
        state.add(record)
    assert state.figures == {"grad_dynamic": 3.0}


def test_an_evaluation_that_was_asked_for_stays_beside_the_curve() -> None:
    """It would vanish with the last stage, or appear among the candidates."""
    found = (Evaluated("synthetic", 2, "val", 0.4, 0.0, (0.4,), 1.0), Evaluated("now", 3, "val", 0.9, 0.0, (0.9,), 1.0))
    state = fold(records(StageStarted("dynamic", 0, 9), *found, StageStarted("evaluate", 0, 3)))
    assert [point.step for point in state.accuracy_curve()] == [2]
    assert [point.step for point in state.accuracy_curve("now")] == [3]
    assert state.best is None
