r"""Tables of compared runs: headings, cells, and files as Markdown, CSV, LaTeX and JSON.

The numbers come from ``engine.runs.comparison``. Each group is a table of its own. Its heading names the conditions
that its rows share, and a remark those in which they differ from the first group. Where runs differ in their seed
alone, a table of methods follows. Names come from runs and data sets: each format escapes them here, once, so that no
``|``, ``&``, ``\`` or ``=`` of a name becomes a column, a command or a formula.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.export import wording
from engine.files import finite
from engine.runs.comparison import Group, Row
from engine.runs.differences import Difference, Sample
from engine.runs.methods import Method
from engine.runs.results import Result, trained_on
from engine.version import VERSION as TOOL_VERSION

FORMAT, VERSION = "vdtui.comparison", 1
RIGHT = ("IPC", "top-1, %", "top-5, %", "bytes", "networks", "run seeds")
"""The columns of numbers, which are aligned to the right."""

NOTES = (
    "Mean ± {std} standard deviation over networks trained from scratch; {test}.",
    "Cost: time to make the set, where it is made, + to train and test the networks.",
    "Over baseline: to the best real clips, compressed or not, that take at most as many bytes as the set. It counts: "
    "what is not ahead of that has distilled nothing.",
    "Over baseline, over random, and to best: differences in points with their 95 % interval over networks, paired "
    "where both rows have the same network seeds, Welch's otherwise; each for itself, not corrected for their number. "
    "They tell of these sets, not of the methods that made them: that takes runs of several seeds.",
)
METHODS = "Methods, over seeds of runs: runs whose presets are equal but for run.seed are one row."
METHOD_NOTES = (
    "Mean ± sample standard deviation over run seeds; each run counts as one value, the mean over its networks.",
    "Differences in points with their 95 % interval over run seeds, paired where both rows have the same ones, Welch's "
    "otherwise; over random: to clips of the same run seeds where there are any. One run seed has no interval.",
)


# --- headings --------------------------------------------------------------------------------------------------------


def heading(group: Group) -> str:
    """Return the conditions that the rows of ``group`` share, in one line."""
    common = group.conditions
    data = f"data {group.dataset} {common['data_fingerprint'] or 'unknown'}"
    said = [f"protocol {_protocol(common)}", wording.model_name(common), data, _recipe(common["recipe"])]
    return plain("; ".join(said))


def differs(group: Group, first: Group) -> str:
    """Return the conditions in which ``group`` differs from the ``first`` one, in one line."""
    mine, theirs = _flat(group.conditions), _flat(first.conditions)
    names = [name for name in dict.fromkeys((*theirs, *mine)) if mine.get(name) != theirs.get(name)]
    parts = [f"{name} {mine.get(name, 'not recorded')}, not {theirs.get(name, 'not recorded')}" for name in names]
    return plain("Not comparable with the first table: " + "; ".join(parts) + ".")


def remarks(group: Group, first: Group) -> list[str]:
    """Return the lines below the heading of ``group``: its differences from ``first``, deviations, and cautions."""
    lines = [differs(group, first)] if group is not first else []
    if group.deviations:
        lines.append(plain("Deviates from its protocol as published: " + "; ".join(group.deviations) + "."))
    larger = [(row, wording.larger_than_all(row.result)) for row in group.rows]
    lines += [plain(f"{row.name}: {text}") for row, text in larger if text]
    return lines + [plain(f"{caution}.") for caution in group.cautions]


def footnotes(group: Group) -> list[str]:
    """Return the notes on how to read the numbers of ``group``."""
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
    """Return the conditions by name, those of the recipe among them, as text."""
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
    """Return the names of the columns of ``group``."""
    measures = [f"top-{name[3:]}, %" for name in group.conditions["measures"]]
    stored = ["bytes", "stored as", "chosen on"]
    return [
        "run",
        "trained on",
        "IPC",
        *measures,
        *stored,
        "networks",
        "cost",
        "over baseline",
        "over random",
        "to best",
    ]


def cells(group: Group) -> list[list[str]]:
    """Return the rows of ``group`` as text, in the order of ``columns``."""
    return [_cells(row, group.conditions["measures"]) for row in group.rows]


def _cells(row: Row, measures: Sequence[str]) -> list[str]:
    result = row.result
    step = f", step {result['step']}" if wording.number(result.get("step")) is not None else ""
    ipc = result.get("ipc")
    found = [
        row.run,
        f"{trained_on(result)}{step}",
        "–" if ipc is None else str(ipc),
        *(wording.accuracy(result, measure).removesuffix(" %") for measure in measures),
        wording.size(result.get("bytes")),
        stored_as(result),
        str(result.get("selected_on") or "–"),
        str(len(result["top1"]["values"])),
        cost(row),
        points(row.over_baseline),
        points(row.over_random),
        "best" if row.best else points(row.over_best),
    ]
    return [plain(cell) for cell in found]


def method_columns(group: Group) -> list[str]:
    """Return the names of the columns of the methods of ``group``."""
    measures = [f"top-{name[3:]}, %" for name in group.conditions["measures"]]
    return ["runs", "trained on", "IPC", *measures, "stored as", "run seeds", "over baseline", "over random", "to best"]


def method_cells(group: Group) -> list[list[str]]:
    """Return the methods of ``group`` as text, in the order of ``method_columns``."""
    return [_method_cells(method, group.conditions["measures"]) for method in group.methods]


def _method_cells(method: Method, measures: Sequence[str]) -> list[str]:
    found = [
        method.name,
        trained_on(method.results[0]),
        "–" if method.ipc is None else str(method.ipc),
        *(over_seeds(method.measures.get(measure)) for measure in measures),
        method.storage or method.precision or "–",
        str(len(method.seeds)),
        points(method.over_baseline),
        points(method.over_random),
        "best" if method.best else points(method.over_best),
    ]
    return [plain(cell) for cell in found]


def over_seeds(sample: Sample | None) -> str:
    """Return mean and deviation in percent, as ``51.2 ± 1.3``; of one seed the mean alone; "–" without a sample."""
    if sample is None:
        return "–"
    return f"{100 * sample.mean:.1f}" + ("" if sample.std is None else f" ± {100 * sample.std:.1f}")


def stored_as(result: Mapping[str, Any]) -> str:
    """Return the codec of the set, else the precision of its numbers."""
    return str(result.get("storage") or result.get("precision") or "–")


def cost(row: Row) -> str:
    """Return the time to make the set, if the run made one, and the time to evaluate it."""
    evaluating = wording.duration(row.result.get("seconds"))
    return evaluating if row.seconds is None else f"{wording.duration(row.seconds)} + {evaluating}"


def points(difference: Difference | None) -> str:
    """Return points, interval and verdict, such as ``+3.2 [1.0, 5.4] better set``; "–" without a difference."""
    if difference is None:
        return "–"
    apart = "," if difference.low is None else ""
    return f"{wording.interval(difference)}{apart} {difference.said}"


def plain(text: str) -> str:
    """Return ``text`` as one line, with a replacement character for each that cannot be printed."""
    line = " ".join(text.split())
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)


@dataclasses.dataclass(frozen=True)
class Sheet:
    """One table as text: its columns, its rows as (True if it is the best, cells), and the texts above and below."""

    columns: list[str]
    rows: list[tuple[bool, list[str]]]
    above: str
    below: list[str]


def sheets(group: Group) -> list[Sheet]:
    """Return the table of the runs of ``group``, and that of their methods if it has any."""
    best = [row.best for row in group.rows]
    found = [Sheet(columns(group), list(zip(best, cells(group), strict=True)), "", footnotes(group))]
    if group.methods:
        rows = list(zip([method.best for method in group.methods], method_cells(group), strict=True))
        found.append(Sheet(method_columns(group), rows, METHODS, list(METHOD_NOTES)))
    return found


# --- formats ---------------------------------------------------------------------------------------------------------


def as_document(groups: Sequence[Group]) -> dict[str, Any]:
    """Return one JSON document: ``results``, each with its ``run``, and ``groups``, whose rows are numbers of results.

    A group has ``methods``, one for each row over seeds of runs: ``name``, ``what``, ``ipc``, ``storage``,
    ``precision``, its ``runs`` and ``run_seeds``, the numbers of its ``results``, for each measure ``mean`` and sample
    ``std`` over run seeds and the ``values`` in their order, ``best``, ``over_baseline``, ``over_random`` and
    ``over_best``. Differences have ``value``, ``low``, ``high``, ``test``, ``verdict``, and ``of``: ``set`` where the
    interval is over networks, ``method`` where it is over run seeds. Accuracies and differences are fractions.
    """
    results: list[Result] = []
    numbers: dict[int, int] = {}
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
                    "over_baseline": _difference(row.over_baseline),
                    "over_random": _difference(row.over_random),
                    "over_best": _difference(row.over_best),
                }
            )
            numbers[id(row.result)] = len(results)
            results.append({**row.result, "run": row.run, "group": number})
        documents.append(
            {
                "heading": heading(group),
                "differs": differs(group, groups[0]) if number else "",
                "deviations": group.deviations,
                "conditions": group.conditions,
                "rows": rows,
                "methods": [_method(method, numbers) for method in group.methods],
            }
        )
    return {"format": FORMAT, "version": VERSION, "tool": TOOL_VERSION, "groups": documents, "results": results}


def _difference(difference: Difference | None) -> dict[str, Any] | None:
    return None if difference is None else difference.document()


def _method(method: Method, numbers: Mapping[int, int]) -> dict[str, Any]:
    """Return ``method`` as in the document; ``numbers`` are those of the results, by the identity of their objects."""
    return {
        **{name: getattr(method, name) for name in ("name", "what", "ipc", "storage", "precision")},
        "runs": list(method.runs),
        "run_seeds": list(method.seeds),
        "results": [numbers[id(result)] for result in method.results],
        **{
            name: {"mean": sample.mean, "std": sample.std, "values": list(sample.values)}
            for name, sample in method.measures.items()
        },
        "best": method.best,
        "over_baseline": _difference(method.over_baseline),
        "over_random": _difference(method.over_random),
        "over_best": _difference(method.over_best),
    }


def render(groups: Sequence[Group], form: str) -> str:
    """Return the comparison as text in the format ``md``, ``csv``, ``tex`` or ``json``."""
    return {"md": as_markdown, "csv": as_csv, "tex": as_latex, "json": _as_json}[form](groups)


def _as_json(groups: Sequence[Group]) -> str:
    return json.dumps(finite(as_document(groups)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_markdown(groups: Sequence[Group]) -> str:
    """Return tables in GitHub's Markdown, each under its heading; the best row is bold."""
    blocks = []
    for group in groups:
        lines = [f"### {_markdown(heading(group))}", ""]
        lines += [f"{_markdown(line)}\n" for line in remarks(group, groups[0])]
        for sheet in sheets(group):
            lines += [f"{_markdown(sheet.above)}\n"] if sheet.above else []
            lines += [_pipes(sheet.columns), _pipes(["---:" if name in RIGHT else "---" for name in sheet.columns])]
            lines += [
                _pipes([f"**{_markdown(cell)}**" if best else _markdown(cell) for cell in found])
                for best, found in sheet.rows
            ]
            lines += ["", *(f"{_markdown(line)}\n" for line in sheet.below)]
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def _pipes(parts: Sequence[str]) -> str:
    return f"| {' | '.join(parts)} |"


