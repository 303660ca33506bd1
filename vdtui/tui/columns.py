"""The columns of the table of runs: which there are, how wide they are, and which are shown where there is room.

``VDTUI_COLUMNS`` names those that a user wants (``state,left,test``), the key ``C`` chooses them while one looks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

VARIABLE = "VDTUI_COLUMNS"
WIDTHS = {
    "state": 11,
    "preset": 16,
    "stage": 8,
    "progress": 11,
    "left": 7,
    "best": 7,
    "test": 7,
    "course": 10,
    "stored": 8,
    "worked": 7,
    "age": 6,
}
"""Cells of each column, in their order."""
MEANINGS = {
    "state": "what it does",
    "preset": "title of its preset",
    "stage": "where it is",
    "progress": "of the whole run, by time",
    "left": "time left of the whole run",
    "best": "accuracy on validation of the chosen step",
    "test": "top-1 of its set on the test split",
    "course": "the way to the best",
    "stored": "bytes of its set",
    "worked": "time worked so far",
    "age": "since it was made",
}
NARROW = {"progress": 5}
"""Widths where there is little room."""
SPACIOUS = {"preset": 24, "progress": 18, "course": 24}
"""Widths where there is a lot."""
WIDE, VERY_WIDE = 110, 150
LEAST_NAME = 12
SETS = {
    "": ("state", "progress", "left", "best", "test", "age"),
    "wide": ("state", "preset", "progress", "left", "best", "test", "stored", "age"),
    "very wide": ("state", "preset", "stage", "progress", "left", "best", "test", "course", "stored", "age"),
}
"""The columns that are shown while nobody has chosen any, by the width of the table."""


def columns(width: int, chosen: Sequence[str] = ()) -> list[tuple[str, int]]:
    """Names and widths of the columns after the mark and the name, in a table of ``width`` cells.

    Those that nobody has chosen go by the width; of those that somebody has, the last ones go where all do not fit.
    """
    room = "very wide" if width >= VERY_WIDE else "wide" if width >= WIDE else ""
    names = [name for name in WIDTHS if name in (chosen or SETS[room])]
    widths = WIDTHS | (NARROW if not room else SPACIOUS if room == "very wide" and not chosen else {})
    while names and used(names, widths) + LEAST_NAME > width:
        names.pop()
    return [(name, widths[name]) for name in names]


def used(names: Sequence[str], widths: dict[str, int]) -> int:
    """Count the cells of these columns, and of the mark, with what is between."""
    return sum(widths[name] + 2 for name in names) + 7


def from_environment() -> tuple[str, ...]:
    """Return the columns that ``VDTUI_COLUMNS`` names; none where it names none that there are."""
    wished = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    return tuple(name for name in WIDTHS if name in wished)
