r"""Comparisons in words: headings, cells, and files as Markdown, CSV, LaTeX and JSON.

The numbers come from ``engine.runs.comparison``. Each group is a table of its own under a heading that says what its
rows have in common, and what sets them apart from the first. Names come from runs and data sets: in each format they
are escaped here, once, so that no ``|``, ``&``, ``\`` or ``=`` of a name becomes a column, a command or a formula.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.export import wording
from engine.runs.comparison import Difference, Group, Row
from engine.runs.files import finite
from engine.runs.results import Result
from engine.version import VERSION as TOOL_VERSION

FORMAT, VERSION = "vdtui.comparison", 1
RIGHT = ("IPC", "top-1, %", "top-5, %", "bytes", "networks")
"""Columns of numbers."""

NOTES = (
    "Mean ± {std} standard deviation over networks trained from scratch; {test}.",
    "Cost: time to make the set, where it is made, + to train and test the networks.",
    "Over random, and to best: differences in points with their 95 % interval, paired over the network seeds where "
    "both rows have the same ones, Welch's otherwise; each for itself, not corrected for their number.",
)


# --- headings --------------------------------------------------------------------------------------------------------


def heading(group: Group) -> str:
    """What the rows of ``group`` have in common, in one line."""
    common = group.conditions
    data = f"data {group.dataset} {common['data_fingerprint'] or 'unknown'}"
    said = [f"protocol {_protocol(common)}", wording.model_name(common), data, _recipe(common["recipe"])]
    return plain("; ".join(said))


def differs(group: Group, first: Group) -> str:
    """What is different from the ``first`` group, in one line."""
    mine, theirs = _flat(group.conditions), _flat(first.conditions)
    names = [name for name in dict.fromkeys((*theirs, *mine)) if mine.get(name) != theirs.get(name)]
    parts = [f"{name} {mine.get(name, 'not recorded')}, not {theirs.get(name, 'not recorded')}" for name in names]
    return plain("Not comparable with the first table: " + "; ".join(parts) + ".")


def remarks(group: Group, first: Group) -> list[str]:
    """What belongs under the heading of ``group``: what sets it apart, deviations from its protocol, and cautions."""
    lines = [differs(group, first)] if group is not first else []
    if group.deviations:
        lines.append(plain("Deviates from its protocol as published: " + "; ".join(group.deviations) + "."))
    return lines + [plain(f"{caution}.") for caution in group.cautions]


def footnotes(group: Group) -> list[str]:
    """How the numbers of ``group`` are to be read."""
    chosen = [str(row.result.get("selected_on")) for row in group.rows]
    test = "on test"
    if "test" in chosen:
        test += ", on which the iteration was chosen, which flatters the number"
    return [line.format(std=group.conditions["std_kind"], test=test) for line in NOTES]


def _protocol(common: Mapping[str, Any]) -> str:
    return f"{common['protocol'] or 'unknown'} {common['protocol_version'] or ''}".strip()


def _recipe(recipe: object) -> str:
    if not isinstance(recipe, Mapping):
        return "recipe not recorded"
    return ", ".join(f"{_spaced(str(name))} {_said(value)}" for name, value in recipe.items() if value is not None)


def _flat(common: Mapping[str, Any]) -> dict[str, str]:
    """The conditions one by one, with those of the recipe, as text."""
    recipe = common["recipe"]
    said = {
        "protocol": _protocol(common),
        "network": wording.model_name(common),
        "data": str(common["data_fingerprint"] or "unknown"),
        "standard deviation": str(common["std_kind"]),
        "measures": " and ".join(common["measures"]),
    }
    if isinstance(recipe, Mapping):
        return said | {_spaced(str(name)): _said(value) for name, value in recipe.items()}
    return said | {"recipe": "not recorded"}


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _said(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


# --- cells -----------------------------------------------------------------------------------------------------------


def columns(group: Group) -> list[str]:
    """The names of the columns of ``group``."""
    measures = [f"top-{name[3:]}, %" for name in group.conditions["measures"]]
    stored = ["bytes", "stored as", "chosen on"]
    return ["run", "trained on", "IPC", *measures, *stored, "networks", "cost", "over random", "to best"]


def cells(group: Group) -> list[list[str]]:
    """The rows of ``group`` as text, in the order of ``columns``."""
    return [_cells(row, group.conditions["measures"]) for row in group.rows]


def _cells(row: Row, measures: Sequence[str]) -> list[str]:
    result = row.result
    step = f", step {result['step']}" if wording.number(result.get("step")) is not None else ""
    ipc = result.get("ipc")
    found = [
        row.run,
        f"{result['what']}{step}",
        "–" if ipc is None else str(ipc),
        *(wording.accuracy(result, measure).removesuffix(" %") for measure in measures),
        wording.size(result.get("bytes")),
        stored_as(result),
        str(result.get("selected_on") or "–"),
        str(len(result["top1"]["values"])),
        cost(row),
        points(row.over_random),
        "best" if row.best else points(row.over_best),
    ]
    return [plain(cell) for cell in found]


def stored_as(result: Mapping[str, Any]) -> str:
    """How the set is stored: its codec, else the precision of its numbers."""
    return str(result.get("storage") or result.get("precision") or "–")


def cost(row: Row) -> str:
    """Time to make the set where it is made, and to evaluate it."""
    evaluating = wording.duration(row.result.get("seconds"))
    return evaluating if row.seconds is None else f"{wording.duration(row.seconds)} + {evaluating}"


def points(difference: Difference | None) -> str:
    """``+3.2 [1.0, 5.4] better``: percentage points, their interval, and what follows; a dash without a difference."""
    if difference is None:
        return "–"
    value = f"{100 * difference.value:+.1f}"
    if difference.low is None or difference.high is None:
        return f"{value}, {difference.verdict}"
    return f"{value} [{100 * difference.low:.1f}, {100 * difference.high:.1f}] {difference.verdict}"


def plain(text: str) -> str:
    """``text`` as one line without control characters."""
    line = " ".join(text.split())
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)


# --- formats ---------------------------------------------------------------------------------------------------------


def as_document(groups: Sequence[Group]) -> dict[str, Any]:
    """The comparison as one JSON document: ``results``, each with its ``run``, and ``groups``, whose rows count them.

    Accuracies and differences are fractions.
    """
    results: list[Result] = []
    documents = []
    for number, group in enumerate(groups):
        rows = []
        for row in group.rows:
            rows.append(
                {
                    "result": len(results),
                    "run": row.run,
                    "what": row.result["what"],
                    "best": row.best,
                    "distillation_seconds": row.seconds,
                    "over_random": _difference(row.over_random),
                    "over_best": _difference(row.over_best),
                }
            )
            results.append({**row.result, "run": row.run, "group": number})
        documents.append(
            {
                "heading": heading(group),
                "differs": differs(group, groups[0]) if number else "",
                "deviations": group.deviations,
                "conditions": group.conditions,
                "rows": rows,
            }
        )
    return {"format": FORMAT, "version": VERSION, "tool": TOOL_VERSION, "groups": documents, "results": results}


def _difference(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    names = ("value", "low", "high", "test", "verdict")
    return {name: getattr(difference, name) for name in names}


def render(groups: Sequence[Group], form: str) -> str:
    """The comparison as text in the format ``md``, ``csv``, ``tex`` or ``json``."""
    return {"md": as_markdown, "csv": as_csv, "tex": as_latex, "json": _as_json}[form](groups)


def _as_json(groups: Sequence[Group]) -> str:
    return json.dumps(finite(as_document(groups)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_markdown(groups: Sequence[Group]) -> str:
    """Tables in GitHub's Markdown, each under a heading; a best row is bold."""
    blocks = []
    for group in groups:
        names = columns(group)
        lines = [f"### {_markdown(heading(group))}", ""]
        lines += [f"{_markdown(line)}\n" for line in remarks(group, groups[0])]
        lines += [_pipes(names), _pipes(["---:" if name in RIGHT else "---" for name in names])]
        lines += [
            _pipes([f"**{_markdown(cell)}**" if row.best else _markdown(cell) for cell in found])
            for row, found in zip(group.rows, cells(group), strict=True)
        ]
        lines += ["", *(f"{_markdown(line)}\n" for line in footnotes(group))]
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def _pipes(parts: Sequence[str]) -> str:
    return f"| {' | '.join(parts)} |"


