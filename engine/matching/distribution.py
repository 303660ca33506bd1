"""DM, distribution matching (Zhao and Bilen 2023), of clips in stage 2, or of single frames in stage 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from engine.config.fields import Section
from engine.matching.bank import StillBankSettings
from engine.matching.class_means import ClassMeans, ClassMeansSettings

if TYPE_CHECKING:
    import torch


class DmSettings(ClassMeansSettings):
    """DM, distribution matching (Zhao and Bilen 2023), in stage 2."""


class DmStillSettings(StillBankSettings):
    """DM, distribution matching (Zhao and Bilen 2023), in stage 1."""


class DistributionMatching(ClassMeans):
    """sum_c | mean_{s in S_c} psi(s) - mean_{x in B_c} psi(x) |^2, with psi, S_c and B_c of ``ClassMeans``."""

    name: ClassVar[str] = "dm"
    title: ClassVar[str] = "distribution matching (Zhao and Bilen 2023)"
    still_settings: ClassVar[type[Section]] = DmStillSettings
    clip_settings: ClassVar[type[Section]] = DmSettings

    def distance(self, synthetic: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return the squared distance of the means, summed over classes."""
        return (synthetic - real).square().sum()
