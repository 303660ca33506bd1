"""What a user sees and does in the dashboard, through Textual's pilot."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import DataTable

from engine.errors import UsageError
from engine.events import RunFailed
from vdtui.tui.app import VdtuiApp
from vdtui.tui.screens.dialogs import ConfirmStop, HelpScreen
from vdtui.tui.screens.gallery import GalleryScreen
from vdtui.tui.screens.run import RunScreen
from vdtui.tui.screens.runs import RunsScreen
from vdtui.tui.widgets.curves import LossCurve
from vdtui.tui.widgets.films import Films
from vdtui.tui.widgets.panels import Banner, Log

NOW = 1_750_000_000.0


def make_app(folder: Path, run: str | None = None) -> VdtuiApp:
    return VdtuiApp(folder, run, clock=lambda: NOW)


def screen_text(app: VdtuiApp) -> str:
    """What stands on the screen, line by line."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def asked(fake_run: Any) -> str:
    return str(json.loads(fake_run.run.control_file.read_text())["want"])


def notes(app: VdtuiApp) -> str:
    return " ".join(note.message for note in app._notifications)


async def opened(app: VdtuiApp, wait: Any) -> RunScreen:
    await wait(lambda: isinstance(app.screen, RunScreen) and app.screen.snapshot, "the run is shown")
    assert isinstance(app.screen, RunScreen)
    return app.screen


async def test_runs_are_listed_newest_first_with_their_figures(folder: Path, fake: Any, wait: Any) -> None:
    """Without this the user cannot see which runs there are and how good they became."""
    fake("old", created=NOW - 7200).complete()
    fake("new").half_way()
    app = make_app(folder)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait(lambda: "45.0 %" in screen_text(app), "the best accuracy is there")
        lines = [line for line in screen_text(app).splitlines() if "Demo: moving" in line][:2]
        assert [line.split()[0] for line in lines] == ["new", "old"]
        assert "● running" in lines[0] and "60%" in lines[0] and "45.0 %" in lines[0] and "10 min" in lines[0]
        assert "✔ completed" in lines[1] and "246 kB" in lines[1] and "2 h" in lines[1]
        await pilot.press("enter")
        assert (await opened(app, wait)).run.name == "new"
        await pilot.press("escape")
        await wait(lambda: isinstance(app.screen, RunsScreen), "escape goes back")


async def test_an_empty_folder_says_how_to_start(folder: Path, wait: Any) -> None:
    """A new user would stare at an empty table."""
    app = make_app(folder / "not-there")
    async with app.run_test(size=(80, 24)):
        await wait(lambda: "vdtui distill --preset demo" in screen_text(app), "the hint is there")


async def test_a_new_run_appears_and_a_removed_one_goes(folder: Path, fake: Any, wait: Any) -> None:
    """The table would show yesterday's truth."""
    first = fake("first").half_way()
    app = make_app(folder)
    async with app.run_test(size=(80, 24)):
        await wait(lambda: app.screen.query_one(DataTable).row_count == 1, "one run")
        fake("second").half_way()
        await wait(lambda: app.screen.query_one(DataTable).row_count == 2, "two runs")
        shutil.rmtree(first.run.path)
        await wait(lambda: "first" not in screen_text(app), "it is gone")


async def test_p_pauses_and_lets_go_on(folder: Path, fake: Any, wait: Any) -> None:
    """The user could not pause a run, or not get it going again."""
    run = fake().half_way()
    app = make_app(folder, "demo")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, wait)
        await pilot.press("p")
        assert asked(run) == "pause"
        await wait(lambda: "pausing" in screen_text(app), "the request shows")
        run.status("paused", "dynamic", 60, 100)
        await wait(lambda: "‖ paused" in screen_text(app), "the pause shows")
        await pilot.press("p")
        assert asked(run) == "run"


async def test_stop_asks_first(folder: Path, fake: Any, wait: Any) -> None:
    """One slip of a finger would end a run of many hours."""
    run = fake().half_way()
    app = make_app(folder, "demo")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, wait)
        await pilot.press("s")
        await wait(lambda: isinstance(app.screen, ConfirmStop), "it asks")
        assert "vdtui resume demo" in screen_text(app)
        await pilot.press("escape")
        assert asked(run) == "run"
        await pilot.press("s", "enter")  # enter at once must be the harmless answer
        assert asked(run) == "run"
        await pilot.press("s", "y")
        assert asked(run) == "stop"


async def test_an_ended_run_cannot_be_paused_and_says_why(folder: Path, fake: Any, wait: Any) -> None:
    """A request that nobody will ever read would look as if it had worked."""
    run = fake().complete()
    app = make_app(folder, "demo")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, wait)
        await pilot.press("p", "s")
        assert isinstance(app.screen, RunScreen)
        assert "demo cannot be paused: it is completed" in notes(app)
        assert asked(run) == "run"


