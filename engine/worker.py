"""`python -m engine.worker RUN_DIR`: one run in one process.

Started detached by the command line or the dashboard, or by hand; it lives on when they end. SIGTERM and SIGINT ask
it to stop at the next step boundary with its state saved. Exit codes: 0 done or stopped as asked, 1 the run failed,
2 the run could not begin.

`torchrun --nproc-per-node N -m engine.worker RUN_DIR` works on one run with N processes
(``engine.machine.process_group``). Without torchrun a worker is alone, whatever a cluster's WORLD_SIZE says.
"""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path

from engine.distilling.process import carry_out
from engine.errors import VdtuiError
from engine.machine.torchrun import leads
from engine.runs import RunDirectory


def main() -> int:
    """Work on the run that the command line names; return the exit code."""
    if len(sys.argv) != 2:
        print("usage: python -m engine.worker RUN_DIR", file=sys.stderr)  # noqa: T201
        return 2
    run = RunDirectory(Path(sys.argv[1]).resolve())
    try:
        carry_out(run, signals=True)
    except VdtuiError as error:
        if not leads() and _ended(run):
            return 0  # the leader stopped in an evaluation, and took the connection with it
        print(f"error: {error.problem}\nhint: {error.hint}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _ended(run: RunDirectory) -> bool:
    """Return whether the leader has ended the run in good order, now or within seconds."""
    for _ in range(50):
        if run.state() in ("completed", "stopped"):
            return True
        time.sleep(0.2)
    return False


if __name__ == "__main__":
    sys.exit(main())
