"""How good a run is, in status.json: the same as its log says, after every kind of interruption."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import StopRequested
from engine.events import BestChanged, Evaluated, Note, ResultReady, StageStarted, Step
from engine.runs import RunDirectory, Status, create_run, fold
from engine.runs.log import EventTail
from engine.runs.session import RunSession
from engine.runs.standing import NOT_AHEAD, ON_TEST, POINTS, UNLEARNED, Standing, rare_records, thinned
from engine.runs.status import QUIET_SECONDS, SILENT_SECONDS, current_process, queued_again, silence


def evaluated(step: int, mean: float, what: str = "synthetic") -> Evaluated:
    return Evaluated(what, step, "val", mean, 0.0, (mean,), 1.0)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "r", "r", 'title = "t"\n', {})


def test_the_status_tells_best_course_and_bytes(run: RunDirectory) -> None:
    """The table of runs would be empty of numbers, or read every log."""
    with RunSession(run) as session:
        session.emit(StageStarted("dynamic", 0, 10))
        for step, mean in ((0, 0.1), (5, 0.5), (10, 0.4)):
            session.emit(Step("dynamic", step, 10, 1.0, 1.0, {}))
            session.emit(evaluated(step, mean))
        session.emit(evaluated(10, 0.99, "now"))  # somebody looked: it is no candidate
        session.emit(BestChanged(5, 0.5))
        session.emit(ResultReady({"what": "pixels", "bytes": 1234}))
        session.emit(ResultReady({"what": "random", "bytes": 99}))
    status = run.status()
    assert (status.best, status.accuracies, status.stored_bytes) == (0.5, (0.1, 0.5, 0.4), 1234)
    assert run.folded().best_accuracy == status.best


def test_going_on_from_a_checkpoint_forgets_what_came_after_it(run: RunDirectory) -> None:
    """A best accuracy would stay that belongs to no set any more."""
    with RunSession(run) as session:
        for step, mean in ((0, 0.1), (5, 0.3), (10, 0.9)):
            session.emit(evaluated(step, mean))
        session.emit(BestChanged(10, 0.9))
        raise StopRequested("enough")
    run.status_file.unlink()  # whatever stands there: the log decides
    with RunSession(run) as session:
        session.emit(Note("info", "again"))
        assert run.status().best == 0.9
        session.emit(StageStarted("dynamic", 5, 10))
    status, folded = run.status(), run.folded()
    assert status.best is None and folded.best_accuracy is None
    assert status.accuracies == (0.1, 0.3) == tuple(one.mean for one in folded.accuracy_curve())


@given(st.lists(st.floats(0, 1), max_size=200))
def test_a_long_course_keeps_its_ends(values: list[float]) -> None:
    """The sparkline would miss how it began or where it is."""
    kept = thinned(values)
    assert len(kept) == min(len(values), POINTS)
    if values:
        assert (kept[0], kept[-1]) == (round(values[0], 4), round(values[-1], 4))


def test_the_log_is_folded_as_the_whole_state_folds_it(run: RunDirectory) -> None:
    """Skipping lines quickly must not skip one that counts; rubbish between them is no reason to stop."""
    with RunSession(run) as session:
        session.emit(evaluated(3, 0.25))
    with open(run.events_file, "ab") as file:
        file.write(b'[]\n{"event":"step"\n\xff\n{"event": "best_changed", "time": 1, "step": 3, "accuracy": 0.25}\n')
    state = fold(EventTail(run.events_file).read(limit=-1))
    standing = Standing()
    for record in rare_records(run.events_file):
        standing.add(record)
    assert standing.fields["best"] == state.best_accuracy == 0.25
    assert not list(rare_records(run.events_file.parent / "none"))
    nothing = {"best": None, "accuracies": (), "stored_bytes": None, "test": None, "warnings": ()}
    assert Standing().fields == nothing


def test_a_list_of_runs_knows_the_result_and_what_to_think_of_it(run: RunDirectory) -> None:
    """The number would be quoted whose networks learned nothing, for the warning stood a screen away."""
    own = {"what": "static-dynamic", "bytes": 9000, "caution": "the networks did not learn", "selected_on": "test"}
    own |= {"top1": {"mean": 0.2, "std": 0.01, "values": [0.19, 0.21]}}
    real = {"what": "random", "bytes": 900, "top1": {"mean": 0.3, "std": 0.01, "values": [0.29, 0.31]}}
    with RunSession(run) as session:
        session.emit(ResultReady(own))
        session.emit(ResultReady(real))
    status = run.status()
    assert status.test == 0.2 and status.stored_bytes == 9000
    assert status.warnings == (UNLEARNED, ON_TEST, NOT_AHEAD)


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("accuracies", [0.5, "x"], None),
        ("accuracies", [0.5, None], None),
        ("accuracies", 3, None),
        ("accuracies", [0.5, 1], (0.5, 1.0)),
        ("best", "high", None),
        ("best", True, None),
        ("stored_bytes", -3, None),
        ("stored_bytes", 2.5, None),
    ],
)
def test_a_wrong_figure_is_unknown_and_not_damage(run: RunDirectory, field: str, value: Any, read: Any) -> None:
    """A run that can be gone on with would be called damaged for a number in a table."""
    document = json.loads(run.status_file.read_text()) | {field: value}
    run.status_file.write_text(json.dumps(document))
    assert getattr(run.status(), field) == read


def test_the_status_of_an_older_version_is_read(run: RunDirectory) -> None:
    """Runs made before an update would be lost to the list."""
    run.status_file.write_text('{"state": "stopped", "stage": "dynamic", "step": 3, "total": 9}')
    assert run.status() == Status(state="stopped", stage="dynamic", step=3, total=9)
    assert run.status().accuracies is None


def test_a_run_that_waits_for_its_worker_keeps_its_standing(run: RunDirectory) -> None:
    """Resuming a run would blank its line in the table for as long as torch takes to load."""
    Status("stopped", "dynamic", 3, 9, 7, "host", 1.0, "x", 0.5, (0.5,), 10).save(run.status_file)
    queued_again(run.status_file).save(run.status_file)
    status = run.status()
    assert (status.state, status.pid, status.step, status.best, status.accuracies) == ("queued", 0, 3, 0.5, (0.5,))
    assert time.time() - status.heartbeat < 60
    run.status_file.write_text("{")
    assert queued_again(run.status_file).state == "queued"


def test_silent_is_neither_crashed_nor_well() -> None:
    """A suspended worker would look like a working one, or like a dead one."""
    now = time.time()
    here = current_process("running")
    assert silence(here, here.heartbeat + QUIET_SECONDS / 2) is None
    assert silence(here, here.heartbeat + 500) == pytest.approx(500)
    away = Status(state="running", pid=os.getpid(), host="elsewhere", heartbeat=now)
    assert silence(away, now + SILENT_SECONDS - 1) is not None
    assert silence(away, now + SILENT_SECONDS + 1) is None  # that is a crash
    assert silence(Status(state="queued", heartbeat=now), now + 60) is None
    assert silence(Status(state="completed", pid=1, heartbeat=now), now + 6000) is None