async def test_failed_and_crashed_runs_say_what_to_do(folder: Path, fake: Any, wait: Any, crashed: Any) -> None:
    """The user would see that it went wrong, but neither why nor how to go on."""
    failed = fake("failed").half_way()
    failed.say(RunFailed("CLIPS.h5 is gone.", "Prepare it again."))
    failed.status("failed", "dynamic", 60, 100)
    fake("lost").half_way()
    crashed.save(folder / "lost" / "status.json")
    for name, words in (("failed", "CLIPS.h5 is gone. Prepare it again."), ("lost", "Its worker is gone.")):
        app = make_app(folder, name)
        async with app.run_test(size=(80, 24)):
            await opened(app, wait)
            await wait(lambda app=app: app.screen.query_one(Banner).display, "the banner")
            await wait(lambda app=app, words=words: words in screen_text(app), words)
            assert f"vdtui resume {name}" in screen_text(app)


async def test_l_and_t_change_the_loss_curve(folder: Path, fake: Any, wait: Any) -> None:
    """The late part of a loss that falls over decades would be a flat line; stage 1 would be out of reach."""
    fake().half_way()
    app = make_app(folder, "demo")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, wait)
        curve = screen.query_one(LossCurve)
        await wait(lambda: curve.stage == "dynamic", "the present stage")
        assert "linear scale" in screen_text(app)
        await pilot.press("L")
        await wait(lambda: "log scale" in screen_text(app), "log scale")
        await pilot.press("t")
        await wait(lambda: "loss · static" in screen_text(app), "the other stage")
        await pilot.press("2")
        assert curve.stage == "dynamic"
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)


async def test_what_a_living_run_appends_shows_up(folder: Path, fake: Any, wait: Any) -> None:
    """The dashboard would be a photograph."""
    run = fake().half_way()
    app = make_app(folder, "demo")
    async with app.run_test(size=(120, 40)):
        screen = await opened(app, wait)
        with open(run.run.events_file, "ab") as file:
            file.write(b'{"event":"note","time":1750000000,"level":"info","text":"half a li')
        run.status("running", "dynamic", 61, 100)
        await wait(lambda: "step 60 of 100" in screen_text(app), "still the old step")
        with open(run.run.events_file, "ab") as file:
            file.write(b'ne"}\n')
        await wait(lambda: "half a line" in screen_text(app), "the line when it is whole")
        assert screen.snapshot is not None and screen.snapshot.log[-1].text == "half a line"


async def test_hostile_text_is_shown_literally(folder: Path, fake: Any, wait: Any) -> None:
    """A class name from a downloaded dataset could colour, clear or retitle the user's terminal."""
    run = fake().half_way().previews(20)
    run.note("class [red]Evil[/red] \x1b[2J\x1b]0;owned\x07 has one video")
    app = make_app(folder, "demo")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, wait)
        await wait(lambda: "class [red]Evil[/red] has one video" in screen_text(app), "the log line")
        assert "\x1b" not in "".join(strip.text for strip in screen.query_one(Log).lines)
        await pilot.press("i")
        await wait(lambda: isinstance(app.screen, GalleryScreen) and app.screen.ready, "the gallery")
        await pilot.press("right")
        await wait(lambda: "[red]Evil[/red] [@click=app.quit]x[/]" in screen_text(app), "the class name")


async def test_gallery_changes_class_step_and_plays(folder: Path, fake: Any, wait: Any) -> None:
    """The user could not look at what was learned, which is what the tool is for."""
    fake().half_way().previews(20, 40)
    app = make_app(folder, "demo")
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(app, wait)
        await pilot.press("i")
        await wait(lambda: isinstance(app.screen, GalleryScreen) and app.screen.ready, "the gallery")
        gallery = app.screen
        assert isinstance(gallery, GalleryScreen) and gallery.class_name == "Bowling"
        text = screen_text(app)
        assert "static memory" in text and "dynamic memory" in text and "clip 1 of 2" in text and "▀" in text
        films = gallery.query_one(Films)
        await wait(lambda: films.frame > 0, "it plays")
        await pilot.press("p")
        frame = films.frame
        await pilot.press("left")
        assert gallery.class_name == "YoYo"
        await wait(lambda: gallery.ready, "the other class")
        await pilot.press("comma")
        await wait(lambda: gallery.ready and "step 20 · preview 1 of 2" in screen_text(app), "the earlier step")
        assert films.playing is False and frame >= 0
        await pilot.press("escape")
        assert isinstance(app.screen, RunScreen)


