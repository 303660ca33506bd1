"""The 2-D ConvNet on every frame, and something over time: networks for cross-architecture evaluation.

A set that was distilled for one network may suit no other. These are as far from ConvNet3D as video networks get: no
filter of theirs spans two frames. Sizes and crop are those of the paper's own code where it fixes them (Wang et al.,
CVPR 2024, github.com/yuz1wan/video_distillation, networks.py); where we differ, the class says so and why.
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
"""Units of the MLP: the ConvNet's width."""
HIDDEN_PART = 8
"""A recurrent layer has a unit for every eighth feature of a frame, as published for RNN and GRU."""


class FrameNetwork(VideoNetwork):
    """Frames (N * T, 3, H, W) through the ConvNet's blocks; then ``over_time``, then a linear classifier."""

    def __init__(self, classes: int, frames: int, size: int) -> None:
        super().__init__()
        self.check(frames, size)
        self.features = conv_blocks(WIDTH, DEPTH)
        per_frame = WIDTH * (self.side_seen(size) // 2**DEPTH) ** 2
        self.classifier = nn.Linear(self.add_time(frames, per_frame), classes)

    @classmethod
    def side_seen(cls, size: int) -> int:
        """Height and width of the centre of each frame that the network looks at."""
        return size

    @classmethod
    def check(cls, frames: int, size: int) -> None:
        """The ConvNet halves its maps three times, so it must see 8 pixels at least; any number of frames will do."""
        if cls.side_seen(size) < MIN_SIDE:
            least = next(size for size in range(1, 100) if cls.side_seen(size) >= MIN_SIDE)
            raise too_small(cls.__name__, frames, size, "they vanish in its pooling", f"--size {least}")

    @abstractmethod
    def add_time(self, frames: int, per_frame: int) -> int:
        """Make what ``over_time`` needs for ``frames`` of ``per_frame`` features; says how many values it gives."""

    @abstractmethod
    def over_time(self, features: torch.Tensor) -> torch.Tensor:
        """From the features of frames (N, T, D) to those of clips (N, E)."""

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        """What the classifier sees, (N, E)."""
        number, _, frames, size, _ = batch.shape
        margin = (size - self.side_seen(size)) // 2
        seen = batch[..., margin : size - margin, margin : size - margin]
        # Channels last, the frames of a clip lie one after another: what follows is then no copy, but for the crop.
        images = seen.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self.over_time(self.features(images).flatten(1).view(number, frames, -1))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Class logits (N, classes)."""
        return self.classifier(self.embed(clips))


class ConvNetMean(FrameNetwork):
    """The mean of the frames' features: blind to their order, so what it learns needs no motion."""

    def add_time(self, frames: int, per_frame: int) -> int:
        """Nothing is learned over time."""
        return per_frame

    def over_time(self, features: torch.Tensor) -> torch.Tensor:
        """(N, D)."""
        return features.mean(dim=1)


class ConvNetMLP(FrameNetwork):
    """One hidden layer of 128 units with ReLU on all frames' features, concatenated; the clip's length is fixed.

    The paper's code has no hidden layer here but, for every feature, one weighted sum over its values in time.
    """

    def add_time(self, frames: int, per_frame: int) -> int:
        """One matrix over all frames: 51 M weights at 16 x 112 x 112, 8.4 M at 8 x 64 x 64."""
        self.hidden = nn.Linear(frames * per_frame, HIDDEN)
        return HIDDEN

    def over_time(self, features: torch.Tensor) -> torch.Tensor:
        """(N, 128)."""
        return self.hidden(features.flatten(1)).relu()


class RecurrentNetwork(FrameNetwork):
    """One recurrent layer over the frames of the centre crop, from a state of zeros; its last hidden state counts.

    As published the crop is what 24 pixels off each side leave of 112 x 112: 64 x 64; of other sizes we cut off the
    same part. The layer has an eighth as many units as a frame has features. The paper's code differs in two things:
    it takes the mean of the hidden states, and its LSTM has as many units as features, which are 537 M weights.
    """

    layer: ClassVar[type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]]

    @classmethod
    def side_seen(cls, size: int) -> int:
        """24 pixels off each side at 112, the same part of other sizes, in whole pixels: 64 of 112, 36 of 64."""
        return size - 2 * ((24 * size + 56) // 112)

    def add_time(self, frames: int, per_frame: int) -> int:
        """One layer; the same for every number of frames."""
        self.recurrent = self.layer(per_frame, per_frame // HIDDEN_PART, batch_first=True)
        return per_frame // HIDDEN_PART

    def over_time(self, features: torch.Tensor) -> torch.Tensor:
        """The hidden state after the last frame, (N, D / 8)."""
        states, _ = self.recurrent(features)
        return states[:, -1]


class ConvNetRNN(RecurrentNetwork):
    """With a simple (Elman) recurrence and tanh."""

    layer = nn.RNN


class ConvNetGRU(RecurrentNetwork):
    """With gated recurrent units (Cho et al. 2014)."""

    layer = nn.GRU


class ConvNetLSTM(RecurrentNetwork):
    """With long short-term memory (Hochreiter and Schmidhuber 1997)."""

    layer = nn.LSTM
