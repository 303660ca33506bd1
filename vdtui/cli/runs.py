"""`vdtui runs`: all runs in a folder."""

from __future__ import annotations

from typing import Any

from vdtui.cli.options import Json, RunsDir, note, percent, print_json, print_table


def runs(runs_dir: RunsDir = None, json: Json = False) -> None:
    """List all runs: state, stage, progress, best accuracy on validation.

    Example: vdtui runs --json
    """
    from engine.runs import list_runs, runs_folder
    from engine.runs.summary import summarise

    folder = runs_folder(runs_dir)
    found = [summarise(run) for run in list_runs(folder)]
    if json:
        print_json(found)
        return
    if not found:
        note(f"No runs in {folder}. Start one: vdtui distill --preset demo")
        return
    print_table(
        ["run", "state", "preset", "stage", "progress", "best on val"], [_row(one) for one in found], right=(4, 5)
    )
    for one in found:
        if one["damaged"]:
            note(f"{one['name']} is damaged: {one['problem']}")


def _row(one: dict[str, Any]) -> list[str]:
    progress = f"{one['step']}/{one['total']}" if one["total"] else ""
    best = one["best"]["accuracy"] if one["best"] else None
    state = f"{one['state']}, damaged" if one["damaged"] else one["state"]
    return [one["name"], state, one["preset"], one["stage"], progress, percent(best)]
