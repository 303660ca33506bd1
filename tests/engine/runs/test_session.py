"""A worker's hold on a run: what a user loses here is control of it, or the knowledge of how it ended."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import DataError, RunError, StopRequested
from engine.events import Event, Note, StageStarted
from engine.runs import EventTail, RunDirectory, create_run
from engine.runs import session as module
from engine.runs.checkpoints import Checkpoint
from engine.runs.session import RunSession
from tests.tiny import wait_until


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "r", "r", "", {})


def names(run: RunDirectory) -> list[str]:
    return [record["event"] for record in EventTail(run.events_file).read()]


class Worker(threading.Thread):
    """A run that does nothing but reach boundaries."""

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(daemon=True)
        self.session = RunSession(run)
        self.boundaries = 0
        self.enough = threading.Event()

    def run(self) -> None:
        with self.session:
            while not self.enough.is_set():
                self.session.check()
                self.boundaries += 1
                time.sleep(0.002)


@pytest.fixture
def worker(run: RunDirectory) -> Iterator[Worker]:
    thread = Worker(run)
    thread.start()
    wait_until(lambda: thread.boundaries > 3)
    yield thread
    thread.enough.set()
    thread.session.stop("the test is over")
    thread.join(10)
    assert not thread.is_alive()


def test_pause_continue_and_stop_from_outside(run: RunDirectory, worker: Worker) -> None:
    """The dashboard's keys: while paused nothing is done, afterwards it goes on, and a stop is obeyed."""
    assert run.state() == "running"
    run.request("pause")
    wait_until(lambda: run.state() == "paused")
    done = worker.boundaries
    time.sleep(0.1)
    assert worker.boundaries == done
    run.request("run")
    wait_until(lambda: worker.boundaries > done + 3)
    assert run.state() == "running"
    run.request("stop")
    worker.join(10)
    assert run.state() == "stopped" and names(run) == ["paused", "continued", "run_stopped"]
    assert run.control().want == "run", "a settled request must not stop the next worker"


def test_a_paused_run_can_be_stopped(run: RunDirectory, worker: Worker) -> None:
    """Without first going on for a step, which may take minutes."""
    run.request("pause")
    wait_until(lambda: run.state() == "paused")
    done = worker.boundaries
    run.request("stop")
    worker.join(10)
    assert run.state() == "stopped" and worker.boundaries == done
    assert names(run) == ["paused", "run_stopped"]


def test_a_signal_stops_at_the_next_boundary_even_while_paused(run: RunDirectory, worker: Worker) -> None:
    """A cluster's SIGTERM does not wait until somebody continues."""
    run.request("pause")
    wait_until(lambda: run.state() == "paused")
    worker.session.stop("received SIGTERM")
    worker.join(10)
    assert run.state() == "stopped"
    assert EventTail(run.events_file).read()[-1]["reason"] == "received SIGTERM"


def test_rubbish_in_control_does_not_stop_a_run(run: RunDirectory, worker: Worker) -> None:
    """An editor's half-saved file."""
    run.control_file.write_text('{"want": "st')
    done = worker.boundaries
    wait_until(lambda: worker.boundaries > done + 10)
    assert run.state() == "running"


def test_a_signal_is_obeyed_at_the_very_next_boundary(run: RunDirectory) -> None:
    """A grace period may be short: the request in memory needs no poll."""
    with RunSession(run) as session:
        session.check()
        session.stop("received SIGINT")
        with pytest.raises(StopRequested):
            session.check()
        assert run.status().state == "stopping"


def test_a_stop_is_swallowed_and_recorded(run: RunDirectory) -> None:
    """A stop is no failure: no traceback, state stopped."""
    with RunSession(run) as session:
        run.request("stop")
        time.sleep(0.02)
        session.check()
        pytest.fail("the stop was not obeyed")
    assert run.state() == "stopped" == session.state


def end_with(run: RunDirectory, error: BaseException) -> dict[str, Any]:
    with pytest.raises(type(error)), RunSession(run):
        raise error
    return EventTail(run.events_file).read()[-1]


def test_a_user_s_error_is_recorded_with_its_hint(run: RunDirectory) -> None:
    """Days later, `vdtui show` says why."""
    record = end_with(run, DataError("The file is gone.", "Put it back."))
    assert run.state() == "failed" and record["event"] == "run_failed"
    assert (record["problem"], record["hint"]) == ("The file is gone.", "Put it back.")


def test_a_bug_is_recorded_in_one_line(run: RunDirectory) -> None:
    """A bug of ours must not leave a run that says running."""
    record = end_with(run, ValueError("two\nlines"))
    assert run.state() == "failed" and "ValueError: two lines" in record["problem"]
    assert "\n" not in record["problem"] and record["hint"]


def test_ctrl_c_is_a_stop(run: RunDirectory) -> None:
    """In a notebook: the state is saved, and KeyboardInterrupt goes on to the cell."""
    assert end_with(run, KeyboardInterrupt())["event"] == "run_stopped"
    assert run.state() == "stopped"


def test_a_run_that_ends_well(run: RunDirectory) -> None:
    """Completed, also already for the listeners that come just before the end."""
    with RunSession(run) as session:
        session.complete(lambda ending: None)
        assert run.status().state == "completed"
    assert run.state() == "completed" and names(run) == ["run_completed"]


def test_a_second_session_is_refused_and_harms_nothing(run: RunDirectory) -> None:
    """Two workers would write over each other; the refused one must not touch the run of the first."""
    with RunSession(run) as session:
        session.emit(Note("info", "mine"))
        before = run.status()
        with pytest.raises(RunError, match="already"), RunSession(run):
            pytest.fail("a second session was let in")
        assert run.status().pid == before.pid and run.state() == "running"
        session.emit(Note("info", "still mine"))
    assert names(run) == ["note", "note"]
    with RunSession(run):
        pass


