"""Objectives: how synthetic and real data are compared."""

from engine.matching.base import Objective
from engine.matching.distribution import DistributionMatching
from engine.matching.gradient import GradientMatching

IMAGE_OBJECTIVES = {"dc": GradientMatching}
"""Objectives of stage 1 by their name in presets."""
CLIP_OBJECTIVES = {"dm": DistributionMatching}
"""Objectives of stage 2 by their name in presets."""

__all__ = ["CLIP_OBJECTIVES", "IMAGE_OBJECTIVES", "DistributionMatching", "GradientMatching", "Objective"]
