"""Removing runs: what a user loses here is a folder of theirs, or a run that somebody works on."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from engine.errors import RunError, UsageError
from engine.files import replacing
from engine.runs import EventLog, RunDirectory, Status, create_run, remove_run
from engine.runs.removal import find_removals
from engine.runs.status import current_process


def begun(folder: Path, name: str = "r", state: str = "completed") -> RunDirectory:
    """A run that a worker has had, with one of everything that the engine writes."""
    run = create_run(folder, name, name, 'title = "t"\n', {"tool": "vdtui 0.1.0", "seed": 3})
    EventLog(run.events_file).close()
    for path in (run.checkpoints, run.best.parent, run.previews, run.evaluations):
        path.mkdir()
    for path in (run.best, run.engine_log, run.report, run.evaluations / "evaluated-1.json", run.lock_file):
        path.write_bytes(b"x" * 100)
    Status(state=state).save(run.status_file)
    return run


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def refused(run: RunDirectory, *words: str) -> None:
    before = content(run.path)
    with pytest.raises(RunError) as caught:
        remove_run(run)
    assert all(word in caught.value.problem for word in words), caught.value.problem
    assert content(run.path) == before and "\n" not in caught.value.problem + caught.value.hint


# --- what is no run ---------------------------------------------------------------------------------------------------


def test_a_working_folder_with_files_of_these_names_survives(tmp_path: Path) -> None:
    """Months of work, because a preset and some program's status lie in the same folder."""
    for name in ("preset.toml", "status.json", "thesis.tex"):
        (tmp_path / name).write_text("mine")
    refused(RunDirectory(tmp_path), "no run", "meta.json")
    (tmp_path / "meta.json").write_text('{"seed": 3}')
    refused(RunDirectory(tmp_path), "no run", "event log")
    (tmp_path / "events.jsonl").write_text('{"mine": 1}\n')
    refused(RunDirectory(tmp_path), "no run", "event log")


@pytest.mark.parametrize("name", ["notes.txt", "data/clips.h5", ".git/config", "evaluations.bak/x", "synthetic-2/x"])
def test_a_run_with_foreign_files_is_refused_and_they_are_named(tmp_path: Path, name: str) -> None:
    """A user's notes beside the log."""
    run = begun(tmp_path)
    (run.path / name).parent.mkdir(exist_ok=True)
    (run.path / name).write_text("mine")
    refused(run, name.partition("/")[0])


def test_a_folder_where_a_file_belongs_is_foreign(tmp_path: Path) -> None:
    """What is called engine.log may be somebody's folder of logs."""
    run = begun(tmp_path)
    run.engine_log.unlink()
    run.engine_log.mkdir()
    refused(run, "engine.log")


def test_a_folder_of_runs_is_no_run(tmp_path: Path) -> None:
    """`vdtui remove runs` is a slip of one word."""
    begun(tmp_path / "runs")
    refused(RunDirectory(tmp_path / "runs"), "no run")
    with pytest.raises(UsageError):
        find_removals(tmp_path, ["runs"])


@pytest.mark.parametrize("name", ["", " ", ".", "..", "./", "../", "r/..", "/", "./.", "gone", "r/checkpoints"])
def test_names_that_name_no_run_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An empty shell variable names the folder that one is in, even if that is a run."""
    run = begun(tmp_path)
    begun(tmp_path, "other")
    monkeypatch.chdir(run.path)
    for folder in (tmp_path, run.path):
        with pytest.raises((UsageError, RunError)):
            find_removals(folder, ["other", name])


def test_each_run_is_named_once_however_it_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second removal of the same run would fail half-way through the list."""
    run = begun(tmp_path)
    begun(tmp_path, "s")
    monkeypatch.chdir(tmp_path)
    found = find_removals(tmp_path, ["r", str(run.path), "s", "./r/", "s"])
    assert [one.run.name for one in found] == ["r", "s"]
    assert found[0].nbytes == sum(len(text) for text in content(run.path).values()) and found[0].state == "completed"


