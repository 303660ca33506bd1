"""`python -m engine.worker RUN_DIR`: one run in one process.

Started detached by the command line or the dashboard, or by hand; it lives on when they end. SIGTERM and SIGINT ask
it to stop at the next step boundary with its state saved. Exit codes: 0 done or stopped as asked, 1 the run failed,
2 the run could not begin.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from engine.errors import VdtuiError
from engine.events import Event
from engine.runs import RunDirectory
from engine.runs.session import RunSession


def work(run: RunDirectory, *listeners: Callable[[Event], None], signals: bool = False) -> str:
    """Run ``run`` from where it is to its end, and return the state it ended in (``completed`` or ``stopped``).

    Raises VdtuiError after it is recorded in the run. With ``signals``, SIGTERM and SIGINT stop it.
    """
    session = RunSession(run, *listeners)
    with session:
        if signals:
            _stop_on_signals(session)
        from engine.config import read_preset

        preset = read_preset(run.preset_file)
        from engine.distill import distill  # torch comes with it: seconds, in which the run is already seen to live

        distill(session, preset)
    return session.state


def _stop_on_signals(session: RunSession) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        session.stop(f"received {signal.Signals(number).name}")

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal is no reason to stop


def main() -> int:
    """The process's entry point."""
    if len(sys.argv) != 2:
        print("usage: python -m engine.worker RUN_DIR", file=sys.stderr)  # noqa: T201
        return 2
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on CUDA
    run = RunDirectory(Path(sys.argv[1]).resolve())
    try:
        work(run, signals=True)
    except VdtuiError as error:
        print(f"error: {error.problem}\nhint: {error.hint}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
