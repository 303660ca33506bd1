"""All results of a run: those of its own final table, and those that were measured of it later.

The own ones are in the event log; `vdtui evaluate` leaves each of its results as a file in ``evaluations/``. Everything
that shows results reads them here, together with what must be equal before two of them may stand in one column: a
reader that looked at the log alone would miss rows, and one that mixed conditions would compare what cannot be.
Nothing here needs torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.config.kinds import CLASS_MEAN
from engine.errors import DataError
from engine.files import is_number, read_json
from engine.runs.directory import RunDirectory
from engine.runs.spread import MEASURE, with_spreads
from engine.runs.state import LAST_TIME, RunState
from engine.text import counted

Result = dict[str, Any]

POPULATION = ("vdsd",)
"""Protocols whose deviation is that of a population; for results that do not say it themselves."""
CEILING = "full"
"""All of the training clips: no set competes with them, so they are never the best row."""


def results_of(
    run: RunDirectory, folded: RunState | None = None, skipped: Callable[[str], None] | None = None
) -> list[Result]:
    """The results of ``run``, its own first; of two of the same thing under the same conditions the later one counts.

    ``folded`` spares reading the event log again. ``skipped`` is told, in one line each, of files that are damaged.
    Raises RunError if the event log cannot be read.
    """
    found: dict[str, Result] = {}
    for result in (run.folded() if folded is None else folded).results:
        found[identity(result)] = result
    for path in sorted(run.evaluations.glob("evaluated-*.json")):
        document = read_json(path)
        if document is not None and is_result(document):
            found[identity(document)] = with_spreads(document)
        elif skipped is not None:
            skipped(f"{path} is damaged and left out.")
    return list(found.values())


def results_in(path: Path) -> list[Result]:
    """The results in a file that `vdtui evaluate --output` or `vdtui compare --output` wrote, or of a single one.

    Raises DataError if there are none.
    """
    document = read_json(path) or {}
    listed = document.get("results")
    found = [with_spreads(one) for one in (listed if isinstance(listed, list) else [document]) if is_result(one)]
    if not found:
        problem = f"{path} has no results in it." if path.exists() else f"There is no file {path}."
        raise DataError(problem, "Name a file that `vdtui evaluate --output FILE.json` wrote.")
    return found


def is_result(document: Any) -> bool:
    """Return whether a document is a result (docs/formats.md, "A result"): it has a subject, and accuracies.

    Accuracies are fractions in [0, 1]; a deviation and seconds, where there are any, are numbers that can be.
    """
    if not isinstance(document, dict) or not isinstance(document.get("what"), str):
        return False
    top1 = document.get("top1")
    if not isinstance(top1, dict) or not is_fraction(top1.get("mean")):
        return False
    std, seconds = top1.get("std"), document.get("seconds")
    if not (std is None or is_fraction(std)) or not (seconds is None or (is_number(seconds) and seconds < LAST_TIME)):
        return False
    values = top1.get("values")
    return isinstance(values, list) and bool(values) and all(map(is_fraction, values))


def is_real(result: Result) -> bool:
    """Return whether ``result`` is of real clips that no run chose: random ones, all, their means, what fits bytes."""
    return result["what"] in ("random", CEILING, CLASS_MEAN) or result["what"].startswith("compressed-")


def trained_on(result: Mapping[str, Any]) -> str:
    """Return the name of what networks were trained on, with the objective that learned it: ``static-dynamic, dm``."""
    what, objective = str(result.get("what", "?")), result.get("objective")
    return f"{what}, {objective}" if isinstance(objective, str) and objective else what


def instances(result: Mapping[str, Any]) -> int | None:
    """Return the number of clips that networks of ``result`` saw in an epoch; None where it does not say."""
    ipc, per_class = result.get("ipc"), result.get("per_class")
    return ipc * len(per_class) if type(ipc) is int and ipc > 0 and isinstance(per_class, list) and per_class else None


def training_steps(result: Mapping[str, Any]) -> int | None:
    """Return the number of training steps of each network of ``result``; None where it does not say."""
    clips, recipe = instances(result), result.get("recipe")
    recipe = recipe if isinstance(recipe, dict) else {}
    steps, epochs, batch = (recipe.get(key) for key in ("steps", "epochs", "batch"))
    if type(steps) is int and steps > 0:
        return steps
    if clips is None or type(epochs) is not int or type(batch) is not int or min(epochs, batch) < 1:
        return None
    return epochs * -(-clips // batch)


def length_in_words(recipe: Mapping[str, Any]) -> str:
    """Return how long networks of a result's ``recipe`` were trained: ``1,500 steps``, or ``60 epochs``."""
    return counted(recipe["steps"], "step") if recipe.get("steps") else counted(recipe["epochs"], "epoch")


def network_seeds(result: Result) -> tuple[Any, ...] | None:
    """The seeds of the networks of ``result``, in the order of its values; None if unknown, or not all different."""
    seeds = result["top1"].get("seeds")
    if not isinstance(seeds, list) or not all(isinstance(seed, (int, str)) for seed in seeds):
        return None
    return tuple(seeds) if len(seeds) == len(result["top1"]["values"]) == len(set(map(str, seeds))) else None


def conditions(result: Result) -> dict[str, Any]:
    """Return the conditions of ``result``: all that must be equal for two results to stand in one column.

    ``measures`` are the accuracies that it has; ``std_kind`` tells which deviation they are given with.
    """
    default = "population" if result.get("protocol") in POPULATION else "sample"
    return {
        "protocol": result.get("protocol"),
        "protocol_version": result.get("protocol_version"),
        "model": result.get("model"),
        "data_fingerprint": result.get("data_fingerprint"),
        "recipe": result.get("recipe"),
        "std_kind": result.get("std_kind") or default,
        "measures": measures(result),
    }


def measures(result: Result) -> list[str]:
    """``top1``, and ``top5`` where there are more than five classes, as far as ``result`` has them."""
    per_class = result.get("per_class")
    classes = len(per_class) if isinstance(per_class, list) else None
    found = [key for key in result if MEASURE.fullmatch(key) and isinstance(result[key], dict)]
    known = [key for key in found if key == "top1" or classes is None or int(key[3:]) < classes]
    return sorted(known, key=lambda key: int(key[3:]))


def key_of(result: Result) -> str:
    """``conditions`` as one text, equal if and only if they are."""
    return json.dumps(conditions(result), sort_keys=True, default=str)


def key_but_rate(result: Result) -> str:
    """``key_of`` without the learning rate: a set may bring one that was learned with it, which nothing else has."""
    recipe = result.get("recipe")
    return key_of({**result, "recipe": {**recipe, "lr": None}} if isinstance(recipe, dict) else result)


def identity(result: Result) -> str:
    """Return subject and conditions of a result as one text; two of the same identity are the same measurement."""
    top1 = result.get("top1")
    seeds = top1.get("seeds") if isinstance(top1, dict) else None
    parts = [result.get(key) for key in ("what", "ipc", "storage", "precision", "bytes", "step")]
    return json.dumps([parts, conditions(result), seeds], sort_keys=True, default=str)


def is_fraction(value: Any) -> bool:
    """Return whether ``value`` of a JSON document is a number in [0, 1]."""
    return is_number(value) and 0 <= value <= 1
