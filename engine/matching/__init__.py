"""The objectives, which compare synthetic and real data; ``engine/config/objectives.py`` lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from engine.config.objectives import named
from engine.matching.base import Objective, Setting

if TYPE_CHECKING:
    from engine.config import Preset


def stills_objective(preset: Preset, setting: Setting) -> Objective:
    """Return the objective of stage 1 of ``preset``."""
    return cast(type[Objective], named(preset.static.objective)).for_stills(preset, setting)


def clips_objective(preset: Preset, setting: Setting) -> Objective:
    """Return the objective of stage 2 of ``preset``."""
    return cast(type[Objective], named(preset.dynamic.objective)).for_clips(preset, setting)


__all__ = ["Objective", "Setting", "clips_objective", "stills_objective"]
