"""The set that a run keeps: a file, stored as the preset says, and what that file decodes to.

Where the preset has a budget, no file is above it: a set whose learned pictures take more bytes than the real ones that
it started from is stored at the next coarser quality, and judged so.
"""

from __future__ import annotations

from typing import Literal

from engine.config import Preset
from engine.config.budget import coarser, parse_size
from engine.config.objectives import named
from engine.distilling.opening import Work
from engine.errors import UsageError
from engine.events import Note
from engine.synthetic import Provenance, Storage, SyntheticSet, decode_set, encode_set, save_synthetic, to_bytes

MARGIN = 8
"""Bytes of a budget that are left for what a file says of its origin, whose digits take some more or some less."""


def storage_of(preset: Preset) -> Storage:
    """Return how the set of ``preset`` is stored; real clips, which are bytes, as uint8 where it says float32.

    Raises UsageError for a codec that this machine lacks.
    """
    how = preset.storage.how
    return Storage.parse("uint8" if how == "float32" and not preset.kind.learned else how)


def keep_set(work: Work, name: Literal["best", "last"], synthetic: SyntheticSet, origin: Provenance) -> None:
    """Write ``synthetic`` as the set ``name`` of the run; it replaces the one before.

    Raises UsageError if it cannot be stored within the preset's budget.
    """
    wanted = storage_of(work.preset)
    how = _within_budget(work, synthetic, longest_origin(work.preset), wanted, MARGIN)
    how = _within_budget(work, synthetic, origin, how, 0)
    if how != wanted:
        text = f"the {name} set is stored as {how}: as {wanted} it takes more than the budget"
        work.session.emit(Note("info", text))
    save_synthetic(work.session.run.set_file(name, coded=how.precision is None), synthetic, origin, how)


def as_kept(work: Work, synthetic: SyntheticSet) -> SyntheticSet:
    """Return ``synthetic`` as it comes out of its file; in float32 it is the set itself.

    Raises UsageError if it cannot be stored within the preset's budget.
    """
    how = _within_budget(work, synthetic, longest_origin(work.preset), storage_of(work.preset), MARGIN)
    if how.precision == "float32":
        return synthetic
    return decode_set(encode_set(synthetic, how).blob, work.device)


def most_bytes(preset: Preset, classes: int) -> int | None:
    """Return the most bytes that the set's file may have; None where the preset has no budget."""
    budget = preset.storage.budget
    return None if budget is None else parse_size(budget) * classes


def longest_origin(preset: Preset) -> Provenance:
    """Return an origin that takes as many bytes as that of any set of ``preset``, or nearly so."""
    rate = 0.04173971852644013 if named(preset.dynamic.objective).learns_step_size else None
    return Provenance(
        preset.title,
        preset.run.seed,
        preset.dynamic.steps,
        preset.evaluation.protocol,
        "test",
        0.3097185264401739,
        rate,
        preset.dynamic.objective,
    )


def too_small(preset: Preset, classes: int, what: str, needed: int) -> UsageError:
    """Return the refusal of a budget since ``what``; the file that is needed has ``needed`` bytes and MARGIN."""
    most = most_bytes(preset, classes)
    least = -(-(needed + MARGIN) // classes)
    problem = f"A budget of {preset.storage.budget} per class is {most:,} bytes for {classes} classes, and {what}."
    return UsageError(problem, f"Give --budget {least}B or more.")


def _within_budget(work: Work, synthetic: SyntheticSet, origin: Provenance, how: Storage, margin: int) -> Storage:
    """Return ``how``, or the next coarser storage whose file leaves ``margin`` of the budget."""
    classes = len(synthetic.spec.classes)
    most = most_bytes(work.preset, classes)
    if most is None:
        return how
    while True:
        size = len(to_bytes(synthetic, origin, how))
        if size <= most - margin:
            return how
        further = coarser(str(how))
        if further is None:
            raise too_small(work.preset, classes, f"the set takes {size:,} bytes even as {how}", size)
        how = Storage.parse(further)