def _markdown(text: str) -> str:
    """Return ``text`` with a backslash before each character that has a meaning in Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$!])", r"\\\1", text)


CSV_COLUMNS = (
    "group", "run", "what", "objective", "ipc", "step", "selected_on", "top1_mean", "top1_std", "std_kind", "networks",
    "top1_values", "seeds", "top5_mean", "top5_std", "bytes", "stored_values", "precision", "storage", "train_clips",
    "protocol", "protocol_version", "model", "data_fingerprint", "recipe", "deviations", "distillation_seconds",
    "evaluation_seconds", "over_baseline", "over_baseline_low", "over_baseline_high", "over_baseline_test",
    "over_baseline_verdict", "over_random", "over_random_low", "over_random_high", "over_random_test",
    "over_random_verdict", "best", "over_best", "over_best_low", "over_best_high", "over_best_test",
    "over_best_verdict", "of", "runs", "run_seeds",
)  # fmt: skip


def as_csv(groups: Sequence[Group]) -> str:
    """Return one CSV table (RFC 4180) of exact numbers, accuracies as fractions; rows of one ``group`` are comparable.

    Records whose ``of`` is ``method`` are over seeds of runs: ``top1_values`` has the mean of each of ``run_seeds``.
    Text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for number, group in enumerate(groups, start=1):
        for row in group.rows:
            record = _record(number, group, row)
            writer.writerow([_csv_cell(record.get(name)) for name in CSV_COLUMNS])
        for method in group.methods:
            record = _method_record(number, group, method)
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
        **_difference_fields("over_baseline", row.over_baseline),
        **_difference_fields("over_random", row.over_random),
        "best": str(row.best).lower(),
        **_difference_fields("over_best", row.over_best),
        "of": "set",
    }


