"""TensorBoard: event files in ``tensorboard/`` of the run, a folder for each stage.

Steps of the stages are not of one clock. In one folder, a stage that goes on from a checkpoint would void the curves of
another, and in folders of their own their curves lie one over the other. ``tensorboard --logdir RUNS`` shows all runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch.utils.tensorboard import SummaryWriter

from engine.runs.directory import RunDirectory
from engine.trackers.base import Point, Tracker

FLUSH_SECONDS = 10


class TensorBoard(Tracker):
    """Event files for TensorBoard; those of a resumed run void what an earlier worker wrote beyond its checkpoint."""

    def __init__(self, run: RunDirectory, settings: Mapping[str, str]) -> None:
        self._folder = run.path / "tensorboard"
        self._writers: dict[str, SummaryWriter] = {}
        rows = "".join(f"| {key} | {value} |\n".replace("<", "&lt;") for key, value in settings.items())
        self._preset = f"| key | value |\n|---|---|\n{rows}"

    def begin_stage(self, stage: str, step: int) -> None:
        """Open the folder of ``stage``, with its steps after ``step`` void."""
        if (before := self._writers.pop(stage, None)) is not None:
            before.close()
        writer = SummaryWriter(str(self._folder / stage), purge_step=step + 1, flush_secs=FLUSH_SECONDS)
        writer.add_text("preset", self._preset, step)
        self._writers[stage] = writer

    def log(self, points: Sequence[Point]) -> None:
        """Record ``points`` as scalars."""
        for point in points:
            if point.stage not in self._writers:
                self.begin_stage(point.stage, point.step)
            self._writers[point.stage].add_scalar(point.name, point.value, point.step, walltime=point.time)

    def close(self, state: str) -> None:
        """Write out what is left."""
        for writer in self._writers.values():
            writer.close()
