"""Cells of an experiment, in several processes: what `rates.py`, `target_bank.py` and `objectives.py` share.

A cell is a question with one answer, both JSON. A finished cell is one line of a file, and is not asked again, so an
experiment may be interrupted at will and started again with the same options.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import multiprocessing
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from engine.api import resume_distillation
from engine.errors import StopRequested
from engine.events import Event, StageStarted
from engine.runs import RunDirectory

Record = dict[str, Any]


def read(path: Path) -> Iterator[Record]:
    """The finished cells of a file; a line that was torn by an interruption is not one."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in lines:
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def answered(
    asked: list[tuple[Record, tuple[Any, ...]]], measure: Callable[..., Record], output: Path, workers: int
) -> list[Record]:
    """A record for each of the ``asked`` (key, arguments of ``measure``): ``{"key": key} | measure(*arguments)``.

    With one worker they are measured in this process, one after the other; else by as many processes, for which
    ``measure`` must be a function of a module. A cell that fails is told and left out; the others go on.
    """
    done = list(read(output))
    left = [(key, arguments) for key, arguments in asked if not any(record["key"] == key for record in done)]
    tell(f"{len(asked) - len(left)} of {len(asked)} cells are there")
    if workers == 1:
        for key, arguments in left:
            tell(f"begins: {json.dumps(key)}")
            _keep(key, partial(measure, *arguments), output)
    else:
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(workers, spawn, initializer=_one_thread) as pool:
            futures = {pool.submit(measure, *arguments): key for key, arguments in left}
            for future in concurrent.futures.as_completed(futures):
                _keep(futures[future], future.result, output)
    found = list(read(output))
    return [record for key, _ in asked for record in found if record["key"] == key]


def tell(text: str) -> None:
    """A line for whoever waits."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201


def to_the_table(run: RunDirectory, listen: Callable[[Event], None] = lambda event: None) -> None:
    """Go through ``run`` until its final table would begin: the test split is not touched. ``listen`` gets events."""

    def heard(event: Event) -> None:
        listen(event)
        if isinstance(event, StageStarted) and event.stage == "evaluate":
            run.request("stop")

    with contextlib.suppress(StopRequested):
        resume_distillation(run, on_event=heard)


def spread(values: list[float], sign: str = "") -> str:
    """Mean and sample standard deviation, which a single value has not; nothing of no values."""
    deviation = f" +- {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{sign}.1f}{deviation}" if values else ""


def _keep(key: Record, find: Callable[[], Record], output: Path) -> None:
    try:
        found = find()
    except Exception:
        tell(f"failed: {json.dumps(key)}\n{traceback.format_exc()}")
        return
    with output.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"key": key} | found) + "\n")
    tell(f"done: {json.dumps(key)}")


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
