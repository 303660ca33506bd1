"""The report of a run: one JSON document with all numbers, and one HTML page that shows them.

Both are made from the run directory alone, whatever the state of the run; they say what is missing. The page is a
single file that loads nothing: pictures and plots are inside it, there is no script, and everything that comes from a
data set, a preset or a name is escaped. Reading a run never changes it.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import files
from engine.config.kinds import KINDS
from engine.errors import DataError
from engine.events import STAGES, RunCompleted, to_record
from engine.export import wording
from engine.export.names import shown
from engine.export.output import unwritable
from engine.export.tables import heading, points, remarks, stored_as
from engine.runs import RunDirectory, RunState
from engine.runs.baselines import standing
from engine.runs.comparison import Group, Row
from engine.runs.differences import Difference
from engine.runs.results import conditions, key_but_rate, key_of, results_of

if TYPE_CHECKING:
    from jinja2 import Environment

    from engine.export.gallery import ClassPictures
    from engine.synthetic import LoadedSet

FORMAT, VERSION = "vdtui.report", 1
MOST_WARNINGS = 20


def report_data(run: RunDirectory) -> dict[str, Any]:
    """Return all facts and results of ``run`` as one JSON document; accuracies are fractions, times seconds.

    ``results`` holds the final table, each row a result object; it is empty until the run has one. ``set`` describes
    the synthetic set, and is null until there is one. Raises RunError if the run directory is damaged.
    """
    document, _ = _read(run)
    return document


def write_json(run: RunDirectory, output: Path) -> None:
    """Write ``report_data`` to ``output``, replacing it. Raises RunError, StorageError."""
    document = report_data(run)
    with unwritable(output):
        files.write_json(output, document)


def write_html(run: RunDirectory, output: Path, ending: RunCompleted | None = None) -> None:
    """Write the report of ``run`` as one HTML page to ``output``, replacing it. Raises RunError, StorageError.

    The same run gives the same bytes. ``ending`` is the last event of a run that writes its report before it logs that
    event.
    """
    page = html(run, ending)
    with unwritable(output):
        files.write_text(output, page)


def html(run: RunDirectory, ending: RunCompleted | None = None) -> str:
    """Return the report of ``run`` as one HTML page. Raises RunError if the run directory is damaged."""
    document, loaded = _read(run, ending)
    return page("report.html.j2", _view(document, loaded, run))


def page(template: str, view: Mapping[str, Any]) -> str:
    """Return ``template`` filled in with ``view``, all of which is escaped but what is marked as markup."""
    return _templates().get_template(template).render(**view)


@cache
def _templates() -> Environment:
    """The environment that keeps what it has compiled, which takes longer than to fill it in."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("engine.export", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _read(run: RunDirectory, ending: RunCompleted | None = None) -> tuple[dict[str, Any], LoadedSet | None]:
    state, preset, folded, meta = run.state(), run.preset_values(), run.folded(), run.meta()
    if ending is not None:
        state = "completed"
        folded.add(to_record(ending, time.time()))
    loaded, problem = _set(run)
    warnings = [line.text for line in folded.log if line.level == "warning"][-MOST_WARNINGS:]
    results = results_of(run, folded, warnings.append)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "name": run.name,
        "state": state,
        "stage": folded.stage,
        "step": folded.step,
        "total": folded.total,
        "started": folded.started,
        "updated": folded.updated,
        "seconds": folded.seconds or sum(stage.seconds for stage in folded.stages.values()),
        "seed": meta.get("seed", folded.seed),
        "device": folded.device,
        "problem": {"problem": folded.problem[0], "hint": folded.problem[1]} if folded.problem else None,
        "warnings": warnings + ([problem] if problem else []),
        **_curves(folded),
        "results": results,
        "set": _described(loaded, _length(run)) if loaded else None,
        "budget": files.read_json(run.budget_file),
        "preset": preset,
        "meta": meta,
    }
    return _printable(files.finite(document)), loaded


def _curves(folded: RunState) -> dict[str, Any]:
    ordered = sorted(folded.stages.values(), key=lambda s: STAGES.index(s.name) if s.name in STAGES else len(STAGES))
    return {
        "stages": [
            {"name": s.name, "step": s.step, "total": s.total, "finished": s.finished, "seconds": s.seconds}
            for s in ordered
        ],
        "losses": {name: {"steps": c.steps, "values": c.values} for name, c in folded.losses.items()},
        "accuracy": [
            {"what": a.what, "split": a.split, "step": a.step, "mean": a.mean, "std": a.std, "values": a.values}
            for a in folded.accuracies
        ],
        "best": {"step": folded.best[0], "accuracy": folded.best[1]} if folded.best else None,
    }


