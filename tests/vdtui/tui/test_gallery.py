"""The gallery's keys, real clips, and what playing costs a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.style import Style
from textual.geometry import Size

from engine.events import PreviewSaved
from vdtui.tui import clips
from vdtui.tui.app import VdtuiApp
from vdtui.tui.clips import ClipsAnswer, RealClips, frame_interval
from vdtui.tui.previews import UNSEEN, Panel, Preview, difference_panel, load_preview, real_panel, settled
from vdtui.tui.screens.gallery import GalleryScreen, frame_rate
from vdtui.tui.screens.run import RunScreen
from vdtui.tui.widgets.films import REPAINTS, Films, arranged, changed, corners, frame_of

NOW = 1_750_000_000.0
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
CLASSES = ("Bowling", "other", "YoYo")


def screen_text(app: VdtuiApp) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def real_clips(classes: tuple[str, ...] = CLASSES) -> Preview:
    pixels = np.random.default_rng(1).integers(0, 255, (len(classes), 2, 4, 16, 16, 3), np.uint8)
    return Preview(classes, pixels, None, None)


async def opened(app: VdtuiApp, pilot: Any, wait: Any) -> GalleryScreen:
    await wait(lambda: isinstance(app.screen, RunScreen) and app.screen.snapshot, "the run is shown")
    await wait(lambda: app.screen.snapshot.previews, "its previews are known")
    await pilot.press("i")
    await wait(lambda: isinstance(app.screen, GalleryScreen) and app.screen.ready, "the gallery")
    assert isinstance(app.screen, GalleryScreen)
    return app.screen


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Answers for the process that reads clips files, and notes which files were asked for."""
    asked: list[Path] = []

    def answer(file: Path) -> ClipsAnswer:
        asked.append(file)
        return ClipsAnswer("fine", real_clips())

    monkeypatch.setattr(clips, "ask", answer)
    return asked


def with_data(run: Any, interval: int = 4) -> Any:
    text = run.run.preset_file.read_text()
    run.run.preset_file.write_text(f'{text}[dataset]\npath = "clips.h5"\ninterval = {interval}\n')
    return run


@SIZES
async def test_real_clips_stand_beside_the_synthetic_ones(
    folder: Path, fake: Any, wait: Any, data: list[Path], size: tuple[int, int]
) -> None:
    """The user could not tell what was learned from what the class looks like."""
    with_data(fake().half_way().previews(20, 40))
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        gallery = await opened(app, pilot, wait)
        for label in ("static memory 1 of 2", "dynamic memory", "clip 1 of 2", "real clip 1 of 2"):
            assert label in screen_text(app)
        assert "real speed" in screen_text(app)
        await pilot.press("R")
        await wait(lambda: gallery.ready and "real clip 2 of 2" in screen_text(app), "another one")
        await pilot.press("escape")
        await pilot.press("i")
        await wait(lambda: isinstance(app.screen, GalleryScreen) and app.screen.ready, "again")
    assert data == [Path("clips.h5")]  # once: a large file is not read at each visit


async def test_without_a_data_file_the_gallery_says_so(folder: Path, fake: Any, wait: Any) -> None:
    """The user would wait for real clips that never come."""
    fake().half_way().previews(20)
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot, wait)
        assert "no real clips found" in screen_text(app)


