"""What was wrong in pictures of the dashboard: axes, the log's lines, single networks, and help that is too long."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.geometry import Region
from textual.widgets import Static
from textual_plot.plot_widget import map_coordinate_to_pixel

from engine.events import Note, Step
from vdtui.tui.app import VdtuiApp
from vdtui.tui.screens.compare import all_measured
from vdtui.tui.screens.run import RunScreen
from vdtui.tui.widgets.curves import LossCurve, padded, percent_axis, row_axis
from vdtui.tui.widgets.panels import Log, result_cells, result_lines

NOW = 1_750_000_000.0


def screen_lines(app: VdtuiApp) -> list[str]:
    """What stands on the screen."""
    return ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]


async def drawn(app: VdtuiApp, wait: Any) -> RunScreen:
    def ready() -> bool:
        screen = app.screen
        return isinstance(screen, RunScreen) and screen.query_one(LossCurve).stage == "dynamic" and not screen._undrawn

    await wait(ready, "the run is drawn")
    assert isinstance(app.screen, RunScreen)
    return app.screen


def rows_of(ticks: list[float], limits: tuple[float, float], rows: int) -> list[int]:
    """The row of each tick as the plotting library finds it."""
    return [map_coordinate_to_pixel(0, tick, 0, 1, *limits, Region(0, 0, 1, rows))[1] for tick in ticks]


@given(
    low=st.floats(-1e6, 1e6),
    span=st.floats(1e-6, 1e7),
    rows=st.integers(2, 40),
)
def test_ticks_are_equally_many_rows_apart(low: float, span: float, rows: int) -> None:
    """One step of the accuracy would look twice as high as the next, and a value beyond the axis be cut off."""
    low, high = padded(low, low + span)
    limits, (ticks, labels) = row_axis(low, high, rows)
    places = rows_of(ticks, limits, rows)
    assert all(0 <= place < rows for place in places) and len(ticks) == len(labels)
    apart = [before - after for before, after in itertools.pairwise(places)]
    assert all(rows % min(apart) == 0 and rows > 0 for rows in apart)  # more where a label would not tell two apart
    unseen = 1e-9 * (abs(low) + abs(high))
    assert limits[0] <= max(low, 0.0 if low > -0.05 * high else low) + unseen and high <= limits[1] + unseen


@given(low=st.floats(0, 1), high=st.floats(0, 1), rows=st.integers(3, 40))
def test_no_accuracy_below_nothing_or_above_all(low: float, high: float, rows: int) -> None:
    """The axis would offer 110 %."""
    low, high = padded(min(low, high), max(low, high), least=0.05)
    limits, (ticks, labels) = percent_axis(low, high, rows)
    assert all(-1e-9 <= tick <= 1 + 1e-9 for tick in ticks)
    assert [float(label.split()[0]) for label in labels] == pytest.approx([100 * tick for tick in ticks], abs=0.05)
    assert limits[0] <= max(0.0, low) + 1e-9 and limits[1] >= min(1.0, high) - 1e-9


@pytest.mark.parametrize(("low", "high"), [(0.742, 1.362), (0.01, 0.02), (2.4, 13.0), (100.0, 240.0)])
def test_labels_say_where_their_ticks_are(low: float, high: float) -> None:
    """A tick at 0.75 that is called 0.8 makes every loss look smaller than it is."""
    for rows in range(4, 20):
        _, (ticks, labels) = row_axis(low, high, rows)
        assert [float(label) for label in labels] == pytest.approx(ticks, rel=1e-9)


async def test_the_present_loss_is_drawn(folder: Path, fake: Any, wait: Any) -> None:
    """The line would end before its last step: a loss that has just exploded would not be seen."""
    run = fake().half_way()
    run.say(Step("dynamic", 61, 100, 500.0, 2.5, {}))
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=(120, 40)):
        screen = await drawn(app, wait)
        await wait(lambda: "now 500" in "\n".join(screen_lines(app)), "the last step")
        curve = screen.query_one(LossCurve)
        canvas = curve.query_one("#plot")
        x, y = curve.get_pixel_from_coordinate(61, 500.0)
        around = [canvas.get_pixel(column, y)[0] for column in (x - 1, x)]  # type: ignore[attr-defined]
        assert any("\u2801" <= character <= "\u28ff" for character in around)


async def test_a_line_of_the_log_has_all_the_width_there_is(folder: Path, fake: Any, wait: Any) -> None:
    """Every second line would be two words long, and begin where the times stand."""
    run = fake().half_way()
    told = " ".join(["word"] * 18)
    run.say(Note("info", told))
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await drawn(app, wait)
        await wait(lambda: any(told in line for line in screen_lines(app)), "the note in one line")
        await pilot.resize_terminal(80, 24)
        log = screen.query_one(Log)
        await wait(lambda: log.size.width < 60 and len(log.lines) and "word" in log.lines[-1].text, "wrapped anew")
        pieces = [strip.text for strip in log.lines if "word" in strip.text]
        assert len(pieces) > 1 and sum(piece.count("word") for piece in pieces) == 18
        start = pieces[0].index("word")
        assert all(piece.startswith(" " * start + "word") for piece in pieces[1:])


async def test_help_that_does_not_fit_is_all_there(folder: Path, fake: Any, wait: Any) -> None:
    """The ends of its lines, and the bar that says that there is more, would be outside of its frame."""
    fake().half_way()
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await drawn(app, wait)
        await pilot.press("question_mark")
        await pilot.pause(0.2)
        box, fits = app.screen.query_one(".dialog"), app.screen.query_one(".fits")
        assert box.region.contains_region(fits.region)
        text = fits.query_one(Static)
        assert text.region.right <= fits.region.right - fits.show_vertical_scrollbar
        await pilot.press("end")
        await wait(lambda: "nobody has checked them" in "\n".join(screen_lines(app)), "its last note")


def test_a_single_network_has_no_spread() -> None:
    """17.7 ± 0.0 % would be taken for three networks that agree."""
    result = {"what": "pixels", "bytes": 5, "top1": {"mean": 0.177, "std": 0.0, "values": [0.177]}}
    assert result_cells(result)[1] == "17.7 %"
    result["top1"] = {"mean": 0.5, "std": 0.01, "values": [0.49, 0.51]}
    assert result_cells(result)[1] == "50.0 ± 1.0 %"


def test_tables_that_stand_apart_say_why() -> None:
    """Two tables with the same heading would look like an error."""
    result = {"protocol": "strict", "protocol_version": 1, "model": "m", "data_fingerprint": "abcdef0123"}
    recipes = ({"epochs": 44, "lr": 0.1, "weight_decay": 0.1}, {"epochs": 1, "lr": 0.1, "weight_decay": 0.2}, "damaged")
    lines = all_measured([{**result, "recipe": recipe} for recipe in recipes])
    assert lines[0] == "epochs 44 · lr 0.1 · weight decay 0.1 · protocol strict 1 · m · data abcdef01"
    assert lines[1].startswith("epochs 1 · ") and lines[2] == "protocol strict 1 · m · data abcdef01"
    assert all_measured([{**result, "recipe": recipes[0]}] * 2)[0] == "protocol strict 1 · m · data abcdef01"


def test_a_row_of_results_is_one_line_at_80_columns() -> None:
    """The name of a baseline would push the bytes of all rows into a line of their own."""
    top1 = {"mean": 0.497, "std": 0.047, "values": [0.4, 0.6], "seeds": [1, 2]}
    results = [{"what": name, "ipc": 2, "bytes": 2_884_892, "top1": top1} for name in ("pixels", "compressed-random")]
    colours = {"text-muted": "white", "success": "green", "warning": "yellow"}
    run = cast(Any, SimpleNamespace(results=results, kind="pixels"))
    for width in (40, 44, 80):
        lines = result_lines(run, width, colours).plain.split("\n")
        assert max(map(len, lines)) <= width and all("MB" in line for line in lines if "%" in line)