def _length(run: RunDirectory) -> int:
    """Return the bytes of the file that ``_set`` reads."""
    return next(path.stat().st_size for path in (run.best, run.last) if path.is_file())


def _set(run: RunDirectory) -> tuple[LoadedSet | None, str]:
    """Return the run's best set, or its last if there is no best, and ""; None and the problem of a damaged file."""
    from engine.synthetic import load_set

    path = next((path for path in (run.best, run.last) if path.is_file()), None)
    if path is None:
        return None, ""
    try:
        return load_set(path), ""
    except DataError as error:
        return None, error.problem


def _described(loaded: LoadedSet, length: int) -> dict[str, Any]:
    from engine.synthetic import PRECISIONS

    synthetic, spec = loaded.synthetic, loaded.synthetic.spec
    return {
        "kind": synthetic.kind,
        "classes": list(spec.classes),
        "ipc": synthetic.ipc,
        "clips_per_class": synthetic.clips_per_class,
        "frames": spec.frames,
        "height": spec.height,
        "width": spec.width,
        "stored_values": synthetic.stored_values,
        "bytes": {precision: synthetic.nbytes(precision) for precision in PRECISIONS},
        "precision": loaded.precision,
        "storage": None if loaded.storage is None else str(loaded.storage),
        "file_bytes": loaded.nbytes,
        "file_length": length,
        "step": loaded.provenance.step,
        "selected_on": loaded.provenance.selected_on,
    }


def _printable(document: Any) -> Any:
    """Return ``document`` with all its text fit for a page and for UTF-8."""
    if isinstance(document, str):
        return shown(document)
    if isinstance(document, dict):
        return {shown(key): _printable(value) for key, value in document.items()}
    if isinstance(document, list):
        return [_printable(value) for value in document]
    return document


def _view(document: dict[str, Any], loaded: LoadedSet | None, run: RunDirectory) -> dict[str, Any]:
    """Return the texts, numbers and plots of the template, which computes nothing itself."""
    results, names = document["results"], _class_names(document)
    main, pictures = wording.main_result(results), _pictures(loaded)
    compared = _compared(results, main)
    return {
        "run": document,
        "headline": wording.headline(compared, len(names) or None),
        "verdict": " ".join(filter(None, (wording.verdict(compared), _own_rate(compared, main)))),
        "state_line": _state_line(document),
        "tiles": _tiles(document, main),
        "protocol": _protocol(main),
        "published": document["preset"].get("published"),
        "tables": _tables(results, main),
        "plots": _plots(document, compared, main, len(names) or None),
        "rungs": _rungs(document["budget"]),
        "per_class": _per_class(main, compared, names),
        "confusion": _confusion(main, names),
        "pictures": pictures,
        "columns": max((len(item.clips) for item in pictures[:1]), default=1) or 1,
        "classes": len(names),
        "preset_toml": shown(run.preset_file.read_text(encoding="utf-8")),
        "facts": _facts(document),
        "command": command_line(document["meta"].get("command")),
        "repeat": _repeat(document),
        "wording": wording,
    }


def _class_names(document: Mapping[str, Any]) -> list[str]:
    """Return the class names of the set; without a set, ``class 0``, ... for as many classes as the results have."""
    if document["set"]:
        return list(document["set"]["classes"])
    main = wording.main_result(document["results"]) or {}
    per_class = main.get("per_class")
    return [f"class {label}" for label in range(len(per_class))] if isinstance(per_class, list) else []


def _state_line(document: Mapping[str, Any]) -> str:
    """Return some sentences on a run that is not complete; "" for one that is."""
    state, stage, name = document["state"], document["stage"], shlex.quote(document["name"])
    where = (
        f", in stage {stage} at step {document['step']} of {document['total']}" if stage else ", before its first step"
    )
    so_far = "This report shows what there is so far."
    if state == "completed":
        return ""
    if state == "failed":
        found = document["problem"] or {"problem": "Its log does not say why.", "hint": "See engine.log of the run."}
        return f"This run failed{where}. {found['problem']} {found['hint']} {so_far}"
    if state == "stopped":
        return f"This run was stopped{where}; `vdtui resume {name}` goes on from there. {so_far}"
    if state == "crashed":
        return (
            f"The worker of this run is gone{where}; `vdtui resume {name}` goes on from its last checkpoint. {so_far}"
        )
    return f"This run is not finished: it is {state}{where}. {so_far}"


