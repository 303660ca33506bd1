"""What runs inside of a job: what is lost here is the work since the last checkpoint, at each preemption."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.vdtui.test_cli import wait_until
from vdtui.launchers.job import Job


def test_a_warned_job_ends_its_command_in_good_order_and_is_begun_again(tmp_path: Path) -> None:
    """submitit's handler comes in the midst of waiting: a job that hung there would be killed with nothing saved."""
    pytest.importorskip("submitit")
    script = "trap 'echo saved; exit 0' TERM; kill -USR2 $$; echo begun; while :; do sleep 0.05; done"
    job = Job(["/bin/sh", "-c", script], tmp_path, tmp_path / "log")
    again: list[Any] = []

    def warned(number: int, frame: object) -> None:
        again.append(job.checkpoint())
        sys.exit(9)

    def warn() -> None:
        wait_until(lambda: "begun" in (tmp_path / "log").read_text(), 30)
        os.kill(os.getpid(), signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, warned)
    thread = threading.Thread(target=lambda: (wait_until((tmp_path / "log").exists, 30), warn()))
    try:
        thread.start()
        with pytest.raises(SystemExit):
            job()
    finally:
        thread.join()
        signal.signal(signal.SIGUSR2, before)
    # The command outlived the warning, which it sent to itself too, and was asked to end.
    assert (tmp_path / "log").read_text().split() == ["begun", "saved"]
    anew = pickle.loads(pickle.dumps(again[0].function))
    assert isinstance(anew, Job) and anew._parts == job._parts


def test_a_command_that_fails_fails_its_job(tmp_path: Path) -> None:
    """SLURM would call the job completed, and nobody would look into the log."""
    job = Job(["/bin/sh", "-c", "echo '{}'; echo why >&2; exit 3"], tmp_path, tmp_path / "log", tmp_path / "out")
    with pytest.raises(subprocess.CalledProcessError) as raised:
        job()
    assert raised.value.returncode == 3
    assert (tmp_path / "log").read_text() == "why\n" and (tmp_path / "out").read_text() == "{}\n"
