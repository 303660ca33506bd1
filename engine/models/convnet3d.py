"""ConvNet3D, the paper's video network (its "miniC3D"; Wang et al., CVPR 2024)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from engine.data.check import MIN_FRAMES, MIN_SIZE
from engine.models.base import VideoNetwork, too_small
from engine.models.pooling import MaxPool, MeanPool
from engine.models.stills import StillMap


class ConvNet3D(VideoNetwork):
    """Three blocks of Conv3d - ReLU - MaxPool3d without normalisation, average pooling, dropout, 1x1x1 classifier.

    It takes clips (N, 3, T, H, W), and has 3.65 M parameters at 50 classes. Raises DataError for clips below 64 pixels
    or 8 frames, which pooling would reduce to nothing.
    """

    widths: ClassVar[tuple[int, int, int]] = (64, 128, 128)
    """Channels behind each block."""
    endless_stills: ClassVar[bool] = False
    """True if ``stills`` shows an image as at the middle of a long clip, without the zeros at the ends."""

    def __init__(self, classes: int, frames: int, size: int) -> None:
        super().__init__()
        self.check(frames, size)
        first, second, third = self.widths
        self.features = nn.Sequential(
            *_block(3, first, pool=(1, 2, 2)),
            *_block(first, second, pool=(2, 2, 2)),
            *_block(second, third, pool=(2, 2, 2)),
        )
        self.pool = MeanPool((2, 2, 2) if last_side(size) > 1 else (2, 1, 1))
        self.dropout = nn.Dropout(0.5)
        self.logits = nn.Conv3d(third, classes, kernel_size=1)

    @classmethod
    def check(cls, frames: int, size: int) -> None:
        """Raise DataError for clips below 64 pixels or 8 frames."""
        if size < MIN_SIZE or frames < MIN_FRAMES:
            remedy = f"--frames {MIN_FRAMES} --size {MIN_SIZE}"
            raise too_small("ConvNet3D", frames, size, "they vanish in its pooling", remedy)

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the last map before the average pool, flattened: (N, D) with D = 128 T/4 h w.

        D is 2,048 at 16 x 112 x 112 and 256 at 8 x 64 x 64. Behind the pool, little is left of where and when something
        happens (docs/parity.md).
        """
        return self.features(batch).flatten(1)

    def pooled(self, batch: torch.Tensor) -> torch.Tensor:
        """Return features (N, E) behind the average pool: E = 384 at 16 x 112 x 112, 128 at 8 x 64 x 64."""
        return self.pool(self.features(batch)).flatten(1)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return class logits (N, classes): the mean over space, then the maximum over time, of those at each place."""
        return self._classified(self.features(clips))

    def stills(self, images: torch.Tensor, frames: int) -> torch.Tensor:
        """Return class logits (N, classes) of images (N, 3, H, W), each shown as a clip of ``frames`` equal frames.

        They, their gradients and what dropout draws are those of ``forward`` of the clips but for rounding, in a
        fraction of the time (``engine.models.stills``).
        """
        seen = StillMap.of_images(images, frames, endless=self.endless_stills)
        for layer in self.features:
            if isinstance(layer, nn.Conv3d):
                seen = seen.convolved(layer)
            else:
                seen = seen.pooled(layer.kernel) if isinstance(layer, MaxPool) else seen.rectified()
        return self._classified(seen.expanded())

    def _classified(self, features: torch.Tensor) -> torch.Tensor:
        logits = self.logits(self.dropout(self.pool(features)))
        return logits.mean(dim=(3, 4)).amax(dim=2)


class ConvNet3DSmall(ConvNet3D):
    """ConvNet3D with a quarter of the channels: a ninth of the work, for tours and first looks on a CPU.

    Its accuracies are not those of the paper's network, and stand in tables of their own.
    """

    widths = (16, 32, 32)


class ConvNet3DCollapsed(ConvNet3D):
    """ConvNet3D that learns stills as it sees them at the times far from a clip's ends, at the cost of images.

    There the slices of a kernel over time are applied to equal images, so that one 2-D convolution by their sum does
    for all, and each slice has the gradient of the sum. What is left out in training are the zeros before the first
    frame and behind the last. Clips, those of the test among them, go through the network in full. On three sets its
    accuracies were no farther from ConvNet3D's than those of two networks are (docs/experiments/ladder.md); they stand
    in tables of their own.
    """

    endless_stills = True


def _block(channels_in: int, channels_out: int, pool: tuple[int, int, int]) -> list[nn.Module]:
    conv = nn.Conv3d(channels_in, channels_out, kernel_size=(3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3))
    return [conv, nn.ReLU(inplace=True), MaxPool(pool)]


def last_side(size: int) -> int:
    """Return the height and width of the map after the last block: 2 at 112 pixels, 1 below 107.

    Above 64 pixels the reference averages over 2 x 2; a map of 1 x 1 is averaged over time only.
    """
    for _ in range(3):
        size = ((size - 1) // 2 + 1) // 2
    return size


def forward_flops(frames: int, size: int, classes: int = 50) -> int:
    """Return the multiplications and additions of one clip's forward pass: 11.0 G at 16 x 112, 1.77 G at 8 x 64."""
    flops, channels_in = 0, 3
    side, time = size, frames
    for channels_out, pool_time in ((64, 1), (128, 2), (128, 2)):
        side = (side - 1) // 2 + 1
        flops += 2 * channels_in * 3 * 7 * 7 * channels_out * time * side * side
        side, time, channels_in = side // 2, time // pool_time, channels_out
    side_left = side - 1 if side > 1 else side
    return flops + 2 * 128 * classes * (time - 1) * side_left * side_left
