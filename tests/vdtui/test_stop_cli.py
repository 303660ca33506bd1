"""`vdtui stop`: what a user loses here is a shell that waits for ever for a worker that cannot answer."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.runs import create_run, status
from engine.runs.session import RunSession
from tests.tiny import wait_until
from vdtui.cli.control import stop


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "QUIET_SECONDS", 0.5)


def test_a_worker_that_says_nothing_ends_the_wait(tmp_path: Path) -> None:
    """It was suspended, or its clock is ahead: the command waited without a word."""
    run = create_run(tmp_path, "r", "r", "", {})
    fields = {"state": "running", "pid": 7, "host": "elsewhere", "heartbeat": time.time() + 300}
    status.Status(**fields).save(run.status_file)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="pid 7 on elsewhere"):
        stop("r", tmp_path)
    assert run.control().want == "stop"  # it stops should it ever go on


def test_a_folder_that_goes_ends_it_too(tmp_path: Path) -> None:
    """There is nothing left to wait for."""
    run = create_run(tmp_path, "r", "r", "", {})
    session = RunSession(run)
    with pytest.raises(RunError), session:
        told: list[BaseException] = []
        thread = threading.Thread(target=lambda: told.append(failure(tmp_path)))
        thread.start()
        wait_until(lambda: run.control().want == "stop")
        run.path.rename(tmp_path / "elsewhere")
        thread.join(20)
        assert "moved or deleted" in str(told[0])


def failure(folder: Path) -> BaseException:
    try:
        stop("r", folder)
    except BaseException as error:
        return error
    return AssertionError("it ended")
