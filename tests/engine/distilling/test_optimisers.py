"""Adam in whitened coordinates, against the change of variables written out with dense matrices in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import engine.distilling.optimisers
from engine.distilling.optimisers import FLOOR, WhitenedAdam, Whitening

DIMS = (-4, -2, -1)


def data(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Smooth noise, whose spectrum is not flat."""
    white = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return white + white.roll(1, -1) + white.roll(1, -2) + white.roll(1, -4) + 0.5


def dense(batch: torch.Tensor) -> np.ndarray:
    """P on flattened (T, H, W), float64: what the filter does to each unit vector, by numpy's full transform."""
    x = batch.double().numpy()
    power = (np.abs(np.fft.fftn(x, axes=(-4, -2, -1))) ** 2).mean(axis=0).sum(axis=1)
    power = power / power.mean() + FLOOR
    amplitude = np.sqrt(power / power.mean())
    size = amplitude.size
    unit = np.eye(size).reshape(size, *amplitude.shape)
    return np.fft.ifftn(np.fft.fftn(unit, axes=(1, 2, 3)) * amplitude, axes=(1, 2, 3)).real.reshape(size, size)


@given(frames=st.integers(1, 4), height=st.integers(1, 5), width=st.integers(1, 5), seed=st.integers(0, 99))
def test_whitening_is_the_symmetric_filter_of_the_data(frames: int, height: int, width: int, seed: int) -> None:
    """Odd and even sizes; and white noise keeps its variance, or rates would mean something else for each data set."""
    batch = data((3, frames, 1, height, width), seed)
    matrix = dense(batch)
    found = Whitening.of(batch.split(2), DIMS)
    memory = torch.randn(2, 1, frames, 1, height, width, generator=torch.Generator().manual_seed(seed))
    expected = memory.double().numpy().reshape(2, -1) @ matrix
    assert np.allclose(found(memory).numpy().reshape(2, -1), expected, atol=1e-4)
    assert np.allclose(matrix, matrix.T) and np.isclose((matrix**2).sum(), len(matrix))


@pytest.mark.parametrize("block", [1, 72, 144, 1 << 22])
def test_the_step_is_adams_on_the_whitened_memory_at_the_length_of_adams(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By numpy in float64 from Kingma and Ba (2015) and a dense P: the direction of P u, each memory as long as u.

    Whatever number of memories is whitened at once.
    """
    monkeypatch.setattr(engine.distilling.optimisers, "BLOCK", block)
    batch = data((4, 3, 1, 4, 6))
    matrix = dense(batch)
    target = np.random.default_rng(1).normal(size=(6, 72))
    by_hand, first, second = np.zeros((6, 72)), np.zeros((6, 72)), np.zeros((6, 72))
    memory = torch.zeros(2, 3, 3, 1, 4, 6, requires_grad=True)
    ours = WhitenedAdam([{"params": [memory], "lr": 0.05, "whitening": Whitening.of([batch], DIMS)}])
    for step in range(1, 21):
        gradient = 4 * (by_hand - target) ** 3 @ matrix
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        u = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        smooth = u @ matrix
        by_hand -= (
            0.05 * smooth * np.linalg.norm(u, axis=1, keepdims=True) / np.linalg.norm(smooth, axis=1, keepdims=True)
        )
        ours.zero_grad()
        ((memory.flatten(0, 1).flatten(1) - torch.from_numpy(target)) ** 4).sum().backward()
        ours.step()
    assert np.allclose(memory.detach().flatten(0, 1).flatten(1).numpy(), by_hand, atol=2e-3)
    assert np.abs(by_hand).max() > 0.3


@pytest.mark.parametrize(("frames", "side"), [(2, 8), (4, 24), (8, 48)])
def test_the_rate_is_in_units_of_the_data_whatever_the_size(frames: int, side: int) -> None:
    """The first step moved larger clips further, 0.5 deviations at 112 pixels with a rate of 0.003: a colour flash."""
    generator = torch.Generator().manual_seed(0)
    smooth = torch.randn(5, frames, 3, side, side, generator=generator).cumsum(-1).cumsum(-2).cumsum(1)
    whitening = Whitening.of([smooth / smooth.std()], DIMS)
    memory = torch.zeros(2, 2, frames, 3, side, side, requires_grad=True)
    memory.grad = torch.randn(memory.shape, generator=generator)
    WhitenedAdam([{"params": [memory], "lr": 0.003, "whitening": whitening}]).step()
    moved = memory.detach().square().mean((2, 3, 4, 5)).sqrt()
    assert torch.allclose(moved, torch.full((2, 2), 0.003), rtol=1e-3)
    assert whitening.amplitude.max() > 2


def test_a_memory_without_gradient_stays_beside_one_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that a step leaves out must not become NaN."""
    whitening = Whitening.of([data((4, 3, 1, 4, 6))], DIMS)
    memory = torch.zeros(2, 1, 3, 1, 4, 6, requires_grad=True)
    memory.grad = torch.zeros_like(memory)
    memory.grad[0] = 1.0
    WhitenedAdam([{"params": [memory], "lr": 0.05, "whitening": whitening}]).step()
    assert torch.equal(memory[1], torch.zeros_like(memory[1])) and memory[0].abs().max() > 0.01


def test_what_is_no_memory_gets_plain_adam() -> None:
    """The hallucinator has no space or time; and a tensor without gradient stays where it is."""
    first = torch.ones(3, requires_grad=True)
    second, idle = first.detach().clone().requires_grad_(), torch.ones(2, requires_grad=True)
    plain = torch.optim.Adam([first], lr=0.1)
    ours = WhitenedAdam([{"params": [second], "lr": 0.1}, {"params": [idle], "lr": 0.1}])
    for k in range(5):
        for optimiser, tensor in ((plain, first), (ours, second)):
            optimiser.zero_grad()
            (tensor * torch.tensor([1.0, -2.0, k])).sum().backward()
            optimiser.step()
    assert torch.allclose(first, second, atol=1e-6) and torch.equal(idle, torch.ones(2))
