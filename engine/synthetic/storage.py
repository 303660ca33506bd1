"""The ways in which a set is stored, by the names that users write."""

from __future__ import annotations

import dataclasses
import re

from engine.config.kinds import LABELS, Kind, Part
from engine.errors import UsageError
from engine.synthetic.labels import LabelCode
from engine.synthetic.numbers import PRECISIONS
from engine.synthetic.streams import CODERS, Coding
from engine.text import one_line

SYNTAX = (
    "Write float32, float16, uint8, h264-23, h264-35@half, h264-35:repeat4, jpeg-80 or avif-50, or two as STILLS+CLIPS."
)
_LABELS = re.compile(r"top([1-9]\d{0,3})x([1-8])")


@dataclasses.dataclass(frozen=True)
class Storage:
    """The way in which each memory of a set is stored: as numbers, or through a codec.

    ``clips`` is for what moves (clips, the dynamic memory), ``stills`` for the static memory. ``labels`` is how many
    of the likeliest classes of each soft label are kept, and in how many bits; None: soft labels are float32.
    """

    clips: Coding
    stills: Coding
    labels: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> Storage:
        """Return the storage of the form ``uint8``, ``h264-35@half``, ``jpeg-80+h264-30`` (stills+clips).

        Each way is a ``Coding``. ``/top3x4`` behind it keeps the 3 likeliest classes of soft labels, in 4 bits each.
        Raises UsageError.
        """
        memories, slash, labels = text.partition("/")
        ways = [_coding(part, text) for part in memories.split("+")]
        if len(ways) > 2:
            raise UsageError(f"{one_line(text[:60])!r} names more than two ways to store a set.", SYNTAX)
        found = _LABELS.fullmatch(labels)
        if slash and found is None:
            problem = f"There is no way to store labels named {one_line(labels[:60])!r}."
            raise UsageError(problem, "Write, behind the storage, /top3x4: three classes of each in 4 bits.")
        return cls(ways[-1], ways[0], None if found is None else (int(found[1]), int(found[2])))

    def __str__(self) -> str:
        """The text that ``parse`` reads."""
        memories = str(self.clips) if self.clips == self.stills else f"{self.stills}+{self.clips}"
        return memories + ("" if self.labels is None else f"/top{self.labels[0]}x{self.labels[1]}")

    @property
    def precision(self) -> str | None:
        """The one precision of all memories, which are then stored as tensors of a safetensors file; or None."""
        plain = self.clips == self.stills and self.labels is None
        return str(self.clips) if plain and str(self.clips) in PRECISIONS else None

    def codec(self) -> Coding:
        """Return the one codec of all pictures, through which real clips are stored. Raises UsageError without one."""
        if self.clips.name not in CODERS or self != Storage(self.clips, self.clips):
            raise UsageError(f"Clips are stored through one codec, and {self} is none.", "Choose one such as h264-23.")
        return self.clips

    def of(self, part: Part) -> Coding:
        """Return how these pictures are stored."""
        return self.stills if part.still else self.clips

    def alone(self, kind: Kind) -> Storage:
        """Return how sets of ``kind``, whose pictures are all of one sort, are stored beside a set that is so."""
        way = self.of(next(part for part in kind.parts if part.channels))
        return Storage(way, way)

    def label_code(self, classes: int) -> LabelCode | None:
        """Return how soft labels of ``classes`` classes are packed; None: they are float32."""
        return None if self.labels is None else LabelCode(classes, *self.labels)

    def check_fits(self, kind: Kind) -> None:
        """Raise UsageError for two ways where sets of ``kind`` have one sort of pictures only."""
        pictures = [part for part in kind.parts if part.channels]
        if self.stills != self.clips and len({part.still for part in pictures}) == 1:
            problem = f"{self} stores stills and clips, but a set of kind {kind.name} has only one of them."
            raise UsageError(problem, f"Choose {self.of(pictures[0])}.")

    def check_labels(self, tensors: dict[str, object]) -> None:
        """Raise UsageError where labels are to be packed and ``tensors``, by name, have no soft ones."""
        if self.labels is not None and LABELS.name not in tensors:
            problem = f"{self} packs soft labels, and the set has hard ones, which take no bytes."
            raise UsageError(problem, f"Choose {str(self).partition('/')[0]}.")


def _coding(part: str, text: str) -> Coding:
    try:
        return Coding.parse(part)
    except UsageError as error:
        if part == text:
            raise
        raise UsageError(f"{one_line(text[:60])!r}: {error.problem}", error.hint) from error
