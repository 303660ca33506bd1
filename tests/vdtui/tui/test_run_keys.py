"""Every key of the run screen that looks closer or asks for something, through Textual's pilot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.events import Evaluated, ResultReady, StageFinished, StageStarted
from engine.files import write_json
from vdtui.tui.app import VdtuiApp
from vdtui.tui.screens.run import RunScreen, accuracy_points, chosen_by, published_top1, references
from vdtui.tui.watch import RunWatcher
from vdtui.tui.widgets.curves import LossCurve
from vdtui.tui.widgets.panels import Log
from vdtui.tui.widgets.search import SearchLine

NOW = 1_750_000_000.0
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


def make_app(folder: Path, run: str | None = None) -> VdtuiApp:
    return VdtuiApp(folder, run, clock=lambda: NOW)


def screen_text(app: VdtuiApp) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def notes(app: VdtuiApp) -> str:
    return " ".join(note.message for note in app._notifications)


def control(fake_run: Any) -> dict[str, Any]:
    return dict(json.loads(fake_run.run.control_file.read_text()))


async def drawn(app: VdtuiApp, wait: Any) -> LossCurve:
    def ready() -> bool:
        screen = app.screen
        return isinstance(screen, RunScreen) and screen.query_one(LossCurve).stage == "dynamic" and not screen._undrawn

    await wait(ready, "the run is drawn")
    return app.screen.query_one(LossCurve)


async def test_capital_e_and_s_ask_the_worker_and_leave_everything_else(folder: Path, fake: Any, wait: Any) -> None:
    """The user could not look at a long run before its next evaluation, nor save it before the power goes."""
    run = fake().half_way()
    app = make_app(folder, "demo")
    async with app.run_test(size=(120, 40)) as pilot:
        await drawn(app, wait)
        await pilot.press("E")
        assert control(run) == {"want": "run", "seq": 1, "once": {"evaluate": 1}}
        await pilot.press("S")
        assert control(run) == {"want": "run", "seq": 2, "once": {"evaluate": 1, "checkpoint": 2}}
        await pilot.press("p")
        assert control(run) == {"want": "pause", "seq": 3, "once": {"evaluate": 1, "checkpoint": 2}}
        run.status("paused", "dynamic", 60, 100)
        await wait(lambda: "‖ paused" in screen_text(app), "the pause shows")
        await pilot.press("E")
        assert control(run)["want"] == "pause" and "until it goes on" in notes(app)


@pytest.mark.parametrize("where", ["ended", "evaluate", "static", "queued"])
async def test_what_cannot_be_done_is_refused_with_a_reason(folder: Path, fake: Any, wait: Any, where: str) -> None:
    """A request that nobody serves would look as if it had worked."""
    run = fake().half_way()
    if where == "ended":
        run.complete()
    elif where == "queued":
        run.status("queued")
    else:
        run.say(StageFinished("dynamic", 1.0), StageStarted(where, 0, 5))
        run.status("running", where, 0, 5)
    before = control(run)
    app = make_app(folder, "demo")
    async with app.run_test(size=(120, 40)) as pilot:
        await wait(lambda: isinstance(app.screen, RunScreen) and app.screen.snapshot, "the run is shown")
        await pilot.press("E")
        assert control(run) == before
        reason = {"ended": "is completed", "queued": "has not begun"}.get(where, f"it is in {where}")
        assert reason in notes(app)
        await pilot.press("S")
        assert (control(run) == before) is (where != "static")


async def test_keys_change_what_the_curve_shows(folder: Path, fake: Any, wait: Any) -> None:
    """The end of a long curve, or its trend under the noise, would be out of sight."""
    fake().half_way()
    app = make_app(folder, "demo")
    async with app.run_test(size=(120, 40)) as pilot:
        curve = await drawn(app, wait)
        await pilot.press("m")
        assert curve.smoothing == 0.9 and "smoothed 0.9" in str(curve.border_subtitle)
        await pilot.press("m", "m")
        assert curve.smoothing == 0.0
        await pilot.press("plus")
        assert curve.window.limits(1, 60) == (30.5, 60)
        await pilot.press("left")
        assert curve.window.limits(1, 60) == (23.125, 52.625)
        await pilot.press("right")
        assert curve.window.end is None
        await pilot.press("minus")
        assert curve.window.span is None
        await pilot._post_mouse_events([_scroll()], LossCurve)
        assert curve.window.span is not None
        await pilot.press("L", "minus")
        assert "log scale" in str(curve.border_subtitle)


def _scroll() -> Any:
    from textual.events import MouseScrollUp

    return MouseScrollUp


async def test_f_shows_the_figures_in_turn(folder: Path, fake: Any, wait: Any) -> None:
    """Exploding gradients and memories that leave their range would show only as a number among others."""
    fake().half_way()
    app = make_app(folder, "demo")
    async with app.run_test(size=(120, 40)) as pilot:
        curve = await drawn(app, wait)
        await pilot.press("f")
        assert "gradient norms · dynamic" in str(curve.border_title)
        await pilot.press("f")
        assert "memory ranges" in str(curve.border_title)
        await wait(lambda: "1 dynamic min -1.2 · 2 dynamic max 3.4" in screen_text(app), "both lines are named")
        await pilot.press("1")
        assert "loss" not in str(curve.border_title) or curve.stage == "static"
        await pilot.press("2", "f")
        await wait(lambda: "loss · dynamic" in screen_text(app), "the loss again")


@SIZES
async def test_a_shows_the_classes_best_and_worst(folder: Path, fake: Any, wait: Any, size: tuple[int, int]) -> None:
    """A mean would hide that some classes were not learned at all."""
    run = fake().half_way()
    write_json(run.run.meta_file, {"classes": [f"class-{k:02d}" for k in range(30)]})
    top1 = {"mean": 0.5, "std": 0.0, "values": [0.5]}
    values = [k / 30 for k in range(29)] + [None]
    run.say(ResultReady({"what": "static-dynamic", "bytes": 5, "per_class": values, "top1": top1}))
    app = make_app(folder, "demo")
    async with app.run_test(size=size) as pilot:
        await drawn(app, wait)
        await pilot.press("a")
        await wait(lambda: "class-28" in screen_text(app) and "class-00" in screen_text(app), "best and worst")
        text = screen_text(app)
        assert "93.3 %" in text and "0.0 %" in text and "more" in text and "class-14" not in text
        assert "class-29" not in text  # it has no videos
        await pilot.press("a")
        await wait(lambda: "results" in screen_text(app), "the results again")


@SIZES
async def test_the_log_can_be_searched(folder: Path, fake: Any, wait: Any, size: tuple[int, int]) -> None:
    """The one warning among a thousand lines would not be found."""
    run = fake().half_way()
    for number in range(50):
        run.note(f"line {number}")
    run.note("the [b]Needle[/b] q s")
    app = make_app(folder, "demo")
    async with app.run_test(size=size) as pilot:
        await drawn(app, wait)
        log = app.screen.query_one(Log)
        await pilot.press("slash", *"needle")
        await wait(lambda: log.found == 1, "one line is found")
        await wait(lambda: "[b]Needle[/b]" in screen_text(app), "and shown")
        await pilot.press("space", "q")  # letters, and no keys of the screen
        await wait(lambda: log.found == 0, "no line has that")
        await pilot.press("backspace", "backspace", "enter")
        await wait(lambda: log.found == 1 and log.has_focus, "enter keeps it")
        run.note("another needle")
        await wait(lambda: log.found == 2, "new lines are found too")
        await pilot.press("escape")
        await wait(lambda: log.found > 50, "all lines again")
        assert not app.screen.query_one(SearchLine).display and isinstance(app.screen, RunScreen)


def test_references_say_what_they_are(fake: Any) -> None:
    """A paper's number would pass for one of ours, or a top-5 for a top-1."""
    run = fake().complete()
    text = run.run.preset_file.read_text()
    run.run.preset_file.write_text('published = "25.7 % top-1 (Wang et al. 2024)"\n' + text)
    snapshot = RunWatcher(run.run).poll()
    assert snapshot is not None
    found = {reference.what: reference.mean for reference in references(snapshot)}
    assert found == {"random coreset": 0.33, "full data": 0.8, "published, unchecked": 0.257}
    assert published_top1("9.1 % top-5 (Wang)") is None and published_top1("") is None


