"""Progress on stderr: one line that is rewritten on a terminal, few lines in a file."""

from __future__ import annotations

import sys

import pytest

from vdtui.cli.progress import FIRST_SECONDS, LONGEST_SECONDS, ProgressLine


class Clock:
    """A clock that a test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_file_gets_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """The log of a run of a day would have 43,000 lines of progress, and its warnings lie among them."""
    clock = Clock()
    line = ProgressLine(clock)
    for second in range(86_400):
        clock.now = float(second)
        line.tell(f"step {second}", "dynamic")
    told = capsys.readouterr().err.splitlines()
    # pauses 2, 4, ... 256 s, then 300 s: 8 lines up to 510 s, and (86399 - 510) / 300 = 286 more after the first
    assert (FIRST_SECONDS, LONGEST_SECONDS) == (2, 300) and told[:4] == ["step 0", "step 2", "step 6", "step 14"]
    assert len(told) == 1 + 8 + 286
    line.tell("network 1", "evaluate")
    assert capsys.readouterr().err == "network 1\n"  # another part is told at once


def test_the_same_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """`evaluate` would end with six lines that say that one of one network is trained."""
    clock = Clock()
    line = ProgressLine(clock)
    for second in range(0, 600, 5):
        clock.now = float(second)
        line.tell("1 of 1 networks: demo, 100 %")
    assert capsys.readouterr().err == "1 of 1 networks: demo, 100 %\n"


def test_a_terminal_has_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps would scroll everything else away."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "xterm")
    clock = Clock()
    line = ProgressLine(clock)
    for second in range(3):
        clock.now = float(second)
        line.tell(f"step {second} of something long")
    line.line("a warning")
    line.tell("step 3")
    clock.now = 9.0
    line.tell("step 3")
    line.close()
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "\r\x1b[Kstep 2 of something\r\x1b[Ka warning\n" in told
    assert told.endswith("\r\x1b[Kstep 3\r\x1b[K")
