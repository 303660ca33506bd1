"""One run in this process: its session around its stages, and the signals that stop it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

from engine.events import Event
from engine.machine.out_of_memory import memory_errors
from engine.machine.torchrun import leads
from engine.runs import RunDirectory
from engine.runs.session import FollowerSession, RunSession, Session
from engine.trackers import Tracking


def carry_out(run: RunDirectory, *listeners: Callable[[Event], None], signals: bool = False) -> str:
    """Carry ``run`` from where it is to its end, and return the state it ended in (``completed`` or ``stopped``).

    Raises VdtuiError after it is recorded in the run. With ``signals``, SIGTERM and SIGINT stop it.
    """
    session: Session = RunSession(run, *listeners) if leads() else FollowerSession(run)
    with session:
        if signals:
            _stop_on_signals(session)
        from engine.config import read_preset

        preset = read_preset(run.preset_file)
        if preset.run.trackers and isinstance(session, RunSession):
            session.listen(Tracking(run, preset.run.trackers, session.emit))
        with memory_errors():
            # torch comes with it: seconds, in which the run is already seen to live
            from engine.distilling.stages import distill

            distill(session, preset)
    return run.state()


def _stop_on_signals(session: Session) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        assert isinstance(session, RunSession)
        session.stop(f"received {signal.Signals(number).name}")

    # torchrun sends signals to all of its processes; the leader answers for the others.
    handler = stop if isinstance(session, RunSession) else signal.SIG_IGN
    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal is no reason to stop