def test_an_evaluation_in_between_is_not_on_the_curve(fake: Any) -> None:
    """It would look like a candidate for the best step."""
    run = fake().half_way()
    run.say(Evaluated("now", 47, "val", 0.9, 0.0, (0.9,), 2.0))
    snapshot = RunWatcher(run.run).poll()
    assert snapshot is not None and [point.step for point in accuracy_points(snapshot)] == [20, 40, 60]
    assert snapshot.best is not None and snapshot.best[0] == 60


@pytest.mark.parametrize("size", [(80, 24), (97, 30), (120, 40)])
async def test_the_last_marker_is_on_the_canvas(folder: Path, fake: Any, wait: Any, size: tuple[int, int]) -> None:
    """The newest accuracy, which one looks for first, would be cut off at the frame."""
    run = fake().complete()
    run.say(StageStarted("dynamic", 60, 60))
    for number in (80, 100):
        run.say(Evaluated("synthetic", number, "val", 0.4, 0.01, (0.4,), 2.0))
    app = make_app(folder, "demo")
    async with app.run_test(size=size):
        await drawn(app, wait)
        await wait(lambda: screen_text(app).count("●") == 4, "four markers, and a star, for five evaluations")


def test_rows_of_the_table_are_no_curve(fake: Any) -> None:
    """Without a split to choose by, the accuracy of a rival on the test split would stand for the set's course."""
    run = fake()
    run.say(Evaluated("static-dynamic", 100, "test", 0.4, 0.0, (0.4,), 2.0))
    run.say(
        Evaluated("random", 0, "test", 0.9, 0.0, (0.9,), 2.0),
        Evaluated("static-only", 0, "test", 0.1, 0.0, (0.1,), 2.0),
    )
    run.status("completed", "evaluate", 3, 3)
    snapshot = RunWatcher(run.run).poll()
    assert snapshot is not None and not chosen_by(snapshot)
    assert [(point.what, point.step, point.mean) for point in accuracy_points(snapshot)] == [
        ("static-dynamic", 100, 0.4)
    ]
