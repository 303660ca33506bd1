"""A grid by a real SLURM, whose jobs are cancelled and requeued. Only with VDTUI_TEST_SLURM=1; it takes minutes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.runs import RunDirectory
from tests.cluster.one_node import missing, slurm
from tests.tiny_run import make_clips, quick_options

WANTED = os.environ.get("VDTUI_TEST_SLURM") == "1"
pytestmark = [
    pytest.mark.skipif(not WANTED, reason="VDTUI_TEST_SLURM=1 asks for it"),
    pytest.mark.skipif(WANTED and bool(missing()), reason=missing()),
    pytest.mark.timeout(3600),
]
STUDY = [
    *(sys.executable, "-m", "vdtui.cli.main", "study", "grid", *quick_options(), "--set", "static.steps=0"),
    *("--set", "dynamic.steps=60", "--set", "dynamic.eval_every=60", "--set", "dynamic.checkpoint_every=20"),
    *(
        "--set",
        "evaluation.epochs=1",
        "--set",
        "evaluation.repeats=1",
        "--vary",
        "run.seed=0,1",
        "--vary",
        "dynamic.lr_dynamic=5.0,10.0",
    ),
]
SUBMIT = ["--launcher", "slurm", "--partition", "main", "--cpus", "1", "--time", "30"]


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """The variables of processes that use the SLURM of this module; sockets want a short path."""
    pytest.importorskip("submitit")
    with tempfile.TemporaryDirectory(prefix="slurm", dir="/tmp") as folder, slurm(Path(folder)) as variables:
        root = str(Path(__file__).parents[2])
        yield os.environ | variables | {"PYTHONPATH": root}


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 900
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.5)


def held(run: RunDirectory) -> bool:
    """Return whether ``run`` waits in the midst of stage 2; asked to do so as soon as it is there."""
    if not run.job_file.exists():
        return False
    if run.control().want == "run" and run.status().stage == "dynamic" and run.status().step > 0:
        run.request("pause")
    return run.state() == "paused"


def test_a_grid_survives_what_a_cluster_does_to_it(tmp_path: Path, environment: dict[str, str]) -> None:
    """Left by ctrl+C, a job cancelled, another requeued: the same command ends with the sets of a quiet machine."""
    clips = make_clips(tmp_path)
    study = [*STUDY, "--data", str(clips), "--runs-dir"]
    folder = tmp_path / "there" / "studies" / "grid"
    names = [f"seed-{seed}_lr_dynamic-{rate}" for seed in (0, 1) for rate in ("5.0", "10.0")]
    cancelled, requeued = (RunDirectory(folder / name) for name in names[:2])

    def ask(*command: str) -> str:
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    with open(tmp_path / "first.log", "w") as log:
        first = subprocess.Popen([*study, str(tmp_path / "there"), *SUBMIT], env=environment, stderr=log, stdout=log)
    until(lambda: all([held(cancelled), held(requeued)]), "two cells at work")
    assert {RunDirectory(folder / name).state() for name in names[2:]} == {"queued"}
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 130
    assert "scancel" in (tmp_path / "first.log").read_text()
    ask("scancel", cancelled.job_file.read_text().split('"')[-2])
    ask("scontrol", "requeue", requeued.job_file.read_text().split('"')[-2])
    until(lambda: cancelled.state() == "stopped", "the state of a cancelled job")
    until(lambda: "COMPLETING" not in ask("squeue", "--noheader", "--format=%T"), "the end of the job")
    jobs = {name: (folder / name / "job.json").read_text() for name in names}
    again = subprocess.run([*study, str(tmp_path / "there"), *SUBMIT], env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert [name for name in names if (folder / name / "job.json").read_text() != jobs[name]] == [cancelled.name]

    subprocess.run([*study, str(tmp_path / "here"), "--name", "grid"], env=environment, check=True, capture_output=True)
    for name in names:
        there, here = (RunDirectory(tmp_path / place / "studies/grid" / name) for place in ("there", "here"))
        assert there.best.read_bytes() == here.best.read_bytes(), name
    assert (requeued.events_file.read_text().count("run_started"), requeued.state()) == (2, "completed")
