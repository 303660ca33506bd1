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


PREEMPTED = "JobId=7 JobState=RUNNING Reason=None PreemptTime=2026-11-30T02:05:44"
CANCELLED, RUNNING = PREEMPTED.replace("RUNNING", "CANCELLED"), PREEMPTED.replace("2026-11-30T02:05:44", "None")


@pytest.mark.parametrize("said", [PREEMPTED, CANCELLED, RUNNING, "slurm_load_jobs error"])
def test_a_preempted_job_that_ends_in_its_time_of_grace_is_requeued(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM takes it for done, and the run would stand still; a cancelled one would come back if it were requeued."""
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\ncase "$*" in *show*) echo "{said}";; *) echo "$*" > {tmp_path}/asked;; esac\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    job = Job(["/bin/sh", "-c", "exit 0"], tmp_path, tmp_path / "log")
    if said == PREEMPTED:
        with pytest.raises(SystemExit):
            job()
        assert (tmp_path / "asked").read_text() == "requeue 7\n"
    else:
        job()
        assert not (tmp_path / "asked").exists()
