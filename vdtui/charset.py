"""The charset of the terminal, by its user's locale: without UTF-8, each line and dot of a screen would be rubbish."""

from __future__ import annotations

import locale
import os
from typing import TextIO


def takes_utf8(stream: TextIO) -> bool:
    """Return whether what is written to ``stream`` may be UTF-8.

    In the locale C, Python writes UTF-8. That is right where no locale is set, and not where LC_ALL says C itself. A
    user who sets PYTHONUTF8 or PYTHONIOENCODING decides.
    """
    if not _is_utf8(stream.encoding):
        return False
    told = "PYTHONUTF8" in os.environ or "PYTHONIOENCODING" in os.environ
    return told or not stream.isatty() or _is_utf8(locale.getencoding())


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("-", "").replace("_", "") == "utf8"
