"""Weights & Biases: files in ``wandb/`` of the run, without a network unless WANDB_MODE says otherwise.

``wandb sync RUN/wandb/offline-*`` uploads them; those of a resumed run have the same id, and become one run there.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence

import wandb

from engine.runs.directory import RunDirectory
from engine.trackers.base import Point, Tracker
from engine.trackers.identity import identity

PROJECT = "vdtui"


class WeightsAndBiases(Tracker):
    """A run of W&B in the project ``$WANDB_PROJECT``, else ``vdtui``."""

    def __init__(self, run: RunDirectory, settings: Mapping[str, str]) -> None:
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=identity(run, "wandb", lambda: secrets.token_hex(8)),
            name=run.name,
            dir=run.path,
            mode=None if "WANDB_MODE" in os.environ else "offline",
            resume="allow",
            config=dict(settings),
            # Nothing of the machine or of the program is recorded, and its output stays its own.
            settings=wandb.Settings(
                console="off", disable_code=True, disable_git=True, silent=True, x_disable_stats=True
            ),
        )

    def begin_stage(self, stage: str, step: int) -> None:
        """Let curves of ``stage`` have its steps below them."""
        self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")

    def log(self, points: Sequence[Point]) -> None:
        """Record ``points``, those of one step together."""
        rows: dict[tuple[str, int], dict[str, float]] = {}
        for point in points:
            row = rows.setdefault((point.stage, point.step), {f"{point.stage}/step": point.step})
            row[f"{point.stage}/{point.name}"] = point.value
        for row in rows.values():
            self._run.log(row)

    def close(self, state: str) -> None:
        """End the run, as failed if it has."""
        self._run.finish(exit_code=int(state == "failed"))
