"""ConvNet3D summed over time: images learned by another network than the one that judges them would be worth less."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.config.schema import COLLAPSIBLE
from engine.models import ConvNet3D, collapsed_model, video_model
from engine.models.collapsed import CollapsedConvNet3D

CPU = torch.device("cpu")


@pytest.mark.parametrize(("frames", "size"), [(32, 64), (24, 112)])
def test_it_is_what_the_video_network_sees_in_the_middle_of_a_still_video(frames: int, size: int) -> None:
    """Against the 3-D network itself, at times that the padding of the ends does not reach."""
    torch.manual_seed(0)
    network = ConvNet3D(5, frames, size).eval()
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        video = network.features(images.unsqueeze(2).expand(-1, -1, frames, -1, -1))
        inner = video[:, :, 2:-2]
        flat = CollapsedConvNet3D(network, size).eval()
        assert inner.shape[2] > 1 and not torch.allclose(video[:, :, 0], inner[:, :, 0], atol=1e-4)
        for time in range(inner.shape[2]):
            assert torch.allclose(flat.embed(images), inner[:, :, time].flatten(1), rtol=1e-5, atol=2e-6)
        pooled = nn.functional.avg_pool2d(inner[:, :, 0], 2, 1) if size > 64 else inner[:, :, 0]
        assert torch.allclose(flat.pooled(images), pooled.flatten(1), rtol=1e-5, atol=2e-6)
        logits = network.logits(pooled.unsqueeze(2)).mean(dim=(3, 4)).squeeze(2)
        assert torch.allclose(flat(images), logits, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", COLLAPSIBLE)
def test_a_number_gives_the_weights_of_the_video_network_of_that_number(name: str) -> None:
    """Sums of them, exactly; and the video network that it is made of stays what it is."""
    flat = collapsed_model(name, 3, 8, 64, 7, CPU)
    network = video_model(name, 3, 8, 64, 7, CPU)
    assert isinstance(network, ConvNet3D)
    whole = [layer for layer in network.features if isinstance(layer, nn.Conv3d)]
    summed = [layer for layer in flat.features if isinstance(layer, nn.Conv2d)]
    for one, other in zip(whole, summed, strict=True):
        assert torch.equal(one.weight.sum(2), other.weight) and other.weight.data_ptr() != one.weight.data_ptr()
    assert not torch.equal(summed[0].weight, collapsed_model(name, 3, 8, 64, 8, CPU).features[0].weight)
