"""How the form of a new run, the comparison and the dialogs look; see test_looks.py for what to do on a change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.config.schema import DatasetSection
from vdtui.tui import sources
from vdtui.tui.app import VdtuiApp
from vdtui.tui.form import Form
from vdtui.tui.screens.compare import CompareScreen
from vdtui.tui.screens.dialogs import ExportDialog
from vdtui.tui.screens.new import NewRunScreen
from vdtui.tui.screens.prepare import PrepareScreen
from vdtui.tui.sources import FoundVideos
from vdtui.tui.widgets.fields import FieldRow
from vdtui.tui.widgets.overlay import Overlay

NOW = 1_750_000_000.0
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


@SIZES
def test_the_form_looks_as_before(folder: Path, wait: Any, snap_compare: Any, size: tuple[int, int]) -> None:
    """A field, its note or the cost would be cut off."""

    async def ready(pilot: Pilot[None]) -> None:
        screen = NewRunScreen(Form("demo"), folder)
        await pilot.app.push_screen(screen)
        await wait(lambda: screen.query(FieldRow), "the form")
        seed = next(row for row in screen.query(FieldRow) if row.field.key == "run.seed").editor
        for box in screen.query(Input):
            box.cursor_blink = False  # else it is there or not as the moment has it
        seed.focus()
        await wait(lambda: screen.focused is seed, "it can be typed")
        await pilot.press("end", "9")
        await wait(lambda: screen.form.changed == {"run.seed": 9}, "what was typed")
        await pilot.pause(0.3)

    assert snap_compare(VdtuiApp(folder, clock=lambda: NOW), terminal_size=size, run_before=ready)


@SIZES
def test_the_comparison_looks_as_before(
    folder: Path, fake: Any, wait: Any, snap_compare: Any, size: tuple[int, int]
) -> None:
    """Curves, differences or results would be cut off or go missing."""
    runs = [fake("one").complete().run, fake("two").half_way().run]
    path = runs[1].preset_file
    path.write_text(path.read_text().replace("seed = 3", "seed = 8"))

    async def ready(pilot: Pilot[None]) -> None:
        screen = CompareScreen(runs)
        await pilot.app.push_screen(screen)
        await wait(lambda: len(screen.query_one("#accuracy", Overlay)._lines) == 2, "both curves")
        await pilot.pause(0.3)

    assert snap_compare(VdtuiApp(folder, clock=lambda: NOW), terminal_size=size, run_before=ready)


def test_the_export_dialog_looks_as_before(folder: Path, wait: Any, snap_compare: Any) -> None:
    """A button would be out of sight."""

    async def ready(pilot: Pilot[None]) -> None:
        dialog = ExportDialog("demo")
        await pilot.app.push_screen(dialog)
        for box in dialog.query(Input):
            box.cursor_blink = False  # else it is there or not as the moment has it
        await wait(lambda: dialog.focused is not None, "the focus")
        await pilot.pause(0.3)

    assert snap_compare(VdtuiApp(folder, clock=lambda: NOW), terminal_size=(80, 24), run_before=ready)


@SIZES
def test_help_looks_as_before(folder: Path, snap_compare: Any, size: tuple[int, int]) -> None:
    """Keys would be cut off where there are many of them."""
    assert snap_compare(VdtuiApp(folder, clock=lambda: NOW), terminal_size=size, press=["question_mark"])


@SIZES
def test_videos_to_clips_look_as_before(
    folder: Path, wait: Any, snap_compare: Any, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """What was skipped would be cut off, or a note run into the value beside it."""
    found = [FoundVideos("walks", "folders", "your own videos")]
    seen = {"layout": "folders", "title": "your own videos", "classes": 3, "videos": {"train": 18, "test": 7}}
    seen |= {"rejected": 1, "missing": 0, "notes": ["2 videos lie beside the class folders and in none."]}
    seen |= {"frames": 8, "size": 64, "bytes": 2457600, "output": "walks.h5", "exists": False}
    monkeypatch.setattr(sources, "find_videos", lambda folders: found)
    monkeypatch.setattr(sources, "look", lambda wish: seen)

    async def ready(pilot: Pilot[None]) -> None:
        screen = PrepareScreen(DatasetSection(frames=8), [Path()])
        await pilot.app.push_screen(screen)
        await wait(lambda: screen.seen, "what is in the folder")
        for box in screen.query(Input):
            box.cursor_blink = False
        await pilot.pause(0.3)

    assert snap_compare(VdtuiApp(folder, clock=lambda: NOW), terminal_size=size, run_before=ready)
