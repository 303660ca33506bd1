"""Networks of several seeds on one GPU, trained at once: a step of each in turn, each in a stream of its own.

The kernels of one small network do not fill a GPU. Those of several streams run side by side as long as there is room,
provided that the host starts them sooner than they end; so steps are records (``engine.models.repeated``), each of
which is started as one. What a network is does not depend on the others: it has the same kernels and the same chance as
alone.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import torch

from engine.evaluation.requests import Queue, Wanted
from engine.evaluation.trials import Trial, trying
from engine.models.repeated import Recorder


def in_turn(queue: Queue, at_once: int, device: torch.device, record: Recorder) -> Iterator[Trial]:
    """Yield the trials of ``queue`` in its order, of which ``at_once`` are under way at a time."""
    streams = [torch.cuda.Stream(device) if device.type == "cuda" else None for _ in range(at_once)]
    running: list[_Turn] = []
    while True:
        while len(running) < at_once and (wanted := queue.next()) is not None:
            running.append(_Turn(wanted, streams.pop(), record))
        yield from queue.answers()
        if not running:
            return
        for turn in list(running):
            trial = turn.step()
            if trial is None:
                queue.progress(turn.place, turn.part)
            else:
                queue.finish(turn.place, trial)
                running.remove(turn)
                streams.append(turn.stream)
        queue.report()


class _Turn:
    """One network under way. Its seconds are those of its own steps, as the host sees them."""

    def __init__(self, wanted: Wanted, stream: torch.cuda.Stream | None, record: Recorder) -> None:
        request = wanted.request
        self.place, self.stream, self.part = wanted.place, stream, 0.0
        self._work = trying(wanted.data, request.real, request.recipe, request.seed, wanted.teacher, record)
        self._seconds = 0.0
        if stream is not None:
            stream.wait_stream(torch.cuda.current_stream(stream.device))  # its clips were made there

    def step(self) -> Trial | None:
        """Take one step; return the trial if that was the last one."""
        began = time.monotonic()
        with torch.cuda.stream(self.stream):
            try:
                self.part = next(self._work)
            except StopIteration as end:
                seconds = self._seconds + time.monotonic() - began
                trial: Trial = dataclasses.replace(end.value, seconds=round(seconds, 3))
                return trial
        self._seconds += time.monotonic() - began
        return None
