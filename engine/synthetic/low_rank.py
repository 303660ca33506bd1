"""Low-rank dynamic memory: what moves as a few maps that rise and fall over time.

Frames of a clip are much alike, and so are those of a dynamic memory: taken as a matrix of frames by pixels, a few of
its singular values are nearly all of it (Eckart and Young 1936). Here the two factors are stored and learned, in place
of the product: rank * (T + h * w) numbers for T * h * w.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from engine.config.kinds import Shape
from engine.data.spec import ClipSpec
from engine.errors import PresetError
from engine.models.hallucinator import Hallucinator
from engine.synthetic.start import Start
from engine.synthetic.static_dynamic import Disentangled


class LowRank(Disentangled):
    """Static-dynamic memories whose dynamic ones are sums over r of ``coefficients[r, t]`` times ``maps[r]``.

    ``coefficients`` (C, dpc, rank, stored) have a mean square of about 1, so that ``maps`` (C, dpc, rank, 1, h, w) are
    in units of the data, as a dynamic memory is, and one learning rate does for both.
    """

    kind: ClassVar[str] = "low-rank"

    def __init__(
        self,
        spec: ClipSpec,
        ipc: int,
        static: torch.Tensor,
        coefficients: torch.Tensor,
        maps: torch.Tensor,
        hallucinator: Hallucinator,
        **settings: Any,
    ) -> None:
        """``settings`` are those of ``Disentangled``."""
        assert coefficients.dim() == 4 and coefficients.shape[:3] == maps.shape[:3], (coefficients.shape, maps.shape)
        dynamics = (*maps.shape[:2], coefficients.shape[3], *maps.shape[3:])
        super().__init__(spec, ipc, static, hallucinator, dynamics, **settings)
        self.coefficients = coefficients
        self.maps = maps

    def dynamics(self, labels: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        """The sums."""
        return torch.einsum("nrt,nrchw->ntchw", self.coefficients[labels, d], self.maps[labels, d])

    def _dynamic_parts(self) -> dict[str, torch.Tensor]:
        return {"coefficients": self.coefficients, "maps": self.maps}

    @classmethod
    def noise(cls, start: Start) -> dict[str, torch.Tensor]:
        """Random factors, whose product has a variance of 1."""
        shapes = start.shapes(cls.kind)
        _check_rank(shapes)
        maps = start.noise("maps-noise", shapes["maps"]) / shapes["maps"][2] ** 0.5
        return {"coefficients": start.noise("coefficients-noise", shapes["coefficients"]), "maps": maps}

    @classmethod
    def stored_as(cls, dynamics: torch.Tensor, shapes: Mapping[str, Shape]) -> dict[str, torch.Tensor]:
        """The truncated singular value decomposition: of all sums of so many maps the nearest one."""
        _check_rank(shapes)
        rank, frames = shapes["coefficients"][2:]
        u, s, v = torch.linalg.svd(dynamics.flatten(3), full_matrices=False)  # of (stored, h * w)
        coefficients = u[..., :rank].transpose(2, 3) * frames**0.5
        maps = s[..., :rank, None] * v[..., :rank, :] / frames**0.5
        return {
            "coefficients": coefficients.contiguous(),
            "maps": maps.unflatten(3, dynamics.shape[3:]).contiguous(),
        }


def _check_rank(shapes: Mapping[str, Shape]) -> None:
    """Raise PresetError for more maps than a dynamic memory has frames, or pixels: they would be of no use."""
    rank, frames = shapes["coefficients"][2:]
    most = min(frames, shapes["maps"][4] * shapes["maps"][5])
    if rank > most:
        problem = f"synthetic.rank = {rank} is more than the rank of any dynamic memory, which is {most} at most."
        raise PresetError(problem, f"Set it to {most} or less, or leave it out.")
