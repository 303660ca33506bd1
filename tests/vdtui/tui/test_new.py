"""Starting a run in the dashboard: preset, form, data, start; through Textual's pilot."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Button, Input, OptionList

import vdtui.launch
from engine.config import load_preset
from engine.data.layouts import list_videos
from engine.data.prepare import prepare
from engine.data.sampling import Sampling
from tests.videos import write_dataset
from vdtui.tui.app import VdtuiApp
from vdtui.tui.form import Form
from vdtui.tui.screens import new
from vdtui.tui.screens.dialogs import HelpScreen
from vdtui.tui.screens.new import NewRunScreen, ask_headers, found_files
from vdtui.tui.screens.presets import PresetScreen, about
from vdtui.tui.screens.run import RunScreen
from vdtui.tui.screens.runs import RunsScreen
from vdtui.tui.sources import FoundVideos
from vdtui.tui.widgets.fields import FieldRow

NOW = 1_750_000_000.0
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
FACTS = {"problem": "", "dataset": "mine", "classes": 3, "frames": 16, "size": 64, "bytes": 5000, "has_val": False}


def text(app: VdtuiApp) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


def said(app: VdtuiApp) -> str:
    return " ".join(note.message for note in app._notifications)


def row(app: VdtuiApp, key: str) -> FieldRow:
    return next(each for each in app.screen.query(FieldRow) if each.field.key == key)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What is said of clips files, by their name, in place of a process that looks."""
    known: dict[str, dict[str, Any]] = {}
    gone, sound = {"problem": "There is no such file."}, {"warning": ""}
    monkeypatch.setattr(
        new, "ask_headers", lambda names, preset: [{"path": name, **sound, **known.get(name, gone)} for name in names]
    )
    monkeypatch.setattr(new, "find_videos", lambda folders: [])
    return known


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The runs that were started, none of which really is."""
    runs: list[Any] = []
    monkeypatch.setattr(vdtui.launch, "launch", lambda run, processes=1: runs.append(run))
    return runs


async def opened(folder: Path, pilot: Any, wait: Any, preset: str) -> NewRunScreen:
    screen = NewRunScreen(Form(preset), folder)
    await pilot.app.push_screen(PresetScreen())
    await pilot.app.push_screen(screen)
    await wait(lambda: screen.query(FieldRow) and isinstance(screen.focused, Input), "the form")
    return screen


async def go_to(app: VdtuiApp, wait: Any, key: str) -> None:
    """Into the field ``key``, ready to be typed in."""
    editor = row(app, key).editor
    editor.focus()
    await wait(lambda: app.screen.focused is editor, f"{key} can be typed in")


@SIZES
async def test_a_preset_is_found_by_typing(folder: Path, wait: Any, answers: Any, size: tuple[int, int]) -> None:
    """One preset among eighty could not be found, or another would be taken."""
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        await pilot.press("n")
        screen = app.screen
        assert isinstance(screen, PresetScreen)
        await wait(lambda: screen.presets and screen.query_one(OptionList).option_count > 50, "the presets")
        assert "─ hmdb51" in text(app) and screen.chosen == "default"
        await pilot.press("down", "down", "down")
        assert screen.chosen == "demo" and "100 static + 100 dynamic" in text(app) and "721,223 values" in text(app)
        await pilot.press(*"hmdb51 ipc5 mtt")
        chooser = screen.query_one(OptionList)
        names = [option.id for option in chooser.options if option.id]
        assert names == ["hmdb51-ipc5-mtt", "hmdb51-ipc5-pixels-mtt"] and screen.chosen == names[0]
        await pilot.press(*" published")
        names = [option.id for option in chooser.options if option.id]
        assert names == ["hmdb51-ipc5-mtt-published", "hmdb51-ipc5-pixels-mtt-published"]
        await pilot.press("z")
        assert "No preset has these words." in text(app) and screen.chosen is None
        await pilot.press("enter")
        assert app.screen is screen
        await pilot.press("escape")
        assert screen.chosen == "default" and not screen.query_one(Input).value
        await pilot.press("up", "f1")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape", "down", "down", "enter")
        await wait(lambda: isinstance(app.screen, NewRunScreen) and app.screen.query(FieldRow), "the form")
        await pilot.press("escape", "escape")
        await wait(lambda: isinstance(app.screen, RunsScreen), "back")


async def test_published_numbers_are_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A paper's number would be taken for one that this tool measured."""
    preset = load_preset("demo").model_copy(update={"published": "99 % [b]x"})
    colours = {"primary": "#fff", "text-muted": "#888"}
    assert "published, unchecked  99 % [b]x" in about("demo", preset, colours).plain


