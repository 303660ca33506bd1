"""The dashboard on a terminal that takes no UTF-8: every character by one of ASCII that is as wide.

Frames, curves and pictures are drawn with characters that such a terminal does not have. Widgets need not know: what
they drew is put into other words on its way out.
"""

from __future__ import annotations

import unicodedata

from rich.cells import cell_len
from textual.drivers.linux_driver import LinuxDriver

_NAMED = {
    **dict.fromkeys("─━┄┅┈┉╌╍═⎯–—‒−", "-"),
    **dict.fromkeys("│┃┆┇┊┋╎╏║▏▎▍▌▐", "|"),
    **dict.fromkeys("·•∙●○◦◆◇■□", "."),
    **dict.fromkeys("▲△↑", "^"),
    **dict.fromkeys("▼▽↓", "v"),
    **dict.fromkeys("▶▸→›»❯", ">"),
    **dict.fromkeys("◀◂←‹«❮", "<"),
    **dict.fromkeys("✓✔", "+"),
    **dict.fromkeys("✗✘×", "x"),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("‘’‚", "'"),
    "±": "~",
    "…": ".",
    "░": ".",
    "▒": ":",
    "▓": "#",
    "▀": "#",
    "▄": "#",
    "▔": "-",
    "\xa0": " ",
    "µ": "u",
    "Δ": "d",
}
_BARS = "_..::-=#"
"""For the eight heights of a bar."""
_DOTS = " .':+*%##"
"""For the number of dots of a braille character, by which curves are drawn."""


class PlainDriver(LinuxDriver):
    """The driver of a terminal of ASCII."""

    def write(self, data: str) -> None:
        """Write ``data``, escape sequences and all, in ASCII."""
        super().write(in_ascii(data))


def in_ascii(text: str) -> str:
    """Return ``text`` with an ASCII character for each cell of what is not ASCII."""
    return text if text.isascii() else "".join(map(_in_ascii, text))


def _in_ascii(character: str) -> str:
    code = ord(character)
    if code < 128:
        return character
    if character in _NAMED:
        return _NAMED[character]
    if 0x2500 <= code < 0x2580:  # corners and crossings of frames
        return "+"
    if 0x2581 <= code <= 0x2588:
        return _BARS[code - 0x2581]
    if 0x2800 <= code < 0x2900:
        return _DOTS[(code - 0x2800).bit_count()]
    letter = unicodedata.normalize("NFKD", character)[0]
    width = cell_len(character)
    return letter if letter.isascii() and width == 1 else "?" * width
