"""A worker's hold on a run: lock, heartbeat, events, requests from outside, checkpoints.

``distill`` sees the outside world only through a ``Session``: it emits events, calls ``check`` at every boundary where
it could stop, and saves checkpoints. The process that owns the run has a ``RunSession``, in a worker as in a notebook;
processes that help it have a ``FollowerSession``, which writes nothing.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from engine.errors import StopRequested, VdtuiError
from engine.events import (
    CheckpointSaved,
    Continued,
    Event,
    Note,
    Paused,
    RunCompleted,
    RunFailed,
    RunStopped,
    to_record,
)
from engine.files import sweep
from engine.runs.checkpoints import Checkpoint, checkpoint_files, load_checkpoint, load_newest, save_checkpoint
from engine.runs.directory import RunDirectory
from engine.runs.forecast import Forecast, Work
from engine.runs.hold import FolderGoneError, Hold
from engine.runs.log import EventLog
from engine.runs.standing import Standing, rare_records
from engine.runs.status import HEARTBEAT_SECONDS, ONCE, Action, Control, Status, Want, current_process

POLL_SECONDS = 0.2
WHILE_PAUSED: tuple[Action, ...] = ("checkpoint",)
"""Actions that are carried out while the run is paused; an evaluation is work, and waits until the run goes on."""
Serve = Callable[[Action], None]
"""Carries out an action that was asked for once."""


class Session(Protocol):
    """A process's view of the run that it works on, as a context manager."""

    @property
    def run(self) -> RunDirectory:
        """The run's directory."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool: ...

    def emit(self, event: Event) -> None:
        """Record ``event``, for everybody who follows the run."""

    def check(self, serve: Serve | None = None) -> None:
        """Wait while the run is paused; raise StopRequested when it shall stop. To be called at every boundary."""

    def complete(self, last: Callable[[RunCompleted], None]) -> None:
        """End a run that has done everything, after ``last`` has written its report."""

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Save ``checkpoint``; after this returns, at most the work since then can be lost."""

    def load_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint, or None at the beginning of a run."""


class RunSession:
    """Context manager: takes the run's lock, and on leaving records how the run ended.

    Raises RunError if another worker holds the lock. ``listeners`` are called with every event, in this thread.
    """

    def __init__(self, run: RunDirectory, *listeners: Callable[[Event], None]) -> None:
        self.run = run
        self._listeners = list(listeners)
        self._lock = run.lock()
        self._status = Status()
        self._status_guard = threading.Lock()
        self._forecast: Forecast | None = None
        self._forecast_guard = threading.Lock()
        self._ended = threading.Event()
        self._stop_reason: str | None = None
        self._began = 0.0
        self._earlier_seconds = 0.0
        self._checked = 0.0
        self._order = 0
        self._damaged: list[Path] = []
        self._served: dict[Action, int] = {}

    def __enter__(self) -> Self:
        self._lock.acquire()
        self._began = time.monotonic()
        hold = None
        try:
            run = self.run
            self._hold = hold = Hold(run.path, run.lock_file)
            sweep(run.path.parent, run.path, *run.folders)
            self._log = EventLog(self.run.events_file)
            self._standing, self._forecast = Standing(), Forecast.of(self.run)
            for record in rare_records(self.run.events_file):
                self._standing.add(record)
                self._foresee(record)
            self._served = self.run.control().once  # asked of an earlier worker: nobody waits for it any more
            self._write_status(**{**dataclasses.asdict(current_process("running")), **self._standing.fields})
        except BaseException:
            if hold is not None:
                hold.release()
            self._lock.release()
            raise
        if self._lock.trouble:
            text = f"This disk locks no files ({self._lock.trouble}): a second worker on this run would not be noticed."
            self.emit(Note("warning", f"{text} Resume it on one machine only."))
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Record the end. A requested stop is swallowed; errors go on to the caller.

        Raises FolderGoneError in place of whatever went wrong because the folder of the run is gone.
        """
        self._ended.set()
        self._heart.join()
        try:
            self._hold.check()
        except FolderGoneError as gone:
            error = gone
        try:
            state, event = self._ending(error)
            if event is not None:
                self.emit(event)
            if isinstance(error, FolderGoneError):
                self._tell_where_it_is(state)
                raise error
            if self.run.control().want != "run":
                self.run.request("run")  # the request is settled, so that the next worker does not obey it again
            self._write_status(state=state)
        finally:
            self._log.close()
            self._hold.release()
            self._lock.release()
        return isinstance(error, StopRequested)

    def _tell_where_it_is(self, state: str) -> None:
        """Write the status of a run that was moved into its folder, wherever that is."""
        moved = self._hold.moved_to()
        if moved is not None:
            dataclasses.replace(self._status, state=state).save(RunDirectory(moved).status_file)

    def _ending(self, error: BaseException | None) -> tuple[str, Event | None]:
        if error is None:
            return "completed", None
        if isinstance(error, (StopRequested, KeyboardInterrupt)):
            return "stopped", RunStopped(self._stop_reason or "interrupted")
        if isinstance(error, VdtuiError):
            return "failed", RunFailed(error.problem, error.hint)
        problem = f"Internal error: {type(error).__name__}: {error}".replace("\n", " ")
        return "failed", RunFailed(problem, "This is a bug in vdtui: please report it with engine.log of the run.")

    @property
    def state(self) -> str:
        """The state that was last written to status.json."""
        return self._status.state

    def complete(self, last: Callable[[RunCompleted], None]) -> None:
        """Record the run as completed, after ``last`` has written its report.

        Whoever sees a run completed finds its report there; killed in ``last``, the run can be resumed to write it.
        """
        ending = RunCompleted(round(self.seconds, 3))
        last(ending)
        self.emit(ending)
        self._write_status(state="completed")

    @property
    def seconds(self) -> float:
        """The working seconds of this run so far, over all its workers, as far as checkpoints tell."""
        return self._earlier_seconds + time.monotonic() - self._began

    def emit(self, event: Event) -> None:
        """Append ``event`` to the log and tell the listeners."""
        self._log.append(event)
        for listener in self._listeners:
            listener(event)
        record = to_record(event, time.time())
        self._foresee(record)
        if self._standing.add(record):
            with self._status_guard:
                self._status = dataclasses.replace(self._status, **self._standing.fields)
        stage, step, total = (getattr(event, name, None) for name in ("stage", "step", "total"))
        if stage is not None and step is not None and total is not None:
            with self._status_guard:  # the heartbeat writes it out
                self._status = dataclasses.replace(self._status, stage=stage, step=step, total=total)

    def _foresee(self, record: dict[str, Any]) -> None:
        """Fold ``record`` into the forecast; the amount of data is known once they are open, that of clips later."""
        if self._forecast is None:
            return
        with self._forecast_guard:
            self._forecast.add(record)
            if record.get("event") == "stage_finished" and (work := Work.of(self.run)) is not None:
                self._forecast.work = work

    def _times(self) -> dict[str, Any]:
        """The seconds of work so far, and those that are left, as ``Status`` has them."""
        times: dict[str, Any] = {"worked": round(self.seconds, 1)}
        if self._forecast is None:
            return times
        with self._forecast_guard:
            left = self._forecast.left(time.time())
        stage = None if left.stage is None else round(left.stage, 1)
        return times | {"left": round(left.run, 1), "stage_left": stage, "at_least": left.at_least}

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` with every event from now on, as one that was there from the beginning."""
        self._listeners.append(listener)

    def stop(self, reason: str) -> None:
        """Ask this worker to stop at the next boundary; safe to call from a signal handler."""
        self._stop_reason = reason

    def check(self, serve: Serve | None = None) -> None:
        """Wait while the run is paused; raise StopRequested when it shall stop. To be called at every boundary.

        ``serve`` is called with each action that was asked for once, a checkpoint also while paused; a boundary where
        the work cannot serve leaves it out, and the request waits. Costs one small file every ``POLL_SECONDS``,
        nothing in between.
        """
        if self._stop_reason is None:
            now = time.monotonic()
            if now - self._checked < POLL_SECONDS:
                return
            self._checked = now
            self._hold.check()
            control = self.run.control()
            self._serve(control, serve)
            want = control.want
            if want == "pause":
                want = self._wait(serve)
            if want == "stop":
                self._stop_reason = self._stop_reason or "asked to stop"
        if self._stop_reason is not None:
            self._write_status(state="stopping")
            raise StopRequested(self._stop_reason)

    def _serve(self, control: Control, serve: Serve | None, actions: tuple[Action, ...] = ONCE) -> None:
        if serve is None:
            return
        for action in actions:
            number = control.once.get(action, 0)
            if number not in (0, self._served.get(action, 0)) and self._stop_reason is None:
                self._served[action] = number  # before it is done: asked again while it is done, it is done again
                serve(action)

    def _wait(self, serve: Serve | None) -> Want:
        self.emit(Paused())
        self._write_status(state="paused")
        while (control := self.run.control()).want == "pause" and self._stop_reason is None:
            self._serve(control, serve, WHILE_PAUSED)
            time.sleep(POLL_SECONDS)
            self._hold.check()
        if self._stop_reason is None and control.want == "run":
            self._write_status(state="running")
            self.emit(Continued())
        return control.want

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Save ``checkpoint``; after this returns, at most the work since then can be lost."""
        self._hold.check()
        self._log.sync()
        document = {**checkpoint.document, "seconds": round(self.seconds, 3)}
        self._order += 1
        for path in self._damaged:  # or they would count among those that are kept, and the whole one would go
            path.unlink(missing_ok=True)
        self._damaged = []
        save_checkpoint(self.run.checkpoints, self._order, dataclasses.replace(checkpoint, document=document))
        self.emit(CheckpointSaved(checkpoint.stage, checkpoint.step))

    def load_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint, or None at the beginning of a run."""
        files = checkpoint_files(self.run.checkpoints)
        self._order = int(files[-1].name[:8]) if files else 0
        checkpoint, self._damaged = load_newest(self.run.checkpoints)
        if self._damaged:
            names = ", ".join(path.name for path in self._damaged)
            self.emit(Note("warning", f"Damaged, and passed over for an earlier checkpoint: {names}."))
        if checkpoint is not None:
            self._earlier_seconds = float(checkpoint.document.get("seconds", 0.0))
        return checkpoint

    def _write_status(self, **changes: Any) -> None:
        with self._status_guard:
            self._hold.check()
            changes = self._times() | changes | {"heartbeat": time.time()}
            self._status = dataclasses.replace(self._status, **changes)
            self._status.save(self.run.status_file)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            try:
                self._write_status()
            except (OSError, VdtuiError):
                # A full disk must not kill the run through its heartbeat: the next write may succeed. Of a folder
                # that is gone the run itself hears at its next boundary.
                continue


class FollowerSession:
    """The session of a process that helps the one which owns the run; that one, the leader, does the telling."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Swallow a requested stop; the leader records how the run ends."""
        return isinstance(error, StopRequested)

    def emit(self, event: Event) -> None:
        """Leave it to the leader, which emits the same."""

    def check(self, serve: Serve | None = None) -> None:
        """Leave it to the leader, which tells the others at step boundaries (``Group.agree``)."""

    def complete(self, last: Callable[[RunCompleted], None]) -> None:
        """Leave it to the leader."""

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Leave it to the leader, which saves the same."""

    def load_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint, which the leader begins from too."""
        return load_checkpoint(self.run.checkpoints)
