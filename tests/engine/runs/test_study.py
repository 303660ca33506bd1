"""If these fail, the table of a grid says of a method what only one of its seeds has shown."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engine.runs.study import OverSeeds, grid, over_seeds

T2 = 4.303
"""Two-sided 95 % point of Student's t with 2 degrees of freedom, from the table of NIST (1.3.6.7.2)."""
SHORT, LONG = (0.40, 0.46, 0.49), (0.50, 0.54, 0.58)


def row(values: dict[str, Any], mean: float | None, **changes: Any) -> dict[str, Any]:
    """A finished cell, whose own set reaches ``mean``, beside random clips; or one that failed."""
    name = "_".join(f"{key}-{value}" for key, value in values.items())
    if mean is None:
        return {"name": name, "values": values, "state": "failed", "results": []}

    def result(what: str, mean: float) -> dict[str, Any]:
        top1 = {"mean": mean, "std": None, "values": [mean], "seeds": [1]}
        base = {"what": what, "protocol": "strict", "protocol_version": 1, "model": "convnet3d",
                "data_fingerprint": "abc", "recipe": {"epochs": 5}, "top1": top1}  # fmt: skip
        return base | changes

    return {"name": name, "values": values, "state": "completed", "results": [result("random", 0.9), result("a", mean)]}


def cells(means: dict[Any, tuple[float | None, ...]], **changes: Any) -> list[dict[str, Any]]:
    """A grid of steps and three seeds, in the order in which ``grid`` varies seeds first."""
    rows = [
        row({"run.seed": seed, "dynamic.steps": steps}, found[seed], **changes)
        for seed in range(3)
        for steps, found in means.items()
    ]
    listed = [dict(cell.values) for cell in grid([("run.seed", [0, 1, 2]), ("dynamic.steps", list(means))])]
    assert [one["values"] for one in rows] == listed
    return rows


def test_each_value_is_told_over_its_seeds_and_against_the_first() -> None:
    """Pairs of +10, +8, +9 points: mean 9, standard error 1 / sqrt(3)."""
    first, second = over_seeds(cells({10: SHORT, 20: LONG}))
    assert (first.values, second.values) == ({"dynamic.steps": 10}, {"dynamic.steps": 20})
    assert first.over_first is None and second.runs == tuple(f"run.seed-{s}_dynamic.steps-20" for s in range(3))
    assert second.top1.mean == pytest.approx(0.54) and second.top1.std == pytest.approx(0.04)
    half = T2 * 0.01 / math.sqrt(3)
    found = second.document()
    assert found["run_seeds"] == [0, 1, 2] and found["top1"]["values"] == list(LONG)
    assert found["over_first"] == {
        "value": pytest.approx(0.09), "low": pytest.approx(0.09 - half, abs=1e-5),
        "high": pytest.approx(0.09 + half, abs=1e-5), "test": "paired", "of": "method", "verdict": "better",
    }  # fmt: skip


def test_a_cell_that_failed_breaks_its_pairs_and_no_more() -> None:
    """Two seeds of three are still two, by Welch; one is a mean alone, none is no row."""
    some = over_seeds(cells({10: SHORT, 20: (0.50, None, 0.58), 30: (0.7, None, None), 40: (None, None, None)}))
    assert [one.values["dynamic.steps"] for one in some] == [10, 20, 30]
    assert some[1].top1.seeds == (0, 2) and some[1].over_first is not None and some[1].over_first.test == "welch"
    assert some[2].top1.std is None and some[2].over_first is not None
    assert some[2].over_first.said == "no interval" and some[2].document()["top1"]["std"] is None
    without = over_seeds(cells({10: (None, None, None), 20: LONG}))
    assert [(one.values, one.over_first) for one in without] == [({"dynamic.steps": 20}, None)]


def test_what_was_measured_otherwise_is_not_compared() -> None:
    """Thirty epochs of evaluation against five would be called a better method."""
    rows = cells({10: SHORT}) + cells({20: LONG}, recipe={"epochs": 30})
    assert [one.over_first for one in over_seeds(rows)] == [None, None]


def test_a_teacher_of_the_run_s_own_seed_is_the_same_condition() -> None:
    """With protocol strict-teacher each run seed has its teacher, and each method the same three."""
    rows = cells({10: SHORT, 20: LONG})
    for one in rows:
        for result in one["results"]:
            result["recipe"] = {"epochs": 5, "labels": f"teacher {one['values']['run.seed']}"}
    found: OverSeeds = over_seeds(rows)[1]
    assert found.over_first is not None and found.over_first.said == "better method"


def test_without_seeds_there_is_no_such_table() -> None:
    """A grid of rates is what it is: one run each."""
    assert over_seeds([row({"dynamic.steps": steps}, 0.5) for steps in (10, 20)]) == []
    assert over_seeds([row({"run.seed": 0, "dynamic.steps": steps}, 0.5) for steps in (10, 20)]) == []
    (alone,) = over_seeds([row({"run.seed": seed}, mean) for seed, mean in enumerate(LONG)])
    assert alone.values == {} and alone.top1.values == LONG and alone.over_first is None
