"""HMDB51: a folder of .avi files per class, and a split file per class and split.

The archives unpack to `hmdb51_org/<class>/` and `testTrainMulti_7030_splits/`, and people move both about; so the
class folders and the split files are looked for by their names, wherever they lie. Each of the three official splits
has 70 videos of a class for training and 30 for testing and leaves the rest out; Wang et al. 2024 trained on the rest
too, which is a choice here (``unused``).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from engine.data.layouts.annotations import AnnotationFile, annotation_files
from engine.data.layouts.base import Layout, LayoutOptions, Listing, composed, natural_key
from engine.data.layouts.expected import open_source, peek, unpacking, wrong_source
from engine.data.layouts.official import (
    Disk,
    Matches,
    Split,
    Wanted,
    bare,
    match,
    missing_lists,
    official_listing,
)
from engine.data.layouts.scan import Place, Scan, Source, scan, split_suffix
from engine.errors import DataError
from engine.text import counted, one_line

NAME = "hmdb51"

TREE = """\
SOURCE/
  hmdb51_org/                      or another name, or the class folders right here
    brush_hair/
      April_09_brush_hair_u_nm_np1_ba_goo_0.avi
      ...
    cartwheel/
    ...
  testTrainMulti_7030_splits/      or another name, or elsewhere with --annotations
    brush_hair_test_split1.txt
    ..."""

SPLIT_FILE = re.compile(r"(.+)_test_split([0-9]+)\.txt", re.IGNORECASE | re.DOTALL)

UNUSED = "unused"

SIDES = {"0": UNUSED, "1": "train", "2": "test"}


def list_videos(source: Path, options: LayoutOptions) -> Listing:
    """The :class:`Listing` of HMDB51, or of the classes of it that are here."""
    place = open_source(source, TREE, options.follow_links)
    found = scan(place)
    number = options.split or 1
    listed = _read_split(place, found, number, options.annotations)
    disk = Disk(found)
    classes = sorted({want.label for want in listed}, key=natural_key)
    nearer = _Nearer(classes)
    unused = [want for want in listed if want.split == UNUSED]
    wanted = [want for want in listed if want.split != UNUSED]
    notes = list[str]()
    if options.unused == "train":
        wanted += [replace(want, split="train") for want in unused]
    elif count := sum(bool(nearer(want, disk.find(want))) for want in unused):
        what = counted(count, "video is", "videos are")
        notes.append(f"{what} on neither side of split {number}; --unused train trains on them too.")
    matches = match(place, wanted, disk, nearer)
    notes += _archive_notes(place, found, set(classes) - {claim.label for claim in matches.claims}, matches)
    known = frozenset(name for want in unused for name in want.stems)
    split = Split(wanted, classes, known, number, notes=tuple(notes))
    return official_listing(NAME, TREE, place, found, split, disk, matches)


def _read_split(source: Source, found: Scan, number: int, annotations: Path | None) -> list[Wanted]:
    """Read the split's files, one per class; of two files for a class, the first."""
    files: dict[str, AnnotationFile] = {}
    others = set[str]()
    for file in annotation_files(source, found, annotations):
        name = SPLIT_FILE.fullmatch(file.path.name)
        if name and int(name[2]) == number:
            files.setdefault(name[1], file)
        elif name:
            others.add(name[2])
    if not files:
        have = f" (only those of split {', '.join(sorted(others))})" if others else ""
        raise missing_lists(TREE, source, found, f"There are no files *_test_split{number}.txt{have}")
    return [want for name, file in files.items() for want in _read_file(name, file)]


def _read_file(label: str, file: AnnotationFile) -> list[Wanted]:
    """The videos of one class; ``NAME.avi 1`` for training, 2 for testing, 0 for neither."""
    wanted = []
    for number, line in file.lines():
        name, *side = line.rsplit(maxsplit=1)
        if len(side) != 1 or side[0] not in SIDES:
            raise DataError(
                f"{file.at(number)}: expected NAME.avi and 0, 1 or 2, found {one_line(line[:80])!r}.",
                "Is this HMDB51's split file, and complete?",
            )
        wanted.append(Wanted((bare(name),), f"{label}/{name}", label, SIDES[side[0]]))
    return wanted


class _Nearer:
    """Return the places in the folder of the right class, among those with the right name; a name may be in several.

    Videos that are in no class's folder (frames are often kept flat) are right too.
    """

    def __init__(self, classes: list[str]) -> None:
        self.classes = {composed(name).casefold() for name in classes}

    def __call__(self, wanted: Wanted, places: list[Place]) -> list[Place]:
        above = [{part.casefold() for part in composed(place.name).split("/")[:-1]} for place in places]
        label = composed(wanted.label).casefold()
        inside = [place for place, parts in zip(places, above, strict=True) if label in parts]
        return inside or [place for place, parts in zip(places, above, strict=True) if not parts & self.classes]


def _archive_notes(source: Source, found: Scan, gone: set[str], matches: Matches) -> list[str]:
    """Say that classes lie here as the archives that they come in; raises if all do."""
    rars = [place.name for place in found.others if split_suffix(place.name)[1] == ".rar"]
    if rars and not (matches.claims or matches.rejected or found.videos):
        raise wrong_source(TREE, f"The videos in {one_line(source.path)} are still in .rar archives.", unpacking(rars))
    rars = [name for name in rars if split_suffix(name.rpartition("/")[2])[0] in gone]
    what = counted(len(rars), "class is here as an archive", "classes are here as archives")
    return [f"{what} only. {unpacking(rars)}"] if rars else []


def _fits(source: Path) -> bool:
    return any(SPLIT_FILE.fullmatch(name.rpartition("/")[2]) for name in peek(source))


LAYOUT = Layout(
    NAME,
    "HMDB51",
    TREE,
    list_videos,
    _fits,
    options=frozenset({"split", "unused", "annotations"}),
    home="https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/",
)