@pytest.mark.parametrize("damage", ["absent", "rubbish", "pickle"])
async def test_a_damaged_preview_is_told_plainly(folder: Path, fake: Any, wait: Any, damage: str) -> None:
    """One bad file would take the dashboard down, or run code that somebody put into it."""
    import numpy as np

    run = fake().half_way().previews(20)
    file = run.run.previews / "dynamic-20.npz"
    file.unlink()
    if damage == "rubbish":
        file.write_bytes(b"PK\x03\x04 not a zip")
    if damage == "pickle":
        np.savez(file, classes=np.array([{"a": 1}], dtype=object), clips=np.zeros((1, 1, 1, 2, 2, 3), np.uint8))
    app = make_app(folder, "demo")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, wait)
        await pilot.press("i")
        await wait(lambda: "is gone" in screen_text(app) or "is damaged" in screen_text(app), "a plain message")


async def test_damaged_removed_and_newer_runs_are_shown_as_such(folder: Path, fake: Any, wait: Any) -> None:
    """The dashboard would vanish just when the user needs to know what is wrong."""
    damaged = fake("damaged").half_way()
    damaged.run.status_file.write_text("{")
    newer = fake("newer")
    newer.run.events_file.write_text('{"schema": "vdtui.events", "version": 99}\n{"event": "step"}\n')
    app = make_app(folder, "damaged")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, wait)
        await wait(lambda: "? damaged" in screen_text(app) and "missing or damaged" in screen_text(app), "damaged")
        shutil.rmtree(damaged.run.path)
        await wait(lambda: "? removed" in screen_text(app), "removed")
        await pilot.press("escape")
        await wait(lambda: "newer" in screen_text(app), "the others are still there")
        await pilot.press("enter")
        await wait(lambda: "written by another version" in screen_text(app), "newer version")


async def test_every_size_and_every_state_can_be_drawn(folder: Path, fake: Any, wait: Any) -> None:
    """Making the terminal very small, or a diverged loss, would crash the dashboard."""
    run = fake().complete()
    lines = [
        '{"event":"step","time":1,"stage":"dynamic","step":61,"total":100,"loss":1e308,"rate":1,"figures":{"a":"b"}}',
        '{"event":"step","time":1,"stage":"dynamic","step":62,"total":100,"loss":-1e308,"rate":1,"figures":{"a":null}}',
        '{"event":"step","time":1,"stage":"dynamic","step":63,"total":100,"loss":"x","rate":1,"figures":{}}',
        '{"event":"step","time":1,"stage":"dynamic","step":1e999,"total":1,"loss":1,"rate":1,"figures":[]}',
        '{"event":"best_changed","time":1e300,"step":3,"accuracy":"good"}',
        '{"event":"evaluated","time":1,"what":"[b]","step":3,"split":"val","mean":7,"std":null,"values":[],"seconds":1}',
        '{"event":"result_ready","time":1,"result":{"what":5,"top1":"high","bytes":"few"}}',
        '{"event":"preview_saved","time":1,"stage":"dynamic","step":3,"file":"../../preset.toml"}',
        "[]",
        '"text"',
    ]
    with open(run.run.events_file, "a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    app = make_app(folder, "demo")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, wait)
        for size in ((30, 8), (5, 3), (200, 60)):
            await pilot.resize_terminal(*size)
            await pilot.press("L", "v")
            await pilot.pause()
        await pilot.press("i")
        await wait(lambda: "not that of an .npz file" in screen_text(app), "no way out of the run's folder")


async def test_leaving_says_that_the_run_goes_on(folder: Path, fake: Any, wait: Any, capsys: Any) -> None:
    """The user would fear that quitting has stopped the run, or not find it again."""
    fake().half_way()
    app = make_app(folder, "demo")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, wait)
        await pilot.press("q")
    assert "vdtui monitor demo" in capsys.readouterr().err


def test_an_unknown_run_is_a_usage_error(folder: Path) -> None:
    """A typo in the name would open an empty screen."""
    with pytest.raises(UsageError):
        VdtuiApp(folder, "nope")


def test_importing_the_dashboard_is_light() -> None:
    """`vdtui monitor` would take seconds to start, and would need the whole engine on a login node."""
    code = (
        "import sys, vdtui.tui.app; light = not {'numpy', 'textual_plot'} & set(sys.modules);"
        "import vdtui.tui.screens.run, vdtui.tui.screens.gallery;"
        "print(light, sorted({'torch', 'torchvision', 'h5py', 'av', 'matplotlib', 'pydantic'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


async def test_no_colour_is_respected(folder: Path, fake: Any, wait: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked for no colours would get them, or a crash; and a state would be told by colour alone."""
    monkeypatch.setenv("NO_COLOR", "1")
    fake().complete().previews(20)
    app = make_app(folder, "demo")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, wait)
        await wait(lambda: "loss · dynamic" in screen_text(app), "the curves")
        assert screen is app.screen
        styles = [segment.style for strip in app.screen._compositor.render_strips() for segment in strip]
        colours = [style.color.triplet for style in styles if style and style.color and style.color.triplet]
        assert colours and all(red == green == blue for red, green, blue in colours)
        assert "✔ completed" in screen_text(app)
        await pilot.press("i")
        await wait(lambda: isinstance(app.screen, GalleryScreen) and app.screen.ready, "the gallery")
