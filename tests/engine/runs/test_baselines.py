"""If these fail, a set is praised for beating clips that are too many, too few, or measured otherwise."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engine.export.wording import against, beside_random, larger_than_all, learned_by, not_learned, told_of
from engine.runs.baselines import is_ahead, standing
from engine.runs.comparison import Source, compare
from engine.runs.methods import Origin

T_2, T_4 = 4.303, 2.776
"""Student's two-sided 95 % points of 2 and 4 degrees (NIST/SEMATECH e-Handbook, table 1.3.6.7.2)."""


def row(what: str, values: list[float], nbytes: int, **changes: Any) -> dict[str, Any]:
    top1 = {"mean": sum(values) / len(values), "std": None, "values": values, "seeds": [1, 2, 3][: len(values)]}
    base = {"what": what, "ipc": 1, "bytes": nbytes, "precision": "float32", "protocol": "strict", "model": "net"}
    return base | {"protocol_version": 2, "data_fingerprint": "d", "recipe": {"lr": 0.1}, "top1": top1} | changes


OWN = row("pixels", [0.50, 0.54, 0.52], 1000)
RANDOM = row("random", [0.30, 0.32, 0.31], 900, precision="uint8")
HERDED = row("compressed-herding", [0.45, 0.44, 0.43], 990, precision="codec", storage="h264-28", ipc=7)


def test_the_best_of_the_real_clips_that_fit_counts() -> None:
    """Not the weakest one, none that takes a byte more, and neither the ceiling nor what the set itself contains."""
    larger = row("compressed-random", [0.6, 0.6, 0.6], 1001, precision="codec")
    ceiling = row("full", [0.9, 0.9, 0.9], 500, ipc=None)
    contained = row("static-only", [0.7, 0.7, 0.7], 300)
    every = [OWN, RANDOM, larger, ceiling, contained, HERDED]
    found = standing(OWN, every)
    assert found is not None and found.baseline is HERDED
    assert [one["what"] for one in every if standing(one, every) is not None] == [
        "pixels"
    ]  # nothing fits into the contained set
    assert standing(RANDOM, every) is None and standing(ceiling, every) is None
    mean = row("class-mean", [0.49, 0.5, 0.51], 40, precision="codec", storage="av1-10")
    found = standing(OWN, [*every, mean])
    assert found is not None and found.baseline is mean and standing(mean, [*every, mean]) is None
    assert "mean frames of the classes (1 per class as av1-10, 40 B in all) reach 50.0" in against(found)
    exact = standing(OWN, [OWN, {**larger, "bytes": 1000}])
    assert exact is not None and exact.baseline["bytes"] == 1000


@pytest.mark.parametrize(
    "changed",
    [{"model": "other"}, {"protocol": "vdsd"}, {"data_fingerprint": "e"}, {"recipe": {"lr": 0.1, "epochs": 9}}],
)
def test_clips_that_were_measured_otherwise_are_no_baseline(changed: dict[str, Any]) -> None:
    """A difference between two protocols, networks, data or recipes would be a difference of nothing."""
    assert standing(OWN, [OWN, {**HERDED, **changed}]) is None


def test_a_learned_rate_is_no_other_condition() -> None:
    """Sets of MTT bring a rate of their own, and would stand without any baseline."""
    found = standing({**OWN, "recipe": {"lr": 0.02}}, [HERDED])
    assert found is not None and found.baseline is HERDED


def test_the_interval_is_the_paired_one() -> None:
    """Pairs 0.05, 0.10, 0.09: mean 0.08, and t times the standard error of three."""
    found = standing(OWN, [RANDOM, HERDED])
    assert found is not None
    error = math.sqrt((0.03**2 + 0.02**2 + 0.01**2) / 2 / 3)
    assert found.over.value == pytest.approx(0.08)
    assert found.over.low == pytest.approx(0.08 - T_2 * error, abs=1e-4)
    assert found.over.high == pytest.approx(0.08 + T_2 * error, abs=1e-4)
    assert found.over.verdict == "better" and is_ahead(found.over)
    text = against(found)
    assert "+8.0 [1.4, 14.6] points over the best baseline" in text
    assert "chosen by herding (7 per class as h264-28, 990 B in all)" in text
    assert "more of them would fit" not in text
    assert "more of them would fit" in told_of(OWN, [OWN, {**HERDED, "capped": True}])[0]


def test_a_difference_within_noise_did_not_help() -> None:
    """With other seeds it is Welch's: equal variances of 0.0001 / 3 each, four degrees; 1 point is less than noise."""
    other = row("compressed-random", [0.50, 0.51, 0.52], 800, ipc=4)
    other["top1"]["seeds"] = [7, 8, 9]
    own = {**OWN, "top1": {"mean": 0.52, "std": None, "values": [0.51, 0.52, 0.53], "seeds": [1, 2, 3]}}
    found = standing(own, [other])
    assert found is not None and not is_ahead(found.over)
    half = T_4 * math.sqrt(2 * 0.0001 / 3)
    assert (found.over.low, found.over.high) == pytest.approx((0.01 - half, 0.01 + half), abs=1e-5)
    text = against(found)
    assert text.startswith("Distillation did not help here:")
    assert "+1.0 [-1.3, 3.3] points, which is within noise" in text and "Try more networks" in text


