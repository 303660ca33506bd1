"""A run in one JSON object: what `vdtui runs --json` lists and `vdtui show --json` begins with."""

from __future__ import annotations

from typing import Any

from engine.errors import RunError
from engine.runs.directory import RunDirectory
from engine.runs.state import RunState


def summarise(run: RunDirectory, folded: RunState | None = None) -> dict[str, Any]:
    """Name, state, preset, stage, step, total, path and best accuracy. Where something of it is ``damaged`` or failed,
    ``problem`` says what."""
    problem: str | None = None
    damage: str | None = None
    try:
        folded = folded or run.folded()
        problem = " ".join(folded.problem) if folded.problem else None
        damage = (run.damage(folded.damaged, run.meta_is_damaged()) or (None,))[0]
    except RunError as error:
        folded, damage = RunState(), error.problem
    try:
        status, state = run.status(), run.state()
        stage, step, total = status.stage, status.step, status.total
    except RunError as error:
        state, stage, step, total, damage = "crashed", folded.stage, folded.step, folded.total, error.problem
    try:
        title = run.preset_values().get("title")
    except RunError as error:
        title, damage = None, damage or error.problem
    return {
        "name": run.name,
        "state": state,
        "preset": title if isinstance(title, str) else "",
        "stage": stage,
        "step": step,
        "total": total,
        "path": str(run.path.resolve()),
        "best": {"step": folded.best[0], "accuracy": folded.best[1]} if folded.best else None,
        "problem": damage or problem,
        "damaged": damage is not None,
    }
