"""`python -m engine.worker RUN_DIR`: one run in one process.

Started detached by the command line or the dashboard, or by hand; it lives on when they end. SIGTERM and SIGINT ask
it to stop at the next step boundary with its state saved. Exit codes: 0 done or stopped as asked, 1 the run failed,
2 the run could not begin.

`torchrun --nproc-per-node N -m engine.worker RUN_DIR` works on one run with N processes (``engine.parallel``). Without
torchrun a worker is alone, whatever a cluster's WORLD_SIZE says.
"""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from engine.errors import VdtuiError
from engine.events import Event
from engine.memory import memory_errors
from engine.runs import RunDirectory
from engine.runs.session import FollowerSession, RunSession
from engine.torchrun import leads


def work(run: RunDirectory, *listeners: Callable[[Event], None], signals: bool = False) -> str:
    """Run ``run`` from where it is to its end, and return the state it ended in (``completed`` or ``stopped``).

    Raises VdtuiError after it is recorded in the run. With ``signals``, SIGTERM and SIGINT stop it.
    """
    session = RunSession(run, *listeners) if leads() else FollowerSession(run)
    with session:
        if signals:
            _stop_on_signals(session)
        from engine.config import read_preset

        preset = read_preset(run.preset_file)
        from engine.distill import distill  # torch comes with it: seconds, in which the run is already seen to live

        with memory_errors():
            distill(session, preset)
    return run.state()


def _stop_on_signals(session: RunSession) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        session.stop(f"received {signal.Signals(number).name}")

    answer = stop if leads() else signal.SIG_IGN  # torchrun sends signals to all; the leader answers for them
    signal.signal(signal.SIGTERM, answer)
    signal.signal(signal.SIGINT, answer)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal is no reason to stop


def main() -> int:
    """The process's entry point."""
    if len(sys.argv) != 2:
        print("usage: python -m engine.worker RUN_DIR", file=sys.stderr)  # noqa: T201
        return 2
    run = RunDirectory(Path(sys.argv[1]).resolve())
    try:
        work(run, signals=True)
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
    """Whether the leader has ended the run in good order, now or within seconds."""
    for _ in range(50):
        if run.state() in ("completed", "stopped"):
            return True
        time.sleep(0.2)
    return False


if __name__ == "__main__":
    sys.exit(main())
