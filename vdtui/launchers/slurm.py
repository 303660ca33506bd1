"""Workers as jobs of SLURM, through submitit (the extra ``vdtui[slurm]``).

Several runs are one array of jobs. Each job is the worker of a run, or a command of vdtui, on a node that sees the same
disk; ``job.json`` of the run names the job, and all else is told by the run's directory. So nothing that a job leaves
in submitit's folder is ever read here, least of all a pickle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from engine.errors import RunError, UsageError
from engine.files import read_json, write_json
from engine.machine.imports import HOME
from engine.runs.status import ALIVE, SILENT_SECONDS, queued_again
from vdtui.launch import queue, worker_command
from vdtui.launchers import Ended, Work
from vdtui.launchers.job import Job
from vdtui.launchers.queue import JobState, cancel, job_states

if TYPE_CHECKING:
    from engine.runs import RunDirectory

T = TypeVar("T")
NAME = "slurm"
FOLDER = ".slurm"
"""The folder of submitit's files and of commands' output, in that of the runs."""
SAVING_SECONDS = 120
"""Time to save the state before a job's time is over: an evaluation stops between two epochs, a step at its end."""
MOST_TIMEOUTS = 1000
"""Times that a job may reach its time limit, each of which requeues it."""
LOOK_SECONDS, ASK_SECONDS = 1.0, 10.0
"""Between two looks at runs' directories, and between two questions to SLURM."""


@dataclasses.dataclass(frozen=True)
class Resources:
    """The resources that each job asks for; None leaves it to the cluster."""

    partition: str | None = None
    minutes: int = 240
    gpus: int = 0
    cpus: int | None = None
    memory: str | None = None
    parallelism: int = 64
    """Jobs of an array that run at the same time."""
    lines: tuple[str, ...] = ()
    """Further options of sbatch, such as ``account=vision``."""

    def parameters(self, name: str) -> dict[str, Any]:
        """Return the options as submitit's SlurmExecutor takes them, for jobs of this ``name``."""
        chosen: dict[str, Any] = {
            "job_name": name,
            "partition": self.partition,
            "time": self.minutes,
            "nodes": 1,
            "ntasks_per_node": 1,
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus or None,
            "array_parallelism": self.parallelism,
            "signal_delay_s": SAVING_SECONDS,
            # From version 22.05 on a step does not inherit its job's number of cores.
            "srun_args": None if self.cpus is None else [f"--cpus-per-task={self.cpus}"],
        }
        # Python's -m puts the working directory first on the path, as in vdtui.launch.
        more: dict[str, Any] = {"requeue": True, "chdir": str(HOME)}
        more |= {} if self.memory is None else {"mem": self.memory}
        more |= dict(_option(line) for line in self.lines)
        return {key: value for key, value in chosen.items() if value is not None} | {"additional_parameters": more}


def _option(line: str) -> tuple[str, Any]:
    """Return name and value of ``--name=value``, the value True where there is none; raises UsageError."""
    found = re.fullmatch(r"(?:#SBATCH\s+)?(?:--)?([a-z][a-z-]*)(?:[= ]\s*(\S[^\n\r]*))?", line.strip())
    if found is None:
        raise UsageError(f"--sbatch {line!r} is no long option of sbatch.", "Write --sbatch account=NAME, for one.")
    return found[1], True if found[2] is None else found[2]


def minutes_of(text: str) -> int:
    """Return the minutes of a time as SLURM writes it: 90, 90:00, 8:00:00, 1-12, 1-12:30:00; raises UsageError."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if found is not None:
        days, first, second, third = (int(number or 0) for number in found.groups())
        hours_first = found[1] is not None or found[4] is not None
        seconds = 86_400 * days + (3600 * first + 60 * second + third if hours_first else 60 * first + second)
        if seconds > 0:
            return -(-seconds // 60)
    problem = f"--time {text} is no time."
    raise UsageError(problem, "Write minutes, H:MM:SS or D-HH:MM:SS, such as 90, 8:00:00 or 1-12:00:00.")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of vdtui for a job: its ``words``, and the folder of runs that keeps its output.

    With ``--json`` among the words, ``document`` reads what it printed.
    """

    label: str
    words: tuple[str, ...]
    runs: Path

    @property
    def stem(self) -> Path:
        """The path of its files without a suffix; the same words in the same place have the same."""
        digest = hashlib.sha256(json.dumps([self.words, str(Path.cwd())]).encode()).hexdigest()[:12]
        label = re.sub(r"[^\w.+=-]+", "-", self.label)[:60]
        return self.runs.absolute() / FOLDER / f"{label}-{digest}"

    @property
    def ticket(self) -> Path:
        """The file that names its job."""
        return self.stem.with_name(self.stem.name + ".job.json")

    @property
    def log(self) -> Path:
        """Its stderr."""
        return self.stem.with_name(self.stem.name + ".log")

    @property
    def output(self) -> Path:
        """Its stdout."""
        return self.stem.with_name(self.stem.name + ".json")

    def job(self) -> Job:
        """Return what its job runs: the command in the present folder."""
        python = [sys.executable, "-P", "-m", "vdtui.cli.main"]  # -P: no module of the user's folder is ours
        return Job([*python, *self.words], Path.cwd(), self.log, self.output)

    def document(self) -> dict[str, Any]:
        """Return the JSON document that it printed; raises RunError if there is none."""
        found = read_json(self.output)
        if found is None:
            raise RunError(f"{self.label}: its job left no result in {self.output}.", f"See {self.log}.")
        return found


