"""`vdtui monitor` and plain `vdtui`: the dashboard."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated

import typer

from vdtui.cli import completion
from vdtui.cli.options import Plain, RunsDir, on_a_terminal


def open_dashboard(folder: Path | None, run: str | None) -> None:
    """Open the dashboard on a folder of runs, or on one run; raises UsageError without a terminal."""
    from engine.errors import UsageError
    from engine.runs import runs_folder

    if not on_a_terminal():
        raise UsageError(
            "The dashboard needs a terminal.", "Without one: vdtui runs, vdtui show RUN, vdtui monitor RUN --plain."
        )
    # Its start makes some hundred thousand objects that stay; to look for rubbish among them is a fifth of the time.
    gc.set_threshold(20_000, 20, 20)
    from vdtui.tui.app import run_dashboard

    run_dashboard(runs_folder(folder), run)


def monitor(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="Name of a run; without one, all runs.",
            autocompletion=completion.runs,
        ),
    ] = None,
    runs_dir: RunsDir = None,
    plain: Plain = False,
) -> None:
    """Watch a run, wherever it was started; leaving never stops it.

    Example: vdtui monitor demo
    """
    from engine.errors import UsageError
    from engine.runs import find_run, runs_folder

    folder = runs_folder(runs_dir)
    if run is None:
        if plain:
            raise UsageError("--plain follows one run, but none is named.", "Write: vdtui monitor RUN --plain")
        open_dashboard(runs_dir, None)
        return
    directory = find_run(folder, run)
    if plain or not on_a_terminal():
        from vdtui.cli.follow import watch

        raise typer.Exit(watch(directory))
    open_dashboard(directory.path.parent, directory.name)
