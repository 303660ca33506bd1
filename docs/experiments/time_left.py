"""How good the time left was, over the course of runs that have ended: their logs are replayed.

Run it with `python docs/experiments/time_left.py RUN...` (folders of completed runs). At each tenth of a run, of the
seconds that its workers worked, the table has the error of the total that was told, in percent of the true one: before,
when the dashboard told the end of the present stage alone, and now (``engine.runs.forecast``). ``>``: the forecast said
that something ahead is unknown, so that its number is a least one.

Of a run of `default` on JHMDB (60 steps, four evaluations, twelve networks in the table; 39 minutes, while other work
doubled the load) and of the demo (15 minutes on a busy machine):

    run                   10 %    20 %    30 %    40 %    50 %    60 %    70 %    80 %    90 %
    jhmdb       before     -38       ?       ?       ?     +43      -7     -10      -3      -2
    jhmdb       now        -20     -21      +1      -1      -2      -5      -9      -0      -2
    demo        before     -82       ?     -36     -48       ?      -3     -12      -4      +2
    demo        now       >-78    >-80      -1      -8      -8     -17      -3      +1     +13

Until the first evaluation has ended and some steps are done, nobody knows more than a plan does; of the demo, that is a
quarter.

Logs of versions before 0.2 say only in words how many networks of an evaluation are trained; the words are read here.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.runs import EventTail, RunDirectory
from engine.runs.forecast import Forecast

TENTHS = range(1, 10)


def told_networks(record: dict[str, Any]) -> float | None:
    """Return the trained networks of a progress record, where an older log says them in words alone."""
    found = re.search(r": networks? (.+), (\d+) %$", str(record.get("what")))
    if found is None:
        return None
    numbers = [int(number) for part in re.findall(r"([\d, ]+) of", found[1]) for number in re.findall(r"\d+", part)]
    first = record["step"] if record["stage"] == "evaluate" else min(numbers) - 1
    return float(first + len(numbers) * int(found[2]) / 100)


def replayed(run: RunDirectory) -> Iterator[tuple[float, float | None, float, bool]]:
    """Yield, for each record, the seconds worked, those left to the end of the stage as they were told, and the
    forecast of those left to the end of the run."""
    forecast = Forecast.of(run)
    assert forecast is not None, f"{run.preset_file} is not a preset of this version"
    worked, last, stage_left = 0.0, None, None
    for record in EventTail(run.events_file).read(-1):
        time, kind = record["time"], record["event"]
        if last is not None and kind not in ("run_started", "continued"):
            worked += time - last
        last = time
        if kind == "progress" and "networks" not in record:
            record["networks"] = told_networks(record)
        forecast.add(record)
        if kind == "stage_started":
            stage_left = None
        elif kind in ("step", "progress"):
            eta = record.get("eta")
            rate = (record["total"] - record["step"]) / record["rate"] if record["rate"] else None
            stage_left = rate if eta is None else eta
        left = forecast.left(time)
        yield worked, stage_left, left.run, left.at_least


def errors(run: RunDirectory) -> tuple[list[float | None], list[float], list[bool]]:
    """Return the errors at each tenth in percent of the run: as it was, as it is, and whether it is a least number."""
    points = list(replayed(run))
    total = points[-1][0]
    before: list[float | None] = []
    now, least = [], []
    for tenth in TENTHS:
        worked, stage, left, at_least = max(
            (one for one in points if one[0] <= total * tenth / 10), key=lambda one: one[0]
        )
        before.append(None if stage is None else 100 * ((worked + stage) / total - 1))
        now.append(100 * ((worked + left) / total - 1))
        least.append(at_least)
    return before, now, least


def main() -> None:
    """Print a table of errors, a run in two rows, and how many are within 20 percent."""
    inside = [0, 0]
    absolute: list[list[float]] = [[], []]
    print(f"{'run':<32}{'':<8}" + "".join(f"{10 * tenth:>6} %" for tenth in TENTHS))  # noqa: T201
    for name in sys.argv[1:]:
        run = RunDirectory(Path(name))
        before, now, least = errors(run)
        rows = {
            "before": ["?" if one is None else f"{one:+.0f}" for one in before],
            "now": [f"{'>' if unknown else ''}{one:+.0f}" for one, unknown in zip(now, least, strict=True)],
        }
        for what, cells in rows.items():
            print(f"{run.name[-30:]:<32}{what:<8}" + "".join(f"{cell:>8}" for cell in cells))  # noqa: T201
        for place, values in enumerate((before, now)):
            inside[place] += sum(value is not None and abs(value) <= 20 for value in values)
            absolute[place] += [abs(value) for value in values if value is not None]
    number = len(TENTHS) * (len(sys.argv) - 1)
    for what, count, sizes in zip(("before", "now"), inside, absolute, strict=True):
        print(f"{what}: {count} of {number} within 20 %; median error {statistics.median(sizes):.0f} %")  # noqa: T201


if __name__ == "__main__":
    main()
