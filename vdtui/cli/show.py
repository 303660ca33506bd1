"""`vdtui show`: one run in full."""

from __future__ import annotations

from typing import Any

from engine.text import counted
from vdtui.cli.options import Json, RunName, RunsDir, human_time, note, percent, plus_minus, print_json, print_table
from vdtui.cli.results import print_results


def show(run: RunName, runs_dir: RunsDir = None, json: Json = False) -> None:
    """Show a run: its state, its evaluations, its final table.

    Example: vdtui show demo --json
    """
    from engine.runs import find_run, runs_folder
    from engine.runs.results import results_of
    from engine.runs.summary import summarise

    directory = find_run(runs_folder(runs_dir), run)
    folded = directory.folded()
    summary = summarise(directory, folded)
    meta = directory.meta()
    results = results_of(directory, folded, note)
    if json:
        curve = [[point.step, point.mean, point.std] for point in folded.accuracy_curve()]
        more = {"results": results, "accuracies": curve, "budget": folded.spent, "meta": meta}
        print_json({**summary, "seed": folded.seed, **more})
        return
    split = next((point.split for point in reversed(folded.accuracy_curve())), "val").replace("val", "validation")
    lines = {
        "run": summary["name"],
        "state": summary["state"],
        "preset": summary["preset"],
        "stage": f"{summary['stage']} {summary['step']}/{summary['total']}",
        "chosen": f"step {folded.best[0]}, {percent(folded.best[1])} on {split}" if folded.best else "-",
        **({"budget": _spent(folded.spent)} if folded.spent else {}),
        "seed": str(meta.get("seed", "-")),
        "device": str(meta.get("device", "-")),
        "data": f"{meta.get('dataset', '-')} {meta.get('data_fingerprint', '')}",
        "time": human_time(folded.seconds) if folded.seconds else "-",
        "path": summary["path"],
    }
    print_table(["", ""], [[name, value] for name, value in lines.items()])
    curve_rows = [
        [
            str(point.step),
            plus_minus(point.mean, point.std),
            " ".join(f"{100 * v:.1f}" for v in point.values),
        ]
        for point in folded.accuracy_curve()
    ]
    if curve_rows:
        print_table(["step", f"top-1 on {split}", "per network"], curve_rows, right=(0, 1))
    print_results(results)
    if summary["problem"]:
        note(f"problem: {summary['problem']}")


def _spent(spent: dict[str, Any]) -> str:
    """Say how the budget of a run is spent."""
    chosen = "fixed" if spent["accuracy"] is None else f"{percent(spent['accuracy'])} on validation"
    clips = counted(spent["ipc"], "clip")
    return f"{spent['budget']:,} bytes, spent on {clips} per class as {spent['rung']} ({chosen})"
