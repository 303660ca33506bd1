"""The runs screen: every key, sorting, filtering and marking, through Textual's pilot."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from textual.widgets import DataTable, Input

from engine.runs.status import current_process
from vdtui.cli.export import ExportFormat, Precision
from vdtui.tui import commands, themes, watch, words
from vdtui.tui.app import VdtuiApp
from vdtui.tui.commands import Done
from vdtui.tui.screens.compare import CompareScreen
from vdtui.tui.screens.dialogs import (
    PRECISIONS,
    ConfirmRemove,
    ConfirmStop,
    ExportDialog,
    HelpScreen,
)
from vdtui.tui.screens.presets import PresetScreen
from vdtui.tui.screens.run import RunScreen
from vdtui.tui.screens.runs import ORDERS, RunsScreen
from vdtui.tui.watch import RunsWatcher

NOW = 1_750_000_000.0
SIZE = (120, 40)


def make_app(folder: Path) -> VdtuiApp:
    return VdtuiApp(folder, clock=lambda: NOW)


def text(app: VdtuiApp) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


def names(app: VdtuiApp) -> list[str]:
    """The runs in the table from top to bottom."""
    table = app.screen.query_one(DataTable)
    return [str(table.get_row_at(place)[1]) for place in range(table.row_count)]


def said(app: VdtuiApp) -> str:
    return " ".join(note.message for note in app._notifications)


def asked(run: Any) -> str:
    return str(json.loads(run.run.control_file.read_text())["want"])


def standing(fake: Any, name: str, state: str, step: int, created: float, **told: Any) -> Any:
    """A run whose status tells everything, so that its log is not read."""
    run = fake(name, created=created)
    status = dataclasses.replace(current_process(state), stage="dynamic", step=step, total=100, **told)
    status.save(run.run.status_file)
    return run


@pytest.fixture
def three(fake: Any) -> list[Any]:
    """Newest first: bee, ant, cat."""
    return [
        standing(fake, "bee", "running", 10, NOW - 60, best=0.2, accuracies=(0.1, 0.2), stored_bytes=3000, warnings=()),
        standing(
            fake, "ant", "completed", 100, NOW - 7200, best=0.6, accuracies=(0.1, 0.6), stored_bytes=1000, warnings=()
        ),
        standing(fake, "cat", "stopped", 50, NOW - 9000, best=None, accuracies=(), stored_bytes=2000, warnings=()),
    ]


async def shown(app: VdtuiApp, wait: Any, count: int = 3) -> RunsScreen:
    await wait(
        lambda: app.screen.query("DataTable") and app.screen.query_one(DataTable).row_count == count,
        "the runs are shown",
    )
    assert isinstance(app.screen, RunsScreen)
    return app.screen


async def test_a_poll_between_a_new_size_and_the_news_of_it(folder: Path, three: list[Any], wait: Any) -> None:
    """The cells of the old columns would be put under the new ones, and the dashboard would end with a traceback."""
    app = make_app(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await shown(app, wait)
        with patch.object(RunsScreen, "recolour"):
            await pilot.resize_terminal(160, 40)
            await pilot.pause()
            screen._show()
        screen.recolour()
        await pilot.pause()
        table = screen.query_one(DataTable)
        assert len(table.ordered_columns) > 8 and len(screen._cells) == 3
        assert all(len(cells) == len(table.ordered_columns) for cells in screen._cells.values())


def test_the_status_spares_reading_the_log(folder: Path, three: list[Any]) -> None:
    """Hundreds of long logs would be read before the table has its numbers."""
    with patch.object(watch.LogReader, "read", side_effect=AssertionError("a log was read")):
        snapshot = RunsWatcher(folder).poll()
    assert snapshot is not None
    assert [(row.name, row.best, row.accuracies, row.stored_bytes) for row in snapshot.rows] == [
        ("bee", 0.2, (0.1, 0.2), 3000),
        ("ant", 0.6, (0.1, 0.6), 1000),
        ("cat", None, (), 2000),
    ]


def test_only_changed_runs_are_read_again(folder: Path, three: list[Any]) -> None:
    """With 500 runs on a shared disk every refresh would open a thousand files."""
    watcher = RunsWatcher(folder)
    watcher.poll()
    changed = dataclasses.replace(three[2].run.status(), step=51)
    opened: list[Path] = []
    real = Path.read_text
    with patch.object(Path, "read_text", lambda self, *a, **k: opened.append(self) or real(self, *a, **k)):
        assert watcher.poll() is None and not [path for path in opened if "/proc/" not in str(path)]
        changed.save(three[2].run.status_file)
        assert watcher.poll() is not None
    assert [path for path in opened if "/proc/" not in str(path)] == [three[2].run.status_file]


@pytest.mark.parametrize(
    ("presses", "expected"),
    [
        (0, ["bee", "ant", "cat"]),
        (1, ["ant", "bee", "cat"]),
        (2, ["bee", "cat", "ant"]),
        (3, ["ant", "cat", "bee"]),
        (4, ["bee", "ant", "cat"]),
        (5, ["ant", "bee", "cat"]),
        (6, ["bee", "ant", "cat"]),
        (7, ["bee", "cat", "ant"]),
        (8, ["bee", "ant", "cat"]),
    ],
)
async def test_o_sorts_by_the_next_column(
    folder: Path, three: list[Any], wait: Any, presses: int, expected: list[str]
) -> None:
    """The best of a hundred runs could only be found by reading them all; a run without a value is never first."""
    app = make_app(folder)
    async with app.run_test(size=SIZE) as pilot:
        await shown(app, wait)
        await pilot.press("down", *("greater_than_sign" for _ in range(presses)))
        assert names(app) == expected
        order = ORDERS[presses % len(ORDERS)]
        assert f"by {order} " in text(app) and (f"{order} ▲" in text(app) or f"{order} ▼" in text(app))
        table = app.screen.query_one(DataTable)
        assert str(table.get_row_at(table.cursor_row)[1]) == "ant"  # the cursor stays with its run
        await pilot.press("u")
        unknown = {"best": ["cat"], "left": expected, "test": expected}.get(order, [])
        assert names(app) == [name for name in reversed(expected) if name not in unknown] + unknown


async def test_a_click_on_a_head_sorts(folder: Path, three: list[Any], wait: Any) -> None:
    """The mouse would do nothing where everybody tries it."""
    app = make_app(folder)
    async with app.run_test(size=SIZE) as pilot:
        await shown(app, wait)
        table = app.screen.query_one(DataTable)
        await pilot.pause()
        await pilot.click(DataTable, offset=(5, 0))
        await wait(lambda: names(app) == ["ant", "bee", "cat"], "sorted by name")
        await pilot.click(DataTable, offset=(5, 0))
        await wait(lambda: names(app) == ["cat", "bee", "ant"], "turned")
        assert table.row_count == 3


async def test_typing_filters_and_escape_shows_all(folder: Path, three: list[Any], wait: Any) -> None:
    """One run among hundreds could not be found; or keys that are typed would act on runs."""
    app = make_app(folder)
    async with app.run_test(size=SIZE) as pilot:
        await shown(app, wait)
        await pilot.press("slash", "s", "t", "o", "p")  # s and p would stop and pause
        assert names(app) == ["cat"] and "1 of 3 runs" in text(app)
        await pilot.press("z")
        assert "No run has stopz in it" in text(app)
        await pilot.press("backspace", "enter")  # enter keeps the filter and goes to the table
        assert isinstance(app.screen, RunsScreen) and app.screen.query_one(DataTable).has_focus
        assert names(app) == ["cat"]
        await pilot.press("escape")
        assert sorted(names(app)) == ["ant", "bee", "cat"] and not app.screen.query_one("#filter", Input).value
        assert [asked(run) for run in three] == ["run"] * 3


async def test_marks_and_comparing(folder: Path, three: list[Any], wait: Any) -> None:
    """Comparing would take the wrong runs, or one."""
    app = make_app(folder)
    async with app.run_test(size=SIZE) as pilot:
        screen = await shown(app, wait)
        await pilot.press("c")
        assert "Mark 2 to 6 runs" in said(app)
        await pilot.press("space", "space")
        assert {path.name for path in screen.marked} == {"bee", "ant"} and "2 marked" in text(app)
        assert text(app).count("◆") == 2
        await pilot.press("c")
        await wait(lambda: isinstance(app.screen, CompareScreen), "the comparison")
        await pilot.press("escape", "escape")
        assert isinstance(app.screen, RunsScreen) and not screen.marked
        await pilot.press("space")
        shutil.rmtree(three[2].run.path)
        await wait(lambda: not screen.marked and app.screen.query_one(DataTable).row_count == 2, "its mark goes too")


async def test_enter_n_and_question_mark_open_screens(folder: Path, three: list[Any], wait: Any) -> None:
    """The way into everything else."""
    app = make_app(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, wait)
        await pilot.press("n")
        assert isinstance(app.screen, PresetScreen)
        await pilot.press("escape", "question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert "compare the marked runs, 2 to 6" in text(app) and "space   mark the run" in text(app)
        assert "Focus" not in text(app)  # what textual binds by itself is not ours to explain
        await pilot.press("escape", "enter")
        assert isinstance(app.screen, RunScreen) and app.screen.run.name == "bee"


async def test_pause_and_stop_ask_the_worker(folder: Path, three: list[Any], wait: Any) -> None:
    """A request would go to the wrong run, or to nobody while it looks as if it had worked."""
    app = make_app(folder)
    async with app.run_test(size=SIZE) as pilot:
        await shown(app, wait)
        await pilot.press("p")
        assert asked(three[0]) == "pause"
        await pilot.press("p")
        assert asked(three[0]) == "run"
        await pilot.press("s")
        assert isinstance(app.screen, ConfirmStop)
        await pilot.press("enter")
        assert asked(three[0]) == "run"
        await pilot.press("s", "y")
        assert asked(three[0]) == "stop"
        await pilot.press("down", "p", "s")
        assert "ant cannot be paused: it is completed." in said(app) and isinstance(app.screen, RunsScreen)
        await pilot.press("down", "p")
        assert "cat cannot be paused: it is stopped. r resumes it." in said(app)


async def test_remove_asks_and_keeps_what_lives(folder: Path, three: list[Any], wait: Any) -> None:
    """Days of work would go with one key, or a running worker would lose its folder."""
    app = make_app(folder)
    async with app.run_test(size=SIZE) as pilot:
        await shown(app, wait)
        await pilot.press("x")
        assert "bee is running, so it is kept" in said(app) and isinstance(app.screen, RunsScreen)
        await pilot.press("down", "x")
        assert isinstance(app.screen, ConfirmRemove) and "cannot be undone" in text(app)
        await pilot.press("enter")  # at once: the harmless answer
        await pilot.press("x", "escape")
        assert three[1].run.path.is_dir()
        await pilot.press("x", "y")
        await wait(lambda: not three[1].run.path.exists(), "it is gone")
        await wait(lambda: names(app) == ["bee", "cat"], "its row too")


async def test_a_worker_that_came_back_keeps_its_run(folder: Path, three: list[Any], wait: Any) -> None:
    """A run that was resumed elsewhere while the question stood would be deleted under its worker."""
    app = make_app(folder)
    async with app.run_test(size=SIZE) as pilot:
        await shown(app, wait)
        await pilot.press("down", "x")
        current_process("running").save(three[1].run.status_file)
        await pilot.press("y")
        await wait(lambda: "Stop it first" in said(app), "it is refused")
        assert three[1].run.path.is_dir()


async def test_remove_keeps_what_is_not_of_a_run(folder: Path, three: list[Any], wait: Any) -> None:
    """A user's notes in a run's folder, or the run that a link points to, would go with one key."""
    run = three[1].run
    (run.path / "notes.txt").write_text("mine")
    app = make_app(folder)
    async with app.run_test(size=SIZE) as pilot:
        await shown(app, wait)
        await pilot.press("down", "x", "y")
        await wait(lambda: "notes.txt" in said(app), "it is refused")
        assert (run.path / "notes.txt").read_text() == "mine" and run.preset_file.exists()
    (run.path / "notes.txt").unlink()
    kept = run.path.rename(folder.parent / "kept")
    run.path.symlink_to(kept.resolve())
    app = make_app(folder)
    async with app.run_test(size=SIZE) as pilot:
        await shown(app, wait)
        await pilot.press("down", "x")
        assert "link goes" in text(app) and "cannot be undone" not in text(app)
        await pilot.press("y")
        await wait(lambda: not run.path.is_symlink(), "the link is gone")
        assert (kept / "preset.toml").exists()


async def test_export_asks_how_and_runs_the_command(
    folder: Path, three: list[Any], wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result could not be taken out, or would be taken out in another form than was chosen."""
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(commands, "run_vdtui", lambda *words: calls.append(words) or Done(0, "out: 1 file", ""))
    app = make_app(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, wait)
        await pilot.press("e")
        assert "bee has no synthetic set yet" in said(app)
        three[0].run.best.parent.mkdir()
        three[0].run.best.write_bytes(b"x")
        await pilot.press("e")
        assert isinstance(app.screen, ExportDialog) and "bee.safetensors" in text(app)
        await pilot.press("escape", "e", "enter")
        await wait(lambda: len(calls) == 1 and "out: 1 file" in said(app), "it is exported")
        options = (
            "--format=safetensors",
            "--precision=float32",
            f"--output={Path('bee.safetensors').absolute()}",
            "--",
        )
        assert calls[0] == ("export", *options, str(three[0].run.path.resolve()))
        await pilot.press("e", "shift+tab", "shift+tab", "enter", "down", "down", "down", "enter")  # another format
        await wait(lambda: "bee-mp4" in text(app), "its file name follows")
        assert not app.screen.query_one("#precision").display
        await pilot.click("#overwrite")
        await wait(lambda: len(calls) == 2, "it is exported")
        assert calls[1][1:4] == ("--format=mp4", "--overwrite", f"--output={Path('bee-mp4').absolute()}")


