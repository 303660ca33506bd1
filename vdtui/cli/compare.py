"""`vdtui compare`: results of several runs in one table, or in as many as it takes to be fair."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vdtui.cli import completion
from vdtui.cli.options import Json, RunsDir, human_bytes, note, print_json, printable_lines

if TYPE_CHECKING:
    from engine.runs.comparison import Group, Source


class CompareFormat(enum.StrEnum):
    """The formats that `compare` writes."""

    TEXT = "text"
    MD = "md"
    CSV = "csv"
    JSON = "json"
    TEX = "tex"


ASCII = str.maketrans({"±": "+-", "–": "-"})
"""Signs as the other commands write them on a terminal."""

WRAPPING, WRAPPED = ("cost", "over baseline", "over random", "to best"), 14
"""Columns that may be broken into lines, of so many characters."""
LEAST_NEEDED = ("networks", "cost", "stored as", "top-5, %", "chosen on", "over random", "bytes")
"""Columns that a narrow terminal does without, the first one first."""


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|RESULTS.json...",
            help="Runs, or files that `vdtui evaluate --output` wrote.",
            autocompletion=completion.runs,
        ),
    ],
    format: Annotated[
        CompareFormat | None,
        typer.Option("--format", help="How tables are written (default: as --output ends, else text)."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", metavar="PATH", help="A file in place of stdout.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="PNG", help="Draw the curves of the runs.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Compare runs: accuracy, bytes, cost, and whether a difference is more than noise.

    Results of another protocol, network, data or recipe never share a table. "better set" and "worse set" go by a 95 %
    interval over networks: it tells of these sets. Runs whose presets are equal but for run.seed are also shown as
    one method: "better method" goes by an interval over run seeds. Paired where seeds are the same, Welch's otherwise.

    Example: vdtui compare a b --format md
    """
    from engine.errors import UsageError
    from engine.export.output import refuse_existing
    from engine.runs import runs_folder
    from engine.runs.comparison import compare as grouped
    from engine.runs.comparison import read_sources

    form = _format(format, output, json)
    if plot is not None and plot.suffix.lower() != ".png":
        raise UsageError(f"The picture {plot} does not end in .png.", "Name it so: --plot curves.png")
    for path in (output, plot):
        if path is not None:
            refuse_existing(path, overwrite)
    sources = read_sources(runs_folder(runs_dir), runs, note)
    groups = grouped(sources)
    if not groups:
        problem = "There is nothing to compare: none of these runs has results yet."
        raise UsageError(problem, "Wait for their final tables, or measure a run that has a set: vdtui evaluate RUN")
    if plot is not None:
        _plot(plot, sources)
    if output is not None:
        _write(output, groups, form)
    if json or (form is CompareFormat.JSON and output is None):
        from engine.export.tables import as_document

        print_json(as_document(groups))
    elif output is None and form is CompareFormat.TEXT:
        print_groups(groups)
    elif output is None:
        from engine.export.tables import render

        typer.echo(render(groups, form.value).encode("utf-8"), nl=False)  # bytes: CSV has line ends of its own


def _format(given: CompareFormat | None, output: Path | None, json: bool) -> CompareFormat:
    """``--format``, else what ``--output`` ends in. Raises UsageError if stdout would get two documents, or neither."""
    from engine.errors import UsageError

    if output is None:
        if json and given not in (None, CompareFormat.JSON):
            problem = f"--json prints JSON, and --format {given} something else."
            raise UsageError(problem, "Leave one of them out, or name a file for the second: --output PATH")
        return given or (CompareFormat.JSON if json else CompareFormat.TEXT)
    if given is None:
        suffix = output.suffix.lower().removeprefix(".").replace("txt", "text")
        if suffix not in list(CompareFormat):
            problem = f"{output} does not end in .md, .csv, .json, .tex or .txt."
            raise UsageError(problem, "Say what it shall be: --format md, csv, json, tex or text")
        return CompareFormat(suffix)
    return given


def print_groups(groups: Sequence[Group]) -> None:
    """Print each group as a table of its own, under what its rows have in common."""
    if not sys.stdout.isatty():
        typer.echo(_aligned(groups), nl=False)  # no width to fold at
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for columns, rows, title, below in _as_text(groups):
        kept = _fitting(columns, rows, console.width)
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for number in kept:
            right = columns[number] in _right()
            table.add_column(columns[number], justify="right" if right else "left", no_wrap=right, overflow="fold")
        for row in rows:
            table.add_row(*(Text(row[number]) for number in kept))
        dropped = [name for number, name in enumerate(columns) if number not in kept]
        below += [f"Left out, for want of width: {', '.join(dropped)}; see --format md or csv."] if dropped else []
        console.print(Text(title), table, Text("\n".join(below)), "", sep="\n")


def _fitting(columns: list[str], rows: list[list[str]], width: int) -> list[int]:
    """Choose the columns for ``width`` characters; differences may take two or three lines."""
    widths = [max(map(len, column)) + 2 for column in zip(columns, *rows, strict=True)]
    widths = [min(most, WRAPPED + 2) if name in WRAPPING else most for name, most in zip(columns, widths, strict=True)]
    kept = list(range(len(columns)))
    for name in LEAST_NEEDED:
        if sum(widths[number] for number in kept) > width and name in columns:
            kept.remove(columns.index(name))
    return kept


def _as_text(groups: Sequence[Group]) -> Iterator[tuple[list[str], list[list[str]], str, list[str]]]:
    """Columns, rows, what stands above and what below, of each table of each group."""
    from engine.export.tables import heading, remarks, sheets

    for group in groups:
        title = "\n".join([heading(group), *remarks(group, groups[0])])
        for sheet in sheets(group):
            rows = [[_shown(cell) for cell in row] for _, row in sheet.rows]
            yield sheet.columns, rows, _shown(sheet.above or title), [_shown(line) for line in sheet.below]


def _shown(text: str) -> str:
    return printable_lines(text.translate(ASCII))


def _right() -> tuple[str, ...]:
    from engine.export.tables import RIGHT

    return RIGHT


def _aligned(groups: Sequence[Group]) -> str:
    """The tables as plain text for a file, as wide as their cells need."""
    blocks = []
    for columns, rows, title, below in _as_text(groups):
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if name in _right() else cell.ljust(width)
                for name, cell, width in zip(columns, row, widths, strict=True)
            ).rstrip()
            for row in (columns, ["-" * width for width in widths], *rows)
        ]
        blocks.append("\n".join([title, "", *lines, "", *below, ""]))
    return "\n".join(blocks)


def _write(output: Path, groups: Sequence[Group], form: CompareFormat) -> None:
    from engine.export.output import unwritable
    from engine.export.tables import render
    from engine.files import write_text

    text = _aligned(groups) if form is CompareFormat.TEXT else render(groups, form.value)
    with unwritable(output):
        write_text(output, text)
    note(f"{output}: {human_bytes(output.stat().st_size)}")


def _plot(output: Path, sources: Sequence[Source]) -> None:
    from engine.export.output import unwritable
    from engine.export.overlay import curves_of, overlay_png
    from engine.files import write_bytes

    picture = overlay_png(curves_of(sources))
    if picture is None:
        note(f"None of these runs has a curve, so {output} is not written.")
        return
    with unwritable(output):
        write_bytes(output, picture)
    note(f"{output}: {human_bytes(output.stat().st_size)}")
