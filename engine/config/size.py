"""What a preset will store, computed from its numbers alone.

The list of presets, a form in which values are changed, and a plan need this at once, so it does without torch; that
it agrees with what the memories really hold is tested.
"""

from __future__ import annotations

from engine.config.schema import SyntheticSection

HALLUCINATOR_VALUES = 4 * 3 * 27 + 3
"""Weights and biases of one hallucinator: a Conv3d from 4 to 3 channels with kernel 3."""


def stored_values(section: SyntheticSection, classes: int, frames: int, size: int) -> int:
    """How many numbers a synthetic set of ``classes`` classes of clips of ``frames`` x ``size`` x ``size`` stores."""
    instances = classes * section.ipc
    stored_frames = frames if section.n_syn is None else section.n_syn * section.segments
    labels = instances * classes if section.labels == "learned" else 0
    if section.kind == "full":
        return 0  # all of the data: nothing is stored beside it
    if section.kind in ("pixels", "coreset"):
        return instances * stored_frames * 3 * size**2 + labels
    side = section.dynamic_size or size
    static = instances * section.statics_per_instance * 3 * size**2
    if section.kind == "static-only":
        return static
    dynamic = instances * section.dynamics_per_instance * stored_frames * side**2
    hallucinators = classes if section.hallucinator == "per-class" else section.hallucinators
    return static + dynamic + hallucinators * HALLUCINATOR_VALUES + labels
