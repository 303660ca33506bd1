"""The pace of networks: what a user loses here is to know how far a table is, and when it will be done."""

from __future__ import annotations

from typing import Any, cast

import pytest

from engine.distilling import progress as module
from engine.distilling.progress import TablePace, UnitPace
from engine.errors import StopRequested
from engine.evaluation.requests import QueueState, networks_text
from engine.events import Event, Progress, Step


class Session:
    """Keeps what is emitted; raises at the check that it is told to."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.stop = False

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def check(self) -> None:
        if self.stop:
            raise StopRequested("now")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as a list of one."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_networks_are_named_by_their_rows() -> None:
    """Places of a table of two rows of three, in the order asked."""
    going = QueueState(2, 0, ((2, 0.5), (3, 0.1), (5, 0.0)))
    assert networks_text(going, ["a", "b"], 3) == "a: network 3 of 3; b: networks 1, 3 of 3"


def test_the_time_left_counts_all_networks_but_those_that_were_known(clock: list[float]) -> None:
    """Six networks, one known, one done, two half way: two in 40 s, so the three that are left take 60 s."""
    session = Session()
    pace = TablePace(cast(Any, session), "evaluate", ["a", "b"], 3)
    clock[0] += 40
    pace.watch(QueueState(2, 1, ((2, 0.5), (3, 0.5))))
    assert session.events == [Progress("evaluate", 2, 6, 0.0, "a: network 3 of 3; b: network 1 of 3, 50 %", 60.0, 3.0)]
    clock[0] += 0.5
    pace.watch(QueueState(2, 1, ((2, 0.7), (3, 0.7))))
    assert len(session.events) == 1, "the log stays small"
    session.stop = True
    with pytest.raises(StopRequested):
        pace.watch(QueueState(6, 1, ()))


def test_an_evaluation_within_a_stage_leaves_the_stage_s_step(clock: list[float]) -> None:
    """The dashboard's bar is that of the stage."""
    session = Session()
    pace = TablePace(cast(Any, session), "dynamic", ["evaluating step 40"], 2, step=40, total=400)
    clock[0] += 2
    pace.watch(QueueState(0, 0, ((0, 0.25), (1, 0.35))))
    what = "evaluating step 40: networks 1, 2 of 2, 30 %"
    assert session.events == [Progress("dynamic", 40, 400, 0.0, what, networks=0.6)]


def test_a_rate_is_of_what_this_worker_did(clock: list[float]) -> None:
    """After a resume, videos or epochs of the worker before would make the rest look like seconds."""
    session = Session()
    pace = UnitPace(cast(Any, session), "experts")
    pace.update(90, 100, "expert 10 of 10")
    clock[0] += 10
    pace.update(91, 100, "expert 10 of 10")
    pace.learned(91, 100, 0.5)
    told, curve = session.events[-2:]
    assert isinstance(told, Progress) and (told.rate, told.eta) == (0.1, 90.0)
    assert curve == Step("experts", 91, 100, 0.5, 0.1, {}, None)
