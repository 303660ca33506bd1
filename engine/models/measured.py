"""The faster number format for the training steps of a network, measured once and kept.

A GPU that has bfloat16 is not always faster by it: the number of kernels bounds the speed of small steps, and autocast
adds some. So where a preset says ``auto``, a GPU is asked. An answer by the clock could differ between two runs, so the
first one is kept beside the runs (docs/formats.md), and all that share the folder have it, such as the cells of a grid.

A CPU is not asked: the answer would depend on what else the machine does, and the bytes of a run on it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from engine.errors import StorageError
from engine.files import is_number, read_json, write_json_once
from engine.models.precision import FORMATS, autocast, choose_precision, seeded
from engine.models.registry import video_model

WARM_UP, ROUNDS = 3, 8
"""Steps in each format, in turn, that are not timed, and those that are."""

Seconds = Callable[[Callable[[], None]], float]
"""A function that carries out what it is given, and returns the seconds that this took."""


@dataclasses.dataclass(frozen=True)
class Steps:
    """Training steps whose time is in question."""

    model: str
    classes: int
    frames: int
    size: int
    """The height and width of clips, in pixels."""
    batch: int
    """The clips of a step."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A number format, and where it was measured the median seconds of a step in each, by name."""

    precision: torch.dtype
    seconds: Mapping[str, float] | None = None

    def record(self) -> dict[str, Any]:
        """Return ``precision`` and ``precision_seconds`` as meta.json has them."""
        name = next(name for name, precision in FORMATS.items() if precision == self.precision)
        return {"precision": name, "precision_seconds": None if self.seconds is None else dict(self.seconds)}

    @classmethod
    def of_record(cls, document: Mapping[str, Any]) -> Self | None:
        """Return what ``document`` records, or None if it has no precision; what are no times is left out."""
        precision, seconds = document.get("precision"), document.get("precision_seconds")
        if not isinstance(precision, str) or precision not in FORMATS:
            return None
        timed = isinstance(seconds, dict) and seconds.keys() == FORMATS.keys() and all(map(is_number, seconds.values()))
        return cls(FORMATS[precision], seconds if timed else None)


def precision_for(name: str, device: torch.device, steps: Steps, folder: Path | None) -> Chosen:
    """Return the number format of network passes where a preset says ``name``; ``auto`` on a GPU is the faster one.

    What was measured is kept in ``folder``, and read from there; None: it is not.
    """
    precision = choose_precision(name, device)
    if name != "auto" or device.type != "cuda" or precision == torch.float32:
        return Chosen(precision)
    if folder is None:
        return measured(steps, device)
    made_for = {**dataclasses.asdict(steps), "device": torch.cuda.get_device_name(device), "torch": torch.__version__}
    return kept(folder, made_for, lambda: measured(steps, device))


def measured(steps: Steps, device: torch.device, seconds: Seconds | None = None) -> Chosen:
    """Time training steps in float32 (with TF32, where torch allows it) and in bfloat16, and choose.

    bfloat16 is chosen if three quarters of its steps are faster than three quarters of those in float32: in doubt it
    is float32. The state of torch's generators stays.
    """
    with seeded(0, device):
        network = video_model(steps.model, steps.classes, steps.frames, steps.size, 0, device).train()
        clips = torch.randn(steps.batch, 3, steps.frames, steps.size, steps.size, device=device)
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
        labels = torch.arange(steps.batch, device=device) % steps.classes
        timed = seconds or _clock(device)

        def step(precision: torch.dtype) -> None:
            network.zero_grad()
            with autocast(device, precision):
                logits = network(clips)
            nn.functional.cross_entropy(logits.float(), labels).backward()

        times: dict[str, list[float]] = {name: [] for name in FORMATS}
        for number in range(WARM_UP + ROUNDS):
            for name, precision in FORMATS.items():
                took = timed(lambda precision=precision: step(precision))  # type: ignore[misc]
                if number >= WARM_UP:
                    times[name].append(took)
    quarters = {name: statistics.quantiles(took) for name, took in times.items()}
    chosen = "bfloat16" if quarters["bfloat16"][2] < quarters["float32"][0] else "float32"
    return Chosen(FORMATS[chosen], {name: statistics.median(took) for name, took in times.items()})


def _clock(device: torch.device) -> Seconds:
    def seconds(call: Callable[[], None]) -> float:
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        call()
        torch.cuda.synchronize(device)
        return time.perf_counter() - began

    return seconds


def kept(folder: Path, made_for: Mapping[str, str | int], measure: Callable[[], Chosen]) -> Chosen:
    """Return the answer for ``made_for`` that is in ``folder``; if there is none, that of ``measure``, which is kept.

    Of several processes that measure at once the first to finish decides for all.
    """
    digest = hashlib.sha256(json.dumps(made_for, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{digest}.json"
    known = _read(path, made_for)
    if known is not None:
        return known
    own = measure()
    with contextlib.suppress(StorageError, OSError):  # where nothing can be kept, every process measures
        write_json_once(path, {"steps": made_for, **own.record()})
    return _read(path, made_for) or own


def _read(path: Path, made_for: Mapping[str, str | int]) -> Chosen | None:
    """Return the answer in ``path``, or None if there is none, or one to another question."""
    document = read_json(path) or {}
    found = Chosen.of_record(document) if document.get("steps") == made_for else None
    return None if found is None or found.seconds is None else found