class Slurm:
    """Jobs of SLURM with ``resources`` each; ``processes`` of torchrun share a run inside of its job."""

    def __init__(self, resources: Resources, processes: int = 1) -> None:
        self._resources = resources
        self._processes = processes
        self._jobs: list[str] = []

    def start(self, run: RunDirectory) -> None:
        """Submit the worker of ``run`` and return; raises RunError if it has one, UsageError if SLURM refuses."""
        self._submit([run])

    def run_all(self, works: Sequence[Work]) -> Iterator[Ended]:
        """Submit the workers of those ``works`` that no job has, and yield each when its job has ended for good.

        Jobs live on if this is left early. Of a job that ends without a word of its worker, the run is then *crashed*.
        """
        runs = [work.make() for work in works]
        jobs = _living({run.path: run.job_file for run in runs})
        new = [run for run in runs if run.path not in jobs]
        jobs |= self._submit(new) if new else {}
        self._jobs = list(jobs.values())
        waiting = {run: jobs[run.path] for run in runs}
        for run, job, state in _as_they_end(waiting, _ended_well, _look_after):
            yield _settled(run, job, state)

    def carry_out(self, commands: Sequence[Command]) -> Iterator[tuple[Command, str]]:
        """Submit ``commands`` that no job has, and yield each with "" when it has ended, or with SLURM's reason."""
        jobs = _living({command: command.ticket for command in commands})
        new = [command for command in commands if command not in jobs]
        if new:
            folder = new[0].stem.parent
            folder.mkdir(parents=True, exist_ok=True)
            found = _sbatch(folder, self._resources.parameters("vdtui"), [command.job() for command in new])
            jobs |= dict(zip(new, found, strict=True))
            for command in new:
                write_json(command.ticket, {"launcher": NAME, "job": jobs[command]})
        self._jobs = list(jobs.values())
        for command, job, state in _as_they_end(jobs):
            yield command, "" if state is None or state.state == "COMPLETED" else f"SLURM's job {job}: {state}"

    def interrupted(self) -> str:
        """Return that jobs live on, and the commands that show and cancel them."""
        ids = ",".join(dict.fromkeys(job.partition("_")[0] for job in self._jobs))
        show, end = f"squeue --jobs={ids}", f"scancel {ids.replace(',', ' ')}"
        return f"Left: the jobs go on. Look at them: {show}; cancel them: {end}; the same command comes back to them."

    def _submit(self, runs: Sequence[RunDirectory]) -> dict[Path, str]:
        """Submit the workers of ``runs`` as one array, and return the job of each by the run's path.

        Raises RunError or UsageError with nothing changed.
        """
        for run in runs:
            run.check_free()
        before = [run.status() for run in runs]
        for run in runs:
            queue(run, NAME)  # before a job can begin, or this would overwrite what its worker says
        folder = runs[0].path.absolute().parent / FOLDER
        jobs = [Job(worker_command(run, self._processes), HOME, run.engine_log.absolute()) for run in runs]
        try:
            found = _sbatch(folder, self._resources.parameters(f"vdtui-{runs[0].path.absolute().parent.name}"), jobs)
        except BaseException:
            for run, status in zip(runs, before, strict=True):
                status.save(run.status_file)
            raise
        for run, job in zip(runs, found, strict=True):
            write_json(run.job_file, {"launcher": NAME, "job": job})
        return {run.path: job for run, job in zip(runs, found, strict=True)}


def job_of(ticket: Path) -> str | None:
    """Return the job that the file ``ticket`` names, or None."""
    job = (read_json(ticket) or {}).get("job")
    return job if isinstance(job, str) and re.fullmatch(r"\d+(_\d+)?", job) else None


