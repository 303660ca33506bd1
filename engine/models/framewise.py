"""Networks for cross-architecture evaluation: the 2-D ConvNet on every frame, joined over time in one of five ways.

A set that was distilled for one network may suit no other. These networks are as far from ConvNet3D as video networks
get: none of their filters spans two frames. Sizes and crop are those of the paper's code where it fixes them (Wang et
al., CVPR 2024, github.com/yuz1wan/video_distillation, networks.py); a class that differs says how.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import nn

from engine.models.base import VideoNetwork, too_small
from engine.models.convnet import MIN_SIDE, conv_blocks

WIDTH, DEPTH = 128, 3
HIDDEN = 128
"""The units of the MLP, as many as the ConvNet is wide."""
HIDDEN_PART = 8
"""The features of a frame for each unit of a recurrent layer, as published for RNN and GRU."""


class FrameNetwork(VideoNetwork):
    """The ConvNet's blocks on frames (N * T, 3, H, W), ``over_time`` on their features, then a linear classifier."""

    def __init__(self, classes: int, frames: int, size: int) -> None:
        super().__init__()
        self.check(frames, size)
        self.features = conv_blocks(WIDTH, DEPTH)
        per_frame = WIDTH * (self.side_seen(size) // 2**DEPTH) ** 2
        self.classifier = nn.Linear(self.add_time(frames, per_frame), classes)

    @classmethod
    def side_seen(cls, size: int) -> int:
        """Return the height and width of the part of each frame that the network sees, at its centre."""
        return size

    @classmethod
    def check(cls, frames: int, size: int) -> None:
        """Raise DataError if less than 8 pixels are seen, which the ConvNet's blocks halve three times."""
        if cls.side_seen(size) < MIN_SIDE:
            least = next(size for size in range(1, 100) if cls.side_seen(size) >= MIN_SIDE)
            raise too_small(cls.__name__, frames, size, "they vanish in its pooling", f"--size {least}")

    @abstractmethod
    def add_time(self, frames: int, per_frame: int) -> int:
        """Make the layers of ``over_time``; return its number of outputs E for ``frames`` x ``per_frame`` features."""

    @abstractmethod
    def over_time(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features of clips (N, E) from those of their frames (N, T, D)."""

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the input of the classifier, (N, E)."""
        number, _, frames, size, _ = batch.shape
        margin = (size - self.side_seen(size)) // 2
        seen = batch[..., margin : size - margin, margin : size - margin]
        # In clips that lie channels last, frames follow one another, so only a crop makes this line copy.
        images = seen.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self.over_time(self.features(images).flatten(1).view(number, frames, -1))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return class logits (N, classes)."""
        return self.classifier(self.embed(clips))


class ConvNetMean(FrameNetwork):
    """The mean of the frames' features, which is blind to their order and so to motion."""

    def add_time(self, frames: int, per_frame: int) -> int:
        """Make nothing: the mean has no weights."""
        return per_frame

    def over_time(self, features: torch.Tensor) -> torch.Tensor:
        """Return the mean over frames (N, D)."""
        return features.mean(dim=1)


class ConvNetMLP(FrameNetwork):
    """One hidden layer of 128 units with ReLU on all frames' features, concatenated; the clip's length is fixed.

    The paper's code has no hidden layer here but, for every feature, one weighted sum over its values in time.
    """

    def add_time(self, frames: int, per_frame: int) -> int:
        """Make one linear layer over all frames: 51 M weights at 16 x 112 x 112, 8.4 M at 8 x 64 x 64."""
        self.hidden = nn.Linear(frames * per_frame, HIDDEN)
        return HIDDEN

    def over_time(self, features: torch.Tensor) -> torch.Tensor:
        """Return the hidden layer's values (N, 128)."""
        return self.hidden(features.flatten(1)).relu()


class RecurrentNetwork(FrameNetwork):
    """One recurrent layer over the frames' centre crops, from a state of zeros; its last hidden state is classified.

    As published, 24 pixels are cut off each side of frames of 112 x 112, which leaves 64 x 64; other sizes lose the
    same fraction. The layer has one unit for eight features of a frame. The paper's code differs in two points: it
    takes the mean of the hidden states, and its LSTM has as many units as features, which makes 537 M weights.
    """

    layer: ClassVar[type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]]

    @classmethod
    def side_seen(cls, size: int) -> int:
        """Return ``size`` less 24/112 of it on each side, in whole pixels: 64 of 112, 36 of 64."""
        return size - 2 * ((24 * size + 56) // 112)

    def add_time(self, frames: int, per_frame: int) -> int:
        """Make one recurrent layer, which is the same for every number of frames."""
        self.recurrent = self.layer(per_frame, per_frame // HIDDEN_PART, batch_first=True)
        return per_frame // HIDDEN_PART

    def over_time(self, features: torch.Tensor) -> torch.Tensor:
        """Return the hidden state after the last frame, (N, D / 8)."""
        states, _ = self.recurrent(features)
        return states[:, -1]


class ConvNetRNN(RecurrentNetwork):
    """The recurrent network with a simple (Elman) recurrence and tanh."""

    layer = nn.RNN


class ConvNetGRU(RecurrentNetwork):
    """The recurrent network with gated recurrent units (Cho et al. 2014)."""

    layer = nn.GRU


class ConvNetLSTM(RecurrentNetwork):
    """The recurrent network with long short-term memory (Hochreiter and Schmidhuber 1997)."""

    layer = nn.LSTM
