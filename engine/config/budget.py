"""A budget of bytes per class: its size as presets have it, and the ladder of ways to spend it.

Each rung of the ladder is what becomes of a real clip: how many of its frames are kept, at which side, through which
codec at which quality. Few good clips or many poor ones: which of them train the best networks is found by the run
(``engine.distilling.budget``). Presets and the form read this without torch.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from engine.config.kinds import clips_of_a_picture
from engine.config.storage import PARTS, QUALITIES

_UNITS = {"b": 1, "kb": 1000, "mb": 1000**2, "kib": 1024, "mib": 1024**2}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?) ?([kKmM]?[bB]|[kKmM]i[bB])", re.ASCII)
_SLOW = 10
"""Steps between two encodings of a set through AV1, which takes ten times as long as H.264."""
MOST_BYTES = 10**12
"""Per class; more is a slip of the keyboard."""
MOST_RUNGS = 12
"""Rungs that networks are trained on, at most; of more that so many bytes can hold, some are left out evenly."""


def parse_size(text: str) -> int:
    """Return the bytes that ``text`` says: ``500B``, ``2kB``, ``1.5MB``; k is 1,000, Ki 1,024. Raises ValueError.

    A size is a whole number of bytes, from 1 to ``MOST_BYTES``.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError("write a size such as 500B, 2kB or 1.5MB")
    size = Decimal(found[1]) * _UNITS[found[2].lower()]
    if size != int(size) or not 1 <= size <= MOST_BYTES:
        raise ValueError(f"a size is a whole number of bytes, from 1 to {MOST_BYTES:,}")
    return int(size)


def _checked(text: str) -> str:
    try:
        parse_size(text)
    except ValueError as error:
        raise PydanticCustomError("size", "{reason}", {"reason": str(error)}) from error  # a ValueError is of a table
    return text


Size = Annotated[str, AfterValidator(_checked)]
"""The type of a preset's sizes, as ``parse_size`` reads them."""


def for_a_budget(tables: Any) -> Any:
    """Return a preset's ``tables`` with what a budget that is still to be spent implies, where they name one.

    Such a set is made of learned clips that start from real ones, whatever kind the preset makes otherwise: bytes can
    be told before anything is learned of real clips alone.
    """
    storage = tables.get("storage") if isinstance(tables, Mapping) else None
    if not isinstance(storage, Mapping) or storage.get("budget") is None or storage.get("rung") is not None:
        return tables
    synthetic, dynamic = (tables.get(name, {}) for name in ("synthetic", "dynamic"))
    if not isinstance(synthetic, Mapping) or not isinstance(dynamic, Mapping):
        return tables
    kept = {key: value for key, value in synthetic.items() if key not in _OF_OTHER_KINDS}
    return {**tables, "synthetic": {**kept, "kind": "pixels"}, "dynamic": {**dynamic, "init": "residual"}}


_OF_OTHER_KINDS = (
    "formation",
    "n_syn",
    "segments",
    "interpolation",
    "dynamic_size",
    "rank",
    "hallucinator",
    "hallucinators",
)
"""Keys of [synthetic] that the rung chooses, or that learned clips do not read."""


def impossible_budget(how: str, ipc: int, labels: str) -> str:
    """Return why a preset with these values cannot have a budget that is still to be spent, or ""."""
    if ipc != 1:
        return f"storage.budget chooses the instances per class, and synthetic.ipc = {ipc} names them; leave one out"
    if how != "float32":
        return f"storage.budget chooses how the set is stored, and storage.how = {how} names it; leave one out"
    if labels != "hard":
        return f"storage.budget needs synthetic.labels = hard: {labels} ones would take its bytes"
    return ""


def impossible_rung(title: str, budget: str | None, how: str, kind: str) -> str:
    """Return why a preset with these values cannot be one whose budget is spent by the rung ``title``, or ""."""
    rung = rung_named(title)
    if budget is None:
        return "storage.rung needs the storage.budget that was spent so"
    if rung is None:
        return f"storage.rung = {title[:40]} is none of {', '.join(rung.title for rung in LADDER)}"
    if (kind, how) != ("pixels", rung.how):
        return f"storage.rung = {title} is of synthetic.kind = pixels and storage.how = {rung.how}"
    return ""


AV1_AS = 28
"""The rate factor at which H.264 keeps more of a clip than AV1 at the quality that ladders have."""


class Kept(NamedTuple):
    """The quality of clips on a rung; ``loss`` is the rate factor of H.264, of AV1 ``AV1_AS``: smaller is better."""

    codec: str
    loss: int
    side: float
    frames: float

    def as_good(self, other: Kept) -> bool:
        """Return True if nothing that ``other`` keeps of a clip is less here; AV1 is only as good as AV1."""
        comparable = self.codec in ("h264", other.codec)
        return comparable and self.frames >= other.frames and self.side >= other.side and self.loss <= other.loss