async def test_a_preset_file_of_ones_own(folder: Path, wait: Any, answers: Any) -> None:
    """Who has written a preset could not use it here."""
    Path("mine.toml").write_text('extends = "demo"\ntitle = "mine"\n[dynamic]\nsteps = 7\n')
    Path("bad.toml").write_text('extends = "nothing"\n')
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n")
        await wait(lambda: app.screen.presets, "the presets")
        await pilot.press(*"bad.toml", "enter")
        assert "There is no preset 'nothing'" in text(app)
        await pilot.press("escape", *"mine.toml", "enter")
        await wait(lambda: isinstance(app.screen, NewRunScreen) and app.screen.query(FieldRow), "the form")
        assert app.screen.run_name == "mine" and app.screen.form.text("dynamic.steps") == "7"


@SIZES
async def test_the_form_validates_as_one_types(folder: Path, wait: Any, answers: Any, size: tuple[int, int]) -> None:
    """A mistake would show hours later, in a run that failed; or a change would go unseen."""
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        screen = await opened(folder, pilot, wait, "demo")
        assert "721,223 values, avif-5@half" in text(app)
        assert "100 static + 100 dynamic" in text(app) and "9 to choose the step" in text(app)
        await pilot.press("ctrl+n", "ctrl+n")
        await wait(lambda: screen.section == "synthetic" and screen.query(FieldRow), "the next page")
        await go_to(app, wait, "synthetic.ipc")
        await pilot.press("end", "backspace", "5")
        await pilot.pause()
        assert screen.form.changed == {"synthetic.ipc": 5} and "● was 1" in text(app) and "● synthetic" in text(app)
        assert f"{5 * (721_223 - 327) + 327:,} values" in text(app)  # 5 times the memories, one hallucinator
        await pilot.press("backspace", "0")
        await pilot.pause()
        assert "✖ input should be" in text(app) and "✖ synthetic.ipc: input should be greater than or" in text(app)
        assert screen.query_one("#start", Button).disabled
        await pilot.press("ctrl+b")
        await wait(lambda: screen.section == "dataset", "another page")
        await pilot.press("ctrl+s")  # goes to what is wrong
        wrong = "synthetic.ipc"
        await wait(lambda: screen.section == "synthetic" and screen._looked == wrong, "the mistake")
        await wait(lambda: "greater than or equal to 1" in said(app), "what is wrong")
        assert screen.starting is False
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert screen.form.changed == {} and row(app, "synthetic.ipc").editor.value == "1"
        assert not screen.query_one("#start", Button).disabled


async def test_choices_are_offered(folder: Path, wait: Any, answers: Any) -> None:
    """A value among three would have to be known by heart."""
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(folder, pilot, wait, "demo")
        await pilot.press("ctrl+n", "ctrl+n")
        await wait(lambda: screen.section == "synthetic" and screen.query(FieldRow), "the page")
        await go_to(app, wait, "synthetic.kind")
        await pilot.press("enter", "down", "enter")
        await wait(lambda: screen.form.changed == {"synthetic.kind": "pixels"}, "it is chosen")
        assert "100 dynamic" in text(app) and "100 static" not in text(app)  # a stage less


async def test_the_data_that_fits_is_offered_and_taken(folder: Path, wait: Any, answers: Any) -> None:
    """The user would have to remember where the clips are, and start a run on the wrong ones."""
    Path("data").mkdir()
    for name in ("small.h5", "data/good.h5"):
        Path(name).touch()
    answers["small.h5"] = {**FACTS, "problem": "It has frames 8, but the preset wants 16."}
    answers["data/good.h5"] = FACTS
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(folder, pilot, wait, "hmdb51-ipc1")
        await wait(lambda: screen.form.text("dataset.path") == "data/good.h5", "the one that fits")
        await pilot.pause()
        assert "✔ mine, 3 classes, 16 x 64 x 64, 5.0 kB" in text(app) and "✖ small.h5" in text(app)
        values = 3 * (3 * 64**2 + 16 * 64**2) + 327
        assert f"{values:,} values, av1-10+h264-43@half" in text(app)  # of these data, not of HMDB51
        chooser = screen.query_one("#files", OptionList)
        chooser.focus()
        chooser.highlighted = 0
        wrong = chooser.get_option_at_index(0).id
        await pilot.press("enter")
        await wait(lambda: screen.form.text("dataset.path") == wrong, "another one is chosen")


