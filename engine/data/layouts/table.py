"""A table of videos: CSV, TSV, JSON Lines or a plain list with a path, a class, and perhaps a split and a stretch.

For data that lies as it lies, and whose labels came from a labelling tool, a spreadsheet or a script. Whatever is wrong
with a row is said with its line, before anything is decoded; a file that is not there is one of the videos that are
skipped, since a few broken ones should not stop the others.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from engine.data.layouts.annotations import SPLIT_NAMES, AnnotationFile, clean_text, parse_json
from engine.data.layouts.base import Layout, LayoutOptions, Listing, composed, distinct, natural_key
from engine.data.layouts.claims import Claim, entries, settle
from engine.data.layouts.columns import LAST_INCLUDED, Columns, read_rows
from engine.data.layouts.expected import beginning, open_source, some, wrong_source
from engine.data.layouts.holdout import hold_out
from engine.data.layouts.scan import VIDEO_SUFFIXES, Source, split_suffix
from engine.errors import DataError, UsageError
from engine.text import one_line, readable

NAME = "table"

TREE = """\
SOURCE              a .csv, .tsv or .jsonl file, or a folder with one of them in it, such as
  path,label,split,start,end
  a/1.mp4,walk,train,,
  a/2.mp4,run,test,12.5,20

path is relative to the table's folder, and a video file or a folder of frames; label is a name or a number;
split is train, val or test (leave the column out, and a split is made); start and end are seconds, or start_frame and
end_frame numbers of frames from 0, of which the last is not shown (may be left out). Other usual names of columns,
semicolons or tabs, and lists of PATH LABEL without names do as well"""

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*DELIMITERS, ".jsonl")
LISTS = (".txt", ".lst", ".list")
"""Suffixes of what may be a list of videos if a user says so."""

LAST_FRAME = 10**12

OUTSIDE = "it lies outside of the source folder; --follow-links reads it"


@dataclass(frozen=True)
class _Row:
    """A row of the table, whatever its format."""

    at: str
    path: str
    label: str
    split: str | None
    start: float | None
    end: float | None
    frames: tuple[int, int | None] | None = None
    """The stretch by numbers of frames."""


def list_videos(source: Path, options: LayoutOptions) -> Listing:
    """The :class:`Listing` of a table; raises :class:`DataError` that names the line if a row makes no sense."""
    file, folder = _find_table(source, options)
    rows, notes = _read(file, folder)
    if not rows:
        raise DataError(f"{one_line(file.path.name)} has no rows.", "Give each video a row below the column names.")
    given = _has_split(rows, options)
    place = Source(folder, options.follow_links)
    claims, rejected = list[Claim](), list[tuple[str, str]]()
    for row in rows:
        claim = _claim(row, place)
        if isinstance(claim, Claim):
            claims.append(claim)
        else:
            rejected.append(claim)
    claims, doubles = settle(claims)
    if not claims:
        name, reason = rejected[0]
        raise wrong_source(
            TREE,
            f"None of the videos of {one_line(file.path.name)} can be used; first {one_line(name)}: {reason}.",
            f"Paths are relative to {one_line(folder)}.",
        )
    classes = _classes(claims, file)
    if given and not any(claim.split == "test" for claim in claims):
        raise DataError(f"{one_line(file.path.name)} has no videos for testing.", "Give some rows the split test.")
    videos = entries(claims, classes)
    return Listing(
        tuple(distinct(classes)),
        tuple(videos if given else hold_out(videos, options)),
        NAME,
        readable(source.stem if os.path.isfile(source) else Path(place.top.real).name) or NAME,
        (*rejected, *doubles),
        notes=notes,
        untested=options.test_fraction == 0,
        root=place.root,
    )


def _find_table(source: Path, options: LayoutOptions) -> tuple[AnnotationFile, Path]:
    """The table, and the folder to which its paths are relative."""
    if os.path.isfile(source):
        if options.annotations is not None:
            raise UsageError("--source is a table already, so --annotations means nothing.", "Leave one of them out.")
        return _table(source), source.parent
    place = open_source(source, TREE, options.follow_links)
    if options.annotations is not None:
        return _table(options.annotations), source
    tables = [child for child in place.read(place.top).others if split_suffix(child.name)[1] in SUFFIXES]
    if len(tables) != 1:
        problem = f"There are {len(tables)} tables" if tables else "There is no .csv, .tsv or .jsonl file"
        hint = "Say which one with --annotations FILE." if tables else "Give the file, here or with --annotations FILE."
        raise wrong_source(TREE, f"{problem} in {one_line(source)}.", hint)
    if tables[0].outside:
        raise DataError(
            f"{one_line(tables[0].name)} is a link out of the source folder.", "Add --follow-links to read it."
        )
    return _table(place.locate(tables[0])), source


def _table(path: Path) -> AnnotationFile:
    if split_suffix(path.name)[1] not in (*SUFFIXES, *LISTS):
        raise wrong_source(TREE, f"{one_line(path)} is no table that can be read.", "Give a .csv, .tsv or .jsonl file.")
    return AnnotationFile(path.name, path)


def _read(file: AnnotationFile, folder: Path) -> tuple[list[_Row], tuple[str, ...]]:
    """The rows, and a note that names what is not read."""
    columns, rows = _rows(file, folder)
    notes = []
    if columns.unread:
        what = "Columns that are" if len(columns.unread) > 1 else "A column that is"
        notes.append(f"{what} not read in {one_line(file.path.name)}: {some(columns.unread, 10)}.")
    if "end_frame" in columns.read or "start_frame" in columns.read:
        end = columns.read.get("end_frame")
        last = "" if end is None else f", and {end} {'too' if end == LAST_INCLUDED else 'is the first not shown'}"
        notes.append(f"Frames in {one_line(file.path.name)} are counted from 0{last}.")
    spelling: dict[str, str] = {}  # of a class, as the first row has it
    return [replace(row, label=spelling.setdefault(composed(row.label), row.label)) for row in rows], tuple(notes)


def _rows(file: AnnotationFile, folder: Path = Path()) -> tuple[Columns, Iterator[_Row]]:
    suffix = split_suffix(file.path.name)[1]
    if suffix != ".jsonl":
        columns, rows = read_rows(file, DELIMITERS.get(suffix, ","), lambda cell: _is_there(folder, cell))
        included = columns.read.get("end_frame") == LAST_INCLUDED
        return columns, (_row(cells, file.at(number), included) for number, cells in rows)
    documents = list(_documents(file))
    names = dict.fromkeys(name for _, values in documents for name in values)
    columns = Columns.of(list(names))
    included = columns.read.get("end_frame") == LAST_INCLUDED
    return columns, (
        _row({field: values[name] for field, name in columns.read.items() if name in values}, file.at(number), included)
        for number, values in documents
    )


def _documents(file: AnnotationFile) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in file.lines():
        values = parse_json(line, file.at, number)
        if not isinstance(values, dict):
            raise DataError(f"{file.at(number)}: expected an object with path and label.", "Write one object per line.")
        yield number, {readable(name).lower(): value for name, value in values.items() if value is not None}


def _is_there(folder: Path, cell: str) -> bool:
    try:
        return bool(cell) and os.path.exists(folder / _spelt_as_on_the_disk(folder, cell))
    except ValueError:
        return False


def _row(values: Mapping[str, Any], at: str, included: bool = False) -> _Row:
    """``included``: the last frame is one of the video."""
    path, label = clean_text(values.get("path")), _label(values.get("label"))
    if not path or "\0" in path:
        raise DataError(f"{at}: no path.", "Give each row the path of a video.")
    if not label:
        raise DataError(f"{at}: no label.", "Give each row the class of its video, a name or a number.")
    start, end = (_seconds(values.get(name, ""), name, at) for name in ("start", "end"))
    if end is not None and end <= (start or 0):
        raise DataError(f"{at}: the video would end before it begins.", "start and end are seconds into the file.")
    first, last = (_number(values.get(name, ""), name, at) for name in ("start_frame", "end_frame"))
    last = last + 1 if last is not None and included else last
    if last is not None and last <= (first or 0):
        raise DataError(f"{at}: the video would end before it begins.", "Frames count from 0.")
    frames = None if first is None and last is None else (first or 0, last)
    split = _split(values["split"], at) if "split" in values else None
    return _Row(at, path, label, split, start, end, frames)


def _label(value: object) -> str | None:
    """A class's name; 3 and 3.0 are the same class."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return clean_text(value)


