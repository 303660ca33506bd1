"""Pooling that CUDA repeats to the bit: without it two runs of one seed differ on a GPU, and nobody can say why."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.models import ConvNet3D
from engine.models.pooling import MaxPool, MeanPool, block_maximum, window_mean
from engine.models.precision import deterministic, seeded

KERNELS = [(1, 2, 2), (2, 2, 2), (2, 1, 1)]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(2, 3, 8, 6, 6), (1, 2, 5, 7, 9), (3, 1, 2, 2, 2)])
def test_values_and_gradients_are_those_of_torch(kernel: tuple[int, int, int], shape: tuple[int, ...]) -> None:
    """In float64, for sizes that divide and that do not; no two values are equal, so the largest is one."""
    clips = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for ours, layer in ((block_maximum, nn.MaxPool3d(kernel)), (window_mean, nn.AvgPool3d(kernel, stride=1))):
        found, wanted = ours(clips, kernel), layer(clips)
        assert torch.allclose(found, wanted, rtol=1e-14)
        outer = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        gradients = [torch.autograd.grad((out * outer).sum(), clips)[0] for out in (found, wanted)]
        assert torch.allclose(*gradients, rtol=1e-14)


def test_equal_maxima_share_the_gradient() -> None:
    """All of it arrives; which of them gets it is not said."""
    clips = torch.ones(1, 1, 2, 2, 2, requires_grad=True)
    block_maximum(clips, (2, 2, 2)).sum().backward()
    assert clips.grad is not None and clips.grad.sum() == 1


def test_on_a_cpu_the_layers_are_torchs_own() -> None:
    """Numbers that were published before stay what they were, to the bit."""
    clips = torch.randn(2, 3, 8, 6, 6)
    assert torch.equal(MaxPool((2, 2, 2))(clips), nn.MaxPool3d((2, 2, 2))(clips))
    assert torch.equal(MeanPool((2, 1, 1))(clips), nn.AvgPool3d((2, 1, 1), stride=1)(clips))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_training_on_cuda_repeats_to_the_bit(precision: torch.dtype) -> None:
    """Same seed, same device, same bytes; and nothing warns that it may be otherwise."""
    device = torch.device("cuda")
    clips = torch.randn(4, 3, 8, 64, 64, generator=torch.Generator().manual_seed(0)).to(device)
    ends = []
    for _ in range(2):
        with deterministic(), seeded(0, device):
            torch.use_deterministic_algorithms(True)
            network = ConvNet3D(4, 8, 64).to(device, memory_format=torch.channels_last_3d)
            optimiser = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
            for _ in range(20):
                optimiser.zero_grad()
                with torch.autocast("cuda", precision, enabled=precision != torch.float32):
                    logits = network(clips)
                nn.functional.cross_entropy(logits.float(), torch.arange(4, device=device)).backward()
                optimiser.step()
        ends.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    assert torch.equal(*ends)
