"""Trials and results: what a user loses here is that two numbers can be compared."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation import (
    PROTOCOLS,
    Outcome,
    Recipe,
    Subject,
    Trial,
    TrialCache,
    caution,
    digest,
    mean_std,
    network_seed,
    result,
    run_trial,
)
from engine.evaluation import trials as module
from engine.evaluation.trials import trial_key
from engine.models.registry import VIDEO_MODELS
from engine.runs import RunDirectory, create_run
from engine.synthetic import Coreset, Pixels
from tests.tiny import TinyClassifier, make_real, make_spec, make_static_dynamic

SPEC = make_spec("abc", frames=2, height=3)
RECIPE = Recipe("tiny", 2, 0.1, 0.9, 0.0, 8)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of all networks that were really trained."""
    monkeypatch.setitem(VIDEO_MODELS, "tiny", TinyClassifier)
    seeds: list[int] = []
    original = module.fitting

    def train(synthetic: Any, recipe: Recipe, seed: int, *others: Any) -> Any:
        seeds.append(seed)
        return original(synthetic, recipe, seed, *others)

    monkeypatch.setattr(module, "fitting", train)
    return seeds


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "r", "r", "", {})


def trial(top1: float, per_class: list[float | None], seed: int = 1, seconds: float = 1.5) -> Trial:
    return Trial(seed, Outcome(top1, 1.0, per_class, [[1, 2, 0], [0, 3, 0], [0, 0, 0]]), seconds, 0.1)


# --- numbers ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_the_deviation_is_that_of_a_sample(values: list[float]) -> None:
    """Three networks are a sample: the population's deviation would be too small by a fifth."""
    mean, std = mean_std(values)
    assert mean == pytest.approx(np.mean(values))
    assert std == pytest.approx(np.std(values, ddof=1), abs=1e-9)


def test_a_single_network_has_no_deviation() -> None:
    """ "std": 0.0 is read as networks that agree, and weighs as a certainty in whatever averages results."""
    for protocol in (
        PROTOCOLS["strict"],
        PROTOCOLS["vdsd"],
    ):  # nor has a "population" of one
        assert mean_std([0.25], protocol) == (0.25, None)
    row = make_result([trial(0.5, [0.25, 1.0, None])])
    assert row["top1"] == {"mean": 0.5, "std": None, "values": [0.5], "seeds": [1]} and row["top5"]["std"] is None
    assert '"std": null' in json.dumps(row, allow_nan=False)


def test_networks_that_choose_are_not_those_that_are_reported() -> None:
    """Else the best step would be the one that suits the very networks of the table."""
    selection = {network_seed(0, "selection", k) for k in range(50)}
    final = {network_seed(0, "final", k) for k in range(50)}
    assert len(selection) == len(final) == 50 and not selection & final
    assert not final & {network_seed(1, "final", k) for k in range(50)}
    assert all(0 <= seed < 2**31 for seed in selection | final)


# --- the result ------------------------------------------------------------------------------------------------------


def make_result(trials: list[Trial], precision: str = "float32") -> dict[str, Any]:
    synthetic = make_static_dynamic(SPEC, ipc=2)
    subject = Subject(
        "static-dynamic",
        lambda k: synthetic,
        2,
        synthetic.nbytes(precision),
        synthetic.stored_values,
        precision,
        selected_on="val",
        step=400,
    )
    return result(subject, trials, Recipe("convnet3d", 500, 0.01, 0.9, 5e-4, 256), "abcd", several_clips=True)


def test_a_result_has_everything_that_the_design_promises() -> None:
    """`show --json` and `compare --json`: scripts of users read these keys."""
    row = make_result([trial(0.5, [0.25, 1.0, None]), trial(0.25, [0.75, 0.5, None], seed=2)])
    assert {
        "what",
        "ipc",
        "bytes",
        "precision",
        "protocol",
        "protocol_version",
        "selected_on",
        "model",
        "top1",
        "top5",
        "per_class",
        "confusion",
        "seconds",
        "data_fingerprint",
        "step",
    } <= set(row)
    assert (row["what"], row["ipc"], row["precision"], row["step"]) == ("static-dynamic", 2, "float32", 400)
    assert (row["protocol"], row["protocol_version"], row["selected_on"]) == ("strict", 2, "val")
    assert (row["model"], row["data_fingerprint"], row["seconds"]) == ("convnet3d", "abcd", 3.0)
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_a_result_s_numbers_by_hand() -> None:
    """Means over networks, confusion summed, a class without videos unknown and not zero."""
    row = make_result([trial(0.5, [0.25, 1.0, None]), trial(0.25, [0.75, 0.5, None], seed=2)])
    assert row["top1"] == {
        "mean": 0.375,
        "std": pytest.approx(np.std([0.5, 0.25], ddof=1)),
        "values": [0.5, 0.25],
        "seeds": [1, 2],
    }
    assert row["top5"] == {"mean": 1.0, "std": 0.0, "values": [1.0, 1.0], "seeds": [1, 2]}
    assert row["per_class"] == [0.5, 0.75, None]
    assert row["confusion"] == [[2, 4, 0], [0, 6, 0], [0, 0, 0]]


