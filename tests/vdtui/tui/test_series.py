"""Smoothing, windows and groups of figures, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdtui.tui.watch import Loss
from vdtui.tui.widgets.classes import best_and_worst
from vdtui.tui.widgets.series import FEWEST_STEPS, Window, exponential, figure_groups, within


def loss(*values: float) -> Loss:
    return Loss(np.arange(1.0, len(values) + 1), np.array(values))


@pytest.mark.parametrize("weight", [0.9, 0.99])
@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000])
def test_smoothing_is_the_weighted_mean_of_all_earlier_values(weight: float, count: int) -> None:
    """The smooth curve would lag, jump at the seams of its blocks, or begin at zero."""
    values = np.random.default_rng(count).normal(5, 2, count)
    expected, mean, total = [], 0.0, 0.0
    for value in values:
        mean, total = weight * mean + value, weight * total + 1
        expected.append(mean / total)
    assert np.allclose(exponential(values, weight), expected, rtol=1e-9)


def test_no_smoothing_is_the_curve_itself() -> None:
    """The raw curve would not be the run's."""
    values = np.array([3.0, 1.0])
    assert exponential(values, 0.0) is values
    assert len(exponential(np.zeros(0), 0.9)) == 0


MOVES = st.lists(st.sampled_from(["in", "out", "earlier", "later"]), max_size=30)


@given(MOVES, st.integers(1, 10**6), st.integers(1, 10**6))
def test_no_key_leads_out_of_the_run(moves: list[str], first: int, length: int) -> None:
    """The plot would be empty, and the user would not find back."""
    window, low, high = Window(), float(first), float(first + length)
    for move in moves:
        if move in ("in", "out"):
            window = window.zoomed(move == "in", low, high)
        else:
            window = window.moved(move == "later", low, high)
        start, end = window.limits(low, high)
        assert low - 1e-6 <= start <= end <= high + 1e-6
        assert end - start >= min(FEWEST_STEPS, high - low) - 1e-6
    for _ in range(40):
        window = window.zoomed(False, low, high)
    assert window == Window()


def test_a_window_at_the_newest_step_follows_it() -> None:
    """Zoomed in, the user would look at the past while the run goes on."""
    window = Window().zoomed(True, 1, 101)
    assert window.limits(1, 101) == (51, 101) and window.limits(1, 201) == (151, 201)
    earlier = window.moved(False, 1, 101)
    assert earlier.limits(1, 101) == earlier.limits(1, 201) == (38.5, 88.5)
    assert earlier.moved(True, 1, 101).end is None


def test_a_window_has_the_steps_within_it() -> None:
    """Points at the edges would be missing."""
    assert within(loss(*range(10)), 3, 5).steps.tolist() == [3, 4, 5]


def test_figures_are_grouped_by_what_they_measure() -> None:
    """A norm of 0.01 and a memory of 6 GB in one plot would be one flat line."""
    names = ("grad_dynamic", "grad_hallucinator", "min_dynamic", "max_dynamic", "step_size", "device_memory")
    groups = figure_groups({name: loss(1.0) for name in names})
    assert [(group.title, list(group.lines)) for group in groups] == [
        ("step size", ["step size"]),
        ("gradient norms", ["dynamic", "hallucinator"]),
        ("memory ranges", ["dynamic min", "dynamic max"]),
        ("device memory", ["memory"]),
    ]
    assert figure_groups({}) == ()


@given(st.integers(0, 60), st.integers(1, 20))
def test_best_and_worst_classes_fit(count: int, rows: int) -> None:
    """The worst classes, which one looks for, would be below the edge of the panel."""
    ranked = [(f"c{k}", 1 - k / 100) for k in range(count)]
    shown = best_and_worst(ranked, rows)
    assert len(shown) <= rows
    if count <= rows:
        assert shown == ranked
    elif rows >= 3:
        assert shown[0] == ranked[0] and shown[-1] == ranked[-1] and shown.count(None) == 1
