"""If these fail, a lucky set is published as a better method, or a better method is not seen to be one."""

from __future__ import annotations

import copy
import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.runs.comparison import Group, Source, compare
from engine.runs.methods import Measured, Method, Origin, common_name, methods_of, origin_of

T2, T4 = 4.303, 2.776
"""Two-sided 95 % points of Student's t with 2 and with 4 degrees of freedom, from the table of NIST (1.3.6.7.2)."""
A, B, C = (0.50, 0.54, 0.58), (0.40, 0.46, 0.49), (0.42, 0.46, 0.50)
"""What three methods reach with three run seeds, each a mean over networks."""
RANDOM = (0.30, 0.36, 0.33)
PRESET: dict[str, Any] = {
    "title": "t", "dataset": {"path": "/data/a.h5", "frames": 8}, "dynamic": {"steps": 10},
    "run": {"seed": 0, "device": "cuda:0", "precision": "auto"},
}  # fmt: skip


def made(what: str, mean: float, seed: int, **changes: Any) -> dict[str, Any]:
    """A result of two networks around ``mean``, with network seeds that follow from the run's ``seed``."""
    top1 = {"mean": mean, "std": 0.0, "values": [mean - 0.001, mean + 0.001], "seeds": [100 * seed, 100 * seed + 1]}
    base = {"what": what, "ipc": 1, "protocol": "strict", "protocol_version": 1, "model": "convnet3d",
            "data_fingerprint": "abc", "recipe": {"epochs": 5}, "top1": top1, "bytes": 1}  # fmt: skip
    return base | changes


def runs(name: str, means: tuple[float, ...], seeds: tuple[int, ...], *random: float, steps: int = 10) -> list[Source]:
    """Runs ``name-SEED`` of one method with these means, each with its random clips beside it."""
    found = []
    for place, (mean, seed) in enumerate(zip(means, seeds, strict=True)):
        rows = [made("pixels", mean, seed), *(made("random", value, seed) for value in random[place : place + 1])]
        found.append(Source(f"{name}-{seed}", tuple(rows), origin=Origin(f"{name} of {steps} steps", seed)))
    return found


def method(groups: list[Group], name: str, what: str = "pixels") -> Method:
    """The one row over seeds of ``name``."""
    (found,) = [one for group in groups for one in group.methods if (one.name, one.what) == (name, what)]
    return found


def test_a_method_is_its_runs_each_as_one_value() -> None:
    """Twelve networks of three sets are no twelve sets: their spread would make the interval half as wide."""
    found = method(compare(runs("a", A, (0, 1, 2), *RANDOM)), "a-*")
    assert found.seeds == (0, 1, 2) and found.runs == ("a-0", "a-1", "a-2") and found.best
    assert found.top1.values == A and found.top1.mean == pytest.approx(0.54)
    assert found.top1.std == pytest.approx(0.04)  # sqrt((0.04^2 + 0 + 0.04^2) / 2)


def test_methods_of_the_same_seeds_are_compared_run_by_run() -> None:
    """Differences 10, 8, 9 points: mean 9, standard error 1 / sqrt(3)."""
    groups = compare(runs("a", A, (0, 1, 2)) + runs("b", B, (0, 1, 2)))
    found = method(groups, "b-*").over_best
    assert found is not None and (found.test, found.of, found.said) == ("paired", "method", "worse method")
    half = T2 * 0.01 / math.sqrt(3)
    assert found.value == pytest.approx(-0.09)
    assert (found.low, found.high) == (pytest.approx(-0.09 - half, abs=1e-5), pytest.approx(-0.09 + half, abs=1e-5))
    assert method(groups, "a-*").over_best is None
    shuffled = compare(runs("a", A, (0, 1, 2)) + runs("b", B[::-1], (2, 1, 0)))
    assert method(shuffled, "b-*").over_best == found  # by seed, not by the order of the names


def test_methods_of_other_seeds_are_compared_by_welch() -> None:
    """Variances 16 and 16 points^2 of three: error sqrt(32 / 3), 4 degrees. Eight points are then within noise."""
    groups = compare(runs("a", A, (0, 1, 2)) + runs("c", C, (5, 6, 7)))
    found = method(groups, "c-*").over_best
    assert found is not None and (found.test, found.said) == ("welch", "within noise")
    half = T4 * math.sqrt(2 * 0.0016 / 3)
    assert (found.low, found.high) == (pytest.approx(-0.08 - half, abs=1e-4), pytest.approx(-0.08 + half, abs=1e-4))


