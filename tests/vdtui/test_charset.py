"""Terminals without UTF-8: what a user loses here is the picture, in which every line is an escape or rubbish."""

from __future__ import annotations

import locale
from typing import Any, cast

import pytest
from rich.cells import cell_len
from textual.drivers.linux_driver import LinuxDriver

from vdtui.charset import takes_utf8
from vdtui.tui.plain_driver import PlainDriver, in_ascii


class Stream:
    def __init__(self, encoding: str, terminal: bool = True) -> None:
        self.encoding, self._terminal = encoding, terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("encoding", "charset", "terminal", "variable", "expected"),
    [
        ("utf-8", "UTF-8", True, "", True),
        ("iso8859-1", "ISO-8859-1", True, "", False),
        ("utf-8", "ANSI_X3.4-1968", True, "", False),  # LC_ALL=C
        ("utf-8", "ANSI_X3.4-1968", False, "", True),  # a file takes what Python writes
        ("utf-8", "ANSI_X3.4-1968", True, "PYTHONUTF8", True),
        ("ascii", "UTF-8", True, "PYTHONIOENCODING", False),
    ],
)
def test_the_locale_says_what_a_terminal_takes(
    monkeypatch: pytest.MonkeyPatch, encoding: str, charset: str, terminal: bool, variable: str, expected: bool
) -> None:
    """Under LC_ALL=C Python says UTF-8 of itself."""
    for name in ("PYTHONUTF8", "PYTHONIOENCODING"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(locale, "getencoding", lambda: charset)
    assert takes_utf8(cast(Any, Stream(encoding, terminal))) is expected


def test_every_cell_has_its_character_of_ascii() -> None:
    """One character less, and the frame to the right of it is broken."""
    text = "╭─ Verlust · köln ─╮│⣿⠁▁█▀│ 50 ± 3 %…\x1b[0m 日本 e\u0301 →"
    found = in_ascii(text)
    assert found.isascii() and len(found) == cell_len(text.replace("\x1b[0m", "")) + len("\x1b[0m")
    assert found.startswith("+- Verlust . koln -+|#.") and "\x1b[0m ???? e" in found
    assert in_ascii("plain \x1b[31m") == "plain \x1b[31m"


def test_the_driver_writes_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is drawn goes through one place."""
    written: list[str] = []
    monkeypatch.setattr(LinuxDriver, "write", lambda self, data: written.append(data))
    PlainDriver.write(cast(Any, object.__new__(PlainDriver)), "│")
    assert written == ["|"]