def test_networks_that_learned_nothing_are_told() -> None:
    """A table at chance because of a rate that is too high was once taken for one that ranks methods."""
    good, stuck, diverged = (dataclasses.replace(trial(0.3, [1, 1, 1]), train_loss=x) for x in (0.9, 1.09, None))
    how = Recipe("convnet3d", 500, 0.01, 0.9, 5e-4, 256)
    assert caution([good, good], how) is None
    said = caution([good, stuck, diverged], how)
    assert said is not None and said.startswith("2 of 3 networks did not learn") and "evaluation.lr below 0.01" in said
    row = make_result([good, diverged])
    assert row["train_loss"] == [0.9, None] and row["caution"] == caution([good, diverged], how)


def test_networks_that_learned_nothing_of_learned_labels_are_told() -> None:
    """A squared error has no meaning by itself: it is compared with that of the best constant answer."""
    how = Recipe("convnet3d", 500, 0.003, 0.9, 5e-4, 256, labels="own")
    good, stuck = (dataclasses.replace(trial(0.3, [1, 1, 1]), train_loss=x, guess=0.2) for x in (0.1, 0.191))
    assert caution([good, good], how) is None
    said = caution([good, stuck], how)
    assert said is not None and said.startswith("1 of 2 networks did not learn")


def test_whether_learned_labels_were_learned_is_measured(run: RunDirectory, trained: list[int]) -> None:
    """For the set and for its rivals; with a rate of next to nothing nobody learns, and the cache keeps that."""
    real, cache = make_real(SPEC, (2, 2, 2)), TrialCache(run.evaluations, "x")
    for data in (make_static_dynamic(SPEC, soft=True), real):
        for rate, learns in ((0.001, True), (1e-9, False)):
            how = dataclasses.replace(RECIPE, lr=rate, epochs=200, labels="own")
            found = [run_trial(data, real, how, 0, cache) for _ in range(2)]
            assert found[0] == found[1] and (caution(found, how) is None) is learns
    assert trained == [0] * 4


def test_a_network_of_an_older_version_counts(run: RunDirectory, trained: list[int]) -> None:
    """Its file says nothing of a guess; labels were hard, so it is log C, and hours of training are not lost."""
    real, cache = make_real(SPEC, (2, 2, 2)), TrialCache(run.evaluations, "x")
    new = run_trial(real, real, RECIPE, 0, cache)
    document = json.loads((run.evaluations / "x-0.json").read_text())
    assert document.pop("guess") == pytest.approx(np.log(3))
    (run.evaluations / "x-0.json").write_text(json.dumps(document))
    old = run_trial(real, real, RECIPE, 0, cache)
    assert trained == [0] and old == dataclasses.replace(new, guess=None)
    assert caution([dataclasses.replace(old, train_loss=1.09)], RECIPE) is not None


def test_a_network_that_diverges_has_no_loss(run: RunDirectory, trained: list[int]) -> None:
    """And it is kept as such: an interrupted evaluation goes on to say it."""
    real, cache = make_real(SPEC, (2, 2, 2)), TrialCache(run.evaluations, "x")
    wild = dataclasses.replace(RECIPE, lr=3e38, epochs=9)
    assert run_trial(real, real, wild, 0, cache).train_loss is None
    assert run_trial(real, real, wild, 0, cache).train_loss is None and trained == [0]
    tame = run_trial(real, real, dataclasses.replace(RECIPE, epochs=200), 0, cache).train_loss
    assert tame is not None and 0 <= tame < 0.5


@pytest.mark.parametrize(("precision", "each"), [("float32", 4), ("float16", 2)])
def test_bytes_stand_beside_ipc(precision: str, each: int) -> None:
    """IPC alone flatters: the stored bytes at the precision that the row says, by hand."""
    memories = 3 * (4 * 3 * 9 + 4 * 2 * 9)
    assert make_result([trial(1, [1, 1, 1])], precision)["bytes"] == each * memories + 4 * 327


# --- trials ----------------------------------------------------------------------------------------------------------


def test_a_finished_network_is_not_trained_again(run: RunDirectory, trained: list[int]) -> None:
    """A resumed evaluation goes on where it was, with the same numbers."""
    synthetic, real, cache = (
        make_static_dynamic(SPEC),
        make_real(SPEC, (3, 3, 3)),
        TrialCache(run.evaluations, "synthetic-val"),
    )
    first = run_trial(synthetic, real, RECIPE, 5, cache)
    again = run_trial(synthetic, real, RECIPE, 5, TrialCache(run.evaluations, "synthetic-val"))
    assert first == again and trained == [5]
    assert run_trial(synthetic, real, RECIPE, 6, cache).seed == 6 and trained == [5, 6]
    run_trial(synthetic, real, RECIPE, 5, TrialCache(run.evaluations, "other"))
    assert trained == [5, 6, 5]


