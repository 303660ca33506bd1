"""The hallucinator: what joins still and moving memories; with another one a stored set would show other clips."""

from __future__ import annotations

import numpy as np
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
