"""The quick way through a log must lead where folding it record by record leads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events import SCHEMA, SCHEMA_VERSION
from engine.runs import RunState, fold
from vdtui.tui import logs
from vdtui.tui.logs import LogReader, QuickState, decoded

HEAD = json.dumps({"schema": SCHEMA, "version": SCHEMA_VERSION}, separators=(",", ":")).encode() + b"\n"
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.integers(-5, 5)
FIGURES = st.dictionaries(st.sampled_from(["grad_a", "min_é", "device_memory", "x1", "x2", 'odd":"name']), NUMBERS)


def line(record: dict[str, Any]) -> bytes:
    """``record`` as the worker writes it."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


@st.composite
def steps_in_a_row(draw: st.DrawFn) -> list[bytes]:
    """Steps of one stage, most with the same figures, some with others, now and then one that is odd."""
    stage, first = draw(st.sampled_from(["static", "dynamic", 'st"é'])), draw(st.integers(0, 50))
    total = draw(st.sampled_from([100, 5000, 20001, 10**6]))
    common, seed = draw(FIGURES), draw(st.integers(0, 2**32 - 1))
    rng, lines = np.random.default_rng(seed), []
    for step in range(first, first + draw(st.integers(1, 120))):
        figures = {name: value if value is None else float(rng.normal()) for name, value in common.items()}
        if rng.random() < 0.05:
            figures |= draw(FIGURES)
        loss = None if rng.random() < 0.02 else float(rng.normal() * 10.0 ** rng.integers(-9, 9))
        record = {"event": "step", "time": 1e9 + step, "stage": stage, "step": step, "total": total, "loss": loss}
        lines.append(line(record | {"rate": 2.5, "figures": figures, "eta": None}))
    return lines


@st.composite
def others(draw: st.DrawFn) -> list[bytes]:
    """What stands between steps: going back, an evaluation, rubbish of a damaged disk."""
    stage, step = draw(st.sampled_from(["static", "dynamic"])), draw(st.integers(0, 100))
    accuracy = {"mean": 0.5, "std": 0.1, "values": [0.5], "seconds": 1.0}
    records: list[bytes] = [
        line({"event": "stage_started", "time": 5.0, "stage": stage, "step": step, "total": 5000}),
        line({"event": "progress", "time": 6.0, "stage": stage, "step": step, "total": 9, "rate": 1.0, "what": "w"}),
        line({"event": "evaluated", "time": 7.0, "what": "synthetic", "step": step, "split": "val"} | accuracy),
        line({"event": "note", "time": 8.0, "level": "info", "text": '{"event":"step","step":3,"total":4,"loss":1,'}),
        line({"event": "step", "time": 9.0, "stage": stage, "step": "many", "total": 9, "loss": 1.0, "rate": 1.0}),
        line({"event": "step", "time": 9.0, "stage": stage, "step": step, "total": 9, "loss": [1, 2], "figures": {}}),
        line(
            {"step": 1, "event": "step", "time": 9.0, "stage": stage, "total": 9, "loss": 1, "rate": 1, "figures": {}}
        ),
        b'{"event":"step","time":1.0,"stage":"sta{"event":"step","time":2.0,"stage":"static","step":7,"total":9\n',
        b"\xff\xfe\x00\n",
        b"\n",
        b"[]\n",
    ]
    return draw(st.lists(st.sampled_from(records), max_size=3))


LOGS = st.lists(steps_in_a_row() | others(), max_size=6).map(
    lambda parts: b"".join(each for part in parts for each in part)
)


def assert_same(quick: QuickState, plain: RunState) -> None:
    """Everything that a snapshot takes from a state is the same."""
    assert set(quick.long) == set(plain.losses)
    for stage, curve in plain.losses.items():
        loss = quick.long[stage].loss
        assert loss.steps.tolist() == curve.steps
        np.testing.assert_array_equal(loss.values, np.array(curve.values, np.float64))
    for name in ("stages", "stage", "accuracies", "best", "log", "started", "updated", "events"):
        assert getattr(quick, name) == getattr(plain, name), name
    assert repr(sorted(quick.figures.items())) == repr(sorted(plain.figures.items()))
    assert quick.figure_curves.keys() == plain.figure_curves.keys()
    for stage, curves in plain.figure_curves.items():
        assert {name: repr(curve) for name, curve in quick.figure_curves[stage].items()} == {
            name: repr(curve) for name, curve in curves.items()
        }


@settings(max_examples=150, deadline=None)
@given(log=LOGS, cut=st.integers(1, 60_000))
def test_blocks_fold_as_single_records_do(log: bytes, cut: int) -> None:
    """The dashboard would show another run than the report does."""
    quick, rest = QuickState(), log
    while rest:
        end = rest.find(b"\n", min(cut, len(rest) - 1)) + 1
        quick.add_block(rest[:end])
        rest = rest[end:]
    assert_same(quick, fold(decoded(log)))


