"""The ConvNet per frame: an evaluation across architectures that ran other networks would say nothing of these."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from engine.models import autocast
from engine.models.framewise import ConvNetGRU, ConvNetLSTM, ConvNetMean, ConvNetMLP, ConvNetRNN, FrameNetwork

ALL = [ConvNetMean, ConvNetMLP, ConvNetRNN, ConvNetGRU, ConvNetLSTM]
RECURRENT = [ConvNetRNN, ConvNetGRU, ConvNetLSTM]
State = dict[str, torch.Tensor]


def make(kind: type[FrameNetwork], classes: int, frames: int, size: int) -> tuple[FrameNetwork, State]:
    """A network whose scales of 1 and shifts of 0 cannot hide, and its weights in float64."""
    torch.manual_seed(0)
    network = kind(classes, frames, size).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return network, {name: value.double() for name, value in network.state_dict().items()}


def frame_by_hand(state: State, image: torch.Tensor) -> torch.Tensor:
    """Features (D) of one image (3, H, W): method.md's ConvNet with the statistics written out, in float64."""
    x = image.double()
    for block in (0, 4, 8):
        x = functional.conv2d(
            x[None], state[f"features.{block}.weight"], state[f"features.{block}.bias"], padding=1
        ).squeeze(0)
        mean = x.mean(dim=(1, 2), keepdim=True)
        variance = ((x - mean) ** 2).mean(dim=(1, 2), keepdim=True)
        scale, shift = state[f"features.{block + 1}.weight"], state[f"features.{block + 1}.bias"]
        x = ((x - mean) / (variance + 1e-5).sqrt() * scale[:, None, None] + shift[:, None, None]).clamp_min(0)
        x = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
    return x.flatten()


def mean_by_hand(state: State, frames: list[torch.Tensor]) -> torch.Tensor:
    return sum(frames[1:], frames[0]) / len(frames)


def mlp_by_hand(state: State, frames: list[torch.Tensor]) -> torch.Tensor:
    return (state["hidden.weight"] @ torch.cat(frames) + state["hidden.bias"]).clamp_min(0)


