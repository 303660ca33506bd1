"""Output that nobody reads: what a user loses here is the work behind it, for a `| head -1` or a `>&-` in a script."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from engine.data.store import ClipStore
from engine.runs import EventLog, RunDirectory, create_run
from engine.runs.status import current_process
from tests.tiny import ROOT
from tests.tiny_run import make_clips, quick_options

CALL = "import sys; sys.argv[0] = 'vdtui'; from vdtui.cli.main import main"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clips.h5 and the videos that it was made of."""
    return make_clips(tmp_path_factory.mktemp("home")).parent


@pytest.fixture
def unread() -> Iterator[int]:
    """The writing end of a pipe whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def vdtui(folder: Path, output: int, *words: str, code: str = CALL) -> int:
    """The exit code of a command whose stdout and stderr are ``output``."""
    command = [sys.executable, "-c", f"{code}; main()", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "VDTUI_RUNS": "runs"}
    return subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=200
    ).returncode


def test_prepare_is_not_stopped_by_its_own_progress(home: Path, tmp_path: Path, unread: int) -> None:
    """`vdtui prepare ... 2>&1 | head -1` said that it was at work, left half a file, and called that a success."""
    talkative = f"{CALL}; p = sys.modules['vdtui.cli.prepare']; p.PLAIN_SECONDS = 0; p.ANNOUNCED_VIDEOS = 0"
    words = ["prepare", "folders", "--source", str(home / "videos"), "--frames", "8", "--size", "64", "--workers", "0"]
    assert vdtui(home, unread, *words, "--output", str(tmp_path / "c.h5"), code=talkative) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["c.h5"]
    with ClipStore.open(tmp_path / "c.h5") as store:
        assert len(store.split("train")) == 6


def test_distill_returns_when_all_is_there(home: Path, unread: int) -> None:
    """`vdtui distill --plain | head -1; cp runs/r/report.html .` in a script."""
    assert vdtui(home, unread, "distill", "--data", "clips.h5", *quick_options(), "--run", "r", "--plain") == 0
    run = RunDirectory(home / "runs" / "r")
    assert run.state() == "completed" and run.report.is_file() and run.best.is_file()


def test_who_only_watches_leaves_with_the_reader(tmp_path: Path, unread: int) -> None:
    """`vdtui monitor RUN --plain 2>&1 | head -3` would keep the shell for as long as the run takes."""
    run = create_run(tmp_path / "runs", "r", "r", "", {})
    EventLog(run.events_file).close()
    with run.events_file.open("a") as log:
        log.write('{"event":"note","time":1.0,"level":"info","text":"hello"}\n')
    current_process("running").save(run.status_file)
    assert vdtui(tmp_path, unread, "monitor", "r", "--plain") == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_traceback(tmp_path: Path, closed: str) -> None:
    """As under some daemons: `vdtui runs >&-` ended in an AttributeError."""
    script = f'"{sys.executable}" -m vdtui runs {closed}'
    answer = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert answer.returncode == 0 and "Traceback" not in answer.stderr + answer.stdout


def test_what_is_said_into_a_closed_stream_is_not_written_to_a_file(home: Path, tmp_path: Path) -> None:
    """The next file that is opened would get the number of the closed stream, and the text."""
    script = f'"{sys.executable}" -m vdtui data "$0" --png "$1" <&- >&- 2>&-'
    command = ["sh", "-c", script, str(home / "clips.h5"), str(tmp_path / "a.png")]
    assert subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode == 0
    with Image.open(tmp_path / "a.png") as picture:
        picture.verify()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_a_full_disk_is_said_once(tmp_path: Path) -> None:
    """A table whose end is missing came with a traceback, or with none and an exit code of nobody's."""
    for words in (["--version"], ["presets"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-c", f"{CALL}; main()", *words],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        lines = done.stderr.splitlines()
        assert done.returncode == 1 and len(lines) == 2, done.stderr
        assert lines[0] == "error: The output cannot be written: No space left on device."