def test_a_better_set_is_not_a_better_method() -> None:
    """The very runs of the test above: among sets, eight points are far more than the spread of the networks."""
    groups = compare(runs("a", A, (0, 1, 2)) + runs("c", C, (5, 6, 7)))
    (row,) = [one for one in groups[0].rows if one.run == "c-7"]
    assert row.over_best is not None and row.over_best.said == "worse set"
    assert [one.run for one in groups[0].rows] == ["a-0", "a-1", "a-2", "c-5", "c-6", "c-7"]  # and each is still seen


def test_random_clips_are_a_rival_over_run_seeds() -> None:
    """ "Distilled beats real clips" is a statement on a method: differences 20, 18, 25 points, mean 21."""
    sources = runs("a", A, (0, 1, 2), *RANDOM) + runs("b", B, (0, 1, 2), *RANDOM)
    groups = compare(sources)
    found = method(groups, "a-*").over_random
    error = math.sqrt((1**2 + 3**2 + 4**2) / 2 / 3) / 100
    assert found is not None and (found.test, found.said) == ("paired", "better method")
    assert found.value == pytest.approx(0.21) and found.low == pytest.approx(0.21 - T2 * error, abs=1e-4)
    random = [one for one in groups[0].methods if one.what == "random"]
    assert [(one.seeds, one.top1.values) for one in random] == [((0, 1, 2), RANDOM)]  # of both methods the same clips
    assert random[0].over_random is None and random[0].over_best is not None
    # Random clips of seeds that this method does not have take nothing from its pairs.
    more = compare(sources + runs("c", C, (5, 6, 7), 0.9, 0.9, 0.9))
    assert method(more, "a-*").over_random == found
    lacking = compare(runs("a", A, (0, 1, 2), 0.30, 0.36))  # the run of seed 2 has none
    assert (apart := method(lacking, "a-*").over_random) is not None and apart.test == "welch"


def test_random_clips_of_one_seed_count_once() -> None:
    """`vdtui evaluate --seed 9` of three runs draws the same clips three times, which is no spread of nothing."""
    sources = [
        Source(f"a-{seed}", (made("pixels", mean, seed), made("random", 0.3, 9)), origin=Origin("a", seed))
        for seed, mean in enumerate(A)
    ]
    random = method(compare(sources), "a-0", "random")
    assert random.seeds == (0,) and random.over_best is not None and random.over_best.said == "no interval"
    still = [Measured(f"a-{seed}", Origin("a", seed), made("static-only", 0.3 + seed / 100, 9)) for seed in range(3)]
    (found,) = methods_of(still, ["top1"])  # but the still videos of three sets are three
    assert found.top1.values == pytest.approx((0.30, 0.31, 0.32))


def test_random_clips_of_another_number_are_another_rival() -> None:
    """Ten clips of a class against one would make every method worse."""
    sources = runs("a", A[:2], (0, 1))
    sources += [Source("r", (made("random", 0.9, seed, ipc=10),), origin=Origin("r", seed)) for seed in (0, 1)]
    assert method(compare(sources), "a-*").over_random is None


def test_one_seed_gives_no_verdict_on_a_method() -> None:
    """A single run against three: how often it would have been as good, nobody knows."""
    groups = compare(runs("a", A, (0, 1, 2)) + runs("b", (0.9,), (0,)))
    alone = method(groups, "b-0")
    assert alone.top1.std is None and not alone.best and method(groups, "a-*").best  # nor can it be the best
    assert alone.over_best is not None and alone.over_best.said == "no interval"
    assert alone.over_best.value == pytest.approx(0.36)
    assert compare(runs("a", (0.5,), (0,), 0.3) + runs("b", (0.6,), (1,), 0.3))[0].methods == ()


def test_a_run_that_is_repeated_is_one_seed() -> None:
    """The same run twice is no second one; counted so, its error would shrink by nothing."""
    again = Source("again", (made("pixels", 0.52, 0),), origin=Origin("a of 10 steps", 0))
    found = next(one for group in compare([*runs("a", A, (0, 1, 2)), again]) for one in group.methods)
    assert found.seeds == (0, 1, 2) and found.top1.values == pytest.approx((0.51, 0.54, 0.58))
    assert found.runs == ("a-0", "again", "a-1", "a-2") and len(found.results) == 4


def test_results_of_other_conditions_make_other_methods() -> None:
    """A seed that was judged over more epochs is no seed of the same measurement."""
    strict = runs("a", A[:2], (0, 1))
    longer = Source("a-2", (made("pixels", 0.9, 2, recipe={"epochs": 50}),), origin=Origin("a of 10 steps", 2))
    groups = compare([*strict, longer])
    assert [[one.seeds for one in group.methods] for group in groups] == [[(0, 1)], []]
    unknown = [Measured("a", Origin("a", seed), made("pixels", 0.5, seed, data_fingerprint=None)) for seed in (0, 1)]
    assert methods_of(unknown, ["top1"]) == ()  # of data that nobody knows


