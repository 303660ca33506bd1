"""A worker's hold on a run: lock, heartbeat, events, requests from outside, checkpoints.

``distill`` sees the outside world only through this: it emits events, calls ``check`` at every boundary where it
could stop, and saves checkpoints. Used by the worker process and, in the same way, by `engine.run_distillation`
in a notebook.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
from engine.runs.log import EventLog
from engine.runs.standing import Standing
from engine.runs.status import HEARTBEAT_SECONDS, ONCE, Control, Status, current_process

POLL_SECONDS = 0.2
WHILE_PAUSED = ("checkpoint",)
"""What is done at once while the run is paused; an evaluation is work, and waits until the run goes on."""


class RunSession:
    """Context manager: takes the run's lock, and on leaving records how the run ended.

    Raises RunError if another worker holds the lock. ``listeners`` are called with every event, in this thread.
    """

    def __init__(self, run: RunDirectory, *listeners: Callable[[Event], None]) -> None:
        self.run = run
        self._listeners = listeners
        self._lock = run.lock()
        self._status = Status()
        self._status_guard = threading.Lock()
        self._ended = threading.Event()
        self._stop_reason: str | None = None
        self._began = 0.0
        self._earlier_seconds = 0.0
        self._checked = 0.0
        self._order = 0
        self._damaged: list[Path] = []
        self._served: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._lock.acquire()
        self._began = time.monotonic()
        try:
            run = self.run
            sweep(run.path, run.checkpoints, run.best.parent, run.previews, run.evaluations)
            self._log = EventLog(self.run.events_file)
            self._standing = Standing.of_log(self.run.events_file)
            self._served = self.run.control().once  # asked of an earlier worker: nobody waits for it any more
            self._say(**{**dataclasses.asdict(current_process("running")), **self._standing.fields})
        except BaseException:
            self._lock.release()
            raise
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Record the end. A requested stop is swallowed; errors go on to the caller."""
        self._ended.set()
        self._heart.join()
        state, event = self._ending(error)
        try:
            if event is not None:
                self.emit(event)
            if self.run.control().want != "run":
                self.run.request("run")  # the request is settled, so that the next worker does not obey it again
            self._say(state=state)
            self._log.close()
        finally:
            self._lock.release()
        return isinstance(error, StopRequested)

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
        """The state as last said."""
        return self._status.state

    def complete(self, last: Callable[[RunCompleted], None]) -> None:
        """Everything is done, after ``last`` has written the report of a run that ends so.

        Whoever sees a run completed finds its report there; killed in ``last``, the run can be resumed to write it.
        """
        ending = RunCompleted(round(self.seconds, 3))
        last(ending)
        self.emit(ending)
        self._say(state="completed")

    @property
    def seconds(self) -> float:
        """Working seconds of this run so far, over all its workers, as far as checkpoints tell."""
        return self._earlier_seconds + time.monotonic() - self._began

    def emit(self, event: Event) -> None:
        """Append ``event`` to the log and tell the listeners."""
        self._log.append(event)
        for listener in self._listeners:
            listener(event)
        if self._standing.add(to_record(event, time.time())):
            with self._status_guard:
                self._status = dataclasses.replace(self._status, **self._standing.fields)
        stage, step, total = (getattr(event, name, None) for name in ("stage", "step", "total"))
        if stage is not None and step is not None and total is not None:
            with self._status_guard:  # the heartbeat writes it out
                self._status = dataclasses.replace(self._status, stage=stage, step=step, total=total)

    def stop(self, reason: str) -> None:
        """Ask this worker to stop at the next boundary; safe to call from a signal handler."""
        self._stop_reason = reason

    def check(self, serve: Callable[[str], None] | None = None) -> None:
        """Call at every boundary: waits while paused, raises StopRequested when the run shall stop.

        ``serve`` is called with what is asked for once (``status.ONCE``), a checkpoint also while paused; where the
        work cannot do that, it is not given, and the request waits. Costs one small file every ``POLL_SECONDS``,
        nothing in between.
        """
        if self._stop_reason is None:
            now = time.monotonic()
            if now - self._checked < POLL_SECONDS:
                return
            self._checked = now
            control = self.run.control()
            self._serve(control, serve)
            want = control.want
            if want == "pause":
                want = self._wait(serve)
            if want == "stop":
                self._stop_reason = self._stop_reason or "asked to stop"
        if self._stop_reason is not None:
            self._say(state="stopping")
            raise StopRequested(self._stop_reason)

    def _serve(self, control: Control, serve: Callable[[str], None] | None, kinds: tuple[str, ...] = ONCE) -> None:
        if serve is None:
            return
        for what in kinds:
            number = control.once.get(what, 0)
            if number not in (0, self._served.get(what, 0)) and self._stop_reason is None:
                self._served[what] = number  # before it is done: asked again while it is done, it is done again
                serve(what)

    def _wait(self, serve: Callable[[str], None] | None) -> str:
        self.emit(Paused())
        self._say(state="paused")
        while (control := self.run.control()).want == "pause" and self._stop_reason is None:
            self._serve(control, serve, WHILE_PAUSED)
            time.sleep(POLL_SECONDS)
        if self._stop_reason is None and control.want == "run":
            self._say(state="running")
            self.emit(Continued())
        return control.want

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Save ``checkpoint``; after this returns, at most the work since then can be lost."""
        self._log.sync()
        document = {**checkpoint.document, "seconds": round(self.seconds, 3)}
        self._order += 1
        for path in self._damaged:  # or they would count among those that are kept, and the whole one would go
            path.unlink(missing_ok=True)
        self._damaged = []
        save_checkpoint(self.run.checkpoints, self._order, dataclasses.replace(checkpoint, document=document))
        self.emit(CheckpointSaved(checkpoint.stage, checkpoint.step))

    def load_checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint, or None at the beginning of a run."""
        files = checkpoint_files(self.run.checkpoints)
        self._order = int(files[-1].name[:8]) if files else 0
        checkpoint, self._damaged = load_newest(self.run.checkpoints)
        if self._damaged:
            names = ", ".join(path.name for path in self._damaged)
            self.emit(Note("warning", f"Damaged, and passed over for an earlier checkpoint: {names}."))
        if checkpoint is not None:
            self._earlier_seconds = float(checkpoint.document.get("seconds", 0.0))
        return checkpoint

    def _say(self, **changes: Any) -> None:
        with self._status_guard:
            self._status = dataclasses.replace(self._status, **{**changes, "heartbeat": time.time()})
            self._status.save(self.run.status_file)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            try:
                self._say()
            except (OSError, VdtuiError):
                continue  # a full disk must not kill the run through its heartbeat; the next write may succeed


class FollowerSession(RunSession):
    """The session of a process that helps the one which owns the run: it says nothing."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._began = time.monotonic()
        self._earlier_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """The leader records how the run ends; a requested stop is swallowed."""
        return isinstance(error, StopRequested)

    def emit(self, event: Event) -> None:
        """The leader emits the same."""

    def check(self, serve: Callable[[str], None] | None = None) -> None:
        """The leader tells at step boundaries."""

    def complete(self, last: Callable[[RunCompleted], None]) -> None:
        """The leader says it."""

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """The leader saves the same."""

    def load_checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint, which the leader begins from too."""
        return load_checkpoint(self.run.checkpoints)
