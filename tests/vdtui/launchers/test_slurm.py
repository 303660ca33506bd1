"""Runs as jobs of SLURM, without one: jobs are local ones of submitit, or names alone. tests/cluster has a real one."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.errors import RunError, UsageError
from engine.runs import RunDirectory, Status, create_run
from vdtui.launch import resume
from vdtui.launchers import Work, slurm
from vdtui.launchers.queue import JobState
from vdtui.launchers.slurm import Command, Resources, Slurm, living_job, minutes_of, withdraw

PENDING, RUNNING, COMPLETED = JobState("PENDING", "Resources"), JobState("RUNNING"), JobState("COMPLETED")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


class Cluster:
    """A cluster that runs nothing: it counts what is submitted, and its jobs are in the states that a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.submitted: list[list[str]] = []
        self.states: dict[str, JobState] = {}
        self.cancelled: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None
        """What happens whenever SLURM is asked."""
        for name, stand_in in (("_sbatch", self._sbatch), ("job_states", self._states), ("cancel", self._cancel)):
            monkeypatch.setattr(slurm, name, stand_in)
        monkeypatch.setattr(slurm.shutil, "which", lambda program: f"/bin/{program}")
        monkeypatch.setattr(slurm, "LOOK_SECONDS", 0.01)
        monkeypatch.setattr(slurm, "ASK_SECONDS", 0.0)

    def _sbatch(self, folder: Path, parameters: dict[str, Any], jobs: Sequence[Any]) -> list[str]:
        ids = [f"{len(self.submitted) + 1}_{number}" for number in range(len(jobs))]
        self.submitted.append(ids)
        self.states |= dict.fromkeys(ids, PENDING)
        return ids

    def _states(self, jobs: Any) -> dict[str, JobState]:
        self.meanwhile()
        return {job: self.states[job] for job in jobs}

    def _cancel(self, job: str) -> None:
        self.cancelled.append(job)


def make(folder: Path, name: str) -> RunDirectory:
    return create_run(folder, name, name, 'title = "t"\n', {"seed": 3})


def says(run: RunDirectory, state: str, **more: Any) -> None:
    """Let the worker of ``run`` say that it is in ``state``."""
    Status(state=state, pid=1, host="elsewhere", heartbeat=time.time(), **more).save(run.status_file)


def test_a_rerun_submits_what_is_neither_done_nor_underway(tmp_path: Path, cluster: Cluster) -> None:
    """Two workers of one run would be in each other's way, and hours of a cluster would be paid twice."""
    runs = [make(tmp_path, name) for name in ("a", "b", "c")]
    works = [Work(run.name, lambda run=run: run) for run in runs]
    launcher = Slurm(Resources())
    old = Status(state="queued", pid=0, heartbeat=time.time() - 1e6, scheduler="slurm")

    def left() -> None:
        says(runs[0], "running")
        says(runs[2], "stopped", step=7)
        cluster.states |= {"1_0": RUNNING, "1_2": JobState("CANCELLED")}
        raise KeyboardInterrupt

    cluster.meanwhile = lambda: None if not cluster.submitted else left()
    with pytest.raises(KeyboardInterrupt):
        list(launcher.run_all(works))
    assert "squeue --jobs=1;" in launcher.interrupted() and "scancel 1;" in launcher.interrupted()
    assert json.loads(runs[1].job_file.read_text()) == {"launcher": "slurm", "job": "1_1"}
    old.save(runs[1].status_file)
    assert runs[1].state() == "queued"  # however long ago that was

    def end() -> None:
        if len(cluster.submitted) == 2:
            for run in runs:
                says(run, "completed")

    cluster.meanwhile = end
    ended = list(Slurm(Resources()).run_all(works))
    assert cluster.submitted == [["1_0", "1_1", "1_2"], ["2_0"]]
    assert {one.run.name for one in ended} == {"a", "b", "c"} and not any(one.reason for one in ended)


