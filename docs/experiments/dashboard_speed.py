"""How fast the dashboard is, and what it costs a machine that has a run to feed: each figure beside its aim.

Run it with `python docs/experiments/dashboard_speed.py`; about seven minutes, nothing but made-up runs in the temporary
folder, and no torch. The dashboard is a process of its own in a pseudo-terminal of 120 x 40 cells. What it paints is
taken for seen when the words in question have come out of it, so that everything between a key and the terminal counts.
Wall times suffer from whatever else the machine does, so processor seconds stand beside them.
"""

from __future__ import annotations

import argparse
import codecs
import dataclasses
import fcntl
import json
import math
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.events import BestChanged, Evaluated, Event, RunStarted, StageFinished, StageStarted, Step, to_record
from engine.runs import EventLog, RunDirectory, create_run
from engine.runs.status import current_process

COLUMNS, LINES = 120, 40
PRESET = 'title = "Made up"\n[synthetic]\nkind = "static-dynamic"\n[run]\nseed = 0\ndevice = "cpu"\n'
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])")
DOWN, UP = b"\x1b[B", b"\x1b[A"
MANY = 10_000_000
"""Steps of the long run: more than it has done."""
HOUR_EVENTS = 36_000
"""What 10 events a second bring in an hour."""


class Dashboard:
    """``python -m vdtui`` with arguments ``*words`` in a pseudo-terminal that this process reads."""

    def __init__(self, *words: str) -> None:
        self.began = time.perf_counter()
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            self._become(words)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._seen = ""

    def _become(self, words: tuple[str, ...]) -> None:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        variables = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "OMP_NUM_THREADS": "1"}
        for name in ("NO_COLOR", "VDTUI_RUNS"):
            variables.pop(name, None)
        os.execvpe(sys.executable, [sys.executable, "-m", "vdtui", *words], variables)

    def _take(self, seconds: float) -> bool:
        """Read what has come out, waiting up to ``seconds`` for it; whether there was anything."""
        if not select.select([self._terminal], [], [], max(0.0, seconds))[0]:
            return False
        try:
            self._seen += self._decoder.decode(os.read(self._terminal, 1 << 16))
        except OSError:
            raise SystemExit("The dashboard ended by itself:\n" + ESCAPES.sub(" ", self._seen)[-2000:]) from None
        return True

    def forget(self) -> None:
        """Take what has come out so far for old: only later words count."""
        while self._take(0):
            pass
        self._seen = ""

    def seconds_until(self, words: str, since: float, limit: float = 120.0) -> float:
        """Wait for ``words``; the seconds from ``since`` (of ``time.perf_counter``) until they came."""
        while words not in ESCAPES.sub("", self._seen):
            self._seen = self._seen[-200_000:]
            if not self._take(1.0) and time.perf_counter() - since > limit:
                raise SystemExit(f"{words!r} did not come in {limit:.0f} s:\n{ESCAPES.sub(' ', self._seen)[-2000:]}")
        return time.perf_counter() - since

    def watch(self, seconds: float) -> None:
        """Let time pass, reading, so that the dashboard never waits for its terminal."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self._take(left)
            self._seen = ""

    def press(self, key: bytes) -> float:
        """Send ``key``; the time at which it was sent."""
        self.forget()
        sent = time.perf_counter()
        os.write(self._terminal, key)
        return sent

    @property
    def cpu(self) -> float:
        """Processor seconds of all its threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, what: str = "VmRSS") -> float:
        """Megabytes (10^6) of memory: now, or with ``VmHWM`` at most so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", status)[1]) * 1024 / 1e6  # type: ignore[index]

    def close(self) -> None:
        """Leave it with q, as a user does."""
        os.write(self._terminal, b"q")
        try:
            while True:
                self._take(10.0)
        except SystemExit:
            pass
        os.waitpid(self.pid, 0)
        os.close(self._terminal)


@contextmanager
def dashboard(*words: str) -> Iterator[Dashboard]:
    """A dashboard that is left at the end."""
    shown = Dashboard(*words)
    try:
        yield shown
    finally:
        shown.close()


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """``count`` processes that do nothing as fast as they can."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.send_signal(signal.SIGKILL)
            loop.wait()


