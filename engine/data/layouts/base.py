"""What a layout answers: which videos there are, of which class, on which side of the split.

Each official data set keeps its videos and its split in its own way; everything after this point (decoding, the
clips file, training) sees only a :class:`Listing`. If layouts handed out anything else, each of them would need its
own prepare.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UsageError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class VideoEntry:
    """One video: a file, or a folder that holds its frames."""

    path: Path
    name: str
    """Path relative to the source, with forward slashes and always valid UTF-8; for people and fingerprints."""
    label: int
    split: str
    """One of :data:`SPLITS`."""


@dataclass(frozen=True)
class Listing:
    """All videos of a data set. ``classes[label]`` names a label; the order of ``videos`` has no meaning."""

    classes: tuple[str, ...]
    videos: tuple[VideoEntry, ...]
    layout: str
    dataset: str


@dataclass(frozen=True)
class LayoutOptions:
    """What a user may choose about a listing; a layout reads the fields that mean something to it."""

    test_fraction: float = 0.3
    """Share of each class's videos that a layout without a split of its own sets aside for testing."""
    seed: int = 0
    """Decides which videos those are."""

    def __post_init__(self) -> None:
        if not 0 < self.test_fraction < 1:
            raise UsageError(
                f"A test fraction of {self.test_fraction:g} leaves nothing to train on or nothing to test on.",
                "Give --test-fraction a number between 0 and 1, for example 0.3.",
            )


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key that puts ``frame2`` before ``frame10``; equal spellings (``2``, ``02``) fall back to the name."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts if part), name


def readable(name: str | Path) -> str:
    """``name`` as valid UTF-8: bytes of a file name that are not become U+FFFD, since HDF5 and JSON refuse them."""
    return os.fsencode(name).decode("utf-8", "replace")


def one_line(text: str | Path) -> str:
    """``text`` for a message: no line breaks, no escape sequences that a terminal would obey."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in readable(text)
    )
