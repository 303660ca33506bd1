"""Coresets: a user loses the honest rivals of a distilled set if the wrong clips are chosen."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engine.models import Network
from engine.seeds import generator
from engine.selection import clip_features, clusters, coreset, coverage, easiest, herding, k_center, select_coreset
from tests.tiny import make_real, make_spec

SPEC = make_spec("abc", frames=2, height=3)


def random_features(rows: int, columns: int, seed: int, levels: int) -> torch.Tensor:
    """Whole numbers of few levels, so that there are ties and rows that are equal."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, levels, (rows, columns)).astype(np.float32))


shapes = st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(0, 10**6), st.sampled_from([2, 4, 10**6]))


def herding_by_hand(rows: np.ndarray, number: int) -> list[int]:
    """Of those left, the row that brings the mean of the chosen nearest to the mean of all; the first of equals."""
    chosen: list[int] = []
    for _ in range(min(number, len(rows))):
        best = None
        for k in range(len(rows)):
            if k in chosen:
                continue
            mean = sum(rows[i] for i in [*chosen, k]) / (len(chosen) + 1)
            distance = float(sum((mean - rows.mean(0)) ** 2))
            if best is None or distance < best[0]:
                best = (distance, k)
        assert best is not None
        chosen.append(best[1])
    return chosen


@given(shapes, st.integers(1, 10))
def test_herding_is_the_greedy_choice(shape: tuple[int, int, int, int], number: int) -> None:
    """Step by step against a search through all rows that are left. Equal distances may be taken in either order."""
    features = random_features(*shape)
    found, expected = herding(features, number).tolist(), herding_by_hand(features.double().numpy(), number)
    assert len(found) == len(set(found)) == min(number, len(features))
    rows = features.double().numpy()
    for k in range(len(found)):
        distances = [np.sum((rows[one[: k + 1]].mean(0) - rows.mean(0)) ** 2) for one in (found, expected)]
        if found[:k] == expected[:k]:
            assert distances[0] == pytest.approx(distances[1], rel=1e-9, abs=1e-9)


def radius(rows: np.ndarray, centres: list[int]) -> float:
    return max(min(float(np.linalg.norm(row - rows[c])) for c in centres) for row in rows)


@given(shapes, st.integers(1, 9))
def test_k_center_takes_the_farthest_and_is_at_most_twice_the_best(
    shape: tuple[int, int, int, int], number: int
) -> None:
    """Against distances to all centres written out, and the guarantee (Gonzalez 1985) by trying every choice.

    The reference's breaks above two centres: it measures the distance to the last one only.
    """
    features = random_features(*shape)
    rows, found = features.double().numpy(), k_center(features, number).tolist()
    assert len(found) == len(set(found)) == min(number, len(rows))
    first = np.linalg.norm(rows - rows.mean(0), axis=1)
    assert first[found[0]] == pytest.approx(first.min(), abs=1e-9)
    for k in range(1, len(found)):
        left = [i for i in range(len(rows)) if i not in found[:k]]
        nearest = {i: min(np.linalg.norm(rows[i] - rows[c]) for c in found[:k]) for i in left}
        assert nearest[found[k]] == pytest.approx(max(nearest.values()), abs=1e-9)
    best = min(radius(rows, list(centres)) for centres in itertools.combinations(range(len(rows)), len(found)))
    assert radius(rows, found) <= 2 * best + 1e-9


@pytest.mark.parametrize("method", [herding, k_center, coverage])
@given(shapes, st.integers(1, 9), st.integers(0, 9))
def test_fewer_are_the_first_of_more(method, shape, number, less) -> None:
    """IPC 5 contains IPC 1: a study over IPC compares the same clips and more."""
    features = random_features(*shape)
    assert method(features, number).tolist()[:less] == method(features, min(less, number)).tolist()[:less]


def covered(rows: np.ndarray, chosen: list[int]) -> float:
    """How much of all rows the ``chosen`` ones cover, with its loops written out."""
    distance = [[float(np.linalg.norm(row - other)) for other in rows] for row in rows]
    largest = max(map(max, distance))
    return sum(max((largest - own[j] for j in chosen), default=0.0) for own in distance)


@given(shapes, st.integers(1, 9))
def test_coverage_is_greedy_and_close_to_the_best(shape: tuple[int, int, int, int], number: int) -> None:
    """Each next one adds most, and they cover 1 - 1/e of the best choice (Nemhauser 1978), by trying every one."""
    features = random_features(*shape)
    rows, found = features.double().numpy(), coverage(features, number).tolist()
    assert len(found) == len(set(found)) == min(number, len(rows))
    for k, own in enumerate(found):
        left = [i for i in range(len(rows)) if i not in found[:k]]
        most = max(covered(rows, [*found[:k], i]) for i in left)
        assert covered(rows, [*found[:k], own]) == pytest.approx(most, abs=1e-6)
    best = max(covered(rows, list(choice)) for choice in itertools.combinations(range(len(rows)), len(found)))
    assert covered(rows, found) >= (1 - 1 / math.e) * best - 1e-6