def made_step(number: int, total: int) -> Step:
    """A step with a falling, noisy loss and the figures that a real one has."""
    loss = 50 * math.exp(-5 * number / total) * (1.0 + 0.3 * math.sin(number * 12.9898))
    figures = {"grad_static": 0.0123, "grad_dynamic": 0.0456, "min_dynamic": -1.2345, "max_dynamic": 3.4567}
    return Step("dynamic", number, total, loss, 2.5, figures, 3600.0)


def small_run(folder: Path, number: int) -> None:
    """A run that has ended, with 300 steps and three evaluations."""
    run = create_run(folder, f"run-{number:03d}", "run", PRESET, {"seed": 0})
    log = EventLog(run.events_file)
    log.append(RunStarted(run.name, 0, "cpu", ("prepare", "dynamic", "evaluate"), False))
    log.append(StageStarted("dynamic", 0, 300))
    for step in range(1, 301):
        log.append(made_step(step, 300))
        if step % 100 == 0:
            log.append(Evaluated("synthetic", step, "val", 0.3 + step / 1000, 0.04, (0.3 + step / 1000,), 2.0))
            log.append(BestChanged(step, 0.3 + step / 1000))
    log.append(StageFinished("dynamic", 300.0))
    log.close()
    status = dataclasses.replace(current_process("completed"), stage="dynamic", step=300, total=300)
    status = dataclasses.replace(status, best=0.6, accuracies=(0.4, 0.5, 0.6), stored_bytes=245_760)
    status.save(run.status_file)
    os.utime(run.preset_file, (1.7e9 + 60 * number,) * 2)


def runs_folder(folder: Path, count: int) -> Path:
    """``count`` small runs; the one with the highest number is the newest."""
    for number in range(count):
        small_run(folder, number)
    return folder


class LongRun:
    """A run that lives, with ``events`` steps in its log so far, and a hand to write more."""

    def __init__(self, folder: Path, events: int) -> None:
        self.run: RunDirectory = create_run(folder, "long", "long", PRESET, {"seed": 0})
        first: list[Event] = [RunStarted("long", 0, "cpu", ("prepare", "dynamic", "evaluate"), False)]
        log = EventLog(self.run.events_file)
        for event in [*first, StageStarted("dynamic", 0, MANY)]:
            log.append(event)
        log.close()
        with open(self.run.events_file, "a", encoding="utf-8") as file:
            for number in range(1, events + 1):
                record = to_record(made_step(number, MANY), 1.7e9 + 0.1 * number)
                file.write(json.dumps(record, separators=(",", ":")) + "\n")
        self.step = events
        self._log = EventLog(self.run.events_file)
        self.beat()

    def beat(self) -> None:
        """What a worker says of itself every two seconds."""
        status = dataclasses.replace(current_process("running"), stage="dynamic", step=self.step, total=MANY)
        dataclasses.replace(status, accuracies=()).save(self.run.status_file)

    def append(self, count: int, rate: float, stop: threading.Event) -> None:
        """Append ``count`` steps, ``rate`` a second, with a heartbeat every two seconds."""
        began = beaten = time.monotonic()
        for done in range(1, count + 1):
            self.step += 1
            self._log.append(made_step(self.step, MANY))
            if time.monotonic() - beaten > 2:
                beaten = time.monotonic()
                self.beat()
            ahead = began + done / rate - time.monotonic()
            if ahead > 0 and stop.wait(ahead):
                return

    @contextmanager
    def worked_on(self, count: int, rate: float) -> Iterator[threading.Thread]:
        """The same in a thread of its own."""
        stop = threading.Event()
        thread = threading.Thread(target=self.append, args=(count, rate, stop))
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join()

    @property
    def shown_step(self) -> str:
        """How the run screen says the present step."""
        return f"step {self.step:,} of".replace(",", " ")


