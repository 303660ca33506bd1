"""Runs of a damaged disk, or with files of another program: what a user loses here is the list of all the others."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.config import load_preset, to_toml
from engine.errors import VdtuiError
from engine.files import parse_record, read_json
from engine.runs import EventTail, RunDirectory, Status, create_run, fold
from tests.vdtui.test_cli import typed
from vdtui.cli.compare import compare
from vdtui.cli.runs import runs
from vdtui.cli.show import show
from vdtui.tui.watch import RunsWatcher, RunWatcher

RESULT = {
    "what": "pixels",
    "ipc": 1,
    "bytes": 100,
    "stored_values": 25,
    "protocol": "strict",
    "protocol_version": 1,
    "model": "convnet3d",
    "selected_on": "val",
    "seconds": 3.0,
    "step": 4,
    "top1": {"mean": 0.5, "std": 0.1, "values": [0.4, 0.6], "seeds": [0, 1]},
}
EVENTS: list[dict[str, Any]] = [
    {"schema": "vdtui.events", "version": 1},
    {
        "event": "run_started",
        "name": "r",
        "seed": 3,
        "device": "cpu",
        "stages": ["prepare", "dynamic"],
        "resumed": False,
    },
    {"event": "stage_started", "stage": "dynamic", "step": 0, "total": 4},
    {"event": "step", "stage": "dynamic", "step": 1, "total": 4, "loss": 2.5, "rate": 1.0, "figures": {"grad": 1.0}},
    {"event": "progress", "stage": "dynamic", "step": 2, "total": 4, "rate": 1.0, "what": "networks", "eta": 3.0},
    {"event": "network_trained", "what": "s", "step": 2, "split": "val", "seed": 0, "accuracy": 0.4, "seconds": 1.0},
    {
        "event": "evaluated",
        "what": "synthetic",
        "step": 2,
        "split": "val",
        "mean": 0.5,
        "std": 0.1,
        "values": [0.4, 0.6],
    },
    {"event": "best_changed", "step": 2, "accuracy": 0.5},
    {"event": "note", "level": "info", "text": "word"},
    {"event": "stage_finished", "stage": "dynamic", "seconds": 9.0},
    {"event": "result_ready", "result": RESULT},
    {"event": "run_completed", "seconds": 12.0},
]
EVENTS = [record if "schema" in record else {"time": 1.7e9 + number, **record} for number, record in enumerate(EVENTS)]
HOSTILE = [
    "1" + "0" * 400,
    "1e308",
    "-1e308",
    "1e300",
    "1e999",
    "NaN",
    "Infinity",
    '"\\ud800"',
    "null",
    '"x"',
    "[]",
    "-1",
]
HOSTILE += [
    "[" * 5000 + "]" * 5000,
    "[" * 100 + "]" * 100,
    '{"a":' * 90 + "1" + "}" * 90,
    "true",
    '"\\u001b]0;x\\u0007"',
]


def make(folder: Path, name: str) -> RunDirectory:
    run = create_run(
        folder, name, name, to_toml(load_preset("demo")), {"tool": "vdtui 0.1.0", "seed": 3, "dataset": "d"}
    )
    run.events_file.write_text("".join(json.dumps(record) + "\n" for record in EVENTS))
    run.evaluations.mkdir()
    (run.evaluations / "evaluated-1.json").write_text(json.dumps({**RESULT, "what": "random"}))
    Status(state="completed", stage="dynamic", step=4, total=4, heartbeat=1.7e9).save(run.status_file)
    return run


def places(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value stands in ``document``."""
    if at:
        yield at
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document if isinstance(document, list) else ())
    )
    for key, value in inner:
        yield from places(value, (*at, key))


def put(document: Any, place: tuple[Any, ...], text: str) -> str:
    """``document`` as JSON, with ``text`` for the value at ``place``."""
    copy = json.loads(json.dumps(document))
    target = copy
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = "<here>"
    return json.dumps(copy).replace('"<here>"', text)


