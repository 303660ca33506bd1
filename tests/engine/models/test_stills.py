"""Stills shown as clips without making the frames: an accuracy of another network would belong to no table."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.models import VIDEO_MODELS, ConvNet3D, seeded, video_model
from engine.models.registry import sees_stills
from engine.models.stills import StillMap

CPU = torch.device("cpu")


class Narrow(ConvNet3D):
    """The paper's network with a few channels, since float64 takes its time."""

    widths = (3, 4, 5)


def shown(images: torch.Tensor, frames: int) -> torch.Tensor:
    """Clips of equal frames, as sets of stills make them."""
    clips = images.unsqueeze(2).expand(-1, -1, frames, -1, -1)
    return clips.contiguous(memory_format=torch.channels_last_3d)


def passes(network: ConvNet3D, logits: torch.Tensor) -> list[torch.Tensor]:
    """The logits and the gradients of all parameters, detached."""
    network.zero_grad()
    nn.functional.cross_entropy(logits, torch.arange(len(logits)) % logits.shape[1]).backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None for gradient in gradients)
    return [logits.detach(), *(gradient.clone() for gradient in gradients if gradient is not None)]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("frames", [8, 9, 11, 16])
@pytest.mark.parametrize("size", [64, 112])
def test_logits_and_gradients_are_those_of_the_clips(frames: int, size: int, training: bool) -> None:
    """Against the 3-D network on whole clips, in float64, with dropout from the same seed while training."""
    torch.manual_seed(1)
    network = Narrow(5, frames, size).double().to(memory_format=torch.channels_last_3d).train(training)
    images = torch.randn(2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with seeded(3, CPU):
        expected = passes(network, network(shown(images, frames)))
    with seeded(3, CPU):
        found = passes(network, network.stills(images, frames))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)
    if training:  # without this, equal logits would not show that dropout is the same
        with seeded(4, CPU):
            assert not torch.allclose(network.stills(images, frames), expected[0], rtol=1e-3)


@pytest.mark.parametrize("name", ["convnet3d", "convnet3d_small"])
def test_it_is_so_for_the_networks_of_the_package(name: str) -> None:
    """With their own widths, and images as they come from a set of one-frame clips."""
    assert sees_stills(name)
    network = video_model(name, 3, 8, 64, 1, CPU).double().eval()
    assert isinstance(network, ConvNet3D)
    clips = torch.randn(2, 3, 1, 64, 64, dtype=torch.float64)
    expected = passes(network, network(clips.expand(-1, -1, 8, -1, -1)))
    for one, other in zip(passes(network, network.stills(clips.squeeze(2), 8)), expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [64, 112])
def test_the_collapsed_network_sees_stills_as_a_long_clip_at_its_middle(size: int) -> None:
    """Against the 3-D network on 24 frames, in float64; each slice of a kernel has the gradient of their sum."""
    network = video_model("convnet3d_collapsed", 3, 8, size, 1, CPU).double().eval()
    assert isinstance(network, ConvNet3D) and sees_stills("convnet3d_collapsed")
    images = torch.randn(1, 3, size, size, dtype=torch.float64)
    found = passes(network, network.stills(images, 8))
    middle = network.features(shown(images, 24))[:, :, 3:4].repeat(1, 1, 2, 1, 1)
    logits = network.logits(network.pool(middle)).mean((2, 3, 4))
    assert torch.allclose(found[0], logits, rtol=1e-10, atol=1e-12)
    network.zero_grad()
    nn.functional.cross_entropy(logits, torch.zeros(1, dtype=torch.int64)).backward()
    for one, parameter in zip(found[1:], network.parameters(), strict=True):
        assert parameter.grad is not None
        if parameter.dim() == 5 and parameter.shape[2] == 3:
            assert torch.allclose(one.sum(2), parameter.grad.sum(2), rtol=1e-9, atol=1e-12)
            assert torch.equal(one[:, :, 0], one[:, :, 1]) and torch.equal(one[:, :, 1], one[:, :, 2])
        else:
            assert torch.allclose(one, parameter.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("frames", [2, 3, 5, 12, 20, 33])
def test_maps_of_any_length_are_those_of_the_clips(frames: int) -> None:
    """Odd lengths drop a time in pooling, short ones have no inner slice, and long ones need no more slices."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv3d(3, 4, 3, (1, 2, 2), 1),
        nn.Conv3d(4, 5, 3, 1, 1, bias=False),
        nn.MaxPool3d((2, 2, 2)),
        nn.Conv3d(5, 2, 3, 1, 1),
    ).double()
    images = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    seen = StillMap.of_images(images, frames)
    clips = shown(images, frames)
    for number, layer in enumerate(layers):
        if isinstance(layer, nn.Conv3d):
            seen, clips = seen.convolved(layer).rectified(), layer(clips).relu()
        else:
            seen, clips = seen.pooled((2, 2, 2)), layer(clips)
        assert torch.allclose(seen.expanded(), clips, rtol=1e-10, atol=1e-12), number
        assert len(seen.slices) <= 7


def test_others_see_whole_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subclass of the paper's network may do anything with a clip."""
    monkeypatch.setitem(VIDEO_MODELS, "narrow", Narrow)
    ours = {"convnet3d", "convnet3d_small", "convnet3d_collapsed"}
    assert {name for name in [*VIDEO_MODELS, "theirs:Net"] if sees_stills(name)} == ours