def test_a_file_of_another_set_does_not_count(run: RunDirectory, trained: list[int]) -> None:
    """After a crash the same step may have other memories; an old number under them would be a false one."""
    real, cache = make_real(SPEC, (3, 3, 3)), TrialCache(run.evaluations, "synthetic-val")
    synthetic = make_static_dynamic(SPEC)
    run_trial(synthetic, real, RECIPE, 5, cache)
    with torch.no_grad():
        synthetic.dynamic[1, 1, 1, 0, 2, 2] += 1e-6
    run_trial(synthetic, real, RECIPE, 5, cache)
    assert trained == [5, 5]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"set": "KEY", "seed": 5}',
        b'{"set": "KEY", "seed": 5, "outcome": {}, "seconds": 1}',
        b'{"set": "KEY", "seed": 5, "outcome": 3, "seconds": 1}',
        b'{"set": "KEY", "seed": 4, "outcome": {"top1": 1, "top5": 1, "per_class": [], "confusion": []}, "seconds": 1}',
        b'{"set": "KEY", "seed": 5, "outcome": {"top1": 1, "top5": 1, "per_class": [], "confusion": []}}',
    ],
)
def test_a_damaged_file_is_trained_again(run: RunDirectory, trained: list[int], content: bytes) -> None:
    """Minutes of work, not the run."""
    synthetic, real = make_static_dynamic(SPEC), make_real(SPEC, (3, 3, 3))
    run.evaluations.mkdir()
    (run.evaluations / "v-5.json").write_bytes(content.replace(b"KEY", trial_key(synthetic, real, RECIPE).encode()))
    assert run_trial(synthetic, real, RECIPE, 5, TrialCache(run.evaluations, "v")).outcome.confusion != []
    assert trained == [5]


def test_a_whole_file_counts_only_for_its_own_recipe_and_test_clips(run: RunDirectory, trained: list[int]) -> None:
    """Another protocol, rate or test split is another measurement, though the set is the same."""
    synthetic, real, cache = make_static_dynamic(SPEC), make_real(SPEC, (3, 3, 3)), TrialCache(run.evaluations, "v")
    run_trial(synthetic, real, RECIPE, 5, cache)
    for changed in (
        dataclasses.replace(RECIPE, lr=0.2),
        dataclasses.replace(RECIPE, protocol=PROTOCOLS["vdsd"]),
        dataclasses.replace(RECIPE, frames="shuffled"),
    ):
        run_trial(synthetic, real, changed, 5, cache)
    run_trial(synthetic, make_real(SPEC, (3, 3, 3), seed=1), changed, 5, cache)
    assert trained == [5] * 5


def test_a_network_of_other_threads_is_another_one(run: RunDirectory, trained: list[int]) -> None:
    """Sums of two threads have other bits: a table of three networks must not take its first from a table of one."""
    synthetic, real, cache = make_static_dynamic(SPEC), make_real(SPEC, (3, 3, 3)), TrialCache(run.evaluations, "v")
    threads = torch.get_num_threads()
    run_trial(synthetic, real, RECIPE, 5, cache)
    try:
        torch.set_num_threads(threads + 1)
        assert trial_key(synthetic, real, RECIPE) == trial_key(synthetic, real, RECIPE, threads + 1)
        run_trial(synthetic, real, RECIPE, 5, cache)
    finally:
        torch.set_num_threads(threads)
    assert trained == [5, 5] and cache.load(trial_key(synthetic, real, RECIPE), 5) is None


def test_a_network_of_stills_is_not_one_of_whole_clips() -> None:
    """They differ by rounding, so one that an older version has kept is trained again, not mixed in; others stay."""
    spec = make_spec("abc", frames=8, height=64)
    still, real = Pixels(spec, torch.zeros(3, 1, 8, 3, 64, 64)), make_real(spec, (1, 1, 1))
    how = dataclasses.replace(RECIPE, model="convnet3d")
    moving = Pixels(spec, torch.arange(8.0).view(1, 1, 8, 1, 1, 1).expand(3, 1, 8, 3, 64, 64))
    assert "-stills" in trial_key(still, real, how)
    assert not any("-stills" in trial_key(*one) for one in ((still, real, RECIPE), (moving, real, how)))


def test_the_digest_sees_every_value_name_and_kind() -> None:
    """Two sets with one digest would share their numbers."""
    pixels = torch.arange(3 * 2 * 2 * 3 * 3 * 3, dtype=torch.float32).view(3, 2, 2, 3, 3, 3)
    found = [digest(Pixels(SPEC, pixels)), digest(Coreset(SPEC, pixels)), digest(make_static_dynamic(SPEC))]
    changed = pixels.clone()
    changed[2, 1, 1, 2, 2, 2] = torch.nextafter(changed[2, 1, 1, 2, 2, 2], torch.tensor(torch.inf))
    wide = make_spec("abcdef", frames=2, height=3)
    found += [digest(Pixels(SPEC, changed)), digest(Pixels(wide, pixels.reshape(6, 1, 2, 3, 3, 3)))]
    assert len(set(found)) == len(found)
    moved = pixels.transpose(3, 4).contiguous().transpose(3, 4)
    assert digest(Pixels(SPEC, moved)) == found[0], "the same values in another layout are the same set"