def test_what_becomes_of_runs_whose_jobs_end_or_wait_again(tmp_path: Path, cluster: Cluster) -> None:
    """A requeued run would be called stopped, and a job that was killed would leave a run that waits for ever."""
    requeued, killed, never = (make(tmp_path, name) for name in ("requeued", "killed", "never"))
    seen: list[str] = []
    turns = iter(range(100))

    def happen() -> None:
        if not cluster.submitted:
            return
        turn = next(turns)
        if turn == 0:
            says(requeued, "stopped", step=7, best=0.5)  # by the SIGTERM of its preemption
            says(killed, "stopped")
            cluster.states |= {"1_1": JobState("CANCELLED"), "1_2": JobState("FAILED", "NonZeroExitCode")}
        elif turn == 1:
            status = requeued.status()
            seen.append(f"{status.state} {status.scheduler} {status.step} {status.best}")
            says(requeued, "completed")
            cluster.states["1_0"] = COMPLETED

    cluster.meanwhile = happen
    works = [Work(run.name, lambda run=run: run) for run in (requeued, killed, never)]
    reasons = {ended.run.name: ended.reason for ended in Slurm(Resources()).run_all(works)}
    assert seen == ["queued slurm 7 0.5"]
    assert reasons == {
        "requeued": "",
        "killed": "SLURM's job 1_1: CANCELLED",
        "never": "SLURM's job 1_2: FAILED (NonZeroExitCode)",
    }
    assert killed.state() == "stopped" and never.state() == "crashed"
    assert never.engine_log.read_text() == "SLURM's job 1_2: FAILED (NonZeroExitCode)\n"


def test_a_run_in_the_queue_can_be_withdrawn_but_not_started_twice(tmp_path: Path, cluster: Cluster) -> None:
    """`vdtui stop` would wait for days for a worker to obey, and `vdtui resume` would start a second one."""
    run = make(tmp_path, "a")
    Slurm(Resources()).start(run)
    assert living_job(run) == "1_0"
    with pytest.raises(RunError, match="job 1_0") as refused:
        resume(run, lambda _: pytest.fail("a second worker"))
    assert "scancel 1_0" in refused.value.hint
    assert withdraw(run) == "1_0" and cluster.cancelled == ["1_0"] and run.state() == "stopped"
    cluster.states["1_0"] = JobState("CANCELLED")
    started: list[RunDirectory] = []
    resume(run, started.append)
    assert started == [run]


def test_a_refusal_leaves_runs_as_they_were(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would stand in the queue for ever, although nobody has them."""
    run = make(tmp_path, "a")
    says(run, "stopped", step=3)

    def refuse(*_: Any) -> list[str]:
        raise UsageError("SLURM refuses the jobs: invalid partition", "")

    monkeypatch.setattr(slurm, "_sbatch", refuse)
    with pytest.raises(UsageError):
        Slurm(Resources()).start(run)
    assert run.state() == "stopped" and run.status().step == 3 and not run.job_file.exists()


def test_jobs_of_submitit_carry_out_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one thing that the cluster of the other tests leaves out: a worker as submitit starts it."""
    submitit = pytest.importorskip("submitit")
    jobs: dict[str, Any] = {}

    class Executor(submitit.LocalExecutor):  # type: ignore[misc, name-defined]
        def update_parameters(self, **parameters: Any) -> None:
            assert parameters["additional_parameters"]["requeue"] and parameters["time"] == 240

        def submit_array(self, fns: Any) -> Any:
            found = super().submit_array(fns)
            jobs.update({job.job_id: job for job in found})
            return found

    def state(job: Any) -> JobState:
        return RUNNING if not job.done() else COMPLETED if job.exception() is None else JobState("FAILED")

    monkeypatch.setattr(submitit, "SlurmExecutor", Executor)
    monkeypatch.setattr(slurm, "job_states", lambda wanted: {job: state(jobs[job]) for job in wanted})
    monkeypatch.setattr(slurm.shutil, "which", lambda program: f"/bin/{program}")
    monkeypatch.setattr(slurm, "ASK_SECONDS", 0.0)
    end = "import json, sys; json.dump({'state': 'completed'}, open(sys.argv[1] + '/status.json', 'w'))"
    code = {"good": end, "bad": "import sys; print('ImportError: libcudart'); sys.exit(1)"}
    command = lambda run, processes: [sys.executable, "-c", code[run.name], str(run.path)]  # noqa: E731
    monkeypatch.setattr(slurm, "worker_command", command)
    runs = [make(tmp_path, name) for name in code]
    ended = list(Slurm(Resources()).run_all([Work(run.name, lambda run=run: run) for run in runs]))
    assert {(one.run.name, one.run.state(), bool(one.reason)) for one in ended} == {
        ("good", "completed", False),
        ("bad", "crashed", True),
    }
    assert "ImportError: libcudart\nSLURM's job" in runs[1].engine_log.read_text()


@pytest.mark.parametrize("lacking", ["submitit", "sbatch"])
def test_what_is_missing_is_told_in_two_lines(lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback from the depths of a library that nobody has heard of."""
    if lacking == "submitit":
        monkeypatch.setitem(sys.modules, "submitit", None)
    else:
        pytest.importorskip("submitit")
        monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=lacking) as refused:
        Slurm(Resources()).start(make(tmp_path, "a"))
    assert {"submitit": "vdtui[slurm]", "sbatch": "login node"}[lacking] in refused.value.hint


def test_resources_become_options_of_sbatch() -> None:
    """A job without its partition, or killed after five minutes, submitit's own default."""
    resources = Resources("gpu", 90, 2, 8, "32G", 4, ("--account=vision", "exclusive", "#SBATCH --qos=low prio"))
    parameters = resources.parameters("vdtui-g")
    more = parameters.pop("additional_parameters")
    assert more.pop("chdir") and more == {
        "requeue": True, "mem": "32G", "account": "vision", "exclusive": True, "qos": "low prio"
    }  # fmt: skip
    assert parameters == {
        "job_name": "vdtui-g", "partition": "gpu", "time": 90, "nodes": 1, "ntasks_per_node": 1, "cpus_per_task": 8,
        "gpus_per_node": 2, "array_parallelism": 4, "signal_delay_s": 120, "srun_args": ["--cpus-per-task=8"],
    }  # fmt: skip
    for line in ("-A vision", "a=b\nrm -r", "=x"):
        with pytest.raises(UsageError, match="no long option"):
            dataclasses.replace(resources, lines=(line,)).parameters("x")


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("90:30", 91), ("8:00:00", 480), ("1-12", 2160), ("1-12:30", 2190), ("0-0:0:1", 1)],
)
def test_times_are_read_as_slurm_writes_them(text: str, minutes: int) -> None:
    """8:00 are eight minutes to SLURM; a job of a day would end after one hour."""
    assert minutes_of(text) == minutes
    with pytest.raises(UsageError, match="no time"):
        minutes_of(text + "h")