def _markdown(text: str) -> str:
    """``text`` with everything escaped that Markdown, or HTML in it, would take for more than a character."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$!])", r"\\\1", text)


CSV_COLUMNS = (
    "group", "run", "what", "ipc", "step", "selected_on", "top1_mean", "top1_std", "std_kind", "networks",
    "top1_values", "seeds", "top5_mean", "top5_std", "bytes", "stored_values", "precision", "storage", "train_clips",
    "protocol", "protocol_version", "model", "data_fingerprint", "recipe", "deviations", "distillation_seconds",
    "evaluation_seconds", "over_random", "over_random_low", "over_random_high", "over_random_test",
    "over_random_verdict", "best", "over_best", "over_best_low", "over_best_high", "over_best_test",
    "over_best_verdict",
)  # fmt: skip


def as_csv(groups: Sequence[Group]) -> str:
    """One CSV table (RFC 4180) with exact numbers, accuracies as fractions; ``group`` tells what may be compared.

    Text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for number, group in enumerate(groups, start=1):
        for row in group.rows:
            record = _record(number, group, row)
            writer.writerow([_csv_cell(record.get(name)) for name in CSV_COLUMNS])
    return buffer.getvalue()


def _record(number: int, group: Group, row: Row) -> dict[str, Any]:
    result, top1 = row.result, row.result["top1"]
    top5: Any = result.get("top5") if "top5" in group.conditions["measures"] else None
    recipe, deviations = result.get("recipe"), result.get("deviations")
    return {
        **{name: result.get(name) for name in CSV_COLUMNS},
        "group": number,
        "run": row.run,
        "top1_mean": top1["mean"],
        "top1_std": top1.get("std"),
        "top1_values": " ".join(map(repr, top1["values"])),
        "seeds": " ".join(map(str, top1.get("seeds") or [])),
        "std_kind": group.conditions["std_kind"],
        "networks": len(top1["values"]),
        "top5_mean": top5.get("mean") if top5 else None,
        "top5_std": top5.get("std") if top5 else None,
        "recipe": json.dumps(recipe, ensure_ascii=False) if recipe is not None else None,
        "deviations": "; ".join(map(str, deviations)) if isinstance(deviations, list) else None,
        "distillation_seconds": row.seconds,
        "evaluation_seconds": result.get("seconds"),
        **_difference_fields("over_random", row.over_random),
        "best": str(row.best).lower(),
        **_difference_fields("over_best", row.over_best),
    }


