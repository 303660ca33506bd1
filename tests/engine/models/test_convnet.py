"""The image network of stage 1: another network would learn another static memory."""

from __future__ import annotations

import torch
from torch.nn import functional

from engine.models import ConvNet


def test_logits_and_embedding_are_those_of_the_description() -> None:
    """Depth 3, width 128, instance norm, ReLU, average pooling: in float64, the statistics by hand."""
    torch.manual_seed(0)
    network = ConvNet(4, 16)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))  # so that scales of 1 and shifts of 0 cannot hide
    images = torch.randn(2, 3, 16, 16)
    values = [parameter.double() for parameter in network.parameters()]
    convs = [(w, values[i + 1]) for i, w in enumerate(values) if w.dim() == 4]
    norms = [(values[i + 2], values[i + 3]) for i, w in enumerate(values) if w.dim() == 4]
    assert [w.shape for w, _ in convs] == [(128, 3, 3, 3), (128, 128, 3, 3), (128, 128, 3, 3)]
    x = images.double()
    for (weight, bias), (scale, shift) in zip(convs, norms, strict=True):
        x = functional.conv2d(x, weight, bias, padding=1)
        mean = x.mean(dim=(2, 3), keepdim=True)
        variance = ((x - mean) ** 2).mean(dim=(2, 3), keepdim=True)
        x = (x - mean) / (variance + 1e-5).sqrt() * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)
        x = x.clamp_min(0)
        x = (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4
    flat = x.flatten(1)
    with torch.no_grad():
        assert torch.allclose(network.embed(images).double(), flat, rtol=1e-4, atol=1e-5)
        logits = flat @ values[-2].T + values[-1]
        assert torch.allclose(network(images).double(), logits, rtol=1e-4, atol=1e-5)


def test_odd_sizes() -> None:
    """Data of any size that the video network takes must do for stage 1 too."""
    with torch.device("meta"):
        for size in (64, 65, 112):
            assert ConvNet(3, size)(torch.empty(2, 3, size, size)).shape == (2, 3)


def test_each_image_is_normalised_on_its_own() -> None:
    """Instance norm: the gradient of a class must not depend on which images share its batch."""
    torch.manual_seed(0)
    network, images = ConvNet(3, 8), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(network(images)[:1], network(images[:1]), atol=1e-5)
