"""Prometheus: ``metrics.prom`` in the run, the last value of everything in the text format that its tools collect."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from engine.files import write_text
from engine.runs.directory import RunDirectory
from engine.trackers.base import Point, Tracker

EVERY_SECONDS = 5.0


class Prometheus(Tracker):
    """A text file of gauges ``vdtui_NAME{run="...",stage="..."}``, replaced as a whole every few seconds."""

    def __init__(self, run: RunDirectory, settings: Mapping[str, str]) -> None:
        self._path = run.path / "metrics.prom"
        self._run = run.name
        self._values: dict[str, dict[str, float]] = {}
        self._written = 0.0

    def log(self, points: Sequence[Point]) -> None:
        """Keep the last value of each name and stage."""
        for point in points:
            name, *rest = point.name.split("/")
            labels = _labels({"run": self._run, "stage": point.stage} | ({"of": "/".join(rest)} if rest else {}))
            self._values.setdefault(f"vdtui_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}", {})[labels] = point.value
            self._values.setdefault("vdtui_step", {})[_labels({"run": self._run, "stage": point.stage})] = point.step
        if time.monotonic() - self._written >= EVERY_SECONDS:
            self._write()

    def close(self, state: str) -> None:
        """Write the last values."""
        self._write()

    def _write(self) -> None:
        lines = []
        for name, values in sorted(self._values.items()):
            lines.append(f"# TYPE {name} gauge")
            lines += [f"{name}{{{labels}}} {_number(value)}" for labels, value in values.items()]
        write_text(self._path, "".join(f"{line}\n" for line in lines))
        self._written = time.monotonic()


def _labels(labels: Mapping[str, str]) -> str:
    escaped = {
        name: text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for name, text in labels.items()
    }
    return ",".join(f'{name}="{text}"' for name, text in escaped.items())


def _number(value: float) -> str:
    return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(text := repr(float(value)), text)
