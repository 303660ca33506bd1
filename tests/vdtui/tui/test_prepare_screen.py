"""From a folder of videos to the data of a run, in the dashboard; with the very process that does it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Button, Input, OptionList

from engine.config import load_preset
from engine.config.schema import DatasetSection
from engine.data.layouts import LAYOUTS
from engine.data.store import ClipStore
from tests.videos import write_dataset
from vdtui.tui import sources
from vdtui.tui.app import VdtuiApp
from vdtui.tui.form import Form
from vdtui.tui.screens import new
from vdtui.tui.screens.new import NewRunScreen
from vdtui.tui.screens.prepare import PrepareScreen
from vdtui.tui.sources import FoundVideos, command, fields, find_videos, wanted_first, wish_of
from vdtui.tui.widgets.fields import FieldRow
from vdtui.tui.widgets.lines import Lines

NOW = 1_750_000_000.0


def told(app: VdtuiApp) -> str:
    return str(app.screen.query_one("#told-text", Lines)._text)


def row(app: VdtuiApp, key: str) -> FieldRow:
    return next(each for each in app.screen.query(FieldRow) if each.field.key == key)


@pytest.mark.parametrize("size", [(80, 24)], ids=["80x24"])
async def test_videos_become_the_data_of_a_run(folder: Path, wait: Any, size: tuple[int, int]) -> None:
    """A user would have to leave the dashboard, learn the options of a command, and come back."""
    write_dataset(Path("walks"), ("a", "b"), each=4, length=10)
    (Path("walks") / "a" / "broken.mp4").write_bytes(b"no video")
    Path("notes").mkdir()
    preset = load_preset("default", {"dataset.frames": 8, "dataset.size": 64})
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        form = NewRunScreen(Form("default"), folder)
        form.form.put("dataset.frames", "8")
        form.form.put("dataset.size", "64")
        await app.push_screen(form)
        await wait(lambda: form.videos and form.query_one("#files", OptionList).option_count, "the videos", 60)
        assert [one.path for one in form.videos] == ["walks"]
        await pilot.press("ctrl+o")
        await wait(lambda: isinstance(app.screen, PrepareScreen) and row(app, "source").text == "walks", "them", 60)
        assert row(app, "frames").text == "8" and row(app, "size").text == "64" and preset.dataset.frames == 8
        screen = app.screen
        assert isinstance(screen, PrepareScreen)
        await wait(lambda: screen.seen, "what is in the folder", 60)
        assert "2 classes, 9 videos (6 train, 3 test)" in told(app) and screen.seen["output"] == "walks.h5"
        await pilot.press("ctrl+s")
        await wait(lambda: "problem" in screen.seen, "one of nine is too many", 60)
        assert "--max-skipped" in told(app)
        row(app, "max_skipped").put("20")
        await wait(lambda: screen.seen and "problem" not in screen.seen, "looked at anew", 60)
        await pilot.press("ctrl+s")
        await wait(lambda: screen.summary is not None, "the clips file", 60)
        assert "2 classes" in told(app) and "a/broken.mp4" in told(app) and "1 video skipped" in told(app)
        await pilot.press("ctrl+s")
        await wait(lambda: app.screen is form, "back in the form")
        assert form.form.text("dataset.path") == "walks.h5"
        await wait(lambda: "✔" in str(row(app, "dataset.path")._note._text), "the data fit", 60)
    with ClipStore.open(Path("walks.h5")) as store:
        assert (store.frames, store.height, store.layout) == (8, 64, "folders")


async def test_an_emptied_field_stays_empty(folder: Path, wait: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path that somebody has deleted would come back while another is typed."""
    Path("one.h5").touch()
    facts = {"problem": "", "warning": "", "dataset": "one", "classes": 3, "frames": 8, "size": 64, "bytes": 9}
    monkeypatch.setattr(new, "ask_headers", lambda names, preset: [{"path": n, **facts, "has_val": 0} for n in names])
    monkeypatch.setattr(new, "find_videos", lambda folders: [])
    monkeypatch.setattr(new, "TYPING_SECONDS", 0.01)
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        form = NewRunScreen(Form("default"), folder)
        await app.push_screen(form)
        await wait(lambda: form.form.text("dataset.path") == "one.h5", "the file is offered")
        editor = row(app, "dataset.path").editor
        assert isinstance(editor, Input)
        editor.value = ""
        await wait(lambda: not form.form.text("dataset.path"), "it is emptied")
        await pilot.pause(0.2)
        assert not form.form.text("dataset.path") and not editor.value


async def test_other_data_are_not_offered_and_warned_of(
    folder: Path, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A toy file would be taken for Kinetics, ticked, and its number for one on Kinetics."""
    Path("toy.h5").touch()
    facts = {"problem": "", "dataset": "toy", "classes": 3, "frames": 8, "size": 64, "bytes": 9, "has_val": False}
    facts["warning"] = "the preset is for kinetics400, and these clips were prepared as folders"
    monkeypatch.setattr(new, "ask_headers", lambda names, preset: [{"path": name, **facts} for name in names])
    found = [FoundVideos("walks", "folders", "your own videos")]
    monkeypatch.setattr(new, "find_videos", lambda folders: found)
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        form = NewRunScreen(Form("kinetics400-ipc1"), folder)
        await app.push_screen(form)
        await wait(lambda: form.files, "the file")
        assert not form.form.text("dataset.path")
        await pilot.press("ctrl+y")
        assert not app.clipboard  # nothing is copied that says DIR
        form._put("dataset.path", "toy.h5")
        form._show()
        assert "! the preset is for kinetics400" in str(row(app, "dataset.path")._note._text)
        assert not form.query_one(Button).disabled  # whoever wants it may


def test_the_command_is_the_one_that_does_it() -> None:
    """What is copied would make another file than the one that the screen made."""
    texts = sources.DEFAULTS | {"source": "my videos", "frames": "8", "uniform": "true", "output": "x.h5"}
    wish, wrong, _ = wish_of(texts, fields(LAYOUTS))
    assert not wrong
    words = shlex.split(command(wish, "folders"))
    assert words[:5] == ["vdtui", "prepare", "folders", "--source", "my videos"]
    assert words[5:] == ["--output", "x.h5", "--frames", "8", "--uniform"]
    assert wish_of(texts | {"frames": "eight"}, fields(LAYOUTS))[1] == "frames"
    assert wish_of(texts | {"source": " "}, fields(LAYOUTS))[1] == "source"


def test_the_videos_that_a_preset_is_for_come_first() -> None:
    """A preset of a benchmark would be filled with somebody's holidays."""
    mine = FoundVideos("walks", "folders", "your own videos")
    hmdb = FoundVideos("h", "hmdb51", "HMDB51")
    assert wanted_first([mine, hmdb], DatasetSection(layout="hmdb51")) is hmdb
    assert wanted_first([mine], DatasetSection(layout="hmdb51")) is None
    assert wanted_first([mine, hmdb], DatasetSection()) is mine and wanted_first([], DatasetSection()) is None


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    """A missing folder would be an error in the face of whoever has none."""
    (tmp_path / "texts").mkdir()
    assert find_videos([tmp_path, tmp_path / "gone"]) == []
