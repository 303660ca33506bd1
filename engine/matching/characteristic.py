"""NCFM, matching of characteristic functions (Wang et al., CVPR 2025).

DM compares means of embeddings, which say nothing of their spread. A characteristic function, at a frequency w the mean
of exp(i w.f) over embeddings f, does; at all frequencies it determines their distribution. Frequencies are drawn from a
Gaussian here: the paper's sampler, learned against the set, is left out, and so is its pool of partly trained networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from engine.config.fields import Count, Section, Share
from engine.lazy import nn, torch
from engine.machine.copies import to_device
from engine.matching.bank import StillBankSettings
from engine.matching.class_means import ClassMeans, ClassMeansSettings
from engine.seeds import generator

if TYPE_CHECKING:
    from engine.matching.base import Setting

SCALE = 300.0
"""The factor of the loss, as published."""
FLOOR = 1e-12
"""The argument below which the square root is constant: at 0, where two functions are equal, it has no derivative."""


class CharacteristicSettings(Section):
    """The keys of NCFM in either stage."""

    frequencies: Count = Field(1024, description="frequencies at which characteristic functions are compared")
    alpha: Share = Field(0.5, description="weight of differences in amplitude; the rest is that of phases")


class NcfmSettings(CharacteristicSettings, ClassMeansSettings):
    """NCFM, characteristic functions (Wang et al. 2025), in stage 2."""


class NcfmStillSettings(CharacteristicSettings, StillBankSettings):
    """NCFM, characteristic functions (Wang et al. 2025), in stage 1."""


class CharacteristicFunctions(ClassMeans):
    """300 sum_c mean_w sqrt( alpha (|r| - |s|)^2 + (1 - alpha) 2 |r||s| (1 - cos(arg r - arg s)) ).

    r = mean_{x in B_c} exp(i w.f(x)) and s, the same over S_c, are the characteristic functions of class c, f(x) is
    psi(x) / |psi(x)|, with psi, B_c and S_c of ``ClassMeans``, and w are ``frequencies`` draws of a standard normal
    vector for each network. Since 2 |r||s| (1 - cos) = |r - s|^2 - (|r| - |s|)^2, the argument of the root is
    (1 - alpha) |r - s|^2 + (2 alpha - 1) (|r| - |s|)^2, in which little cancels.
    """

    name: ClassVar[str] = "ncfm"
    title: ClassVar[str] = "characteristic functions (Wang et al. 2025)"
    still_settings: ClassVar[type[Section]] = NcfmStillSettings
    clip_settings: ClassVar[type[Section]] = NcfmSettings

    def __init__(
        self, setting: Setting, batch_real: int, frequencies: int = 1024, alpha: float = 0.5, **shared: Any
    ) -> None:
        """Take the arguments of ``ClassMeans`` as ``shared``."""
        super().__init__(setting, batch_real, **shared)
        self._frequencies, self._alpha = frequencies, alpha
        self._drawn: tuple[int, torch.Tensor] | None = None

    @classmethod
    def options(cls, settings: Section) -> dict[str, Any]:
        """Return ``frequencies`` and ``alpha``."""
        assert isinstance(settings, CharacteristicSettings)
        return {"frequencies": settings.frequencies, "alpha": settings.alpha}

    def statistic(self, embedded: torch.Tensor, number: int) -> torch.Tensor:
        """Return real and imaginary parts of exp(i w.f), (N, 2 x frequencies); their means are r or s."""
        if self._drawn is None or self._drawn[0] != number:
            rng = generator(self._setting.seed, "ncfm-frequencies", number)
            w = torch.randn(embedded.shape[1], self._frequencies, generator=rng)
            self._drawn = number, to_device(w, embedded.device)
        angles = nn.functional.normalize(embedded) @ self._drawn[1]
        return torch.cat([angles.cos(), angles.sin()], 1)

    def distance(self, synthetic: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return the distance of characteristic functions (classes, 2 x frequencies), summed over classes."""
        s, r = synthetic.unflatten(1, (2, -1)), real.unflatten(1, (2, -1))
        amplitudes = (r.norm(dim=1) - s.norm(dim=1)).square()
        under = (1 - self._alpha) * (r - s).square().sum(1) + (2 * self._alpha - 1) * amplitudes
        return SCALE * under.clamp_min(FLOOR).sqrt().mean(1).sum()
