"""Files that are, byte for byte, one video.

Downloads, backups and merges of data sets leave copies. One on either side of a split makes results that are too good,
one in two classes has a wrong label, and one in the same class counts twice. Of a user's own videos each is used once;
a published data set is left as its authors made it, and what is double in it is only said.
"""

from __future__ import annotations

import filecmp
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.data.digest import content
from engine.data.layouts.base import VideoEntry, natural_key
from engine.data.layouts.claims import PRECEDENCE
from engine.text import one_line

Check = Callable[[], None]


@dataclass(frozen=True)
class Copies:
    """Videos that are left out, being copies."""

    skipped: tuple[tuple[str, str], ...] = ()
    """(name, reason)."""
    notes: tuple[str, ...] = ()

    @cached_property
    def names(self) -> frozenset[str]:
        """The names in :attr:`skipped`."""
        return frozenset(name for name, _ in self.skipped)


def find_copies(videos: Sequence[VideoEntry], sizes: dict[str, int], classes: Sequence[str], check: Check) -> Copies:
    """Return those of ``videos`` whose files are, byte for byte, another one; ``sizes`` are bytes by name.

    Testing goes before validation and that before training; then the name decides. Only files of equal size are opened.
    ``check`` is called often and may raise.
    """
    skipped, conflicts = list[tuple[str, str]](), list[tuple[VideoEntry, VideoEntry]]()
    for group in _equally_large(videos, sizes):
        firsts: dict[str, list[VideoEntry]] = defaultdict(list)
        for video in sorted(group, key=_first_come):
            check()
            known = firsts[_beginning(video.path)]
            first = next((other for other in known if _same(other.path, video.path)), None)
            if first is None:
                known.append(video)
                continue
            skipped.append((video.name, _reason(video, first, classes)))
            if video.label != first.label:
                conflicts.append((video, first))
    skipped.sort(key=lambda pair: natural_key(pair[0]))
    return Copies(tuple(skipped), tuple(_notes(skipped, conflicts, classes)))


def _equally_large(videos: Iterable[VideoEntry], sizes: dict[str, int]) -> list[list[VideoEntry]]:
    groups: dict[Any, list[VideoEntry]] = defaultdict(list)
    for video in videos:
        if sizes[video.name] > 0:
            groups[(sizes[video.name], *video.stretch(), video.within)].append(video)
    return [group for group in groups.values() if len(group) > 1]


def _first_come(video: VideoEntry) -> tuple[Any, ...]:
    return PRECEDENCE.index(video.split), natural_key(video.name)


def _beginning(path: Path) -> str:
    try:
        return content(path)
    except OSError:  # decoding will say why
        return ""


def _same(one: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _reason(video: VideoEntry, first: VideoEntry, classes: Sequence[str]) -> str:
    of = f" of class {one_line(classes[first.label])}" if video.label != first.label else ""
    purpose = (
        {"test": " for testing", "val": " for validation"}.get(first.split, "") if video.split != first.split else ""
    )
    return f"a copy of {one_line(first.name)}{of}, which is used{purpose}"


def _notes(
    skipped: Sequence[tuple[str, str]], conflicts: Sequence[tuple[VideoEntry, VideoEntry]], classes: Sequence[str]
) -> Iterable[str]:
    if skipped:
        what = "video is a copy of another one and is" if len(skipped) == 1 else "videos are copies of others and are"
        yield f"{len(skipped)} {what} left out."
    if conflicts:
        video, first = min(conflicts, key=lambda pair: natural_key(pair[0].name))
        what = "video is" if len(conflicts) == 1 else "videos are"
        yield (
            f"Warning: {len(conflicts)} {what} in two classes, first {one_line(video.name)} as "
            f"{one_line(classes[video.label])} and {one_line(first.name)} as {one_line(classes[first.label])}. "
            "One of the labels is wrong."
        )
