"""The events of a run on their way to its trackers."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from importlib import import_module

from engine.config.tables import dotted
from engine.events import Event, Note, RunCompleted, RunFailed, RunStopped, StageStarted
from engine.runs.directory import RunDirectory
from engine.trackers.base import Point, Tracker, points_of

TRACKERS = {
    "tensorboard": "engine.trackers.tensorboard:TensorBoard",
    "wandb": "engine.trackers.wandb:WeightsAndBiases",
    "mlflow": "engine.trackers.mlflow:MLflow",
    "prometheus": "engine.trackers.prometheus:Prometheus",
}
"""The class of each tracker by its name in ``run.trackers``."""
MOST_WAITING = 10_000
"""Events that may wait for a tracker; beyond that they are left out for it."""
LAST_SECONDS = 20.0
"""Time that a tracker gets at the end of a run for what it has not recorded yet."""
_ENDS: dict[type[Event], str] = {RunCompleted: "completed", RunStopped: "stopped", RunFailed: "failed"}


class Tracking:
    """A listener of a run's events that hands their numbers to the trackers ``names``.

    ``tell`` is called with one warning for each tracker that fails, in the thread of the run.
    """

    def __init__(self, run: RunDirectory, names: tuple[str, ...], tell: Callable[[Event], None]) -> None:
        settings = {key: str(value) for key, value in dotted(run.preset_values())}
        self._feeds = [_Feed(name, run, settings) for name in names]
        self._tell = tell
        self._stage = ""

    def __call__(self, event: Event) -> None:
        """Hand ``event`` on; returns at once, but for the end of the run, which waits for the trackers for a while."""
        if isinstance(event, StageStarted):
            self._stage = event.stage
        for feed in self._feeds:
            feed.put((event, self._stage, time.time()))
        if type(event) in _ENDS:
            end = time.monotonic() + LAST_SECONDS
            for feed in self._feeds:
                feed.join(end)
        for feed in self._feeds:
            if (trouble := feed.new_trouble()) is not None:
                self._tell(Note("warning", trouble))


class _Feed:
    """A tracker with its queue, its thread, and the first trouble that it had."""

    def __init__(self, name: str, run: RunDirectory, settings: Mapping[str, str]) -> None:
        self._name = name
        self._waiting: queue.Queue[tuple[Event, str, float]] = queue.Queue(MOST_WAITING)
        self._trouble: str | None = None
        self._told = False
        self._thread = threading.Thread(target=self._work, args=(run, settings), name=f"tracker {name}", daemon=True)
        self._thread.start()

    def put(self, happened: tuple[Event, str, float]) -> None:
        """Let the tracker have what ``happened``, unless it has failed or is too far behind."""
        if not self._thread.is_alive():
            return
        try:
            self._waiting.put_nowait(happened)
        except queue.Full:
            self._say("is too slow, and lacks some of the run's numbers")

    def join(self, end: float) -> None:
        """Wait until the tracker has ended, at most until ``end`` of the monotonic clock."""
        self._thread.join(max(0.0, end - time.monotonic()))
        if self._thread.is_alive():
            self._say("did not end in time, and may lack the last of the run's numbers")

    def new_trouble(self) -> str | None:
        """Return the first trouble, once."""
        if self._trouble is None or self._told:
            return None
        self._told = True
        return self._trouble

    def _say(self, trouble: str) -> None:
        self._trouble = self._trouble or f"The tracker {self._name} {trouble}. The run goes on without it."

    def _work(self, run: RunDirectory, settings: Mapping[str, str]) -> None:
        try:
            tracker = _load(self._name)(run, settings)
            state = None
            while state is None:
                state = _hand_on(tracker, self._all_waiting())
            tracker.close(state)
        except ImportError as error:
            self._say(f"is off: {_first_line(error)} (pip install 'vdtui[{self._name}]')")
        except (Exception, SystemExit) as error:  # whatever another's code may do, the run is not to notice
            self._say(f"failed: {type(error).__name__}: {_first_line(error)}")

    def _all_waiting(self) -> list[tuple[Event, str, float]]:
        """Wait for something to happen, and return it with all that has happened since."""
        found = [self._waiting.get()]
        while True:
            try:
                found.append(self._waiting.get_nowait())
            except queue.Empty:
                return found


def _hand_on(tracker: Tracker, happened: list[tuple[Event, str, float]]) -> str | None:
    """Hand what ``happened`` to ``tracker``; return the state in which the run has ended, None while it goes on."""
    points: list[Point] = []
    for event, stage, moment in happened:
        if isinstance(event, StageStarted):
            tracker.log(points)
            points = []
            tracker.begin_stage(event.stage, event.step)
        points += points_of(event, stage, moment)
    tracker.log(points)
    return next((_ENDS[type(event)] for event, _, _ in happened if type(event) in _ENDS), None)


def _load(name: str) -> type[Tracker]:
    module, _, attribute = TRACKERS[name].partition(":")
    found: type[Tracker] = getattr(import_module(module), attribute)
    return found


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
