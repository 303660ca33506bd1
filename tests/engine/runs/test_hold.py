"""A run whose folder goes while it runs: what a user loses here is a folder that stays deleted, or is in one place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.files import make_folder, never_made_anew, write_json
from engine.runs import EventTail, RunDirectory, create_run
from engine.runs import session as module
from engine.runs.checkpoints import Checkpoint
from engine.runs.hold import FolderGoneError
from engine.runs.session import RunSession

CHECKPOINT = Checkpoint("dynamic", 1, {"x": np.ones(2)}, {})


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)


def moved(run: RunDirectory) -> None:
    run.path.rename(run.path.with_name("elsewhere"))


def deleted(run: RunDirectory) -> None:
    while run.path.exists():  # a heartbeat every few milliseconds may come in between
        shutil.rmtree(run.path, ignore_errors=True)


def replaced(run: RunDirectory) -> None:
    moved(run)
    create_run(run.path.parent, run.name, "r", "", {"seed": 1})


@pytest.mark.parametrize("lose", [moved, deleted, replaced])
@pytest.mark.parametrize("what", ["check", "checkpoint", "wait"])
def test_it_stops_and_makes_nothing_anew(tmp_path: Path, lose: Callable[[RunDirectory], None], what: str) -> None:
    """Its heartbeat and its checkpoints brought the old folder back."""
    run = create_run(tmp_path, "r", "r", "", {"seed": 1})
    session = RunSession(run)
    with pytest.raises(FolderGoneError) as gone, session:
        if what == "wait":
            run.request("pause")
        session.save_checkpoint(CHECKPOINT)
        lose(run)
        before = contents(tmp_path)
        if what == "checkpoint":
            session.save_checkpoint(CHECKPOINT)
        while True:
            session.check()
    found = contents(tmp_path)
    assert {name for name in found if name.startswith("r/")} == {name for name in before if name.startswith("r/")}
    assert str(run.path) in gone.value.problem
    if lose is deleted:
        assert not found and "deleted" in gone.value.problem
        return
    there = RunDirectory(tmp_path / "elsewhere")
    assert str(there.path) in gone.value.hint
    assert there.state() == "failed" and EventTail(there.events_file).read()[-1]["problem"] == gone.value.problem
    with RunSession(there) as again:  # it is let go of, and goes on where it is
        assert again.load_checkpoint() is not None


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_what_went_wrong_because_of_it_is_not_told(tmp_path: Path) -> None:
    """`No such file` says nothing to whoever has just moved the folder."""
    run = create_run(tmp_path, "r", "r", "", {"seed": 1})
    with pytest.raises(FolderGoneError), RunSession(run):
        moved(run)
        write_json(run.evaluations / "x.json", {})
    assert not run.path.exists()


def test_only_a_held_folder_is_not_made(tmp_path: Path) -> None:
    """All others are, with those above them."""
    held = tmp_path / "a" / "run"
    make_folder(held)
    with never_made_anew(held), never_made_anew(held):
        make_folder(held / "b" / "c")
        shutil.rmtree(tmp_path / "a")
        with pytest.raises(FileNotFoundError):
            make_folder(held / "b")
        make_folder(tmp_path / "a")
        with pytest.raises(FileNotFoundError):
            make_folder(held)
    make_folder(held)
    assert held.is_dir()
