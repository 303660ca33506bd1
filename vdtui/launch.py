"""Starting the engine for a run, detached: it lives on when the terminal, the dashboard or the connection goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import engine
from engine.runs import RunDirectory
from engine.runs.files import storage_errors
from engine.runs.status import Status


def launch(run: RunDirectory) -> subprocess.Popen[bytes]:
    """Start a worker on ``run`` in a session of its own, its output in ``engine.log``; returns at once."""
    if run.control().want != "run":
        run.request("run")
    Status(state="queued", heartbeat=time.time()).save(run.status_file)
    # Python's -m puts the working directory first on the path; from the user's, a folder named engine would win.
    home = Path(str(engine.__file__)).parent.parent
    command = [sys.executable, "-m", "engine.worker", str(run.path.resolve())]
    # Threads that wait by spinning take the cores from whatever runs beside: another run, or the dashboard.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    with storage_errors(run.engine_log), open(run.engine_log, "ab") as log:
        return subprocess.Popen(
            command,
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
