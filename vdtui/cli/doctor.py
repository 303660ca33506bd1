"""`vdtui doctor`: what works on this machine and in this terminal, each tried."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from vdtui.cli.options import Json, RunsDir, note, on_a_terminal, print_json, print_table

if TYPE_CHECKING:
    from engine.doctor import Finding

SMALLEST = (80, 24)


def doctor(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Try what vdtui needs here: versions, device, codecs, HDF5, the runs folder, the terminal.

    Ends with 1 if something is broken; what is only limited is said beside it. The table belongs into a bug report.

    Example: vdtui doctor
    """
    import dataclasses

    from engine.doctor import BROKEN, examine
    from engine.runs import runs_folder

    findings = [*examine(runs_folder(runs_dir), device), _terminal()]
    broken = any(finding.state == BROKEN for finding in findings)
    if json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        rows = [[finding.part, finding.state, f"{finding.found}\n{finding.advice}".strip()] for finding in findings]
        print_table(["part", "state", "what was found"], rows)
        note("Something is broken: see what is said beside it." if broken else "What vdtui needs is here.")
    raise typer.Exit(int(broken))


def _terminal() -> Finding:
    from engine.doctor import LIMITED, OK, Finding

    if not on_a_terminal():
        return Finding("terminal", LIMITED, "none: output is plain", "The dashboard needs one; --plain does not.")
    columns, lines = shutil.get_terminal_size()
    colours = "no colours (NO_COLOR)" if os.environ.get("NO_COLOR") else _colours()
    inside = " in tmux" if "TMUX" in os.environ else " in screen" if "STY" in os.environ else ""
    description = f"{os.environ.get('TERM', 'unknown')}{inside}, {columns} x {lines}, {colours}, {sys.stdout.encoding}"
    if not sys.stdout.encoding.lower().startswith("utf"):
        return Finding("terminal", LIMITED, description, "Curves and pictures need UTF-8: export LANG=C.UTF-8.")
    if columns < SMALLEST[0] or lines < SMALLEST[1]:
        return Finding("terminal", LIMITED, description, "The dashboard is made for 80 x 24 and more.")
    return Finding("terminal", OK, description)


def _colours() -> str:
    from rich.console import Console

    return {None: "no colours", "standard": "16 colours", "256": "256 colours"}.get(
        Console().color_system, "16 million colours"
    )