def gates(state: State, x: torch.Tensor, h: torch.Tensor, number: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What the input and what the last state give to each gate, in torch's order."""
    from_input = state["recurrent.weight_ih_l0"] @ x + state["recurrent.bias_ih_l0"]
    from_state = state["recurrent.weight_hh_l0"] @ h + state["recurrent.bias_hh_l0"]
    return list(from_input.chunk(number)), list(from_state.chunk(number))


def rnn_by_hand(state: State, frames: list[torch.Tensor]) -> torch.Tensor:
    h = torch.zeros(len(frames[0]) // 8, dtype=torch.float64)
    for x in frames:
        (i,), (s,) = gates(state, x, h, 1)
        h = torch.tanh(i + s)
    return h


def gru_by_hand(state: State, frames: list[torch.Tensor]) -> torch.Tensor:
    h = torch.zeros(len(frames[0]) // 8, dtype=torch.float64)
    for x in frames:
        (ir, iz, inew), (sr, sz, snew) = gates(state, x, h, 3)
        r, z = 1 / (1 + torch.exp(-ir - sr)), 1 / (1 + torch.exp(-iz - sz))
        h = (1 - z) * torch.tanh(inew + r * snew) + z * h
    return h


def lstm_by_hand(state: State, frames: list[torch.Tensor]) -> torch.Tensor:
    h = torch.zeros(len(frames[0]) // 8, dtype=torch.float64)
    c = torch.zeros_like(h)
    for x in frames:
        (ii, if_, ig, io), (si, sf, sg, so) = gates(state, x, h, 4)
        i, f, o = (1 / (1 + torch.exp(-gate)) for gate in (ii + si, if_ + sf, io + so))
        c = f * c + i * torch.tanh(ig + sg)
        h = o * torch.tanh(c)
    return h


BY_HAND = {
    ConvNetMean: (mean_by_hand, 16),
    ConvNetMLP: (mlp_by_hand, 16),
    ConvNetRNN: (rnn_by_hand, 28),
    ConvNetGRU: (gru_by_hand, 28),
    ConvNetLSTM: (lstm_by_hand, 28),
}
"""With the size at which each sees 16 x 16 pixels: 24 in 112 off each side of 28 are 6."""


@pytest.mark.parametrize("kind", ALL)
def test_logits_and_embedding_are_those_of_the_description(kind: type[FrameNetwork]) -> None:
    """Clip by clip and frame by frame in float64: no frame may get into another clip, nor into another's place."""
    over_time, size = BY_HAND[kind]
    network, state = make(kind, 5, 4, size)
    clips = torch.randn(3, 3, 4, size, size)
    for order in (torch.contiguous_format, torch.channels_last_3d):
        with torch.no_grad():
            embedded = network.embed(clips.contiguous(memory_format=order)).double()
            logits = network(clips.contiguous(memory_format=order)).double()
        for n, clip in enumerate(clips):
            off = (size - 16) // 2
            seen = clip[:, :, off : off + 16, off : off + 16]
            expected = over_time(state, [frame_by_hand(state, seen[:, t]) for t in range(4)])
            assert torch.allclose(embedded[n], expected, rtol=1e-4, atol=1e-5)
            by_hand = state["classifier.weight"] @ expected + state["classifier.bias"]
            assert torch.allclose(logits[n], by_hand, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", RECURRENT)
def test_the_recurrent_see_the_centre_and_all_of_it(kind: type[FrameNetwork]) -> None:
    """A clip's gradient is nought outside of 16 x 16 in 28 x 28, and not nought inside."""
    network, _ = make(kind, 2, 2, 28)
    clips = torch.randn(1, 3, 2, 28, 28, requires_grad=True)
    (found,) = torch.autograd.grad(network(clips).square().sum(), clips)
    reached = found.abs().amax(dim=(0, 1, 2)) > 0
    expected = torch.zeros(28, 28, dtype=torch.bool)
    expected[6:22, 6:22] = True
    assert torch.equal(reached, expected)


def test_the_crop_is_in_the_centre_and_as_published() -> None:
    """24 pixels off each side leave 64 of 112; of every size the same part to the pixel, no more on one side."""
    assert {size: ConvNetRNN.side_seen(size) for size in (112, 64, 56, 224)} == {112: 64, 64: 36, 56: 32, 224: 128}
    for size in range(1, 300):
        seen = ConvNetRNN.side_seen(size)
        assert (size - seen) % 2 == 0 and abs(seen - size * 64 / 112) <= 1 and seen >= 1


@pytest.mark.parametrize(("frames", "size"), [(8, 64), (16, 112), (1, 65)])
def test_shapes_and_sizes_of_the_data_sets(frames: int, size: int) -> None:
    """Both published clip shapes; the embeddings are as long as the docstrings say; one clip keeps its batch axis."""
    frame, crop = 128 * (size // 8) ** 2, 128 * (ConvNetRNN.side_seen(size) // 8) ** 2
    expected = {ConvNetMean: frame, ConvNetMLP: 128} | dict.fromkeys(RECURRENT, crop // 8)
    with torch.device("meta"):
        for kind, length in expected.items():
            network = kind(7, frames, size)
            for number in (1, 3):
                clips = torch.empty(number, 3, frames, size, size)
                assert network.embed(clips).shape == (number, length)
                assert network(clips).shape == (number, 7)


def test_weights_that_the_docstrings_promise() -> None:
    """`51 M at 16 x 112, 8.4 M at 8 x 64` is what decides whether a machine can train it."""
    with torch.device("meta"):
        assert ConvNetMLP(2, 16, 112).hidden.weight.numel() == 16 * 128 * 14 * 14 * 128 == 51_380_224
        assert ConvNetMLP(2, 8, 64).hidden.weight.numel() == 8 * 128 * 8 * 8 * 128 == 8_388_608
        wide = nn.LSTM(8192, 8192)
        assert round((wide.weight_ih_l0.numel() + wide.weight_hh_l0.numel()) / 1e6) == 537


def test_only_the_mean_is_blind_to_the_order_of_frames() -> None:
    """That is what an evaluation on shuffled frames is to show."""
    for kind in ALL:
        size = BY_HAND[kind][1]
        network, _ = make(kind, 5, 4, size)
        clips = torch.randn(1, 3, 4, size, size)
        with torch.no_grad():
            same = torch.allclose(network(clips), network(clips.flip(2)), atol=1e-4)
        assert same == (kind is ConvNetMean)


@pytest.mark.parametrize("kind", ALL)
def test_bfloat16(kind: type[FrameNetwork]) -> None:
    """Where the device is fast at it, passes are in bfloat16: the layers over time must go along, to few per cent."""
    size = BY_HAND[kind][1]
    network, _ = make(kind, 5, 2, size)
    clips = torch.randn(2, 3, 2, size, size)
    exact = network(clips)
    with autocast(torch.device("cpu"), torch.bfloat16):
        rough = network(clips)
    rough.float().sum().backward()
    assert (rough.float() - exact).norm().item() / exact.norm().item() < 0.05
