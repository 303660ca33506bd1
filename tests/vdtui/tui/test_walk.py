"""The walk of a person who has nothing but a folder of videos: to a report, in a real terminal, keys counted."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vdtui.tui.test_terminal import VDTUI, Terminal, needs_tmux, terminal
from tests.videos import write_dataset

__all__ = ["terminal"]
MOST_KEYS = 25
PATIENCE = 240.0
QUICK = """extends = "default"
title = "quick"
[dataset]
frames = 8
size = 64
interval = 1
[synthetic]
kind = "pixels"
[dynamic]
steps = 2
eval_every = 2
[evaluation]
epochs = 1
repeats = 2
selection_repeats = 1
baselines = ["random"]
[run]
device = "cpu"
"""


class Walker:
    """Presses keys and counts them."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.keys = 0

    def press(self, *keys: str) -> None:
        self.keys += len(keys)
        self.terminal.press(*keys)

    def type(self, text: str) -> None:
        self.keys += len(text)
        self.terminal.type(text)

    def seen(self, *words: str) -> str:
        """Wait as long as a busy machine takes."""
        end = time.monotonic() + PATIENCE
        while not all(word in (screen := self.terminal.screen()) for word in words):
            assert time.monotonic() < end, f"did not come: {words}\n{screen}"
            time.sleep(0.1)
        return screen


@needs_tmux
@pytest.mark.timeout(900)
def test_from_videos_to_a_report(folder: Path, terminal: Callable[..., Terminal]) -> None:
    """A user would have to leave the dashboard for a command, or search for the key of the next step."""
    write_dataset(Path("walks"), ("a", "b"), each=6, length=9)
    Path("q.toml").write_text(QUICK)
    shutil.rmtree(folder)
    it = terminal()
    it.resize(80, 24)
    it.command(VDTUI)
    walker = Walker(it)
    walker.seen("No runs here yet", "n New")
    walker.press("n")
    walker.seen("─ any data")
    walker.type("q.toml")
    walker.seen("file q.toml")
    walker.press("Enter")
    walker.seen("make one of walks", "ctrl o Videos")
    walker.press("C-o")
    walker.seen("2 classes, 12 videos")
    walker.press("C-s")
    walker.seen("✔ walks.h5", "Take it as the data")
    walker.press("C-s")
    walker.seen("walks, 2", "Start the run")
    walker.press("C-s")
    walker.seen("q", "seed 0")
    walker.seen("✔ completed", "all stages done", "w Report")
    report = folder / "q" / "report.html"
    report.unlink()
    walker.press("w")
    end = time.monotonic() + PATIENCE
    while not report.is_file():
        assert time.monotonic() < end, "the report was not written"
        time.sleep(0.1)
    walker.press("Escape")
    walker.seen("1 run", "✔ completed")
    walker.press("q")
    it.left()
    assert walker.keys <= MOST_KEYS
