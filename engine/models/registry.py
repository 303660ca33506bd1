"""Networks by name. A new one is a class and one line here."""

from __future__ import annotations

from collections.abc import Callable

import torch

from engine.models.base import Network
from engine.models.convnet import ConvNet
from engine.models.convnet3d import ConvNet3D
from engine.models.precision import seeded

VIDEO_MODELS: dict[str, Callable[[int, int, int], Network]] = {"convnet3d": ConvNet3D}


def video_model(name: str, classes: int, frames: int, size: int, seed: int, device: torch.device) -> Network:
    """A freshly initialised video network on ``device``, channels last. The same seed gives the same weights."""
    with seeded(seed, device):
        network = VIDEO_MODELS[name](classes, frames, size)
    return network.to(device=device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def image_model(classes: int, size: int, seed: int, device: torch.device) -> ConvNet:
    """A freshly initialised image network for stage 1."""
    with seeded(seed, device):
        network = ConvNet(classes, size)
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def check_model(name: str, frames: int, size: int) -> None:
    """Raise DataError if the network ``name`` cannot take clips of ``frames`` frames of ``size`` x ``size`` pixels."""
    with torch.device("meta"):
        VIDEO_MODELS[name](2, frames, size)