@dataclasses.dataclass(frozen=True)
class Rung:
    """One way to spend a budget: ``name`` says frames and side, ``coding`` the codec and its quality."""

    name: str
    coding: str
    part: str = ""
    """The part of their own side at which pictures are stored, one of PARTS; "": all of it."""
    frames: int | None = None
    """Frames stored of a clip, each the mean of those that it is shown for; None: all of them."""
    formation: int | None = None
    """Clips along each side of a stored picture; None: each has pictures of its own."""

    @property
    def title(self) -> str:
        """The text that tells the rung from all others, as ``storage.rung`` has it."""
        return f"{self.name} {self.coding}"

    @property
    def shared(self) -> int:
        """The clips of a picture: one, or those of a formation."""
        return clips_of_a_picture(self.formation)

    @property
    def how(self) -> str:
        """The storage of a set that has the frames of this rung."""
        return self.coding + (f"@{self.part}" if self.part else "")

    @property
    def storage(self) -> str:
        """The storage of whole real clips: ``how``, with the frames that are left of them."""
        return self.how + ("" if self.frames is None else f":repeat{self.frames}")

    def as_good(self, other: Rung) -> bool:
        """Return True if nothing that ``other`` keeps of a clip is less on this rung."""
        return self._kept.as_good(other._kept)

    @property
    def _kept(self) -> Kept:
        codec, _, quality = self.coding.partition("-")
        loss = int(quality) if codec == "h264" else AV1_AS
        side = 1 / PARTS.get(self.part, 1) / (self.formation or 1)
        kind = codec if self.formation is None else f"formation of {self.formation}"
        return Kept(kind, loss, side, self.frames or math.inf)

    def values(self, ipc: int, clip_frames: int, every: int = 1) -> dict[str, Any]:
        """Return the preset's values that spend a budget so, by key.

        A clip has ``clip_frames``. The set is encoded at every ``every``-th step, more seldom through a slow codec.
        """
        n_syn = None if self.frames is None or self.frames >= clip_frames else self.frames
        return {
            "synthetic.ipc": ipc,
            "synthetic.n_syn": n_syn,
            "synthetic.formation": self.formation,
            "storage.how": self.how,
            "storage.learn_through": True,
            "storage.every": max(every, _SLOW if self.coding.startswith("av1") else 1),
            "storage.rung": self.title,
        }


LADDER = (
    Rung("clips", "h264-18"),
    Rung("clips", "h264-28"),
    Rung("clips", "av1-10"),
    Rung("clips", "h264-35"),
    Rung("clips-half", "h264-28", part="half"),
    Rung("clips-half", "h264-35", part="half"),
    Rung("clips-half", "h264-43", part="half"),
    Rung("clips-quarter", "h264-35", part="quarter"),
    Rung("formation-half", "h264-35", formation=2),
    Rung("formation-half", "h264-43", formation=2),
    Rung("formation-quarter", "h264-35", formation=4),
    Rung("formation-quarter", "h264-43", formation=4),
    Rung("few-frames", "h264-35", frames=2),
    Rung("few-frames-formation-quarter", "h264-35", frames=4, formation=4),
    Rung("few-frames-formation-quarter", "h264-43", frames=4, formation=4),
    Rung("few-frames-formation-quarter", "h264-47", frames=4, formation=4),
    Rung("stills", "av1-10", frames=1),
    Rung("stills-half", "av1-10", part="half", frames=1),
    Rung("stills-formation-half", "av1-10", frames=1, formation=2),
    Rung("stills-formation-quarter", "av1-10", frames=1, formation=4),
)
"""The rungs, by what they keep of a clip. AV1 stands where it takes fewer bytes at equal error (docs/experiments)."""
_EARLIER = (
    Rung("few-frames", "h264-28", frames=2),
    Rung("stills", "h264-28", frames=1),
    Rung("stills", "h264-35", frames=1),
    Rung("stills-half", "h264-28", part="half", frames=1),
    Rung("stills-half", "h264-35", part="half", frames=1),
    Rung("stills-half", "h264-43", part="half", frames=1),
)
"""Rungs that runs of earlier versions may have chosen; others hold more clips in as many bytes."""
FIXED = "clips-half h264-35"
"""The rung where nothing tells which is best."""


def fixed(rungs: Sequence[Rung]) -> Rung:
    """Return FIXED if it is one of ``rungs``; else the first one after it on the ladder, else the last one before."""
    places = {rung.title: place for place, rung in enumerate(LADDER)}
    start = places[FIXED]
    return min(rungs, key=lambda rung: (places[rung.title] < start, abs(places[rung.title] - start)))


def rung_named(title: str) -> Rung | None:
    """Return the rung whose ``title`` this is, or None."""
    return next((rung for rung in (*LADDER, *_EARLIER) if rung.title == title), None)


def coarser(how: str) -> str | None:
    """Return ``how``, a codec at a quality, at the next coarser quality; None where there is none."""
    found = re.fullmatch(r"([a-z0-9]*[a-z][a-z0-9]*)-(\d+)(.*)", how)
    assert found is not None, how
    name, quality, rest = found[1], int(found[2]), found[3]
    least, most = QUALITIES[name]
    further = quality + 1 if name == "h264" else quality - 1  # only H.264 counts downwards
    return f"{name}-{further}{rest}" if least <= further <= most else None
