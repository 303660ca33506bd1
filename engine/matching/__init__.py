"""Objectives: how synthetic and real data are compared."""

from engine.matching.base import Objective, Setting
from engine.matching.distribution import DistributionMatching
from engine.matching.gradient import GradientMatching
from engine.matching.kernel import KernelRegression
from engine.matching.trajectory import TrajectoryMatching

IMAGE_OBJECTIVES = {"dc": GradientMatching.for_stills, "dm": DistributionMatching.for_stills}
"""Objectives of stage 1 by their name in presets."""
CLIP_OBJECTIVES = {
    "dm": DistributionMatching.for_clips,
    "mtt": TrajectoryMatching.for_clips,
    "frepo": KernelRegression.for_clips,
}
"""Objectives of stage 2 by their name in presets."""

__all__ = [
    "CLIP_OBJECTIVES",
    "IMAGE_OBJECTIVES",
    "DistributionMatching",
    "GradientMatching",
    "KernelRegression",
    "Objective",
    "Setting",
    "TrajectoryMatching",
]
