"""The names of ways to store a set, as presets have them; what stores it is ``engine.synthetic.storage``.

Presets are read and checked without torch, and a run that would fail at its first evaluation shall not begin.
"""

from __future__ import annotations

import re

from engine.config.kinds import Kind
from engine.text import one_line

PLAIN = {"float32": 4, "float16": 2, "uint8": 1}
"""Precisions, and the bytes of a value: sets that are stored so are files of tensors."""
QUALITIES = {"h264": (0, 51), "av1": (0, 100), "avif": (0, 100), "jpeg": (1, 95)}
"""Least and largest quality of each codec."""
LEAST_SIDE = 8
"""Pixels: the smallest side that pictures may be asked to be stored at."""
PARTS = {"half": 2, "quarter": 4}
"""Names of sides in parts of a picture's own, each by its divisor; pixels are rounded up."""
_WAY = re.compile(
    r"(?P<name>[a-z]+[a-z0-9]*?)(?:-(?P<quality>\d{1,3}))?(?:@(?P<side>\d{1,4}|half|quarter))?"
    r"(?::(?:repeat|linear)(?P<stored>\d{1,4}))?(?P<chroma>:444)?"
)


def impossible(how: str, kind: Kind) -> str:
    """Return why sets of ``kind`` cannot be stored as ``how``, or ""."""
    ways, shown = how.split("+"), one_line(how)[:60]
    if wrong := next((way for way in ways if not _is_way(way)), None):
        names = ", ".join(f"{name}-{least} to -{most}" for name, (least, most) in QUALITIES.items())
        return f"storage.how = {shown} names {wrong[:40]!r}, which is none of {', '.join(PLAIN)}, {names}"
    if len(ways) > 2 or "" in ways:
        return f"storage.how = {shown} is neither one way to store a set nor two, as STILLS+CLIPS"
    sorts = {part.still for part in kind.parts if part.channels}
    if not sorts and how != "float32":
        return f"storage.how = {how} says how a set is stored, and synthetic.kind = {kind.name} stores none"
    if len(ways) == 2 and len(sorts) < 2:
        return f"storage.how = {how} stores stills and clips, and synthetic.kind = {kind.name} has only one of them"
    return ""


def has_losses(how: str) -> bool:
    """Return whether pictures that are stored as ``how`` come back as others: all but floats are made 256 levels."""
    return any(not way.startswith("float") for way in how.split("+"))


def _is_way(text: str) -> bool:
    found = _WAY.fullmatch(text)
    if found is None:
        return False
    name, quality, side, stored = found["name"], found["quality"], found["side"], found["stored"]
    if side is not None and side not in PARTS and int(side) < LEAST_SIDE:
        return False
    if stored is not None and int(stored) < 1:
        return False
    if name in QUALITIES:
        least, most = QUALITIES[name]
        return quality is not None and least <= int(quality) <= most
    whole = side is None and stored is None
    return name in PLAIN and quality is None and found["chroma"] is None and (name == "uint8" or whole)
