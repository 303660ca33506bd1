"""Reading the files that say which video is what: split lists, CSV, JSON.

They come with data sets, from mirrors, out of spreadsheets and from scripts. Whatever is in them, the answer is either
rows or a :class:`DataError` that names the file and the line, so that a user can mend it.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data.layouts.base import natural_key
from engine.data.layouts.scan import OUTSIDE, Scan, Source, scan
from engine.errors import DataError, UsageError
from engine.text import one_line

LARGEST_BYTES = 2**29
"""The largest official one, Kinetics' training list, is some 20 MB; reading a film as text would fill the memory."""

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
}
"""The spellings of the names of splits."""


@dataclass(frozen=True)
class AnnotationFile:
    """A file with annotations: its name relative to where it was found, and where it is."""

    name: str
    path: Path

    def at(self, line: int, unit: str = "line") -> str:
        """For messages: `clips.csv, line 17`."""
        return f"{one_line(self.path.name)}, {unit} {line}"

    def text(self) -> str:
        """Its text, without a byte order mark. Raises :class:`DataError`."""
        shown = one_line(self.path)
        try:
            if not self.path.is_file():
                what = "is not a file" if self.path.exists() else "does not exist"
                raise DataError(f"{shown} {what}.", "Check the name.")
            with self.path.open("rb") as file:
                content = file.read(LARGEST_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "read error"
            raise DataError(f"Cannot read {shown}: {reason}.", "Check it and its permissions.") from error
        if len(content) > LARGEST_BYTES:
            raise DataError(f"{shown} is too large for annotations.", "Is this the right file?")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise DataError(f"{self.at(line)}: it is not UTF-8 text.", "Save the file as UTF-8.") from error

    def lines(self) -> Iterator[tuple[int, str]]:
        """(number, line) of those that are not blank, without blanks at either end; at least one."""
        text = self.text()
        if not text.strip():
            raise DataError(f"{one_line(self.path.name)} is empty.", "Is its download or copy complete?")
        for number, line in enumerate(io.StringIO(text, newline=None), 1):
            if line.strip():
                yield number, line.strip()

    def json(self) -> Any:
        """The JSON document in it. Raises :class:`DataError`."""
        return parse_json(self.text(), lambda line: self.at(line))

    def cells(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        """(number of the last line, cells) of each row that is not blank, without blanks at either end of a cell."""
        reader = csv.reader(io.StringIO(self.text(), newline=""), delimiter=delimiter)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise DataError(f"{self.at(reader.line_num)}: {error}.", "Mend that line.") from error
            if row is None:
                return
            if any(cell.strip() for cell in row):
                yield reader.line_num, [cell.strip() for cell in row]

    def rows(self, required: tuple[str, ...], delimiter: str = ",") -> Iterator[tuple[int, dict[str, str]]]:
        """(line, column -> cell) of each row below a header, whose names are taken in lower case.

        Raises :class:`DataError` if a ``required`` column is missing, one is there twice, or a row has more cells.
        """
        cells = self.cells(delimiter)
        line, header = next(cells, (1, []))
        columns = [name.lower() for name in header]
        for name in required:
            if name not in columns:
                raise DataError(
                    f"{self.at(line)}: there is no column {name!r}.",
                    f"The first line must name the columns; needed: {', '.join(required)}.",
                )
        for name in columns:
            if columns.count(name) > 1:
                raise DataError(f"{self.at(line)}: column {one_line(name)!r} is there twice.", "Remove one of them.")
        for line, row in cells:
            if len(row) > len(columns):
                raise DataError(
                    f"{self.at(line)}: {len(row)} cells for {len(columns)} columns.",
                    "Put quotes around cells with commas in them.",
                )
            yield line, dict(zip(columns, row + [""] * (len(columns) - len(row)), strict=True))


def parse_json(text: str, at: Callable[[int], str], first_line: int = 1) -> Any:
    """The JSON document in ``text``; raises :class:`DataError` at the line where it is none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(f"{at(line)}: it is not JSON ({error.msg}).", "Is the file complete?") from error
    except (RecursionError, ValueError) as error:  # nested too deep, numbers too long
        raise DataError(f"{at(first_line)}: it is not JSON that can be read.", "Is this the right file?") from error


def clean_text(value: object) -> str | None:
    """``value`` if it is text that UTF-8 can hold, without blanks at the ends; JSON can spell other."""
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value.strip()


def annotation_files(source: Source, found: Scan, folder: Path | None) -> list[AnnotationFile]:
    """The files beside the videos, or in ``folder`` if that is given; the least deep first, then in natural order."""
    where = source
    if folder is not None:
        where, found = _other_folder(folder, source.follow_links)
    places = [place for place in found.others if not place.outside]
    places.sort(key=lambda place: (place.name.count("/"), natural_key(place.name)))
    return [AnnotationFile(place.name, where.locate(place)) for place in places]


def _other_folder(folder: Path, follow_links: bool) -> tuple[Source, Scan]:
    if not os.path.isdir(folder):
        problem = "is not a folder" if os.path.exists(folder) else "does not exist"
        raise UsageError(f"--annotations {one_line(folder)} {problem}.", "Give the folder of the split files.")
    source = Source(folder, follow_links)
    found = scan(source)
    if found.others and all(place.outside for place in found.others):
        raise DataError(f"{one_line(found.others[0].name)} is {OUTSIDE}.", "Or copy the split files.")
    return source, found


def first_named(files: list[AnnotationFile], accept: Callable[[str], object]) -> AnnotationFile | None:
    """The first of ``files`` with a name (in lower case, without folders) that is accepted."""
    return next((file for file in files if accept(file.path.name.lower())), None)
