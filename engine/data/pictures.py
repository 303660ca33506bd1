"""From frames of any shape to square pictures, as :class:`engine.data.sampling.Sampling` says.

The published geometry and its alternatives are written down here, once, and so is how the pictures of one video are
collected: scaling costs as much as decoding, so only frames that a clip shows are scaled, each once.
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from engine.data.sampling import Sampling
from engine.data.tones import HLG, PQ, to_sdr

ODD_COLOURS = frozenset({14, 15})
"""Colour matrices by ITU-T H.273 that FFmpeg's scaler does not know: ICtCp, and IPT of Dolby Vision."""

EXIF_ORIENTATIONS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""Rows and columns swapped, then upside down, then mirrored."""

LONGEST_SIDE = 16
"""Times the shorter one; frames that are longer are squeezed to it, since a crop would throw all of it away anyway."""


class Squarer:
    """Frames of any size and pixel format to uint8 (S, S, 3), as :class:`Sampling` says; one per video.

    ``stretched`` is the width of a pixel over its height (the sample aspect ratio).
    """

    def __init__(self, sampling: Sampling, stretched: float = 1.0) -> None:
        self.size = sampling.size
        self.kind = sampling.resize
        self.stretched = stretched
        self.reformatter = VideoReformatter()  # setting up FFmpeg's scaler costs more than using it
        self.hdr = self.mirrored = self.odd_colours = False
        """True once a frame was of high dynamic range, mirrored by Exif, or in colours that are not converted here."""

    def into(self, picture: np.ndarray, frame: av.VideoFrame, exif: int | None = None) -> None:
        """Write ``frame`` to ``picture``, (S, S, 3); ``exif`` is the orientation that a photo says it has, 1 to 8."""
        transposed, upside_down, mirrored = _orientation(frame, exif)
        self.mirrored |= exif in (2, 4, 5, 7)
        width, height = (frame.height, frame.width) if transposed else (frame.width, frame.height)
        width, height = self.resized(width, height, 1 / self.stretched if transposed else self.stretched)
        if transposed:
            scaled = self._scale(frame, height, width).transpose(1, 0, 2)
        else:
            scaled = self._scale(frame, width, height)
        scaled = scaled[:: -1 if upside_down else 1, :: -1 if mirrored else 1]
        if min(width, height) < self.size:
            picture[:] = 0
        rows, columns = _centred(height, self.size), _centred(width, self.size)
        picture[rows[0], columns[0]] = scaled[rows[1], columns[1]]

    def resized(self, width: int, height: int, stretched: float) -> tuple[int, int]:
        """Width and height before the crop (or, with ``pad``, before the margin), rounded half up."""
        size = self.size
        if self.kind == "published":
            own = (width, height) == (size, size)
            return (size, size) if own else ((20 * size + 7) // 14, (15 * size + 7) // 14)
        if self.kind == "pad":
            factor = size / max(width * stretched, height)
            return max(1, int(width * stretched * factor + 0.5)), max(1, int(height * factor + 0.5))
        shorter = size if self.kind == "centre-crop" else (8 * size + 3) // 7
        factor = shorter / min(width * stretched, height)
        longest = LONGEST_SIDE * shorter
        sides = (min(longest, int(side * factor + 0.5)) for side in (width * stretched, height))
        width, height = (max(shorter, side) for side in sides)
        return width, height

    def _scale(self, frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
        self.odd_colours |= frame.colorspace in ODD_COLOURS
        if frame.color_trc in (PQ, HLG):
            self.hdr = True
            deep = self._rgb(frame, width, height, "rgb48le", np.uint16)
            return to_sdr(deep, int(frame.color_trc))
        return self._rgb(frame, width, height, "rgb24", np.uint8)

    def _rgb(self, frame: av.VideoFrame, width: int, height: int, pixels: str, kind: Any) -> np.ndarray:
        rgb = self.reformatter.reformat(frame, width, height, pixels, interpolation="BILINEAR", threads=1)
        plane: Any = rgb.planes[0]
        rows = np.frombuffer(plane, kind).reshape(height, plane.line_size // np.dtype(kind).itemsize)
        return rows[:, : 3 * width].reshape(height, width, 3)


def _centred(length: int, size: int) -> tuple[slice, slice]:
    """Return the place of ``length`` pixels along an axis of a square of ``size``, and which of them are shown."""
    if length < size:
        start = (size - length) // 2
        return slice(start, start + length), slice(None)
    start = (length - size) // 2
    return slice(None), slice(start, start + size)


def has_exif(frame: av.VideoFrame) -> bool:
    """Return whether the frame is a photo with Exif, which is side data of a kind that PyAV does not know."""
    try:
        frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        return True
    return False


def _orientation(frame: av.VideoFrame, exif: int | None) -> tuple[bool, bool, bool]:
    """(rows and columns swapped, then upside down, then mirrored): what makes the frame look as it should.

    From the display matrix, which sends the pixel (x, y) to (a x + c y, b x + d y); its angle alone, FFmpeg's
    ``rotation``, takes a mirrored video for one that stands on its head. Other than right angles are left as they are.
    """
    if exif in EXIF_ORIENTATIONS:
        return EXIF_ORIENTATIONS[exif]
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know every kind of side data, such as the Exif of a photo
        quarters = round(frame.rotation / 90) % 4 if frame.rotation % 90 == 0 else 0
        return quarters % 2 == 1, quarters in (1, 2), quarters in (2, 3)
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) + abs(c) <= (abs(a) + abs(d)) / 100:
        return False, d < 0, a < 0
    if abs(a) + abs(d) <= (abs(b) + abs(c)) / 100:
        return True, b < 0, c < 0
    return False, False, False


class Pictures:
    """The pictures of some frames of a video, which come in any order and are looked up by number."""

    def __init__(self, numbers: np.ndarray, squarer: Squarer) -> None:
        self.numbers = np.unique(numbers)
        self.squarer = squarer
        self.slots = {number: slot for slot, number in enumerate(self.numbers.tolist())}
        self.missing = set(self.slots)
        self.pixels = np.empty((len(self.numbers), squarer.size, squarer.size, 3), np.uint8)

    def offer(self, number: int, frame: av.VideoFrame, exif: int | None = None) -> None:
        """Keep the frame if it is one that is wanted; ``exif`` as in :meth:`Squarer.into`."""
        if number in self.missing:
            self.squarer.into(self.pixels[self.slots[number]], frame, exif)
            self.missing.remove(number)

    def has(self, numbers: np.ndarray) -> bool:
        """Return whether all of ``numbers`` came."""
        return all(number in self.slots and number not in self.missing for number in np.unique(numbers).tolist())

    def clips(self, numbers: np.ndarray) -> np.ndarray:
        """uint8 (clips, T, S, S, 3) of the frames ``numbers``, (clips, T)."""
        slots = np.searchsorted(self.numbers, numbers)
        if np.array_equal(slots.ravel(), np.arange(len(self.numbers))):
            return self.pixels.reshape(*numbers.shape, *self.pixels.shape[1:])
        return self.pixels[slots]
