"""What a preset will store, computed from its numbers alone.

The list of presets, a form in which values are changed, and a plan need this at once, so it does without torch; that
it agrees with what the memories really hold is tested.
"""

from __future__ import annotations

from engine.config.schema import SyntheticTable

HALLUCINATOR_VALUES = 4 * 3 * 27 + 3
"""Weights and biases of one hallucinator: a Conv3d from 4 to 3 channels with kernel 3."""


def stored_values(table: SyntheticTable, classes: int, frames: int, size: int) -> int:
    """How many numbers a synthetic set of ``classes`` classes of clips of ``frames`` x ``size`` x ``size`` stores."""
    instances = classes * table.ipc
    stored_frames = frames if table.n_syn is None else table.n_syn * table.segments
    labels = instances * classes if table.labels == "learned" else 0
    if table.kind == "full":
        return 0  # all of the data: nothing is stored beside it
    if table.kind in ("pixels", "coreset"):
        return instances * stored_frames * 3 * size**2 + labels
    side = table.dynamic_size or size
    static = instances * table.statics_per_instance * 3 * size**2
    if table.kind == "static-only":
        return static
    dynamic = instances * table.dynamics_per_instance * stored_frames * side**2
    hallucinators = classes if table.hallucinator == "per-class" else table.hallucinators
    return static + dynamic + hallucinators * HALLUCINATOR_VALUES + labels