ROWS: list[tuple[str, str, str]] = []


def report(what: str, value: str, aim: str = "") -> None:
    """One row of the table; shown at once as well, for it takes minutes to be complete."""
    ROWS.append((what, value, aim))
    print(f"... {what}: {value}", file=sys.stderr, flush=True)  # noqa: T201


def spread(values: list[float], scale: float = 1.0) -> str:
    """Median, and the least and the greatest."""
    low, middle, high = min(values) * scale, statistics.median(values) * scale, max(values) * scale
    return f"{middle:.2f} ({low:.2f} ... {high:.2f})"


def first_paint(folder: Path, count: int, rounds: int) -> None:
    """From the start of the process until the newest run's name is on the screen."""
    walls, cpus = [], []
    for _ in range(rounds):
        with dashboard("monitor", "--runs-dir", str(folder)) as it:
            walls.append(it.seconds_until(f"run-{count - 1:03d}", it.began))
            cpus.append(it.cpu)
    report(f"{count} runs, start to first row, wall s", spread(walls), "< 0.5")
    report(f"{count} runs, start to first row, CPU s", spread(cpus))


def listing(folder: Path, count: int, rounds: int, seconds: float) -> None:
    """Until the last of ``count`` rows can be reached, and what it costs to leave the list open."""
    walls, cpus, shares = [], [], []
    for _ in range(rounds):
        with dashboard("monitor", "--runs-dir", str(folder)) as it:
            it.seconds_until(f"run-{count - 1:03d}", it.began)
            it.press(b"\x1b[1;5F")  # Ctrl+End
            walls.append(it.seconds_until("run-000", it.began))
            cpus.append(it.cpu)
            it.watch(3.0)
            before = it.cpu
            it.watch(seconds)
            shares.append((it.cpu - before) / seconds)
            held = it.memory()
    report(f"{count} runs, start to last row, wall s", spread(walls))
    report(f"{count} runs, start to last row, CPU s", spread(cpus))
    report(f"{count} runs, left open, % of a core", spread(shares, 100), "small")
    report(f"{count} runs, memory, MB", f"{held:.0f}")


def long_run(folder: Path, events: int, seconds: float, hour_seconds: float) -> None:
    """Open a run of ``events`` steps, follow it at 10 events a second, then as many as an hour brings."""
    long = LongRun(folder, events)
    size = long.run.events_file.stat().st_size / 1e6
    with dashboard("monitor", "--runs-dir", str(folder), "long") as it:
        report(
            f"{events} events ({size:.0f} MB), start to run screen, wall s",
            f"{it.seconds_until('seed 0', it.began):.2f}",
        )
        report(
            f"{events} events, start to all of it, wall s", f"{it.seconds_until(long.shown_step, it.began):.2f}", "< 2"
        )
        report(f"{events} events, start to all of it, CPU s", f"{it.cpu:.2f}")
        it.watch(3.0)
        with long.worked_on(10**9, 10.0):
            it.watch(5.0)
            before = it.cpu
            it.watch(seconds)
            share = (it.cpu - before) / seconds
        report(f"{events} events, followed at 10 a second, % of a core", f"{100 * share:.1f}", "< 10")
        report(f"{events} events, memory now and at most, MB", f"{it.memory():.0f}, {it.memory('VmHWM'):.0f}", "< 200")
        an_hour(it, long, hour_seconds)


