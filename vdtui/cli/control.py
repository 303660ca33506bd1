"""`vdtui pause`, `resume`, `stop`, `remove`: what one can ask of a run from anywhere."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from vdtui.cli.distill import attend
from vdtui.cli.options import Detach, Plain, Processes, RunName, RunsDir, note

if TYPE_CHECKING:
    from engine.runs import RunDirectory

POLL_SECONDS = 0.1


def _asked(run: str, runs_dir: Path | None, want: str) -> RunDirectory:
    """The run ``run``, after it was asked to ``pause`` or ``stop``; raises RunError if it is not alive."""
    from engine.errors import RunError
    from engine.runs import ALIVE, find_run, runs_folder

    found = find_run(runs_folder(runs_dir), run)
    if (state := found.state()) not in ALIVE:
        raise RunError(f"The run {found.name} is {state}, so there is nothing to {want}.", "See `vdtui runs`.")
    found.request(want)
    return found


def pause(run: RunName, runs_dir: RunsDir = None) -> None:
    """Pause a run at its next step; nothing is lost. `vdtui resume RUN` continues it.

    Example: vdtui pause demo
    """
    found = _asked(run, runs_dir, "pause")
    note(f"The run {found.name} pauses after the present step. Continue it: vdtui resume {found.name}")


def stop(run: RunName, runs_dir: RunsDir = None) -> None:
    """Stop a run at its next step with its state saved, and wait for that. `vdtui resume RUN` goes on.

    Example: vdtui stop demo
    """
    from engine.runs import ALIVE

    found = _asked(run, runs_dir, "stop")
    while (state := found.state()) in ALIVE:
        time.sleep(POLL_SECONDS)
    note(
        f"The run {found.name} is {state}."
        + ("" if state == "completed" else f" Go on with: vdtui resume {found.name}")
    )


def resume(
    run: RunName, runs_dir: RunsDir = None, processes: Processes = 1, plain: Plain = False, detach: Detach = False
) -> None:
    """Continue a paused, stopped, failed or crashed run, as if it had never been interrupted.

    Example: vdtui resume demo --detach
    """
    from engine.errors import RunError
    from engine.runs import find_run, runs_folder
    from vdtui.launch import launch

    found = find_run(runs_folder(runs_dir), run)
    state = found.state()
    since = found.events_file.stat().st_size if found.events_file.exists() else 0
    if state == "completed":
        raise RunError(f"The run {found.name} is completed; nothing is left to do.", f"See `vdtui show {found.name}`.")
    if state in ("queued", "running", "stopping"):
        raise RunError(f"The run {found.name} is {state} already.", f"Follow it: vdtui monitor {found.name}")
    if state == "paused":
        found.request("run")
    else:
        found.preset_values()  # a run without its preset cannot go on: say so here, not in a log
        launch(found, processes)
    attend(found.path.parent, found.name, plain, detach, since)


def remove(run: RunName, runs_dir: RunsDir = None) -> None:
    """Delete a run that is not alive, with everything in it.

    Example: vdtui remove demo-2
    """
    from engine.runs import find_run, remove_run, runs_folder

    found = find_run(runs_folder(runs_dir), run)
    remove_run(found)
    note(f"Removed {found.path}.")
