"""If these fail, luck is called progress, or progress luck: groups, differences, their intervals, and Student's t."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.runs import RunState
from engine.runs.comparison import (
    Group,
    Source,
    compare,
    distilled_seconds,
    read_sources,
)
from engine.runs.differences import Difference, Sample, difference, incomplete_beta, student_t
from engine.runs.state import Stage

# Two-sided 95 % and 99 % points of Student's t: NIST/SEMATECH e-Handbook of Statistical Methods, table 1.3.6.7.2
# (columns 0.975 and 0.995), which gives three decimals.
NIST = {
    1: (12.706, 63.657),
    2: (4.303, 9.925),
    3: (3.182, 5.841),
    4: (2.776, 4.604),
    5: (2.571, 4.032),
    6: (2.447, 3.707),
    7: (2.365, 3.499),
    8: (2.306, 3.355),
    9: (2.262, 3.250),
    10: (2.228, 3.169),
    15: (2.131, 2.947),
    20: (2.086, 2.845),
    30: (2.042, 2.750),
    60: (2.000, 2.660),
    100: (1.984, 2.626),
}


@pytest.mark.parametrize("freedom", NIST)
def test_student_t_agrees_with_the_published_table(freedom: int) -> None:
    """Intervals of three networks hang on t = 4.303: with the normal 1.96 most of noise would be called better."""
    for level, wanted in zip((0.95, 0.99), NIST[freedom], strict=True):
        assert student_t(freedom, level) == pytest.approx(wanted, abs=0.00051)


@given(st.floats(0.01, 0.999))
def test_student_t_of_one_and_two_degrees_has_a_closed_form(level: float) -> None:
    """One degree is Cauchy's distribution; of two, P(|T| <= t) = t / sqrt(2 + t^2)."""
    assert student_t(1, level) == pytest.approx(math.tan(math.pi * level / 2), rel=1e-9)
    assert student_t(2, level) == pytest.approx(level * math.sqrt(2 / (1 - level**2)), rel=1e-9)


def test_student_t_approaches_the_normal() -> None:
    """With many networks the interval is that of the normal distribution."""
    assert student_t(1e5) == pytest.approx(statistics.NormalDist().inv_cdf(0.975), abs=5e-5)


@given(st.floats(1, 40), st.floats(2, 40), st.floats(0.0, 1.0))
def test_incomplete_beta_is_the_integral(a: float, b: float, x: float) -> None:
    """Against Simpson's rule on u^2 = t, which is smooth at 0 for these parameters."""
    number = 2000

    def density(u: float) -> float:
        return 2 * u ** (2 * a - 1) * (1 - u * u) ** (b - 1) if u < 1 else 0.0

    step = math.sqrt(x) / number
    weights = [1, *([4, 2] * (number // 2))[:-1], 1]
    total = sum(weight * density(k * step) for k, weight in enumerate(weights)) * step / 3
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b))
    assert incomplete_beta(a, b, x) == pytest.approx(front * total, abs=1e-5)
    assert incomplete_beta(a, b, x) + incomplete_beta(b, a, 1 - x) == pytest.approx(1, abs=1e-9)


# --- differences -----------------------------------------------------------------------------------------------------


def test_equal_seeds_are_compared_pair_by_pair() -> None:
    """Student's sleep data (Biometrika 1908), as R's t.test(..., paired = TRUE) gives it: -2.4598858, -0.7001142."""
    one = Sample((0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0), tuple(range(10)))
    other = Sample((1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4), tuple(range(10)))
    found = difference(one, [other])
    assert (found.value, found.test) == (pytest.approx(-1.58), "paired")
    assert (found.low, found.high) == (pytest.approx(-2.4598858, abs=1e-6), pytest.approx(-0.7001142, abs=1e-6))
    shuffled = Sample(other.values[::-1], other.seeds[::-1] if other.seeds else None)
    assert difference(one, [shuffled]) == found  # by seed, not by place


def test_other_seeds_are_compared_by_welch() -> None:
    """The same data unpaired: R's t.test gives -3.3654832, 0.2054832 with 17.776 degrees."""
    one = Sample((0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0), tuple(range(10)))
    other = Sample((1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4), tuple(range(10, 20)))
    for rival in (other, Sample(other.values)):
        found = difference(one, [rival])
        assert (found.low, found.high) == (pytest.approx(-3.3654832, abs=1e-6), pytest.approx(0.2054832, abs=1e-6))
        assert found.test == "welch" and found.verdict == "within noise"


def test_a_single_network_has_no_interval() -> None:
    """One lucky network against one unlucky one proves nothing, whatever their distance."""
    alone = Sample((0.9,), (1,))
    many = Sample((0.1, 0.2, 0.1), (1, 2, 3))
    for found in (difference(alone, [many]), difference(many, [alone]), difference(alone, [alone])):
        assert found.low is None and found.test is None and found.verdict == "no interval"
    assert difference(alone, [Sample((0.4,), (1,))]).value == pytest.approx(0.5)


def test_the_mean_over_several_runs_has_the_variance_of_a_mean() -> None:
    """x0 - (x1 + x2) / 2 has the variance v0 + v1 / 4 + v2 / 4; Satterthwaite's degrees from the same parts."""
    samples = [(0.50, 0.54, 0.58), (0.40, 0.44), (0.30, 0.38, 0.34, 0.42)]
    found = difference(Sample(samples[0]), [Sample(samples[1]), Sample(samples[2])])
    parts = [
        factor * statistics.variance(sample) / len(sample)
        for factor, sample in zip((1, 0.25, 0.25), samples, strict=True)
    ]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(s) - 1) for part, s in zip(parts, samples, strict=True))
    value = 0.54 - (0.42 + 0.36) / 2
    assert found.value == pytest.approx(value)
    assert found.high == pytest.approx(value + student_t(freedom) * math.sqrt(sum(parts)))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_differences_are_antisymmetric(one: list[float], other: list[float]) -> None:
    """If a is better than b, b is worse than a."""
    a, b = Sample(tuple(one)), Sample(tuple(other))
    there, back = difference(a, [b]), difference(b, [a])
    assert there.value == -back.value
    assert there.low is not None and back.high is not None and there.low == pytest.approx(-back.high)
    words = {"better": "worse", "worse": "better", "within noise": "within noise"}
    assert back.verdict == words[there.verdict]
    assert difference(a, [a]).verdict == "within noise"


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.01, 0.02, "better"), (-0.02, -0.01, "worse"), (-0.01, 0.02, "within noise")]
)
def test_a_verdict_goes_by_the_interval(low: float, high: float, verdict: str) -> None:
    """Not by the sign of the difference."""
    assert Difference(0.01, low, high, "welch").verdict == verdict


