"""The folded state: what a user loses here is a true picture of a run in dashboard, `show` and report."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events import (
    BestChanged,
    CheckpointSaved,
    Continued,
    Evaluated,
    Event,
    NetworkTrained,
    Note,
    Paused,
    PreviewSaved,
    Progress,
    ResultReady,
    RunCompleted,
    RunFailed,
    RunStarted,
    RunStopped,
    StageFinished,
    StageStarted,
    Step,
    to_record,
)
from engine.runs.state import LOG_LINES, Curve, RunState, fold

STAGES = ("prepare", "static", "dynamic", "evaluate")


def records(*events: Event) -> list[dict[str, Any]]:
    return [json.loads(json.dumps(to_record(event, 1000.0 + number))) for number, event in enumerate(events)]


def state_of(*events: Event) -> RunState:
    return fold(records(*events))


def step(stage: str, number: int, loss: float | None = None, total: int = 10) -> Step:
    return Step(stage, number, total, float(number) if loss is None else loss, 2.0, {"grad": 0.5}, 4.0)


def evaluated(number: int, mean: float, split: str = "val", what: str = "synthetic") -> Evaluated:
    return Evaluated(what, number, split, mean, 0.1, (mean, mean), 3.0)


STARTED = RunStarted("r", 7, "cpu", STAGES, False)
RESUMED = RunStarted("r", 7, "cpu", STAGES, True)

WHOLE = (
    STARTED,
    StageStarted("prepare", 0, 1),
    Note("info", "2 classes"),
    StageFinished("prepare", 1.5),
    StageStarted("static", 0, 2),
    step("static", 1, total=2),
    step("static", 2, total=2),
    CheckpointSaved("static", 2),
    StageFinished("static", 2.0),
    StageStarted("dynamic", 0, 2),
    NetworkTrained("synthetic", 0, "val", 5, 0.25, 1.0),
    evaluated(0, 0.25),
    BestChanged(0, 0.25),
    PreviewSaved("dynamic", 0, "dynamic-0.npz"),
    step("dynamic", 1, total=2),
    Paused(),
    Continued(),
    step("dynamic", 2, total=2),
    evaluated(2, 0.5),
    BestChanged(2, 0.5),
    StageFinished("dynamic", 9.0),
    StageStarted("evaluate", 0, 2),
    Progress("evaluate", 1, 2, 0.1, "random: network 1 of 1", 20.0),
    evaluated(2, 0.4, "test", "static-dynamic"),
    ResultReady({"what": "static-dynamic", "bytes": 3}),
    StageFinished("evaluate", 4.0),
    RunCompleted(16.5),
)


def test_a_whole_run() -> None:
    """Everything that was said is there, once."""
    state = state_of(*WHOLE)
    assert (state.name, state.seed, state.device, state.events) == ("r", 7, "cpu", len(WHOLE))
    assert list(state.stages) == list(STAGES)
    assert all(stage.finished and stage.eta == 0 for stage in state.stages.values())
    assert [stage.seconds for stage in state.stages.values()] == [1.5, 2.0, 9.0, 4.0]
    assert state.losses == {"static": Curve([1, 2], [1.0, 2.0]), "dynamic": Curve([1, 2], [1.0, 2.0])}
    assert [(point.step, point.mean) for point in state.accuracy_curve()] == [(0, 0.25), (2, 0.5)]
    assert [point.mean for point in state.accuracy_curve("static-dynamic")] == [0.4]
    assert state.best == (2, 0.5) and state.best_accuracy == 0.5
    assert state.results == [{"what": "static-dynamic", "bytes": 3}]
    assert state.previews == [("dynamic", 0, "dynamic-0.npz")]
    assert (state.started, state.updated, state.seconds) == (1000.0, 1000.0 + len(WHOLE) - 1, 16.5)
    assert state.problem is None


def test_the_present_stage() -> None:
    """What the stepper and the progress bar show."""
    state = state_of(*WHOLE[:6])
    assert (state.stage, state.step, state.total) == ("static", 1, 2)
    assert state.stages["static"].eta == 4.0 and state.figures == {"grad": 0.5}
    assert RunState().step == RunState().total == 0 and RunState().best_accuracy is None


def test_folding_one_by_one_is_folding_all() -> None:
    """A live view, which gets records in portions, and a replay must look the same."""
    live = RunState()
    for record in records(*WHOLE):
        live.add(record)
    assert live == state_of(*WHOLE)


def test_a_resume_cuts_the_curve_after_its_checkpoint() -> None:
    """Steps that were lost by a crash are taken again: each must be in the curve once, with the value that counts."""
    state = state_of(
        STARTED,
        StageStarted("dynamic", 0, 10),
        *[step("dynamic", number) for number in range(1, 8)],
        RESUMED,
        StageStarted("dynamic", 5, 10),
        *[step("dynamic", number, loss=100.0 + number) for number in range(6, 9)],
    )
    assert state.losses["dynamic"].steps == [1, 2, 3, 4, 5, 6, 7, 8]
    assert state.losses["dynamic"].values == [1, 2, 3, 4, 5, 106, 107, 108]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8)), min_size=1, max_size=6))
def test_after_any_crashes_each_step_is_there_once(lives: list[tuple[int, int]]) -> None:
    """Each life goes on from some checkpoint at or before where the last one ended, and takes some steps."""
    events: list[Event] = [STARTED]
    expected: list[float] = []
    for life, (start, steps) in enumerate(lives):
        begin = min(start, len(expected))
        expected = expected[:begin]
        events.append(StageStarted("static", begin, 1000))
        for _ in range(steps):
            expected.append(1000.0 * life + len(expected))
            events.append(step("static", len(expected), loss=expected[-1], total=1000))
    curve = state_of(*events).losses.get("static", Curve())
    assert curve.steps == list(range(1, len(expected) + 1)) and curve.values == expected


def test_a_resume_forgets_what_came_after_its_checkpoint() -> None:
    """A best step, an accuracy or a preview of a step that is taken again would be shown beside the new one."""
    state = state_of(
        STARTED,
        StageStarted("dynamic", 0, 10),
        evaluated(0, 0.2),
        BestChanged(0, 0.2),
        PreviewSaved("dynamic", 0, "a"),
        *[step("dynamic", number) for number in range(1, 5)],
        evaluated(4, 0.9),
        BestChanged(4, 0.9),
        PreviewSaved("dynamic", 4, "b"),
        StageStarted("dynamic", 2, 10),
    )
    assert [point.step for point in state.accuracies] == [0]
    assert state.previews == [("dynamic", 0, "a")]
    assert state.best is None or state.best == (0, 0.2)


def test_going_back_to_stage_1_voids_stage_2() -> None:
    """Its memories are learned again on other stills."""
    state = state_of(*WHOLE[:20], RESUMED, StageStarted("static", 1, 2))
    assert state.losses["static"].steps == [1]
    assert state.losses["dynamic"].steps == [] and state.accuracies == [] and state.best is None
    assert not state.stages["dynamic"].finished and state.stages["prepare"].finished


@pytest.mark.parametrize("stage", ["prepare", "experts"])
def test_what_every_worker_goes_through_again_voids_nothing(stage: str) -> None:
    """A resumed run checks its data, and looks for its experts, before it goes on: its curves are still there."""
    state = state_of(*WHOLE[:18], RESUMED, StageStarted(stage, 0, 1), StageFinished(stage, 0.1))
    assert state.losses["static"].steps == [1, 2] and state.losses["dynamic"].steps == [1, 2]
    assert state.best == (0, 0.25)


def test_an_evaluation_that_is_made_again_replaces_the_first() -> None:
    """One step, one point: twice the same point would look like two evaluations."""
    state = state_of(STARTED, StageStarted("dynamic", 0, 4), evaluated(2, 0.3), evaluated(2, 0.6))
    assert [(point.step, point.mean) for point in state.accuracy_curve()] == [(2, 0.6)]
    state = state_of(STARTED, ResultReady({"what": "random", "n": 1}), ResultReady({"what": "random", "n": 2}))
    assert state.results == [{"what": "random", "n": 2}]
    both = state_of(STARTED, evaluated(2, 0.3), evaluated(2, 0.4, "test"), evaluated(2, 0.5, "test", "random"))
    assert len(both.accuracies) == 3


def test_one_network_has_no_spread_whatever_an_older_version_wrote() -> None:
    """ "50.0 +- 0.0" would be taken for networks that agree."""
    top1 = {"mean": 0.5, "std": 0.0, "values": [0.5], "seeds": [1]}
    for std in (0.0, None):
        state = state_of(Evaluated("synthetic", 4, "val", 0.5, std, (0.5,), 1.0), ResultReady({"top1": top1}))
        assert [(one.mean, one.std) for one in state.accuracies] == [(0.5, None)]
        assert state.log[-1].text == "synthetic at step 4: 50.0 % on val"
        assert state.results == [{"top1": top1 | {"std": None}}]
    several = state_of(Evaluated("synthetic", 4, "val", 0.5, 0.0, (0.5, 0.5), 1.0))
    assert several.accuracies[0].std == 0.0 and several.log[-1].text.endswith("50.0 +- 0.0 % on val")


def test_the_final_table_that_begins_anew_is_empty() -> None:
    """Rows of an interrupted table come again, in their order."""
    first = (StageStarted("evaluate", 0, 2), ResultReady({"what": "a"}), ResultReady({"what": "b"}))
    assert state_of(STARTED, *first, StageStarted("evaluate", 0, 2), ResultReady({"what": "a"})).results == [
        {"what": "a"}
    ]


def test_how_a_run_ended() -> None:
    """The problem is shown until somebody goes on with the run."""
    failed = (STARTED, RunFailed("No space left.", "Free some."))
    assert state_of(*failed).problem == ("No space left.", "Free some.")
    assert state_of(*failed).log[-1].level == "error"
    assert state_of(*failed, RESUMED).problem is None
    assert "asked" in state_of(STARTED, RunStopped("asked to stop")).log[-1].text


def test_a_loss_that_was_not_finite_is_a_gap() -> None:
    """In the log it is null; in a plot it must be a gap, not a zero."""
    (record,) = records(step("static", 1))
    record |= {"loss": None, "figures": {"grad": None}}
    state = fold([record])
    assert math.isnan(state.losses["static"].values[0]) and math.isnan(state.figures["grad"])


@pytest.mark.parametrize("accuracy", [None, "nan", "inf", math.nan])
def test_a_best_step_may_have_no_accuracy(accuracy: Any) -> None:
    """One that is no number would make a status that no reader takes."""
    state = fold([{"event": "best_changed", "time": 1.0, "step": 3, "accuracy": accuracy}])
    assert state.best == (3, None)


def test_the_log_does_not_grow_without_end() -> None:
    """A dashboard that is open for a week."""
    state = RunState()
    for number in range(3 * LOG_LINES):
        state.add({"event": "note", "time": number, "level": "info", "text": str(number)})
    assert len(state.log) <= LOG_LINES and state.log[-1].text == str(3 * LOG_LINES - 1)
    assert state.log[0].time == state.log[-1].time - len(state.log) + 1


# --- damage ----------------------------------------------------------------------------------------------------------

NAMES = sorted({record["event"] for record in records(*WHOLE, RunFailed("", ""), RunStopped(""))})
FIELDS = sorted({name for record in records(*WHOLE, RunFailed("", ""), RunStopped("")) for name in record})
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=4,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, ANYTHING)), max_size=4), st.data())
def test_no_record_can_end_the_view(content: list[dict[str, Any]], data: st.DataObject) -> None:
    """A line damaged on the disk, or one of a version that means something else by a name."""
    state = state_of(*WHOLE[: data.draw(st.integers(0, len(WHOLE)))])
    for record in content:
        state.add({"time": 1.0, **record, "event": data.draw(st.sampled_from([*NAMES, "other", "", "stage"]))})


@pytest.mark.parametrize(
    "changes",
    [
        {"figures": [1, 2]},
        {"figures": "grad"},
        {"step": math.inf},
        {"rate": 10**400},
        {"total": math.nan},
        {"time": 10**400},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_values_of_another_kind_are_passed_over(changes: dict[str, Any]) -> None:
    """The same, for values that JSON can hold and a curve cannot."""
    (record,) = records(step("static", 1))
    fold([{**record, **changes}])


@pytest.mark.parametrize("event", {event.kind: event for event in WHOLE}.values(), ids=lambda event: event.kind)
def test_a_record_without_a_field_is_taken_whole_or_not_at_all(event: Event) -> None:
    """Half of a step in the curve, and half not, would be a figure that nobody computed."""
    before = state_of(*WHOLE[:18])
    (record,) = records(event)
    for name in set(record) - {"eta"}:
        after = copy.deepcopy(before)
        after.add({key: value for key, value in record.items() if key != name})
        taken_whole = after.events == before.events + 1
        assert after == before or taken_whole, f"a {event.kind} without {name} was folded in half"
