"""The table of keys: one meaning for each, and bindings, help and guide that say what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from vdtui.tui import keys
from vdtui.tui.app import VdtuiApp
from vdtui.tui.screens.base import DashboardScreen
from vdtui.tui.screens.compare import CompareScreen
from vdtui.tui.screens.data import DataScreen
from vdtui.tui.screens.gallery import GalleryScreen
from vdtui.tui.screens.new import NewRunScreen
from vdtui.tui.screens.prepare import PrepareScreen
from vdtui.tui.screens.presets import PresetScreen
from vdtui.tui.screens.run import RunScreen
from vdtui.tui.screens.runs import RunsScreen
from vdtui.tui.widgets.keyline import KeyLine, fitting

NOW = 1_750_000_000.0
ROOT = Path(__file__).parents[3]
SCREENS = (
    RunsScreen,
    RunScreen,
    GalleryScreen,
    DataScreen,
    CompareScreen,
    PresetScreen,
    NewRunScreen,
    PrepareScreen,
)
TYPED_IN = ("presets", "form", "prepare")


def test_a_key_means_the_same_on_every_screen() -> None:
    """A key that pauses a run on one screen would do something else on the next."""
    names = [name for key in keys.TABLE for name in key.keys]
    assert len(names) == len(set(names))
    for key in keys.TABLE:
        assert key.uses and all(set(use.keys) <= set(key.keys) for use in key.uses)
    for screen in keys.SCREENS:
        bound = [name for names, _ in keys.uses(screen) for name in names]
        assert len(bound) == len(set(bound)), screen
    for screen in TYPED_IN:
        bound = [name for names, _ in keys.uses(screen) for name in names]
        assert not [name for name in bound if len(name) == 1], "letters are typed there"


@pytest.mark.parametrize("screen", SCREENS, ids=[screen.SCREEN for screen in SCREENS])
def test_screens_bind_what_the_table_says_and_can_do_it(screen: type[DashboardScreen]) -> None:
    """A key of the help would do nothing, or one that works would stand nowhere."""
    assert tuple(each.SCREEN for each in SCREENS) == keys.SCREENS
    bound = {name: binding.action for binding in screen.BINDINGS for name in binding.key.split(",")}  # type: ignore[union-attr]
    assert bound == {name: use.action for names, use in keys.uses(screen.SCREEN) for name in names}
    for action in bound.values():
        name, owner = action.partition("(")[0], screen
        if name.startswith("app."):
            name, owner = name.removeprefix("app."), VdtuiApp  # type: ignore[assignment]
        assert hasattr(owner, f"action_{name}"), action


def test_vi_keys_go_with_the_arrows() -> None:
    """Who moves with j and k would have to take the hands off, or do something else with a run."""
    by_key = {name: key for key in keys.TABLE for name in key.keys}
    for arrow, letter in (("up", "k"), ("down", "j"), ("left", "h"), ("right", "l"), ("home", "g"), ("end", "G")):
        assert by_key[arrow] is by_key[letter]


def test_the_guide_has_the_table() -> None:
    """The guide would tell of keys that are gone. After a change: python docs/key_table.py"""
    found = importlib.util.spec_from_file_location("key_table", ROOT / "docs" / "key_table.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    guide = (ROOT / "docs" / "dashboard.md").read_text(encoding="utf-8")
    assert module.with_table(guide) == guide and "| `p` | pause, go on | runs, run, gallery, data |" in guide


def test_what_does_not_fit_leaves_the_ways_out() -> None:
    """On a narrow terminal the user would see neither help nor how to leave."""
    entries = [("p", "Pause/go on", "pause"), ("f", "Figures", "figures"), ("?", "Help", "app.help")]
    entries.append(("q", "Leave", "app.leave"))
    assert fitting(entries, 100) == entries
    assert [sign for sign, _, _ in fitting(entries, 40)] == ["p", "?", "q"]  # 15 + 11 + 8 + 9 cells
    assert [sign for sign, _, _ in fitting(entries, 20)] == ["?", "q"]


def line(app: VdtuiApp) -> str:
    shown = app.screen.query_one(KeyLine)._text
    assert isinstance(shown, Text)
    return shown.plain


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
async def test_the_line_of_keys_says_the_next_step(
    folder: Path, fake: Any, wait: Any, crashed: Any, size: tuple[int, int]
) -> None:
    """The user of a run that has ended would be offered to pause it, and not told how it goes on."""
    for number, state in enumerate(("running", "stopped", "crashed", "completed")):
        run = fake(state, created=NOW - 60 - number).half_way()
        run.status(state, "dynamic", 60, 100) if state != "crashed" else crashed.save(run.run.status_file)
    expected = {"running": "p Pause/go on", "stopped": "r Resume", "crashed": "r Resume", "completed": "w Report"}
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        await wait(lambda: len(app.screen._rows) == 4, "the runs")  # type: ignore[attr-defined]
        for state, key in expected.items():
            await wait(lambda state=state: app.screen.chosen().name == state, state)  # type: ignore[attr-defined]
            await wait(lambda state=state: ("r Resume" in line(app)) == (state in ("stopped", "crashed")), state)
            assert "? Help" in line(app) and "q Leave" in line(app)
            await pilot.press("enter")
            await wait(lambda key=key: isinstance(app.screen, RunScreen) and key in line(app), key)
            assert ("s Stop" in line(app)) == (state == "running")
            await pilot.press("escape", "j")


async def test_j_k_g_and_home_move_in_the_table(folder: Path, fake: Any, wait: Any) -> None:
    """Home and End would move between columns that cannot be seen, and vi's keys nowhere."""
    for number in range(4):
        fake(f"run-{number}", created=NOW - 60 - number).half_way()
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(lambda: len(app.screen._rows) == 4, "the runs")  # type: ignore[attr-defined]
        for pressed, number in (("G", 3), ("g", 0), ("j", 1), ("j", 2), ("k", 1), ("end", 3), ("home", 0)):
            await pilot.press(pressed)
            assert app.screen.chosen().name == f"run-{number}", pressed  # type: ignore[attr-defined]
