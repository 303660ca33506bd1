"""Locks: two processes that both believe to hold a file would mix what they write."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from engine.locks import lock
from tests.tiny import PYTHON, ROOT


def test_one_writes_or_several_read(tmp_path: Path) -> None:
    """And closing the file is enough to let the next one in."""
    path = tmp_path / "lock"
    path.touch()
    with open(path, "a") as writer, open(path, "a") as other, open(path) as reader, open(path) as second:
        lock(writer)
        for late, shared in ((other, False), (reader, True)):
            with pytest.raises(BlockingIOError):
                lock(late, shared)
        writer.close()
        lock(reader, shared=True)
        lock(second, shared=True)
        with pytest.raises(BlockingIOError):
            lock(other)


def test_a_process_that_ends_gives_its_lock_back(tmp_path: Path) -> None:
    """A killed worker would keep its run for ever."""
    code = "import os, sys; from engine.locks import lock; lock(open(sys.argv[1], 'a')); os.kill(os.getpid(), 9)"
    assert subprocess.run([PYTHON, "-c", code, str(tmp_path / "lock")], cwd=ROOT).returncode == -9
    with open(tmp_path / "lock", "a") as file:
        lock(file)