def _tiles(document: Mapping[str, Any], main: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """Return the figures at the top: (name, value, remark)."""
    tiles = []
    if main is not None:
        networks = len(wording.values_of(main))
        remark = "a single network" if networks == 1 else f"{networks} networks, mean ± {_std(main)} std"
        tiles.append(("top-1 on test", wording.accuracy(main), remark))
    best = document["best"]
    if best and wording.number(best["accuracy"]) is not None:
        tiles.append(
            ("on validation", wording.percent(best["accuracy"]), f"at step {best['step']}, by which it was chosen")
        )
    if document["set"]:
        described = document["set"]
        values, how = wording.count(described["stored_values"]), described["storage"] or described["precision"]
        size = described["file_bytes"] or described["bytes"][how]
        length = wording.size(described["file_length"])
        tiles.append(("stored", wording.size(size), f"{values} values as {how}; its file has {length}"))
        shape = f"{described['frames']} × {described['height']} × {described['width']}"
        tiles.append(("clips", f"{described['clips_per_class']} per class", f"IPC {described['ipc']}, {shape}"))
    device = document["device"] or "no device yet"
    tiles.append(("working time", wording.duration(document["seconds"]), f"on {device}"))
    return tiles


def _std(result: Mapping[str, Any]) -> str:
    return str(conditions(dict(result))["std_kind"])


def _protocol(main: Mapping[str, Any] | None) -> str:
    if main is None:
        return ""
    chosen = wording.SELECTED.get(str(main.get("selected_on")), f"chosen on {main.get('selected_on', '?')}")
    kind = KINDS.get(str(main.get("what")))
    if kind is None or not kind.learned:
        chosen = "nothing was learned, so no iteration was chosen"
    return f"Protocol {main.get('protocol', '?')}, version {main.get('protocol_version', '?')}: {chosen}."


def _tables(results: Sequence[dict[str, Any]], main: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return tables of results of equal conditions, that of ``main`` first; the others say what is different."""
    groups: dict[str, list[dict[str, Any]]] = {} if main is None else {key_of(dict(main)): []}
    for result in results:
        groups.setdefault(key_of(result), []).append(result)
    shown_as = [
        Group(conditions(rows[0]), tuple(Row("", row, None, False, _over(row, results), None, None) for row in rows))
        for rows in groups.values()
    ]
    return [
        {
            "heading": heading(group),
            "remarks": remarks(group, shown_as[0]),
            "std": group.conditions["std_kind"],
            "rows": [_row(row, row.result is main) for row in group.rows],
        }
        for group in shown_as
    ]


def _compared(results: Sequence[dict[str, Any]], main: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the ``results`` of the same conditions as ``main``, learning rates aside.

    A set may be trained at a rate that was learned with it, which no baseline has; ``_own_rate`` says so.
    """
    return [] if main is None else [result for result in results if key_but_rate(result) == key_but_rate(dict(main))]


def _own_rate(compared: Sequence[dict[str, Any]], main: Mapping[str, Any] | None) -> str:
    rates = {_rate(result): None for result in compared if result is not main}
    if main is None or all(rate == _rate(main) for rate in rates):
        return ""
    others = ", ".join(f"{rate:g}" for rate in rates if rate is not None and rate != _rate(main))
    return f"It is trained at its own learning rate, {_rate(main) or 0:g}; the others at {others}."


def _rate(result: Mapping[str, Any]) -> float | None:
    recipe = result.get("recipe")
    return wording.number(recipe.get("lr")) if isinstance(recipe, Mapping) else None


def _over(result: dict[str, Any], results: Sequence[dict[str, Any]]) -> Difference | None:
    found = standing(result, results)
    return None if found is None else found.over


def _row(row: Row, is_main: bool) -> dict[str, Any]:
    result = row.result
    return {
        "what": wording.label(result.get("what")) + wording.learned_by(result),
        "main": is_main,
        "model": wording.model_name(result),
        "ipc": "–" if result.get("what") == "full" else result.get("ipc", "–"),
        "top1": wording.accuracy(result),
        "values": [(seed, f"{100 * value:.1f}") for seed, value in wording.values_of(result)],
        "top5": wording.accuracy(result, "top5"),
        "stored_values": wording.count(result.get("stored_values")),
        "bytes": wording.size(result.get("bytes")),
        "precision": stored_as(result),
        "over_baseline": points(row.over_baseline),
        "seconds": wording.duration(result.get("seconds")),
    }


def _plots(
    document: Mapping[str, Any],
    compared: Sequence[Mapping[str, Any]],
    main: Mapping[str, Any] | None,
    classes: int | None,
) -> list[tuple[str, Any]]:
    """Return (title, SVG) of every chart that has points: accuracy over bytes, then the curves."""
    from markupsafe import Markup

    from engine.export.plots import accuracy_plot, bytes_plot, loss_plot

    ordered = sorted(compared, key=lambda result: result is not main)
    found = [("Accuracy over bytes", bytes_plot([*filter(None, map(over_bytes, ordered))], classes))]
    found += [
        (f"Loss, {stage} stage", loss_plot(stage, curve["steps"], curve["values"]))
        for stage, curve in document["losses"].items()
    ]
    best = document["best"]["step"] if document["best"] else None
    during = [point for point in document["accuracy"] if point["what"] == "synthetic" and point["mean"] is not None]
    for split in dict.fromkeys(point["split"] for point in during):
        points = [point for point in during if point["split"] == split]
        found.append(("Accuracy during the run", accuracy_plot(points, split, best, classes)))
    return [(title, Markup(svg)) for title, svg in found if svg]  # plots.py escapes what it draws


def over_bytes(result: Mapping[str, Any]) -> tuple[str, float, float, float | None] | None:
    """Return the name, bytes, mean and deviation of a result; None where it has no bytes, or no accuracy."""
    size, measured = wording.number(result.get("bytes")), wording.mean_std(result)
    if size is None or measured is None:
        return None
    mean, std = measured
    return f"{wording.label(result.get('what'))} ({stored_as(result)})", size, mean, std


def _per_class(
    main: Mapping[str, Any] | None, results: Sequence[Mapping[str, Any]], names: list[str]
) -> list[dict[str, Any]]:
    """Return name, percent and, as reference, the percent of random real clips of each class; None where unknown."""
    values = _list(main, "per_class", len(names))
    random = next((result for result in results if result.get("what") == "random" and result is not main), None)
    others = _list(random, "per_class", len(names)) or [None] * len(names)
    rows = []
    for name, value, other in zip(names, values, others, strict=False):
        found, reference = wording.number(value), wording.number(other)
        rows.append(
            {
                "name": name,
                "percent": None if found is None else 100 * found,
                "reference": None if reference is None else 100 * reference,
            }
        )
    return rows


def _confusion(main: Mapping[str, Any] | None, names: list[str]) -> Any:
    import numpy as np
    from markupsafe import Markup

    from engine.export.plots import confusion_plot

    rows = _list(main, "confusion", len(names))
    try:
        matrix = np.array(rows, float)
    except (TypeError, ValueError):
        return None
    if (
        not len(names)
        or matrix.shape != (len(names), len(names))
        or not np.isfinite(matrix).all()
        or (matrix < 0).any()
    ):
        return None
    return Markup(confusion_plot(matrix, names))  # plots.py escapes what it draws


def _rungs(budget: Any) -> list[dict[str, Any]]:
    """The ways to spend the budget that were tried, as rows of text; none of a run without one."""
    rows = budget.get("rungs") if isinstance(budget, dict) else None
    return [
        {
            "rung": str(row.get("rung", "–")),
            "chosen": row.get("rung") == budget.get("chosen"),
            "ipc": str(row.get("ipc") or "none fits"),
            "bytes": wording.size(row.get("bytes")),
            "accuracy": wording.percent(row.get("accuracy"))
            if wording.number(row.get("accuracy")) is not None
            else "–",
        }
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict)
    ]


def _list(result: Mapping[str, Any] | None, key: str, length: int) -> list[Any]:
    found = result.get(key) if result is not None else None
    return found if isinstance(found, list) and len(found) == length else []


def _pictures(loaded: LoadedSet | None) -> list[ClassPictures]:
    from engine.export.gallery import gallery

    return gallery(loaded.synthetic) if loaded else []


def _facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return versions, device, data and seed as (name, value)."""
    meta = {key: value for key, value in document["meta"].items() if key not in ("command", "seed", "device")}
    facts = [
        ("seed", str(document["seed"])),
        ("device", str(document["device"] or document["meta"].get("device", "–"))),
        ("started", wording.moment(document["started"])),
        ("last event", wording.moment(document["updated"])),
    ]
    return facts + _flat(meta)


def _flat(tables: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in tables.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, dict):
            rows += _flat(value, f"{name}: ")
        else:
            rows.append((name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows


def command_line(command: Any) -> str:
    """Return the command of a meta.json as one line; "" where it has none."""
    if isinstance(command, list):
        return shlex.join(map(str, command))
    return str(command) if command else ""


def _repeat(document: Mapping[str, Any]) -> str:
    """Return the command that repeats this run, once its preset is saved as preset.toml."""
    dataset = document["preset"].get("dataset")
    known = isinstance(dataset, dict) and (dataset.get("path") or dataset.get("layout") == "demo")
    data = "" if known else " --data FILE.h5"
    return f"vdtui distill --preset preset.toml{data} --run {shlex.quote(document['name'] + '-again')}"