def _split(value: object, at: str) -> str:
    if value == "":
        raise DataError(f"{at}: no split.", "Write train, val or test in each row, or leave the column out.")
    split = SPLIT_NAMES.get(value.strip().lower()) if isinstance(value, str) else None
    if split is None:
        raise DataError(f"{at}: there is no split {one_line(str(value)[:40])!r}.", "Write train, val or test.")
    return split


CLOCK = re.compile(r"(?:([0-9]{1,3}):)?([0-9]{1,3}):([0-9]{1,2}(?:\.[0-9]*)?)")
"""Hours, minutes and seconds as people write them: 1:02:03.5, 2:03."""


def _seconds(value: object, name: str, at: str) -> float | None:
    if value == "":
        return None
    if isinstance(value, str) and (clock := CLOCK.fullmatch(value.strip())):
        return 3600 * int(clock[1] or 0) + 60 * int(clock[2]) + float(clock[3])
    try:
        seconds = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):
        seconds = -1.0
    if not (isfinite(seconds) and seconds >= 0):
        raise DataError(f"{at}: {name} is no number of seconds.", "Write it like 12.5 or 0:12.5, or leave it empty.")
    return seconds


def _number(value: object, name: str, at: str) -> int | None:
    """The number of a frame; tables of numbers write 7 as 7.0."""
    seconds = (
        None if value == "" else _seconds(value, name, at) if not isinstance(value, str) or ":" not in value else -1
    )
    if seconds is None:
        return None
    if seconds < 0 or seconds != int(seconds) or seconds > LAST_FRAME:
        raise DataError(f"{at}: {name} is no number of a frame.", "Write it like 12, or leave it empty.")
    return int(seconds)


