"""The data screen: what a run learns from, asked of a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.widgets import Static

from engine.data.layouts import list_videos
from engine.data.prepare import prepare
from engine.data.sampling import Sampling
from tests.videos import write_dataset
from vdtui.tui import clips as clips_module
from vdtui.tui.app import VdtuiApp
from vdtui.tui.clips import ClipsAnswer, ask, clips_file
from vdtui.tui.previews import Preview
from vdtui.tui.screens.data import DataScreen
from vdtui.tui.screens.run import RunScreen

NOW = 1_750_000_000.0
TEXT = (
    "c.h5\ndata set     mine (layout folders)\nclasses      2, with clips in train, test:\n     0      4      2  [b]x"
)


def answer() -> ClipsAnswer:
    ramp = np.arange(2 * 2 * 3 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 2, 3, 8, 8, 3)
    return ClipsAnswer(TEXT, Preview(("[b]x", "other"), ramp, None, None))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
async def test_d_shows_the_data_of_a_run(
    folder: Path, fake: Any, wait: Any, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """From the run and back, with names from the data as they are."""
    run = fake("one").half_way()
    text = run.run.preset_file.read_text() + "\n[dataset]\npath = '/data/c.h5'\n"
    run.run.preset_file.write_text(text)
    asked = []
    monkeypatch.setattr("vdtui.tui.screens.data.ask", lambda file: asked.append(file) or answer())
    app = VdtuiApp(folder, "one", clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        await wait(lambda: isinstance(app.screen, RunScreen) and app.screen.chosen() is not None, "the run")
        await pilot.press("d")
        await wait(lambda: isinstance(app.screen, DataScreen) and app.screen.ready, "the data is shown")
        facts = str(app.screen.query_one("#facts", Static).render())
        assert asked == [Path("/data/c.h5")] and "     0      4      2  [b]x" in facts
        assert app.screen.has_class("wide") == (size[0] > 100)
        await pilot.press("right", "p", "question_mark", "escape", "escape")
        assert isinstance(app.screen, RunScreen)


async def test_what_is_wrong_is_said_in_the_screen(
    folder: Path, fake: Any, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing file is no reason for the dashboard to end."""
    fake("one").half_way()
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(lambda: app.screen.query("DataTable") and app.screen.snapshot, "the runs are read")
        await pilot.pause(0.3)
        await pilot.press("d")
        await wait(lambda: isinstance(app.screen, DataScreen) and app.screen.ready, "an answer")
        assert "not there yet" in str(app.screen.query_one("#facts", Static).render())


def test_a_real_file_is_asked_for(tmp_path: Path) -> None:
    """Through the real command, in a process of its own."""
    write_dataset(tmp_path / "mine", ("walk", "run"), each=4, length=8)
    prepare(list_videos("folders", tmp_path / "mine"), tmp_path / "-c.h5", Sampling(8, 32))
    found = ask(tmp_path / "-c.h5")
    assert "data set     mine" in found.text and found.preview is not None
    assert found.preview.classes == ("run", "walk") and found.preview.clips.shape == (2, 2, 8, 32, 32, 3)
    broken = ask(tmp_path / "nothing.h5")
    assert broken.preview is None and broken.text.startswith("error: ") and "hint: " in broken.text


def test_a_file_that_takes_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network disk that hangs must not leave a screen that says nothing."""
    monkeypatch.setattr(clips_module, "PATIENCE_SECONDS", 0.01)
    assert "took longer" in ask(tmp_path / "c.h5").text


def test_the_file_of_a_run(folder: Path, fake: Any) -> None:
    """Named by the preset; of the demo, made beside the runs; of a damaged preset, none."""
    run = fake("one").run
    assert clips_file(run) is None
    (folder / ".data").mkdir()
    (folder / ".data/demo-0-abc.h5").touch()
    assert clips_file(run) == folder / ".data/demo-0-abc.h5"
    run.preset_file.write_text("[dataset]\npath = '/x.h5'")
    assert clips_file(run) == Path("/x.h5")
    run.preset_file.write_text("[[[")
    assert clips_file(run) is None