def test_all_of_the_data_is_no_rival() -> None:
    """It is a ceiling: beside it every method would be worse."""
    full = [Source(f"f-{s}", (made("full", 0.9 + s / 100, s),), origin=Origin("f", s)) for s in (0, 1, 2)]
    groups = compare([*runs("a", A, (0, 1, 2)), *full])
    assert method(groups, "a-*").best and method(groups, "f-*", "full").over_best is None


def test_other_measures_are_over_seeds_too() -> None:
    """Top-5 stands beside top-1 in papers."""
    rows = []
    for seed, value in enumerate((0.7, 0.8, 0.9)):
        top5 = {"mean": value, "std": 0.0, "values": [value], "seeds": [seed]}
        rows.append(Measured(f"a-{seed}", Origin("a", seed), made("pixels", 0.5, seed, top5=top5)))
    (found,) = methods_of(rows, ["top1", "top5"])
    assert found.measures["top5"].mean == pytest.approx(0.8) and found.measures["top5"].std == pytest.approx(0.1)
    damaged = [*rows[:2], Measured("a-2", Origin("a", 2), made("pixels", 0.5, 2, top5={}))]
    assert list(methods_of(damaged, ["top1", "top5"])[0].measures) == ["top1"]


# --- which runs are of one method ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "key", "value", "same"),
    [
        ("run", "seed", 5, True),
        ("run", "device", "cuda:1", True),
        ("dataset", "path", "/elsewhere/a.h5", True),
        ("run", "device", "cpu", False),
        ("run", "precision", "float32", False),
        ("dataset", "frames", 16, False),
        ("dynamic", "steps", 11, False),
        ("dynamic", "new_key", 1, False),
    ],
)
def test_runs_are_of_one_method_if_only_their_seed_differs(table: str, key: str, value: Any, same: bool) -> None:
    """One step more is another method; a clips file on another disk, or the second GPU, is not."""
    other = copy.deepcopy(PRESET)
    other[table][key] = value
    one, another = origin_of(PRESET), origin_of(other | {"title": "another", "description": "of the same"})
    assert one is not None and another is not None
    assert (one.preset == another.preset) is same
    assert (one.seed, another.seed) == (0, 5 if key == "seed" else 0)


@pytest.mark.parametrize("preset", [{}, {"run": {}}, {"run": 3}, {"run": {"seed": "x"}}])
def test_a_preset_without_a_seed_is_of_no_method(preset: dict[str, Any]) -> None:
    """A folder that was made by hand must not end the comparison of others."""
    assert origin_of(preset) is None
    source = Source("odd", (made("pixels", 0.9, 0),), origin=None)
    assert [one.name for one in compare([*runs("a", A, (0, 1, 2)), source])[0].methods] == ["a-*"]


@pytest.mark.parametrize(
    ("names", "others", "wanted"),
    [
        (("demo", "demo-2"), set(), "demo*"),
        (("seed-0_ipc-1", "seed-1_ipc-1"), {"seed-0_ipc-2"}, "seed-*_ipc-1"),
        (("demo-2", "demo-4"), {"demo-3"}, "demo-2, demo-4"),
        (("one", "two"), set(), "one, two"),
        (tuple("abcdef"), set(), "a and 5 more"),
        (("alone",), {"alone-2"}, "alone"),
        (("aa", "aaa"), set(), "aa*"),
    ],
)
def test_a_method_is_called_by_what_its_runs_have_in_common(
    names: tuple[str, ...], others: set[str], wanted: str
) -> None:
    """A table of methods must say which runs stand behind a row, and not name another's."""
    assert common_name(names, others) == wanted


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1)), min_size=2, max_size=8, unique_by=lambda pair: pair[0]))
def test_no_order_of_runs_changes_a_method(pairs: list[tuple[int, float]]) -> None:
    """The numbers are those of numpy-free textbook formulas, whatever order the runs are named in."""
    rows = [Measured(f"r{seed}", Origin("m", seed), made("pixels", value, seed)) for seed, value in pairs]
    (there,), (back,) = methods_of(rows, ["top1"]), methods_of(rows[::-1], ["top1"])
    assert there == back
    values = [value for _, value in pairs]
    assert there.top1.mean == pytest.approx(sum(values) / len(values))
    assert there.top1.std == pytest.approx(math.sqrt(statistics.variance(values)), abs=1e-12)
