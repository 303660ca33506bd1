"""How the screens look, at the two sizes that matter; times, ages and frames stand still.

After a change that is meant: ``pytest tests/vdtui/tui/test_looks.py --snapshot-update``, and look at the pictures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from vdtui.tui.app import VdtuiApp
from vdtui.tui.screens.gallery import GalleryScreen
from vdtui.tui.screens.run import RunScreen
from vdtui.tui.screens.runs import PREVIEW_WIDTH, RunsScreen
from vdtui.tui.widgets.curves import LossCurve
from vdtui.tui.widgets.lines import Lines
from vdtui.tui.widgets.preview import RunPreview

NOW = 1_750_000_000.0
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


def make_app(folder: Path, run: str | None = None) -> VdtuiApp:
    return VdtuiApp(folder, run, clock=lambda: NOW)


def drawn(app: VdtuiApp) -> bool:
    """Whether the run screen shows everything that its run has."""
    screen = app.screen
    return isinstance(screen, RunScreen) and screen.query_one(LossCurve).stage == "dynamic" and not screen._undrawn


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)], ids=["80x24", "120x40", "200x50"])
def test_runs_look_as_before(folder: Path, fake: Any, wait: Any, snap_compare: Any, size: tuple[int, int]) -> None:
    """A column would be cut off or a state lose its sign without anybody noticing."""
    fake("finished", created=NOW - 86_400).complete()
    stopped = fake("stopped-early", created=NOW - 7200).half_way()
    stopped.status("stopped", "dynamic", 60, 100)
    damaged = fake("damaged", created=NOW - 3600).half_way()
    damaged.run.status_file.write_text("{")
    fake("living", created=NOW - 240).half_way()

    async def ready(pilot: Pilot[None]) -> None:
        def full() -> bool:
            screen = pilot.app.screen
            rows = screen.snapshot.rows if isinstance(screen, RunsScreen) and screen.snapshot else ()
            return bool(rows) and all(row.best is not None for row in rows)

        await wait(full, "all runs are read")
        if size[0] >= PREVIEW_WIDTH:
            preview = pilot.app.screen.query_one(RunPreview)
            await wait(lambda: "best so far" in str(preview.query_one(Lines)._text), "the chosen run is shown")
        await pilot.pause(0.3)

    assert snap_compare(make_app(folder), terminal_size=size, run_before=ready)


@pytest.mark.parametrize("size", [(80, 24), (104, 32), (120, 40)], ids=["80x24", "104x32", "120x40"])
@pytest.mark.parametrize("end", [False, True], ids=["running", "completed"])
def test_a_run_looks_as_before(
    folder: Path, fake: Any, wait: Any, snap_compare: Any, size: tuple[int, int], end: bool
) -> None:
    """Curves, stages, figures, results or log would be cut off or go missing at one of the sizes."""
    run = fake("demo")
    run.complete() if end else run.half_way()

    async def ready(pilot: Pilot[None]) -> None:
        await wait(lambda: drawn(pilot.app), "the run is drawn")  # type: ignore[arg-type]
        await pilot.pause(0.3)

    assert snap_compare(make_app(folder, "demo"), terminal_size=size, run_before=ready)


@SIZES
def test_the_gallery_looks_as_before(
    folder: Path, fake: Any, wait: Any, snap_compare: Any, size: tuple[int, int]
) -> None:
    """The films would overlap, or stand beside their labels."""
    fake("demo").half_way().previews(20, 40, 60, frames=1)

    async def ready(pilot: Pilot[None]) -> None:
        await wait(lambda: drawn(pilot.app), "the run is drawn")  # type: ignore[arg-type]
        await pilot.press("i")
        await wait(lambda: isinstance(pilot.app.screen, GalleryScreen) and pilot.app.screen.ready, "the gallery")
        await pilot.pause(0.3)

    assert snap_compare(make_app(folder, "demo"), terminal_size=size, run_before=ready)
