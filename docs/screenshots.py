"""Takes the pictures of the dashboard that stand in README.md and docs/dashboard.md, of runs that exist.

    python docs/screenshots.py runs/demo runs/other ...                 # into docs/
    python docs/screenshots.py --theme light --size 80x24 --output /tmp/look runs/demo runs/other

Pictures that somebody takes by hand show an older dashboard than the one that is shipped. The first run is opened
(dashboard.png, gallery.png), all of them are compared (compare.png, from two on), runs.png shows all that lie in the
first one's folder, new.png is the form of a new one. Needs nothing that vdtui does not bring: the cells of the screen
are drawn with Pillow, in the monospaced font that comes with matplotlib. The same runs give the same pictures,
whenever they are taken: the clock stands at the last sign of life of the newest run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.cells import cell_len
from rich.segment import Segment
from textual.pilot import Pilot
from textual.widgets import Input

from engine.runs import RunDirectory
from vdtui.tui import themes
from vdtui.tui.app import VdtuiApp
from vdtui.tui.form import Form
from vdtui.tui.screens.compare import CompareScreen
from vdtui.tui.screens.gallery import GalleryScreen
from vdtui.tui.screens.new import NewRunScreen
from vdtui.tui.screens.run import RunScreen
from vdtui.tui.screens.runs import RunsScreen
from vdtui.tui.widgets.fields import FieldRow
from vdtui.tui.widgets.films import Films

CELL, POINTS = (12, 24), 20
"""Pixels of a cell, and the size of the font whose characters are as wide as that."""
SETTLED_SECONDS = 1.5
"""Longer than the dashboard lets curves wait."""
MOST_SECONDS = 60.0
COLOURS = 256
SILENT_SECONDS = 10.0
"""After the last sign of life: the age of the picture, too short for a living run to be taken for silent."""
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def main() -> None:
    """Take every picture that the runs allow."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories that lie in one folder")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder of the pictures")
    parser.add_argument("--size", default="120x40", help="columns x rows of the terminal")
    parser.add_argument("--theme", choices=("dark", "light", "contrast"), default="dark")
    parser.add_argument("--only", nargs="+", choices=tuple(PICTURES), default=tuple(PICTURES), metavar="PICTURE")
    options = parser.parse_args()
    columns, rows = (int(number) for number in options.size.split("x"))
    output: Path = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    os.environ |= {themes.VARIABLE: options.theme, "TZ": "UTC", "COLORTERM": "truecolor"}
    time.tzset()
    names = [path.resolve().name for path in options.runs]
    folder = options.runs[0].resolve().parent
    os.chdir(folder.parent)  # pictures tell no path of the machine that they were taken on
    runs = [RunDirectory(Path(folder.name) / name) for name in names]
    now = max(run.status().heartbeat for run in runs) + SILENT_SECONDS
    for name in options.only:
        if name == "compare" and len(runs) < 2:
            continue
        file = output / f"{name}.png"
        asyncio.run(taken(PICTURES[name], runs, now, (columns, rows), file))
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")  # noqa: T201


