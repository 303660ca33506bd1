"""The final table of a run in words, for the end of `distill`, for `show` and for `evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vdtui.cli.options import human_bytes, human_time, plus_minus, print_table, say

if TYPE_CHECKING:
    from engine.runs import RunDirectory

COLUMNS = ["trained on", "top-1 on test", "over baseline", "per network", "stored values", "bytes", "chosen on", "time"]
LEAST_NEEDED = ("stored values", "time", "per network", "chosen on")
"""Columns that a narrow terminal does without, the first one first."""


def print_results(results: list[dict[str, Any]]) -> None:
    """Print ``results`` (objects as in `show --json`), one table for each way in which they were measured."""
    from engine.runs.results import is_result, key_of

    grouped: dict[str, list[dict[str, Any]]] = {}
    for result in filter(is_result, results):
        grouped.setdefault(key_of(result), []).append(result)
    recipes = {key: _recipe(rows[0]) for key, rows in grouped.items()}
    for key, rows in grouped.items():
        apart = _apart(recipes[key], list(recipes.values()))
        title = "\n".join([_protocol(rows[0]), *apart, *_deviations(rows), *_cautions(rows)])
        print_table(COLUMNS, [_row(result, results) for result in rows], title, (1, 4, 5, 7), LEAST_NEEDED)
    for text in _told(results):
        say(text)


def where_to_find(run: RunDirectory) -> str:
    """Name the set and the report of a completed run; random clips and all of the data are no set."""
    places = (("Synthetic set", run.best), ("Report", run.report))
    return "\n".join(f"{name}: {path.absolute()}" for name, path in places if name == "Report" or path.is_file())


def _protocol(result: dict[str, Any]) -> str:
    from engine.runs.results import conditions

    kind = conditions(result)["std_kind"]
    name = f"{result.get('protocol', '?')} {result.get('protocol_version', '?')}"
    return f"protocol {name}, {result.get('model', '?')}, mean +- {kind} std"


def _recipe(result: dict[str, Any]) -> dict[str, str]:
    recipe = result.get("recipe")
    return {str(name): str(value) for name, value in recipe.items()} if isinstance(recipe, dict) else {}


def _apart(own: dict[str, str], recipes: list[dict[str, str]]) -> list[str]:
    """Name the values of the recipe that differ between tables: tables of one run are easily taken for one."""
    names = [name for name in own if len({recipe.get(name) for recipe in recipes}) > 1]
    return [", ".join(f"{name} {own[name]}" for name in names)] if names else []


def _deviations(rows: list[dict[str, Any]]) -> list[str]:
    listed = [result.get("deviations") for result in rows]
    texts = dict.fromkeys(str(text) for deviations in listed if isinstance(deviations, list) for text in deviations)
    return [f"deviates from it as published: {'; '.join(texts)}"] if texts else []


def _cautions(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{result['what']}: {result['caution']}" for result in rows if result.get("caution")]


def _told(results: list[dict[str, Any]]) -> list[str]:
    """Say of each set that ``results`` are about whether it is ahead of its best baseline, and how large it is."""
    from engine.export.wording import main_result, told_of
    from engine.runs.results import is_result, trained_on

    known = list(filter(is_result, results))
    about = (main_result(known) or {}).get("what")
    found = [(result, text) for result in known if result["what"] == about for text in told_of(result, known)]
    lines = [f"{trained_on(result)}, {result.get('model', '?')}: {text}" for result, text in found]
    return [line.replace("±", "+-") for line in dict.fromkeys(lines)]


def _over(result: dict[str, Any], results: list[dict[str, Any]]) -> str:
    from engine.export.tables import points
    from engine.runs.baselines import standing
    from engine.runs.results import is_result

    found = standing(result, filter(is_result, results))
    return "-" if found is None else points(found.over)


def _row(result: dict[str, Any], results: list[dict[str, Any]]) -> list[str]:
    from engine.config.kinds import COMPRESSED
    from engine.runs.results import trained_on

    top1, values, nbytes = result["top1"], result.get("stored_values"), result.get("bytes")
    step = f" (step {result['step']})" if result.get("step") is not None else ""
    distinct = f" ({result['distinct_clips']} different clips)" if result.get("distinct_clips") is not None else ""
    number = f" ({result.get('ipc')} per class)" if result["what"] in COMPRESSED else ""
    size = human_bytes(nbytes) if isinstance(nbytes, (int, float)) else "-"
    return [
        trained_on(result) + step + number + distinct,
        plus_minus(top1["mean"], top1.get("std")),
        _over(result, results),
        " ".join(f"{100 * value:.1f}" for value in top1["values"]),
        f"{values:,}" if isinstance(values, int) else "-",
        f"{size} {result.get('storage') or result.get('precision', '')}".strip(),
        str(result.get("selected_on", "-")),
        human_time(result.get("seconds")),
    ]
