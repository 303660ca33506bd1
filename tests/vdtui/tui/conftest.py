"""Made-up run directories, written with the engine's own classes, at times that never change."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from engine.events import (
    BestChanged,
    CheckpointSaved,
    Evaluated,
    Event,
    Note,
    PreviewSaved,
    Progress,
    ResultReady,
    RunCompleted,
    RunStarted,
    StageFinished,
    StageStarted,
    Step,
)
from engine.runs import EventLog, RunDirectory, Status, create_run
from engine.runs.status import current_process

NOW = 1_750_000_000.0
PRESET = """title = "Demo: moving shapes"
[synthetic]
kind = "static-dynamic"
[run]
seed = 3
device = "cpu"
"""
HOSTILE = "[red]Evil[/red] \x1b[2J\x1b]0;owned\x07[@click=app.quit]x[/]"
CLASSES = ("Bowling", HOSTILE, "YoYo")


class FakeRun:
    """A run directory and a hand to write in it as a worker would."""

    def __init__(self, folder: Path, name: str, created: float = NOW - 600) -> None:
        self.run: RunDirectory = create_run(folder, name, name, PRESET, {"seed": 3})
        self.log = EventLog(self.run.events_file)
        self.time = created
        self._alive = current_process("running")
        os.utime(self.run.preset_file, (created, created))

    def say(self, *events: Event, seconds: float = 1.0) -> None:
        """Append ``events``, ``seconds`` after the one before."""
        for event in events:
            self.time += seconds
            with patch("engine.runs.log.time.time", return_value=self.time):
                self.log.append(event)

    def status(
        self, state: str, stage: str = "", step: int = 0, total: int = 0, pid: int | None = None, **more: Any
    ) -> None:
        """Write status.json as this living process, or as ``pid``; ``more`` are fields beside."""
        status = dataclasses.replace(self._alive, state=state, stage=stage, step=step, total=total, **more)
        (status if pid is None else dataclasses.replace(status, pid=pid, pid_started="")).save(self.run.status_file)

    def half_way(self) -> FakeRun:
        """Prepared, stage 1 done, stage 2 at step 60 of 100 with three evaluations."""
        self.say(RunStarted(self.run.name, 3, "cpu", ("prepare", "static", "dynamic", "evaluate"), False))
        self.say(StageStarted("prepare", 0, 9), Progress("prepare", 9, 9, 3.0, "videos"), StageFinished("prepare", 3.0))
        self.say(StageStarted("static", 0, 50))
        self.say(*(step("static", number, 50) for number in range(1, 51)))
        self.say(StageFinished("static", 50.0), StageStarted("dynamic", 0, 100))
        for number in range(1, 61):
            self.say(step("dynamic", number, 100))
            if number % 20 == 0:
                mean = 0.3 + number / 400
                self.say(
                    Evaluated("synthetic", number, "val", mean, 0.04, (mean - 0.04, mean, mean + 0.04), 2.0),
                    BestChanged(number, mean),
                )
                self.say(CheckpointSaved("dynamic", number))
        self.status("running", "dynamic", 60, 100)
        return self

    def complete(self) -> FakeRun:
        """The rest: results and the end."""
        self.half_way()
        self.say(StageFinished("dynamic", 99.0), StageStarted("evaluate", 0, 4), StageFinished("evaluate", 9.0))
        for what, mean, count in (("static-dynamic", 0.47, 245760), ("random", 0.33, 245760), ("full", 0.8, 98000000)):
            top1 = {"mean": mean, "std": 0.012, "values": [mean - 0.012, mean, mean + 0.012]}
            self.say(ResultReady({"what": what, "bytes": count, "stored_values": count // 4, "top1": top1}))
        self.say(RunCompleted(204.0))
        self.status("completed", "evaluate", 4, 4)
        return self

    def previews(self, *steps: int, frames: int = 4) -> FakeRun:
        """Previews of three classes; the second has a hostile name."""
        self.run.previews.mkdir()
        rng = np.random.default_rng(7)
        for number in steps:
            clips = rng.integers(0, 255, (3, 2, frames, 16, 16, 3), np.uint8)
            static = rng.integers(0, 255, (3, 2, 16, 16, 3), np.uint8)
            dynamic = rng.integers(0, 255, (3, 1, frames, 16, 16), np.uint8)
            file = f"dynamic-{number}.npz"
            arrays = {"classes": np.array(CLASSES), "clips": clips, "static": static, "dynamic": dynamic}
            np.savez(self.run.previews / file, **arrays)
            self.say(PreviewSaved("dynamic", number, file))
        return self

    def note(self, text: str) -> None:
        """A line in the log."""
        self.say(Note("info", text))


def step(stage: str, number: int, total: int) -> Step:
    """An optimiser step with a falling loss."""
    loss = 50 * math.exp(-5 * number / total) * (1.3 if number % 3 else 0.7)
    figures = {f"grad_{stage}": 0.0123, "min_dynamic": -1.2, "max_dynamic": 3.4}
    return Step(stage, number, total, loss, 2.5, figures)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runs folder with a name that is the same in every test, in a place where local time is UTC."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    Path("runs").mkdir()
    yield Path("runs")
    monkeypatch.undo()
    time.tzset()


async def until(condition: Callable[[], object], what: str, seconds: float = 8.0) -> None:
    """Wait until ``condition`` holds; fails saying ``what`` did not happen."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"did not happen: {what}"
        await asyncio.sleep(0.02)


@pytest.fixture
def fake(folder: Path) -> Callable[..., FakeRun]:
    """Makes a fake run in the folder."""
    return lambda name="demo", **kwargs: FakeRun(folder, name, **kwargs)


@pytest.fixture
def wait() -> Callable[..., object]:
    """``until``, for tests that cannot import this module."""
    return until


@pytest.fixture
def crashed() -> Status:
    """A status whose process is gone."""
    return dataclasses.replace(current_process("running"), pid=2**22 + 1, pid_started="")
