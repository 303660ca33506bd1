"""Reading event logs as quickly as they can be read: nearly all of their lines are steps, and all that differs in
those is the step and the loss.

A run of a week logs millions of steps. Decoding each as JSON and keeping its numbers as Python objects takes minutes
and hundreds of megabytes; here blocks of such lines are searched at once, and their numbers kept in arrays. What comes
out is the same, and whatever does not look as the worker writes it is decoded line by line after all.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import RunError
from engine.files import GREATEST, parse_record
from engine.runs import EventTail, RunState
from engine.runs.state import FIGURE_POINTS

if TYPE_CHECKING:
    import numpy as np

CHUNK = 1 << 24
"""Bytes of log that one poll folds: about a tenth of a second."""
BLOCK = 1 << 19
"""Bytes that are searched at once: other threads have to wait meanwhile."""
FEW = 16
"""So few steps in a row are decoded one by one."""
_STEP = b'{"event":"step",'
_MOST_LINES = (_STEP, b'{"event":"progress",')
_OTHER = re.compile(rb'\n(?!\{"event":"step",)[^\n]*')

Stamp = tuple[int, int, int] | None
"""Inode, bytes, and the time of the last change."""


def stamp(path: Path) -> Stamp:
    """The facts of a file that change when it is appended to or replaced; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


@dataclasses.dataclass(frozen=True, eq=False)
class Loss:
    """A loss over optimiser steps, as float64 arrays that nobody writes to."""

    steps: np.ndarray
    values: np.ndarray


class LongCurve:
    """A curve that grows to millions of points. What ``loss`` returned once never changes."""

    def __init__(self) -> None:
        import numpy as np

        self._points = np.empty((2, 256))
        self._count = 0
        self._loss: Loss | None = None

    def extend(self, steps: np.ndarray, values: np.ndarray) -> None:
        """Append points; ``steps`` and ``values`` (N), or N numbers each."""
        import numpy as np

        count = self._count + len(steps)
        if count > self._points.shape[1]:
            larger = np.empty((2, max(count, 2 * self._count)))
            larger[:, : self._count] = self._points[:, : self._count]
            self._points = larger
        self._points[0, self._count : count] = steps
        self._points[1, self._count : count] = values
        self._count, self._loss = count, None

    def cut(self, step: int) -> None:
        """Forget the points after ``step``, from the end; the rest is copied, since somebody may look at the old."""
        import numpy as np

        kept = np.flatnonzero(self._points[0, : self._count] <= step)
        count = int(kept[-1]) + 1 if len(kept) else 0
        if count < self._count:
            self._points, self._count, self._loss = self._points[:, : max(count, 1)].copy(), count, None

    @property
    def loss(self) -> Loss:
        """The points so far: the very same object as long as none comes or goes."""
        if self._loss is None:
            self._loss = Loss(self._points[0, : self._count], self._points[1, : self._count])
        return self._loss


