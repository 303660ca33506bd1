"""Keys that follow each other without a pause, as they come from a fast hand, a macro or a slow line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.app import App
from textual.keys import Keys, _character_to_key
from textual.widgets import Input

import vdtui.launch
from vdtui.tui.app import VdtuiApp
from vdtui.tui.form import Form
from vdtui.tui.screens import new
from vdtui.tui.screens.dialogs import ConfirmStop
from vdtui.tui.screens.new import NewRunScreen
from vdtui.tui.screens.presets import PresetScreen
from vdtui.tui.screens.run import RunScreen
from vdtui.tui.screens.runs import RunsScreen
from vdtui.tui.widgets.fields import FieldRow
from vdtui.tui.widgets.search import SearchLine

NOW = 1_750_000_000.0
NAMED = {key.value for key in Keys}


def at_once(app: App[Any], *words: str) -> None:
    """Send keys and letters with no time between them; each word is a key's name, or is typed letter by letter."""
    for word in words:
        if word in NAMED or word.startswith(("ctrl+", "shift+")):
            app.post_message(events.Key(word, None))
            continue
        for letter in word:
            app.post_message(events.Key(_character_to_key(letter), letter))


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process that looks at clips files, and no worker."""
    monkeypatch.setattr(new, "ask_headers", lambda names, preset: [])
    monkeypatch.setattr(new, "find_videos", lambda folders: [])
    monkeypatch.setattr(vdtui.launch, "launch", lambda run, processes=1: None)


async def form(app: VdtuiApp, folder: Path, wait: Any) -> NewRunScreen:
    screen = NewRunScreen(Form("demo"), folder)
    await app.push_screen(screen)
    await wait(lambda: screen.query(FieldRow) and isinstance(screen.focused, Input), "the form")
    return screen


def stands(screen: NewRunScreen) -> dict[str, str]:
    return {row.field.key: row.text for row in screen.query(FieldRow)}


@pytest.mark.parametrize("going_on", ["tab", "enter"])
async def test_letters_land_in_the_field_that_was_gone_to(folder: Path, wait: Any, quiet: None, going_on: str) -> None:
    """A run would be started under another name, or with another seed, than was typed."""
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)):
        screen = await form(app, folder, wait)
        at_once(app, "end", "-x", going_on, "end", "-y", "backspace", "backspace", going_on, "end", "backspace", "42")
        await wait(lambda: screen.form.text("run.seed") == "42", "the seed")
        assert stands(screen)["run name"] == screen.run_name == "demo-x" and stands(screen)["dataset.path"] == ""


async def test_a_backspace_takes_the_letter_before_it(folder: Path, wait: Any, quiet: None) -> None:
    """A mistake that was mended while typing would become another one."""
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)):
        screen = await form(app, folder, wait)
        at_once(app, "end", "abd", "backspace", "c", "home", "delete", "D", "end", "d")
        await wait(lambda: screen.run_name == "Demoabcd", "what was meant")


async def test_the_last_letters_are_in_the_run_that_is_started(folder: Path, wait: Any, quiet: None) -> None:
    """A run of many hours would have the old value of the field in which one was typing."""
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)):
        await form(app, folder, wait)
        at_once(app, "end", "-z", "tab", "tab", "end", "backspace", "77", "ctrl+s")
        await wait(lambda: isinstance(app.screen, RunScreen), "it is started")
        assert app.screen.run.name == "demo-z" and app.screen.run.preset_values()["run"]["seed"] == 77


async def test_letters_after_a_change_of_page_are_on_the_new_page(folder: Path, wait: Any, quiet: None) -> None:
    """They would be lost with the page that they were not meant for."""
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)):
        screen = await form(app, folder, wait)
        at_once(app, "end", "-p", "ctrl+n", "ctrl+n", "tab", "end", "backspace", "5")
        await wait(lambda: screen.form.changed == {"synthetic.ipc": 5}, "the second field of the second page")
        assert screen.run_name == "demo-p"


async def test_a_search_is_over_when_enter_chooses(folder: Path, wait: Any, quiet: None) -> None:
    """Another preset than the one that was typed would be opened."""
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n")
        await wait(lambda: isinstance(app.screen, PresetScreen) and app.screen.presets, "the presets")
        await pilot.pause()
        at_once(app, "hmdb51 ipc5 mtt pixels", "enter")
        await wait(lambda: isinstance(app.screen, NewRunScreen) and app.screen.query(FieldRow), "the form")
        assert app.screen.form.name == "hmdb51-ipc5-pixels-mtt"


async def test_words_of_a_filter_are_no_keys(folder: Path, fake: Any, wait: Any) -> None:
    """Looking for "stopped" would ask to stop a run, and "px" pause it and ask to remove it."""
    run = fake().half_way()
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)):
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        await wait(lambda: screen._rows, "the run")
        at_once(app, "/", "px", "backspace", "backspace", "demo", "enter", "j")
        await wait(lambda: screen.words == "demo", "the filter")
        assert app.screen is screen and run.run.control().want == "run"
        at_once(app, "/", "zz", "escape")
        await wait(lambda: screen.words == "" and screen.focused is not screen.query_one("#filter"), "it is ended")
        at_once(app, "s", "y")
        await wait(lambda: run.run.control().want == "stop", "s is a key again")
        assert not isinstance(app.screen, ConfirmStop)


async def test_words_of_a_search_in_the_log_are_no_keys(folder: Path, fake: Any, wait: Any) -> None:
    """Looking for "pass" would pause the run and ask to stop it."""
    run = fake().half_way()
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=(80, 24)):
        await wait(lambda: isinstance(app.screen, RunScreen) and app.screen.snapshot, "the run")
        at_once(app, "/", "pasx", "backspace", "s")
        await wait(lambda: app.screen.query_one(SearchLine).value == "pass", "what was typed")
        assert run.run.control().want == "run" and isinstance(app.screen, RunScreen)
