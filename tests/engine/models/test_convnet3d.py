"""The paper's video network: a user whose network is another one compares numbers that cannot be compared."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from engine.errors import DataError
from engine.models import ConvNet3D
from engine.models.convnet3d import forward_flops

ON_META = torch.device("meta")
"""Shapes without numbers: whole networks in no time."""


def by_kernel(network: nn.Module) -> dict[tuple[int, ...], tuple[torch.Tensor, torch.Tensor]]:
    """Weights and biases in float64 by the shape of the weight; method.md's shapes are all different."""
    state = network.state_dict()
    weights = {name: value for name, value in state.items() if name.endswith("weight")}
    found = {
        tuple(value.shape): (value.double(), state[name.removesuffix("weight") + "bias"].double())
        for name, value in weights.items()
    }
    assert 2 * len(found) == len(state), "there is something beside the four convolutions"
    return found


def max_pool(clips: torch.Tensor, t: int, h: int, w: int) -> torch.Tensor:
    return clips.unfold(2, t, t).unfold(3, h, h).unfold(4, w, w).amax(dim=(5, 6, 7))


def mean_pool(clips: torch.Tensor, t: int, h: int, w: int) -> torch.Tensor:
    return clips.unfold(2, t, 1).unfold(3, h, 1).unfold(4, w, 1).mean(dim=(5, 6, 7))


def forward_by_hand(
    network: nn.Module, clips: torch.Tensor, classes: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The last map, what the average pool makes of it, and logits, of method.md's description; float64, no dropout."""
    weights, x = by_kernel(network), clips.double()
    for shape, pool in (
        ((64, 3, 3, 7, 7), (1, 2, 2)),
        ((128, 64, 3, 7, 7), (2, 2, 2)),
        ((128, 128, 3, 7, 7), (2, 2, 2)),
    ):
        x = max_pool(functional.conv3d(x, *weights[shape], stride=(1, 2, 2), padding=(1, 3, 3)).clamp_min(0), *pool)
    features = mean_pool(x, *((2, 2, 2) if clips.shape[-1] > 64 else (2, 1, 1)))
    weight, bias = weights[classes, 128, 1, 1, 1]
    logits = torch.einsum("nkthw,ck->ncthw", features, weight.flatten(1)) + bias.view(1, -1, 1, 1, 1)
    assert logits.shape[3:] == (1, 1)
    best = logits[:, :, 0, 0, 0]
    for t in range(1, logits.shape[2]):
        best = torch.maximum(best, logits[:, :, t, 0, 0])
    return x, features, best


@pytest.mark.parametrize(("frames", "size"), [(8, 64), (17, 64), (8, 112)])
def test_logits_and_embedding_are_those_of_the_description(frames: int, size: int) -> None:
    """Against a float64 computation from method.md; more frames, so that the maximum over time has a choice.

    The embedding that objectives compare is the map before the average pool, behind which DM is another method.
    """
    torch.manual_seed(0)
    network = ConvNet3D(5, frames, size).eval()
    clips = torch.randn(1, 3, frames, size, size)
    last_map, features, logits = forward_by_hand(network, clips, 5)
    with torch.no_grad():
        assert torch.allclose(network(clips).double(), logits, rtol=1e-4, atol=1e-6)
        assert torch.allclose(network.embed(clips).double(), last_map.flatten(1), rtol=1e-4, atol=1e-6)
        assert torch.allclose(network.pooled(clips).double(), features.flatten(1), rtol=1e-4, atol=1e-6)


def test_parameters() -> None:
    """3.65 M at 50 classes, by hand: weights and biases of four convolutions."""
    by_hand = (3 * 147 * 64 + 64) + (64 * 147 * 128 + 128) + (128 * 147 * 128 + 128) + (128 * 50 + 50)
    assert by_hand == 3_647_666
    with ON_META:
        assert sum(p.numel() for p in ConvNet3D(50, 16, 112).parameters()) == by_hand


@pytest.mark.parametrize(
    ("frames", "size", "values", "pooled"),
    [(8, 64, 256, 128), (16, 112, 2048, 384), (16, 64, 512, 384), (8, 112, 1024, 128)],
)
def test_shapes(frames: int, size: int, values: int, pooled: int) -> None:
    """Both published clip shapes, 2,048 and 256 values that are compared; a single clip keeps its batch axis."""
    with ON_META:
        network = ConvNet3D(50, frames, size)
        for number in (1, 3):
            clips = torch.empty(number, 3, frames, size, size)
            assert network(clips).shape == (number, 50)
            assert network.embed(clips).shape == (number, values)
            assert network.pooled(clips).shape == (number, pooled)


@pytest.mark.parametrize(("frames", "size"), [(8, 63), (7, 64), (1, 1), (16, 32), (4, 112)])
def test_too_small_clips_are_refused_in_words(frames: int, size: int) -> None:
    """They vanish on the way: said before anything starts, with the options that help."""
    with pytest.raises(DataError) as caught:
        ConvNet3D(2, frames, size)
    assert str(size) in caught.value.problem and "--size 64" in caught.value.hint


@pytest.mark.parametrize("size", [64, 65, 80, 96, 106, 107, 112, 128, 160, 224])
def test_what_is_not_refused_works(size: int) -> None:
    """A size between the two published ones must work or be refused, not end a run with a traceback."""
    with ON_META:
        for frames in (8, 9, 16):
            try:
                network = ConvNet3D(4, frames, size)
            except DataError:
                continue
            assert network(torch.empty(2, 3, frames, size, size)).shape == (2, 4)


@pytest.mark.parametrize(("frames", "size", "published"), [(16, 112, 11.0e9), (8, 64, 1.77e9)])
def test_flops(frames: int, size: int, published: float) -> None:
    """`vdtui plan` and `bench` promise times by this number: method.md's, and what torch counts."""
    assert forward_flops(frames, size) == pytest.approx(published, rel=0.003)
    with ON_META, FlopCounterMode(display=False) as counter:
        ConvNet3D(50, frames, size)(torch.empty(1, 3, frames, size, size))
    assert forward_flops(frames, size) == counter.get_total_flops()


def test_dropout_is_half_and_only_in_training() -> None:
    """In training half of the features are dropped and the rest doubled; a test of a network is repeatable."""
    torch.manual_seed(0)
    network = ConvNet3D(3, 8, 64)
    dropped: list[float] = []

    def look(_: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        kept = inputs[0] != 0
        dropped.append(float((output[kept] == 0).float().mean()))
        left = kept & (output != 0)
        assert torch.allclose(output[left], (2 if network.training else 1) * inputs[0][left])

    (dropout,) = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    dropout.register_forward_hook(look)
    clips = torch.randn(8, 3, 8, 64, 64)
    with torch.no_grad():
        network.train()(clips)
        network.eval()(clips)
    assert dropped[0] == pytest.approx(0.5, abs=0.1) and dropped[1] == 0
