"""From a data set's own split lists and what is on the disk to a listing.

The official data sets name their videos in lists, and the copies that people have of them differ from the lists: other
folders, other suffixes, frames in place of videos, half of the classes, broken downloads. What is taken, what is
counted as missing, and what is said about it is decided here for all of them alike.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from engine.data.layouts.base import Listing, composed, distinct
from engine.data.layouts.claims import Claim, Rejected, entries, settle
from engine.data.layouts.expected import explain_absence, link_notes, some, wrong_source
from engine.data.layouts.scan import OUTSIDE, VIDEO_SUFFIXES, Place, Scan, Source, split_suffix
from engine.errors import DataError
from engine.text import counted, one_line, readable

SPLITS_EACH = 3
"""HMDB51 and UCF101 have so many official splits."""

_DOING = {"train": "training", "test": "testing"}

ABSENT = "the split names it, but it is not here"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A video that a split list names."""

    stems: tuple[str, ...]
    """The names that its file may have, without folder and suffix; the first that is on the disk is it."""
    shown: str
    """The name in messages if it is not on the disk."""
    label: str
    """Its class's name."""
    split: str
    within: tuple[float, float] | None = None
    """The seconds that it is, of a file that is found by the last of ``stems``, which does not tell them."""


@dataclass(frozen=True)
class Split:
    """Everything that the split lists say."""

    wanted: Sequence[Wanted]
    classes: Sequence[str]
    """All classes of the data set in the order of their labels."""
    known: frozenset[str]
    """Stems of further videos that the lists know and this choice of split or classes leaves out."""
    number: int | None = None
    """Which of several official splits."""
    absent_are_missing: bool = False
    """True if it is normal that some videos are not on the disk."""
    notes: tuple[str, ...] = ()


Nearer = Callable[[Wanted, list[Place]], list[Place]]


class Disk:
    """The videos of a scan by their stems.

    ``any_case``: a name that is on the disk only in other upper and lower case is found too. ``other_names`` gives what
    else a file of a certain stem may be looked for by.
    """

    def __init__(
        self, found: Scan, any_case: bool = False, other_names: Callable[[str], Iterable[str]] | None = None
    ) -> None:
        self.any_case = any_case
        self.other_names = other_names or _none
        self.by_stem: dict[str, list[Place]] = {}
        self.by_other: dict[str, list[Place]] = {}
        folders = (Place(place.name, place.real, True, True, frames=True) for place in found.outside)
        for place in (*found.videos, *folders):
            name = stem(place)
            self.by_stem.setdefault(name, []).append(place)
            for other in self.other_names(name):
                self.by_other.setdefault(other, []).append(place)
        for name, places in self.by_stem.items() if any_case else ():
            self.by_other.setdefault(name.casefold(), []).extend(places)

    def find(self, wanted: Wanted) -> list[Place]:
        """The places where it is: files before folders of frames, links out of the source last."""
        return self.find_named(wanted)[1]

    def find_named(self, wanted: Wanted) -> tuple[str, list[Place]]:
        """Return by which of its stems it is found, and where; an empty stem and list where it is not."""
        for name in wanted.stems:
            places = self.by_stem.get(name) or self.by_other.get(name.casefold() if self.any_case else name)
            if places:
                return name, sorted(places, key=lambda place: (place.outside, place.frames, place.linked))
        return "", []

    def is_known(self, place: Place, known: frozenset[str] | set[str]) -> bool:
        """Return whether ``place`` has one of the ``known`` names (in lower case where any case is found)."""
        name = stem(place)
        spelt = name.casefold() if self.any_case else name
        return spelt in known or any(other in known for other in self.other_names(name))


def _none(name: str) -> tuple[str, ...]:
    return ()


def stem(place: Place) -> str:
    """Return the name of the video at ``place``, without folder and suffix, accents composed."""
    return bare(place.name) if place.frames else composed(split_suffix(os.path.basename(place.name))[0])


def bare(name: str) -> str:
    """The last part of ``name`` without the suffix of a video, if it has one, accents composed."""
    last = composed(name.rpartition("/")[2])
    before, suffix = split_suffix(last)
    return before if suffix in VIDEO_SUFFIXES else last


@dataclass
class Matches:
    """The wanted videos that were found, and those that were not."""

    claims: list[Claim] = field(default_factory=list)
    absent: list[Wanted] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    framed: int = 0
    """Videos that are there as folders of frames too."""


def match(source: Source, wanted: Iterable[Wanted], disk: Disk, nearer: Nearer | None = None) -> Matches:
    """Find each of ``wanted``; ``nearer`` may choose among the places where one was found."""
    result = Matches()
    seen = set[str]()
    for want in wanted:
        name, places = disk.find_named(want)
        if nearer is not None:
            places = nearer(want, places)
        if not places:
            result.absent.append(want)
            continue
        first, *others = places
        if first.outside:
            result.rejected.append((readable(first.name), OUTSIDE))
            continue
        path = source.locate(first)
        within = want.within if name == want.stems[-1] else None
        same = first.real if within is None else (first.real, within)
        result.claims.append(Claim(first.name, path, want.label, want.split, same, first.linked, within=within))
        if first.real not in seen:
            seen.add(first.real)
            _reject_others(result, first, others)
    return result


def _reject_others(result: Matches, first: Place, others: list[Place]) -> None:
    """A video that is at several places is used once; frames beside a video are another form of it, no duplicate."""
    different = [place for place in others if place.real != first.real and not place.outside]
    result.framed += any(place.frames != first.frames for place in different)
    result.rejected += [
        (readable(place.name), f"found twice; {readable(first.name)} is used")
        for place in different
        if place.frames == first.frames
    ]


