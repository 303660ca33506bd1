"""The messages on a folder that is not what a layout expects.

The commonest mistake with a data set is the wrong folder: one level too high, archives not unpacked, split files
elsewhere, or another data set. Whoever makes it sees what was missing, what to do, and a picture of the right folder.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import indent

from engine.data.layouts.base import natural_key
from engine.data.layouts.scan import OUTSIDE, Place, Scan, Source, split_suffix
from engine.errors import DataError
from engine.text import counted, one_line

ARCHIVES = frozenset({".rar", ".zip", ".tar", ".tgz", ".gz", ".7z"})

PEEK_ENTRIES = 10_000
PEEK_PER_FOLDER = 500
"""A quick look reads so many names in all and of one folder; split files lie in small ones."""


class WrongSourceError(DataError):
    """The source is not a tree of the layout; perhaps it is one of another."""


def wrong_source(tree: str, problem: str, hint: str) -> WrongSourceError:
    """The error with a picture of the right folder."""
    return WrongSourceError(problem, hint, f"Expected:\n{indent(tree, '  ')}")


def open_source(path: Path, tree: str, follow_links: bool) -> Source:
    """The folder ``path`` as a :class:`Source`; raises :class:`DataError` if it is none."""
    if not os.path.isdir(path):
        problem = "is not a folder" if os.path.exists(path) else "does not exist"
        raise wrong_source(tree, f"The source {one_line(path)} {problem}.", "Give --source the folder of the data set.")
    return Source(path, follow_links)


def explain_absence(found: Scan, hint: str) -> str:
    """Why nothing may have been found: links that are not followed, archives; else ``hint``."""
    outside = [*found.outside, *(place for place in (*found.videos, *found.others) if place.outside)]
    if outside:
        return f"{one_line(outside[0].name)} is {OUTSIDE}."
    archives = [place.name for place in found.others if split_suffix(place.name)[1] in ARCHIVES]
    if archives and not found.videos:
        return f"{unpacking(archives)} {hint}"
    return hint


def unpacking(archives: Sequence[str]) -> str:
    """Say in one sentence how to unpack ``archives``."""
    first = archives[0]
    suffix = split_suffix(first)[1]
    tool = {".rar": "unrar x", ".zip": "unzip", ".7z": "7z x"}.get(suffix, "tar xf")
    if len(archives) == 1:
        return f"Unpack {one_line(first)} first ({tool})."
    every = f'for f in *{suffix}; do {tool} "$f"; done'
    return f"Unpack the {len(archives)} archives first, {one_line(first)} and so on ({every})."


def some(names: Sequence[str], shown: int = 5) -> str:
    """The first few of ``names`` for a message."""
    return ", ".join(one_line(name) for name in names[:shown]) + (", ..." if len(names) > shown else "")


def link_notes(outside: Sequence[Place]) -> tuple[str, ...]:
    """Name the files that were left unread because a link leads out of the source."""
    if not outside:
        return ()
    names = some([place.name for place in outside])
    what = counted(len(outside), "folder is", "folders are")
    return (f"{what} not read, being behind links out of the source: {names}; --follow-links reads them.",)


def peek(source: Path, depth: int = 3) -> Iterator[str]:
    """Names of files below ``source``, not all of them: a look that is quick on any folder and raises nothing."""
    left = PEEK_ENTRIES
    queue = deque([(str(source), "", 0)])
    while queue and left > 0:
        folder, name, level = queue.popleft()
        files, folders = _peek_one(folder)
        left -= len(files) + len(folders) + 1
        yield from (f"{name}{file}" for file in files)
        if level < depth:
            queue += [(os.path.join(folder, child), f"{name}{child}/", level + 1) for child in folders]


def _peek_one(folder: str) -> tuple[list[str], list[str]]:
    files, folders = list[str](), list[str]()
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(PEEK_PER_FOLDER), entries, strict=False):
                if not entry.name.startswith("."):
                    (folders if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
    except (OSError, ValueError):
        pass
    return sorted(files, key=natural_key), sorted(folders, key=natural_key)


def beginning(path: Path) -> bytes:
    """The first bytes of a file for a quick look; nothing if it cannot be read."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            return b""
        with path.open("rb") as file:
            return file.read(4096)
    except (OSError, ValueError):
        return b""
