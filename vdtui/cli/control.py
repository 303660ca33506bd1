"""`vdtui pause`, `resume`, `stop`, `remove`: what one can ask of a run from anywhere."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vdtui.cli import completion
from vdtui.cli.distill import attend
from vdtui.cli.launching import HERE, Place, launching
from vdtui.cli.options import Detach, Plain, Processes, RunName, RunsDir, asked, can_be_asked, human_bytes, note

if TYPE_CHECKING:
    from engine.runs import RunDirectory
    from engine.runs.status import Want

POLL_SECONDS = 0.1


def _asked(run: str, runs_dir: Path | None, want: Want) -> RunDirectory:
    """The run ``run``, after it was asked to ``pause`` or ``stop``; raises RunError if it is not alive."""
    from engine.errors import RunError
    from engine.runs import ALIVE, find_run, runs_folder

    directory = find_run(runs_folder(runs_dir), run)
    if (state := directory.state()) not in ALIVE:
        raise RunError(f"The run {directory.name} is {state}, so there is nothing to {want}.", "See `vdtui runs`.")
    directory.request(want)
    return directory


def pause(run: RunName, runs_dir: RunsDir = None) -> None:
    """Pause a run at its next step; nothing is lost. `vdtui resume RUN` continues it.

    Example: vdtui pause demo
    """
    directory = _asked(run, runs_dir, "pause")
    note(f"The run {directory.name} pauses after the present step. Continue it: vdtui resume {directory.name}")


def stop(run: RunName, runs_dir: RunsDir = None) -> None:
    """Stop a run at its next step with its state saved, and wait for that. `vdtui resume RUN` goes on.

    Example: vdtui stop demo
    """
    from engine.runs import find_run, runs_folder
    from vdtui.launchers.slurm import withdraw

    if (job := withdraw(directory := find_run(runs_folder(runs_dir), run))) is not None:
        note(f"The run {directory.name} is stopped: SLURM's job {job}, in which it waited, is cancelled.")
        return
    directory = _asked(run, runs_dir, "stop")
    state = _ended(directory)
    note(
        f"The run {directory.name} is {state}."
        + ("" if state == "completed" else f" Go on with: vdtui resume {directory.name}")
    )


def _ended(run: RunDirectory) -> str:
    """Wait for the end of ``run``, which was asked to stop, and return its state.

    Raises RunError if its worker says nothing meanwhile. By this process's own clock: the worker's may be another.
    """
    from engine.errors import RunError
    from engine.runs import ALIVE
    from engine.runs.status import QUIET_SECONDS

    began = said = time.monotonic()
    heartbeat, told = run.status().heartbeat, False
    while (state := run.state()) in ALIVE:
        status, now = run.status(), time.monotonic()
        if status.heartbeat != heartbeat:
            heartbeat, said = status.heartbeat, now
        if now - said > QUIET_SECONDS and status.pid:
            problem = f"The worker of {run.name} (pid {status.pid} on {status.host}) says nothing: is it suspended?"
            raise RunError(problem, "The request stays, and it stops as soon as it goes on: `kill -CONT` that pid.")
        if now - began > QUIET_SECONDS and not told:
            note(f"Waiting for the end of the present step of {run.name}; the request stays if you leave.")
            told = True
        time.sleep(POLL_SECONDS)
    return state


@launching
def resume(
    run: RunName,
    runs_dir: RunsDir = None,
    processes: Processes = 1,
    plain: Plain = False,
    detach: Detach = False,
    place: Place = HERE,
) -> None:
    """Continue a paused, stopped, failed or crashed run, as if it had never been interrupted.

    Example: vdtui resume demo --detach
    """
    from engine.runs import find_run, runs_folder
    from vdtui import launch

    directory = find_run(runs_folder(runs_dir), run)
    since = directory.events_file.stat().st_size if directory.events_file.exists() else 0
    launch.resume(directory, place.launcher(processes).start)
    attend(directory.path.parent, directory.name, plain, detach, since)


def remove(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Names of runs, or paths of their folders.", autocompletion=completion.runs
        ),
    ],
    runs_dir: RunsDir = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete runs that are not alive, with everything in them. Of a run that is linked, the link goes.

    It says what goes, and asks. A folder that is no run, or that holds anything else too, is left as it is.

    Example: vdtui remove demo-2
    """
    from engine.errors import UsageError
    from engine.runs import remove_run, runs_folder
    from engine.runs.removal import find_removals

    removals = find_removals(runs_folder(runs_dir), runs)
    if not yes:
        if not can_be_asked():
            raise UsageError("Without a terminal nobody can be asked.", "Nothing was removed. Add --yes to mean it.")
        for removal in removals:
            size = human_bytes(removal.nbytes) if removal.target is None else f"a link to {removal.target}, which stays"
            note(f"{removal.run.path}: {removal.state}, {size}")
        if not asked(f"Remove {'this run' if len(removals) == 1 else f'these {len(removals)} runs'}?"):
            note("Nothing was removed.")
            raise typer.Exit(130)
    for removal in removals:
        remove_run(removal.run)
        note(f"Removed {removal.run.path}.")
