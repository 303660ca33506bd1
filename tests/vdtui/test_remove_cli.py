"""`vdtui remove` as typed: it asks before anything is gone, and one wrong name keeps everything."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.engine.runs.test_removal import begun, content
from tests.vdtui.test_cli import VDTUI, environment, refused, typed


def test_without_a_terminal_nothing_goes_unless_it_is_meant(tmp_path: Path) -> None:
    """A script with a wrong variable would delete in silence; one that means it says --yes."""
    first, second = begun(tmp_path / "runs", "first"), begun(tmp_path / "runs", "second")
    refused(typed(tmp_path, "remove", "first"), "--yes")
    assert first.path.is_dir()
    done = typed(tmp_path, "remove", "first", "second", "--yes")
    assert done.returncode == 0 and done.stderr == "Removed runs/first.\nRemoved runs/second.\n", done.stderr
    assert not first.path.exists() and not second.path.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "runs", "work", "gone", "no/such", "\x1b]0;x\x07"])
def test_one_wrong_name_keeps_all(tmp_path: Path, name: str) -> None:
    """`vdtui remove $RUN old --yes` with RUN unset, in a folder with a preset and a status of its own."""
    run = begun(tmp_path / "runs", "old")
    (tmp_path / "work").mkdir()
    for folder in (tmp_path, tmp_path / "work"):
        for file in ("preset.toml", "status.json", "precious.txt"):
            (folder / file).write_text("mine")
    before = content(tmp_path)
    refused(typed(tmp_path, "remove", "old", name, "--yes"))
    assert content(tmp_path) == before and run.path.is_dir()


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 130), ("\n", 130), ("\x04", 130)])
def test_at_a_terminal_it_says_what_goes_and_asks(tmp_path: Path, answer: str, code: int) -> None:
    """Enter at once is the harmless answer."""
    run, other = begun(tmp_path / "runs", "old"), begun(tmp_path / "elsewhere", "kept")
    (tmp_path / "runs" / "linked").symlink_to(other.path)
    ours, theirs = pty.openpty()
    command = [*VDTUI, "remove", "old", "linked"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, text=True
    )
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 4096)
    os.write(ours, answer.encode())
    assert process.wait(60) == code and process.stdout is not None and process.stdout.read() == ""
    os.close(ours)
    assert b"runs/old: completed, " in said and b" B\r\n" in said and b"which stays" in said
    assert run.path.exists() == (code != 0) and (tmp_path / "runs" / "linked").is_symlink() == (code != 0)
    assert other.path.is_dir()