async def taken(
    ready: Callable[[Pilot[None], list[RunDirectory]], object],
    runs: list[RunDirectory],
    now: float,
    size: tuple[int, int],
    file: Path,
) -> None:
    """Start the dashboard in a terminal of ``size`` cells, bring it to where ``ready`` says, and save what it shows."""
    app = VdtuiApp(Path(runs[0].path.parent), clock=lambda: now)
    async with app.run_test(size=size) as pilot:
        await ready(pilot, runs)  # type: ignore[misc]
        await pilot.pause(SETTLED_SECONDS)
        strips = app.screen._compositor.render_strips()
        drawn([list(strip) for strip in strips], size).save(file, optimize=True)


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Wait for something on the screen."""
    end = time.monotonic() + MOST_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("The dashboard did not show what this picture is of.")
        await pilot.pause(0.05)


async def the_runs(pilot: Pilot[None], runs: list[RunDirectory]) -> None:
    """All runs, two of them marked as they are to be compared."""
    screen = pilot.app.screen
    assert isinstance(screen, RunsScreen)
    paths = {run.path for run in runs}
    await until(pilot, lambda: screen.snapshot and paths <= {row.path for row in screen.snapshot.rows})
    await pilot.pause(SETTLED_SECONDS)  # rows are there before their logs are read
    screen.marked |= {run.path for run in runs[:2]} if len(runs) > 1 else set()


async def the_run(pilot: Pilot[None], runs: list[RunDirectory]) -> None:
    """The first run."""
    screen = RunScreen(runs[0], pilot.app._clock)  # type: ignore[attr-defined]
    await pilot.app.push_screen(screen)
    await until(pilot, lambda: screen.snapshot is not None and screen.snapshot.reading is None)


async def the_gallery(pilot: Pilot[None], runs: list[RunDirectory]) -> None:
    """The clips of the first run, standing still in their middle: there they differ most from the static memory."""
    await the_run(pilot, runs)
    await pilot.press("i")
    await until(pilot, lambda: isinstance(pilot.app.screen, GalleryScreen) and pilot.app.screen.ready)
    films = pilot.app.screen.query_one(Films)
    await pilot.press("p")
    films.frame = films.length // 2
    films.refresh()


async def the_comparison(pilot: Pilot[None], runs: list[RunDirectory]) -> None:
    """All given runs beside each other."""
    screen = CompareScreen(runs)
    await pilot.app.push_screen(screen)
    await until(pilot, lambda: len(screen.snapshots) == len(runs))


async def the_form(pilot: Pilot[None], runs: list[RunDirectory]) -> None:
    """The form of a new run, one value of which is changed."""
    screen = NewRunScreen(Form("demo"), runs[0].path.parent)
    await pilot.app.push_screen(screen)
    await until(pilot, lambda: screen.query(FieldRow))
    while screen.section != "dynamic":
        await pilot.press("ctrl+n")
        await pilot.pause(0.5)
    steps = next(row for row in screen.query(FieldRow) if row.field.key == "dynamic.steps").editor
    for box in screen.query(Input):
        box.cursor_blink = False  # else it is there or not as the moment has it
    steps.focus()
    await pilot.press("end", "0")


PICTURES = {"dashboard": the_run, "runs": the_runs, "gallery": the_gallery, "new": the_form, "compare": the_comparison}


def drawn(lines: list[list[Segment]], size: tuple[int, int]) -> Image.Image:
    """The cells of ``lines`` as a picture with a palette."""
    width, height = CELL
    picture = Image.new("RGB", (size[0] * width, size[1] * height))
    draw = ImageDraw.Draw(picture)
    for y, line in enumerate(lines):
        x = 0
        for segment in line:
            for character in segment.text:
                cells = cell_len(character)
                if cells:
                    _draw_cell(draw, x * width, y * height, character, segment, cells)
                x += cells
    return picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _draw_cell(draw: ImageDraw.ImageDraw, x: int, y: int, character: str, segment: Segment, cells: int) -> None:
    width, height = CELL[0] * cells, CELL[1]
    front, back, bold = _colours(segment)
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=back)
    if character in HALVES:
        top, bottom = HALVES[character]
        draw.rectangle((x, y + top * height // 2, x + width - 1, y + bottom * height // 2 - 1), fill=front)
    elif "\u2800" <= character <= "\u28ff":
        _draw_dots(draw, x, y, ord(character) - 0x2800, front)
    elif not character.isspace():
        draw.text((x, y + BASELINE), character, fill=front, font=_fonts()[bold], anchor="ls")


HALVES = {"▀": (0, 1), "▄": (1, 2), "█": (0, 2)}
"""Characters that are pixels, in halves of a cell from the top: the font's would leave seams."""
BASELINE = 19
DOTS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
"""Column and row of each bit of a braille character, which the font has none of; curves are drawn with them."""


def _draw_dots(draw: ImageDraw.ImageDraw, x: int, y: int, bits: int, front: tuple[int, int, int]) -> None:
    across, down = CELL[0] // 2, CELL[1] // 4
    for bit, (column, row) in enumerate(DOTS):
        if bits >> bit & 1:
            left, top = x + column * across + 1, y + row * down + 1
            draw.ellipse((left, top, left + 3, top + 3), fill=front)


def _fonts() -> dict[bool, ImageFont.FreeTypeFont]:
    global _LOADED
    if not _LOADED:
        names = {False: "DejaVuSansMono.ttf", True: "DejaVuSansMono-Bold.ttf"}
        _LOADED = {bold: ImageFont.truetype(FONTS / name, POINTS) for bold, name in names.items()}
    return _LOADED


_LOADED: dict[bool, ImageFont.FreeTypeFont] = {}


def _colours(segment: Segment) -> tuple[tuple[int, int, int], tuple[int, int, int], bool]:
    """Foreground, background, and whether bold."""
    style = segment.style
    front, back = (216, 222, 233), (16, 19, 26)
    if style is None:
        return front, back, False
    if style.color is not None and not style.color.is_default:
        front = tuple(style.color.get_truecolor())  # type: ignore[assignment]
    if style.bgcolor is not None and not style.bgcolor.is_default:
        back = tuple(style.bgcolor.get_truecolor(foreground=False))  # type: ignore[assignment]
    if style.dim:
        front = tuple(np.mean([front, back], axis=0).astype(int).tolist())  # type: ignore[assignment]
    return (back, front, bool(style.bold)) if style.reverse else (front, back, bool(style.bold))


if __name__ == "__main__":
    main()
