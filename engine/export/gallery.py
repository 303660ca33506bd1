"""The report's pictures of a synthetic set, as data inside the page.

Their number and their bytes are limited: a page that no browser opens, or a mail server refuses, shows nothing at all.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.export import encode
from engine.export.pictures import (
    class_clips,
    class_dynamics,
    class_statics,
    evenly,
    signed_levels,
    signed_palette,
)
from engine.synthetic import SyntheticSet

MOST_CLASSES = 24
MOST_FRAMES = 16
BUDGET = 7_500_000
"""The most characters of all pictures together, as they stand in the page."""
MOST_CLIPS, MOST_MEMORIES = 4, 2
FPS = 8.0


@dataclasses.dataclass(frozen=True)
class ClassPictures:
    """The pictures of one class as data URIs: clips (gif), static memories (png), dynamic memories (gif)."""

    name: str
    clips: Sequence[str]
    statics: Sequence[str]
    dynamics: Sequence[str]
    magnitude: float
    """The dynamic value, in normalised units, of the strongest colours; 0 without dynamic memory."""

    @property
    def characters(self) -> int:
        """The number of characters of all its pictures."""
        return sum(map(len, (*self.clips, *self.statics, *self.dynamics)))


def gallery(synthetic: SyntheticSet, budget: int = BUDGET) -> list[ClassPictures]:
    """Return pictures of the first classes of ``synthetic``: as many as ``budget`` allows, at least one, at most 24.

    If several pictures of each class would exceed ``budget``, each class has one of each kind.
    """
    number = min(len(synthetic.spec.classes), MOST_CLASSES)
    found = [class_pictures(synthetic, 0, MOST_CLIPS, MOST_MEMORIES)]
    clips, memories = MOST_CLIPS, MOST_MEMORIES
    if found[0].characters * number > budget:
        clips, memories = 1, 1
        found = [class_pictures(synthetic, 0, clips, memories)]
    for label in range(1, number):
        found.append(class_pictures(synthetic, label, clips, memories))
        if sum(pictures.characters for pictures in found) > budget:
            return found[:-1]
    return found


def class_pictures(synthetic: SyntheticSet, label: int, clips: int, memories: int) -> ClassPictures:
    """Return pictures of class ``label``: at most ``clips`` clips, and at most ``memories`` of each kind of memory."""
    stills = class_statics(synthetic, label)
    moving = []
    if synthetic.frames == 1:  # its clips are pictures themselves
        stills = class_clips(synthetic, label, most=memories)[:, 0]
    else:
        moving = [_animated(clip) for clip in class_clips(synthetic, label, most=clips)]
    statics = [_uri("png", encode.png(still)) for still in stills[:memories]]
    dynamics = class_dynamics(synthetic, label)[:memories]
    levels, magnitude = signed_levels(dynamics)
    palette = signed_palette()
    signed = [_animated(memory, palette) for memory in levels]
    return ClassPictures(synthetic.spec.classes[label], moving, statics, signed, magnitude)


def _animated(frames: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> str:
    times = evenly(len(frames), MOST_FRAMES)
    speed = FPS * len(times) / len(frames)  # a clip with fewer frames still lasts as long
    return _uri("gif", encode.gif(iter(frames[times]), speed, palette))


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
