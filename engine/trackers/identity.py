"""The names under which trackers know a run, in ``trackers.json`` of it, so that a resumed run goes on there."""

from __future__ import annotations

import threading
from collections.abc import Callable

from engine.files import read_json, write_json
from engine.runs.directory import RunDirectory

_GUARD = threading.Lock()


def identity(run: RunDirectory, tracker: str, make: Callable[[], str]) -> str:
    """Return the name of ``run`` in ``tracker``; the first time it is made by ``make``, and kept."""
    with _GUARD:  # several trackers begin at once
        path = run.path / "trackers.json"
        known = read_json(path) or {}
        if isinstance(found := known.get(tracker), str):
            return found
        made = make()
        write_json(path, {**known, tracker: made})
        return made
