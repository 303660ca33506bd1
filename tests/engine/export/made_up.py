"""A small set with known colours, and made-up runs that are written with the engine's own classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from engine.config import load_preset, to_toml
from engine.config.revisions import revisions
from engine.events import BestChanged, Evaluated, Event, ResultReady, RunFailed, RunStarted, StageStarted, Step
from engine.models.hallucinator import Hallucinator
from engine.runs import EventLog, RunDirectory, create_run
from engine.runs.status import Status
from engine.synthetic import ClipSpec, LoadedSet, Provenance, StaticDynamic, save_synthetic

SCRIPT = "<script>alert(1)</script>"
COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200))


def make_set(classes: Sequence[str], size: int = 16, frames: int = 4) -> StaticDynamic:
    """Static memory of class c is one plain colour; its dynamic memory makes every frame brighter than the last."""
    spec = ClipSpec(tuple(classes), frames, size, size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    colours = torch.tensor([COLOURS[label % 3] for label in range(len(classes))]) / 255
    static = ((colours - 0.5) / 0.25).view(-1, 1, 3, 1, 1).repeat(1, 2, 1, size, size)
    rising = torch.arange(frames) * (20 / 255 / 0.25)
    dynamic = rising.view(1, 1, -1, 1, 1, 1).repeat(len(classes), 2, 1, 1, size, size)
    return StaticDynamic(spec, 1, static, dynamic, Hallucinator.identity(spec.std))


def noisy_set(classes: Sequence[str]) -> LoadedSet:
    """Such a set with seeded noise in its stills, as if it had been loaded."""
    synthetic = make_set(classes)
    synthetic.static += torch.rand(synthetic.static.shape, generator=torch.Generator().manual_seed(0))
    return LoadedSet(synthetic, Provenance("demo", 3, 20, "strict", "val", 0.5), "float32")


def result(what: str, values: Sequence[float], classes: int, **changes: Any) -> dict[str, Any]:
    """A result object as docs/formats.md has it."""
    mean = sum(values) / len(values)
    std = (sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)) ** 0.5
    top = {"mean": mean, "std": std, "values": list(values), "seeds": list(range(len(values)))}
    return {
        "what": what,
        "ipc": 1,
        "bytes": 4000,
        "stored_values": 1000,
        "precision": "float32",
        "protocol": "strict",
        "protocol_version": 1,
        "selected_on": "val",
        "model": "convnet3d",
        "top1": top,
        "top5": top,
        "per_class": [mean] * classes,
        "confusion": [[3 if row == column else 1 for column in range(classes)] for row in range(classes)],
        "seconds": 1.5,
        "data_fingerprint": "abc",
        "step": 20,
    } | changes


class MadeUpRuns:
    """Run directories in ``folder``, written as a worker writes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(
        self, name: str, state: str, events: Sequence[Event], synthetic: StaticDynamic | None, **changes: Any
    ) -> RunDirectory:
        """A run in ``state`` with a log of ``events``, ``synthetic`` as its best set, and ``changes`` of its preset."""
        meta: dict[str, Any] = {
            "seed": 7,
            "device": "cpu",
            "command": ["vdtui", "distill"],
            "versions": {"torch": SCRIPT},
        }
        preset = load_preset(_no_preset(self._folder), {"title": SCRIPT, **changes})
        meta["revisions"] = revisions(preset)
        run = create_run(self._folder, name, "run", to_toml(preset), meta)
        log = EventLog(run.events_file)
        for event in events:
            log.append(event)
        log.close()
        Status(state=state).save(run.status_file)
        if synthetic is not None:
            save_synthetic(run.best, synthetic, Provenance("p", 7, 20, "strict", "val", 0.5))
        return run

    def completed(self, name: str = "done", classes: Sequence[str] = ("red", "green", SCRIPT)) -> RunDirectory:
        """A run with curves, a set and a final table of three rows."""
        results = [
            result("static-dynamic", (0.50, 0.52, 0.54), len(classes)),
            result("random", (0.40, 0.41, 0.42), len(classes), precision="uint8", step=None, selected_on="none"),
            result("static-only", (0.15, 0.15, 0.15), len(classes)),
        ]
        return self.make(name, "completed", [*begun(), *map(ResultReady, results)], make_set(classes))


def begun() -> list[Event]:
    """A run up to step 20 of its second stage."""
    steps: list[Event] = [Step("static", step, 20, 10.0 / step, 1.0, {}) for step in range(1, 21)]
    steps += [StageStarted("dynamic", 0, 40)]
    steps += [Step("dynamic", step, 40, 5.0 / step, 1.0, {}) for step in range(1, 21)]
    chosen = [
        Evaluated("synthetic", 0, "val", 0.2, 0.05, (0.15, 0.25), 1.0),
        Evaluated("synthetic", 20, "val", 0.5, 0.05, (0.45, 0.55), 1.0),
        BestChanged(20, 0.5),
    ]
    return [RunStarted("done", 7, "cpu", ("static", "dynamic", "evaluate"), False), *steps, *chosen]


FAILED = RunFailed(f"The loss of {SCRIPT} is not finite.", "Use a smaller dynamic.lr_dynamic.")


def _no_preset(folder: Path) -> Path:
    path = folder / "empty.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('description = "nothing set"\n', encoding="utf-8")
    return path
