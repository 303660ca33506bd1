"""What a preset will store, computed from its numbers alone.

The list of presets, a form in which values are changed, and a plan need this at once, so it does without torch; that
it agrees with what the memories really hold is tested.
"""

from __future__ import annotations

from engine.config.kinds import KINDS, Pictures
from engine.config.schema import SyntheticSection


def stored_values(section: SyntheticSection, classes: int, frames: int, size: int) -> int:
    """How many numbers a synthetic set of ``classes`` classes of clips of ``frames`` x ``size`` x ``size`` stores."""
    return KINDS[section.kind].stored_values(section, classes, Pictures(3, frames, size, size))
