"""The keys that act on a run, on the table of runs and on the screen of a run alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import vdtui.launch
from engine.runs import RunDirectory
from vdtui.tui import commands
from vdtui.tui.app import VdtuiApp
from vdtui.tui.commands import Done
from vdtui.tui.screens import new
from vdtui.tui.screens.dialogs import ExportDialog
from vdtui.tui.screens.new import NewRunScreen
from vdtui.tui.screens.run import RunScreen
from vdtui.tui.widgets.fields import FieldRow

NOW = 1_750_000_000.0
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
ON = pytest.mark.parametrize("where", ["runs", "run"])


def said(app: VdtuiApp) -> str:
    return " ".join(note.message for note in app._notifications)


async def there(app: VdtuiApp, pilot: Any, wait: Any, where: str) -> None:
    """On the screen ``where``, with the run known."""
    await wait(lambda: app.screen.chosen() is not None, "the runs")  # type: ignore[attr-defined]
    if where == "run":
        await pilot.press("enter")
        await wait(lambda: isinstance(app.screen, RunScreen) and app.screen.chosen(), "the run")


@ON
@pytest.mark.parametrize("state", ["stopped", "failed", "crashed", "paused", "completed", "running"])
async def test_r_resumes_what_can_go_on(
    folder: Path, fake: Any, wait: Any, crashed: Any, monkeypatch: pytest.MonkeyPatch, where: str, state: str
) -> None:
    """The user of a crashed run would have to leave the dashboard and find the command."""
    launched: list[RunDirectory] = []
    monkeypatch.setattr(vdtui.launch, "launch", lambda run, processes=1: launched.append(run))
    run = fake().half_way()
    run.run.request("pause" if state == "paused" else "run")
    run.status(state, "dynamic", 60, 100) if state != "crashed" else crashed.save(run.run.status_file)
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await there(app, pilot, wait, where)
        await pilot.press("r")
        if state in ("completed", "running"):
            await wait(lambda: f"is {state}" in said(app), "a reason")
            assert not launched
        else:
            await wait(lambda: "demo goes on." in said(app), "it goes on")
            assert [each.name for each in launched] == ([] if state == "paused" else ["demo"])
            assert run.run.control().want == "run"


@ON
async def test_export_and_report_from_both_screens(
    folder: Path, fake: Any, wait: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Who looks at a result would have to go back to take it out."""
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(commands, "run_vdtui", lambda *words: calls.append(words) or Done(0, "written", ""))
    run = fake().complete()
    run.run.best.parent.mkdir(exist_ok=True)
    run.run.best.write_bytes(b"x")
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await there(app, pilot, wait, where)
        await pilot.press("w")
        await wait(lambda: len(calls) == 1, "the report")
        assert calls[0] == (
            "report", "--format=html", "--overwrite", f"--output={run.run.report.resolve()}", "--",
            str(run.run.path.resolve()),
        )  # fmt: skip
        await pilot.press("e")
        await wait(lambda: isinstance(app.screen, ExportDialog), "it asks")
        await pilot.press("enter")
        await wait(lambda: len(calls) == 2, "the export")
        (output,) = (word for word in calls[1] if word.startswith("--output="))
        assert Path(output.removeprefix("--output=")).is_absolute()


@ON
@SIZES
async def test_a_new_run_begins_with_the_values_of_an_old_one(
    folder: Path, fake: Any, wait: Any, monkeypatch: pytest.MonkeyPatch, where: str, size: tuple[int, int]
) -> None:
    """Trying one other value would mean to type all the values of the last run again."""
    started: list[Any] = []
    monkeypatch.setattr(new, "ask_headers", lambda names, preset: [])
    monkeypatch.setattr(new, "find_videos", lambda folders: [])
    monkeypatch.setattr(vdtui.launch, "launch", lambda run, processes=1: started.append(run))
    run = fake("first-2").complete().run
    run.preset_file.write_text(
        'title = "Mine"\n[dataset]\nlayout = "demo"\n[dynamic]\nsteps = 321\n[run]\nseed = 5\n', encoding="utf-8"
    )
    fake("first-3", created=NOW - 9000)
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        await there(app, pilot, wait, where)
        await pilot.press("N")
        await wait(lambda: isinstance(app.screen, NewRunScreen) and app.screen.query(FieldRow), "the form")
        screen = app.screen
        assert isinstance(screen, NewRunScreen)
        assert screen.form.text("dynamic.steps") == "321" and screen.form.text("run.seed") == "5"
        assert screen.run_name == "first-4" and not screen.form.changed
        screen.form.put("dynamic.batch_real", "6")  # of a page that is not shown
        await pilot.press("ctrl+s")
        await wait(lambda: isinstance(app.screen, RunScreen) and app.screen.run.name == "first-4", "it is started")
        made = RunDirectory(folder / "first-4")
        values, command = made.preset_values(), made.meta()["command"]
        assert values["dynamic"]["steps"] == 321 and values["dynamic"]["batch_real"] == 6
        assert command[:3] == ["vdtui", "distill", "--preset"] and Path(command[3]).is_absolute()
        assert "dynamic.batch_real=6" in command and [each.name for each in started] == ["first-4"]


async def test_a_damaged_preset_is_no_form(folder: Path, fake: Any, wait: Any) -> None:
    """The dashboard would end with a traceback."""
    run = fake().complete().run
    run.preset_file.write_text("[dynamic]\nstpes = 3\n", encoding="utf-8")
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await there(app, pilot, wait, "runs")
        await pilot.press("N")
        await wait(lambda: "unknown key dynamic.stpes" in said(app), "what is wrong")


@ON
async def test_paths_and_commands_are_copied_and_files_opened(
    folder: Path, fake: Any, wait: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A path would have to be typed from the screen; relative, it would be found from one folder only."""
    run = fake().complete().run
    opened: list[Path] = []
    monkeypatch.setattr(commands, "open_elsewhere", lambda path: opened.append(path) or True)
    app = VdtuiApp(folder, clock=lambda: NOW)
    copied: list[str] = []
    monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
    async with app.run_test(size=(80, 24)) as pilot:
        await there(app, pilot, wait, where)
        await pilot.press("y", "Y", "o")
        assert copied[0] == str(run.path.resolve())
        assert copied[1] == f"vdtui distill --preset {run.preset_file.resolve()}"
        run.report.write_text("<html>", encoding="utf-8")
        await pilot.press("o")
        assert opened == [run.path.resolve(), run.report.resolve()]


def test_without_a_screen_nothing_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over SSH a browser in the terminal would draw over the dashboard."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(commands.sys, "platform", "linux")
    monkeypatch.setattr(commands.subprocess, "Popen", lambda *a, **k: pytest.fail("something was started"))
    assert commands.open_elsewhere(tmp_path) is False
