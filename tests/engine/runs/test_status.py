"""Status, control and lock: what a user loses here is the truth about whether a run is alive, or the run itself."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import RunError
from engine.files import write_json
from engine.runs import EventTail, create_run
from engine.runs.session import RunSession
from engine.runs.status import (
    ALIVE,
    ENDED,
    STATES,
    Control,
    Lock,
    Status,
    actual_state,
    current_process,
    decided_state,
    process_start,
    request,
)
from tests.tiny import PYTHON, ROOT, wait_until

NOW = 1_700_000_000.0
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")


@pytest.fixture(scope="module")
def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def here(**values: Any) -> Status:
    return dataclasses.replace(current_process("running"), **values)


def test_the_states_are_the_contract() -> None:
    """Scripts wait for these words."""
    assert set(STATES) == {"queued", "running", "paused", "stopping", "completed", "stopped", "failed", "crashed"}
    assert not set(ALIVE) & set(ENDED) and set(ALIVE) | set(ENDED) == set(STATES)


@pytest.mark.parametrize("state", ENDED)
def test_an_ended_run_stays_ended(state: str) -> None:
    """Whatever became of its process: a completed run must not turn into a crashed one over night."""
    assert actual_state(Status(state=state, pid=1, host="elsewhere", heartbeat=0.0), NOW) == state


@pytest.mark.parametrize("state", ["running", "paused", "stopping"])
def test_on_this_host_the_process_decides(state: str, dead_pid: int) -> None:
    """A long evaluation is silent and lives; a killed worker is crashed at once, whatever its last words were."""
    silent = here(state=state, heartbeat=0.0)
    assert actual_state(silent) == state
    assert actual_state(here(state=state, pid=dead_pid, pid_started="")) == "crashed"


@needs_proc
def test_a_reused_pid_is_not_the_worker() -> None:
    """After a reboot some daemon has the worker's number; the run would be "running" for ever."""
    assert process_start(os.getpid()) not in ("", "1")
    assert actual_state(here(pid_started="1")) == "crashed"


def test_without_proc_the_number_must_do() -> None:
    """macOS has no /proc: a status without a start time is believed."""
    assert actual_state(here(pid_started="")) == "running"


@needs_proc
def test_a_worker_that_died_under_its_starter_is_dead() -> None:
    """The command or dashboard that started a worker is its parent: killed for memory it stays as a zombie until that
    parent asks for it. A run shown as running for ever is what the user would see."""
    worker = subprocess.Popen(["sleep", "60"])
    status = here(pid=worker.pid, pid_started=process_start(worker.pid))
    assert actual_state(status) == "running"
    os.kill(worker.pid, signal.SIGKILL)
    try:
        wait_until(lambda: Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
        assert actual_state(status) == "crashed"
    finally:
        worker.wait()


@pytest.mark.parametrize(("silence", "expected"), [(0, "running"), (59, "running"), (61, "crashed"), (1e9, "crashed")])
def test_on_another_host_only_silence_tells(silence: float, expected: str) -> None:
    """A shared disk: pids of another machine mean nothing here, and the disk may lag."""
    status = Status(state="running", pid=os.getpid(), host=socket.gethostname() + "-other", heartbeat=NOW - silence)
    assert actual_state(status, NOW) == expected


def test_a_clock_that_is_ahead_is_no_crash() -> None:
    """The other machine's clock may be some minutes fast."""
    assert actual_state(Status(state="running", pid=1, host="other", heartbeat=NOW + 300), NOW) == "running"


@pytest.mark.parametrize(("waited", "expected"), [(0, "queued"), (119, "queued"), (121, "crashed")])
def test_a_worker_that_never_came(waited: float, expected: str) -> None:
    """A start that failed must not wait in the queue for ever."""
    assert actual_state(Status(state="queued", heartbeat=NOW - waited), NOW) == expected


def test_a_status_survives_the_disk(tmp_path: Path) -> None:
    """Every field is shown somewhere."""
    status = here(stage="dynamic", step=3, total=9)
    status.save(tmp_path / "status.json")
    assert Status.load(tmp_path / "status.json") == status


def test_a_newer_status_can_be_read(tmp_path: Path) -> None:
    """A field that a newer version adds is none of our business; a heartbeat without decimals is one."""
    write_json(tmp_path / "s", {"state": "stopped", "invented": 1, "heartbeat": 17})
    assert Status.load(tmp_path / "s") == Status(state="stopped", heartbeat=17)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"{}",
        b'{"state": "dancing"}',
        b'{"state": 3}',
        b'{"state": ["running"]}',
        b'{"state": "running", "pid": "12"}',
        b'{"state": "running", "pid": null}',
        b'{"state": "running", "step": 1.5}',
        b'{"state": "running", "host": 3}',
    ],
)
def test_a_damaged_status_is_a_run_error(tmp_path: Path, content: bytes) -> None:
    """`vdtui runs` lists the other runs, and says of this one what is wrong."""
    (tmp_path / "status.json").write_bytes(content)
    with pytest.raises(RunError) as caught:
        Status.load(tmp_path / "status.json")
    assert "status.json" in caught.value.problem and caught.value.hint
    with pytest.raises(RunError):
        Status.load(tmp_path / "gone.json")


VALUES = st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.booleans()


