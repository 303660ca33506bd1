"""Timings of `vdtui bench` as a file, and the parts that became slower since.

Only ratios to what was timed in turn with a part are compared: absolute times of a shared machine change by themselves.
Without torch, so that a wrong file is refused before minutes of measuring.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.files import is_number, read_json
from engine.text import one_line

FORMAT, VERSION = "vdtui.bench", 1
FEWEST = 3
"""Timings without which nobody knows how much a part's ratio scatters."""
TOLERANCE = 0.05
"""The part of a ratio by which it may grow: processes differ by as much, however little their own timings scatter."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One part: median ``seconds`` of it and of its floor, the ratios pair by pair, and their median."""

    part: str
    floor: str
    seconds: float
    floor_seconds: float
    ratio: float
    ratios: tuple[float, ...]
    """The timings in their order, those of the part over those of the floor."""


@dataclasses.dataclass(frozen=True)
class Timings:
    """All parts that were measured at once, and on what."""

    device: str
    """Its name."""
    threads: int
    torch: str
    """The version of torch."""
    parts: tuple[Measurement, ...]

    def document(self) -> dict[str, Any]:
        """Return what is in the file (docs/formats.md, "Other documents")."""
        return {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class Change:
    """One part as it was and as it is; ``slower`` if its ratio grew by more than its timings scatter."""

    part: str
    before: Measurement
    now: Measurement
    slower: bool

    @property
    def factor(self) -> float:
        """The median ratio now, in parts of that before."""
        return self.now.ratio / self.before.ratio


def read_timings(path: Path) -> Timings:
    """Return the timings in ``path``; raises UsageError if it is no file of `vdtui bench --output`."""
    document = read_json(path) or {}
    if document.get("format") != FORMAT or document.get("version") != VERSION:
        problem = f"{one_line(str(path))} is not a file of `vdtui bench --output`."
        raise UsageError(problem, "Measure anew with the version to compare with: vdtui bench --output FILE.json")
    try:
        parts = tuple(_measurement(part) for part in document["parts"])
        return Timings(str(document["device"]), int(document["threads"]), str(document["torch"]), parts)
    except (KeyError, TypeError, ValueError, OverflowError):
        problem = f"{one_line(str(path))} is damaged."
        raise UsageError(problem, "Measure anew: vdtui bench --output FILE.json") from None


def _measurement(part: dict[str, Any]) -> Measurement:
    ratios = tuple(part["ratios"])
    numbers = (part["seconds"], part["floor_seconds"], part["ratio"])
    if not ratios or not all(is_number(number) and number > 0 for number in (*numbers, *ratios)):
        raise ValueError("a time is a positive number")
    seconds, floor_seconds, ratio = map(float, numbers)
    return Measurement(str(part["part"]), str(part["floor"]), seconds, floor_seconds, ratio, tuple(map(float, ratios)))


def changes(before: Timings, now: Timings) -> tuple[list[Change], list[str]]:
    """Return how the parts changed that both have, and those of which it cannot be told, each with the reason.

    A part is slower if every ratio now is above every one before, and their medians are apart by more than TOLERANCE.
    Of two times five timings of the same speed, one in 252 would be so by chance; of two times three, one in 20.
    """
    known = {(one.part, one.floor): one for one in before.parts}
    found, untold = [], []
    for one in now.parts:
        other = known.pop((one.part, one.floor), None)
        if other is None:
            untold.append(f"{one.part}: not measured before")
        elif min(len(one.ratios), len(other.ratios)) < FEWEST:
            when = "now" if len(one.ratios) < FEWEST else "before"
            untold.append(f"{one.part}: timed fewer than {FEWEST} times {when}")
        else:
            apart = min(one.ratios) > max(other.ratios) and one.ratio > (1 + TOLERANCE) * other.ratio
            found.append(Change(one.part, other, one, apart))
    return found, [*untold, *(f"{part}: not measured now" for part, _ in known)]


def elsewhere(before: Timings, now: Timings) -> Sequence[str]:
    """Return in what the conditions of two measurements differ, each as ``what it was, now what it is``."""
    names = ("device", "threads", "torch")
    pairs = [(name, getattr(before, name), getattr(now, name)) for name in names]
    return [f"{name} {one_line(str(was))}, now {value}" for name, was, value in pairs if was != value]
