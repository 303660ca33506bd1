"""Videos of one's own: a folder per class, named as one likes.

The split is either given, by folders ``train/`` and ``test/`` (and perhaps ``val/``) that hold the class folders, or
made here, per class. Making it ranks the videos by a hash of seed and name: it does not depend on the order in which
the disk lists files, and adding a video to a class does not reshuffle the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from engine.data.layouts.base import SPLITS, LayoutOptions, Listing, VideoEntry, natural_key, one_line, readable
from engine.errors import DataError

TREE = "Expected SOURCE/<class>/<video file or folder of frames>, or SOURCE/train/<class>/... beside SOURCE/test/..."

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})

_OTHER_KINDS = (
    "7z bz2 gz rar tar tgz xz zip zst",
    "ann asc cfg csv dat doc docx html ini json jsonl log lst md nfo pdf rst srt sub toml tsv txt",
    "vtt xls xlsx xml yaml yml",
    "db h5 hdf5 mat npy npz pkl pt pth safetensors",
    "aac flac m4a mp3 ogg wav",
    "bak flo lock m3u m3u8 part partial py sh svg tmp torrent",
)
OTHER_SUFFIXES = frozenset(f".{name}" for kind in _OTHER_KINDS for name in kind.split())
"""Files that are surely no video. Anything else is tried: what FFmpeg reads is a video, whatever it is called."""

OTHER_NAMES = frozenset({"readme", "license", "makefile", "thumbs.db", "desktop.ini"})


def list_videos(source: Path, options: LayoutOptions) -> Listing:
    """The :class:`Listing` of a folder of class folders; raises :class:`DataError` if it is not one."""
    if not source.is_dir():
        problem = "is not a folder" if source.exists() else "does not exist"
        raise DataError(f"The source {one_line(source)} {problem}.", TREE)
    try:
        splits = _given_split(source)
        found = {split: _classes(folder, source) for split, folder in splits.items()}
    except OSError as error:
        reason = error.strerror or "read error"
        raise DataError(f"Cannot list {one_line(error.filename or source)}: {reason}.", "Check it.") from error
    if not any(found.values()):
        raise DataError(f"No videos were found in {one_line(source)}.", TREE)
    classes = _class_names(found)
    labels = {name: label for label, name in enumerate(classes)}
    videos = [
        VideoEntry(path, readable(path.relative_to(source).as_posix()), labels[name], split)
        for split, by_class in found.items()
        for name, paths in by_class.items()
        for path in paths
    ]
    if list(found) == ["train"]:
        videos = _make_split(videos, options)
    dataset = readable(source.resolve().name) or "folders"
    return Listing(tuple(readable(name) for name in classes), tuple(videos), "folders", dataset)


def list_demo_videos(source: Path, options: LayoutOptions) -> Listing:
    """The demo's videos, which lie in folders like a user's and differ only in what they are called."""
    return replace(list_videos(source, options), layout="demo", dataset="demo")


def _given_split(source: Path) -> dict[str, Path]:
    """Which folder holds the classes of which split; only ``train`` where the split has yet to be made."""
    present = {split: source / split for split in SPLITS if (source / split).is_dir()}
    if "train" in present and "test" in present:
        return present
    others = [path for path in _visible(source) if path.is_dir() and path.name not in present]
    if present and not others:
        missing = "test" if "train" in present else "train"
        raise DataError(
            f"{one_line(source)} has {' and '.join(f'{name}/' for name in present)} but no {missing}/.",
            "A given split needs both train/ and test/; without one, put the class folders directly into SOURCE.",
        )
    return {"train": source}


def _class_names(found: dict[str, dict[str, list[Path]]]) -> list[str]:
    """All classes in natural order; each must be in train."""
    for split, by_class in found.items():
        unknown = sorted(by_class.keys() - found["train"].keys(), key=natural_key)
        if unknown:
            raise DataError(
                f"Class {one_line(unknown[0])!r} has videos in {split}/ but none in train/.",
                f"Add its folder to train/ or remove it from {split}/.",
            )
    return sorted(found["train"], key=natural_key)


def _make_split(videos: list[VideoEntry], options: LayoutOptions) -> list[VideoEntry]:
    """Move the share for testing; a class of two or more videos gets one on either side at least."""
    by_label: dict[int, list[VideoEntry]] = {}
    for video in videos:
        by_label.setdefault(video.label, []).append(video)
    result = []
    for members in by_label.values():
        ranked = sorted(members, key=lambda video: hashlib.sha256(f"{options.seed}/{video.name}".encode()).digest())
        tests = min(max(1, round(len(ranked) * options.test_fraction)), len(ranked) - 1)
        result += [replace(video, split="test") for video in ranked[:tests]] + ranked[tests:]
    return result


def _classes(folder: Path, source: Path) -> dict[str, list[Path]]:
    """Class name -> its videos; folders without any (annotations, empty ones) are no classes."""
    above = {source.resolve(), folder.resolve()}
    found = {child.name: list(_videos(child, set(above))) for child in _visible(folder) if child.is_dir()}
    return {name: paths for name, paths in found.items() if paths}


def _videos(folder: Path, seen: set[Path], is_class: bool = True) -> Iterator[Path]:
    """Videos below ``folder``. A subfolder with images and no video file is itself a video: its frames.

    ``seen`` holds the real paths that were visited, which stops at symbolic links that lead back to one of them.
    """
    here = folder.resolve()
    if here in seen:
        return
    seen.add(here)
    children = _visible(folder)
    files = [child for child in children if child.is_file() and _may_be_video(child)]
    if not is_class and not files and frame_files(folder):
        yield folder
        return
    yield from files
    for child in children:
        if child.is_dir():
            yield from _videos(child, seen, is_class=False)


def frame_files(folder: Path) -> list[Path]:
    """The images in ``folder`` in natural order, which is the order in time."""
    return [path for path in _visible(folder) if path.suffix.lower() in IMAGE_SUFFIXES]


def _may_be_video(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix not in IMAGE_SUFFIXES and suffix not in OTHER_SUFFIXES and path.stem.lower() not in OTHER_NAMES


def _visible(folder: Path) -> list[Path]:
    return sorted(
        (path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda p: natural_key(p.name)
    )