def test_a_verdict_says_what_it_is_of() -> None:
    """ "Better" without a noun is read as that of a method, which networks of one set cannot show."""
    assert Difference(0.01, 0.005, 0.02, "welch").said == "better set"
    assert Difference(-0.01, -0.02, -0.005, "paired", "method").said == "worse method"
    assert Difference(0.01, -0.01, 0.02, "paired", "method").said == "within noise"
    assert Difference(0.01, of="method").said == "no interval"
    found = difference(Sample((0.5, 0.6), (1, 2)), [Sample((0.1, 0.2), (1, 2))], "method")
    assert found.document() == {
        "value": found.value, "low": found.low, "high": found.high, "test": "paired", "of": "method",
        "verdict": "better",
    }  # fmt: skip


# --- tables ----------------------------------------------------------------------------------------------------------


def made(what: str, values: tuple[float, ...], seeds: tuple[int, ...] | None = None, **changes: Any) -> dict[str, Any]:
    """A result; its networks have ``seeds``, by default 1, 2, ..."""
    listed = list(range(1, len(values) + 1)) if seeds is None else list(seeds)
    top1 = {"mean": statistics.fmean(values), "std": 0.0, "values": list(values), "seeds": listed}
    base = {"what": what, "ipc": 1, "protocol": "strict", "protocol_version": 1, "model": "convnet3d",
            "data_fingerprint": "abc", "recipe": {"epochs": 5, "lr": 0.01}, "top1": top1, "bytes": 1}  # fmt: skip
    return base | changes


def source(label: str, *results: dict[str, Any]) -> Source:
    """A file of results."""
    return Source(label, results)


def row(group: Group, run: str, what: str) -> Any:
    """The one row of ``run`` and ``what``."""
    (found,) = [one for one in group.rows if (one.run, one.result["what"]) == (run, what)]
    return found


def test_results_of_other_conditions_are_in_groups_of_their_own() -> None:
    """A vdsd number flatters; beside a strict one it would win every table."""
    a = source("a", made("pixels", (0.3, 0.4)), made("pixels", (0.8, 0.9), protocol="vdsd"), made("random", (0.2, 0.3)))
    b = source("b", made("pixels", (0.5, 0.5), recipe={"epochs": 50, "lr": 0.01}), made("pixels", (0.1, 0.2)))
    groups = compare([a, b])
    assert [[one.run for one in group.rows] for group in groups] == [["a", "a", "b"], ["a"], ["b"]]
    assert [group.conditions["protocol"] for group in groups] == ["strict", "vdsd", "strict"]
    assert row(groups[0], "a", "pixels").best and not row(groups[0], "b", "pixels").best
    assert row(groups[1], "a", "pixels").over_random is None  # random clips of another protocol are no measure


