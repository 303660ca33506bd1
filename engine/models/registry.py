"""The networks by name. A new one is a class, one line here and its name in the preset's schema.

Networks of other packages come by entry points, or by address (``engine.config.plugins``): a class, or anything else
that is called as ``Net(classes, frames, size)`` and returns a module whose output is logits. They are tried on two
clips of nothing before anything is trained, so that a mistake is told with its remedy and not in the middle of a run.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch
from torch import nn

from engine.config.plugins import NETWORKS, is_address, load, offered
from engine.config.schema import WITH_BUFFERS
from engine.errors import UsageError, VdtuiError
from engine.models.base import Network, VideoNetwork
from engine.models.collapsed import CollapsedConvNet3D
from engine.models.convnet import ConvNet
from engine.models.convnet3d import ConvNet3D, ConvNet3DCollapsed, ConvNet3DSmall
from engine.models.framewise import ConvNetGRU, ConvNetLSTM, ConvNetMean, ConvNetMLP, ConvNetRNN
from engine.models.precision import seeded
from engine.models.torchvision_video import MC3D18, R3D18, R2Plus1D18, Swin3DTiny
from engine.text import one_line

VIDEO_MODELS: dict[str, Callable[[int, int, int], Network]] = {
    "convnet3d": ConvNet3D,
    "convnet3d_small": ConvNet3DSmall,
    "convnet3d_collapsed": ConvNet3DCollapsed,
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
        network = _builder(name)(classes, frames, size)
    return _channels_last(network.to(device))


def image_model(classes: int, size: int, seed: int, device: torch.device) -> ConvNet:
    """Return a new image network for stage 1 on ``device``, channels last. The same seed gives the same weights."""
    with seeded(seed, device):
        network = ConvNet(classes, size)
    return _channels_last(network.to(device))


def still_model(
    network: str, name: str, classes: int, frames: int, size: int, seed: int, device: torch.device
) -> Network:
    """Return a new network of stage 1: the image network, or the video network ``name`` if it is to be collapsed.

    ``network`` is that of ``engine.config.networks.still_network``; the other arguments are those of ``video_model``.
    """
    if network == "collapsed":
        return collapsed_model(name, classes, frames, size, seed, device)
    return image_model(classes, size, seed, device)


def collapsed_model(
    name: str, classes: int, frames: int, size: int, seed: int, device: torch.device
) -> CollapsedConvNet3D:
    """Return a new image network on ``device``, channels last: ``video_model(name, ...)`` as still videos see it.

    Presets name only networks that can be collapsed (``engine.config.schema.COLLAPSIBLE``).
    """
    network = video_model(name, classes, frames, size, seed, device)
    assert isinstance(network, ConvNet3D)
    return _channels_last(CollapsedConvNet3D(network, size).to(device))


def sees_stills(name: str) -> bool:
    """Return whether the network ``name`` is a ConvNet3D of ours, which need not see all frames of a clip of one image.

    A subclass of somebody else's may do anything in ``forward``, so it sees all frames.
    """
    return VIDEO_MODELS.get(name) in (ConvNet3D, ConvNet3DSmall, ConvNet3DCollapsed)


def check_model(name: str, frames: int, size: int) -> None:
    """Raise DataError if the network ``name`` cannot take clips of ``frames`` frames of ``size`` x ``size`` pixels.

    So too if it could not be trained on a batch of one. Of ours nothing is built; others are tried once. Raises
    UsageError for an unknown name, and for a network that does not answer as one must.
    """
    if name not in VIDEO_MODELS and name not in offered(NETWORKS) and not is_address(name):
        near = difflib.get_close_matches(name.replace("-", "_"), [*VIDEO_MODELS, *offered(NETWORKS)], n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(VIDEO_MODELS)}."
        raise UsageError(f"There is no network {one_line(name)}.", hint)
    if name in VIDEO_MODELS:
        builder = VIDEO_MODELS[name]
        if isinstance(builder, type) and issubclass(builder, VideoNetwork):
            builder.check(frames, size)
        return
    _try(name, frames, size)


def has_buffers(name: str, frames: int, size: int) -> bool:
    """Return whether the state of the network ``name`` is more than weights, so that trajectories cannot follow it."""
    if name in VIDEO_MODELS:
        return name in WITH_BUFFERS
    return any(True for _ in _builder(name)(2, frames, size).buffers())


def has_embedding(name: str, frames: int, size: int) -> bool:
    """Return whether the network ``name`` gives features: all of ours do, those of others where they have ``embed``."""
    if name in VIDEO_MODELS:
        return True
    network = _builder(name)(2, frames, size)
    return not isinstance(network, Adapted) or callable(getattr(network.module, "embed", None))


def _builder(name: str) -> Callable[[int, int, int], Network]:
    """Return what builds the network ``name``, ours or another's."""
    if name in VIDEO_MODELS:
        return VIDEO_MODELS[name]
    foreign = _foreign(name)
    return lambda classes, frames, size: _as_network(foreign(classes, frames, size), name)


