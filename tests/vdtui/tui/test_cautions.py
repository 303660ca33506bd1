"""Warnings beside the numbers that they are about, on every screen that shows these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.events import Evaluated, ResultReady
from vdtui.tui.app import VdtuiApp
from vdtui.tui.cautions import cautions, shorts
from vdtui.tui.screens.compare import CompareScreen
from vdtui.tui.screens.run import RunScreen
from vdtui.tui.widgets.lines import Lines
from vdtui.tui.widgets.panels import Results

NOW = 1_750_000_000.0
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
UNLEARNED = "2 of 3 networks did not learn the clips that they were trained on; try evaluation.lr below 0.01"


def text(app: VdtuiApp) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


def result(what: str, values: tuple[float, ...], **more: Any) -> ResultReady:
    mean = sum(values) / len(values)
    top1 = {"mean": mean, "std": 0.01, "values": list(values), "seeds": [1, 2, 3]}
    shared = {"protocol": "vdsd", "protocol_version": 1, "model": "m", "bytes": 5, "data_fingerprint": "ab", "ipc": 1}
    return ResultReady({"what": what, "top1": top1, **shared, **more})


def warned(fake: Any, name: str = "demo", values: tuple[float, ...] = (0.5, 0.51, 0.52), created: float = NOW) -> Any:
    run = fake(name, created=created)
    path = run.run.preset_file
    path.write_text(path.read_text() + '[evaluation]\nprotocol = "vdsd"\n')
    run.half_way()
    run.say(Evaluated("synthetic", 60, "test", 0.45, 0.04, (0.4, 0.5), 2.0))
    run.say(result("static-dynamic", values, caution=UNLEARNED, selected_on="test", distinct_clips=7, step=60))
    run.say(result("random", (0.3, 0.31, 0.32), selected_on="none"))
    run.status("completed", "evaluate", 4, 4)
    return run


def test_each_warning_is_told_once_and_damage_is_none() -> None:
    """A damaged log would take the screen down, or a sound result be warned of."""
    found = cautions({"caution": UNLEARNED, "selected_on": "test", "distinct_clips": 7})
    assert shorts(found + found) == "! did not learn · chosen on test · few clips"
    assert found[0].text == UNLEARNED and "7 different clips" in found[2].text
    assert cautions({"caution": None, "selected_on": "val", "distinct_clips": None}) == [] and shorts([]) == ""
    assert cautions({"selected_on": 5, "distinct_clips": "few"}) == []


@SIZES
async def test_a_run_and_the_table_of_runs_warn(folder: Path, fake: Any, wait: Any, size: tuple[int, int]) -> None:
    """A number of networks that learned nothing, or of a step that the test split chose, would be believed."""
    warned(fake)
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        await wait(lambda: "!45.0 %" in text(app), "the mark at the best accuracy")
        await wait(lambda: "! chosen on test · did not learn" in text(app), "what it means")
        await pilot.press("enter")
        await wait(lambda: isinstance(app.screen, RunScreen) and "51.0 ± 1.0 %" in text(app), "the results")
        await wait(lambda: "! did not learn · chosen on" in text(app), "the warnings at the row")
        panel = app.screen.query_one(Results)
        lines = str(panel.query_one(Lines)._text).splitlines()
        assert " ".join(" ".join(lines[2:-1]).split()) == "! did not learn · chosen on test · few clips"
        assert all(len(line) <= panel.scrollable_content_region.width for line in lines)
        assert "45.0 % on test" in text(app)


@SIZES
async def test_results_that_need_a_bar_are_not_broken(
    folder: Path, fake: Any, wait: Any, size: tuple[int, int]
) -> None:
    """The bar comes when it is known that there are too many lines, and took the ends of them."""
    run = warned(fake)
    for name in ("compressed-random", "compressed-herding", "class-mean", "full"):
        run.say(result(name, (0.3, 0.31, 0.32), bytes=2_884_892, caution=UNLEARNED))
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=size):
        await wait(lambda: isinstance(app.screen, RunScreen) and "51.0 ± 1.0 %" in text(app), "the results")
        panel = app.screen.query_one(Results)
        await wait(lambda: panel.show_vertical_scrollbar, "the bar")
        said = str(panel.query_one(Lines)._text).splitlines()
        assert all(len(line) <= panel.scrollable_content_region.width for line in said)
        assert sum("2.9 MB" in line for line in said) == 4


@SIZES
async def test_a_comparison_warns_and_says_what_is_noise(
    folder: Path, fake: Any, wait: Any, size: tuple[int, int]
) -> None:
    """Three networks of luck would be read as progress, though `vdtui compare` says better."""
    runs = [warned(fake, "one").run, warned(fake, "two", (0.1, 0.11, 0.12), NOW - 60).run]
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        screen = CompareScreen(runs)
        await app.push_screen(screen)
        await wait(lambda: len(screen._sources) == 2 and len(screen.snapshots) == 2, "both runs")
        await wait(lambda: "! chosen on test · did not learn" in text(app), "beside the best accuracies")
        if screen.has_class("compact"):
            await pilot.press("right", "right", "right")
        shown = str(screen._table())
        # paired by network seed: all differences are equal, so that their interval has no width
        assert "+20.0 [20.0, 20.0] better set" in shown and "-40.0 [-40.0, -40.0] worse set" in shown
        assert "51.0 ± 1.0 % !" in shown and "best" in shown
        flat = " ".join(shown.split())
        assert f"! one, static-dynamic; two, static-dynamic: {UNLEARNED}" in flat
        panel = screen.query_one("#results")
        await wait(lambda: panel.display and panel.size.width, "the panel")
        lines = [line for line in str(screen._table()).splitlines() if line.startswith("!")]
        assert lines and all(len(line) <= panel.size.width for line in lines)