def long_log(steps: int, total: int = 10_000) -> bytes:
    """The head of a log and ``steps`` steps; every seventh tells of the device."""
    lines = [HEAD, line({"event": "stage_started", "time": 1.0, "stage": "dynamic", "step": 0, "total": total})]
    for step in range(1, steps + 1):
        figures = {"grad": 1 / step} | ({"device_load": step / steps} if step % 7 == 0 else {})
        record = {"event": "step", "time": 1.0 + step, "stage": "dynamic", "step": step, "total": total}
        lines.append(line(record | {"loss": math.cos(step), "rate": 9.0, "figures": figures, "eta": 1.0}))
    return b"".join(lines)


def test_a_long_log_decodes_few_of_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To open a run of a week would take minutes."""
    path, calls = tmp_path / "events.jsonl", [0]
    path.write_bytes(long_log(9000))

    def counted(lines: bytes) -> Any:
        calls[0] += lines.count(b"\n")
        return decoded(lines)

    reader = LogReader(path)
    monkeypatch.setattr(logs, "decoded", counted)
    assert reader.read() and not reader.behind
    assert calls[0] < 9000 / 1.5  # every fifth is kept with its figures, and the device's are looked up for it
    monkeypatch.undo()
    assert_same(reader.state, fold(decoded(path.read_bytes())))


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=12), block=st.integers(1, 4000))
def test_a_log_that_grows_is_read_to_its_end(tmp_path_factory: Any, sizes: list[int], block: int) -> None:
    """A line that was only half there at one look would be lost, or taken twice."""
    path, log, place = tmp_path_factory.mktemp("log") / "events.jsonl", long_log(60), 0
    reader = LogReader(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "BLOCK", block)
        patch.setattr(logs, "CHUNK", 2 * block)
        for size in [*sizes, len(log)]:
            with open(path, "ab") as file:
                file.write(log[place : place + size])
            place += size
            assert reader.read() == (size > 0 and place - size < len(log))
            while reader.behind:
                assert reader.read()
    assert_same(reader.state, fold(decoded(log)))


def test_the_half_of_a_line_that_the_next_worker_cuts_off(tmp_path: Path) -> None:
    """After a crash the curve would miss a step, or have rubbish in it."""
    path, log = tmp_path / "events.jsonl", long_log(40)
    lines = log.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:30]) + lines[30][:-9])
    reader = LogReader(path)
    reader.read()
    short = line({"event": "note", "time": 1.0, "level": "info", "text": "resumed"})
    path.write_bytes(b"".join(lines[:30]) + short)
    reader.read()
    path.write_bytes(b"".join(lines[:30]) + short + b"".join(lines[30:]))
    reader.read()
    assert_same(reader.state, fold(decoded(path.read_bytes())))


def test_a_log_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    """The screen would show two runs in one curve."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(long_log(50))
    reader = LogReader(path)
    reader.read()
    path.write_bytes(long_log(20))
    reader.read()
    assert_same(reader.state, fold(decoded(path.read_bytes())))
    path.unlink()
    assert reader.read() and len(reader.state.long["dynamic"].loss.steps) == 20
    path.write_bytes(long_log(10).replace(b'"version":1', b'"version":99'))
    reader.read()
    assert reader.trouble is not None and not reader.state.long


def test_without_steps_only_the_rest_is_folded(tmp_path: Path) -> None:
    """A list of hundreds of runs would fill the memory with curves that nobody sees."""
    path = tmp_path / "events.jsonl"
    accuracy = {"mean": 0.5, "std": 0.1, "values": [0.5], "seconds": 1.0}
    path.write_bytes(
        long_log(50)
        + line({"event": "evaluated", "time": 7.0, "what": "synthetic", "step": 9, "split": "val"} | accuracy)
    )
    reader = LogReader(path, steps=False)
    reader.read()
    assert [one.mean for one in reader.state.accuracies] == [0.5] and not reader.state.long


def test_what_was_handed_out_stays_as_it_was(tmp_path: Path) -> None:
    """The screen would show a mixture of two moments."""
    curve = logs.LongCurve()
    curve.extend(np.arange(10), np.arange(10))
    before = curve.loss
    assert curve.loss is before
    curve.cut(20)
    assert curve.loss is before
    curve.cut(4)
    curve.extend([5, 6], [50, 60])
    assert before.steps.tolist() == before.values.tolist() == list(range(10))
    assert curve.loss.values.tolist() == [0, 1, 2, 3, 4, 50, 60]
    curve.cut(-1)
    assert len(curve.loss.steps) == 0
    curve.extend(np.arange(3000), np.arange(3000))
    assert len(curve.loss.steps) == 3000
