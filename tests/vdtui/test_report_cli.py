"""`vdtui report` with as little as one can type, and tables that fit a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vdtui.test_cli import vdtui
from tests.vdtui.test_damaged_runs import make
from vdtui.cli.options import fitting_columns


def test_a_run_alone_is_enough(tmp_path: Path) -> None:
    """Who just wants the report would be asked for a format and a file."""
    make(tmp_path, "demo")
    done = vdtui(tmp_path, "report", "demo")
    page = tmp_path / "demo-report.html"
    assert done.returncode == 0 and page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html")
    assert str(page) in done.stdout  # the whole path: it can be opened from anywhere
    again = vdtui(tmp_path, "report", "demo")
    assert again.returncode == 2 and "--overwrite" in again.stderr


@pytest.mark.parametrize(("name", "begins"), [("a.md", "|"), ("a.json", "{"), ("a.csv", "")])
def test_the_end_of_the_file_tells_the_format(tmp_path: Path, name: str, begins: str) -> None:
    """A page of HTML would be written into a file that says JSON."""
    make(tmp_path, "demo")
    assert vdtui(tmp_path, "report", "demo", "--output", name).returncode == 0
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert "<html" not in text and begins in text
    wrong = vdtui(tmp_path, "report", "demo", "--output", "a.pdf")
    assert wrong.returncode == 2 and ".html" in wrong.stderr and not (tmp_path / "a.pdf").exists()


def test_columns_are_left_out_before_names_are_broken() -> None:
    """A name in two lines cannot be copied into the next command."""
    columns, rows = ["name", "ipc", "what it is"], [["x" * 30, "1", "y" * 60], ["short", "10", ""]]
    assert fitting_columns(columns, rows, ("what it is", "ipc"), 120) == [0, 1, 2]
    assert fitting_columns(columns, rows, ("what it is", "ipc"), 80) == [0, 1]
    assert fitting_columns(columns, rows, ("what it is", "ipc"), 35) == [0]
    assert fitting_columns(columns, rows, (), 10) == [0, 1, 2]