async def test_steps_are_walked_through_and_played(
    folder: Path, fake: Any, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user could not watch the memory form."""
    seen: list[str] = []

    def noted(folder: Path, file: str) -> Preview:
        seen.append(file)
        return load_preview(folder, file)

    monkeypatch.setattr("vdtui.tui.screens.gallery.LAPSE_SECONDS", 0.05)
    monkeypatch.setattr("vdtui.tui.screens.gallery.load_preview", noted)
    run = fake().half_way().previews(20, 40, 60)
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        gallery = await opened(app, pilot, wait)
        await pilot.press("comma", "comma")
        await wait(lambda: gallery.ready and "step 20 · preview 1 of 3" in screen_text(app), "the first")
        await pilot.press("comma", "full_stop")
        await wait(lambda: gallery.ready and "step 40 · preview 2 of 3" in screen_text(app), "the second")
        seen.clear()
        await pilot.press("b")
        await wait(lambda: gallery._lapse is None and gallery.ready, "it ends by itself")
        assert seen == [f"dynamic-{number}.npz" for number in (20, 40, 60)]
        np.savez(run.run.previews / "dynamic-80.npz", **np.load(run.run.previews / "dynamic-60.npz"))
        run.say(PreviewSaved("dynamic", 80, "dynamic-80.npz"))
        await wait(lambda: gallery.ready and "step 80 · preview 4 of 4" in screen_text(app), "the newest is followed")


async def test_v_shows_each_film_alone_the_clip_first(folder: Path, fake: Any, wait: Any, data: list[Path]) -> None:
    """Pictures of 16 cells would be all that a small terminal has to offer."""
    with_data(fake().half_way().previews(20))
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        gallery = await opened(app, pilot, wait)
        films = gallery.query_one(Films)
        found = []
        for _ in range(5):
            await pilot.press("v")
            await wait(lambda: gallery.ready, "it is built")
            found.append([panel.label.split()[0] for panel in films._panels])
        assert found == [["clip"], ["static"], ["dynamic"], ["real"], ["static", "dynamic", "clip", "real"]]


def test_a_real_clip_is_of_the_same_class() -> None:
    """The clip of another class would stand beside the synthetic one."""
    real = real_clips(("b", "a", "c"))
    panel = real_panel(real, "a", 0, 3)
    assert panel is not None and np.array_equal(panel.frames, real.clips[1, 1]) and panel.label == "real clip 2 of 2"
    renamed = real_panel(real, "a?", 0, 0)
    assert renamed is not None and np.array_equal(renamed.frames, real.clips[0, 0])
    assert real_panel(real, "d", 3, 0) is None


@pytest.mark.parametrize("dataset", ["", "[dataset]\ninterval = 0", "[dataset]\ninterval = true", "dataset = 3", "["])
def test_an_interval_that_is_not_known_is_no_interval(fake: Any, dataset: str) -> None:
    """A preset of another version would end the dashboard."""
    run = fake().run
    run.preset_file.write_text(dataset)
    assert frame_interval(run) == 0
    assert RealClips(run).preview() is None


def test_speed_is_real_or_says_that_it_is_not() -> None:
    """A slow walk would be shown as a run."""
    assert frame_rate(0) == (REPAINTS, "playing")
    assert frame_rate(4) == (6.25, "playing at real speed")
    assert frame_rate(1) == (REPAINTS, f"playing, slowed {25 // REPAINTS} times")


def test_only_what_changes_visibly_is_repainted() -> None:
    """Playing noise would send hundreds of kilobytes a second through a slow line, and take a tenth of a core."""
    rng = np.random.default_rng(0)
    scene = np.full((2, 16, 16, 3), 120, np.int64) + rng.integers(-3, 4, (2, 16, 16, 3))
    scene[1, 4:8, 8:12] = 250
    panels = [Panel("still", scene[:1].astype(np.uint8)), Panel("moving", scene.astype(np.uint8))]
    size, pixels = Size(60, 12), dict[int, np.ndarray]()
    first, second = (frame_of(panels, time, size, Style(), pixels) for time in (0, 1))
    places, place = corners(panels, size), arranged(panels, size)[1][0]
    regions = changed(first, second, places)
    assert regions and changed(first, first, places) == []
    x, y = places[1]
    scale = place.columns / 16
    assert {region.y - y for region in regions} == set(range(round(2 * scale), round(4 * scale)))
    assert all((region.x - x, region.width) == (8 * scale, 4 * scale) for region in regions)
    for row, (before, after) in enumerate(zip(first.lines, second.lines, strict=True)):
        if row not in {region.y for region in regions}:
            assert before.text == after.text and list(before) == list(after)


def test_small_differences_settle_and_great_ones_show() -> None:
    """Slow changes would be swallowed for good."""
    before = np.full((2, 2, 3), 100, np.uint8)
    assert np.array_equal(settled(before + UNSEEN - 1, before), before)
    assert np.array_equal(settled(before + UNSEEN, before), before + UNSEEN)
    assert np.array_equal(settled(before - UNSEEN, before), before - UNSEEN)
    assert settled(before, None) is before


async def test_all_classes_stand_in_a_grid(folder: Path, fake: Any, wait: Any) -> None:
    """Of four hundred classes one would be seen at a time."""
    names = np.array([f"class number {label}" for label in range(40)])
    run = fake().half_way()
    run.run.previews.mkdir()
    clips = np.random.default_rng(3).integers(0, 255, (40, 1, 2, 16, 16, 3), np.uint8)
    np.savez(run.run.previews / "dynamic-20.npz", classes=names, clips=clips)
    run.say(PreviewSaved("dynamic", 20, "dynamic-20.npz"))
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        gallery = await opened(app, pilot, wait)
        await pilot.press("A")
        await wait(lambda: gallery.ready and "classes 1 to 10 of 40" in screen_text(app), "the grid", 20)
        assert len(gallery.query_one(Films)._panels) == 10
        await pilot.press("h")
        await wait(lambda: gallery.ready and "classes 31 to 40 of 40" in screen_text(app), "its last page", 20)
        await pilot.press("slash", *"number 17", "enter")
        await wait(lambda: gallery.ready and gallery.class_name == "class number 17", "the class that was typed", 20)
        assert gallery.mode == "parts" and "class 18 of 40" in screen_text(app)


async def test_frames_one_by_one(folder: Path, fake: Any, wait: Any) -> None:
    """A movement of eight frames would be over before one has seen it."""
    fake().half_way().previews(20)
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        gallery = await opened(app, pilot, wait)
        films = gallery.query_one(Films)
        await pilot.press("right_square_bracket")
        at = films.frame
        await pilot.press("right_square_bracket")
        assert films.frame == (at + 1) % 4 and not films.playing
        await wait(lambda: f"frame {films.frame + 1} of 4 · ‖ paused" in screen_text(app), "its number", 20)


async def test_what_is_learned_stands_beside_its_start(folder: Path, fake: Any, wait: Any) -> None:
    """Nobody could tell what the learning has changed."""
    fake().half_way().previews(0, 60)
    app = VdtuiApp(folder, "demo", clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        gallery = await opened(app, pilot, wait)
        await pilot.press("D")
        await wait(lambda: "change since" in screen_text(app) and gallery.ready, "the three films", 20)
        panels = gallery.query_one(Films)._panels
        first = load_preview(folder / "demo" / "previews", "dynamic-0.npz").clips[0, 0]
        assert [panel.label for panel in panels] == ["at the start", "learned", "change since"]
        assert np.array_equal(panels[0].frames, first)
        await pilot.press("D")
        await wait(lambda: "static memory" in screen_text(app), "its parts again", 20)


def test_a_difference_is_dark_where_there_is_none() -> None:
    """Noise would be taken for what was learned."""
    one = np.full((2, 4, 4, 3), 100, np.uint8)
    other = one.copy()
    other[:, :2] = 200
    frames = difference_panel("d", one, other).frames
    assert frames.shape == one.shape
    assert frames[0, 3].max() < 40 and frames[0, 0, 0, 0] > frames[0, 0, 0, 2] + 50  # orange where it is brighter


async def test_two_runs_side_by_side(folder: Path, fake: Any, wait: Any) -> None:
    """Sets could be compared by their numbers alone."""
    fake("one").half_way().previews(20)
    fake("two", created=NOW - 9000).half_way().previews(40)
    app = VdtuiApp(folder, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait(lambda: len(app.screen._rows) == 2, "the runs", 20)  # type: ignore[attr-defined]
        await pilot.press("space", "space", "i")
        await wait(lambda: isinstance(app.screen, GalleryScreen) and app.screen.ready, "the gallery", 20)
        films = app.screen.query_one(Films)
        await wait(lambda: [panel.label for panel in films._panels] == ["one", "two"], "both", 20)
