"""Objectives: how synthetic and real data are compared."""

from engine.matching.base import Objective
from engine.matching.distribution import DistributionMatching
from engine.matching.gradient import GradientMatching

__all__ = ["DistributionMatching", "GradientMatching", "Objective"]
