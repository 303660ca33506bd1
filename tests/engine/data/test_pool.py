"""Processes that decode: what they may take along when they die is one video, never the work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.data import pool
from engine.data.pool import CRASHED, STUCK, Workers

ROOT = Path(__file__).parents[3]


def square(number: int) -> int:
    """Dies on 13 and hangs on 31, as FFmpeg may on a broken file."""
    if number == 13:
        os._exit(11)
    while number == 31:
        time.sleep(60)
    return number * number


def nothing() -> None:
    pass


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_results_come_in_order(workers: int) -> None:
    """A result that goes to the wrong item is a clip with the wrong label."""
    with Workers(square, workers) as processes:
        assert list(processes.map(range(40, 60), nothing)) == [n * n for n in range(40, 60)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_crash_costs_one_item(workers: int) -> None:
    """One file that crashes FFmpeg would end a prepare of days, each time at the same place."""
    with Workers(square, workers) as processes:
        found = list(processes.map([1, 2, 13, 3, 4, 13, 5], nothing))
    assert found == [1, 4, CRASHED, 9, 16, CRASHED, 25]


def test_an_item_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One file on which FFmpeg hangs would hold a prepare for ever."""
    monkeypatch.setattr(pool, "PATIENCE_SECONDS", 1.5)
    with Workers(square, 2) as processes:
        assert list(processes.map([1, 31, 2, 3], nothing)) == [1, STUCK, 4, 9]


class StopNowError(Exception):
    pass


def test_check_stops_it_at_once() -> None:
    """Ctrl+C must not wait for what is under way to be asked for."""
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) > 5:
            raise StopNowError

    with pytest.raises(StopNowError), Workers(square, 1) as processes:
        list(processes.map(range(100, 1000), check))


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """After a kill -9, orphans would hold memory on a shared machine for ever."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\n"
        "from engine.data.pool import Workers\n"
        "def process_id(item):\n"
        "    return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    print(next(Workers(process_id, 1).map([1], lambda: None)), flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 10
    while _alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_script_without_a_main_guard_still_gets_its_results(tmp_path: Path) -> None:
    """Spawned processes import the script again; it must neither hang nor fork for ever."""
    script = tmp_path / "script.py"
    script.write_text(
        "from engine.data.pool import Workers\n"
        "with Workers(abs, 2) as processes:\n"
        "    print(list(processes.map([-1, -2], lambda: None)))\n"
    )
    found = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stdout.splitlines()[-1] == "[1, 2]"


def test_without_room_for_processes_the_work_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full /dev/shm ended a prepare with `No space left on device`, and named no place."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(pool, "ProcessPoolExecutor", full)
    with Workers(square, 2) as processes:
        assert list(processes.map(range(3), nothing)) == [0, 1, 4]
        assert processes.notes == (
            "One process did all the work: others could not start (No space left on device in /dev/shm).",
        )
    with Workers(square, 0) as alone:
        assert alone.notes == ()