# --- what is worked on ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["running", "paused", "stopping"])
def test_a_live_run_is_not_removed(tmp_path: Path, state: str) -> None:
    """Days of work of another terminal."""
    run = begun(tmp_path)
    current_process(state).save(run.status_file)
    refused(run, state)


def test_a_run_whose_worker_is_just_starting_is_not_removed(tmp_path: Path) -> None:
    """Queued for a moment only; its worker will be there in seconds."""
    refused(create_run(tmp_path, "r", "r", "", {"seed": 3}), "queued")


@pytest.mark.parametrize("text", ["{", '{"state": "completed"}', '{"state": "running", "host": "other", "pid": 7}'])
def test_a_locked_run_is_not_removed_whatever_its_status_says(tmp_path: Path, text: str) -> None:
    """A damaged status under a worker that lives, or one on another host whose disk lags."""
    run = begun(tmp_path)
    run.status_file.write_text(text)
    lock = run.lock()
    lock.acquire()
    refused(run, "The run r is")
    lock.release()
    remove_run(run)
    assert not run.path.exists()


# --- what goes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"state": "completed"}', '{"state": "crashed"}', "{", None])
def test_ended_and_damaged_runs_can_be_removed(tmp_path: Path, text: str | None) -> None:
    """Disks fill up; and a run that cannot be read must not be there for ever."""
    run = begun(tmp_path)
    run.status_file.unlink()
    if text is not None:
        run.status_file.write_text(text)
    remove_run(run)
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_worker_never_came_can_be_removed(tmp_path: Path) -> None:
    """It has no event log; it would stay in every list."""
    run = create_run(tmp_path, "r", "r", "", {"tool": "vdtui 0.1.0", "seed": 3})
    dataclasses.replace(Status(), heartbeat=time.time() - 1000).save(run.status_file)
    run.engine_log.write_text("bash: python: not found")
    remove_run(run)
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_left_half_written_is_no_reason_to_keep_a_run(tmp_path: Path) -> None:
    """Runs whose worker was killed are those that one removes."""
    run = begun(tmp_path)
    with replacing(run.status_file) as temporary:
        left = temporary.relative_to(run.path)
        temporary.write_text("{}")
    (run.path / left).parent.mkdir()
    (run.path / left).write_text("{")
    (run.path / ".status.12-34.tmp.json").write_text("{")  # of an earlier version
    remove_run(run)
    assert not run.path.exists()


def test_of_a_linked_run_the_link_goes_and_the_run_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs lie on a large disk and are linked to where one works."""
    run = begun(tmp_path / "large")
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    before = content(run.path)
    for name in ("linked", "runs/linked", "runs/linked/", "runs/linked/."):
        link = tmp_path / "runs" / "linked"
        link.symlink_to(run.path)
        (one,) = find_removals(tmp_path / "runs", [name])
        assert one.target == run.path.resolve()
        remove_run(one.run)
        assert not link.is_symlink() and content(run.path) == before


def test_a_link_inside_a_run_is_not_followed(tmp_path: Path) -> None:
    """Checkpoints were put on another disk, which has other things too."""
    run = begun(tmp_path / "runs")
    other = tmp_path / "scratch"
    other.mkdir()
    (other / "precious").write_text("mine")
    run.checkpoints.rmdir()
    run.checkpoints.symlink_to(other)
    remove_run(run)
    assert not run.path.exists() and (other / "precious").read_text() == "mine"


def test_a_link_to_what_is_no_run_or_lives_is_refused(tmp_path: Path) -> None:
    """A link is no way around the questions."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "preset.toml").write_text("mine")
    (tmp_path / "a").symlink_to(tmp_path / "work")
    refused(RunDirectory(tmp_path / "a"), "no run")
    current_process("running").save(begun(tmp_path, "live").status_file)
    (tmp_path / "b").symlink_to(tmp_path / "live")
    refused(RunDirectory(tmp_path / "b"), "running")
    assert (tmp_path / "a").is_symlink() and (tmp_path / "b").is_symlink()
