"""The page of several runs: their tables, their curves over one another, and the facts of each.

``engine.runs.comparison`` decides which results may stand in one table; this module only shows them. Like the report
of a single run, the page is one file that loads nothing, and everything that comes from a name is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import files
from engine.export import wording
from engine.export.names import shown
from engine.export.output import unwritable
from engine.export.overlay import curves_of, overlay_svg
from engine.export.report import command_line, over_bytes, page, report_data
from engine.export.tables import as_document, heading, remarks, sheets
from engine.runs.comparison import Group, Source, compare
from engine.runs.results import is_real

FORMAT, VERSION = "vdtui.reports", 1


def reports_data(sources: Sequence[Source]) -> dict[str, Any]:
    """Return the reports of all runs (``report_data``) and their comparison as one JSON document. Raises RunError."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "runs": [report_data(source.run) for source in sources if source.run is not None],
        "comparison": as_document(compare(sources)),
    }


def write_html(sources: Sequence[Source], output: Path) -> None:
    """Write the page of ``sources`` to ``output``, replacing it. The same runs give the same bytes.

    Raises StorageError if it cannot be written.
    """
    text = html(sources)
    with unwritable(output):
        files.write_text(output, text)


def html(sources: Sequence[Source]) -> str:
    """Return the page of ``sources``."""
    from markupsafe import Markup

    groups = compare(sources)
    view = {
        "names": [shown(source.label) for source in sources],
        "tables": [_table(group, groups[0]) for group in groups],
        "bytes_plot": Markup(_bytes_chart(groups[0])) if groups else "",
        "plot": Markup(overlay_svg(curves_of(sources))),  # plots.py escapes what it draws
        "runs": [_facts(source) for source in sources if source.run is not None],
    }
    return page("comparison.html.j2", view)


def _table(group: Group, first: Group) -> dict[str, Any]:
    return {
        "heading": heading(group),
        "remarks": remarks(group, first),
        "sheets": sheets(group),
    }


def _bytes_chart(group: Group) -> str:
    """Return the chart of the group's rows; those of real clips that several runs share are drawn once."""
    from engine.export.plots import bytes_plot

    drawn: dict[tuple[object, ...], tuple[str, float, float, float | None]] = {}
    for row in group.rows:
        found = over_bytes(row.result)
        if found is not None:
            name = found[0] if is_real(row.result) else f"{row.run}: {found[0]}"
            drawn.setdefault((name, *found[1:]), (name, *found[1:]))
    return bytes_plot(list(drawn.values()), None)


def _facts(source: Source) -> dict[str, str]:
    """Return one line of the list of runs, by column."""
    run, folded = source.run, source.folded
    assert run is not None and folded is not None
    preset, meta = run.preset_values(), run.meta()
    return {
        "name": shown(source.label),
        "preset": shown(str(preset.get("title", ""))),
        "state": run.state(),
        "chosen": f"step {folded.best[0]}" if folded.best else "–",
        "seed": shown(str(meta.get("seed", folded.seed))),
        "device": shown(str(folded.device or meta.get("device", "–"))),
        "time": wording.duration(folded.seconds or None),
        "command": shown(command_line(meta.get("command"))),
        "data": shown(str(meta.get("data_fingerprint", "–"))),
    }
