"""Reading small text files that somebody else may have put there.

Presets and the small files of a run are read whole. If that were a plain read, a named pipe would hang the reader for
ever, and a device or a file of gigabytes would take its memory.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

MOST = 1 << 22
"""Bytes of a preset or of a small file of a run; the largest that are written have a hundredth."""

MOST_NESTED = 64
"""Tables and lists in each other, of TOML or JSON; what is written has a tenth."""


class UnfitFileError(ValueError):
    """A path that is no file to read whole; ``reason`` says what it is, as the end of a sentence about it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_text(path: Path, most: int = MOST) -> str:
    """The text (UTF-8, with or without a byte order mark) of the regular file ``path`` of at most ``most`` bytes.

    Never waits. Raises OSError, UnicodeDecodeError, ValueError for a path with a null character, and UnfitFileError for
    what is no regular file or too long.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise UnfitFileError("is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise UnfitFileError("is no regular file")
    if found.st_size > most:
        raise UnfitFileError(f"is longer than {most / 1e6:.0f} MB")
    return path.read_text(encoding="utf-8-sig")


def too_deep(document: Any, most: int = MOST_NESTED) -> bool:
    """Whether more than ``most`` dicts and lists lie in each other, where code that walks them would fail."""
    level = [document]
    for _ in range(most + 1):
        level = [inner for outer in level if isinstance(outer, (dict, list)) for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(outer: dict[Any, Any] | list[Any]) -> list[Any]:
    values = outer.values() if isinstance(outer, dict) else outer
    return [value for value in values if isinstance(value, (dict, list))]
