"""The poller: what it reads, what it passes over, and how little it does when nothing happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from engine.config import load_preset, preset_names
from engine.config.kinds import PRESET_KINDS
from engine.events import StageStarted
from engine.runs import EventLog, RunDirectory
from vdtui.tui import logs, watch
from vdtui.tui.watch import RunsWatcher, RunWatcher


def test_nothing_new_is_no_snapshot_and_opens_no_file(fake: Any) -> None:
    """Each open dashboard would keep a disk or a network file system busy for nothing."""
    watcher = RunWatcher(fake().half_way().run)
    assert watcher.poll() is not None
    with patch("builtins.open", side_effect=AssertionError("a file was opened")):
        assert watcher.poll() is None
    assert watcher.pause >= watch.POLL_SECONDS


def test_a_long_log_is_read_in_pieces(fake: Any, monkeypatch: Any) -> None:
    """Opening a long run would freeze the screen until all of its log is read."""
    run = fake().half_way().run
    monkeypatch.setattr(logs, "CHUNK", 1000)
    watcher = RunWatcher(run)
    first = watcher.poll()
    assert first is not None and first.reading is not None and 0 < first.reading < 0.5
    polls = 1
    while (snapshot := watcher.poll()) and snapshot.reading is not None:
        polls += 1
    assert polls >= run.events_file.stat().st_size // 1000 - 1
    assert snapshot is not None and len(snapshot.losses["dynamic"].steps) == 60


def test_going_on_from_a_checkpoint_cuts_the_curve(fake: Any) -> None:
    """The curve would show steps twice after a resume."""
    run = fake().half_way()
    watcher = RunWatcher(run.run)
    before = watcher.poll()
    run.say(StageStarted("dynamic", 40, 100))
    after = watcher.poll()
    assert before is not None and after is not None
    assert before.losses["dynamic"].steps[-1] == 60 and after.losses["dynamic"].steps[-1] == 40
    assert after.losses["static"] is before.losses["static"]  # unchanged curves are not drawn again


def test_a_snapshot_does_not_change_afterwards(fake: Any) -> None:
    """The screen would show a mixture of two moments."""
    run = fake().half_way()
    watcher = RunWatcher(run.run)
    before = watcher.poll()
    assert before is not None and before.present is not None
    length, step = len(before.log), before.present.step
    run.say(StageStarted("dynamic", 0, 7))
    watcher.poll()
    assert (len(before.log), before.present.step) == (length, step)


def test_the_runs_screen_folds_a_log_once(folder: Path, fake: Any) -> None:
    """With hundreds of runs the table would read gigabytes every second."""
    run = fake().complete().run
    watcher = RunsWatcher(folder)
    snapshot = watcher.poll()
    assert (
        snapshot is not None
        and snapshot.rows[0].best == pytest.approx(0.45)
        and snapshot.rows[0].stored_bytes == 245760
    )
    with patch("builtins.open", side_effect=AssertionError("the log was read again")):
        assert watcher.poll() is None
    log = EventLog(run.events_file)
    log._append({"event": "best_changed", "time": 1.0, "step": 99, "accuracy": 0.9})
    again = watcher.poll()
    assert again is not None and again.rows[0].best == 0.9


def test_a_folder_that_is_hardly_a_run(folder: Path) -> None:
    """One folder with a broken or empty file would hide all other runs."""
    for name, content in (("a", "{"), ("b", json.dumps({"state": "running", "step": "many"})), ("c", "[]")):
        (folder / name).mkdir()
        (folder / name / "status.json").write_text(content)
    (folder / "d").mkdir()
    (folder / "d" / "preset.toml").write_bytes(b"\xff\xfe = [")
    snapshot = RunsWatcher(folder).poll()
    assert snapshot is not None and {row.state for row in snapshot.rows} == {"damaged"} and len(snapshot.rows) == 4
    for row in snapshot.rows:
        shown = RunWatcher(RunDirectory(row.path)).poll()
        assert shown is not None and shown.trouble is not None


def test_a_loss_that_is_not_finite_is_kept_as_nan(fake: Any) -> None:
    """The user would not see that a run diverged."""
    run = fake().half_way()
    with open(run.run.events_file, "a", encoding="utf-8") as file:
        record = {"event": "step", "time": 1, "stage": "dynamic", "step": 61, "total": 100, "loss": None, "rate": 1}
        file.write(json.dumps({**record, "figures": {"grad": None}}) + "\n")
    snapshot = RunWatcher(run.run).poll()
    assert snapshot is not None and np.isnan(snapshot.losses["dynamic"].values[-1])
    assert np.isnan(snapshot.figures["grad"])


def test_stages_ahead_are_those_of_the_preset() -> None:
    """A run that waits for its worker would show stages that it will never have."""
    for name in preset_names():
        preset = load_preset(name)
        assert tuple(stage.name for stage in watch.stages_ahead(preset.tables())) == preset.stages
    for kind in PRESET_KINDS:
        preset = load_preset("demo", [f"synthetic.kind={kind}"])
        assert tuple(stage.name for stage in watch.stages_ahead(preset.tables())) == preset.stages
    assert watch.stages_ahead({"synthetic": {"kind": 7}}) == ()
