"""Pictures and videos of synthetic sets: one file with a grid of all clips, or a folder with a file for each clip.

``output`` decides which. A path that ends in the format's suffix becomes one file. A folder, or a path without a
suffix, becomes a folder of ``<class>/<number>.<suffix>``, the clips in their own size, with an ``index.json`` that
names the class of each folder. A grid shows as much as fits, and the notes of the returned ``Exported`` say what it
leaves out. ``card`` is the text of a folder's README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from engine.errors import UsageError
from engine.export import encode
from engine.export.grid import draw, plan
from engine.export.names import class_folders
from engine.export.output import Exported, refuse_existing, refuse_folder, write_file, write_folder
from engine.export.pictures import Pixels8, class_clips, class_statics, evenly
from engine.synthetic import SyntheticSet

FPS = 8.0
SHEET_FRAMES = 8
"""The most frames of a clip in the still grid; a contact sheet in a folder has all of them."""


def export_mp4(
    synthetic: SyntheticSet, output: Path, fps: float = FPS, overwrite: bool = False, card: str = ""
) -> Exported:
    """Write the clips as H.264 video at ``fps`` frames per second.

    Raises UsageError (output exists, impossible speed or suffix) and StorageError.
    """
    return _export_moving(synthetic, output, "mp4", encode.mp4, fps, overwrite, card)


def export_gif(
    synthetic: SyntheticSet, output: Path, fps: float = FPS, overwrite: bool = False, card: str = ""
) -> Exported:
    """Write the clips as animated gifs that loop, at ``fps`` frames per second.

    Raises UsageError (output exists, impossible speed or suffix) and StorageError.
    """
    return _export_moving(synthetic, output, "gif", encode.gif, fps, overwrite, card)


def export_png(synthetic: SyntheticSet, output: Path, overwrite: bool = False, card: str = "") -> Exported:
    """Write stills: the static memories of each class, and a contact sheet of a clip, its frames from left to right.

    In a folder, ``<class>/static-<n>.png`` are the static memories and ``<class>/<n>.png`` the sheets of all clips, in
    their own size. Raises UsageError (output exists, other suffix) and StorageError.
    """
    if not is_single(output, "png"):
        return _export_folder(synthetic, output, "png", lambda label: _stills(synthetic, label), overwrite, card)
    refuse_existing(output, overwrite)
    spec = synthetic.spec
    statics = len(class_statics(synthetic, 0))
    times = evenly(class_clips(synthetic, 0, most=1).shape[1], SHEET_FRAMES)
    layout = plan(len(spec.classes), statics + len(times), spec.height, spec.width, "png")

    def cells(label: int) -> list[Pixels8]:
        stills = class_statics(synthetic, label)
        sheet = class_clips(synthetic, label, most=1)[0][times]
        return [still[None] for still in (*stills, *sheet)]

    rows = [cells(label) for label in range(layout.classes)]
    picture = next(draw(layout, list(spec.classes), rows))
    write_file(output, encode.png(picture), overwrite)
    notes = _left_out(synthetic, layout.classes, 1)
    if layout.cells < statics + len(times):
        notes = (*notes, f"Shown: the first {layout.cells} of {statics + len(times)} pictures of each class.")
    return Exported(output, (output,), notes)


def is_single(output: Path, suffix: str) -> bool:
    """Return True if ``output`` ends in ``suffix`` and so is one file; False if it is a folder, or has no suffix.

    Raises UsageError if it ends in another suffix.
    """
    if output.is_dir():
        return False
    found = output.suffix.lower()
    if found == f".{suffix}":
        return True
    if found:
        problem = f"{output} ends in {found}, which is not {suffix}."
        raise UsageError(problem, f"End --output in .{suffix} for one file of everything, or name a folder.")
    return False


def _export_moving(
    synthetic: SyntheticSet,
    output: Path,
    kind: str,
    encoder: Callable[[Iterator[Pixels8], float], bytes],
    fps: float,
    overwrite: bool,
    card: str,
) -> Exported:
    encode.check_fps(fps, kind)
    if not is_single(output, kind):

        def clips(label: int) -> Iterator[tuple[str, bytes]]:
            for number, clip in enumerate(class_clips(synthetic, label), start=1):
                yield f"{number}.{kind}", encoder(iter(clip), fps)

        return _export_folder(synthetic, output, kind, clips, overwrite, card)
    refuse_existing(output, overwrite)
    spec = synthetic.spec
    layout = plan(len(spec.classes), synthetic.clips_per_class, spec.height, spec.width, kind)
    rows = [list(class_clips(synthetic, label, layout.cells)) for label in range(layout.classes)]
    write_file(output, encoder(draw(layout, list(spec.classes), rows), fps), overwrite)
    return Exported(output, (output,), _left_out(synthetic, layout.classes, layout.cells))


def _export_folder(
    synthetic: SyntheticSet,
    output: Path,
    kind: str,
    files: Callable[[int], Iterator[tuple[str, bytes]]],
    overwrite: bool,
    card: str,
) -> Exported:
    refuse_folder(output, overwrite)
    folders = class_folders(synthetic.spec.classes)

    def contents() -> Iterator[tuple[PurePosixPath, bytes]]:
        for label, folder in enumerate(folders):
            for name, content in files(label):
                yield PurePosixPath(folder) / name, content
        yield from card_file(card)

    about = {"kind": kind, "classes": class_rows(synthetic.spec.classes)}
    return Exported(output, write_folder(output, contents, about, overwrite))


def class_rows(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the label, name and folder of each class, as the index of an exported folder has them."""
    return [
        {"label": label, "class": name.encode("utf-8", "replace").decode(), "folder": folder}
        for label, (name, folder) in enumerate(zip(names, class_folders(names), strict=True))
    ]


def card_file(card: str) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the card as the file README.md of a folder, if there is one."""
    if card:
        yield PurePosixPath("README.md"), card.encode("utf-8")


def _stills(synthetic: SyntheticSet, label: int) -> Iterator[tuple[str, bytes]]:
    for number, still in enumerate(class_statics(synthetic, label), start=1):
        yield f"static-{number}.png", encode.png(still)
    for number, clip in enumerate(class_clips(synthetic, label), start=1):
        yield f"{number}.png", encode.png(clip.transpose(1, 0, 2, 3).reshape(clip.shape[1], -1, 3))


def _left_out(synthetic: SyntheticSet, classes: int, clips: int) -> tuple[str, ...]:
    """Return one line on the classes and clips that are shown, or none if all of them are."""
    all_classes, all_clips = len(synthetic.spec.classes), synthetic.clips_per_class
    if classes == all_classes and clips >= all_clips:
        return ()
    shown = f"Shown: {classes} of {all_classes} classes, {min(clips, all_clips)} of {all_clips} clips of each."
    return (f"{shown} A folder as --output gets all of them.",)
