"""The images of a folder that are the frames of a video.

A folder of frames often holds more than the pictures: optical flow beside them (`flow_x_00001.jpg`), depth, masks, the
same frames in a second format, a cover. Taken all together in the order of their names they would make a film that
nobody has filmed. So images are parted into series by how their names are built, and one series is the video.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.data.layouts.base import natural_key
from engine.text import one_line

IMAGE_KINDS = (
    ("jpg", "jpeg", "jpe", "jfif"),
    ("png",),
    ("webp",),
    ("tif", "tiff"),
    ("bmp",),
    ("ppm", "pgm", "pbm", "pnm"),
    ("jp2", "j2k", "jpx"),
    ("avif", "jxl"),
    ("gif",),
)
"""Suffixes of images; of frames that are there in two formats with as many files, the first is taken: where a picture
and a mask or depth of one name lie together, the picture is the JPEG."""

IMAGE_SUFFIXES = frozenset(f".{suffix}" for kind in IMAGE_KINDS for suffix in kind)

MOVING_SUFFIXES = frozenset({".gif", ".webp"})
"""Images that may be videos themselves."""

_BESIDE = (
    "flow flowx flowy optical opticalflow tvl1 warp x y u v dx dy depth disp disparity",
    "mask masks seg segm segmentation label labels annotation gt ir infrared thermal normal normals",
    "edge edges diff rgbdiff pose skeleton heatmap cover poster thumb thumbs thumbnail preview folder",
)
BESIDE = frozenset(word for line in _BESIDE for word in line.split())
"""Words for images that lie beside the pictures of a video and are none of them."""

MOST_SERIES = 10
"""More are none: names that end in a hash or a time of day differ in every file."""

NUMBER = re.compile(r"[0-9]+")

TWO_NUMBERS = re.compile(r"([^0-9]*[0-9]{1,2}[^0-9]+)([0-9]+)[^0-9]*", re.DOTALL)
"""A short number and another, not a date and a time of day."""


class SeveralSeriesError(Exception):
    """A folder whose images are several series, of which none is plainly the video."""


@dataclass(frozen=True)
class Frames:
    """The frames of a video in a folder."""

    files: list[Path]
    """In the order of time."""
    others: tuple[str, ...] = ()
    """Further series, which are left out, by what their files are called: `flow_x_*.jpg`; other formats of frames."""


def frame_files(folder: Path) -> list[Path]:
    """Return the images in ``folder`` that are its video's frames, in the order of time.

    Raises :class:`SeveralSeriesError`.
    """
    return frames_of(folder).files


def frames_of(folder: Path) -> Frames:
    """Return the series in ``folder`` that is its video, and the others; raises :class:`SeveralSeriesError`."""
    names = [name for name in os.listdir(folder) if suffix_of(name) in IMAGE_SUFFIXES and name[0] != "."]
    series = _series(names)
    plain = [key for key in series if len(series) == 1 or not _is_beside(key)]
    if len(plain) > 1 or (series and not plain):
        raise SeveralSeriesError(f"its images are several series, and which is the video is not clear: {_list(series)}")
    files = [folder / name for key in plain for name in sorted(series[key], key=natural_key)]
    beside = [_shown(key, series[key]) for key in sorted(series) if key not in plain]
    again = {suffix_of(name) for name in set(names).difference(*series.values())}
    return Frames(files, (*beside, *(f"the same as {suffix}" for suffix in sorted(again))))


def suffix_of(name: str) -> str:
    """Return the suffix of a file name in lower case; a first dot begins none."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def _series(names: Iterable[str]) -> dict[str, list[str]]:
    """The names by how they are built, `*` for each number; in each series, every frame once."""
    built = defaultdict[str, list[str]](list)
    for name in names:
        key = NUMBER.sub("*", name.rpartition(".")[0]).casefold()
        built[key if "*" in key or _is_beside(key) else ""].append(name)  # names without numbers are one series
    if len(built) > MOST_SERIES:
        built = defaultdict(list, {"*": [name for members in built.values() for name in members]})
    series: dict[str, list[str]] = {}
    for key, members in built.items():
        series |= _side_by_side(key, _in_one_format(members))
    return series


def _in_one_format(names: list[str]) -> list[str]:
    """``names``, or those of one format where frames are there in several."""
    if len({name.rpartition(".")[0] for name in names}) == len(names):
        return names
    kinds = [[name for name in names if suffix_of(name)[1:] in kind] for kind in IMAGE_KINDS]
    return max(kinds, key=len)


def _side_by_side(key: str, names: list[str]) -> dict[str, list[str]]:
    """``names`` parted by their first of two numbers, if each part counts the same numbers: `cam0_*`, `cam1_*`."""
    if len(names) < 4 or not TWO_NUMBERS.fullmatch(names[0].rpartition(".")[0]):
        return {key: names}
    parts = defaultdict[str, list[str]](list)
    counts = defaultdict[str, list[str]](list)
    for name in names:
        found = TWO_NUMBERS.fullmatch(name.rpartition(".")[0])
        if found is None:  # a longer number, as of a day
            return {key: names}
        parts[f"{found[1].casefold()}*"].append(name)
        counts[found[1].casefold()].append(found[2])
    same = len({tuple(sorted(numbers)) for numbers in counts.values()}) == 1
    return parts if 1 < len(parts) <= MOST_SERIES and same and len(names) > len(parts) else {key: names}


def _is_beside(key: str) -> bool:
    return not BESIDE.isdisjoint(re.split(r"[^a-z]+", key))


def _list(series: dict[str, list[str]]) -> str:
    shown = [f"{_shown(key, names)} ({len(names)})" for key, names in sorted(series.items())]
    return ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "")


def _shown(key: str, names: list[str]) -> str:
    """The pattern of the names of a series: `flow_x_*.jpg`."""
    return one_line(f"{key or '(no number)'}{suffix_of(names[0])}")
