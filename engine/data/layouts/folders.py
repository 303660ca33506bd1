"""Videos of one's own: a folder per class, named as one likes.

The split is either given, by folders ``train/`` and ``test/`` (and perhaps ``val/``) that hold the class folders, or
made here, per class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.data.layouts.base import SPLITS, Layout, LayoutOptions, Listing, distinct, natural_key
from engine.data.layouts.claims import Claim, entries, settle
from engine.data.layouts.expected import explain_absence, link_notes, open_source, peek, wrong_source
from engine.data.layouts.holdout import hold_out
from engine.data.layouts.scan import OUTSIDE, VIDEO_SUFFIXES, Contents, Place, Scan, Source, frame_files, split_suffix
from engine.errors import DataError, UsageError
from engine.text import one_line, readable

__all__ = ["DEMO", "LAYOUT", "frame_files", "list_demo_videos", "list_videos"]

TREE = """\
SOURCE/
  <class>/
    <video file, or folder of frames>
    ...
  <class>/
  ...
or, with a split of your own,
SOURCE/
  train/<class>/...
  test/<class>/...
  val/<class>/...      (need not be there)"""


def list_videos(source: Path, options: LayoutOptions) -> Listing:
    """The :class:`Listing` of a folder of class folders; raises :class:`DataError` if it is not one."""
    place = open_source(source, TREE, options.follow_links)
    top = place.read(place.top)
    splits = _given_split(place, top)
    if len(splits) > 1 and options.test_fraction is not None:
        raise UsageError(
            "The folders train/ and test/ are a split, so --test-fraction means nothing.", "Leave --test-fraction out."
        )
    found = _Found()
    for split, folder in splits.items():
        _collect(place, split, folder, top if folder is place.top else place.read(folder), found)
    claims, doubles = settle(found.claims)
    if not claims:
        seen = Scan((*found.files_outside,), tuple(top.others), tuple(found.folders_outside))
        hint = explain_absence(seen, "Put the videos of each class into a folder of its own.")
        raise wrong_source(TREE, f"No videos were found in {one_line(source)}.", hint)
    classes = _classes(claims)
    videos = entries(claims, classes)
    return Listing(
        tuple(distinct(classes)),
        tuple(videos if len(splits) > 1 else hold_out(videos, options)),
        "folders",
        readable(Path(place.top.real).name) or "folders",
        (*((readable(link.name), OUTSIDE) for link in (*found.folders_outside, *found.files_outside)), *doubles),
        notes=link_notes(found.folders_outside),
        root=place.root,
    )


def list_demo_videos(source: Path, options: LayoutOptions) -> Listing:
    """The demo's videos, which lie in folders like a user's and differ only in what they are called."""
    return replace(list_videos(source, options), layout="demo", dataset="demo")


@dataclass
class _Found:
    """What the class folders hold."""

    claims: list[Claim] = field(default_factory=list)
    files_outside: list[Place] = field(default_factory=list)
    folders_outside: list[Place] = field(default_factory=list)


def _given_split(source: Source, top: Contents) -> dict[str, Place]:
    """Which folder holds the classes of which split; only ``train`` where the split has yet to be made."""
    beyond = [place.name for place in top.outside if place.name in SPLITS]
    if beyond:
        raise DataError(
            f"{beyond[0]}/ in {one_line(source.path)} is a link out of it.", "Add --follow-links to read it."
        )
    by_name = {place.name: place for place in top.folders}
    present = {split: by_name[split] for split in SPLITS if split in by_name}
    if "train" in present and "test" in present:
        return present
    if present and len(present) == len(by_name):
        missing = "test" if "train" in present else "train"
        raise DataError(
            f"{one_line(source.path)} has {' and '.join(f'{name}/' for name in present)} but no {missing}/.",
            "A given split needs both train/ and test/; without one, put the class folders directly into SOURCE.",
        )
    return {"train": source.top}


def _collect(source: Source, split: str, folder: Place, contents: Contents, found: _Found) -> None:
    """Add the videos of the class folders in ``folder``."""
    found.folders_outside += contents.outside
    for child in contents.folders:
        label = child.name.rpartition("/")[2]
        for place in _videos(source, child, (source.top, folder), found):
            path = source.locate(place)
            found.claims.append(Claim(place.name, path, label, split, place.real, place.linked))


def _videos(source: Source, label: Place, above: tuple[Place, ...], found: _Found) -> Iterator[Place]:
    """Videos of a class. A folder below it with images and no video file is itself a video: its frames."""
    for folder, contents in source.walk(label, above):
        found.folders_outside += contents.outside
        found.files_outside += [place for place in contents.videos if place.outside]
        if contents.images and not contents.videos and folder is not label:
            contents.folders.clear()
            yield folder
        yield from (place for place in contents.videos if not place.outside)


def _classes(claims: list[Claim]) -> list[str]:
    """All classes in natural order; each must be in train."""
    trained = {claim.label for claim in claims if claim.split == "train"}
    unknown = sorted((claim for claim in claims if claim.label not in trained), key=lambda c: natural_key(c.label))
    if unknown:
        name, split = unknown[0].label, unknown[0].split
        raise DataError(
            f"Class {one_line(name)!r} has videos in {split}/ but none in train/.",
            f"Add its folder to train/ or remove it from {split}/.",
        )
    return sorted(trained, key=natural_key)


def _fits(source: Path) -> bool:
    """Whether several folders hold files that are called like videos."""
    names = (name.split("/") for name in peek(source))
    classes = {parts[0] for parts in names if len(parts) > 1 and split_suffix(parts[-1])[1] in VIDEO_SUFFIXES}
    return len(classes) > 1


def _is_made(source: Path) -> bool:
    """The demo's videos are made, never found."""
    return False


LAYOUT = Layout("folders", "your own videos", TREE, list_videos, _fits, options=frozenset({"test_fraction", "seed"}))
DEMO = Layout(
    "demo", "the demo", TREE, list_demo_videos, _is_made, options=frozenset({"seed"}), frames=8, size=64, interval=1
)