def test_the_dialog_offers_what_the_command_can() -> None:
    """A format would be missing from the dashboard, or be refused after it was chosen."""
    assert set(PRECISIONS) == {each.value for each in ExportFormat}
    assert set(PRECISIONS["safetensors"]) == {each.value for each in Precision}


async def test_report_says_where_it_is(
    folder: Path, three: list[Any], wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page would be written, and nobody would find it; or a failure would pass unseen."""
    answers = [Done(0, "/x/report.html: 9 kB", ""), Done(2, "", "error: The disk is full.\nhint: Free some space.")]
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(commands, "run_vdtui", lambda *words: calls.append(words) or answers[len(calls) - 1])
    app = make_app(folder)
    async with app.run_test(size=SIZE) as pilot:
        await shown(app, wait)
        await pilot.press("w")
        await wait(lambda: "/x/report.html: 9 kB" in said(app), "where it is")
        assert calls[0][0] == "report" and f"--output={three[0].run.report.resolve()}" in calls[0]
        await pilot.press("w")
        await wait(lambda: "The disk is full. Free some space." in said(app), "what is wrong")


def test_a_command_is_really_run() -> None:
    """The dashboard's own commands would fail only in the user's hands."""
    done = commands.run_vdtui("presets", "no-such-preset")
    assert done.code == 2 and "There is no preset 'no-such-preset'" in done.problem and "\n" not in done.problem
    assert commands.run_vdtui("--version").out.startswith("vdtui ")
    assert commands.run_module("timeit", "-n1", "import time; time.sleep(9)", patience=0.3).code == 124


async def test_a_silent_run_is_told_from_a_crashed_one(folder: Path, three: list[Any], wait: Any, crashed: Any) -> None:
    """The user would resume a run that lives, or wait for one that is dead."""
    quiet = dataclasses.replace(three[0].run.status(), heartbeat=time.time() - 300)
    quiet.save(three[0].run.status_file)
    crashed.save(three[1].run.status_file)
    app = make_app(folder)
    async with app.run_test(size=SIZE):
        await shown(app, wait)
        await wait(lambda: "○ silent" in text(app) and "▲ crashed" in text(app), "both are told")
        assert "said nothing for 5 min" in text(app)


async def test_themes_change_all_colours(
    folder: Path, three: list[Any], wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a light terminal theme texts would keep the dark one's colours, and vanish."""
    monkeypatch.setenv(themes.VARIABLE, "light")
    app = make_app(folder)
    async with app.run_test(size=SIZE) as pilot:
        screen = await shown(app, wait)
        assert app.theme == themes.LIGHT.name
        commands_found = {command.title: command for command in app.get_system_commands(screen)}
        assert "Compare the marked runs, 2 to 6" in commands_found and "Theme: light" not in commands_found
        commands_found["Theme: high contrast"].callback()
        await pilot.pause(0.2)
        table = screen.query_one(DataTable)
        state = table.get_row_at(0)[2]
        assert app.theme == themes.CONTRAST.name and str(state.style).lower() == themes.CONTRAST.success


@pytest.mark.parametrize("theme", themes.THEMES, ids=lambda theme: theme.name)
def test_every_colour_can_be_read(theme: Any) -> None:
    """A state would be invisible in one of the themes; 4.5 to 1 is what WCAG 2 asks of text."""

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    roles = ("primary", "secondary", "accent", "success", "warning", "error", "foreground")
    colours = {role: getattr(theme, role) for role in roles} | {"muted": theme.variables["text-muted"]}
    for ground in (theme.background, theme.surface, theme.panel):
        for role, colour in colours.items():
            bright, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (role, colour, ground)


async def test_the_palette_does_what_the_keys_do(folder: Path, three: list[Any], wait: Any) -> None:
    """Who does not know the keys would have no other way."""
    app = make_app(folder)
    async with app.run_test(size=SIZE) as pilot:
        await shown(app, wait)
        await pilot.press("ctrl+p")
        await pilot.press(*"turn the order")
        await pilot.pause(0.4)
        await pilot.press("down", "enter")
        await wait(lambda: isinstance(app.screen, RunsScreen) and app.screen.turned, "the order is turned")


def test_a_sparkline_is_drawn_from_the_least_to_the_greatest() -> None:
    """The course of a run would look other than it is."""
    assert words.spark([0.0, 1.0], 8) == "▁█"
    assert words.spark([0.5, 0.5, 0.5], 8) == "▄▄▄"
    assert words.spark(list(range(8)), 8) == words.SPARKS
    assert words.spark([0, 0, 1, 1], 2) == "▁█"
    assert words.spark([], 8) == "" and words.spark([1.0], 0) == ""
