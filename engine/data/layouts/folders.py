"""Videos of one's own: a folder per class, named as one likes.

The split is either given, by folders ``train/`` and ``test/`` (and perhaps ``val/``) that hold the class folders, or
made here, per class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.data.layouts.annotations import SPLIT_NAMES
from engine.data.layouts.base import SPLITS, Layout, LayoutOptions, Listing, composed, distinct, natural_key
from engine.data.layouts.claims import Claim, entries, settle
from engine.data.layouts.expected import explain_absence, link_notes, open_source, peek, some, wrong_source
from engine.data.layouts.holdout import hold_out
from engine.data.layouts.scan import OUTSIDE, VIDEO_SUFFIXES, Contents, Place, Scan, Source, split_suffix
from engine.errors import DataError, UsageError
from engine.files import EXPORT_FORMAT, INDEX, read_json
from engine.text import counted, one_line, readable

TREE = """\
SOURCE/
  <class>/
    <video file, or folder of frames>
    ...
  <class>/
  ...
or, with a split of your own,
SOURCE/
  train/<class>/...    (or Training, train_set, ...)
  test/<class>/...
  val/<class>/...      (need not be there; it is for testing where there is no test/)"""


def list_videos(source: Path, options: LayoutOptions) -> Listing:
    """The :class:`Listing` of a folder of class folders; raises :class:`DataError` if it is not one."""
    place = open_source(source, TREE, options.follow_links)
    above, top = _unwrapped(place)
    splits, notes = _given_split(place, above[-1], top)
    given = len(splits) > 1
    if given and options.test_fraction is not None:
        raise UsageError(
            f"The folders {_listed(splits)} are a split, so --test-fraction means nothing.",
            "Leave --test-fraction out.",
        )
    found = _Found()
    for split, folders in splits.items():
        for folder in folders:
            contents = top if folder is above[-1] else place.read(folder)
            _collect(place, split, (*above, folder), contents, found)
    claims, doubles = settle(found.claims)
    if not claims:
        seen = Scan((*found.files_outside,), tuple(top.others), tuple(found.folders_outside))
        hint = explain_absence(seen, "Put the videos of each class into a folder of its own.")
        raise wrong_source(TREE, f"No videos were found in {one_line(source)}.", hint)
    classes = _classes(claims)
    videos = entries(claims, classes)
    exported = _exported(source)
    return Listing(
        tuple(distinct([exported.get(name, name) for name in classes])),
        tuple(videos if given else hold_out(videos, options)),
        "folders",
        readable(Path(place.top.real).name) or "folders",
        (*((readable(link.name), OUTSIDE) for link in (*found.folders_outside, *found.files_outside)), *doubles),
        notes=(*notes, *_level_notes(classes, found), *_stray_notes(top, found), *link_notes(found.folders_outside)),
        untested=options.test_fraction == 0,
        root=place.root,
    )


def _exported(source: Path) -> dict[str, str]:
    """Return the class of each folder where `vdtui export` made ``source``: its folders begin with the label."""
    index = read_json(source / INDEX) or {}
    rows = index.get("classes") if index.get("format") == EXPORT_FORMAT else None
    return {
        readable(str(row["folder"])): readable(str(row["class"]))
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and {"folder", "class"} <= row.keys()
    }


def list_demo_videos(source: Path, options: LayoutOptions) -> Listing:
    """The demo's videos, which lie in folders like a user's and differ only in what they are called."""
    return replace(list_videos(source, options), layout="demo", dataset="demo")


@dataclass
class _Found:
    """The contents of the class folders."""

    claims: list[Claim] = field(default_factory=list)
    files_outside: list[Place] = field(default_factory=list)
    folders_outside: list[Place] = field(default_factory=list)
    inner: dict[str, set[str]] = field(default_factory=dict)
    """Class -> the folders in it that hold video files or further folders."""
    spelling: dict[str, str] = field(default_factory=dict)
    """Class with its accents composed -> as the first folder spells it."""
    stray_images: int = 0
    """Images right in a class's folder, which are no video's frames."""


SPLIT_WORDS = re.compile(r"[-_. ]*(?:set|data|dataset|split|videos?|clips?|frames|images)$")
"""Words that people add to the name of a split: `train_set`, `test-videos`."""


def split_named(name: str) -> str | None:
    """Return the split that a folder called ``name`` holds, if it is called like one."""
    folded = name.rpartition("/")[2].casefold()
    return SPLIT_NAMES.get(folded) or SPLIT_NAMES.get(SPLIT_WORDS.sub("", folded))


def _unwrapped(source: Source) -> tuple[tuple[Place, ...], Contents]:
    """The folders from the source down to the one that holds the classes or the splits, and what is in that.

    A folder around everything, as archives unpack to, is none of them: it holds nothing but the folders of a split, or
    two or more folders, of which none is a video; or such a folder.
    """
    top = source.read(source.top)
    above: tuple[Place, ...] = (source.top,)
    inner = top
    while len(inner.folders) == 1 and not inner.videos and not inner.images and not inner.outside:
        above = (*above, inner.folders[0])
        inner = source.read(above[-1])
        several = len(inner.folders) > 1 and not any(_is_frames(source.read(folder)) for folder in inner.folders[:3])
        if not inner.videos and not inner.images and (several or _is_split(inner)):
            return above, inner
    return (source.top,), top


def _is_split(contents: Contents) -> bool:
    return {split_named(place.name) for place in contents.folders} >= {"train"}


def _is_frames(contents: Contents) -> bool:
    return bool(contents.images and not contents.videos)


def _given_split(source: Source, folder: Place, top: Contents) -> tuple[dict[str, list[Place]], list[str]]:
    """(split -> the folders that hold its classes, notes); only ``train`` where the split has yet to be made."""
    beyond = [place.name for place in top.outside if split_named(place.name)]
    if beyond:
        raise DataError(
            f"{one_line(beyond[0])}/ in {one_line(source.path)} is a link out of it.", "Add --follow-links to read it."
        )
    present: dict[str, list[Place]] = {}
    for place in top.folders:
        if split := split_named(place.name):
            present.setdefault(split, []).append(place)
    others = [place.name for place in top.folders if not split_named(place.name)]
    notes = [f"Beside the folders of the split, {counted(len(others), 'folder is', 'folders are')} not read: "
             f"{some(others)}."] if others else []  # fmt: skip
    if "train" in present and "test" in present:
        return {split: present[split] for split in SPLITS if split in present}, notes
    if "train" in present and "val" in present and not others:
        named = some([place.name.rpartition("/")[2] for place in present["val"]])
        return {"train": present["train"], "test": present["val"]}, [f"{named}/ is the test split: there is no test/."]
    if present and not others:
        missing = "test" if "train" in present else "train"
        names = " and ".join(f"{one_line(place.name)}/" for places in present.values() for place in places)
        raise DataError(
            f"{one_line(source.path)} has {names} but no {missing}/.",
            "A given split needs train/ and test/ (or val/); without one, put the class folders directly into SOURCE.",
        )
    return {"train": [folder]}, []


def _listed(splits: dict[str, list[Place]]) -> str:
    return " and ".join(f"{one_line(place.name)}/" for places in splits.values() for place in places)


def _collect(source: Source, split: str, above: tuple[Place, ...], contents: Contents, found: _Found) -> None:
    """Add the videos of the class folders in the last of ``above``."""
    found.folders_outside += contents.outside
    for child in contents.folders:
        label = found.spelling.setdefault(composed(name := child.name.rpartition("/")[2]), name)
        for place in _videos(source, child, above, label, found):
            path = source.locate(place)
            found.claims.append(Claim(place.name, path, label, split, place.real, place.linked))


def _videos(
    source: Source, folder_of_class: Place, above: tuple[Place, ...], label: str, found: _Found
) -> Iterator[Place]:
    """Videos of a class. A folder below it with images and no video file is itself a video: its frames."""
    inner = found.inner.setdefault(label, set())
    for folder, contents in source.walk(folder_of_class, above):
        found.folders_outside += contents.outside
        found.files_outside += [place for place in contents.videos if place.outside]
        is_frames = _is_frames(contents) and folder is not folder_of_class
        parts = folder.name.removeprefix(folder_of_class.name).split("/")[1:]
        if parts and (contents.videos or (is_frames and len(parts) > 1)):
            inner.add(parts[0])
        if is_frames:
            contents.folders.clear()
            yield folder
        elif folder is folder_of_class and not contents.videos:
            found.stray_images += contents.images
        yield from (place for place in contents.videos if not place.outside)


def _level_notes(classes: list[str], found: _Found) -> list[str]:
    """A word where the folders of one level may be taken for the classes of another."""
    if len(classes) == 1:
        inner = found.inner.get(classes[0], set())
        has = f", with the folders {some(sorted(inner, key=natural_key))}" if len(inner) > 1 else ""
        return [f"There is only one class, {one_line(classes[0])}{has}. Is --source the folder above the classes?"]
    shared = set.intersection(*(found.inner.get(name, set()) for name in classes))
    if shared:
        names = some(sorted(shared, key=natural_key))
        return [f"Each of the {len(classes)} classes ({some(classes)}) has the same folders in it ({names}). Are those "
                "the classes?"]  # fmt: skip
    return []


def _stray_notes(top: Contents, found: _Found) -> list[str]:
    """Name the files that lie where no video is looked for."""
    notes = []
    stray = [place.name for place in top.videos if split_suffix(place.name)[1] in VIDEO_SUFFIXES]
    if stray:
        what = counted(len(stray), "video lies", "videos lie")
        notes.append(f"{what} beside the class folders and in none, and not used: {some(stray)}.")
    if found.stray_images:
        what = counted(found.stray_images, "image lies", "images lie")
        notes.append(f"{what} right in the folder of a class without video files, and not used: the frames of a video "
                     "belong into a folder of their own.")  # fmt: skip
    return notes


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
    """Return whether several folders hold files that are called like videos."""
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