def _method_record(number: int, group: Group, method: Method) -> dict[str, Any]:
    top5, recipe = method.measures.get("top5"), group.conditions["recipe"]
    return {
        **{name: group.conditions[name] for name in ("protocol", "protocol_version", "model", "data_fingerprint")},
        **{name: getattr(method, name) for name in ("what", "ipc", "storage", "precision")},
        "objective": method.results[0].get("objective"),
        "group": number,
        "run": method.name,
        "top1_mean": method.top1.mean,
        "top1_std": method.top1.std,
        "std_kind": "sample",
        "top1_values": " ".join(map(repr, method.top1.values)),
        "top5_mean": top5.mean if top5 else None,
        "top5_std": top5.std if top5 else None,
        "recipe": json.dumps(recipe, ensure_ascii=False) if recipe is not None else None,
        **_difference_fields("over_baseline", method.over_baseline),
        **_difference_fields("over_random", method.over_random),
        "best": str(method.best).lower(),
        **_difference_fields("over_best", method.over_best),
        "of": "method",
        "runs": ", ".join(method.runs),
        "run_seeds": " ".join(map(str, method.seeds)),
    }


def _difference_fields(name: str, difference: Difference | None) -> dict[str, Any]:
    if difference is None:
        return {}
    said = {f"{name}_verdict": difference.said, name: difference.value}
    return said | {f"{name}_{key}": getattr(difference, key) for key in ("low", "high", "test")}


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
    r"""Return plain ``tabular``s with the rules of booktabs (``\usepackage{booktabs}``), each under its heading."""
    blocks = [r"% Needs \usepackage{booktabs}, and for names in other scripts a font that has them."]
    for group in groups:
        lines = [f"{_latex(line)}\n" for line in (heading(group), *remarks(group, groups[0]))]
        for sheet in sheets(group):
            lines += [f"{_latex(sheet.above)}\n"] if sheet.above else []
            lines += _tabular(sheet)
            lines += ["", *(f"{_latex(line)}\n" for line in sheet.below)]
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def _tabular(sheet: Sheet) -> list[str]:
    shape = "".join("r" if name in RIGHT else "l" for name in sheet.columns)
    rows = [
        _ampersands(rf"\textbf{{{_latex(cell)}}}" if best else _latex(cell) for cell in found)
        for best, found in sheet.rows
    ]
    head = [rf"\begin{{tabular}}{{{shape}}}", r"\toprule", _ampersands(map(_latex, sheet.columns)), r"\midrule"]
    return [*head, *rows, r"\bottomrule", r"\end{tabular}"]


def _ampersands(parts: Iterable[str]) -> str:
    return " & ".join(parts) + r" \\"


def _latex(text: str) -> str:
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", escaped)  # a minus, not a hyphen