class QuickState(RunState):
    """A ``RunState`` that takes whole blocks of log; losses are in ``long`` by stage, and ``losses`` stays empty."""

    def __init__(self) -> None:
        super().__init__()
        self.long: dict[str, LongCurve] = {}
        self.dead_seconds = 0.0
        """Seconds in which no worker worked: between two of them, and while the run was paused."""
        self.paused_at: float | None = None
        """The time at which the run was paused, if it is."""
        self._rare: set[str] = set()

    def add(self, record: dict[str, Any]) -> None:
        """Fold one record in. One of a damaged disk, whose shape nobody foresees, changes nothing."""
        before = self.updated
        try:
            super().add(record)
        except (AttributeError, ArithmeticError, LookupError):
            self.damaged += 1
            return
        self._count_dead_time(record, before)
        curve = self.losses.pop(self.stage, None) if self.losses else None
        if curve is not None:
            self._extend(self.stage, curve.steps, curve.values)

    def _count_dead_time(self, record: dict[str, Any], before: float | None) -> None:
        """Count what lies between the last sign of life ``before`` and a record that tells of work again."""
        kind, time = record.get("event"), self.updated
        if time is None or kind not in ("paused", "continued", "run_started"):
            return
        since = self.paused_at if self.paused_at is not None else before if kind == "run_started" else None
        if kind != "paused" and since is not None:
            self.dead_seconds += max(0.0, time - since)
        self.paused_at = time if kind == "paused" else None

    def _extend(self, stage: str, steps: Any, values: Any) -> None:
        if stage not in self.long:
            self.long[stage] = LongCurve()
        self.long[stage].extend(steps, values)

    def _forget(self, stage: str, step: int) -> None:
        super()._forget(stage, step)
        if stage in self.long:
            self.long[stage].cut(step)

    def add_block(self, block: bytes) -> None:
        """Fold whole lines in, each with its end."""
        for lines in _alike(block):
            if not (lines.startswith(_STEP) and count(lines, b"\n") > FEW and self._add_steps(lines)):
                for line in lines.split(b"\n")[:-1]:
                    self._add_line(line)

    def _add_line(self, line: bytes) -> None:
        record = parse_record(line)
        if record is None:
            self.damaged += 1
        elif "schema" not in record:
            self.add(record)

    def _add_steps(self, lines: bytes) -> bool:
        """Fold steps in, all at once; False, with nothing done, unless they are all of one stage, as workers write."""
        first, last = _first(lines), _first(lines[lines.rfind(b"\n", 0, -1) + 1 :])
        points = _points(lines, last) if _is_step(first) and _is_step(last) else None
        if points is None or first["stage"] != last["stage"]:
            return False
        stage, events = last["stage"], self.events + len(points[0])
        RunState.add(self, first)
        place = lines.index(b"\n") + 1
        for end in _ends_of_intervals(lines, points[0], last["total"]):
            start = lines.rfind(b"\n", 0, end - 1) + 1
            self._add_last(lines[place:start], _first(lines[start:end]))
            place = end
        del self.losses[stage]  # a few of the very points
        self._extend(stage, *points)
        self.events = events
        return True

    def _add_last(self, before: bytes, record: dict[str, Any]) -> None:
        """Fold a step in, and of those ``before`` it the figures that it does not tell itself."""
        figures = record["figures"] if _is_step(record) else {}
        common = figures.keys() - self._rare
        names = {name: json.dumps(name, ensure_ascii=False).encode() + b":" for name in self._rare}
        some = sum(before.count(name) for name in names.values())
        if count(before, b":") == count(before, b"\n") * (len(record) + len(common)) + some:
            found = {name: before.rfind(text) for name, text in names.items() if name not in figures}
            earlier = [_line_at(before, place) for place in sorted(found.values()) if place >= 0]
        else:  # one of them tells something that is not known to be told only now and then
            earlier = list(decoded(before))
            self._rare |= {name for one in earlier if _is_step(one) for name in one["figures"].keys() ^ common}
        for one in [*earlier, record]:
            RunState.add(self, one)


def _alike(block: bytes) -> Iterator[bytes]:
    """The lines of ``block`` in their order: as many steps in a row as there are, or one other line."""
    if block.count(b"\n" + _STEP) == count(block, b"\n") - 1 and block.startswith(_STEP):
        yield block  # what the search below would find as well, only later
        return
    text, begin = b"\n" + block, 1
    for other in _OTHER.finditer(text, 0, len(text) - 1):
        if begin <= other.start():
            yield text[begin : other.start() + 1]
        yield text[other.start() + 1 : other.end() + 1]
        begin = other.end() + 1
    if begin < len(text):
        yield text[begin:]


def decoded(lines: bytes) -> Iterator[dict[str, Any]]:
    """The records in ``lines``; what is none (a damaged disk, the log's head) is passed over."""
    for line in lines.split(b"\n"):
        record = parse_record(line)
        if record is not None and "schema" not in record:
            yield record


