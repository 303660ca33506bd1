"""Grids, which show many classes in one picture: a row for each, its name and its cells; many rows fill columns."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engine.export.names import shown
from engine.export.pictures import Pixels8

BOUNDS = {"mp4": (2304, 4096), "gif": (1600, 2560), "png": (4096, 4096)}
"""The most height and width of a grid, in pixels: mp4, the common limit of hardware decoders of H.264 (level 5.1); gif,
the size up to which browsers play smoothly; png, a size that every viewer opens."""
LEAST_CELL = 96
"""The least width of a cell in pixels, to which smaller ones are enlarged by a whole factor."""
GAP, MARGIN, CAPTION, FONT_SIZE = 4, 8, 170, 15
BACKGROUND, TEXT = (24, 24, 27), (228, 228, 231)
MOST_COLUMNS = 64
ASPECT = 1.6
"""The ratio of width to height that a grid of many classes comes as near to as it can."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layout of a grid: ``classes`` rows of ``cells`` cells, in ``columns`` columns; ``scale`` enlarges cells."""

    classes: int
    cells: int
    columns: int
    scale: int
    cell_height: int
    cell_width: int
    bounds: tuple[int, int]

    @property
    def rows(self) -> int:
        """The number of rows in the longest column."""
        return math.ceil(self.classes / self.columns)

    @property
    def pitch(self) -> tuple[int, int]:
        """The distance in pixels from a row to the next one below, and to the next one beside."""
        return self.cell_height * self.scale + GAP, CAPTION + self.cells * (self.cell_width * self.scale + GAP) + GAP

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of the picture, both even."""
        down, across = self.pitch
        height, width = 2 * MARGIN + self.rows * down, 2 * MARGIN + self.columns * across
        return height + height % 2, width + width % 2

    @property
    def fits(self) -> bool:
        """True if the picture stays within the bounds."""
        height, width = self.size
        return height <= self.bounds[0] and width <= self.bounds[1]

    def place(self, row: int, cell: int) -> tuple[int, int]:
        """Return the top and left of a cell, in pixels."""
        down, across = self.pitch
        column, below = divmod(row, self.rows)
        left = MARGIN + column * across + CAPTION + cell * (self.cell_width * self.scale + GAP)
        return MARGIN + below * down, left


def plan(classes: int, cells: int, cell_height: int, cell_width: int, kind: str) -> Layout:
    """Return the layout of a file of ``kind`` that shows as much as fits.

    Where not all fits, the cells of each class are reduced first, then their enlargement, then the classes.
    """
    scale, bounds = math.ceil(LEAST_CELL / cell_width), BOUNDS[kind]
    for smaller in (scale, 1):
        for fewer in range(cells if smaller == scale else 1, 0, -1):
            layouts = [
                Layout(classes, fewer, columns, smaller, cell_height, cell_width, bounds)
                for columns in range(1, min(classes, MOST_COLUMNS) + 1)
            ]
            fitting = [layout for layout in layouts if layout.fits]
            if fitting:
                return min(fitting, key=_oddness)
    down, across = Layout(1, 1, 1, 1, cell_height, cell_width, bounds).pitch
    rows, columns = (max(1, (most - 2 * MARGIN) // pitch) for most, pitch in zip(bounds, (down, across), strict=True))
    return Layout(rows * columns, 1, columns, 1, cell_height, cell_width, bounds)


def _oddness(layout: Layout) -> float:
    height, width = layout.size
    return abs(math.log(width / height / ASPECT))


def draw(layout: Layout, captions: list[str], rows: list[list[Pixels8]]) -> Iterator[Pixels8]:
    """Yield the grid's frames, uint8 (H, W, 3); ``rows`` holds each class's cells, uint8 (T, H, W, 3)."""
    height, width = layout.size
    image = Image.new("RGB", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(image)
    for row, caption in enumerate(captions[: layout.classes]):
        top, left = layout.place(row, 0)
        middle = top + layout.cell_height * layout.scale // 2
        pen.text((left - 8, middle), fitted(caption, CAPTION - 16), TEXT, font(), anchor="rm")
    background = np.asarray(image)
    for time in range(len(rows[0][0])):
        frame = background.copy()
        for row, cells in enumerate(rows[: layout.classes]):
            for number, cell in enumerate(cells[: layout.cells]):
                _paste(frame, cell[time], layout.place(row, number), layout.scale)
        yield frame


def _paste(frame: Pixels8, cell: Pixels8, place: tuple[int, int], scale: int) -> None:
    large = cell.repeat(scale, axis=0).repeat(scale, axis=1)
    top, left = place
    frame[top : top + large.shape[0], left : left + large.shape[1]] = large


@functools.cache
def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return DejaVu Sans, which comes with matplotlib: Pillow's default font has no letters but those of ASCII."""
    import matplotlib

    return ImageFont.truetype(matplotlib.get_data_path() + "/fonts/ttf/DejaVuSans.ttf", FONT_SIZE)


def fitted(text: str, width: int) -> str:
    """Return ``text`` as one line of at most ``width`` pixels, with an ellipsis if it was cut."""
    line = " ".join(shown(text[:200]).split()) or "(no name)"
    if font().getlength(line) <= width:
        return line
    while line and font().getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"
