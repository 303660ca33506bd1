"""Starting the engine for a run, detached: it lives on when the terminal, the dashboard or the connection goes."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Callable

from engine.errors import RunError, VdtuiError
from engine.files import storage_errors
from engine.machine.environment import WORKER_ENVIRONMENT
from engine.machine.imports import HOME, own_environment
from engine.machine.torchrun import without_torchrun
from engine.runs import RunDirectory
from engine.runs.status import queued_again


def launch(run: RunDirectory, processes: int = 1) -> subprocess.Popen[bytes]:
    """Start a worker on ``run`` in a session of its own, its output in ``engine.log``; returns at once.

    Several ``processes`` share its work, one per GPU where there are GPUs. Raises RunError, with nothing changed, if a
    worker has the run: the status of one on another host may be too old to tell.
    """
    queue(run)
    with storage_errors(run.engine_log), open(run.engine_log, "ab") as log:
        process = subprocess.Popen(
            worker_command(run, processes),
            cwd=HOME,  # -m looks there first; in the user's folder another engine may lie
            env=worker_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    threading.Thread(target=_wait_for, args=(process, run), name="worker", daemon=True).start()
    return process


def queue(run: RunDirectory, scheduler: str = "") -> None:
    """Let ``run`` wait for a worker, in the queue of ``scheduler`` if there is one; older requests are void.

    Raises RunError, with nothing changed, if a worker has the run.
    """
    run.check_free()
    if run.control().want != "run":
        run.request("run")
    queued_again(run.status_file, scheduler).save(run.status_file)


def worker_command(run: RunDirectory, processes: int) -> list[str]:
    """Return the command of a worker on ``run``; several ``processes`` are started by torchrun."""
    several = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"] if processes > 1 else []
    return [sys.executable, "-m", *several, "engine.worker", str(run.path.resolve())]


def worker_environment() -> dict[str, str]:
    """Return the variables of a worker: those of this process, without torchrun's, and with the way to this engine."""
    return {**WORKER_ENVIRONMENT, **without_torchrun(own_environment())}


def resume(run: RunDirectory, start: Callable[[RunDirectory], object] | None = None) -> None:
    """Let ``run`` go on, whatever interrupted it; ``start``, or else ``launch``, gives it a worker where it has none.

    Raises RunError if it is completed, or alive and not paused.
    """
    from vdtui.launchers.slurm import living_job

    state = run.state()
    if state == "completed":
        raise RunError(f"The run {run.name} is completed; nothing is left to do.", f"See `vdtui show {run.name}`.")
    if state != "paused" and (job := living_job(run)) is not None:
        problem = f"The run {run.name} is SLURM's job {job}, and goes on by itself."
        raise RunError(problem, f"Look at it: squeue --jobs={job}; or cancel it first: scancel {job}")
    if state in ("running", "stopping") or (state == "queued" and not run.status().scheduler):
        raise RunError(f"The run {run.name} is {state} already.", f"Follow it: vdtui monitor {run.name}")
    if state == "paused":
        run.request("run")
    else:
        run.preset_values()  # a run without its preset cannot go on: say so here, not in a log
        (launch if start is None else start)(run)


def _wait_for(process: subprocess.Popen[bytes], run: RunDirectory) -> None:
    """Wait for the end of ``process``; a run that still waits for its worker then has crashed, and not in two minutes.

    A worker that has begun says itself what becomes of the run.
    """
    process.wait()
    try:
        run.lock().check_free()
        status = run.status()
        if status.state == "queued":
            dataclasses.replace(status, state="crashed").save(run.status_file)
    except (VdtuiError, OSError):
        return  # another worker came first, or the folder is gone


def last_words(run: RunDirectory, most: int = 8) -> list[str]:
    """The last lines of the worker's output, at most ``most``; none if there are none."""
    try:
        with open(run.engine_log, "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
            text = log.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-most:]
