"""The names of a table's columns, and what parts them.

Tables come out of labelling tools, spreadsheets and other trainers, each with its own names and separators. A column
that is silently not read is a split or a stretch of time that is silently not used; so every usual name is known here,
and what is not read is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from engine.data.layouts.annotations import SPLIT_NAMES, AnnotationFile
from engine.data.layouts.scan import VIDEO_SUFFIXES, split_suffix
from engine.errors import DataError
from engine.text import one_line

COLUMNS = {
    "path": "path file_path filepath video_path file filename file_name video video_name clip clip_path "
    "relative_path rel_path name",
    "label": "label class category action class_name label_name action_label label_id class_id class_index target",
    "split": "split subset set phase partition",
    "start": "start start_time start_sec start_seconds start_s t_start time_start start_timestamp begin begin_time "
    "onset",
    "end": "end end_time end_sec end_seconds end_s t_end time_end end_timestamp stop stop_time stop_timestamp",
    "start_frame": "start_frame frame_start begin_frame first_frame",
    "end_frame": "end_frame frame_end stop_frame last_frame",
}
"""Field -> names that people give its column; the first that is there is read."""

ALIASES = {field: tuple(names.split()) for field, names in COLUMNS.items()}

LAST_INCLUDED = "last_frame"
"""The one name of a last frame that says that the frame itself still belongs to the video."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

BLANKS = re.compile(r"\s+")


@dataclass(frozen=True)
class Columns:
    """The columns of a table that are read, and those that are not."""

    read: dict[str, str]
    """Field -> the name of its column, in lower case."""
    unread: tuple[str, ...]
    """The names of the others."""

    @classmethod
    def of(cls, names: Sequence[str]) -> Columns:
        """Return what is read of a table whose columns have these ``names``, in any case."""
        known = [name.lower() for name in names]
        read = {field: next((name for name in aliases if name in known), "") for field, aliases in ALIASES.items()}
        read = {field: name for field, name in read.items() if name}
        for time, frame in (("start", "start_frame"), ("end", "end_frame")):
            if time in read:
                read.pop(frame, None)  # both say the same; seconds need no rate
        return cls(read, tuple(name for name in names if name and name.lower() not in read.values()))

    @property
    def suffice(self) -> bool:
        """True if there is a path and a label."""
        return {"path", "label"} <= self.read.keys()


def read_rows(
    file: AnnotationFile, separator: str, is_path: Callable[[str], bool]
) -> tuple[Columns, Iterator[tuple[int, dict[str, str]]]]:
    """Return the columns of the table ``file``, and (line, field -> cell) of each row.

    ``separator`` is tried before the others. A list without a header has a path, which ``is_path`` knows, and a class
    in each line, and perhaps a split, or between the two the number of frames. Raises :class:`DataError`.
    """
    _, first = next(file.lines(), (1, ""))
    separators = (separator, *(other for other in SEPARATORS if other != separator))
    for one in separators:
        header = next(file.cells(one), (1, []))[1]
        if Columns.of(header).suffice:
            return Columns.of(header), _with_header(file, one)
    header = BLANKS.split(first)
    if Columns.of(header).suffice:
        return Columns.of(header), _by_blanks(file, len(header))
    for one in separators:
        cells = next(file.cells(one), (1, []))[1]
        if len(cells) > 1 and (is_path(cells[0]) or split_suffix(cells[0])[1] in VIDEO_SUFFIXES):
            return _headless(file, cells, file.cells(one))
    path, *rest = first.rsplit(maxsplit=1) if first else [""]
    if rest and not is_path(path) and path.rpartition(" ")[2].isdecimal():
        path, rest = path.rpartition(" ")[0].rstrip(), first.rsplit(maxsplit=2)[1:]
    if rest and (is_path(path) or split_suffix(path)[1] in VIDEO_SUFFIXES):
        count = 1 + len(rest)
        return _headless(file, [path, *rest], _cells_by_blanks(file, count))
    raise _missing(file, separator)


def _with_header(file: AnnotationFile, separator: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, cells in file.rows((), separator):
        columns = Columns.of(list(cells))
        yield number, {field: cells[name] for field, name in columns.read.items()}


def _by_blanks(file: AnnotationFile, count: int) -> Iterator[tuple[int, dict[str, str]]]:
    rows = _cells_by_blanks(file, count)
    columns = Columns.of(header := [name.lower() for name in next(rows)[1]])
    for number, cells in rows:
        yield number, {field: cells[header.index(name)] for field, name in columns.read.items()}


def _cells_by_blanks(file: AnnotationFile, count: int) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line; blanks in the first, a path, part nothing."""
    for number, line in file.lines():
        cells = line.rsplit(maxsplit=count - 1)
        if len(cells) != count:
            raise DataError(f"{file.at(number)}: {len(cells)} cells, not {count} as in the first line.", "Mend it.")
        yield number, cells


def _headless(
    file: AnnotationFile, first: list[str], rows: Iterator[tuple[int, list[str]]]
) -> tuple[Columns, Iterator[tuple[int, dict[str, str]]]]:
    """A list of PATH LABEL, PATH LABEL SPLIT, or PATH FRAMES LABEL."""
    fields = ["path", "label"]
    unread: tuple[str, ...] = ()
    if len(first) == 3 and first[2].lower() in SPLIT_NAMES:
        fields = ["path", "label", "split"]
    elif len(first) == 3 and first[1].isdecimal():
        fields, unread = ["path", "", "label"], ("2 (the number of frames)",)
    elif len(first) != 2:
        raise DataError(
            f"{file.at(1)}: {len(first)} columns without names.",
            "Name them in a first line, such as path,label,split,start,end.",
        )

    def labelled() -> Iterator[tuple[int, dict[str, str]]]:
        for number, cells in rows:
            if len(cells) != len(fields):
                problem = f"{file.at(number)}: {len(cells)} cells for {len(fields)} columns."
                raise DataError(problem, "Put quotes around cells with separators in them.")
            yield number, {field: cell for field, cell in zip(fields, cells, strict=True) if field}

    return Columns({field: field for field in fields if field}, unread), labelled()


def _missing(file: AnnotationFile, separator: str) -> DataError:
    """Return the message on a first line that names no path or no label, whichever separator is tried."""
    found = max((Columns.of(next(file.cells(one), (1, []))[1]) for one in SEPARATORS), key=lambda one: len(one.read))
    field = "label" if "path" in found.read else "path"
    named = one_line(", ".join((*found.read.values(), *found.unread))[:80])
    seen = f" among {named}" if named else ""
    return DataError(
        f"{file.at(1)}: there is no column {field!r}{seen}.",
        f"The first line must name the columns, parted by {SEPARATORS[separator]}, semicolons, tabs or blanks; "
        "needed: path, label.",
    )
