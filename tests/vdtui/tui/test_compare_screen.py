"""The compare screen: the right curves over each other, only what differs, and no mixing of conditions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.events import Evaluated, ResultReady
from engine.runs import RunDirectory
from vdtui.tui.app import VdtuiApp
from vdtui.tui.screens.compare import PAGES, CompareScreen, differences, measured
from vdtui.tui.screens.dialogs import HelpScreen
from vdtui.tui.widgets.overlay import COLOURS, MARKERS, Overlay

NOW = 1_750_000_000.0


def text(app: VdtuiApp) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


async def opened(app: VdtuiApp, wait: Any, runs: list[RunDirectory]) -> CompareScreen:
    screen = CompareScreen(runs)
    await app.push_screen(screen)
    await wait(lambda: len(screen.snapshots) == len(runs), "all runs are read")
    return screen


def test_differences_are_only_what_differs() -> None:
    """The user would search for the one changed value among a hundred equal ones."""
    one = {"title": "a", "run": {"seed": 1, "device": "cpu"}, "dynamic": {"steps": 5, "mtt": {"batch": 2}}}
    two = {"title": "b", "run": {"seed": 2, "device": "cpu"}, "dynamic": {"steps": 5, "train_static": True}}
    assert differences([one, two]) == [
        ("run.seed", ["1", "2"]),
        ("dynamic.mtt.batch", ["2", "—"]),
        ("dynamic.train_static", ["—", "true"]),
    ]
    assert differences([one, one, one]) == [] == differences([{}, {}])


def test_runs_are_told_apart_without_colours() -> None:
    """On a terminal without colours all curves would look the same."""
    assert len(set(MARKERS)) == len(set(COLOURS)) == 6


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
async def test_runs_are_compared(folder: Path, fake: Any, wait: Any, size: tuple[int, int]) -> None:
    """Curves of one run would stand for another's, or a part be out of reach on a small terminal."""
    one, two = fake("one").complete(), fake("two").half_way()
    path = two.run.preset_file
    path.write_text(path.read_text().replace("seed = 3", "seed = 8"))
    two.say(Evaluated("synthetic", 60, "val", 0.9, 0.0, (0.9,), 1.0))
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        screen = await opened(app, wait, [one.run, two.run])
        await wait(lambda: "● one" in text(app) and "▲ two" in text(app), "who is who")
        await wait(lambda: len(screen.query_one("#accuracy", Overlay)._lines) == 2, "both curves")
        lines = screen.query_one("#accuracy", Overlay)._lines
        assert [line.place for line in lines] == [0, 1]
        assert np.allclose(lines[0].curve.values, [0.35, 0.4, 0.45]) and lines[1].curve.values[-1] == 0.9
        assert screen.query_one("#loss", Overlay)._heading == "loss · dynamic"
        seen = text(app)
        for _ in PAGES:
            await pilot.press("v")
            await pilot.pause()
            seen += text(app)
        assert "run.seed" in seen and "47.0 ± 1.2 %" in seen and "accuracy on validation" in seen
        assert screen.has_class("compact") == (size[0] < 100)
        await pilot.press("right", "L")
        assert screen.page == "loss" and screen.query_one("#loss", Overlay).logarithmic
        await pilot.press("t")
        assert screen.stage == "static" and len(screen.query_one("#loss", Overlay)._lines[0].curve.steps) == 50
        await pilot.press("left", "question_mark")
        assert screen.page == "accuracy" and isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        for small in ((30, 8), (5, 3), (200, 60)):
            await pilot.resize_terminal(*small)
            await pilot.pause()


async def test_other_conditions_stand_apart(folder: Path, fake: Any, wait: Any) -> None:
    """Numbers that cannot be compared would stand in one column."""
    runs = [fake("one").half_way(), fake("two").half_way()]
    for run, protocol in zip(runs, ("strict", "vdsd"), strict=True):
        top1 = {"mean": 0.5, "std": 0.1, "values": [0.5], "seeds": [1]}
        result = {"what": "pixels", "protocol": protocol, "protocol_version": 1, "model": "m", "bytes": 5, "top1": top1}
        run.say(ResultReady({**result, "data_fingerprint": "abcdef0123456789"}))
    assert measured({**result, "data_fingerprint": "abcdef0123456789"}) == "protocol vdsd 1 · m · data abcdef01"
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)):
        await opened(app, wait, [run.run for run in runs])
        await wait(lambda: "protocol strict 1" in text(app) and "protocol vdsd 1" in text(app), "two tables")


async def test_damaged_and_removed_runs_are_shown_as_such(folder: Path, fake: Any, wait: Any) -> None:
    """One bad run would take the comparison of the others down."""
    whole, damaged, newer = fake("whole").complete(), fake("damaged").half_way(), fake("newer")
    damaged.run.status_file.write_text("{")
    damaged.run.preset_file.write_bytes(b"\xff[")
    with open(damaged.run.events_file, "a", encoding="utf-8") as file:
        file.write('{"event":"result_ready","time":1,"result":{"what":5,"top1":"high","bytes":"few"}}\n[]\n')
    newer.run.events_file.write_text('{"schema": "vdtui.events", "version": 99}\n')
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)):
        screen = await opened(app, wait, [whole.run, damaged.run, newer.run])
        await wait(lambda: "missing or damaged" in text(app) and "has format vdtui.events 99" in text(app), "told")
        shutil.rmtree(newer.run.path)
        await wait(lambda: "? removed" in text(app), "removed")
        assert len(screen.query_one("#accuracy", Overlay)._lines) == 2  # what can be read is drawn
