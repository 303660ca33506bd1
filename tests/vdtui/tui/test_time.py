"""Times that are told of a run: what is left, of what, and what was worked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.events import Continued, Note, Paused, Progress, RunStarted, StageStarted
from vdtui.tui.app import VdtuiApp
from vdtui.tui.watch import RunSnapshot, RunWatcher
from vdtui.tui.widgets.lines import Lines
from vdtui.tui.widgets.panels import elapsed
from vdtui.tui.widgets.preview import RunPreview
from vdtui.tui.widgets.stepper import counted, time_left

NOW = 1_750_000_000.0
STAGES = ("prepare", "dynamic", "evaluate")


def snapshot(run: Any) -> RunSnapshot:
    found = RunWatcher(run.run).poll()
    assert found is not None
    return found


def test_elapsed_is_what_was_worked(fake: Any) -> None:
    """A run that was stopped over the weekend would seem to have taken three days."""
    run = fake(created=NOW)
    start = RunStarted("demo", 3, "cpu", STAGES, False)
    run.say(start, seconds=0)
    run.say(Note("info", "work"), seconds=100)
    run.say(RunStarted("demo", 3, "cpu", STAGES, True), seconds=900)  # nobody worked
    run.say(Paused(), seconds=20)
    run.status("paused", "dynamic", 5, 10)
    assert elapsed(snapshot(run), NOW + 5000) == 120  # and it stands while the run does
    run.say(Continued(), seconds=80)
    run.say(Note("info", "work"), seconds=10)
    run.status("running", "dynamic", 5, 10)
    assert elapsed(snapshot(run), NOW + 1117) == 100 + 20 + 10 + 7
    run.status("stopped", "dynamic", 5, 10)
    assert elapsed(snapshot(run), NOW + 99_999) == 100 + 20 + 10
    run.say(RunStarted("demo", 3, "cpu", STAGES, True), seconds=50_000)
    run.status("running", "dynamic", 5, 10)
    assert elapsed(snapshot(run), NOW + 1110 + 50_000 + 3) == 133


def test_what_is_left_says_of_what(fake: Any) -> None:
    """The end of a stage would be taken for the end of the run, which trains networks for an hour more."""
    run = fake()
    run.say(RunStarted("demo", 3, "cpu", STAGES, False), StageStarted("dynamic", 0, 100))
    run.say(Progress("dynamic", 50, 100, 0.5, ""))
    assert time_left(snapshot(run), NOW) == ["time left unknown"]  # an older version works on it
    run.status("running", "dynamic", 50, 100, left=400.0, stage_left=100.0, at_least=False, heartbeat=NOW - 10)
    assert time_left(snapshot(run), NOW) == ["stage: 1 min 30 s left", "run: 6 min 30 s left"]
    run.status("running", "dynamic", 50, 100, left=90.0, stage_left=None, at_least=True, heartbeat=NOW)
    assert time_left(snapshot(run), NOW + 5) == ["run: at least 1 min 25 s left"]
    run.status("running", "dynamic", 50, 100, left=0.0, stage_left=None, at_least=True, heartbeat=NOW)
    assert time_left(snapshot(run), NOW) == ["run: time left unknown yet"]
    run.say(StageStarted("evaluate", 0, 4), Progress("evaluate", 2, 4, 0.01, "random"))
    found = snapshot(run)
    assert found.present is not None and counted(found.present) == "network 2 of 4"


@pytest.mark.parametrize("width", [120, 200])
async def test_the_chosen_run_stands_beside_the_table(folder: Path, fake: Any, wait: Any, width: int) -> None:
    """On a wide terminal half of it would be empty, and every run have to be opened to see what came out."""
    fake("new").half_way()
    fake("old", created=NOW - 9000).complete()
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(width, 40)) as pilot:
        await wait(lambda: len(app.screen._rows) == 2, "the runs")  # type: ignore[attr-defined]
        preview = app.screen.query_one(RunPreview)
        if width < 170:
            assert not preview.display
            return
        await wait(lambda: "● running" in str(preview.query_one(Lines)._text), "the first run")
        await pilot.press("j")
        await wait(lambda: "47.0 ± 1.2 %" in str(preview.query_one(Lines)._text), "the other one")
        assert preview.size.width <= 70