def test_commands_become_jobs_and_their_documents_are_read(tmp_path: Path, cluster: Cluster) -> None:
    """`vdtui evaluate` of many runs would have to be typed into a script for each."""
    commands = [Command(f"evaluate {name}", ("evaluate", name, "--json"), tmp_path) for name in ("a/1", "b")]

    def end() -> None:
        if cluster.submitted:
            commands[0].output.write_text('{"results": [1]}')
            cluster.states |= {"1_0": COMPLETED, "1_1": JobState("OUT_OF_MEMORY")}

    cluster.meanwhile = end
    ended = dict(Slurm(Resources()).carry_out(commands))
    assert ended == {commands[0]: "", commands[1]: "SLURM's job 1_1: OUT_OF_MEMORY"}
    assert commands[0].document() == {"results": [1]} and commands[0].output.parent == tmp_path / ".slurm"
    with pytest.raises(RunError, match="left no result"):
        commands[1].document()


def test_options_of_jobs_need_a_launcher_for_jobs() -> None:
    """Who forgets --launcher slurm would fill the login node with work."""
    from vdtui.cli.study import app

    words = ["grid", "--vary", "run.seed=0,1", "--partition", "gpu"]
    assert isinstance((answer := CliRunner().invoke(app, words)).exception, UsageError)
    assert "--launcher slurm" in answer.exception.hint
    answer = CliRunner().invoke(app, [*words, "--launcher", "pbs"])
    assert isinstance(answer.exception, UsageError) and "local, slurm" in answer.exception.hint


def test_submitit_writes_the_script_that_slurm_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --requeue an array ends with its first preemption, and without a warning with the state unsaved."""
    pytest.importorskip("submitit")
    for name, script in (("sbatch", f"cat $1 > {tmp_path}/script; echo Submitted batch job 17"), ("srun", "exit 0")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    runs = [make(tmp_path / "g", name) for name in ("a", "b", "c")]
    launcher = Slurm(Resources("gpu", 90, cpus=8, parallelism=2, lines=("account=vision",)))
    assert [*launcher._submit(runs).values()] == ["17_0", "17_1", "17_2"]
    lines = (tmp_path / "script").read_text().splitlines()
    options = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    wanted = {"array=0-2%2", "requeue", "signal=USR2@120", "partition=gpu", "time=90", "account=vision"}
    assert wanted | {"job-name=vdtui-g", "cpus-per-task=8"} <= options
    assert any("srun" in line and "--cpus-per-task=8" in line for line in lines)
    assert all(run.state() == "queued" and run.status().scheduler == "slurm" for run in runs)

    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2; exit 1\n")
    with pytest.raises(UsageError, match=r"SLURM refuses the jobs: .*invalid partition specified: gpu"):
        launcher.start(make(tmp_path / "g", "d"))