def test_the_heart_beats_while_the_work_is_silent(run: RunDirectory) -> None:
    """On another host only the heartbeat tells a long evaluation from a crash."""
    with RunSession(run) as session:
        session.emit(StageStarted("dynamic", 3, 9))
        first = run.status().heartbeat
        wait_until(lambda: run.status().heartbeat > first + 0.05 and run.status().stage == "dynamic")
        assert (run.status().step, run.status().total) == (3, 9)
    last = run.status().heartbeat
    time.sleep(0.1)
    assert run.status().heartbeat == last, "the heart of an ended run still beats"


def test_a_heartbeat_that_cannot_be_written_does_not_end_the_run(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full for a minute: the next beat may succeed."""
    with RunSession(run):
        failures: list[int] = []
        original: Callable[..., Any] = module.Status.save

        def save(self: Any, path: Path) -> None:
            if len(failures) < 3:
                failures.append(1)
                raise OSError(28, "No space left on device")
            original(self, path)

        monkeypatch.setattr(module.Status, "save", save)
        wait_until(lambda: len(failures) == 3)
        now = time.time()
        wait_until(lambda: run.status().heartbeat > now)
    assert run.state() == "completed"


def test_listeners_hear_what_the_log_says(run: RunDirectory) -> None:
    """A notebook's live view and the dashboard must tell the same story."""
    heard: list[Event] = []
    with RunSession(run, heard.append) as session:
        session.emit(Note("info", "a"))
        session.complete(lambda ending: None)
    assert [event.kind for event in heard] == names(run)


def test_a_run_is_completed_when_its_report_is_there(run: RunDirectory) -> None:
    """A script that waits for the state, or for the event, and then takes the report."""
    seen: list[tuple[str, list[str], float]] = []
    with pytest.raises(OSError), RunSession(run) as session:
        session.complete(lambda ending: seen.append((run.state(), names(run), ending.seconds)) or os.stat("/gone"))
    assert seen[0][:2] == ("running", [])
    assert run.state() == "failed" and names(run) == ["run_failed"]
    with RunSession(run) as session:
        session.complete(lambda ending: seen.append((run.state(), names(run), ending.seconds)))
    assert seen[1][:2] == ("running", ["run_failed"])
    completed = EventTail(run.events_file).read()[-1]
    assert run.state() == "completed" and (completed["event"], completed["seconds"]) == ("run_completed", seen[1][2])


def test_what_a_killed_worker_left_goes_with_the_next_one(run: RunDirectory) -> None:
    """A run that is killed again and again would fill the disk."""
    for folder in (run.path, *run.folders):
        left = folder / f".vdtui-{2**22 + 1}-00000000-abcdefgh.tmp"
        left.mkdir(parents=True)
        os.utime(left, (0, 0))
    with RunSession(run):
        assert not [path for path in run.path.rglob(".vdtui-*") if path.stat().st_mtime < 1]


# --- checkpoints -----------------------------------------------------------------------------------------------------


def save(session: RunSession, step: int) -> None:
    session.save_checkpoint(Checkpoint("dynamic", step, {"x": np.arange(step + 1)}, {"note": step}))


def test_the_next_worker_goes_on_from_the_last_checkpoint(run: RunDirectory) -> None:
    """Over three workers: the newest is found, working time adds up, and numbering never goes back."""
    seconds = 0.0
    for life in range(3):
        with RunSession(run) as session:
            found = session.load_checkpoint()
            assert (found is None) == (life == 0)
            if found is not None:
                assert found.step == life - 1 and found.document["note"] == found.step
                assert found.document["seconds"] >= seconds
                seconds = found.document["seconds"]
            time.sleep(0.02)
            save(session, life)
            assert session.seconds >= seconds + 0.02
    assert [path.name[:8] for path in sorted(run.checkpoints.iterdir())] == ["00000002", "00000003"]
    assert seconds >= 0.04


def test_a_checkpoint_after_a_damaged_one_counts(run: RunDirectory) -> None:
    """After a fall-back the next checkpoint must be the newest, not hidden behind the damaged one."""
    with RunSession(run) as session:
        save(session, 1)
        save(session, 2)
    max(run.checkpoints.iterdir()).write_bytes(b"")
    with RunSession(run) as session:
        found = session.load_checkpoint()
        assert found is not None and found.step == 1
        save(session, 7)
        again = session.load_checkpoint()
        assert again is not None and again.step == 7


def test_a_damaged_checkpoint_takes_no_place_of_the_two_that_are_kept(run: RunDirectory) -> None:
    """The disk that damaged one damages another: there must be a whole one behind it; and the user is told."""
    with RunSession(run) as session:
        save(session, 1)
        save(session, 2)
    damaged = max(run.checkpoints.iterdir())
    damaged.write_bytes(b"")
    with RunSession(run) as session:
        session.load_checkpoint()
        save(session, 7)
    assert [line.level for line in run.folded().log if damaged.name in line.text] == ["warning"]
    max(run.checkpoints.iterdir()).write_bytes(b"")
    with RunSession(run) as session:
        found = session.load_checkpoint()
        assert found is not None and found.step == 1


def test_the_event_comes_after_the_file(run: RunDirectory) -> None:
    """Whoever reads that a checkpoint was saved may rely on it."""
    seen: list[bool] = []

    def listen(event: Event) -> None:
        if event.kind == "checkpoint_saved":
            seen.append(bool(list(run.checkpoints.iterdir())))

    with RunSession(run, listen) as session:
        save(session, 1)
    assert seen == [True]
