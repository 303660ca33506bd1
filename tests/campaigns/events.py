"""Event logs: whatever is in them, and however it arrives, they are folded to one state, and nothing is raised.

Logs are written in pieces by workers that are killed within a line; readers come at any moment. Records are true ones,
some with fields that are missing, of other types or beyond all bounds, between lines that are no records at all.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.events import SCHEMA, SCHEMA_VERSION, STAGES
from engine.runs import EventTail, RunState, fold
from engine.runs.log import cut_torn_line
from engine.runs.standing import Standing
from tests.campaigns.folders import home

PER_ATTEMPT = 2000
STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**30, 1e300, -1e300, "", "x", "nan", "\u202e\x1b]0;t\x07", "a" * 300),
    *([], {}, [[]], {"a": {"b": []}}, [None], [1e99], {"": None}, "\u2028", 2**53, -0.0),
)
LINES = (b"\n", b"{\n", b"null\n", b"[]\n", b'"x"\n', b"\xff\xfe\n", b'{"event": "step"}\n', b'{"time": 1e999}\n')
LINES += (b'{"a": ' * 90 + b"1" + b"}" * 90 + b"\n", b'{"event":"note","text":"\\ud800","time":1}\n')
LINES += (b"1" * 5000 + b"\n",)
"""Lines that are no records, or none that can be shown."""


class Events:
    """The campaign; an attempt is one log of ``PER_ATTEMPT`` events."""

    name = "events"

    def __init__(self) -> None:
        self._home = home("events")

    def close(self) -> None:
        """Remove the folder."""
        self._home.cleanup()

    def attempt(self, seed: int) -> int:
        """Return the number of events of the log ``seed``; raises AssertionError if readers do not agree about it."""
        rng = random.Random(f"events {seed}")
        log = Path(self._home.name) / "events.jsonl"
        log.write_bytes(json.dumps({"schema": SCHEMA, "version": SCHEMA_VERSION}).encode() + b"\n")
        tail, live, standing, told = EventTail(log), RunState(), Standing(), 0
        while told < PER_ATTEMPT:
            told += _append(log, rng, min(rng.randint(1, 400), PER_ATTEMPT - told))
            for record in tail.read(limit=rng.choice((200, 5000, 1 << 20))):
                live.add(record)
                standing.add(record)
            cut_torn_line(log)  # the next worker comes
        while records := tail.read():
            for record in records:
                live.add(record)
                standing.add(record)
        whole = EventTail(log)
        replayed = fold(whole.read(limit=-1))
        log.unlink()
        assert repr(live) == repr(replayed), "a log that was followed is not as one that is read at once"
        assert live.damaged == replayed.damaged and tail.damaged == whole.damaged
        _ask(live, standing)
        return told


def _ask(state: RunState, standing: Standing) -> None:
    """Use all that screens and tables use."""
    json.dumps(standing.fields, allow_nan=False)
    assert state.best_accuracy is None or isinstance(state.best_accuracy, float)
    for stage in state.stages.values():
        assert stage.eta is None or isinstance(stage.eta, (int, float))
    assert all(isinstance(one.step, int) for one in state.accuracy_curve())
    assert all(isinstance(line.text, str) for line in state.log)


def _append(log: Path, rng: random.Random, count: int) -> int:
    content = b""
    for _ in range(count):
        if rng.random() < 0.03:
            content += rng.choice(LINES)
        record = _spoiled(_record(rng), rng) if rng.random() < 0.15 else _record(rng)
        content += json.dumps(record, ensure_ascii=rng.random() < 0.3).encode("utf-8", "surrogatepass") + b"\n"
    if rng.random() < 0.5:
        content += json.dumps(_record(rng)).encode()[: rng.randint(1, 40)]  # a kill within a line
    with log.open("ab") as file:
        file.write(content)
    return count


def _record(rng: random.Random) -> dict[str, Any]:
    kind = rng.choice([*RECORDS])
    return {"event": kind, "time": 1.7e9 + rng.random() * 1e6, **RECORDS[kind](rng)}


def _stage(rng: random.Random) -> dict[str, Any]:
    return {"stage": rng.choice(STAGES), "step": rng.randint(0, 50), "total": rng.randint(0, 50)}


def _accuracies(rng: random.Random) -> dict[str, Any]:
    values = [rng.random() for _ in range(rng.randint(1, 4))]
    mean = sum(values) / len(values)
    return {"mean": mean, "std": rng.choice((None, rng.random())), "values": values}


RECORDS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "run_started": lambda rng: {
        "name": "r",
        "seed": rng.randint(0, 9),
        "device": "cpu",
        "resumed": rng.random() < 0.5,
        "stages": rng.sample(STAGES, 3),
    },
    "stage_started": _stage,
    "stage_finished": lambda rng: {"stage": rng.choice(STAGES), "seconds": rng.random()},
    "progress": lambda rng: {**_stage(rng), "rate": rng.random(), "what": "w", "eta": rng.choice((None, 3.0))},
    "step": lambda rng: {
        **_stage(rng),
        "loss": rng.choice((None, rng.gauss(0, 1e3))),
        "rate": rng.random(),
        "figures": {name: rng.choice((None, rng.random())) for name in rng.sample(("a", "b", "device_load"), 2)},
    },
    "network_trained": lambda rng: {
        "what": "s",
        "step": rng.randint(0, 50),
        "split": "val",
        "seed": 1,
        "accuracy": rng.random(),
        "seconds": rng.random(),
    },
    "evaluated": lambda rng: {
        "what": rng.choice(("synthetic", "now", "random")),
        "step": rng.randint(0, 50),
        "split": "val",
        **_accuracies(rng),
    },
    "rung_tried": lambda rng: {"rung": "h264-28@32", "ipc": 2, "bytes": 100, **_accuracies(rng)},
    "budget_spent": lambda rng: {
        "budget": 9,
        "rung": "r",
        "storage": "s",
        "ipc": 1,
        "bytes": 8,
        "accuracy": rng.choice((None, 0.5)),
    },
    "best_changed": lambda rng: {"step": rng.randint(0, 50), "accuracy": rng.choice((None, rng.random()))},
    "result_ready": lambda rng: {
        "result": {"what": rng.choice(("pixels", "random")), "model": "convnet3d", "bytes": 9, "top1": _accuracies(rng)}
    },
    "checkpoint_saved": lambda rng: {"stage": rng.choice(STAGES), "step": rng.randint(0, 50)},
    "preview_saved": lambda rng: {"stage": "dynamic", "step": rng.randint(0, 50), "file": "dynamic-000001.npz"},
    "note": lambda rng: {"level": rng.choice(("info", "warning")), "text": "t\u202e"},
    "paused": lambda rng: {},
    "continued": lambda rng: {},
    "run_stopped": lambda rng: {"reason": "asked"},
    "run_failed": lambda rng: {"problem": "p", "hint": "h"},
    "run_completed": lambda rng: {"seconds": rng.random() * 1e5},
    "of_a_newer_version": lambda rng: {"x": 1},
}


def _spoiled(record: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Return ``record`` with a field that is missing, strange or too much, or with one of its lists or tables so."""
    spoiled = dict(record)
    name = rng.choice([*spoiled])
    inner = spoiled[name]
    way = rng.random()
    if way < 0.25:
        del spoiled[name]
    elif way < 0.5 and isinstance(inner, dict) and inner:
        spoiled[name] = _spoiled(inner, rng)
    elif way < 0.5 and isinstance(inner, list) and inner:
        spoiled[name] = [*inner, rng.choice(STRANGE)]
    else:
        spoiled[name] = rng.choice(STRANGE)
    return spoiled
