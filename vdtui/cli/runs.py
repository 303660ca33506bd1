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
    summaries = [summarise(run) for run in list_runs(folder)]
    if json:
        print_json(summaries)
        return
    if not summaries:
        note(f"No runs in {folder}. Start one: vdtui distill --preset demo")
        return
    print_table(
        ["run", "state", "preset", "stage", "progress", "best on val"],
        [_row(summary) for summary in summaries],
        right=(4, 5),
    )
    for summary in summaries:
        if summary["damaged"]:
            note(f"{summary['name']} is damaged: {summary['problem']}")


def _row(summary: dict[str, Any]) -> list[str]:
    progress = f"{summary['step']}/{summary['total']}" if summary["total"] else ""
    best = summary["best"]["accuracy"] if summary["best"] else None
    state = f"{summary['state']}, damaged" if summary["damaged"] else summary["state"]
    return [summary["name"], state, summary["preset"], summary["stage"], progress, percent(best)]
