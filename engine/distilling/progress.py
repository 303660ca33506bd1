"""The pace of a stage: rate and time left, told at most every second so that the log stays small."""

from __future__ import annotations

import time
from collections.abc import Sequence

from engine.evaluation.requests import QueueState, networks_text
from engine.events import Progress, Stage, Step
from engine.runs.session import Session

SECONDS_BETWEEN = 1.0
SMOOTHING = 0.1


class UnitPace:
    """The pace of a stage that counts units, such as videos."""

    def __init__(self, session: Session, stage: Stage) -> None:
        self._session = session
        self._stage = stage
        self._began = self._last_time = time.monotonic()
        self._first: int | None = None

    def _rate(self, done: int, now: float) -> float:
        """Return units per second since the first that was told of; earlier workers did those before."""
        if self._first is None:
            self._first, self._began = done, now
        return (done - self._first) / max(now - self._began, 1e-9)

    def update(self, done: int, total: int, unit: str) -> None:
        """Tell that ``done`` of ``total`` units are done, and that ``unit`` is worked on now."""
        now = time.monotonic()
        rate = self._rate(done, now)
        if now - self._last_time < SECONDS_BETWEEN and done < total:
            return
        self._last_time = now
        eta = round((total - done) / rate, 1) if rate > 0 else None
        self._session.emit(Progress(self._stage, done, total, round(rate, 3), unit, eta))

    def learned(self, done: int, total: int, loss: float) -> None:
        """Tell the mean ``loss`` of a unit, after which ``done`` of ``total`` are done; it has a curve as of steps."""
        rate = self._rate(done, time.monotonic())
        self._session.emit(Step(self._stage, done, total, loss, round(rate, 4), {}, None))


class StepPace:
    """The pace of optimiser steps, smoothed over about ten of them."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._seconds: float | None = None

    def stepped(self, seconds: float, step: int, later: float) -> tuple[float, float]:
        """Return steps per second and seconds left, after ``step`` steps of which the last took ``seconds``.

        ``later`` are the seconds that evaluations will take beside.
        """
        known = self._seconds
        self._seconds = seconds if known is None else known + SMOOTHING * (seconds - known)
        per_step = max(self._seconds, 1e-9)
        return round(1 / per_step, 4), round((self._total - step) * per_step + later, 1)


class NetworkPace:
    """The pace of training one network after the other within a stage; ``work`` says what they are for.

    ``step`` and ``total`` are the stage's; ``trained`` networks took ``seconds``, ``networks`` are wanted.
    """

    def __init__(
        self,
        session: Session,
        stage: Stage,
        work: str,
        *,
        step: int,
        total: int,
        networks: int,
        trained: int,
        seconds: float,
    ) -> None:
        self._session = session
        self._stage, self._work, self._step, self._total = stage, work, step, total
        self._networks, self._trained, self._seconds = networks, trained, seconds
        self._began = self._last_time = time.monotonic()
        self._percent = -1

    def watch(self, fraction: float) -> None:
        """Tell that the present network is trained by ``fraction``; stop the run if that is asked for."""
        self._session.check()
        now, percent = time.monotonic(), int(100 * fraction)
        if now - self._last_time < SECONDS_BETWEEN or percent == self._percent:
            return  # at most a hundred lines a network: an evaluation may take hours
        self._last_time, self._percent = now, percent
        done = self._trained + fraction
        eta = (self._networks - done) * (self._seconds + now - self._began) / done if done > 0 else None
        text = f"{self._work}, {percent} %"
        left = round(eta, 1) if eta is not None and self._stage == "evaluate" else None
        self._session.emit(Progress(self._stage, self._step, self._total, 0.0, text, left))


class TablePace:
    """The pace of the networks of a table, or of one evaluation within a stage; several may be trained at once.

    ``titles`` are those of the rows, each of ``repeats`` networks. ``step`` and ``total`` are the stage's; without them
    a step is a network.
    """

    def __init__(
        self,
        session: Session,
        stage: Stage,
        titles: Sequence[str],
        repeats: int,
        *,
        step: int | None = None,
        total: int | None = None,
    ) -> None:
        self._session, self._stage, self._titles, self._repeats = session, stage, titles, repeats
        self._step, self._total = step, total
        self._began = self._last_time = time.monotonic()
        self._percent = -1

    def watch(self, queue: QueueState) -> None:
        """Tell how far the networks of ``queue`` are; stop the run if that is asked for."""
        self._session.check()
        if not queue.now:
            return
        now, percent = time.monotonic(), int(100 * sum(part for _, part in queue.now) / len(queue.now))
        if now - self._last_time < SECONDS_BETWEEN or percent == self._percent:
            return  # at most a hundred lines a network: an evaluation may take hours
        self._last_time, self._percent = now, percent
        text = f"{networks_text(queue, self._titles, self._repeats)}, {percent} %"
        networks = len(self._titles) * self._repeats
        if self._step is not None and self._total is not None:
            done = round(queue.networks, 3)
            self._session.emit(Progress(self._stage, self._step, self._total, 0.0, text, networks=done))
            return
        trained = queue.networks - queue.known
        left = round((networks - queue.networks) * (now - self._began) / trained, 1) if trained > 0 else None
        done = round(queue.networks, 3)
        self._session.emit(Progress(self._stage, queue.now[0][0], networks, 0.0, text, left, done))
