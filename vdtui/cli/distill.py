"""`vdtui distill`: start a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vdtui.cli import completion
from vdtui.cli.launching import HERE, Place, launching
from vdtui.cli.options import (
    Budget,
    Changes,
    Data,
    Detach,
    Device,
    Plain,
    Processes,
    RunsDir,
    note,
    on_a_terminal,
    say,
    warn,
    with_run,
)

if TYPE_CHECKING:
    from vdtui.launchers import Launcher


@launching
def distill(
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE.toml", help="What to run; see `vdtui presets`.", autocompletion=completion.presets
        ),
    ] = "default",
    data: Data = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="NAME", help="Name of the run (default: the preset's).")
    ] = None,
    runs_dir: RunsDir = None,
    set_: Changes = None,
    budget: Budget = None,
    seed: Annotated[int | None, typer.Option(help="The one seed of the run.")] = None,
    device: Device = None,
    processes: Processes = 1,
    plain: Plain = False,
    detach: Detach = False,
    place: Place = HERE,
) -> None:
    """Start a distillation: stage 1, stage 2, evaluation, report.

    The engine runs in a process of its own. With a terminal the dashboard opens; `q` leaves it and the run goes on.

    Example: vdtui distill --preset demo

    Example: vdtui distill --data clips.h5 --set dynamic.steps=400 --run first-try --detach

    Example: vdtui distill --data clips.h5 --budget 2kB
    """
    changes = with_run(set_, None, None, budget)
    launcher = place.launcher(processes)
    start(preset, changes, data, run, Path(preset).stem, runs_dir, seed, device, launcher, plain, detach)


def start(
    preset: str,
    changes: list[str],
    data: Path | None,
    run: str | None,
    stem: str,
    runs_dir: Path | None,
    seed: int | None,
    device: str | None,
    launcher: Launcher,
    plain: bool,
    detach: bool,
) -> None:
    """Make a run of ``preset`` with ``changes``, after all that can be wrong was looked for, and let it start."""
    import sys

    from engine.config import load_preset
    from engine.data.check import check_data
    from engine.runs.new import new_run, with_data

    resolved = with_data(load_preset(preset, with_run(changes, seed, device)), data)
    if warning := check_data(resolved):
        warn(warning)
    directory = new_run(resolved, None, runs_dir, run, stem, ["vdtui", *sys.argv[1:]])
    launcher.start(directory)
    attend(directory.path.parent, directory.name, plain, detach)


def attend(folder: Path, name: str, plain: bool, detach: bool, since: int = 0) -> None:
    """Leave a started run alone, open the dashboard, or follow it in plain lines. Raises typer.Exit."""
    from engine.runs import find_run

    run = find_run(folder, name)
    if detach:
        note(f"The run {name} goes on by itself: vdtui monitor {name}")
        say(name)
        raise typer.Exit(0)
    if plain or not on_a_terminal():
        from vdtui.cli.follow import follow

        note(f"Run {name} in {run.path.absolute()}")
        raise typer.Exit(follow(run, since))
    from vdtui.cli.monitor import open_dashboard

    open_dashboard(folder, name)
    _after_dashboard(folder, name)


def _after_dashboard(folder: Path, name: str) -> None:
    """Tell whoever left the dashboard that the run goes on, or its results."""
    from engine.runs import ALIVE, find_run
    from vdtui.cli.results import print_results, where_to_find

    run = find_run(folder, name)
    state = run.state()
    if state in ALIVE:
        note(f"The run {name} goes on ({state}). Come back: vdtui monitor {name}; stop it: vdtui stop {name}")
        raise typer.Exit(0)
    folded = run.folded()
    print_results(folded.results)
    if state == "completed":
        note(where_to_find(run))
        raise typer.Exit(0)
    if folded.problem:
        note(f"error: {folded.problem[0]}\nhint: {folded.problem[1]}")
    note(f"The run {name} is {state}. Go on with: vdtui resume {name}")
    raise typer.Exit(130 if state == "stopped" else 1)