def printed(command: Callable[..., None], *words: Any, **options: Any) -> tuple[str, str]:
    """What the function of a command prints on stdout and stderr; a refusal is a part of it."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            command(*words, **options)
        except VdtuiError as error:
            assert command is not runs, error
    out.getvalue().encode()
    return out.getvalue(), err.getvalue()


def shown_everywhere(folder: Path) -> None:
    """All that lists or shows runs ends in good order, and has the sound run in it."""
    for as_json in (True, False):
        listed = printed(runs, folder / "runs", as_json)
        assert "good" in listed[0] and "bad" in listed[0]
        single = printed(show, "bad", folder / "runs", as_json)
        compared = printed(compare, ["bad", "good"], runs_dir=folder / "runs", json=as_json)
        for out, err in (listed, single, compared):
            assert "\x1b" not in out + err
            assert not as_json or not out or json.loads(out)
    assert {row.name for row in (RunsWatcher(folder / "runs").poll() or pytest.fail("nothing")).rows} == {"good", "bad"}
    assert RunWatcher(RunDirectory(folder / "runs" / "bad")).poll() is not None


SMALL = settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])  # each is small already


@SMALL
@given(data=st.data())
def test_whatever_stands_in_an_event_the_runs_are_shown(data: st.DataObject, tmp_path_factory: Any) -> None:
    """One record with a number, a text or a depth that nothing can show."""
    folder = tmp_path_factory.mktemp("runs")
    make(folder / "runs", "good")
    bad = make(folder / "runs", "bad")
    number = data.draw(st.integers(1, len(EVENTS) - 1))
    place = data.draw(st.sampled_from(list(places(EVENTS[number]))))
    lines = bad.events_file.read_text().splitlines()
    lines[number] = put(EVENTS[number], place, data.draw(st.sampled_from(HOSTILE)))
    bad.events_file.write_text("\n".join(lines) + "\n")
    shown_everywhere(folder)


@SMALL
@given(data=st.data())
def test_whatever_stands_in_a_small_file_the_runs_are_shown(data: st.DataObject, tmp_path_factory: Any) -> None:
    """status.json, meta.json, control.json or a result that `vdtui evaluate` left."""
    folder = tmp_path_factory.mktemp("runs")
    make(folder / "runs", "good")
    bad = make(folder / "runs", "bad")
    files = [bad.status_file, bad.meta_file, bad.control_file, bad.evaluations / "evaluated-1.json"]
    path = data.draw(st.sampled_from(files))
    document = json.loads(path.read_text())
    place = data.draw(st.sampled_from(list(places(document))))
    path.write_text(put(document, place, data.draw(st.sampled_from(HOSTILE))))
    shown_everywhere(folder)


@pytest.mark.parametrize("name", ["status.json", "meta.json", "events.jsonl", "preset.toml", "control.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "deep", "empty", "rubbish", "hexadecimal"])
def test_a_file_that_is_none_is_damage_and_no_end(tmp_path: Path, name: str, kind: str) -> None:
    """A named pipe in a run's folder made every list wait for ever."""
    make(tmp_path / "runs", "good")
    path = make(tmp_path / "runs", "bad").path / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        text = {"deep": "a = " + "[" * 9000, "empty": "", "rubbish": "\0\ud800\x1b]0;x\x07", "hexadecimal": ""}[kind]
        path.write_bytes(
            (text or ("title = 0x" + "f" * 9000 if kind == "hexadecimal" else "")).encode(errors="surrogatepass")
        )
    shown_everywhere(tmp_path)


@pytest.mark.parametrize(
    "value", ["1" + "0" * 400, "1e300", '"\\ud800"', "[" * 5000 + "]" * 5000], ids=lambda text: text[:8]
)
@pytest.mark.parametrize("name", ["status.json", "meta.json", "events.jsonl"])
def test_a_damaged_run_says_so(tmp_path: Path, name: str, value: str) -> None:
    """Numbers that are not all there are no reason to be silent about it."""
    if name == "meta.json" and value == "1e300":
        return  # a number that nothing computes with
    make(tmp_path / "runs", "good")
    bad = make(tmp_path / "runs", "bad")
    if name == "events.jsonl":
        with open(bad.events_file, "a") as file:
            file.write('{"event":"note","level":"info","text":"t","time":' + value + "}\n")
    else:
        document = json.loads((bad.path / name).read_text())
        (bad.path / name).write_text(put(document, ("heartbeat" if name == "status.json" else "seed",), value))
    listed = {one["name"]: one for one in json.loads(typed(tmp_path, "runs", "--json").stdout)}
    assert listed["bad"]["damaged"] and name in listed["bad"]["problem"] and not listed["good"]["damaged"]
    told = typed(tmp_path, "runs")
    assert "damaged" in told.stdout and name in told.stderr
    assert name in typed(tmp_path, "show", "bad").stderr


# --- the one place that reads -----------------------------------------------------------------------------------------


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(-1e99, 1e99) | st.integers(-(10**24), 10**24) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    )
)
def test_what_can_be_shown_is_read_as_json_reads_it(value: Any) -> None:
    """Care must not change a value."""
    text = json.dumps({"value": value})
    assert parse_record(text.encode()) == json.loads(text)


def test_a_number_that_cannot_be_shown_is_null_in_a_log_and_damage_in_a_file(tmp_path: Path) -> None:
    """As what is not finite is written; the rest of a step is still worth its place in a curve."""
    for text in ("1" + "0" * 400, "1e308", "1E+100", "-1e300", "1e999", "NaN", "-Infinity", "1" + "0" * 5000):
        line = '{"event":"step","hash":"1e400","loss":' + text + "}"
        assert parse_record(line.encode()) == {"event": "step", "loss": None, "hash": "1e400"}, text[:9]
        (tmp_path / "a.json").write_text(line)
        beyond = text not in ("1e308", "1E+100", "-1e300")
        assert (read_json(tmp_path / "a.json") is None) == beyond, text[:9]
    (tmp_path / "a.json").write_text('{"hash": "1e400 \\\\ud800 NaN", "n": 1e99, "pair": "\\ud83d\\ude00"}')
    assert read_json(tmp_path / "a.json") == {"hash": "1e400 \\ud800 NaN", "n": 1e99, "pair": "\U0001f600"}


def test_lines_that_were_left_out_are_counted_once(tmp_path: Path) -> None:
    """A count that grows by looking would make a sound run look worse each second."""
    run = make(tmp_path, "r")
    with open(run.events_file, "a") as file:
        file.write('rubbish\n{"event":"note","time":1e300,"level":"info","text":"t"}\n{"event":"newer","time":1}\n{"to')
    assert run.folded().damaged == 2
    tail = EventTail(run.events_file)
    state = fold(tail.read())
    assert (tail.damaged, state.damaged, tail.read(), tail.damaged) == (1, 1, [], 1)