def _has_split(rows: list[_Row], options: LayoutOptions) -> bool:
    """Return whether the table has a split of its own: in every row or in none."""
    if rows[0].split is None and all(row.split is None for row in rows):
        return False
    without = next((row for row in rows if row.split is None), None)
    if without is not None:
        raise DataError(f"{without.at}: no split.", "Write train, val or test in each row, or in none.")
    if options.test_fraction is not None:
        raise UsageError("The table has a split, so --test-fraction means nothing.", "Leave --test-fraction out.")
    return True


def _claim(row: _Row, source: Source) -> Claim | tuple[str, str]:
    """The video of a row, or (name, reason) if it cannot be used."""
    row = replace(row, path=_spelt_as_on_the_disk(source.path, row.path))
    path = source.path / row.path
    name = Path(row.path)
    if name.is_absolute() and name.is_relative_to(source.top.real):
        name = name.relative_to(source.top.real)
    real = source.resolver.real(os.path.join(source.top.real, row.path))
    if source.is_outside(real):
        return readable(name.as_posix()), OUTSIDE
    if not os.path.isfile(real) and not os.path.isdir(real):
        return readable(name.as_posix()), "the file is missing"
    shown = name.as_posix() + _stretch(row)
    same = (real, row.start or 0.0, row.end, row.frames)
    split = row.split or "train"
    return Claim(shown, path, row.label, split, same, start=row.start, end=row.end, frames=row.frames)


def _spelt_as_on_the_disk(folder: Path, path: str) -> str:
    """``path`` with its accents composed or decomposed, Windows' slashes turned, or with a suffix, if it is there only
    so."""
    slashed = [path, path.replace("\\", "/")] if "\\" in path else [path]
    spellings = [*slashed]
    if not path.isascii():
        spellings += [unicodedata.normalize("NFC", one) for one in slashed]
        spellings += [unicodedata.normalize("NFD", one) for one in slashed]
    for spelling in spellings:
        if os.path.lexists(folder / spelling):
            return spelling
    for spelling in spellings:
        for suffix in sorted(VIDEO_SUFFIXES):
            if os.path.isfile(folder / f"{spelling}{suffix}"):
                return f"{spelling}{suffix}"
    return path


def _stretch(row: _Row) -> str:
    """The text that tells two stretches of one file apart: `@12.5-20`, `#10-18`."""
    if row.frames is not None:
        return f"#{row.frames[0]}-{'' if row.frames[1] is None else row.frames[1]}"
    if row.start is None and row.end is None:
        return ""
    start, end = ("" if value is None else str(value).removesuffix(".0") for value in (row.start or 0.0, row.end))
    return f"@{start}-{end}"


def _classes(claims: list[Claim], file: AnnotationFile) -> list[str]:
    """All classes in natural order; each must be trained on."""
    trained = {claim.label for claim in claims if claim.split == "train"}
    unknown = sorted({claim.label for claim in claims} - trained, key=natural_key)
    if unknown:
        raise DataError(
            f"Class {one_line(unknown[0])!r} in {one_line(file.path.name)} has no videos for training.",
            "Give some of its rows the split train, or remove them.",
        )
    return sorted(trained, key=natural_key)


def _fits(source: Path) -> bool:
    try:
        files = (
            [source]
            if os.path.isfile(source)
            else [path for path in source.iterdir() if path.suffix.lower() in SUFFIXES]
        )
    except (OSError, ValueError):
        return False
    head = beginning(files[0]).split(b"\n")[0].lower() if len(files) == 1 else b""
    return b"path" in head and b"label" in head


LAYOUT = Layout(
    NAME,
    "a table of videos",
    TREE,
    list_videos,
    _fits,
    options=frozenset({"test_fraction", "annotations", "seed"}),
)
