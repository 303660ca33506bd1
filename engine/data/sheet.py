"""A contact sheet of a clips file: random clips of each class, a few frames of each side by side.

A wrong crop, mirrored colours or a class full of black frames cost days when they are found after training; here they
are seen at once. Which clips are shown comes from a seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engine.data.store import ClipStore
from engine.errors import DataError, UsageError
from engine.files import replacing
from engine.text import one_line

MOST_PIXELS = 60_000_000
MARGIN, GAP, CAPTION = 8, 4, 16


@dataclass(frozen=True)
class Strip:
    """Frames of one clip in their order, side by side."""

    name: str
    """The name of the class."""
    video: str
    """The name of the video that the clip is from."""
    pixels: np.ndarray
    """uint8 (H, frames * W, 3)."""


def pick(store: ClipStore, split: str, label: int, number: int, seed: int) -> np.ndarray:
    """Up to ``number`` different random clips of a class, as indices into the split, int64."""
    own = store.split(split).by_class(label)
    return np.random.default_rng([seed, label]).permutation(own)[:number]


def strips(
    store: ClipStore, labels: list[int], *, split: str = "train", clips: int = 1, frames: int = 4, seed: int = 0
) -> list[Strip]:
    """Up to ``clips`` random clips of each of ``labels``, with up to ``frames`` frames, first and last among them."""
    view = store.split(split)
    numbers = np.unique(np.linspace(0, store.frames - 1, min(frames, store.frames)).round().astype(int))
    found = []
    for label in labels:
        for index in pick(store, split, label, clips, seed).tolist():
            shown = view.frames_at(np.full(len(numbers), index), numbers)
            video = store.video_names[int(view.video[index])]
            found.append(Strip(store.classes[label], video, np.concatenate(list(shown), axis=1)))
    return found


def save_sheet(path: Path, rows: list[list[Strip]], overwrite: bool = False) -> tuple[int, int]:
    """Write ``rows``, each the strips of one class, as a PNG; returns width and height in pixels.

    Raises UsageError if ``path`` exists and may not be replaced, or if the picture would be too large.
    """
    if path.exists() and not overwrite:
        raise UsageError(f"{one_line(path)} exists already.", "Add --overwrite, or choose another name for --png.")
    if not any(rows):
        raise DataError("There are no clips to show.", "Choose another --split.")
    height, width = next(row for row in rows if row)[0].pixels.shape[:2]
    columns = max(len(row) for row in rows)
    size = (2 * MARGIN + columns * (width + GAP) - GAP, 2 * MARGIN + len(rows) * (height + CAPTION + GAP) - GAP)
    if size[0] * size[1] > MOST_PIXELS:
        raise UsageError(
            f"The sheet would be {size[0]} x {size[1]} pixels.", "Show less of it: --classes, --clips or --frames."
        )
    sheet = Image.new("RGB", size, (24, 24, 27))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    top = MARGIN
    for row in rows:
        left = MARGIN
        for strip in row:
            caption = _fitted(f"{one_line(strip.name)}   {one_line(strip.video)}", width, font)
            draw.text((left, top + 1), caption, (212, 212, 216), font)
            sheet.paste(Image.fromarray(np.ascontiguousarray(strip.pixels)), (left, top + CAPTION))
            left += width + GAP
        top += height + CAPTION + GAP
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")
    return size


def _fitted(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """``text``, cut with an ellipsis where it is wider than ``width`` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


PREVIEW_SIDE, PREVIEW_PIXELS = 64, 24_000_000


def save_preview(path: Path, store: ClipStore, split: str = "train", clips: int = 2, seed: int = 0) -> None:
    """Write random clips of every class as a preview, an .npz as the dashboard's gallery plays them.

    ``classes`` (C names) and ``clips`` uint8 (C, N, T, h, w, 3), at most 64 pixels wide; a class with fewer clips
    repeats its own. Fewer clips and smaller pictures where there are many classes.
    """
    view, number = store.split(split), len(store.classes)
    side = min(PREVIEW_SIDE, store.height, store.width)
    while clips > 1 and number * clips * store.frames * side**2 > PREVIEW_PIXELS:
        clips -= 1
    shown = np.zeros((number, clips, store.frames, side, side, 3), np.uint8)
    for label in range(number):
        chosen = pick(store, split, label, clips, seed)
        for position in range(clips if len(chosen) else 0):
            clip = view.clips([int(chosen[position % len(chosen)])])[0]
            for time, frame in enumerate(clip):
                small = Image.fromarray(frame).resize((side, side), Image.Resampling.BOX)
                shown[label, position, time] = np.asarray(small)
    names = np.array([one_line(name) for name in store.classes], dtype=np.str_)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, classes=names, clips=shown)
