"""Adam in whitened coordinates, against the change of variables written out with dense matrices in float64."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.optimisers import FLOOR, WhitenedAdam, Whitening

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


def test_the_step_is_adams_on_the_whitened_memory() -> None:
    """m = P z, and Adam on z as of Kingma and Ba (2015), by autograd through P, against the optimiser on m."""
    batch = data((4, 3, 1, 4, 6))
    matrix = torch.from_numpy(dense(batch))
    target = torch.randn(2, 72, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    z = torch.zeros(2, 72, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([z], lr=0.05)
    memory = torch.zeros(2, 1, 3, 1, 4, 6, requires_grad=True)
    ours = WhitenedAdam([{"params": [memory], "lr": 0.05, "whitening": Whitening.of([batch], DIMS)}])
    for _ in range(20):
        for optimiser, loss in (
            (adam, ((z @ matrix - target) ** 4).sum()),
            (ours, ((memory.flatten(1) - target.float()) ** 4).sum()),
        ):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert torch.allclose(memory.detach().flatten(1).double(), z.detach() @ matrix, atol=2e-3)
    assert memory.detach().abs().max() > 0.3


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