def test_a_set_that_is_worse_or_has_one_network_is_told_so() -> None:
    """Below its baseline it did not help, whatever the noise; of one network only the difference is known."""
    worse = standing(OWN, [row("random", [0.70, 0.73, 0.71], 10)])
    assert worse is not None and not is_ahead(worse.over) and "did not help" in against(worse)
    single = {**OWN, "top1": {"mean": 0.5, "std": None, "values": [0.5], "seeds": [1]}}
    above, below = standing(single, [RANDOM]), standing(single, [row("random", [0.6, 0.6], 10)])
    assert above is not None and is_ahead(above.over) and "a single network has no spread" in against(above)
    assert below is not None and not is_ahead(below.over)


def test_a_set_larger_than_all_compressed_clips_is_told_so() -> None:
    """Nobody needs a set that takes more room than what it stands for."""
    known = {"storage": "h264-28", "clips": 4662, "encoded": 4662, "bytes": 26_600_000}
    large = {**OWN, "bytes": 115_000_000, "all_clips": known}
    assert larger_than_all(large) == "All training clips take 26.6 MB as H.264 crf 28; this set takes 115 MB."
    assert "about 26.6 MB" in larger_than_all({**large, "all_clips": {**known, "encoded": 1000}})
    assert larger_than_all({**large, "bytes": 26_600_000}) == larger_than_all(OWN) == ""
    assert "fewer bytes" in told_of(large, [row("random", [0.7, 0.7, 0.7], 10)])[0]


@pytest.mark.parametrize(("split", "said"), [("val", "validation split"), ("test", "test split")])
def test_a_set_whose_start_was_chosen_is_told_to_have_learned_nothing(split: str, said: str) -> None:
    """Its numbers may be good, and are those of real clips that were never learned on."""
    start = {**OWN, "step": 0, "selected_on": split}
    assert f"Step 0, the start, was chosen on the {said}" in not_learned(start)
    assert not_learned(start) in told_of(start, [start, HERDED])
    assert learned_by(start | {"objective": "dm"}) == ", as stage 2 began with it (step 0)"
    assert learned_by(start | {"objective": "dm", "step": 50}) == ", by dm" and learned_by(HERDED) == ""
    others = ({**start, "step": 50}, {**start, "selected_on": "none"}, {**RANDOM, "step": 0, "selected_on": split}, OWN)
    assert [not_learned(other) for other in others] == [""] * 4


def test_random_clips_in_more_bytes_that_are_not_beaten_are_told() -> None:
    """A small set may beat all that fits into its bytes, and still be no better than one clip per class as it is."""
    alike = row("random", [0.52, 0.50, 0.54], 5000, precision="uint8")
    text = beside_random(OWN, [OWN, HERDED, alike])
    assert text.startswith("It is not ahead by more than noise of random real clips (1 per class, 5.0 kB in all): ")
    assert text in told_of(OWN, [OWN, HERDED, alike])
    ahead = row("random", [0.90, 0.94, 0.93], 5000, precision="uint8")
    assert beside_random(OWN, [ahead]).startswith("It is behind random real clips")
    beaten, within = {**RANDOM, "bytes": 5000}, {**alike, "bytes": 900}
    assert beside_random(OWN, [beaten]) == beside_random(OWN, [within]) == beside_random(RANDOM, [alike]) == ""


def source(name: str, seed: int, results: list[dict[str, Any]]) -> Source:
    seeds = [{**one, "top1": {**one["top1"], "seeds": [10 * seed + k for k in range(3)]}} for one in results]
    return Source(name, tuple(seeds), origin=Origin("preset", seed))


def test_methods_stand_beside_clips_that_each_run_has_stored_in_its_own_way() -> None:
    """Two seeds choose two storages: were those two methods, no method would have a baseline of its seeds."""
    other = {**HERDED, "storage": "h264-35", "ipc": 9, "top1": {**HERDED["top1"], "mean": 0.4, "values": [0.4] * 3}}
    (group,) = compare([source("a-1", 1, [OWN, HERDED]), source("a-2", 2, [OWN, other])])
    own = next(method for method in group.methods if method.what == "pixels")
    herded = next(method for method in group.methods if method.what == "compressed-herding")
    assert (herded.storage, herded.ipc, herded.seeds) == (None, None, (1, 2))
    assert own.over_baseline is not None and own.over_baseline.of == "method"
    assert own.over_baseline.value == pytest.approx((0.08 + 0.12) / 2) and own.over_baseline.test == "paired"
    assert herded.over_baseline is None


def test_clips_that_take_more_bytes_are_told_to_be_no_baseline() -> None:
    """A set of few bytes beside random clips as uint8: nothing of equal bytes was measured, and the text says so."""
    (text,) = told_of(OWN, [OWN, {**RANDOM, "bytes": 5000}])
    assert text.startswith("No real clips of at most as many bytes stand beside it") and "+21.0" in text
    assert told_of(OWN, [OWN]) == []


@pytest.mark.parametrize("name", ["ipc", "storage", "precision"])
def test_a_damaged_result_breaks_no_other(name: str) -> None:
    """A list where a word was, of a damaged disk, would take the table of all runs down."""
    ours, theirs = row("static-dynamic", [0.5, 0.6], 100), row("random", [0.4, 0.5], 100)
    standing(ours, [ours, theirs | {name: [1]}, theirs])
