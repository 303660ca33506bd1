"""The set that a run keeps: a file, stored as the preset says, and what that file decodes to."""

from __future__ import annotations

from typing import Literal

from engine.config import Preset
from engine.distilling.opening import Work
from engine.synthetic import Provenance, Storage, SyntheticSet, decode_set, encode_set, save_synthetic


def storage_of(preset: Preset) -> Storage:
    """Return how the set of ``preset`` is stored; real clips, which are bytes, as uint8 where it says float32.

    Raises UsageError for a codec that this machine lacks.
    """
    how = preset.storage.how
    return Storage.parse("uint8" if how == "float32" and not preset.kind.learned else how)


def keep_set(work: Work, name: Literal["best", "last"], synthetic: SyntheticSet, origin: Provenance) -> None:
    """Write ``synthetic`` as the set ``name`` of the run; it replaces the one before."""
    how = storage_of(work.preset)
    save_synthetic(work.session.run.set_file(name, coded=how.precision is None), synthetic, origin, how)


def as_kept(work: Work, synthetic: SyntheticSet) -> SyntheticSet:
    """Return ``synthetic`` as it comes out of its file; in float32 it is the set itself."""
    how = storage_of(work.preset)
    if how.precision == "float32":
        return synthetic
    return decode_set(encode_set(synthetic, how).blob, work.device)
