"""Starting workers: what a user loses here is a run that seems to wait, or the word of a worker that lives."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

import vdtui.launch
from engine.errors import RunError
from engine.runs import RunDirectory, Status, create_run
from tests.engine.runs.test_removal import begun, content
from tests.vdtui.test_cli import VDTUI, environment, refused, wait_until
from vdtui.cli.follow import follow, watch
from vdtui.launch import launch


def pretend(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Let ``script`` stand for Python: what is started is this, with the worker's arguments."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(vdtui.launch.sys, "executable", str(python))


def make(folder: Path) -> RunDirectory:
    return create_run(folder, "r", "r", 'title = "t"\n', {"seed": 3})


def test_a_worker_that_dies_at_once_is_noticed_and_its_last_words_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that does not load kept the command silent for two minutes."""
    run = make(tmp_path)
    pretend(monkeypatch, tmp_path, "echo first; echo 'ImportError: libcudart\033[2J' >&2; exit 3")
    launch(run)
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        assert watch(run) == 1
    lines = told.getvalue().splitlines()
    assert run.status().state == "crashed" and lines[0].endswith("engine.log ends with:") and "  first" in lines
    assert any("ImportError: libcudart" in line for line in lines) and "\033" not in told.getvalue()
    assert lines[-2].startswith("error: The run r crashed") and lines[-1].startswith("hint: ")


def test_a_worker_that_took_the_run_says_itself_what_becomes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is done would be called crashed."""
    run = make(tmp_path)
    pretend(monkeypatch, tmp_path, f'echo \'{{"state": "stopped"}}\' > {run.status_file}')
    process = launch(run)
    assert process.wait(20) == 0
    assert follow(run) == 130 and run.state() == "stopped"


def test_a_cluster_s_variables_do_not_reach_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With them it waited for others that nobody started."""
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "TORCHELASTIC_RUN_ID", "PET_NNODES"):
        monkeypatch.setenv(name, "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    pretend(monkeypatch, tmp_path, "env")
    run = make(tmp_path)
    for processes in (1, 2):
        launch(run, processes).wait(20)
        words = {line.partition("=")[0] for line in run.engine_log.read_text().splitlines()}
        assert not {"WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "TORCHELASTIC_RUN_ID", "PET_NNODES"} & words
        assert "OMP_NUM_THREADS" in words


def test_a_run_with_a_live_worker_elsewhere_is_not_started_again(tmp_path: Path) -> None:
    """The worker of another host, whose heartbeat the shared disk shows late: its status was overwritten."""
    run = begun(tmp_path / "runs")
    Status(state="running", pid=7, host="elsewhere", heartbeat=1.0, stage="dynamic", step=5).save(run.status_file)
    lock = run.lock()
    lock.acquire()
    before = content(run.path)
    with pytest.raises(RunError, match="being worked on"):
        launch(run)
    command = [*VDTUI, "resume", "r", "--detach"]
    refused(subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True), "running")
    assert content(run.path) == before and run.status().step == 5
    lock.release()


def test_a_probe_does_not_keep_a_worker_out(tmp_path: Path) -> None:
    """A look at the lock at the moment when the worker takes it would end a run before it began."""
    run = begun(tmp_path)
    code = (
        f"from engine.runs import RunDirectory; from pathlib import Path\nlock = RunDirectory(Path({str(run.path)!r}))"
    )
    code += ".lock()\nwhile True:\n    lock.check_free()"
    probe = subprocess.Popen([sys.executable, "-c", code], env=environment(), stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            lock = run.lock()
            lock.acquire()
            lock.release()
    finally:
        probe.kill()
        probe.wait()
    wait_until(lambda: run.lock().check_free() is None)
