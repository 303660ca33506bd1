"""The event log: what a user loses here is a part of a run's history, or the live view of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import RunError
from engine.events import Continued, Event, Note, Paused, Step
from engine.runs.log import EventLog, EventTail, cut_torn_line
from tests.tiny import PYTHON, ROOT

HEADER = b'{"schema":"vdtui.events","version":1}\n'


def texts(records: list[dict[str, Any]]) -> list[str]:
    return [record["text"] for record in records]


def write(path: Path, *events: Event) -> None:
    log = EventLog(path)
    for event in events:
        log.append(event)
    log.close()


def note(text: str) -> Note:
    return Note("info", text)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """In order, with all fields; newlines and other scripts inside a text stay inside it."""
    path = tmp_path / "events.jsonl"
    write(path, note("one\ntwo \u2028 漢字"), Paused(), Step("static", 1, 2, float("nan"), 0.5, {"grad": 1.0}))
    first, second, third = EventTail(path).read()
    assert (first["event"], first["text"]) == ("note", "one\ntwo \u2028 漢字")
    assert second["event"] == "paused" and second["time"] >= first["time"]
    assert third["loss"] is None and third["figures"] == {"grad": 1.0}
    assert path.read_bytes().startswith(HEADER)
    assert all(json.loads(line) is not None for line in path.read_bytes().splitlines())


def test_an_event_is_on_its_way_at_once(tmp_path: Path) -> None:
    """A worker that is killed between two events must not take the first with it."""
    log = EventLog(tmp_path / "e")
    log.append(note("now"))
    assert texts(EventTail(tmp_path / "e").read()) == ["now"]
    log.sync()
    log.close()


def test_the_header_is_written_once(tmp_path: Path) -> None:
    """Each resume opens the log anew."""
    write(tmp_path / "e", note("one"))
    write(tmp_path / "e", note("two"))
    assert (tmp_path / "e").read_bytes().count(b"schema") == 1
    assert texts(EventTail(tmp_path / "e").read()) == ["one", "two"]


@pytest.mark.parametrize("length", [1, 30, 65_536, 70_000, 200_000])
def test_a_torn_line_is_ignored_and_then_cut(tmp_path: Path, length: int) -> None:
    """kill -9 in a write: nothing complete is lost, and the torn line never merges with what comes after it."""
    path = tmp_path / "e"
    write(path, note("one"))
    complete = path.read_bytes()
    path.write_bytes(complete + (b'{"event":"note","time":1,"level":"info","text":"' + b"x" * length)[:length])
    tail = EventTail(path)
    assert texts(tail.read()) == ["one"] and tail.read() == []
    write(path, note("two"))
    assert path.read_bytes().startswith(complete)
    assert texts(EventTail(path).read()) == ["one", "two"]


def test_a_log_of_one_torn_line_begins_anew(tmp_path: Path) -> None:
    """Killed in the very first write: the next worker's log has its header."""
    (tmp_path / "e").write_bytes(HEADER[:9])
    write(tmp_path / "e", note("one"))
    assert (tmp_path / "e").read_bytes().startswith(HEADER)
    assert texts(EventTail(tmp_path / "e").read()) == ["one"]


