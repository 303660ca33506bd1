"""The size of the set that a preset makes, computed from its numbers alone.

The list of presets, the form and the plan show it before torch is imported. A test compares it with real memories.
"""

from __future__ import annotations

from engine.config.kinds import KINDS, Pictures
from engine.config.schema import SyntheticSection


def stored_values(section: SyntheticSection, classes: int, frames: int, size: int) -> int:
    """Return the number of values in a set of ``classes`` classes whose clips are ``frames`` x ``size`` x ``size``."""
    return KINDS[section.kind].stored_values(section, classes, Pictures(3, frames, size, size))
