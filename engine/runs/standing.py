"""The standing of a run: the few numbers that a list of runs shows, best accuracy, its course, and bytes.

The worker keeps them in ``status.json``. If they stood in the event log alone, a table of hundreds of runs would have
to read hundreds of long logs before its first number.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from engine.files import parse_record
from engine.runs.state import RunState

POINTS = 24
"""Accuracies that are kept of the whole course; a sparkline has no room for more."""
TOLD_BY = ("stage_started", "evaluated", "best_changed", "result_ready")
_MOST_LINES = (b'{"event":"step"', b'{"event":"progress"')
"""Beginnings of nearly all lines of a log, of which none is needed here: not to decode them makes reading quick."""


class Standing:
    """Folds the events that matter; ``fields`` are those of ``Status``."""

    def __init__(self) -> None:
        self._state = RunState()
        self._bytes: int | None = None

    @classmethod
    def of_log(cls, path: Path) -> Standing:
        """Return the standing by the log of earlier workers, if there is one; unreadable lines are passed over."""
        standing = cls()
        try:
            with open(path, "rb") as file:
                for line in file:
                    if not line.startswith(_MOST_LINES):
                        standing._add_line(line)
        except OSError:
            pass
        return standing

    def _add_line(self, line: bytes) -> None:
        record = parse_record(line)
        if record is not None:
            self.add(record)

    def add(self, record: dict[str, Any]) -> bool:
        """Fold one record of the log; return whether it can have changed anything."""
        if record.get("event") not in TOLD_BY:
            return False
        state = self._state
        state.add(record)
        state.log.clear()
        if len(state.results) < 2:  # the first row of the final table is that of the run's own set
            self._bytes = _whole(state.results[0].get("bytes")) if state.results else None
        return True

    @property
    def fields(self) -> dict[str, Any]:
        """``best``, ``accuracies`` and ``stored_bytes`` as ``Status`` has them."""
        best = self._state.best_accuracy
        means = [one.mean for one in self._state.accuracy_curve() if math.isfinite(one.mean)]
        number = isinstance(best, (int, float)) and not isinstance(best, bool)
        return {
            "best": float(best) if best is not None and number else None,
            "accuracies": thinned(means),
            "stored_bytes": self._bytes,
        }


def thinned(values: list[float], points: int = POINTS) -> tuple[float, ...]:
    """At most ``points`` of ``values``, evenly, with the first and the last."""
    if len(values) <= points:
        return tuple(round(value, 4) for value in values)
    last = len(values) - 1
    return tuple(round(values[round(k * last / (points - 1))], 4) for k in range(points))


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
