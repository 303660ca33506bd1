"""Names and texts that come from outside, made fit to be shown: on one line, without what a terminal would obey."""

from __future__ import annotations

import os
from pathlib import Path


def readable(name: str | Path) -> str:
    """``name`` as valid UTF-8: bytes of a file name that are not become U+FFFD, since HDF5 and JSON refuse them."""
    return os.fsencode(name).decode("utf-8", "replace")


def human_bytes(number: float) -> str:
    """Return ``number`` bytes in decimal units."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.2f} GB"


def counted(number: int, one: str, many: str = "") -> str:
    """Return `1 video`, `2 videos`; ``many`` is the plural where it is not ``one`` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def one_line(text: str | Path) -> str:
    """``text`` for a message: no line breaks, no escape sequences that a terminal would obey."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in readable(text)
    )
