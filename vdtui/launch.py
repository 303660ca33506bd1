"""Starting the engine for a run, detached: it lives on when the terminal, the dashboard or the connection goes."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading

from engine.errors import RunError, VdtuiError
from engine.files import storage_errors
from engine.machine.imports import HOME, own_environment
from engine.machine.torchrun import without_torchrun
from engine.runs import RunDirectory
from engine.runs.status import queued_again

WORKER_ENVIRONMENT = {
    # Threads that wait by spinning take the cores from whatever runs beside: another run, or the dashboard.
    "OMP_WAIT_POLICY": "PASSIVE",
    # glibc gives large blocks back at once, and the next step pays for fresh pages; a worker keeps them instead.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
}
"""Set for workers unless the user has set them otherwise. None of them changes a result."""


def launch(run: RunDirectory, processes: int = 1) -> subprocess.Popen[bytes]:
    """Start a worker on ``run`` in a session of its own, its output in ``engine.log``; returns at once.

    Several ``processes`` share its work, one per GPU where there are GPUs. Raises RunError, with nothing changed, if a
    worker has the run: the status of one on another host may be too old to tell.
    """
    run.lock().check_free()
    if run.control().want != "run":
        run.request("run")
    queued_again(run.status_file).save(run.status_file)
    several = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"] if processes > 1 else []
    command = [sys.executable, "-m", *several, "engine.worker", str(run.path.resolve())]
    environment = {**WORKER_ENVIRONMENT, **without_torchrun(own_environment())}
    with storage_errors(run.engine_log), open(run.engine_log, "ab") as log:
        process = subprocess.Popen(
            command,
            cwd=HOME,  # -m looks there first; in the user's folder another engine may lie
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    threading.Thread(target=_wait_for, args=(process, run), name="worker", daemon=True).start()
    return process


def resume(run: RunDirectory, processes: int = 1) -> None:
    """Let ``run`` go on, whatever interrupted it. Raises RunError if it is completed, or alive and not paused."""
    state = run.state()
    if state == "completed":
        raise RunError(f"The run {run.name} is completed; nothing is left to do.", f"See `vdtui show {run.name}`.")
    if state in ("queued", "running", "stopping"):
        raise RunError(f"The run {run.name} is {state} already.", f"Follow it: vdtui monitor {run.name}")
    if state == "paused":
        run.request("run")
    else:
        run.preset_values()  # a run without its preset cannot go on: say so here, not in a log
        launch(run, processes)


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