def test_on_validation(wanted: list[Wanted], disk: Disk) -> tuple[list[Wanted], list[str]]:
    """``wanted`` with the validation videos for testing where no test video is on the disk, and notes that say so.

    The labels of some official test splits were never published, and results are reported on validation.
    """
    tests = [want for want in wanted if want.split == "test"]
    if any(disk.find(want) for want in tests) or not any(want.split == "val" for want in wanted):
        return wanted, []
    side = {"train": "train", "val": "test"}
    moved = [replace(want, split=side[want.split]) for want in wanted if want.split in side]
    why = f"none of the {len(tests)} labelled test videos is here" if tests else "there are no labelled test videos"
    return moved, [f"The validation videos are the test split: {why}."]


def official_listing(
    layout: str, tree: str, source: Source, found: Scan, split: Split, disk: Disk, matches: Matches
) -> Listing:
    """The listing of an official data set, or of the part of it that is here.

    A class without training videos is left out; a video of the others that is not here is missing or rejected,
    whichever is normal. Raises :class:`DataError` if nothing is left to train on or to test on.
    """
    claims, doubles = settle(_tell_stretches_apart(matches.claims))
    trained = {claim.label for claim in claims if claim.split == "train"}
    classes = [name for name in split.classes if name in trained]
    used = [claim for claim in claims if claim.label in trained]
    _check_enough(tree, source, found, split, claims, used)
    missing, absent = _absent(split, matches, trained)
    notes = (
        *split.notes,
        *_class_notes(split, claims, trained),
        *_count_notes(matches, _count_unlisted(found, split, disk)),
        *link_notes(found.outside),
    )
    return Listing(
        tuple(distinct(classes)),
        tuple(entries(used, classes)),
        layout,
        layout,
        (*matches.rejected, *doubles, *absent),
        missing,
        notes,
        split.number,
        published=True,
        root=source.root,
    )


def _tell_stretches_apart(claims: Sequence[Claim]) -> list[Claim]:
    """``claims``, of which several of one file have their seconds in their names: `ID.mp4@10-20`."""
    stretches: dict[str, set[tuple[float, float]]] = {}
    for claim in claims:
        if claim.within is not None:
            stretches.setdefault(claim.name, set()).add(claim.within)
    return [
        replace(claim, name=f"{claim.name}@{claim.within[0]:g}-{claim.within[1]:g}")
        if claim.within is not None and len(stretches[claim.name]) > 1
        else claim
        for claim in claims
    ]


def _check_enough(
    tree: str, source: Source, found: Scan, split: Split, claims: Sequence[Claim], used: Sequence[Claim]
) -> None:
    shown = one_line(source.path)
    for side, doing in _DOING.items():
        if not _count(split.wanted, side):
            raise wrong_source(tree, f"The split lists name no videos for {doing}.", "Add the lists that are missing.")
    if not claims:
        hint = explain_absence(found, "Give --source the folder that holds the videos, at any depth.")
        count = len(split.wanted)
        raise wrong_source(tree, f"None of the {count} videos of the split lists is in {shown}.", hint)
    for side, doing in _DOING.items():
        if not any(claim.split == side for claim in used):
            raise wrong_source(
                tree,
                f"None of the videos for {doing} is in {shown}, of {_count(split.wanted, side)} in the split lists.",
                explain_absence(found, f"Add the videos that the split lists name for {doing}."),
            )


def _count(wanted: Iterable[Wanted], side: str) -> int:
    return sum(want.split == side for want in wanted)


def _absent(split: Split, matches: Matches, trained: set[str]) -> tuple[tuple[str, ...], Rejected]:
    """(missing, rejected) of the videos that are not on the disk."""
    if split.absent_are_missing:
        return tuple(dict.fromkeys(readable(want.shown) for want in matches.absent)), ()
    return (), tuple((readable(want.shown), ABSENT) for want in matches.absent if want.label in trained)


def _class_notes(split: Split, claims: Sequence[Claim], trained: set[str]) -> list[str]:
    """Which classes are not here, and which are left out because only their other videos are."""
    here = {claim.label for claim in claims}
    gone = [name for name in split.classes if name not in here]
    untrained = [name for name in split.classes if name in here - trained]
    notes = []
    if gone:
        notes.append(f"{len(gone)} of {len(split.classes)} classes of the split have no videos here: {some(gone)}.")
    if untrained:
        others = counted(sum(claim.label not in trained for claim in claims), "other video", "other videos")
        what = counted(len(untrained), "class has", "classes have")
        notes.append(f"{what} no training videos here, and {others} not used: {some(untrained)}.")
    return notes


def _count_notes(matches: Matches, unlisted: int) -> list[str]:
    notes = []
    if unlisted:
        notes.append(f"{counted(unlisted, 'video here is', 'videos here are')} not in the split lists and not used.")
    if matches.framed:
        what = counted(matches.framed, "video is", "videos are")
        notes.append(f"{what} here as folders of frames too; the video files are used.")
    return notes


def _count_unlisted(found: Scan, split: Split, disk: Disk) -> int:
    """The number of video files that no list names."""
    spelling = str.casefold if disk.any_case else str
    known = {spelling(name) for name in split.known.union(*(want.stems for want in split.wanted))}
    return sum(not place.frames and not disk.is_known(place, known) for place in found.videos)


def missing_lists(tree: str, source: Source, found: Scan, problem: str) -> DataError:
    """Return the error for split files that are not there."""
    hint = explain_absence(found, "If the split files lie elsewhere, add --annotations DIR.")
    return wrong_source(tree, f"{problem} in {one_line(source.path)}.", hint)