def test_over_random_is_the_mean_over_matching_runs() -> None:
    """DD-Ranking's point: without random clips under the same recipe an accuracy says little of the set."""
    groups = compare(
        [
            source("a", made("pixels", (0.50, 0.60)), made("random", (0.30, 0.40), (11, 12))),
            source("b", made("random", (0.20, 0.26), (21, 22))),
            source("c", made("random", (0.9, 0.9), (31, 32), ipc=10)),
        ]
    )
    found = row(groups[0], "a", "pixels").over_random
    assert found.value == pytest.approx(0.55 - (0.35 + 0.23) / 2) and found.test == "welch"
    assert row(groups[0], "a", "random").over_random is None and row(groups[0], "c", "random").over_random is None


def test_the_same_random_networks_in_two_runs_are_one_measurement() -> None:
    """Two runs of one seed have the same random row; counted twice, its error would shrink by nothing."""
    random = made("random", (0.30, 0.40), (11, 12))
    once = compare([source("a", made("pixels", (0.5, 0.6)), random)])
    twice = compare([source("a", made("pixels", (0.5, 0.6)), random), source("b", random), source("c", random)])
    assert row(once[0], "a", "pixels").over_random == row(twice[0], "a", "pixels").over_random


def test_every_row_is_held_against_the_best_set() -> None:
    """All of the data is a ceiling: it is no rival, and its row makes nothing "worse"."""
    groups = compare(
        [
            source("a", made("pixels", (0.50, 0.52, 0.54)), made("full", (0.9, 0.9, 0.9))),
            source("b", made("pixels", (0.30, 0.33, 0.33))),
        ]
    )
    best, other, full = (row(groups[0], *which) for which in (("a", "pixels"), ("b", "pixels"), ("a", "full")))
    assert best.best and best.over_best is None and full.over_best is None and not full.best
    pairs = [0.30 - 0.50, 0.33 - 0.52, 0.33 - 0.54]
    half = 4.302652729911275 * statistics.stdev(pairs) / math.sqrt(3)
    assert other.over_best.value == pytest.approx(-0.2) and other.over_best.verdict == "worse"
    assert other.over_best.low == pytest.approx(-0.2 - half)


def test_a_run_and_the_file_of_its_results_are_one() -> None:
    """A row that stands twice looks like a confirmation."""
    result = made("pixels", (0.5, 0.6))
    (group,) = compare([source("a", result), source("a", {**result, "evaluated": True}), source("b", result)])
    assert [one.run for one in group.rows] == ["a", "b"]


def test_a_set_is_compared_by_its_results(tmp_path: Path) -> None:
    """People were told that there is no run of that name, and to look for it elsewhere."""
    made = tmp_path / "mine.vds"
    made.write_bytes(b"vds1 and more")
    with pytest.raises(UsageError, match="is a synthetic set") as refusal:
        read_sources(tmp_path, [str(made)], print)
    assert "vdtui evaluate" in refusal.value.hint and "--output" in refusal.value.hint


def test_deviations_of_a_group_are_said_once() -> None:
    """Numbers "of the published protocol" with a tenth of its epochs would be taken for it."""
    (group,) = compare(
        [source("a", made("pixels", (0.5,), deviations=["epochs 5"]), made("random", (0.1,), deviations=["epochs 5"]))]
    )
    assert group.deviations == ["epochs 5"]


def test_cautions_name_run_and_row() -> None:
    """Networks that learned nothing are not the fault of the set that they were trained on."""
    warned = made("pixels", (0.1,), caution="1 of 1 networks did not learn")
    (group,) = compare([source("a", warned, made("random", (0.1,), caution=None))])
    assert group.cautions == ["a, pixels: 1 of 1 networks did not learn"]


def test_seconds_are_those_of_the_set() -> None:
    """A cost that leaves out the resumed part, or counts the final table, is not that of the set."""
    stages = {
        "static": Stage("static", finished=True, seconds=30.0),
        "dynamic": Stage("dynamic", finished=True, seconds=100.0),
        "evaluate": Stage("evaluate", finished=True, seconds=50.0),
    }
    assert distilled_seconds(RunState(stages=stages)) == 130
    assert distilled_seconds(RunState(stages=stages, seconds=400.0)) == 350  # an earlier worker did 220 s of it
    assert distilled_seconds(RunState(stages={"static": Stage("static", seconds=0.0)})) is None
    results = (made("pixels", (0.5, 0.6)), made("random", (0.1, 0.2)))
    (group,) = compare([Source("a", results, None, RunState(stages=stages))])
    assert [one.seconds for one in group.rows] == [130, None]