def _difference_fields(name: str, difference: Difference | None) -> dict[str, Any]:
    found = _difference(difference) or {}
    return {name: found.get("value")} | {f"{name}_{key}": found.get(key) for key in ("low", "high", "test", "verdict")}


def _csv_cell(value: object) -> object:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return "" if finite(value) is None else value
    text = plain(str(value))
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "[": "{[}", "*": "{*}", "±": r"$\pm$", "–": "--",
    **{character: f"\\{character}" for character in "%&$#_{}"},
}  # fmt: skip


def as_latex(groups: Sequence[Group]) -> str:
    r"""Plain ``tabular``s with the rules of booktabs (``\usepackage{booktabs}``), each under its heading."""
    blocks = [r"% Needs \usepackage{booktabs}, and for names in other scripts a font that has them."]
    for group in groups:
        names = columns(group)
        shape = "".join("r" if name in RIGHT else "l" for name in names)
        lines = [f"{_latex(line)}\n" for line in (heading(group), *remarks(group, groups[0]))]
        lines += [rf"\begin{{tabular}}{{{shape}}}", r"\toprule", _ampersands(map(_latex, names)), r"\midrule"]
        lines += [
            _ampersands(rf"\textbf{{{_latex(cell)}}}" if row.best else _latex(cell) for cell in found)
            for row, found in zip(group.rows, cells(group), strict=True)
        ]
        lines += [r"\bottomrule", r"\end{tabular}", "", *(f"{_latex(line)}\n" for line in footnotes(group))]
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def _ampersands(parts: Iterable[str]) -> str:
    return " & ".join(parts) + r" \\"


def _latex(text: str) -> str:
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", escaped)  # a minus, not a hyphen
