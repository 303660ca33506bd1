"""Something-Something V2: videos named by a number, and JSON files that say what happens in them.

A video's class is its template, "Pushing [something] from left to right", without the brackets; `labels.json` numbers
the classes. The test split was published without labels, and later with answers; where they or its videos are not
here, the validation videos are the test split, as in the literature.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.data.layouts.annotations import AnnotationFile, annotation_files, clean_text, first_named
from engine.data.layouts.base import Layout, LayoutOptions, Listing
from engine.data.layouts.expected import open_source, peek
from engine.data.layouts.official import (
    Disk,
    Split,
    Wanted,
    match,
    missing_lists,
    official_listing,
    test_on_validation,
)
from engine.data.layouts.scan import Scan, Source, scan
from engine.errors import DataError
from engine.text import one_line

NAME = "ssv2"

TREE = """\
SOURCE/
  20bn-something-something-v2/           or another name, or the videos right here
    1.webm                               (or another suffix, or a folder of frames, 1/)
    2.webm
    ...
  something-something-v2-labels.json     names may begin otherwise; anywhere, or elsewhere with --annotations
  something-something-v2-train.json
  something-something-v2-validation.json
  something-something-v2-test.json       (need not be there, nor need test-answers.csv)"""


def list_videos(source: Path, options: LayoutOptions) -> Listing:
    """The :class:`Listing` of what is here of Something-Something V2."""
    place = open_source(source, TREE, options.follow_links)
    found = scan(place)
    files = annotation_files(place, found, options.annotations)
    labels = _read_labels(_need(files, "labels.json", place, found))
    wanted, ids = list[Wanted](), set[str]()
    for ending, split in (("train.json", "train"), ("validation.json", "val"), ("test.json", "test")):
        file = _find(files, ending) if split == "test" else _need(files, ending, place, found)
        for video, label in _read_videos(file, labels, split) if file else ():
            ids.add(video)
            if label is not None:
                wanted.append(Wanted((video,), f"{video}.webm", label, split))
    listed = {want.stems[0] for want in wanted}
    answers = _find(files, "test-answers.csv")
    for video, label in _read_answers(answers, labels) if answers else ():
        if video not in listed:
            wanted.append(Wanted((video,), f"{video}.webm", label, "test"))
    disk = Disk(found)
    wanted, notes = test_on_validation(wanted, disk)
    split_lists = Split(wanted, list(labels), frozenset(ids), absent_are_missing=True, notes=tuple(notes))
    matches = match(place, wanted, disk)
    return official_listing(NAME, TREE, place, found, split_lists, disk, matches)


def _find(files: list[AnnotationFile], ending: str) -> AnnotationFile | None:
    return first_named(files, lambda name: _is_named(name, ending))


def _is_named(name: str, ending: str) -> bool:
    """Return whether ``name`` is ``ending``, perhaps after the name of the data set."""
    before = name.removesuffix(ending)
    return before != name and (not before or before[-1] in "-_. ")


def _need(files: list[AnnotationFile], ending: str, source: Source, found: Scan) -> AnnotationFile:
    file = _find(files, ending)
    if file is None:
        raise missing_lists(TREE, source, found, f"There is no file *{ending}")
    return file


def _read_labels(file: AnnotationFile) -> dict[str, int]:
    """Class -> number, in the order of the numbers. Raises :class:`DataError`."""
    document = file.json()
    labels: dict[str, int] = {}
    for name, number in document.items() if isinstance(document, dict) else ():
        text = clean_text(name)
        if not text or not str(number).isdecimal() or isinstance(number, bool) or len(str(number)) > 9:
            raise DataError(
                f"{file.at(len(labels) + 1, 'label')}: expected a class and its number.", "Is this the right file?"
            )
        labels[text] = int(number)
    if not labels or len(set(labels.values())) < len(labels):
        problem = "two classes have the same number" if labels else "expected an object with a number for each class"
        raise DataError(f"{one_line(file.path.name)}: {problem}.", "Is this the right file, and complete?")
    return dict(sorted(labels.items(), key=lambda item: item[1]))


def _read_videos(file: AnnotationFile, labels: dict[str, int], split: str) -> Iterator[tuple[str, str | None]]:
    """(id, class) of each video; the class is None in a test list that does not tell it. Raises :class:`DataError`."""
    document = file.json()
    if not isinstance(document, list):
        raise DataError(f"{one_line(file.path.name)}: expected a list of videos.", "Is this the right file?")
    for number, entry in enumerate(document, 1):
        at = file.at(number, "entry")
        video, template = _video_id(entry), entry.get("template") if isinstance(entry, dict) else None
        if video is None:
            raise DataError(f"{at}: expected an object with an id.", "Is this the right file, and complete?")
        if template is None and split == "test":
            yield video, None
            continue
        text = clean_text(template)
        if text is None:
            raise DataError(f"{at}: there is no template.", "Is this the right file, and complete?")
        yield video, _class(text, labels, at)


def _video_id(entry: Any) -> str | None:
    """The id of a video, which is text or a number."""
    value = entry.get("id") if isinstance(entry, dict) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return clean_text(value) or None


def _read_answers(file: AnnotationFile, labels: dict[str, int]) -> Iterator[tuple[str, str]]:
    """(id, class) of the test videos. Raises :class:`DataError`."""
    for number, cells in file.cells(";"):
        if [cell.lower() for cell in cells] == ["id", "label"]:
            continue
        if len(cells) != 2 or not cells[0]:
            raise DataError(f"{file.at(number)}: expected ID;LABEL.", "Is this the right file, and complete?")
        yield cells[0], _class(cells[1], labels, file.at(number))


def _class(template: str, labels: dict[str, int], at: str) -> str:
    name = template.replace("[", "").replace("]", "")
    if name not in labels:
        raise DataError(
            f"{at}: class {one_line(name[:80])!r} is not in labels.json.", "Take all files of one and the same release."
        )
    return name


def _fits(source: Path) -> bool:
    names = [name.rpartition("/")[2].lower() for name in peek(source)]
    return all(any(_is_named(name, end) for name in names) for end in ("labels.json", "train.json", "validation.json"))


LAYOUT = Layout(
    NAME,
    "Something-Something V2",
    TREE,
    list_videos,
    _fits,
    options=frozenset({"annotations"}),
    home="https://www.qualcomm.com/developer/software/something-something-v-2-dataset",
    frames=8,
    size=64,
    uniform=True,
)
