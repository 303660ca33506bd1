"""The answer of a layout: which videos there are, of which class, on which side of the split.

Each official data set keeps its videos and its split in its own way; everything after this point (decoding, the
clips file, training) sees only a :class:`Listing`. If layouts handed out anything else, each of them would need its
own prepare.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.text import readable

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class VideoEntry:
    """One video: a file, a folder that holds its frames, or a stretch of time of either."""

    path: Path
    name: str
    """Path relative to the source, with forward slashes and always valid UTF-8; for people and fingerprints. No two
    entries of a listing have the same."""
    label: int
    split: str
    """One of :data:`SPLITS`."""
    start: float | None = None
    """Seconds into the file at which the video begins; None: at its first frame."""
    end: float | None = None
    """Seconds into the file before which it ends; None: after its last frame."""
    frames: tuple[int, int | None] | None = None
    """The stretch by numbers of frames in place of seconds: its first, from 0, and the first after it (None: to the
    end)."""
    within: tuple[float, float] | None = None
    """The stretch (start, end) that it is if the file is longer than that; a file that was cut to it is taken whole."""

    def stretch(self) -> list[Any]:
        """Return which part of the file it is, for fingerprints: seconds, and frames if they are given."""
        return [self.start, self.end] if self.frames is None else [self.start, self.end, *self.frames]


@dataclass(frozen=True)
class Listing:
    """All videos of a data set. ``classes[label]`` names a label; the order of ``videos`` has no meaning."""

    classes: tuple[str, ...]
    videos: tuple[VideoEntry, ...]
    layout: str
    dataset: str
    """The name of the data set: `hmdb51`, or that of the user's folder."""
    rejected: tuple[tuple[str, str], ...] = ()
    """(name, reason) of videos that are known to be unusable before any is opened: a link out of the source folder, a
    duplicate, one that the split names and the disk does not have. They count as skipped."""
    missing: tuple[str, ...] = ()
    """Names of videos that are not on the disk in a data set where that is normal (Kinetics). Not skipped: counted."""
    notes: tuple[str, ...] = ()
    """Things that a user should know and that are no error, one line each."""
    official_split: int | None = None
    """Which of the data set's own splits this is; None where there is only one, or none."""
    published: bool = False
    """True if the videos and the split are those that the data set's authors published: copies are then left in."""
    untested: bool = False
    """True if a user wants all videos for training: the clips file then has no test split."""
    root: Path | None = None
    """Nothing that lies outside of this folder is read, not even through a link; None: links are followed."""


@dataclass(frozen=True)
class LayoutOptions:
    """The choices of a user about a listing; None is a layout's default.

    A layout names the ones that mean something to it (:attr:`Layout.options`); giving another is an error.
    """

    test_fraction: float | None = None
    """Share of each class's videos that a layout without a split of its own sets aside for testing (0.3)."""
    split: int | None = None
    """Which of the data set's official splits (1)."""
    unused: str | None = None
    """HMDB51's videos that are neither for training nor for testing: `leave` them (official), or `train` on them too
    (as Wang et al. 2024 did)."""
    annotations: Path | None = None
    """The place of the split files, if not inside the source: a folder, or the file of a `table`."""
    seed: int = 0
    """Decides a split that is made here."""
    follow_links: bool = False
    """Read videos that a symbolic link (or a table) names outside of the source folder."""

    def __post_init__(self) -> None:
        if self.test_fraction is not None and not 0 <= self.test_fraction < 1:
            raise UsageError(
                f"A test fraction of {self.test_fraction:g} leaves nothing to train on.",
                "Give --test-fraction a number from 0 to below 1, for example 0.3.",
            )
        if self.unused not in (None, "leave", "train"):
            raise UsageError(f"--unused {self.unused!r} is unknown.", "Choose leave or train.")


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lies on a disk, and what is published about sampling it."""

    name: str
    title: str
    """The name by which people know the data set."""
    tree: str
    """The tree that the folder must be, in several lines, for the message that says it is not."""
    list_videos: Callable[[Path, LayoutOptions], Listing]
    """Raises :class:`DataError` if the folder is not like :attr:`tree`, before any video is opened."""
    fits: Callable[[Path], bool]
    """A quick look at a folder: could it be this one? Never raises."""
    options: frozenset[str] = frozenset()
    """The fields of :class:`LayoutOptions` that are read, besides ``follow_links``."""
    home: str | None = None
    """Web page from which the data set comes."""
    frames: int = 16
    size: int = 112
    interval: int = 4
    fps: float | None = None
    """Frames per second of the published sampling, in place of ``interval``."""
    uniform: bool = False
    """True if the published sampling takes uniform frames, in place of ``interval``."""


def composed(name: str) -> str:
    """Return ``name`` with accents as parts of letters: file systems and tables spell one name in two ways."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key that puts ``frame2`` before ``frame10``; equal spellings (``2``, ``02``) fall back to the name."""
    return tuple(_part_key(part) for part in re.split(r"([0-9]+)", name) if part), name


def _part_key(part: str) -> tuple[int, int, str]:
    """A number sorts by its digits, since ``int`` refuses thousands of them; other text regardless of case."""
    if part.isdecimal():
        digits = part.lstrip("0")
        return 0, len(digits), digits
    return 1, 0, part.casefold()


def distinct(names: Sequence[str]) -> list[str]:
    """A :func:`readable` spelling for each of ``names``; those that would look the same are numbered.

    Which number a name gets depends on what names there are, not on their order.
    """
    result = [readable(name) for name in names]
    taken = set(result)
    if len(taken) == len(result):
        return result
    seen = set[str]()
    numbers: dict[str, int] = {}
    for index in sorted(range(len(names)), key=lambda index: names[index]):
        spelling = result[index]
        if spelling in seen:
            number = numbers.get(spelling, 2)
            while (numbered := f"{spelling} [{number}]") in taken:
                number += 1
            numbers[spelling] = number
            taken.add(numbered)
            result[index] = numbered
        seen.add(spelling)
    return result