def count(text: bytes, one: bytes) -> int:
    """Count the single byte ``one`` in ``text``; several times as fast as ``text.count``."""
    import numpy as np

    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == one[0]))


def _first(lines: bytes) -> dict[str, Any]:
    return next(decoded(lines[: lines.find(b"\n") + 1 or None]), {})


def _line_at(lines: bytes, place: int) -> dict[str, Any]:
    return _first(lines[lines.rfind(b"\n", 0, place) + 1 : lines.index(b"\n", place)])


def _is_step(record: dict[str, Any]) -> bool:
    """Tell whether ``record`` is a step whose fields are what they should be."""
    kinds: dict[str, Any] = {"stage": str, "step": int, "total": int, "figures": dict} | dict.fromkeys(
        ("time", "rate"), (int, float)
    )
    return record.get("event") == "step" and all(isinstance(record.get(name), kind) for name, kind in kinds.items())


def _points(lines: bytes, last: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Steps (int64) and losses of ``lines``, if each of them is a step of the stage and the total of ``last``."""
    import numpy as np

    stage = re.escape(json.dumps(last["stage"], ensure_ascii=False).encode())
    point = rb'"stage":%b,"step":(\d+),"total":%d,"loss":([^,]+),' % (stage, last["total"])
    pairs = re.findall(point, lines)
    if len(pairs) != count(lines, b"\n"):
        return None
    try:
        steps, texts = (json.loads(b"[" + b",".join(texts) + b"]") for texts in zip(*pairs, strict=True))
        losses = np.array(texts, np.float64)  # null becomes NaN, and what cannot be shown is as null
        losses[~(np.abs(losses) < GREATEST)] = np.nan
        return np.array(steps, np.int64), losses
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _ends_of_intervals(lines: bytes, steps: np.ndarray, total: int) -> list[int]:
    """Return the ends of the lines whose figures are kept, except the first, and of the last line."""
    spacing = max(1, -(-total // FIGURE_POINTS))
    ends, place = [], lines.index(b"\n") + 1
    for step in steps[1:-1][steps[1:-1] % spacing == 0].tolist():
        place = lines.index(b"\n", lines.index(b'"step":%d,"total":' % step, place)) + 1
        ends.append(place)
    return [*ends, len(lines)]


class LogReader:
    """Folds a run's event log chunk by chunk; without ``steps`` it passes over steps and progress.

    A log that was replaced is read from its start. One of another version stays unread: ``trouble`` then says so.
    """

    def __init__(self, path: Path, steps: bool = True) -> None:
        self._path = path
        self._steps = steps
        self._tail = EventTail(path)
        self._size = 0
        self.stamp: Stamp = None
        self.state = QuickState()
        self.trouble: tuple[str, str] | None = None

    def read(self) -> bool:
        """Fold the next chunk, if there is one; whether anything changed."""
        found = stamp(self._path)
        if found == self.stamp and not self.behind:
            return False
        self.stamp, self._size = found, found[1] if found else 0
        self.trouble = None
        try:
            self._fold()
        except RunError as error:
            self.state, self.trouble = QuickState(), (error.problem, error.hint)
        return True

    def _fold(self) -> None:
        left = CHUNK
        while left > 0:
            before = self._tail.seen
            block = self._tail.block(min(BLOCK, left))
            if self._tail.restarted:
                self.state, before = QuickState(), 0
            self._take(block)
            if self._tail.seen <= before:
                return
            left -= self._tail.seen - before

    def _take(self, block: bytes) -> None:
        if self._steps:
            self.state.add_block(block)
            return
        for line in block.split(b"\n"):
            for record in decoded(line) if not line.startswith(_MOST_LINES) else ():
                if record.get("event") not in ("step", "progress"):
                    self.state.add(record)

    @property
    def behind(self) -> bool:
        """Tell whether there is more to read already."""
        return self._tail.seen < self._size and self.trouble is None

    @property
    def fraction(self) -> float:
        """The part of the log that is folded."""
        return self._tail.offset / self._size if self._size else 1.0
