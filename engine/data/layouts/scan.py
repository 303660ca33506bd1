"""The contents of a source folder, found by reading each of its folders once.

Every layout looks at the disk through this, so that they agree on what a video is, in which order things are found,
and which links are followed. A data set of 240,000 videos, or of as many folders of frames, is listed in seconds only
if nothing is read twice; and a layout that followed a link by itself could read files that were never part of the data.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.data.layouts.base import natural_key
from engine.data.layouts.frames import IMAGE_SUFFIXES, MOVING_SUFFIXES
from engine.data.looks import is_video, moves
from engine.errors import DataError
from engine.text import one_line

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv"}
)
"""The usual ones. A file needs none of them to be tried, unless it lies beside images; they say where the name of a
listed video ends."""

_OTHER_KINDS = (
    "7z bz2 gz rar tar tgz xz zip zst",
    "ann asc cfg csv dat doc docx html ini json jsonl log lst md nfo pdf rst srt sub toml tsv txt",
    "vtt xls xlsx xml yaml yml",
    "db h5 hdf5 mat npy npz pkl pt pth safetensors",
    "aac flac m4a mp3 ogg wav",
    "bak flo lock m3u m3u8 md5 part partial py sh sha1 sha256 svg tmp torrent",
)
OTHER_SUFFIXES = frozenset(f".{name}" for kind in _OTHER_KINDS for name in kind.split())
"""Files that are surely no video. Anything else is tried: what FFmpeg reads is a video, whatever it is called."""

UNTOLD_SUFFIXES = frozenset({".dat", ".ogg"})
"""Suffixes of sound or numbers, and of video: what is in the files says which."""

PASSED_OVER = frozenset(
    {
        "@eadir",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "lost+found",
        "__macosx",
    }
)
"""Folders that a storage device, a file system or an archiver makes, in lower case."""

OWN_FILES = frozenset({"preset.toml", "videos.jsonl"})
"""Files of our own runs and unfinished prepares; a folder in the source with one of them holds no source videos."""

OTHER_NAMES = frozenset({"readme", "license", "makefile", "thumbs.db", "desktop.ini", "n_frames"})

ANNOTATION_DEPTH = 3
"""Split files lie in the source, or in folders at most so many below."""

MOVING_TRIED = 3
"""GIFs that are looked into to tell a folder of films from one of frames."""

OUTSIDE = "a link out of the source folder; --follow-links reads it"


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder below the source."""

    name: str
    """Relative to the source with forward slashes, as the disk spells it (bytes that are not UTF-8 escaped)."""
    real: str
    """Its real path: places with the same are one."""
    linked: bool = False
    """True if a link leads there."""
    outside: bool = False
    """True if it lies outside of the source and must not be read."""
    frames: bool = False
    """True if it is a folder of frames."""


@dataclass
class Contents:
    """The contents of one folder, each kind in natural order. Who walks may take folders out to leave them unread."""

    folders: list[Place] = field(default_factory=list)
    videos: list[Place] = field(default_factory=list)
    """Files that may be videos."""
    others: list[Place] = field(default_factory=list)
    """Files that are surely none, images apart."""
    outside: list[Place] = field(default_factory=list)
    """Folders that a link out of the source leads to."""
    images: int = 0
    """The number of images."""


