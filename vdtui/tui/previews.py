"""Preview files: reading them with suspicion, and turning their clips into rows of half-block characters.

A preview is an ``.npz`` in the run's ``previews`` folder: ``classes`` (C names), ``clips`` uint8 (C, N, T, h, w, 3),
and for sets with dynamic memories ``static`` uint8 (C, S, h, w, 3) and ``dynamic`` uint8 (C, D, T, h, w), in which
128 means zero. Nothing is unpickled, sizes are looked at before anything is unpacked, and a file that is not as
described raises PreviewError with a line for the user.
"""

from __future__ import annotations

import dataclasses
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

LARGEST_FILE = 1 << 29
"""Bytes of arrays in a preview that are still unpacked."""


UNSEEN = 14
"""Differences of a colour, of 255, between two frames that nobody sees in a picture made of blocks."""


class PreviewError(Exception):
    """A preview that cannot be shown; the message is one line for the user."""


@dataclasses.dataclass(frozen=True, eq=False)
class Preview:
    """The synthetic set as it was at one step. ``static`` and ``dynamic`` are both there or both None."""

    classes: tuple[str, ...]
    clips: np.ndarray
    static: np.ndarray | None
    dynamic: np.ndarray | None

    @property
    def frames(self) -> int:
        """Frames of a clip."""
        return int(self.clips.shape[2])

    @property
    def instances(self) -> int:
        """Composed clips of a class."""
        return int(self.clips.shape[1])


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """One film: ``frames`` uint8 (T, h, w, 3), or T = 1 for a still, under a label."""

    label: str
    frames: np.ndarray


def load_preview(folder: Path, file: str) -> Preview:
    """Read ``folder / file``; raises PreviewError if it is absent, damaged, too large, or not a preview."""
    if Path(file).name != file or not file.endswith(".npz"):
        raise PreviewError("This preview's name is not that of an .npz file in the run's folder.")
    path = folder / file
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > LARGEST_FILE:
            raise PreviewError(f"{file} unpacks to {unpacked / 1e6:.0f} MB: too large to show.")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ("classes", "clips", "static", "dynamic") if name in arrays}
    except FileNotFoundError:
        raise PreviewError(f"{file} is gone.") from None
    except (OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError) as error:
        raise PreviewError(f"{file} is damaged or unreadable.") from error
    except (zipfile.BadZipFile, zlib.error, SyntaxError, RuntimeError) as error:
        raise PreviewError(f"{file} is damaged or unreadable.") from error
    return checked(found, file)


def checked(arrays: dict[str, np.ndarray], file: str) -> Preview:
    """The preview of ``arrays``; raises PreviewError if shapes or types are not those of a preview."""
    classes, clips = arrays.get("classes"), arrays.get("clips")
    good = classes is not None and clips is not None and classes.ndim == 1 and classes.dtype.kind == "U"
    if not good or classes is None or clips is None or not _is_pictures(clips, 6, len(classes)) or clips.shape[-1] != 3:
        raise PreviewError(f"{file} does not hold classes and clips.")
    static, dynamic = arrays.get("static"), arrays.get("dynamic")
    if static is not None and not (_is_pictures(static, 5, len(classes)) and static.shape[-1] == 3):
        static = None
    if dynamic is not None and not _is_pictures(dynamic, 5, len(classes)):
        dynamic = None
    both = static is not None and dynamic is not None
    return Preview(tuple(str(name) for name in classes), clips, static if both else None, dynamic if both else None)


def _is_pictures(array: np.ndarray, dimensions: int, classes: int) -> bool:
    return array.dtype == np.uint8 and array.ndim == dimensions and array.size > 0 and array.shape[0] == classes


def panels_of(preview: Preview, label: int, instance: int) -> list[Panel]:
    """The films of one class: what is stored, and the clip that is composed of it."""
    clip = preview.clips[label, instance % preview.instances]
    composed = Panel(_counted("clip", instance, preview.instances), clip)
    if preview.static is None or preview.dynamic is None:
        return [composed]
    statics, dynamics = preview.static.shape[1], preview.dynamic.shape[1]
    first, second = parts_of(instance, preview.instances, statics, dynamics)
    return [
        Panel(_counted("static memory", first, statics), preview.static[label, first][None]),
        Panel(_counted("dynamic memory", second, dynamics), signed_colours(preview.dynamic[label, second])),
        composed,
    ]


def difference_panel(label: str, one: np.ndarray, other: np.ndarray) -> Panel:
    """The difference of two clips, uint8 (T, h, w, 3): orange where ``other`` is brighter, blue where it is darker."""
    frames = min(len(one), len(other))
    height, width = other.shape[1:3]
    before = np.stack([resized(frame, height, width) for frame in one[:frames]])
    change = other[:frames].astype(np.float32).mean(-1) - before.astype(np.float32).mean(-1)
    return Panel(label, signed_colours(np.clip(128 + change / 2, 0, 255)))


