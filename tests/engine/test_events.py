"""Events on the disk: what a user loses here is a part of a run's history, or the view of a run by another version."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events
from engine.events import Event, Note, to_record
from tests.tiny import PYTHON, ROOT

CLASSES = Event.__subclasses__()
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(),
    int: st.integers(0, 2**63),
    float: FLOATS,
    bool: st.booleans(),
    float | None: st.none() | FLOATS,
    tuple[str, ...]: st.lists(st.text(), max_size=4).map(tuple),
    tuple[float, ...]: st.lists(FLOATS, max_size=4).map(tuple),
    dict[str, float]: st.dictionaries(st.text(), FLOATS, max_size=4),
    dict[str, Any]: st.dictionaries(st.text(), st.none() | st.lists(FLOATS, max_size=3) | st.text(), max_size=4),
}


@st.composite
def some_events(draw: st.DrawFn) -> Event:
    cls = draw(st.sampled_from(CLASSES))
    hints = get_type_hints(cls)
    return cls(**{field.name: draw(values(hints[field.name])) for field in dataclasses.fields(cls)})


def values(hint: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(get_args(hint)) if get_origin(hint) is Literal else VALUES[hint]


@given(some_events(), st.floats(0, 4e9))
def test_every_event_survives_the_log(event: Event, time: float) -> None:
    """What a run said must be what the dashboard, a day later, reads."""
    line = json.dumps(to_record(event, time), allow_nan=False)
    record = json.loads(line)
    assert "\n" not in line
    assert record.pop("event") == event.kind
    assert record.pop("time") == pytest.approx(time, abs=0.0006)
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(event).items()}
    assert record == fields


def test_the_names_in_the_log_are_a_contract() -> None:
    """Scripts of users, and logs of older versions, know these names."""
    assert {cls.kind for cls in CLASSES} == {
        "rung_tried",
        "budget_spent",
        "run_started",
        "stage_started",
        "stage_finished",
        "progress",
        "step",
        "network_trained",
        "evaluated",
        "best_changed",
        "result_ready",
        "checkpoint_saved",
        "preview_saved",
        "note",
        "paused",
        "continued",
        "run_stopped",
        "run_failed",
        "run_completed",
    }


def test_no_field_hides_the_record_s_own() -> None:
    """A field called ``event`` or ``time`` would overwrite the name or the moment of its record."""
    for cls in CLASSES:
        assert not {"event", "time", "schema"} & {field.name for field in dataclasses.fields(cls)}


def test_events_cannot_be_changed_by_a_listener() -> None:
    """A notebook's callback must not be able to change what other listeners and the log see."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Note("info", "x").text = "y"  # type: ignore[misc]


def test_stages_are_in_their_order() -> None:
    """The dashboard's stepper goes by this."""
    assert events.STAGES == ("prepare", "budget", "experts", "static", "dynamic", "select", "evaluate")


def test_runs_events_and_presets_need_no_torch() -> None:
    """`vdtui runs` on a slow disk starts at once, and works where torch is broken."""
    code = "import sys, engine.errors, engine.events, engine.config, engine.runs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([PYTHON, "-c", code], cwd=ROOT).returncode == 0
