"""From claims ("this file is a training video of class run") to a listing.

Split lists, tables and folders all make claims, and claims clash: a video listed twice, one file under two names, one
in training and in testing. The rules for that are here, once. If each layout had its own, a video could be trained on
and tested on in one of them, and nobody would see it but in an accuracy that is too good.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.data.layouts.base import VideoEntry, distinct
from engine.text import readable

PRECEDENCE = ("test", "val", "train")
"""A video that several splits claim belongs to the first of these: nothing that is tested on may be trained on."""

_PURPOSE = {"test": "testing", "val": "validation"}

Rejected = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that a video is of a class and on a side of the split."""

    name: str
    """Relative to the source, as the disk spells it."""
    path: Path
    label: str
    """The class's name."""
    split: str
    same: Hashable
    """Equal for claims about one video, under whatever names."""
    linked: bool = False
    start: float | None = None
    end: float | None = None
    frames: tuple[int, int | None] | None = None
    within: tuple[float, float] | None = None
    """The fields of :class:`VideoEntry`."""


def settle(claims: Iterable[Claim]) -> tuple[list[Claim], Rejected]:
    """The claims that stand, one for each video, and (name, reason) of the others.

    Testing goes before validation and that before training; then a file's own place before a link to it; then the
    order of ``claims``.
    """
    standing: dict[Hashable, Claim] = {}
    rejected = []
    for claim in sorted(claims, key=lambda claim: (PRECEDENCE.index(claim.split), claim.linked)):
        first = standing.setdefault(claim.same, claim)
        if first is not claim:
            rejected.append((readable(claim.name), _reason(claim, first)))
    return list(standing.values()), tuple(rejected)


def _reason(claim: Claim, first: Claim) -> str:
    if claim.split != first.split:
        return f"in {claim.split} and in {first.split}; used for {_PURPOSE[first.split]} only"
    if claim.label != first.label:
        return f"the same file as {readable(first.name)} of class {readable(first.label)}, which is used"
    if claim.name == first.name:
        return f"listed twice in {claim.split}"
    return f"the same file as {readable(first.name)}, which is used"


def entries(claims: Sequence[Claim], classes: Sequence[str]) -> list[VideoEntry]:
    """The videos of ``claims``, labelled by the place of their class in ``classes``, under names that all differ."""
    labels = {name: label for label, name in enumerate(classes)}
    names = distinct([claim.name for claim in claims])
    return [
        VideoEntry(
            claim.path, name, labels[claim.label], claim.split, claim.start, claim.end, claim.frames, claim.within
        )
        for claim, name in zip(claims, names, strict=True)
    ]