@cache
def _foreign(name: str) -> Callable[[int, int, int], Any]:
    made: Any = load(offered(NETWORKS)[name].value if name in offered(NETWORKS) else name)
    if not callable(made):
        raise UsageError(f"{name} is no network.", "Name a class that is built as Net(classes, frames, size).")
    return made  # type: ignore[no-any-return]


def _as_network(module: Any, name: str) -> Network:
    if not isinstance(module, nn.Module):
        problem = f"{name} made a {type(module).__name__}, which is no torch.nn.Module."
        raise UsageError(problem, "Let Net(classes, frames, size) return a module.")
    return module if isinstance(module, Network) else Adapted(module, name)


class Adapted(VideoNetwork):
    """A network that knows nothing of this package: a module from clips (N, 3, T, H, W) to logits (N, classes).

    Objectives that compare embeddings need its method ``embed``; without one it can judge sets, and follow experts.
    """

    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module = module
        self._name = name

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return logits (N, classes)."""
        logits: torch.Tensor = self.module(clips)
        return logits

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        """Return features (N, D), by the module's own ``embed``. Raises UsageError if it has none."""
        own = getattr(self.module, "embed", None)
        if own is None:
            hint = (
                "Give the class a method embed(clips) that returns (N, D), or learn by another network: name it first."
            )
            raise UsageError(f"{self._name} has no embed, which this objective compares.", hint)
        return own(batch).flatten(1)  # type: ignore[no-any-return]


@cache
def _try(name: str, frames: int, size: int) -> None:
    """Build the foreign network ``name`` for two classes, and show it two clips."""
    shape = f"{frames} frames of {size} x {size} pixels"
    try:
        foreign = _foreign(name)
        if isinstance(foreign, type) and issubclass(foreign, VideoNetwork):
            foreign.check(frames, size)
        with seeded(0, torch.device("cpu")), torch.no_grad():
            network = _builder(name)(2, frames, size).eval()
            logits = network(torch.zeros(2, 3, frames, size, size))
    except (VdtuiError, MemoryError):
        raise
    except Exception as error:
        reason = one_line(f"{type(error).__name__}: {error}")[:200]
        problem = f"{name} cannot take clips of {shape}: {reason}."
        raise UsageError(
            problem, "It is built as Net(classes, frames, size), and called with (N, 3, T, H, W)."
        ) from error
    found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if found != (2, 2):
        problem = f"{name} answers two clips of two classes with {found}."
        raise UsageError(problem, "Let it return logits, (N, classes).")


def _channels_last(network: _N) -> _N:
    """Return ``network`` with weights in the memory order of clips and frames.

    `Module.to` could do this only for a network whose weights all have the same number of dimensions.
    """
    orders = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.dim() in orders:
            parameter.data = parameter.data.contiguous(memory_format=orders[parameter.dim()])
    return network
