"""Numbers, times and states as the dashboard says them, and text from elsewhere, defused.

Class names, paths and log lines come from other people's data. They reach a terminal only through ``plain``: an
escape sequence in a folder name must not be able to clear the screen or set its title, and square brackets are
brackets, not markup.
"""

from __future__ import annotations

import itertools
import math
import re
import time
import unicodedata
from collections.abc import Sequence

GLYPHS = {
    "queued": "◌",
    "running": "●",
    "silent": "○",
    "pausing": "◐",
    "paused": "‖",
    "continuing": "◐",
    "stopping": "◐",
    "completed": "✔",
    "stopped": "■",
    "failed": "✖",
    "crashed": "▲",
    "damaged": "?",
    "removed": "?",
}
"""A shape for each state: colour is never the only sign."""

COLOURS = {
    "queued": "secondary",
    "running": "success",
    "silent": "warning",
    "pausing": "warning",
    "paused": "warning",
    "continuing": "success",
    "stopping": "warning",
    "completed": "primary",
    "stopped": "warning",
    "failed": "error",
    "crashed": "error",
    "damaged": "error",
    "removed": "error",
}
"""The theme's colour of each state."""

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, erase
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC: titles, links, device strings
    r"|\x1b[ -/]*[0-~]?"  # what is left of two-character sequences
)


def plain(text: object, most: int = 1000) -> str:
    """``text`` as one line without escape sequences, control, direction or half surrogate characters.

    At most ``most`` characters; a cut shows as an ellipsis.
    """
    line = _ESCAPES.sub("", str(text)[: 4 * most])
    line = re.sub(r"\s+", " ", line).strip()
    line = "".join(_visible(character) for character in line)
    return line if len(line) <= most else line[: most - 1] + "…"


def _visible(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else ""
    category = unicodedata.category(character)
    if category == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    return "" if category in ("Cc", "Cf", "Cn") else character


def literal(line: str, most: int = 1000) -> str:
    """``line`` as :func:`plain` has it, but with its blanks, where they are a table's."""
    indent = len(line) - len(line.lstrip(" "))
    words = re.split(r"( {2,})", line.strip(" "))
    return " " * indent + "".join(word if word.isspace() else plain(word, most) for word in words)


def short(text: str, width: int) -> str:
    """``text`` in at most ``width`` characters."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def duration(seconds: float | None) -> str:
    """Seconds as a reader would say them: ``41 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 4 h``."""
    if seconds is None or not math.isfinite(seconds):
        return "—"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def brief(seconds: float | None) -> str:
    """Seconds in at most seven cells: ``41 s``, ``12 min``, ``2 h 05``, ``3 d``."""
    if seconds is None or not math.isfinite(seconds):
        return "—"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d}" if whole < 86400 else f"{min(whole // 86400, 9999)} d"


def time_left(seconds: float, at_least: bool, since: float) -> str:
    """The seconds that are left, told ``since`` seconds ago: ``2 min 10 s left``, ``at least 3 h 05 min left``."""
    if at_least and seconds <= 0:
        return "time left unknown yet"
    text = duration(max(0.0, seconds - max(0.0, since)))
    return f"at least {text} left" if at_least else f"{text} left"


def age(seconds: float) -> str:
    """Say how long ago, in its largest unit only: ``now``, ``5 min``, ``3 h``, ``12 d``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return "now"


def size(count: float | None) -> str:
    """A number of bytes in decimal units: ``812 B``, ``24.3 kB``, ``1.2 MB``."""
    if count is None or not math.isfinite(count):
        return "—"
    if count < 1000:
        return f"{count:.0f} B"
    power = 1 if count < 999.5e3 else 2 if count < 999.5e6 else 3
    count, unit = count / 1000**power, ("kB", "MB", "GB")[power - 1]
    return f"{count:.1f} {unit}" if count < 99.95 else f"{count:.0f} {unit}"


def number(value: float) -> str:
    """A figure in four digits at most: ``0.0123``, ``2.1e-05``, ``48.2``, ``not finite``."""
    return f"{value:.3g}" if math.isfinite(value) else "not finite"


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction in [0, 1] in percent."""
    return "—" if fraction is None or not math.isfinite(fraction) else f"{100 * fraction:.{digits}f} %"


def plus_minus(mean: float | None, std: float | None) -> str:
    """An accuracy with its spread, in percent: ``52.3 ± 1.2 %``."""
    if mean is None or not math.isfinite(mean):
        return "—"
    if std is None or not math.isfinite(std):
        return percent(mean)
    return f"{100 * mean:.1f} ± {100 * std:.1f} %"


def bar(fraction: float, width: int) -> tuple[str, str]:
    """A progress bar of ``width`` cells in its done and its open part."""
    done = round(min(1.0, max(0.0, fraction)) * width)
    return "━" * done, "─" * (width - done)


SPARKS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float], width: int) -> str:
    """A line of ``values`` in their order in at most ``width`` cells, each from the least to the greatest.

    Where there are more values than cells, a cell is the mean of those that fall into it.
    """
    if not values or width <= 0:
        return ""
    cells = min(width, len(values))
    edges = [cell * len(values) // cells for cell in range(cells + 1)]
    means = [sum(values[first:last]) / (last - first) for first, last in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    if high - low < 1e-9:
        return SPARKS[3] * cells
    return "".join(SPARKS[min(7, int(8 * (mean - low) / (high - low)))] for mean in means)


def clock(seconds: float) -> str:
    """Unix seconds as local time of day; dashes if no clock can show them."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "--:--:--"
