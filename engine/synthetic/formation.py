"""Multi-formation: a stored picture that is a square of small clips, each shown at full size (IDC, Kim et al. 2022).

A codec pays for every stream of frames, whatever is in it: headers, and blocks of sixteen pixels. Sixteen clips of 16
pixels in one of 64 took two fifths of the bytes that they take one by one at a coarse quality, and networks learn more
from many poor clips than from few good ones (docs/experiments/motions.md). The clips of a picture move at the same
time, and nothing else ties them together: they are learned and shown one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch

from engine.config.kinds import clips_of_a_picture
from engine.data.spec import ClipSpec
from engine.errors import PresetError
from engine.synthetic.scaled import enlarge, shrink


@dataclass(frozen=True)
class Formation:
    """``side`` x ``side`` clips in a picture, row by row. Raises PresetError if a side of the clips is no multiple."""

    spec: ClipSpec
    side: int

    def __post_init__(self) -> None:
        if not self.fits(self.spec, self.side):
            height, width = self.spec.height, self.spec.width
            problem = f"Clips of {height} x {width} pixels cannot be pictures of {self.side} x {self.side} equal ones."
            raise PresetError(problem, f"Set synthetic.formation to 2 or more that divides {height}, or leave it out.")

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str], spec: ClipSpec) -> Self | None:
        """The one that a set file of clips of ``spec`` names, or None. Raises ValueError or PresetError."""
        return cls(spec, int(metadata["formation"])) if "formation" in metadata else None

    @staticmethod
    def fits(spec: ClipSpec, side: int) -> bool:
        """Return whether clips of ``spec`` can be pictures of ``side`` x ``side`` equal ones, more than one."""
        return side >= 2 and spec.height % side == 0 and spec.width % side == 0

    @property
    def clips(self) -> int:
        """The number of clips in a picture."""
        return clips_of_a_picture(self.side)

    def form(self, clips: torch.Tensor) -> torch.Tensor:
        """The pictures (n / clips, T, 3, H, W) of ``n`` clips of that size; a small pixel is the mean of its area."""
        return self.arranged(self.small(clips))

    def small(self, clips: torch.Tensor) -> torch.Tensor:
        """Clips (n, T, 3, H, W) at the size that they have in a picture."""
        size = (self.spec.height // self.side, self.spec.width // self.side)
        return shrink(clips.flatten(1, 2), size).unflatten(1, (-1, 3))

    def arranged(self, small: torch.Tensor) -> torch.Tensor:
        """The pictures (n / clips, T, 3, H, W) of small clips (n, T, 3, h, w), in their order."""
        number, frames = small.shape[:2]
        assert number % self.clips == 0, (number, self.clips)
        rows = small.unflatten(0, (number // self.clips, self.side, self.side))  # (n, row, column, T, 3, h, w)
        shape = (number // self.clips, frames, 3, self.spec.height, self.spec.width)
        return rows.permute(0, 3, 4, 1, 5, 2, 6).reshape(shape)

    def shown(self, pictures: torch.Tensor, labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """The clips ``choice`` of the classes ``labels``, int64 (N), at full size: (N, T, 3, H, W).

        ``pictures`` are (C, n, T, 3, H, W); choice j of a class is in its picture j / clips. Enlarged bilinearly.
        """
        cut = pictures.unflatten(-1, (self.side, -1)).unflatten(-3, (self.side, -1))  # (C, n, T, 3, row, h, column, w)
        picture, place = choice // self.clips, choice % self.clips
        places = cut.permute(0, 1, 4, 6, 2, 3, 5, 7)
        small = places[labels, picture, place // self.side, place % self.side]
        return enlarge(small.flatten(1, 2), (self.spec.height, self.spec.width)).unflatten(1, (-1, 3))