def test_cutting_what_is_not_there(tmp_path: Path) -> None:
    """A run's first worker finds no log."""
    cut_torn_line(tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_a_reader_that_saw_a_torn_line_sees_the_next_worker_whole(tmp_path: Path) -> None:
    """A dashboard that stays open over a crash and a resume must not lose the resumed run's first events."""
    path = tmp_path / "e"
    write(path, note("one"))
    with open(path, "ab") as file:
        file.write(b'{"event":"checkpoint_saved","ti')
    tail = EventTail(path)
    seen = texts(tail.read())
    write(path, note("two, and longer than what was torn"), note("three"))
    records = tail.read()
    seen = texts(records) if tail.restarted else seen + texts(records)
    assert seen == ["one", "two, and longer than what was torn", "three"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from engine.errors import StorageError
from engine.events import Note
from engine.runs.log import EventLog, EventTail
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
log = EventLog(path)
log.append(Note("info", "before"))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
try:
    log.append(Note("info", "does not fit"))
except StorageError:
    print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.append(Note("info", "after"))
print(*[record["text"] for record in EventTail(path).read()])
"""


def test_a_line_torn_by_a_full_disk_does_not_swallow_the_next(tmp_path: Path) -> None:
    """The disk fills in the middle of a line and is freed: the event after it (why the run failed) must be read."""
    command = [PYTHON, "-c", FULL_DISK, str(tmp_path / "e")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["refused", "before after"], done.stderr


@given(
    st.lists(st.text(max_size=20), max_size=6),
    st.lists(st.integers(0, 600), max_size=8),
    st.integers(1, 50),
    st.sampled_from([b"", b"{", b'{"event":"note","text":"\xe6\xbc']),
)
def test_any_split_into_reads_gives_the_same_records(
    tmp_path_factory: pytest.TempPathFactory, notes: list[str], cuts: list[int], limit: int, torn: bytes
) -> None:
    """A reader may come at any moment, also in the middle of a character."""
    path = tmp_path_factory.getbasetemp() / "split.jsonl"
    path.unlink(missing_ok=True)
    write(path, *map(note, notes))
    whole = path.read_bytes() + torn
    tail, seen = EventTail(path), []
    path.write_bytes(b"")
    for cut in [*sorted(cuts), len(whole)]:
        path.write_bytes(whole[:cut])
        seen += tail.read(limit)
        assert not tail.restarted
    for _ in range(len(whole)):
        seen += tail.read(limit)
    assert texts(seen) == notes
    assert texts(EventTail(path).read(limit=-1)) == notes


def test_the_limit_bounds_a_read(tmp_path: Path) -> None:
    """Opening a run of a million events must not freeze the dashboard: it reads a part at a time."""
    path = tmp_path / "e"
    write(path, *[note(str(number)) for number in range(100)])
    tail, parts = EventTail(path), []
    while part := tail.read(limit=1000):
        assert len(part) < 30
        parts += texts(part)
    assert parts == [str(number) for number in range(100)]


def test_a_replaced_log_is_read_from_its_start(tmp_path: Path) -> None:
    """A run that was removed and begun anew under the same name: no mixture of both."""
    path = tmp_path / "e"
    write(path, note("old one"), note("old two"))
    tail = EventTail(path)
    tail.read()
    path.unlink()
    assert tail.read() == [] and not tail.restarted
    write(path, note("new"))
    assert texts(tail.read()) == ["new"] and tail.restarted
    assert tail.read() == [] and not tail.restarted


@pytest.mark.parametrize(
    "header", [{"schema": "vdtui.events", "version": 2}, {"schema": "other", "version": 1}, {"schema": None}]
)
def test_another_format_is_refused(tmp_path: Path, header: dict[str, Any]) -> None:
    """Half understood would be shown as if it were whole."""
    (tmp_path / "e").write_text(json.dumps(header) + "\n")
    with pytest.raises(RunError, match="format") as caught:
        EventTail(tmp_path / "e").read()
    assert "update" in caught.value.hint


RUBBISH = [b"", b"\x00\xff", b"{", b"[1]", b"3", b"null", b'"event"', b"NaN", b"9" * 5000, b"[" * 100_000]


@pytest.mark.parametrize("rubbish", RUBBISH, ids=lambda rubbish: repr(rubbish[:6]))
def test_rubbish_lines_are_passed_over(tmp_path: Path, rubbish: bytes) -> None:
    """One bad block of a disk must not hide all that came after it."""
    path = tmp_path / "e"
    write(path, note("one"))
    with open(path, "ab") as file:
        file.write(rubbish + b"\n")
    write(path, note("two"), Continued())
    assert texts(EventTail(path).read()[:2]) == ["one", "two"]


def test_no_log_yet(tmp_path: Path) -> None:
    """A queued run has none; the dashboard opens it all the same."""
    assert EventTail(tmp_path / "gone").read() == []
