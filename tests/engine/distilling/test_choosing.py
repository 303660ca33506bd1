"""The choice of the iteration: what a user loses here is the best set, or the knowledge that none was chosen."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.config import load_preset
from engine.distilling.choosing import BestIteration, IterationChoice, LastIteration, NoChoice
from engine.distilling.learning import StageCheckpoints
from engine.events import BestChanged, Event, Note
from engine.runs import RunDirectory
from engine.runs.checkpoints import Checkpoint
from engine.synthetic import load_set
from tests.tiny import make_real, make_spec, make_static_dynamic

SPEC = make_spec()
STEPS = 7
CANDIDATES = [0, 3, 6, 7]
"""Every third step, and the last one."""


class Session:
    """Keeps what is emitted and saved."""

    def __init__(self, folder: Path) -> None:
        self.run = RunDirectory(folder)
        self.events: list[Event] = []
        self.saved: list[Checkpoint] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        self.saved.append(checkpoint)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def made(kind: type[IterationChoice], session: Session, document: dict[str, Any] | None, *, leads: bool = True) -> Any:
    preset = load_preset("default", [f"dynamic.steps={STEPS}", "dynamic.eval_every=3"])
    others = {"group": SimpleNamespace(leads=leads), "device": SimpleNamespace(type="cpu")}
    others["judge"] = SimpleNamespace(record=None)
    work = SimpleNamespace(session=session, preset=preset, seed=0, **others)
    resume = None if document is None else Checkpoint("dynamic", 4, {}, document)
    objective = SimpleNamespace(parameters=dict)
    clips = (make_real(SPEC, (1, 1)), "val") if kind is BestIteration else ()
    return kind(cast(Any, work), make_static_dynamic(SPEC), cast(Any, objective), resume, *clips)  # type: ignore[arg-type]


def go(choice: IterationChoice, first: int, last: int) -> None:
    for step in range(first, last + 1):
        choice.consider(step)


@pytest.mark.parametrize("stopped_at", [None, 0, 2, 3, 4, 7])
def test_the_first_of_the_best_is_kept_however_often_it_was_stopped(
    session: Session, monkeypatch: pytest.MonkeyPatch, stopped_at: int | None
) -> None:
    """A resumed run would choose another set than one that was never stopped, or evaluate candidates twice."""
    accuracies, judged = dict(zip(CANDIDATES, [0.2, 0.6, 0.6, 0.5], strict=True)), []

    def accuracy(choice: BestIteration, step: int, occasion: str) -> float:
        judged.append(step)
        return accuracies[step]

    monkeypatch.setattr(BestIteration, "_evaluate", accuracy)
    choice = made(BestIteration, session, None)
    if stopped_at is not None:
        go(choice, 0, stopped_at)
        choice = made(BestIteration, session, choice.document())
    go(choice, stopped_at or 0, STEPS)
    assert judged == CANDIDATES
    assert session.events == [BestChanged(0, 0.2), BestChanged(3, 0.6)]
    kept = load_set(session.run.best).provenance
    assert (kept.step, kept.accuracy, kept.selected_on) == (3, 0.6, "val")
    assert choice.document() == {"best_step": 3, "best_accuracy": 0.6, "evaluated": 7}


def test_looking_in_between_decides_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is curious would get another set than whoever is not."""
    monkeypatch.setattr(BestIteration, "_evaluate", lambda choice, step, occasion: 0.9 if occasion == "now" else 0.1)
    choice = made(BestIteration, session, None)
    choice.look(0)
    assert choice.document()["best_accuracy"] is None and session.events == []
    choice.consider(0)
    assert session.events == [BestChanged(0, 0.1)]


def test_without_clips_to_choose_by_the_last_one_is_kept(session: Session) -> None:
    """The set of an early step would be taken for the run's, or one that claims to be chosen."""
    choice = made(LastIteration, session, None)
    go(choice, 0, STEPS)
    assert session.events == [BestChanged(step, None) for step in CANDIDATES]
    kept = load_set(session.run.best).provenance
    assert (kept.step, kept.accuracy, kept.selected_on) == (STEPS, None, "none")
    choice.look(4)
    assert session.events[-1] == Note("info", "no evaluation at step 4: there is no validation split")
    assert choice.seconds_left(0) == 0


def test_processes_that_help_choose_nothing(session: Session) -> None:
    """Each would write the file that belongs to the leader."""
    choice = made(LastIteration, session, None, leads=False)
    go(choice, 0, STEPS)
    assert session.events == [] and not session.run.best.exists()


def test_a_stage_that_is_not_judged_says_so_when_it_is_asked(session: Session) -> None:
    """Whoever asks for an evaluation in stage 1 would wait for it."""
    with NoChoice(cast(Any, session)) as choice:
        choice.consider(0)
        choice.look(2)
        assert choice.document() == {} and choice.seconds_left(0) == 0
    assert session.events == [Note("info", "no evaluation at step 2: only the dynamic stage can be evaluated")]


def test_a_checkpoint_that_says_nothing_new_is_not_written(session: Session) -> None:
    """Two are kept: a second copy of one state would push out the one that a damaged disk falls back on."""
    loaded = Checkpoint("dynamic", 4, {}, {"data": "abc", "evaluated": 3, "seconds": 9.0})
    checkpoints = StageCheckpoints(cast(Any, session), loaded)

    def save(step: int, **document: Any) -> bool:
        return checkpoints.save(step, document, lambda: Checkpoint("dynamic", step, {}, document))

    answers = [
        save(4, data="abc", evaluated=3),
        save(4, data="abc", evaluated=4),
        save(4, data="abc", evaluated=4),
        save(5, data="abc", evaluated=4),
    ]
    assert answers == [False, True, False, True]
    assert [(one.step, one.document["evaluated"]) for one in session.saved] == [(4, 4), (5, 4)]