class Source:
    """A source folder, and whether links out of it are followed. Raises :class:`DataError` where it cannot be read."""

    def __init__(self, path: Path, follow_links: bool = False) -> None:
        self.path = path
        self.resolver = _Resolver()
        self.top = Place("", os.path.realpath(path))
        self.follow_links = follow_links

    @property
    def root(self) -> Path | None:
        """The :attr:`Listing.root` of this source."""
        return None if self.follow_links else Path(self.top.real)

    def locate(self, place: Place) -> Path:
        return self.path / place.name

    def is_outside(self, real: str) -> bool:
        """Return whether the real path ``real`` must not be read."""
        return not self.follow_links and not Path(real).is_relative_to(self.top.real)

    def read(self, folder: Place) -> Contents:
        """List ``folder``; names that begin with a dot are hidden. Special files (pipes, devices) are left out, folders
        that no person made, and what this program wrote."""
        found = Contents()
        try:
            with os.scandir(self.locate(folder)) as entries:
                for entry in entries:
                    self._sort_in(entry, folder, found)
        except OSError as error:
            raise unreadable_folder(self.locate(folder), error) from error
        for places in (found.folders, found.videos, found.others, found.outside):
            places.sort(key=lambda place: natural_key(place.name))
        if folder.name and OWN_FILES.intersection(os.path.basename(place.name) for place in found.others):
            return Contents()
        self._tell_images(found)
        return found

    def _sort_in(self, entry: os.DirEntry[str], folder: Place, found: Contents) -> None:
        if entry.name.startswith(".") or entry.name.casefold() in PASSED_OVER:
            return
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link that leads to itself, or to where we may not look
            return
        stem, suffix = split_suffix(entry.name)
        if is_folder and suffix == ".partial":
            return
        if is_folder:
            place = self._place(entry, folder)
            (found.outside if place.outside else found.folders).append(place)
        elif is_file and suffix in IMAGE_SUFFIXES and suffix not in MOVING_SUFFIXES:
            found.images += 1
        elif is_file:
            place = self._place(entry, folder)
            other = suffix in OTHER_SUFFIXES or stem.lower() in OTHER_NAMES
            if suffix in UNTOLD_SUFFIXES and not place.outside:
                other = not is_video(place.real)
            (found.others if other else found.videos).append(place)

    def _tell_images(self, found: Contents) -> None:
        """Sort out what is a video by its content alone: images that move, and unknown files beside images."""
        moving = [place for place in found.videos if split_suffix(place.name)[1] in MOVING_SUFFIXES]
        if moving and (found.images or not any(place.outside or moves(place.real) for place in moving[:MOVING_TRIED])):
            found.images += len(moving)
            found.videos = [place for place in found.videos if split_suffix(place.name)[1] not in MOVING_SUFFIXES]
        if found.images:
            usual = VIDEO_SUFFIXES | MOVING_SUFFIXES
            unknown = [place for place in found.videos if split_suffix(place.name)[1] not in usual]
            no_videos = {place for place in unknown if not place.outside and not is_video(place.real)}
            found.others += no_videos
            found.videos = [place for place in found.videos if place not in no_videos]

    def _place(self, entry: os.DirEntry[str], folder: Place) -> Place:
        name = f"{folder.name}/{entry.name}" if folder.name else entry.name
        path = os.path.join(folder.real, entry.name)
        if not entry.is_symlink():
            return Place(name, path, folder.linked)
        real = self.resolver.real(path)
        return Place(name, real, linked=True, outside=self.is_outside(real))

    def walk(self, start: Place, above: tuple[Place, ...] = ()) -> Iterator[tuple[Place, Contents]]:
        """Each folder from ``start`` downwards, once, in natural order; those behind links after all others.

        Links that lead back to ``above`` are not followed. Taking folders out of what is yielded leaves them unread.
        """
        seen = {place.real for place in above}
        stack, linked = [start], deque[Place]()
        while stack or linked:
            folder = stack.pop() if stack else linked.popleft()
            if folder.real in seen:
                continue
            seen.add(folder.real)
            contents = self.read(folder)
            yield folder, contents
            stack += [child for child in reversed(contents.folders) if child.linked == folder.linked]
            linked += [child for child in contents.folders if child.linked != folder.linked]


class _Resolver:
    """Real paths of many files that lie in few folders."""

    def __init__(self) -> None:
        self.folders: dict[str, str] = {}

    def real(self, path: str) -> str:
        """The same as ``os.path.realpath``, except that a folder is resolved once."""
        try:
            target = os.readlink(path)
        except OSError:  # no link
            target = path
        folder, name = os.path.split(os.path.join(os.path.dirname(path), target))
        if name in ("", ".", ".."):
            return os.path.realpath(path)
        if folder not in self.folders:
            self.folders[folder] = os.path.realpath(folder)
        real = os.path.join(self.folders[folder], name)
        return os.path.realpath(path) if os.path.islink(real) else real


@dataclass(frozen=True)
class Scan:
    """Everything below a source that a layout may want, found in one walk."""

    videos: tuple[Place, ...]
    """Files that may be videos, and folders of frames."""
    others: tuple[Place, ...]
    """Other files, no deeper than split files lie."""
    outside: tuple[Place, ...]
    """Folders behind links out of the source."""


def scan(source: Source) -> Scan:
    """Walk all of ``source``. A folder with images and without video files is taken for frames.

    It may be none (a class with a cover picture): an official data set's videos are recognised by their names.
    """
    videos, others, outside = list[Place](), list[Place](), list[Place]()
    for folder, contents in source.walk(source.top):
        videos += contents.videos
        if contents.images and not contents.videos and folder.name:
            videos.append(Place(folder.name, folder.real, folder.linked, frames=True))
        if folder.name.count("/") < ANNOTATION_DEPTH:
            others += contents.others
        outside += contents.outside
    return Scan(tuple(videos), tuple(others), tuple(outside))


def split_suffix(name: str) -> tuple[str, str]:
    """``name`` before and from its last dot, the latter in lower case; a first dot begins no suffix."""
    dot = name.rfind(".")
    return (name[:dot], name[dot:].lower()) if dot > 0 else (name, "")


def unreadable_folder(folder: Path, error: OSError) -> DataError:
    """Return the error for a folder that cannot be listed."""
    reason = error.strerror or "read error"
    return DataError(f"Cannot list {one_line(error.filename or folder)}: {reason}.", "Check it and its permissions.")