def real_panel(real: Preview, name: str, label: int, instance: int) -> Panel | None:
    """A real clip of the class ``name``, or of class ``label`` where the names differ but not their number."""
    if name in real.classes:
        label = real.classes.index(name)
    if label >= len(real.classes):
        return None
    return Panel(_counted("real clip", instance, real.instances), real.clips[label, instance % real.instances])


def parts_of(instance: int, clips: int, statics: int, dynamics: int) -> tuple[int, int]:
    """Choose the static and the dynamic memory beside a clip: every pair in turn, or one of each a clip."""
    if clips == statics * dynamics:
        return instance // dynamics % statics, instance % dynamics
    return instance % statics, instance % dynamics


def _counted(what: str, index: int, count: int) -> str:
    return f"{what} {index % count + 1} of {count}" if count > 1 else what


def signed_colours(frames: np.ndarray) -> np.ndarray:
    """(T, h, w) around 128 as (T, h, w, 3): orange above zero, blue below, dark at zero."""
    signed = (frames.astype(np.float32) - 128) / 127
    above, below = np.clip(signed, 0, 1)[..., None], np.clip(-signed, 0, 1)[..., None]
    zero, orange, blue = (np.array(rgb, np.float32) for rgb in ((22, 24, 34), (255, 158, 84), (84, 168, 255)))
    mixed = zero + above * (orange - zero) + below * (blue - zero)
    return mixed.clip(0, 255).astype(np.uint8)


def fitted(height: int, width: int, columns: int, rows: int) -> tuple[int, int]:
    """Cells (columns, rows) that a picture fills in a space: as large as fits, at least one cell."""
    scale = min(columns / width, 2 * rows / height)
    if scale > 1:
        scale = int(scale * 2) / 2  # whole and half multiples: pixels of nearly the same size
    return max(1, min(columns, round(width * scale))), max(1, min(rows, round(height * scale / 2)))


def resized(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """``frame`` (h, w, 3) with ``height`` and ``width`` pixels: nearest when enlarged, box means when reduced."""
    return _along(_along(frame, height, 0), width, 1)


def _along(frame: np.ndarray, count: int, axis: int) -> np.ndarray:
    old = frame.shape[axis]
    if count >= old:
        return frame.take(np.arange(count) * old // count, axis)
    edges = np.arange(count) * old // count
    sums = np.add.reduceat(frame.astype(np.uint32), edges, axis)
    shape = [1, 1, 1]
    shape[axis] = count
    return (sums / np.diff(np.append(edges, old)).reshape(shape)).astype(np.uint8)


def settled(pixels: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """``pixels`` (h, w, 3) with those of the frame ``before`` wherever the difference is too small to be seen.

    Noise would otherwise repaint every cell in every frame; on a slow line, that is all that one would see.
    """
    if before is None:
        return pixels
    same = np.abs(pixels.astype(np.int16) - before).max(-1, keepdims=True) < UNSEEN
    return np.where(same, before, pixels)


def cells_of(pixels: np.ndarray) -> np.ndarray:
    """Put the colours of two pixels, one above the other, into one number for each cell: int64 (h / 2, w).

    Colours are rounded to steps of 8, so that neighbours are often equal: equal cells share a segment, and a terminal
    gets fewer colour changes.
    """
    pixels = pixels & 0xF8
    upper, lower = pixels[0::2].astype(np.int32), pixels[1::2].astype(np.int32)
    packed = [(half[..., 0] << 16 | half[..., 1] << 8 | half[..., 2]) for half in (upper, lower)]
    return packed[0].astype(np.int64) << 24 | packed[1]


def strips_of(cells: np.ndarray) -> list[Strip]:
    """Lines of half blocks."""
    return [_strip(line) for line in cells]


def _strip(cells: np.ndarray) -> Strip:
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    lengths = np.diff(np.append(starts, len(cells)))
    runs = zip(cells[starts].tolist(), lengths.tolist(), strict=True)
    return Strip([Segment("▀" * length, _style(cell)) for cell, length in runs], len(cells))


@lru_cache(maxsize=65536)
def _style(cell: int) -> Style:
    upper, lower = cell >> 24, cell & 0xFFFFFF
    return Style(color=_colour(upper), bgcolor=_colour(lower))


def _colour(packed: int) -> Color:
    return Color.from_rgb(packed >> 16, packed >> 8 & 0xFF, packed & 0xFF)
