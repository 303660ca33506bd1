"""The standing of a run: what a list of runs shows of it, best accuracy, its course, top-1 and what to think of it.

The worker keeps them in ``status.json``. If they stood in the event log alone, a table of hundreds of runs would have
to read hundreds of long logs before its first number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.files import parse_record
from engine.runs.baselines import all_clips_bytes, is_ahead, standing
from engine.runs.results import is_result
from engine.runs.state import RunState

POINTS = 24
"""Accuracies that are kept of the whole course; a sparkline has no room for more."""
TOLD_BY = ("stage_started", "evaluated", "best_changed", "result_ready")
_MOST_LINES = (b'{"event":"step"', b'{"event":"progress"')
"""Beginnings of nearly all lines of a log, of which none is needed here: not to decode them makes reading quick."""
UNLEARNED, ON_TEST, FEW, NOT_AHEAD, LARGE = "unlearned", "on-test", "few-clips", "not-ahead", "larger"
"""Warnings about a number, as ``status.json`` has them."""


def warnings_about(result: Mapping[str, Any], results: Sequence[Mapping[str, Any]] = ()) -> tuple[str, ...]:
    """Return the warnings about ``result``; ``results`` are those among which its baselines are."""
    found = {
        UNLEARNED: bool(result.get("caution")),
        ON_TEST: result.get("selected_on") == "test",
        FEW: isinstance(result.get("distinct_clips"), int),
    }
    if is_result(result):
        beside = standing(dict(result), [dict(one) for one in results if is_result(one)])
        found[NOT_AHEAD] = beside is not None and not is_ahead(beside.over)
        found[LARGE] = all_clips_bytes(dict(result)) is not None
    return tuple(name for name, holds in found.items() if holds)


def rare_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of the log ``path`` but for steps and progress; unreadable lines are passed over."""
    try:
        with open(path, "rb") as file:
            for line in file:
                record = parse_record(line) if not line.startswith(_MOST_LINES) else None
                if record is not None:
                    yield record
    except OSError:
        return


class Standing:
    """Folds the events that matter; ``fields`` are those of ``Status``."""

    def __init__(self) -> None:
        self._state = RunState()
        self._bytes: int | None = None

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
        """``best``, ``accuracies``, ``stored_bytes``, ``test`` and ``warnings`` as ``Status`` has them."""
        best = self._state.best_accuracy
        means = [one.mean for one in self._state.accuracy_curve() if math.isfinite(one.mean)]
        number = isinstance(best, (int, float)) and not isinstance(best, bool)
        own = self._state.results[0] if self._state.results else None
        return {
            "best": float(best) if best is not None and number else None,
            "accuracies": thinned(means),
            "stored_bytes": self._bytes,
            "test": own["top1"]["mean"] if own is not None and is_result(own) else None,
            "warnings": warnings_about(own, self._state.results) if own is not None else (),
        }


def thinned(values: list[float], points: int = POINTS) -> tuple[float, ...]:
    """At most ``points`` of ``values``, evenly, with the first and the last."""
    if len(values) <= points:
        return tuple(round(value, 4) for value in values)
    last = len(values) - 1
    return tuple(round(values[round(k * last / (points - 1))], 4) for k in range(points))


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
