"""`vdtui report`: a run as one page or one JSON document, several runs side by side, or their results as a table."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vdtui.cli import completion
from vdtui.cli.options import RunsDir, human_bytes, note, print_json, say

if TYPE_CHECKING:
    from engine.runs.comparison import Source


class ReportFormat(enum.StrEnum):
    """The formats that `report` writes."""

    HTML = "html"
    MD = "md"
    CSV = "csv"
    JSON = "json"
    TEX = "tex"


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Names of runs, or paths of their folders.", autocompletion=completion.runs
        ),
    ],
    format: Annotated[
        ReportFormat | None,
        typer.Option(
            "--format",
            help="A page, tables of results (md, csv, tex), or all numbers (default: as --output ends, else html).",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="PATH", help="A file (default: RUN-report.html here); - is stdout, but not for html."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Write the report of a run: results, curves, pictures, and what it takes to repeat it.

    The page is one file that loads nothing from anywhere. A run that is not finished is reported as far as it is.
    Several runs are put side by side: tables, and their curves over one another.

    Example: vdtui report demo

    Example: vdtui report demo demo-dm --output both.html
    """
    from engine.errors import UsageError
    from engine.export.output import refuse_existing, unwritable
    from engine.files import write_text
    from engine.runs import find_run, runs_folder
    from engine.runs.comparison import read_sources

    folder = runs_folder(runs_dir)
    format = format or _format(output)
    if output is None:
        output = Path(f"{find_run(folder, runs[0]).name}-report.{format}" if len(runs) == 1 else f"report.{format}")
    to_stdout = str(output) == "-"
    if to_stdout and format is ReportFormat.HTML:
        raise UsageError("The page does not go to stdout.", "Name a file with --output, or use another --format.")
    for name in runs:
        find_run(folder, name)  # files of results have no report; see `compare`
    sources = read_sources(folder, runs, lambda text: note(text) if len(runs) > 1 else None)
    if not to_stdout:
        refuse_existing(output, overwrite)
    if format is ReportFormat.HTML:
        _write_page(sources, output)
    elif to_stdout and format is ReportFormat.JSON:
        print_json(_document(sources))
        return
    else:
        text = _text(sources, format)
        if to_stdout:
            typer.echo(text.encode("utf-8"), nl=False)
            return
        with unwritable(output):
            write_text(output, text)
    say(f"{output.absolute()}: {human_bytes(output.stat().st_size)}")


def _format(output: Path | None) -> ReportFormat:
    """The format that the end of ``output`` tells; a page where it tells none. Raises UsageError for others."""
    from engine.errors import UsageError

    suffix = "" if output is None else output.suffix.lower().removeprefix(".")
    if not suffix:
        return ReportFormat.HTML
    if suffix not in list(ReportFormat):
        raise UsageError(f"{output} does not end in .html, .md, .csv, .json or .tex.", "Say what it shall be: --format")
    return ReportFormat(suffix)


def _write_page(sources: Sequence[Source], output: Path) -> None:
    if len(sources) > 1:
        from engine.export.side_by_side import write_html

        write_html(sources, output)
        return
    from engine.export.report import write_html as write_one

    assert sources[0].run is not None
    write_one(sources[0].run, output)


def _document(sources: Sequence[Source]) -> dict[str, Any]:
    """All that is known of one run, or of several with their comparison."""
    if len(sources) > 1:
        from engine.export.side_by_side import reports_data

        return reports_data(sources)
    from engine.export.report import report_data

    assert sources[0].run is not None
    return report_data(sources[0].run)


def _text(sources: Sequence[Source], form: ReportFormat) -> str:
    import json

    from engine.errors import UsageError
    from engine.export.tables import render
    from engine.files import finite
    from engine.runs.comparison import compare

    if form is ReportFormat.JSON:
        return json.dumps(finite(_document(sources)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    groups = compare(sources)
    if not groups:
        problem = f"There is no table to write: {sources[0].label} has no results yet."
        raise UsageError(problem, "Wait for the final table, or use --format html or json for what there is.")
    return render(groups, form.value)
