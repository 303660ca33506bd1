"""Kinetics-400: CSV files that name stretches of YouTube videos, and what could still be downloaded of them.

No two copies are alike: thousands of videos are gone from YouTube, downloaders name files with or without the times,
and keep them in folders by split, by class, or flat. So a video is found by its name wherever it lies, one that is not
here is counted as missing and no fault, and the validation videos are the test split where, as usual, there are no
labelled test videos.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.data.layouts.annotations import SPLIT_NAMES, AnnotationFile, annotation_files
from engine.data.layouts.base import Layout, LayoutOptions, Listing, natural_key
from engine.data.layouts.expected import beginning, open_source, peek
from engine.data.layouts.official import (
    Disk,
    Split,
    Wanted,
    match,
    missing_lists,
    official_listing,
    test_on_validation,
)
from engine.data.layouts.scan import scan
from engine.errors import DataError
from engine.text import counted, one_line

NAME = "kinetics400"

TREE = """\
SOURCE/
  train/                           or other names, or class folders, or all videos flat
    -3B32lodo2M_000059_000069.mp4  (YouTube's name, from second 59 to 69; _59_69 does as well, and
    ...                             -3B32lodo2M.mp4, which is cut if it is longer; and folders of frames of these names)
  val/
    ...
  train.csv                        with columns label, youtube_id, time_start, time_end, split;
  val.csv                          anywhere, or elsewhere with --annotations
  test.csv                         (need not be there)"""

CSV_FILE = re.compile(r"(?:.*[-_. ])?(train|val|validate|validation|test)\.csv", re.DOTALL)

COLUMNS = ("youtube_id", "time_start", "time_end")

TIMED = re.compile(r"(.+?)[-_. ]([0-9]{1,6}(?:\.[0-9]{1,6})?)[-_ ]([0-9]{1,6}(?:\.[0-9]{1,6})?)", re.DOTALL)
"""ID_59_69, ID-59.0-69.0: a video cut to its seconds."""
STARTED = re.compile(r"(.+)[-_ ]([0-9]{1,6}(?:\.[0-9]{1,6})?)", re.DOTALL)
TITLED = re.compile(r".*(?:\[([-\w]{11})\]|-([-\w]{11}))", re.DOTALL | re.ASCII)
"""TITLE [ID], TITLE-ID: the whole video, as downloaders of single videos name it."""

LATEST_SECOND = 10**6
"""No video on YouTube is that long; six digits are what file names have room for."""


@dataclass(frozen=True)
class _Row:
    """A row of a CSV file."""

    video: str
    start: int
    end: int
    label: str
    split: str


def list_videos(source: Path, options: LayoutOptions) -> Listing:
    """The :class:`Listing` of what is here of Kinetics-400."""
    place = open_source(source, TREE, options.follow_links)
    found = scan(place)
    files = [
        (file, SPLIT_NAMES[name[1]])
        for file in annotation_files(place, found, options.annotations)
        if (name := CSV_FILE.fullmatch(file.path.name.lower()))
    ]
    if not any(split == "train" for _, split in files):
        raise missing_lists(TREE, place, found, "There is no train.csv")
    wanted, unlabelled = _read_all(files)
    disk = Disk(found, other_names=_other_names)
    wanted, notes = test_on_validation(wanted, disk)
    if unlabelled:
        notes.append(f"{counted(len(unlabelled), 'row has', 'rows have')} no label in the split files; not used.")
    classes = sorted({want.label for want in wanted}, key=natural_key)
    known = frozenset(name for row in unlabelled for name in _stems(row))
    split = Split(wanted, classes, known, absent_are_missing=True, notes=tuple(notes))
    matches = match(place, wanted, disk)
    return official_listing(NAME, TREE, place, found, split, disk, matches)


def _read_all(files: Iterable[tuple[AnnotationFile, str]]) -> tuple[list[Wanted], list[_Row]]:
    """(videos, rows without label) of all files; what one of them repeats of another is read once."""
    wanted, unlabelled = list[Wanted](), list[_Row]()
    before = set[_Row]()
    for file, split in files:
        rows = [row for row in _read_file(file, split) if row not in before]
        before.update(rows)
        unlabelled += [row for row in rows if not row.label]
        wanted += [_wanted(row) for row in rows if row.label]
    return wanted, unlabelled


def _read_file(file: AnnotationFile, split: str) -> list[_Row]:
    """The rows of ``file``; those that do not say their split themselves are of ``split``."""
    rows = []
    required = (*COLUMNS, "label") if split == "train" else COLUMNS  # the test list was published without labels
    for number, row in file.rows(required):
        given = row.get("split", "").lower()
        if given not in SPLIT_NAMES and given:
            raise DataError(
                f"{file.at(number)}: there is no split {one_line(given[:40])!r}.", "Write train, val or test."
            )
        if not row["youtube_id"]:
            raise DataError(f"{file.at(number)}: there is no youtube_id.", "Is this Kinetics' list, and complete?")
        try:
            start, end = _second(row["time_start"]), _second(row["time_end"])
        except ValueError as error:
            raise DataError(f"{file.at(number)}: {error}.", "Mend that line.") from error
        rows.append(_Row(row["youtube_id"], start, end, row.get("label", ""), SPLIT_NAMES.get(given, split)))
    return rows


def _second(cell: str) -> int:
    """Whole seconds; raises ValueError in plain words."""
    try:
        value = float(cell)
    except ValueError:
        value = -1
    if not 0 <= value < LATEST_SECOND:
        raise ValueError(f"{one_line(cell[:40])!r} is no time in seconds")
    return int(value)


def _wanted(row: _Row) -> Wanted:
    stems = _stems(row)
    within = (float(row.start), float(row.end)) if row.end > row.start else None
    return Wanted(stems, f"{stems[0]}.mp4", row.label, row.split, within)


def _stems(row: _Row) -> tuple[str, str, str]:
    """Return the names that the file of a row may have, without suffix; the last does not tell the seconds."""
    return f"{row.video}_{row.start:06d}_{row.end:06d}", f"{row.video}_{row.start:06d}", row.video


def _other_names(stem: str) -> Iterator[str]:
    """Names of :func:`_stems` that downloaders spell as ``stem``."""
    if timed := TIMED.fullmatch(stem):
        yield f"{timed[1]}_{_padded(timed[2])}_{_padded(timed[3])}"
    if started := STARTED.fullmatch(stem):
        yield f"{started[1]}_{_padded(started[2])}"
    if titled := TITLED.fullmatch(stem):
        yield titled[1] or titled[2]


def _padded(seconds: str) -> str:
    return f"{int(float(seconds)):06d}"


def _fits(source: Path) -> bool:
    names = [name for name in peek(source) if CSV_FILE.fullmatch(name.rpartition("/")[2].lower())]
    return any(b"youtube_id" in beginning(source / name) for name in names[:10])


LAYOUT = Layout(
    NAME,
    "Kinetics-400",
    TREE,
    list_videos,
    _fits,
    options=frozenset({"annotations"}),
    home="https://github.com/cvdfoundation/kinetics-dataset",
    frames=8,
    size=64,
    fps=2,
)
