"""UCF101 and MiniUCF: .avi files whose names are unique, and a list each for training and testing per split.

The videos are found by their names alone, in class folders or flat, as files or as folders of frames. MiniUCF is the
50 classes of UCF101 that Wang et al. 2024 train on; there is no download of its own, so it is made from UCF101 here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.data.layouts.annotations import AnnotationFile, annotation_files, first_named
from engine.data.layouts.base import Layout, LayoutOptions, Listing, composed, natural_key
from engine.data.layouts.expected import open_source, peek
from engine.data.layouts.official import Disk, Split, Wanted, bare, match, missing_lists, official_listing
from engine.data.layouts.scan import scan
from engine.errors import DataError
from engine.text import one_line

UCF101, MINIUCF = "ucf101", "miniucf101"

TREE = """\
SOURCE/
  UCF-101/                         or another name, or the videos right here
    ApplyEyeMakeup/
      v_ApplyEyeMakeup_g01_c01.avi (or a folder of frames, v_ApplyEyeMakeup_g01_c01/)
      ...
    ApplyLipstick/
    ...
  ucfTrainTestlist/                or another name, or elsewhere with --annotations
    classInd.txt
    trainlist01.txt
    testlist01.txt
    ..."""

_MINIUCF = (
    "ApplyEyeMakeup BalanceBeam BandMarching BaseballPitch Basketball BasketballDunk Biking Billiards BlowingCandles",
    "Bowling BreastStroke CleanAndJerk CliffDiving CricketShot Diving FloorGymnastics FrisbeeCatch GolfSwing",
    "HammerThrow HighJump HorseRace HorseRiding HulaHoop IceDancing JumpingJack Knitting MilitaryParade Mixing",
    "ParallelBars PlayingPiano PlayingViolin PoleVault PommelHorse Punch Rafting Rowing SkateBoarding Skiing Skijet",
    "SkyDiving SoccerPenalty StillRings SumoWrestling Surfing Swing TennisSwing TrampolineJumping UnevenBars",
    "VolleyballSpiking WritingOnBoard",
)
MINIUCF_CLASSES = tuple(name for line in _MINIUCF for name in line.split())

LINE = re.compile(r"(.*?\S)(?:\s+([0-9]{1,9}))?", re.DOTALL)

CLASS_LINE = re.compile(r"([0-9]{1,9})\s+(.*)", re.DOTALL)


@dataclass(frozen=True)
class _Line:
    """A line of a split list, `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`; lists for testing have no number."""

    at: str
    path: str
    label: str
    number: int | None
    split: str


def list_videos(layout: str, source: Path, options: LayoutOptions) -> Listing:
    """The :class:`Listing` of UCF101 or MiniUCF, or of the classes of it that are here."""
    place = open_source(source, TREE, options.follow_links)
    found = scan(place)
    number = options.split or 1
    files = annotation_files(place, found, options.annotations)
    lines = list[_Line]()
    for split in ("train", "test"):
        name = f"{split}list{number:02d}.txt"
        file = _find(files, name)
        if file is None:
            raise missing_lists(TREE, place, found, f"There is no {name}")
        lines += _read_list(file, split)
    spelling = _read_classes(_find(files, "classind.txt"), lines)
    chosen = list(spelling.values()) if layout == UCF101 else list(MINIUCF_CLASSES)
    by_folded = {composed(name).casefold(): name for name in chosen}
    wanted, others = list[Wanted](), set[str]()
    for line in lines:
        label = by_folded.get(composed(line.label).casefold())
        if label is None:
            others.add(bare(line.path))
        else:
            wanted.append(Wanted((bare(line.path),), line.path, label, line.split))
    disk = Disk(found, any_case=True)
    split_lists = Split(wanted, chosen, frozenset(others), number)
    matches = match(place, wanted, disk)
    return official_listing(layout, TREE, place, found, split_lists, disk, matches)


def _find(files: list[AnnotationFile], name: str) -> AnnotationFile | None:
    return first_named(files, lambda other: other == name)


def _read_list(file: AnnotationFile, split: str) -> list[_Line]:
    """The videos of one list; the class is the folder in a line's path."""
    lines = []
    for number, text in file.lines():
        parts = LINE.fullmatch(text)
        assert parts is not None  # any text that is not blank is a path at least
        path, label = parts.groups()
        folder = path.rpartition("/")[0].rpartition("/")[2]
        if not folder or not bare(path):
            raise DataError(
                f"{file.at(number)}: expected CLASS/VIDEO.avi, found {one_line(text[:80])!r}.",
                "Is this UCF101's list, and complete?",
            )
        lines.append(_Line(file.at(number), path, folder, None if label is None else int(label), split))
    return lines


def _read_classes(file: AnnotationFile | None, lines: list[_Line]) -> dict[str, str]:
    """Classes in the order of their labels, by their names in lower case.

    `classInd.txt` says the order; without it, the numbers in the training list do. Raises :class:`DataError` where
    the two contradict each other.
    """
    numbers: dict[str, int] = {}
    names: dict[str, str] = {}
    for number, text in file.lines() if file else ():
        assert file is not None
        parts = CLASS_LINE.fullmatch(text)
        if parts is None or parts[2].casefold() in names or int(parts[1]) in numbers.values():
            raise DataError(
                f"{file.at(number)}: expected a new number and a new class, found {one_line(text[:80])!r}.",
                "Is this UCF101's classInd.txt, and complete?",
            )
        numbers[parts[2].casefold()], names[parts[2].casefold()] = int(parts[1]), parts[2]
    for line in lines:
        key = line.label.casefold()
        if file is not None and key not in names:
            raise DataError(f"{line.at}: class {one_line(line.label)!r} is not in classInd.txt.", "Mend one of them.")
        names.setdefault(key, line.label)
        if line.number is not None and numbers.setdefault(key, line.number) != line.number:
            raise DataError(
                f"{line.at}: class {one_line(line.label)!r} has number {line.number} here and {numbers[key]} before.",
                "Take lists and classInd.txt of one and the same release.",
            )
    last = len(names) + max(numbers.values(), default=0)
    order = sorted(names, key=lambda key: (numbers.get(key, last), natural_key(key)))
    return {key: names[key] for key in order}


def _fits(source: Path) -> bool:
    names = {name.rpartition("/")[2].lower() for name in peek(source)}
    return "trainlist01.txt" in names and "testlist01.txt" in names


def _never_fits(source: Path) -> bool:
    """MiniUCF lies on the disk as UCF101; which of the two is wanted cannot be seen."""
    return False


LAYOUT, MINI = (
    Layout(
        name,
        title,
        TREE,
        partial(list_videos, name),
        fits,
        options=frozenset({"split", "annotations"}),
        home="https://www.crcv.ucf.edu/data/UCF101.php",
    )
    for name, title, fits in ((UCF101, "UCF101", _fits), (MINIUCF, "MiniUCF", _never_fits))
)
