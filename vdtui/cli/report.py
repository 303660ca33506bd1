"""`vdtui report`: a run as one page, or as one JSON document."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from vdtui.cli.options import RunName, RunsDir, human_bytes, print_json


class ReportFormat(enum.StrEnum):
    """What `report` can write."""

    HTML = "html"
    JSON = "json"


def report(
    run: RunName,
    format: Annotated[ReportFormat, typer.Option("--format", help="A page to show, or all numbers.")],
    output: Annotated[Path, typer.Option("--output", metavar="PATH", help="A file; with json, - is stdout.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Write the report of a run: results, curves, pictures, and what it takes to repeat it.

    The page is one file that loads nothing from anywhere. A run that is not finished is reported as far as it is.

    Example: vdtui report demo --format html --output demo.html
    """
    from engine.errors import UsageError
    from engine.export.output import refuse_existing
    from engine.export.report import report_data, write_html, write_json
    from engine.runs import find_run, runs_folder

    found = find_run(runs_folder(runs_dir), run)
    if str(output) == "-":
        if format is not ReportFormat.JSON:
            raise UsageError("Only the JSON report goes to stdout.", "Use --format json, or name a file with --output.")
        print_json(report_data(found))
        return
    refuse_existing(output, overwrite)
    (write_html if format is ReportFormat.HTML else write_json)(found, output)
    typer.echo(f"{output}: {human_bytes(output.stat().st_size)}")
