"""Cells of an experiment, in several processes: what `rates.py`, `target_bank.py` and `objectives.py` share.

A cell is a question with one answer, both JSON. A finished cell is one line of a file, and is not asked again, so an
experiment may be interrupted at will and started again with the same options.
"""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
            _keep(key, measure(*arguments), output)
    else:
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(workers, spawn, initializer=_one_thread) as pool:
            futures = {pool.submit(measure, *arguments): key for key, arguments in left}
            for future in concurrent.futures.as_completed(futures):
                try:
                    _keep(futures[future], future.result(), output)
                except Exception:
                    tell(f"failed: {json.dumps(futures[future])}\n{traceback.format_exc()}")
    found = list(read(output))
    return [record for key, _ in asked for record in found if record["key"] == key]


def tell(text: str) -> None:
    """A line for whoever waits."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201


def _keep(key: Record, found: Record, output: Path) -> None:
    with output.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"key": key} | found) + "\n")
    tell(f"done: {json.dumps(key)}")


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
