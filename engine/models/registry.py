"""The networks by name. A new one is a class, one line here and its name in the preset's schema."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TypeVar

import torch

from engine.errors import UsageError
from engine.models.base import Network, VideoNetwork
from engine.models.convnet import ConvNet
from engine.models.convnet3d import ConvNet3D, ConvNet3DSmall
from engine.models.framewise import ConvNetGRU, ConvNetLSTM, ConvNetMean, ConvNetMLP, ConvNetRNN
from engine.models.precision import seeded
from engine.models.torchvision_video import MC3D18, R3D18, R2Plus1D18, Swin3DTiny
from engine.text import one_line

VIDEO_MODELS: dict[str, Callable[[int, int, int], Network]] = {
    "convnet3d": ConvNet3D,
    "convnet3d_small": ConvNet3DSmall,
    "convnet_mean": ConvNetMean,
    "convnet_mlp": ConvNetMLP,
    "convnet_rnn": ConvNetRNN,
    "convnet_gru": ConvNetGRU,
    "convnet_lstm": ConvNetLSTM,
    "r3d_18": R3D18,
    "mc3_18": MC3D18,
    "r2plus1d_18": R2Plus1D18,
    "swin3d_t": Swin3DTiny,
}
"""The classes of video networks by name, built as (classes, frames, size); torchvision's names for its networks."""

_N = TypeVar("_N", bound=Network)


def video_model(name: str, classes: int, frames: int, size: int, seed: int, device: torch.device) -> Network:
    """Return a new video network on ``device``, channels last. The same seed gives the same weights.

    Raises DataError and UsageError as ``check_model`` does.
    """
    check_model(name, frames, size)
    with seeded(seed, device):
        network = VIDEO_MODELS[name](classes, frames, size)
    return _channels_last(network.to(device))


def image_model(classes: int, size: int, seed: int, device: torch.device) -> ConvNet:
    """Return a new image network for stage 1 on ``device``, channels last. The same seed gives the same weights."""
    with seeded(seed, device):
        network = ConvNet(classes, size)
    return _channels_last(network.to(device))


def check_model(name: str, frames: int, size: int) -> None:
    """Raise DataError if the network ``name`` cannot take clips of ``frames`` frames of ``size`` x ``size`` pixels.

    So too if it could not be trained on a batch of one. Builds nothing. Raises UsageError for an unknown name.
    """
    if name not in VIDEO_MODELS:
        near = difflib.get_close_matches(name.replace("-", "_"), VIDEO_MODELS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(VIDEO_MODELS)}."
        raise UsageError(f"There is no network {one_line(name)}.", hint)
    builder = VIDEO_MODELS[name]
    if isinstance(builder, type) and issubclass(builder, VideoNetwork):
        builder.check(frames, size)


def _channels_last(network: _N) -> _N:
    """Return ``network`` with weights in the memory order of clips and frames.

    `Module.to` could do this only for a network whose weights all have the same number of dimensions.
    """
    orders = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.dim() in orders:
            parameter.data = parameter.data.contiguous(memory_format=orders[parameter.dim()])
    return network
