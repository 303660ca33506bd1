"""Temporal compression: how few stored frames become all frames of a clip, and how a real clip becomes few frames.

method.md names a way of compressing time by four choices: n_syn, n_real, segments and interpolation. All of them are
linear maps along the time axis, so this one place has them as a matrix, and what is stored, shown, counted and learned
cannot disagree about them.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch

from engine.errors import PresetError

INTERPOLATIONS = ("duplicate", "linear")


@dataclass(frozen=True)
class Temporal:
    """A clip of ``frames`` frames as ``segments`` consecutive segments, each stored as ``n_syn`` frames.

    A segment stands for ``n_real = frames / segments`` frames. ``duplicate`` shows stored frame floor(t n_syn / n_real)
    at time t of the segment; ``linear`` goes from one stored frame to the next, and is constant before the middle of
    the first and after the middle of the last (as torch's ``interpolate`` without aligned corners). Segments know
    nothing of each other. Raises PresetError for numbers that do not go together.
    """

    frames: int
    n_syn: int
    segments: int = 1
    interpolation: str = "duplicate"

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            problem = f"There is no interpolation {self.interpolation!r}."
            raise PresetError(problem, f"Set synthetic.interpolation to {' or '.join(INTERPOLATIONS)}.")
        if not 1 <= self.segments <= self.frames or self.frames % self.segments:
            problem = f"Clips of {self.frames} frames cannot be cut into {self.segments} segments of equal length."
            divisor = math.gcd(self.frames, self.segments)
            raise PresetError(problem, f"Set synthetic.segments to a divisor of {self.frames}, such as {divisor}.")
        if not 1 <= self.n_syn <= self.n_real:
            problem = f"A segment of {self.n_real} frames cannot be stored as {self.n_syn}."
            raise PresetError(problem, f"Set synthetic.n_syn to 1 or more, at most {self.n_real}.")

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str], frames: int) -> Self | None:
        """The one that a set file of clips of ``frames`` frames names, or None. Raises KeyError or ValueError."""
        if "temporal" not in metadata:
            return None
        named = json.loads(metadata["temporal"])
        if type(named["n_syn"]) is not int or type(named["segments"]) is not int:
            raise ValueError("temporal")
        return cls(frames, named["n_syn"], named["segments"], named["interpolation"])

    def described(self) -> dict[str, int | str]:
        """Return what ``of_metadata`` reads, but for the frames of a clip."""
        return {name: getattr(self, name) for name in ("n_syn", "segments", "interpolation")}

    @property
    def n_real(self) -> int:
        """Frames of the clip that a segment stands for."""
        return self.frames // self.segments

    @property
    def stored(self) -> int:
        """Stored frames of a clip: those of all segments."""
        return self.segments * self.n_syn

    @property
    def compresses(self) -> bool:
        """True if fewer frames are stored than shown; if not, stored frames are the clip's."""
        return self.n_syn < self.n_real

    def matrix(self) -> torch.Tensor:
        """float32 (frames, stored): along time, clip = matrix @ stored."""
        before, after, share = self.sources()
        matrix = torch.zeros(self.frames, self.stored)
        times = torch.arange(self.frames)
        matrix[times, before] += 1 - share
        matrix[times, after] += share
        return matrix

    def stretch(self, x: torch.Tensor, dim: int) -> torch.Tensor:
        """``x`` with ``stored`` frames along ``dim`` as a clip with ``frames``; ``x`` itself if nothing is compressed.

        Frames are picked and mixed, never multiplied by the matrix: copies are exact to the bit, also where the device
        would round the factors of a product.
        """
        assert x.shape[dim] == self.stored, (x.shape, dim, self)
        if not self.compresses:
            return x
        before, after, share = _sources_on(self, x.device)
        shown = x.index_select(dim, before)
        if self.interpolation == "duplicate":
            return shown
        shape = [1] * x.dim()
        shape[dim] = self.frames
        return torch.lerp(shown, x.index_select(dim, after), share.to(x.dtype).view(shape))

    def compress(self, x: torch.Tensor, dim: int) -> torch.Tensor:
        """The stored frames that ``stretch`` makes the most similar clip of: least squares, the pseudo-inverse.

        ``x`` has ``frames`` frames along ``dim``. With ``duplicate`` a stored frame is the mean of those it stands for.
        """
        assert x.shape[dim] == self.frames, (x.shape, dim, self)
        if not self.compresses:
            return x
        segment = self.matrix()[: self.n_real, : self.n_syn]
        inverse = torch.linalg.pinv(segment.double()).to(x)
        frames = x.movedim(dim, -1).unflatten(-1, (self.segments, self.n_real))
        return (frames @ inverse.T).flatten(-2).movedim(-1, dim).contiguous()

    def sources(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return for each frame of the clip the stored frame before it, the one after, and that one's share."""
        at = [self._position(time % self.n_real) for time in range(self.frames)]
        first = [self.n_syn * (time // self.n_real) for time in range(self.frames)]
        before = torch.tensor([start + math.floor(position) for start, position in zip(first, at, strict=True)])
        after = torch.tensor([start + math.ceil(position) for start, position in zip(first, at, strict=True)])
        return before, after, torch.tensor([float(position % 1) for position in at])

    def _position(self, time: int) -> float:
        """Return the place of frame ``time`` of a segment on the axis of its stored frames."""
        if self.interpolation == "duplicate":
            return time * self.n_syn // self.n_real
        centre = (time + 0.5) * self.n_syn / self.n_real - 0.5
        return min(max(centre, 0.0), self.n_syn - 1.0)


@functools.lru_cache(64)
def _sources_on(temporal: Temporal, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return ``temporal.sources()`` on ``device``, the same tensors at every call: copied once, so waited for."""
    with torch.inference_mode(False):
        return tuple(source.to(device) for source in temporal.sources())