def an_hour(it: Dashboard, long: LongRun, seconds: float) -> None:
    """Memory while the events of an hour arrive in ``seconds``."""
    held = [it.memory()]
    with long.worked_on(HOUR_EVENTS, HOUR_EVENTS / seconds) as thread:
        it.watch(seconds / 2)
        held.append(it.memory())
        while thread.is_alive():
            it.watch(0.5)
    it.watch(5.0)
    held.append(it.memory())
    said = ", ".join(f"{one:.1f}" for one in held)
    report(f"an hour ({HOUR_EVENTS} events in {seconds:.0f} s): memory at begin, middle, end, MB", said, "flat")


def reactions(what: str, it: Dashboard, press: Callable[[int], float], presses: int) -> None:
    """Two rows: how long the reactions took, and what they cost."""
    before = it.cpu
    times = sorted(1e3 * press(number) for number in range(presses))
    said = f"{statistics.median(times):.0f}, {times[math.ceil(0.99 * presses) - 1]:.0f}, {times[-1]:.0f}"
    report(f"{what}: median, p99, max ms", said, "p99 < 50")
    report(f"{what}: CPU ms a press", f"{1e3 * (it.cpu - before) / presses:.0f}")


def keys(folder: Path, count: int, presses: int, loops: int) -> None:
    """From a key to what it causes, with ``loops`` busy loops beside: through the table, and the scale of a curve."""
    with dashboard("monitor", "--runs-dir", str(folder)) as it:
        it.seconds_until(f"run-{count - 1:03d}", it.began)
        it.watch(2.0)

        def move(number: int) -> float:
            turn, along = divmod(number, count - 1)
            down = turn % 2 == 0
            row = along + 1 if down else count - 2 - along
            took = it.seconds_until(f"run-{count - 1 - row:03d}", it.press(DOWN if down else UP))
            it.watch(0.03)
            return took

        with busy_loops(loops):
            reactions(f"key down in {count} runs, {loops} busy loops", it, move, presses)
    with dashboard("monitor", "--runs-dir", str(folder), "run-000") as it:
        it.seconds_until("linear scale", it.began)
        it.watch(2.0)

        def scale(number: int) -> float:
            took = it.seconds_until("linear scale" if number % 2 else "log scale", it.press(b"l"))
            it.watch(0.03)
            return took

        with busy_loops(loops):
            reactions(f"key l in a run, {loops} busy loops", it, scale, presses)


def arguments() -> argparse.Namespace:
    """What can be made smaller for a quick look."""
    parser = argparse.ArgumentParser(description="Speed and cost of the dashboard, in one table.")
    parser.add_argument("--only", choices=("start", "list", "long", "keys"), nargs="*", help="Measure these alone.")
    parser.add_argument("--rounds", type=int, default=5, help="Starts that are timed.")
    parser.add_argument("--events", type=int, default=1_000_000, help="Events of the long run.")
    parser.add_argument("--presses", type=int, default=200, help="Keys of each kind.")
    loops = os.cpu_count() or 1
    parser.add_argument("--loops", type=int, default=loops, help="Busy loops beside; 0 if all cores are busy anyway.")
    parser.add_argument("--seconds", type=float, default=30.0, help="How long a cost is measured.")
    parser.add_argument("--hour", type=float, default=60.0, help="Seconds in which the events of an hour come.")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    report("load of the machine before", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    chosen = given.only or ("start", "list", "long", "keys")
    with tempfile.TemporaryDirectory() as place:
        few = runs_folder(Path(place) / "few", 100) if {"start", "keys"} & set(chosen) else Path()
        if "start" in chosen:
            first_paint(few, 100, given.rounds)
        if "list" in chosen:
            listing(runs_folder(Path(place) / "many", 500), 500, max(1, given.rounds // 2), given.seconds)
        if "keys" in chosen:
            keys(few, 100, given.presses, given.loops)
        if "long" in chosen:
            long_run(Path(place) / "long", given.events, given.seconds, given.hour)
    for what, value, aim in ROWS:
        print(f"{what:<82} {value:<24} {aim}".rstrip())  # noqa: T201


if __name__ == "__main__":
    main()
