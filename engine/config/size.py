"""The size of the set that a preset makes, computed from its numbers alone.

The list of presets, the form and the plan show it before torch is imported. A test compares it with real memories.
"""

from __future__ import annotations

from engine.config.kinds import KINDS, Pictures
from engine.config.schema import Preset, SyntheticSection
from engine.config.storage import PLAIN


def stored_values(section: SyntheticSection, classes: int, frames: int, size: int) -> int:
    """Return the number of values in a set of ``classes`` classes whose clips are ``frames`` x ``size`` x ``size``."""
    return KINDS[section.kind].stored_values(section, classes, Pictures(3, frames, size, size))


def plain_bytes(preset: Preset, values: int) -> int | None:
    """Return the bytes of ``values`` at the preset's precision; None where a codec stores them, which depends on them.

    Real clips, which are bytes, are stored as such where the preset says float32.
    """
    how = preset.storage.how
    if preset.storage.open_budget or how not in PLAIN:
        return None
    return PLAIN["uint8" if how == "float32" and not preset.kind.learned else how] * values


def storage_words(preset: Preset) -> str:
    """Return how a codec stores the set, in words: ``h264-35``, or ``at most 2kB a class``."""
    budget = preset.storage.budget
    return preset.storage.how if budget is None else f"at most {budget} a class"