def test_what_coverage_adds_is_divided_by_its_cost() -> None:
    """Of two that cover as much the cheaper; one that covers more, if that is worth what it costs more."""
    features = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    gains = [10 + 9 + 8 + 0, 9 + 10 + 9 + 1, 8 + 9 + 10 + 2, 0 + 1 + 2 + 10]
    assert [covered(features.numpy(), [k]) for k in range(4)] == gains
    assert coverage(features, 4).tolist()[0] == 1
    assert coverage(features, 4, torch.tensor([100, 101, 100, 100])).tolist()[0] == 2
    assert coverage(features, 4, torch.tensor([100, 40, 40, 13])).tolist()[0] == 3
    assert sorted(coverage(features, 9, torch.tensor([1, 2, 3, 4])).tolist()) == [0, 1, 2, 3]


def k_means_by_hand(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Whose each row is, when nothing changes any more; an empty cluster's centre stays."""
    own = None
    for _ in range(100):
        nearest = np.array([np.argmin([np.linalg.norm(row - centre) for centre in centres]) for row in rows])
        if own is not None and (nearest == own).all():
            return nearest
        own = nearest
        centres = np.array([rows[own == k].mean(0) if (own == k).any() else centres[k] for k in range(len(centres))])
    return own


@given(st.integers(1, 12), st.integers(1, 3), st.integers(0, 10**6), st.integers(1, 13))
def test_of_each_cluster_the_row_nearest_to_its_mean_is_taken(rows: int, columns: int, seed: int, number: int) -> None:
    """Against k-means with its loops written out; the largest cluster's row is the first. Rows are all different."""
    features = torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, columns)))
    found, values = clusters(features, number).tolist(), features.numpy()
    assert len(found) == len(set(found)) == min(number, rows)
    own = k_means_by_hand(values, values[k_center(features, number).numpy()])
    sizes = [int((own == own[row]).sum()) for row in found]
    if len(set(own)) < len(found):
        return  # a centre without rows takes one of another cluster
    assert sizes == sorted(sizes, reverse=True) and len({own[row] for row in found}) == len(found)
    for row in found:
        members = np.flatnonzero(own == own[row])
        distances = np.linalg.norm(values[members] - values[members].mean(0), axis=1)
        assert np.linalg.norm(values[row] - values[members].mean(0)) == pytest.approx(distances.min())


def test_equal_rows_are_still_different_clips() -> None:
    """Two videos may be the same: no clip may be taken twice for them."""
    assert sorted(clusters(torch.zeros(3, 2), 3).tolist()) == [0, 1, 2]


def test_the_easiest_are_those_of_the_least_loss() -> None:
    """The smallest cross-entropy of the own class first, computed by hand; of equals the first."""
    assert easiest(torch.tensor([3.0, 1.0, 2.0, 1.0]), 3).tolist() == [1, 3, 2]
    assert easiest(torch.tensor([3.0]), 2).tolist() == [0]
    real = make_real(SPEC, (5, 2, 4))
    logits = real.clips(torch.arange(11)).flatten(1)[:, :3].double().numpy()
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(11), real.labels.numpy()]
    chosen = select_coreset(real, "easy", 2, 0, Flat())
    for label, row in enumerate(chosen.tolist()):
        own = real.of_class(label).tolist()
        assert row == sorted(own, key=lambda clip: losses[clip])[:2]


class Flat(Network):
    """Embeds a clip as its values, so that features can be written down."""

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(batch.flatten(1), training=self.training)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.embed(batch)[:, :3]


def test_features_are_the_embeddings_of_a_class_in_their_order() -> None:
    """In evaluation mode, whatever the batches: else a choice would depend on chance."""
    real = make_real(SPEC, (5, 4, 3))
    for label in range(3):
        own = [i for i, value in enumerate(real.labels.tolist()) if value == label]
        expected = real.clips(torch.tensor(own)).flatten(1)
        checks: list[int] = []
        found = clip_features(real, label, Flat().train(), check=lambda seen=checks: seen.append(1), size=2)
        assert torch.equal(found, expected) and len(checks) == -(-len(own) // 2)


@pytest.mark.parametrize("method", ["herding", "k-center", "clusters", "coverage"])
def test_every_class_gets_its_own_clips(method: str) -> None:
    """Of the right class, chosen among all of it; one with too few repeats its own and takes no other's."""
    real = make_real(SPEC, (5, 2, 4))
    chosen = select_coreset(real, method, 3, 0, Flat())
    assert chosen.shape == (3, 3)
    assert all((real.labels[row] == label).all() for label, row in enumerate(chosen))
    assert [len(set(row.tolist())) for row in chosen] == [3, 2, 3]
    pick = {"herding": herding, "k-center": k_center, "clusters": clusters, "coverage": coverage}[method]
    assert chosen[0].tolist() == real.of_class(0)[pick(clip_features(real, 0, Flat()), 3)].tolist()
    made = coreset(real, chosen)
    assert torch.equal(made.expand()[0], real.clips(chosen.flatten()))
    assert made.expand()[1].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_random_clips_are_drawn_by_seed_and_number() -> None:
    """The same for all who repeat it, another for every network of a table, and all clips in the long run."""
    real = make_real(SPEC, (5, 2, 4))
    draws = [select_coreset(real, "random", 2, 7, number=k).tolist() for k in range(40)]
    assert draws == [select_coreset(real, "random", 2, 7, number=k).tolist() for k in range(40)]
    expected = real.pick(2, 2, generator(7, "random-clips", 3, 2)).tolist()
    assert draws[3][2] == expected
    assert len({str(draw) for draw in draws}) > 10
    assert {index for draw in draws for row in draw for index in row} == set(range(11))
