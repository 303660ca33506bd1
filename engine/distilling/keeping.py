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
from engine.files import write_bytes
from engine.synthetic import Provenance, Storage, SyntheticSet, decode_set, to_bytes

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
    how = wanted = storage_of(work.preset)
    if work.preset.storage.budget is not None:  # as it was judged
        how, _ = _within_budget(work, synthetic, longest_origin(work.preset), wanted, MARGIN)
    how, content = _within_budget(work, synthetic, origin, how, 0)
    if how != wanted:
        text = f"the {name} set is stored as {how}: as {wanted} it takes more than the budget"
        work.session.emit(Note("info", text))
    write_bytes(work.session.run.set_file(name, coded=how.precision is None), content)


def as_kept(work: Work, synthetic: SyntheticSet) -> SyntheticSet:
    """Return ``synthetic`` as it comes out of its file; in float32 it is the set itself.

    Raises UsageError if it cannot be stored within the preset's budget.
    """
    how = storage_of(work.preset)
    if how.precision == "float32":
        return synthetic
    _, content = _within_budget(work, synthetic, longest_origin(work.preset), how, MARGIN)
    return decode_set(content, work.device)


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
    small = "mean frames, of some forty bytes: --preset mean-frame"
    return UsageError(problem, f"Give --budget {least}B or more, or take {small}")


def _within_budget(
    work: Work, synthetic: SyntheticSet, origin: Provenance, how: Storage, margin: int
) -> tuple[Storage, bytes]:
    """Return ``how``, or the next coarser storage whose file leaves ``margin`` of the budget, if any; and the file."""
    classes = len(synthetic.spec.classes)
    most = most_bytes(work.preset, classes)
    while True:
        content = to_bytes(synthetic, origin, how)
        size = len(content)
        if most is None or size <= most - margin:
            return how, content
        further = coarser(str(how))
        if further is None:
            raise too_small(work.preset, classes, f"the set takes {size:,} bytes even as {how}", size)
        how = Storage.parse(further)
