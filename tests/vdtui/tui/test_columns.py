"""The columns of the table of runs: those that fit, those that somebody wants, and what is said below."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdtui.tui.app import VdtuiApp
from vdtui.tui.columns import LEAST_NAME, MEANINGS, WIDTHS, columns, from_environment, used
from vdtui.tui.screens.dialogs import ColumnsDialog

NOW = 1_750_000_000.0


def screen_text(app: VdtuiApp) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


@given(st.integers(30, 300), st.sets(st.sampled_from(list(WIDTHS))))
def test_columns_leave_room_for_the_name(width: int, chosen: set[str]) -> None:
    """The names of runs would be cut to nothing, or the last column be beyond the edge."""
    found = columns(width, tuple(chosen))
    assert used([name for name, _ in found], dict(found)) + LEAST_NAME <= max(width, LEAST_NAME + 7)
    assert not chosen or {name for name, _ in found} <= chosen


def test_wider_terminals_show_more() -> None:
    """Two hundred columns would show what eighty do, and blanks."""
    numbers = [len(columns(width)) for width in (80, 120, 160)]
    assert numbers == sorted(numbers) and numbers[0] == 6 and numbers[-1] == 10
    assert set(MEANINGS) == set(WIDTHS)


def test_the_environment_names_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A choice would have to be made anew each time."""
    monkeypatch.setenv("VDTUI_COLUMNS", "test, state,nothing")
    assert from_environment() == ("state", "test")


async def test_columns_are_chosen(folder: Path, fake: Any, wait: Any) -> None:
    """A user would have to live with the columns that we like."""
    run = fake("mine").half_way()
    warnings = ("unlearned", "not-ahead")
    run.status(
        "running", "dynamic", 60, 100, accuracies=(0.4,), test=0.47, warnings=warnings, left=3700.0, worked=3700.0
    )
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(lambda: "mine" in screen_text(app), "the run", 20)
        await wait(lambda: "!47.0 %" in screen_text(app), "its top-1 on test, with a sign", 20)
        assert "1 h 0" in screen_text(app) and "! did not learn · not ahead of baselines" in screen_text(app)
        assert "50 %" in screen_text(app)  # of the whole run
        await pilot.press("C")
        await wait(lambda: isinstance(app.screen, ColumnsDialog), "the choice")
        await pilot.press("space", "j", "space", "enter")  # not the state, but the preset
        await wait(lambda: "preset" in screen_text(app).splitlines()[2], "the new columns", 20)
        assert "state" not in screen_text(app).splitlines()[2]


async def test_runs_of_a_study_are_in_the_table(folder: Path, fake: Any, wait: Any) -> None:
    """The progress of a grid of hours would be seen nowhere."""
    from engine.runs import create_run

    study = folder / "studies" / "rates"
    study.mkdir(parents=True)
    made = create_run(study, "lr-1", "lr-1", 'title = "t"\n', {})
    fake("plain", created=NOW - 60).half_way()
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)):
        await wait(lambda: "rates/lr-1" in screen_text(app) and "plain" in screen_text(app), "both", 20)
    assert made.path.parent == study


async def test_the_bell_rings_at_the_end_if_somebody_wants_it(
    folder: Path, fake: Any, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does something else would look for hours whether a run has ended, or be rung for all of them unasked."""
    run = fake("mine").half_way()
    app = VdtuiApp(folder, clock=lambda: NOW)
    rung: list[bool] = []
    monkeypatch.setattr(app, "bell", lambda: rung.append(True))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(lambda: "mine" in screen_text(app), "the run", 20)
        assert not app.rings
        await pilot.press("B")
        assert app.rings
        run.run.status_file.write_text(run.run.status_file.read_text().replace("running", "completed"))
        await wait(lambda: rung, "the bell", 20)


async def test_work_that_goes_on_is_said_until_it_ends(
    folder: Path, fake: Any, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message of some seconds would be gone, and a user wonder whether the export still runs."""
    import threading

    from vdtui.tui import commands

    fake("mine").complete()
    ended = threading.Event()

    def slow(*arguments: str) -> commands.Done:
        ended.wait(30)
        return commands.Done(0, "report.html: 1 kB", "")

    monkeypatch.setattr(commands, "run_vdtui", slow)
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(lambda: "mine" in screen_text(app), "the run", 20)
        await pilot.press("w")
        await wait(lambda: "◐ writing the report of mine" in screen_text(app), "that it is written")
        await pilot.press("enter")
        await wait(lambda: "seed 3" in screen_text(app) and "◐ writing the report" in screen_text(app), "here too", 20)
        ended.set()
        await wait(lambda: "◐ writing" not in screen_text(app), "its end", 20)
        await wait(lambda: any("report.html" in note.message for note in app._notifications), "what was written")


def test_rows_tell_apart_what_differs() -> None:
    """A row that has changed would stay as it was on the screen."""
    from vdtui.tui.watch import RunRow

    row = RunRow(Path("a"), "running", "", "", 0, 0, None, None, 0.0, None)
    assert row != dataclasses.replace(row, test=0.3) and row != dataclasses.replace(row, warnings=("few-clips",))