@given(st.fixed_dictionaries({}, optional={field.name: VALUES for field in dataclasses.fields(Status)}))
def test_whatever_stands_in_a_status_it_is_a_state_or_a_run_error(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]
) -> None:
    """A status of a damaged disk: one line in `vdtui runs`, not the end of the whole list."""
    path = tmp_path_factory.getbasetemp() / "any-status.json"
    path.write_text(json.dumps({"state": "running", "host": socket.gethostname(), **document}))
    with contextlib.suppress(RunError):
        assert actual_state(Status.load(path)) in STATES


@pytest.mark.parametrize("pid", [2**31, 2**63, 10**30])
def test_an_impossible_pid(tmp_path: Path, pid: int) -> None:
    """As above; the number that a flipped bit makes of a pid."""
    path = tmp_path / "status.json"
    path.write_text(json.dumps({"state": "running", "host": socket.gethostname(), "pid": pid}))
    with contextlib.suppress(RunError):
        assert actual_state(Status.load(path)) == "crashed"


# --- control ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"stop"', b'{"want": "halt", "seq": 1}', b'{"want": ["stop"]}', b"\x00"]
)
def test_rubbish_in_control_means_run(tmp_path: Path, content: bytes) -> None:
    """A half-written request by somebody's script must not stop days of work."""
    (tmp_path / "control.json").write_bytes(content)
    assert Control.load(tmp_path / "control.json").want == "run"
    assert Control.load(tmp_path / "gone.json") == Control("run", 0)


def test_requests_are_counted(tmp_path: Path) -> None:
    """Two requests to pause are two requests; readers can tell a new one from an old one."""
    path = tmp_path / "control.json"
    assert [request(path, want).seq for want in ("pause", "run", "stop")] == [1, 2, 3]
    assert json.loads(path.read_text()) == {"want": "stop", "seq": 3}
    path.write_text('{"want": "stop", "seq": "many"}')
    assert request(path, "run") == Control("run", 1)


# --- lock ------------------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from engine.runs.status import Lock
lock = Lock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [PYTHON, "-c", HOLDER, str(tmp_path / "lock")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """Two workers on one run would write over each other's checkpoints."""
    with pytest.raises(RunError) as caught:
        Lock(tmp_path / "lock").acquire()
    assert f"pid {holder.pid}" in caught.value.problem and tmp_path.name in caught.value.problem


def test_kill_9_releases_the_lock(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """A run must be resumable after every death of its worker, without deleting files by hand."""
    holder.kill()
    holder.wait()
    lock = Lock(tmp_path / "lock")
    lock.acquire()
    assert (tmp_path / "lock").read_text().startswith(f"pid {os.getpid()} on ")
    lock.release()


def test_within_one_process_too(tmp_path: Path) -> None:
    """Two cells of a notebook are two workers."""
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    first.acquire()
    with pytest.raises(RunError):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_a_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """Decoding helpers that outlive a killed worker must not keep its run locked."""
    lock = Lock(tmp_path / "lock")
    lock.acquire()
    child = subprocess.Popen(["sleep", "30"])
    try:
        lock.release()
        other = Lock(tmp_path / "lock")
        other.acquire()
        other.release()
    finally:
        child.kill()
        child.wait()


def test_heartbeats_are_now() -> None:
    """Silence is counted from them."""
    assert abs(current_process("running").heartbeat - time.time()) < 5


def test_the_lock_decides_where_clocks_and_names_do_not(tmp_path: Path) -> None:
    """A run was called crashed while it ran, for the clock of its host was slow; another ran for good by a fast one."""
    slow = Status(state="running", pid=1, host="other", heartbeat=time.time() - 1e5)
    fast = dataclasses.replace(slow, heartbeat=time.time() + 1e5)
    gone = here(pid=2**22 + 1)  # a host of the same name, whose processes are not ours
    lock = Lock(tmp_path / "lock")
    for status in (slow, fast, gone):
        assert decided_state(status, lock) == "crashed"
    lock.acquire()
    for status in (slow, fast, gone):
        assert decided_state(status, Lock(tmp_path / "lock")) == "running"
    waits = Status(state="queued", heartbeat=time.time() - 1e5)
    assert decided_state(waits, Lock(tmp_path / "lock")) == "crashed"  # the lock is of one that it does not know
    lock.release()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_no_other_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Every run there was said to be worked on by somebody else, and counted as crashed."""

    def none(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", none)
    lock = Lock(tmp_path / "lock")
    lock.acquire()
    assert lock.trouble == os.strerror(number) and not Lock(tmp_path / "lock").is_held()
    lock.release()
    run = create_run(tmp_path, "r", "r", "", {})
    with RunSession(run):
        warned = [record for record in EventTail(run.events_file).read() if record["event"] == "note"]
    assert "locks no files" in warned[0]["text"] and run.state() == "completed"


def test_a_heartbeat_is_watched_where_neither_lock_nor_clock_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers on one run, on hosts whose clocks differ and whose disk's locks do not cross, would spoil it."""
    monkeypatch.setattr("engine.runs.status.HEARTBEAT_SECONDS", 0.2)
    run = create_run(tmp_path, "r", "r", "", {"seed": 1})
    away = Status(state="running", pid=7, host="other", heartbeat=time.time() + 1e5)
    away.save(run.status_file)
    run.check_free()  # it is silent
    beats = threading.Timer(0.3, lambda: dataclasses.replace(away, heartbeat=away.heartbeat + 2).save(run.status_file))
    beats.start()
    with pytest.raises(RunError, match="pid 7 on other"):
        run.check_free()
    beats.join()
    here(pid=2**22 + 1).save(run.status_file)
    began = time.monotonic()
    run.check_free()
    assert time.monotonic() - began < 0.3  # on this host processes are known
