"""Starting the engine for a run, detached: it lives on when the terminal, the dashboard or the connection goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from engine import version
from engine.runs import RunDirectory
from engine.runs.files import storage_errors
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

    Several ``processes`` share its work, one per GPU where there are GPUs.
    """
    if run.control().want != "run":
        run.request("run")
    queued_again(run.status_file).save(run.status_file)
    # Python's -m puts the working directory first on the path; from the user's, a folder named engine would win.
    home = Path(str(version.__file__)).parent.parent
    several = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"] if processes > 1 else []
    command = [sys.executable, "-m", *several, "engine.worker", str(run.path.resolve())]
    environment = {**WORKER_ENVIRONMENT, **os.environ}
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
