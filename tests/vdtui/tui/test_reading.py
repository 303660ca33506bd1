"""Reading curves off: the cross-hair, zoom to a selection, the chosen step, and names that are all there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.text import Text

from vdtui.tui.app import VdtuiApp
from vdtui.tui.screens.compare import CompareScreen
from vdtui.tui.screens.run import RunScreen
from vdtui.tui.watch import Loss
from vdtui.tui.widgets.curves import AccuracyCurve, LossCurve, nearest
from vdtui.tui.widgets.overlay import Overlay
from vdtui.tui.widgets.reading import Readable
from vdtui.tui.widgets.series import Window

NOW = 1_750_000_000.0


def screen_text(app: VdtuiApp) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def note(plot: Readable) -> str:
    """What stands below a plot."""
    return Text.from_markup(str(plot.border_subtitle)).plain


async def opened(app: VdtuiApp, wait: Any) -> RunScreen:
    await wait(lambda: isinstance(app.screen, RunScreen) and app.screen.query_one(LossCurve).stage, "the run", 20)
    await wait(lambda: app.screen.query_one(AccuracyCurve)._points, "its accuracies", 20)
    assert isinstance(app.screen, RunScreen)
    return app.screen


async def test_values_are_read_off_and_a_part_is_shown_large(folder: Path, fake: Any, wait: Any) -> None:
    """What a curve is at a step could only be guessed from the ticks of its axis."""
    fake().half_way()
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, wait)
        curve = screen.query_one(LossCurve)
        await pilot.press("left_square_bracket")
        assert curve.cursor == 60 and note(curve).startswith("step 60 · 1.7")
        accuracy = screen.query_one(AccuracyCurve)
        assert accuracy.cursor == 60 and "45.0 ± 4.0 %" in note(accuracy)
        await pilot.press("z", *["left_square_bracket"] * 30, "z")
        assert curve.cursor is not None and curve.cursor < 45
        assert curve.window.span is not None and curve.window.span == 60 - curve.cursor
        await pilot.press("escape")
        assert curve.cursor is None and app.screen is screen and "linear scale" in note(curve)
        await pilot.press("minus", "minus", "minus")
        assert curve.window == Window()
        await wait(lambda: screen_text(app).count("★") >= 2, "the chosen step is marked in both curves")


async def test_the_mouse_reads_and_selects(folder: Path, fake: Any, wait: Any) -> None:
    """Who has a mouse would point at a curve, and nothing would happen."""
    fake().half_way()
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, wait)
        curve = screen.query_one(LossCurve)
        await pilot.hover(LossCurve, offset=(30, 4))
        await wait(lambda: curve.cursor is not None, "the cross-hair")
        assert curve.cursor is not None
        first = curve.cursor
        await pilot.mouse_down(LossCurve, offset=(30, 4))
        await pilot.hover(LossCurve, offset=(50, 4))
        await pilot.mouse_up(LossCurve, offset=(50, 4))
        await wait(lambda: curve.window.span is not None, "the part")
        low, high = curve.window.limits(1, 60)
        assert abs(low - first) <= 8 and low < high < 60


async def test_all_lines_have_their_names(folder: Path, fake: Any, wait: Any) -> None:
    """The last of six lines would be one of whatever is not in the border."""
    fake().half_way()
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=(80, 24)):
        screen = await opened(app, wait)
        curve = screen.query_one(LossCurve)
        steps = np.arange(1.0, 61.0)
        lines = {f"a memory of {name}": Loss(steps, steps * k) for k, name in enumerate("uvwxyz")}
        curve.show("dynamic", lines, False, "memory ranges")
        await wait(lambda: "5 a memory of y" in screen_text(app), "the names in the plot")
        assert [text for text, _ in curve.read(30.0)][5] == "6 a memory of z 150"


async def test_compared_curves_are_read_zoomed_and_smoothed(folder: Path, fake: Any, wait: Any) -> None:
    """Two runs could be seen beside each other, and not how far apart they are."""
    fake("one").half_way()
    fake("two", created=NOW - 9000).half_way()
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait(lambda: len(app.screen._rows) == 2, "the runs", 20)  # type: ignore[attr-defined]
        await pilot.press("space", "space", "c")
        await wait(lambda: isinstance(app.screen, CompareScreen) and len(app.screen.snapshots) == 2, "both", 20)
        plot = app.screen.query_one("#loss", Overlay)
        await wait(lambda: len(plot._lines) == 2, "their losses", 20)
        await pilot.press("right_square_bracket")
        assert "step 60 · ● 1.7" in note(plot) and "▲ 1.7" in note(plot)
        await pilot.press("plus", "m")
        assert plot.window.span == pytest.approx(29.5) and plot.smoothing == 0.9
        await pilot.press("escape")
        assert plot.cursor is None and "smoothed 0.9" in note(plot)


def test_the_nearest_step_is_found() -> None:
    """The value of another step would be told."""
    steps = np.array([0.0, 10.0, 20.0])
    assert [nearest(steps, step) for step in (-5, 4, 6, 15, 16, 99)] == [0, 0, 1, 1, 2, 2]
