"""The hallucinator: what joins still and moving memories; with another one a stored set would show other clips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.models import Hallucinator
from tests.tiny import compose_by_hand


def test_it_has_327_parameters() -> None:
    """Bytes are the honest axis, and these are counted: 4 * 3 * 27 weights and 3 biases."""
    assert sum(p.numel() for p in Hallucinator().parameters()) == 4 * 3 * 27 + 3 == 327


def test_a_clip_is_the_convolution_of_still_and_dynamic() -> None:
    """Against explicit loops: the still image is there in every frame, the dynamic memory is the fourth channel."""
    torch.manual_seed(0)
    hallucinator, static, dynamic = Hallucinator(), torch.randn(2, 3, 4, 5), torch.randn(2, 6, 4, 5)
    with torch.no_grad():
        clips = hallucinator.compose(static, dynamic)
    assert clips.shape == (2, 3, 6, 4, 5) and clips.is_contiguous(memory_format=torch.channels_last_3d)
    weight, bias = hallucinator.weight.detach().numpy(), hallucinator.bias.detach().numpy()
    for n in range(2):
        expected = compose_by_hand(static[n].numpy(), dynamic[n].numpy(), weight, bias)
        assert np.allclose(clips[n].numpy(), expected, rtol=1e-5, atol=1e-5)


def test_identity_passes_the_still_and_adds_the_dynamic() -> None:
    """A dynamic of 1 is the same brightness in all three channels, in pixels: their mean deviation."""
    std = (0.2, 0.3, 0.1)
    static, dynamic = torch.randn(1, 3, 4, 4), torch.randn(1, 5, 4, 4)
    with torch.no_grad():
        clips = Hallucinator.identity(std).compose(static, dynamic)
    for c in range(3):
        for t in range(5):
            in_pixels = (clips[0, c, t] - static[0, c]) * std[c]
            assert torch.allclose(in_pixels, dynamic[0, t] * 0.2, atol=1e-6)


def test_several_have_327_parameters_each_in_two_tensors() -> None:
    """An optimiser, a checkpoint and a file know two names, however many there are; each starts differently."""
    several = Hallucinator(3)
    assert {name: tuple(p.shape) for name, p in several.named_parameters()} == {
        "weight": (3, 3, 4, 3, 3, 3),
        "bias": (3, 3),
    }
    assert several.number == 3 and Hallucinator().number == 1
    assert sum(p.numel() for p in several.parameters()) == 3 * 327
    assert not torch.equal(several.weight[0], several.weight[1])


def test_the_start_is_that_of_a_convolution() -> None:
    """Runs with one hallucinator start as they always did: torch's own Conv3d draws the same numbers."""
    torch.manual_seed(3)
    expected = torch.nn.Conv3d(4, 3, kernel_size=3, padding=1)
    torch.manual_seed(3)
    found = Hallucinator()
    assert torch.equal(found.weight, expected.weight) and torch.equal(found.bias, expected.bias)  # type: ignore[arg-type]


@pytest.mark.parametrize("which", [[0, 1, 2, 1, 0, 2, 2], [2, 2, 2, 2, 2, 2, 2], [1, 0, 1, 0, 1, 0, 1]])
def test_several_make_the_clips_that_each_makes_alone(which: list[int]) -> None:
    """In the order of the clips, also where one is not drawn at all; gradients too."""
    torch.manual_seed(0)
    several, static, dynamic = Hallucinator(3), torch.randn(7, 3, 4, 5), torch.randn(7, 2, 4, 5, requires_grad=True)
    clips = several.compose(static, dynamic, torch.tensor(which))
    assert clips.shape == (7, 3, 2, 4, 5) and clips.is_contiguous(memory_format=torch.channels_last_3d)
    goal = torch.randn(clips.shape)
    found = torch.autograd.grad((clips * goal).sum(), [several.weight, several.bias, dynamic])
    expected = [torch.zeros_like(tensor) for tensor in found]
    for n, h in enumerate(which):
        one = Hallucinator.of(several.weight[h].detach().clone(), several.bias[h].detach().clone())
        clip = one.compose(static[n : n + 1], dynamic[n : n + 1])
        assert torch.allclose(clips[n], clip[0], atol=1e-6)
        weight, bias, moved = torch.autograd.grad((clip[0] * goal[n]).sum(), [one.weight, one.bias, dynamic])
        expected[0][h] += weight
        expected[1][h] += bias
        expected[2] += moved
    for one_by_one, together in zip(expected, found, strict=True):
        assert torch.allclose(one_by_one, together, rtol=1e-4, atol=1e-5)


def test_several_can_be_differentiated_twice() -> None:
    """Trajectory matching does so. Against torch's finite differences in float64."""
    torch.manual_seed(0)
    several, static = Hallucinator(2).double(), torch.randn(3, 3, 2, 2, dtype=torch.float64)
    dynamic = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    which = torch.tensor([1, 0, 1])
    assert torch.autograd.gradgradcheck(lambda x: several.compose(static, x, which) ** 2, dynamic)


def test_identities_are_all_alike() -> None:
    """However many there are, a start from real clips shows the same clips."""
    std = (0.2, 0.3, 0.1)
    static, dynamic = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    with torch.no_grad():
        one = Hallucinator.identity(std).compose(static, dynamic)
        three = Hallucinator.identity(std, 3).compose(static, dynamic, torch.tensor([2, 0]))
    assert torch.allclose(one, three, atol=1e-6)