async def test_without_data_the_command_is_offered(
    folder: Path, wait: Any, answers: Any, launched: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new user would be told that data is missing, and not how to make it."""
    app = VdtuiApp(folder, clock=lambda: NOW)
    copied: list[str] = []
    monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(folder, pilot, wait, "hmdb51-ipc1")
        await wait(lambda: "No clips file here fits" in text(app), "what to do")
        assert "ctrl+o makes one of a folder of videos" in text(app) and "HMDB51 is at" in text(app)
        await pilot.press("ctrl+y")
        await wait(lambda: "no command to copy yet" in said(app), "nothing is copied that says DIR")
        screen = app.screen
        assert isinstance(screen, NewRunScreen)
        screen.videos = [FoundVideos("my h", "hmdb51", "HMDB51")]
        screen._list_files()
        await wait(lambda: "vdtui prepare hmdb51 --source 'my h'" in text(app), "the command")
        await pilot.press("ctrl+y")
        assert [f"vdtui prepare hmdb51 --source '{Path('my h').resolve()}'"] == copied
        screen._put("dataset.path", "my clips.h5")
        await pilot.press("ctrl+y")
        assert copied[1] == "vdtui distill --preset hmdb51-ipc1 --set 'dataset.path=my clips.h5' --run hmdb51-ipc1"
        screen._put("dataset.path", "")
        await pilot.press("ctrl+s")
        await wait(lambda: "needs data" in said(app), "it is refused")
        assert not launched and not list(folder.iterdir())


async def test_a_run_is_started_and_opened(folder: Path, wait: Any, answers: Any, launched: list[Any]) -> None:
    """The one thing that this screen is for; with what was typed, under the name that was typed."""
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(folder, pilot, wait, "demo")
        await pilot.press("end", *"-x", "enter", "tab", "end", "backspace", "4")
        await pilot.pause()
        assert screen.run_name == "demo-x" and screen.form.changed == {"run.seed": 4}
        await pilot.press("ctrl+s")
        await wait(lambda: isinstance(app.screen, RunScreen), "its screen")
        assert app.screen.run.name == "demo-x" and [run.name for run in launched] == ["demo-x"]
        made = tomllib.loads((folder / "demo-x" / "preset.toml").read_text())
        assert made["run"]["seed"] == 4 and made["dynamic"]["steps"] == 100
        command = app.screen.run.meta()["command"]
        assert command == ["vdtui", "distill", "--preset", "demo", "--set", "run.seed=4", "--run", "demo-x"]
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


async def test_names_are_checked_and_free_ones_proposed(
    folder: Path, fake: Any, wait: Any, answers: Any, launched: list[Any]
) -> None:
    """A run would be refused at the end, or land in the folder of another."""
    fake("demo")
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(folder, pilot, wait, "demo")
        assert screen.run_name == "demo-2"
        await pilot.press("end", "backspace", "backspace")
        await pilot.pause()
        assert "there is a run of this name" in text(app)
        await pilot.press("slash")
        await pilot.pause()
        assert "letters, digits" in text(app)
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert app.screen is screen and not launched


def test_headers_are_really_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the process that opens the files: facts of a good one, a plain reason for each bad one."""
    write_dataset(tmp_path / "mine", ("walk", "run"), each=4, length=8)
    prepare(list_videos("folders", tmp_path / "mine"), tmp_path / "good.h5", Sampling(8, 64))
    (tmp_path / "bad.h5").write_bytes(b"rubbish")
    names = [str(tmp_path / name) for name in ("good.h5", "bad.h5", "none.h5")]
    good, bad, gone = ask_headers(names, load_preset("default"))
    assert (good["problem"], good["classes"], good["frames"], good["size"]) == ("", 2, 8, 64)
    assert bad["path"] == names[1] and "clips file" in bad["problem"] and "no clips file" in gone["problem"]
    picky = ask_headers(names[:1], load_preset("hmdb51-ipc1"))[0]
    assert picky["classes"] == 2 and "frames 8" in picky["problem"]
    monkeypatch.chdir(tmp_path)
    assert found_files(Path("runs")) == [Path("bad.h5"), Path("good.h5")]
    assert ask_headers([], load_preset("default")) == []