def _living(tickets: Mapping[T, Path]) -> dict[T, str]:
    """Return the jobs that ``tickets`` name, by the same keys, but for those that have ended."""
    known = {key: job for key, ticket in tickets.items() if (job := job_of(ticket)) is not None}
    states = job_states(known.values())
    return {key: job for key, job in known.items() if not states[job].ended}


def living_job(run: RunDirectory) -> str | None:
    """Return SLURM's job that waits or works for ``run``, or None; where SLURM cannot be asked, the status tells."""
    job = job_of(run.job_file)
    if job is None:
        return None
    if shutil.which("squeue") is None:
        return job if run.status().pid == 0 and run.status().scheduler else None
    return None if job_states([job])[job].ended else job


def withdraw(run: RunDirectory) -> str | None:
    """Cancel the job in which ``run`` waits for its turn; return it, or None if it does not wait in one."""
    job = living_job(run)
    if job is None or not job_states([job])[job].waits:
        return None
    cancel(job)
    dataclasses.replace(run.status(), state="stopped", scheduler="").save(run.status_file)
    return job


def _sbatch(folder: Path, parameters: dict[str, Any], jobs: Sequence[Job]) -> list[str]:
    """Submit ``jobs`` and return their ids; raises UsageError where submitit or SLURM is missing, or it refuses."""
    try:
        import submitit
    except ImportError as error:
        problem = "--launcher slurm needs submitit, which is not installed."
        raise UsageError(problem, "Install it into this environment: pip install 'vdtui[slurm]'") from error
    for program in ("sbatch", "srun"):
        if shutil.which(program) is None:
            problem = f"SLURM's {program} is not on this machine's PATH."
            raise UsageError(problem, "Run this on a login node of the cluster, or take --launcher local.")
    executor = submitit.SlurmExecutor(folder, max_num_timeout=MOST_TIMEOUTS)
    executor.update_parameters(**parameters)
    try:
        return [job.job_id for job in executor.submit_array(jobs)]
    except submitit.core.utils.FailedJobError as error:
        said = [line.strip() for line in str(error).splitlines() if "sbatch: error:" in line]
        words = " ".join(said) or " ".join(str(error).split())
        raise UsageError(f"SLURM refuses the jobs: {words}", "Mend --partition, --time or another option.") from error


def _as_they_end(
    jobs: dict[Any, str],
    done: Callable[[Any], bool] = lambda _: False,
    look: Callable[[Any, JobState], bool] = lambda _, state: state.ended,
) -> Iterator[tuple[Any, str, JobState | None]]:
    """Yield each key of ``jobs`` with its job and SLURM's state when it is ``done``, or ``look`` at its state says so.

    The state is None where the key was done before SLURM was asked.
    """
    left, asked = dict(jobs), time.monotonic()
    while left:
        time.sleep(LOOK_SECONDS)
        for key in [key for key in left if done(key)]:
            yield key, left.pop(key), None
        if left and time.monotonic() - asked >= ASK_SECONDS:
            states = job_states(left.values())
            asked = time.monotonic()
            for key in [key for key, job in left.items() if look(key, states[job])]:
                job = left.pop(key)
                yield key, job, states[job]


def _ended_well(run: RunDirectory) -> bool:
    return run.state() == "completed"


def _look_after(run: RunDirectory, state: JobState) -> bool:
    """Return whether ``run`` is over, now that its job is in ``state``; a run whose job was requeued is queued again.

    After its job has ended, a run is given the time in which a shared disk may lag.
    """
    status, said = run.status(), run.state()
    if state.waits and said != "completed" and status.pid != 0:
        queued_again(run.status_file, NAME).save(run.status_file)
    if not state.ended:
        return False
    never_began = said == "queued" and state.state != "COMPLETED"
    return said not in ALIVE or never_began or time.time() - status.heartbeat > SILENT_SECONDS


def _settled(run: RunDirectory, job: str, state: JobState | None) -> Ended:
    """Return how ``run`` ended; what SLURM says stands in its log, and a run without a worker has crashed."""
    if state is None or run.state() == "completed":
        return Ended(run, "")
    reason = f"SLURM's job {job}: {state}"
    if run.state() in ALIVE or run.status().state in ALIVE:
        with open(run.engine_log, "a", encoding="utf-8") as log:
            log.write(f"{reason}\n")
        dataclasses.replace(run.status(), state="crashed", scheduler="").save(run.status_file)
    return Ended(run, reason)
