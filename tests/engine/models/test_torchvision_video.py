"""torchvision's networks: what is reported as r3d_18 must be r3d_18."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import get_model

from engine.models.torchvision_video import MC3D18, R3D18, R2Plus1D18, Swin3DTiny, TorchvisionNetwork

ALL = [R3D18, MC3D18, R2Plus1D18, Swin3DTiny]


@pytest.mark.parametrize("kind", ALL)
def test_weights_and_logits_are_torchvisions(kind: type[TorchvisionNetwork]) -> None:
    """With the same seed the very same weights; then the same bits, in training (batch statistics, drawn paths) too."""
    torch.manual_seed(3)
    network = kind(3, 4, 24)
    torch.manual_seed(3)
    reference = get_model(kind.name, weights=None, num_classes=3)
    renamed = {
        key.replace("classifier.", f"features.{kind.last_layer}.").removeprefix("features."): value
        for key, value in network.state_dict().items()
    }
    expected = reference.state_dict()
    assert renamed.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in renamed.items())

    clips = torch.randn(2, 3, 4, 24, 24)
    seen: list[torch.Tensor] = []
    getattr(reference, kind.last_layer).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for training in (True, False):
            outputs = []
            for one in (network, reference):
                torch.manual_seed(7)
                outputs.append(one.train(training)(clips))
            assert torch.equal(*outputs) and outputs[0].shape == (2, 3)
        embedded = network.embed(clips)
    assert torch.equal(embedded, seen[-1])
    assert embedded.shape == (2, 768 if kind is Swin3DTiny else 512)


@pytest.mark.parametrize(("kind", "millions"), [(R3D18, 33.2), (MC3D18, 11.5), (R2Plus1D18, 31.3), (Swin3DTiny, 27.9)])
def test_parameters(kind: type[TorchvisionNetwork], millions: float) -> None:
    """What the docstrings promise; torchvision's table has these and 350 classes more."""
    published = {R3D18: 33_371_472, MC3D18: 11_695_440, R2Plus1D18: 31_505_325, Swin3DTiny: 28_158_070}[kind]
    with torch.device("meta"):
        found = sum(parameter.numel() for parameter in kind(50, 8, 64).parameters())
    assert found == published - 350 * ((768 if kind is Swin3DTiny else 512) + 1)
    assert round(found / 1e6, 1) == millions


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(("frames", "size"), [(8, 64), (16, 112), (8, 56)])
def test_shapes_of_the_data_sets(kind: type[TorchvisionNetwork], frames: int, size: int) -> None:
    """Both published clip shapes, and method.md's 56; a batch of one too, in training."""
    with torch.device("meta"):
        network = kind(6, frames, size).train()
        assert network(torch.empty(1, 3, frames, size, size)).shape == (1, 6)
