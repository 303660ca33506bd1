"""status.json, control.json and the lock: how a worker and the rest of the world know of each other.

The worker alone writes ``status.json``; anyone may write ``control.json``; both are replaced atomically. Whether a
run that says "running" really is, is decided here and nowhere else, or two commands would disagree about it.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal, get_args

from engine.errors import RunError
from engine.files import is_number, read_json, storage_errors, try_lock, unlinked, write_json
from engine.runs.state import LAST_TIME

STATES = ("queued", "running", "paused", "stopping", "completed", "stopped", "failed", "crashed")
ENDED = ("completed", "stopped", "failed", "crashed")
ALIVE = ("queued", "running", "paused", "stopping")

HEARTBEAT_SECONDS = 2.0
QUIET_SECONDS = 20.0
"""A living worker that says nothing for this long is worth a word; many heartbeats are missing then."""
SILENT_SECONDS = 60.0
"""A run on another host counts as crashed after this much silence; the shared disk may lag."""
AHEAD_SECONDS = 600.0
"""A heartbeat further in the future than clocks differ proves nothing: it would count as fresh for as long."""
QUEUE_SECONDS = 120.0
"""A queued run whose worker never came counts as crashed after this time."""

Want = Literal["run", "pause", "stop"]
WANTS: tuple[Want, ...] = get_args(Want)
Action = Literal["evaluate", "checkpoint"]
ONCE: tuple[Action, ...] = get_args(Action)
"""The actions that a worker can be asked for once, at its next step; the run goes on as if nobody had asked."""


@dataclasses.dataclass(frozen=True)
class Status:
    """The status that a worker last wrote. ``heartbeat`` is Unix seconds; ``pid_started`` tells a reused pid apart.

    ``best`` (validation accuracy), ``accuracies`` (a short course of them), ``test`` (top-1 of the run's own set in the
    final table), ``warnings`` about that number and ``stored_bytes`` are there for lists of runs. ``accuracies`` is
    None where an older version wrote the file: only the event log tells then.

    ``worked`` are seconds of work so far; ``left`` those until the end of the run, ``stage_left`` until that of its
    stage, both from ``heartbeat`` on. ``at_least`` is true while nobody knows how long some part ahead takes.

    ``scheduler`` is where the worker of a queued run waits for its turn, for days if need be (``slurm``); "" if it is
    on its way.
    """

    state: str = "queued"
    stage: str = ""
    step: int = 0
    total: int = 0
    pid: int = 0
    host: str = ""
    heartbeat: float = 0.0
    pid_started: str = ""
    best: float | None = None
    accuracies: tuple[float, ...] | None = None
    stored_bytes: int | None = None
    test: float | None = None
    warnings: tuple[str, ...] | None = None
    worked: float | None = None
    left: float | None = None
    stage_left: float | None = None
    at_least: bool | None = None
    scheduler: str = ""

    @classmethod
    def load(cls, path: Path) -> Status:
        """Read ``path``; raises RunError if it is missing or not a status."""
        document = read_json(path)
        if document is None or document.get("state") not in STATES:
            problem = f"{path} is missing or damaged."
            raise RunError(problem, "If its worker runs, it is written again within seconds; else resume or remove it.")
        known = {field.name: field for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for name, value in document.items():
            if name in known and known[name].default is None:
                values[name] = _STANDING[name](value)
            if name not in known or known[name].default is None:
                continue
            expected = type(known[name].default)
            right = isinstance(value, (int, float) if expected is float else expected)
            if not right or (expected is not str and not 0 <= value < _LIMITS[expected]):
                raise RunError(f"{path}: {name} is {value!r}.", "The file is damaged; resume the run or remove it.")
            values[name] = value
        return cls(**values)

    def save(self, path: Path) -> None:
        """Replace ``path``."""
        write_json(path, dataclasses.asdict(self))


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def _numbers(value: Any) -> tuple[float, ...] | None:
    numbers = [_number(each) for each in value] if isinstance(value, list) else [None]
    return None if None in numbers else tuple(number for number in numbers if number is not None)


def _words(value: Any) -> tuple[str, ...] | None:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


_LIMITS: dict[type, float] = {int: 1e15, float: LAST_TIME}
"""Upper bounds of steps, process numbers and times."""
_STANDING: dict[str, Callable[[Any], Any]] = {
    "best": _number,
    "accuracies": _numbers,
    "stored_bytes": _count,
    "test": _number,
    "warnings": _words,
    "worked": _number,
    "left": _number,
    "stage_left": _number,
    "at_least": _flag,
}
"""Readers of the figures for lists of runs; a wrong one is unknown, and no reason to call a run damaged."""


def queued_again(path: Path, scheduler: str = "") -> Status:
    """Return the status of a run that waits for a worker, in the queue of ``scheduler`` if there is one.

    Progress and figures in the file ``path`` stay.
    """
    try:
        earlier = Status.load(path)
    except RunError:
        earlier = Status()
    fresh: dict[str, Any] = {"pid": 0, "host": "", "pid_started": "", "heartbeat": time.time(), "scheduler": scheduler}
    return dataclasses.replace(earlier, state="queued", **fresh)


def current_process(state: str) -> Status:
    """A status of this process, with the heartbeat of now."""
    return Status(
        state=state,
        pid=os.getpid(),
        host=socket.gethostname(),
        heartbeat=time.time(),
        pid_started=process_start(os.getpid()),
    )


def process_start(pid: int) -> str:
    """The start time of a process as the kernel tells it, or "" where there is no /proc; "dead" for a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "dead" if fields[0] in "ZX" else fields[19]


def process_lives(status: Status) -> bool:
    """Return whether the worker that wrote ``status`` still exists on this host."""
    if status.pid <= 0:
        return False
    try:
        os.kill(status.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    started = process_start(status.pid)
    return started != "dead" and (not status.pid_started or started in ("", status.pid_started))


def actual_state(status: Status, now: float | None = None) -> str:
    """The state of a run with crashes inferred.

    On the same host the process decides: a silent but living worker is not crashed. On another host only its
    silence can, or a clock that cannot be right. A run in the queue of a scheduler waits as long as it takes; the
    scheduler alone knows otherwise.
    """
    if status.state not in ALIVE or (status.pid == 0 and status.scheduler):
        return status.state
    silence = (time.time() if now is None else now) - status.heartbeat
    if status.pid == 0:
        return status.state if -AHEAD_SECONDS < silence <= QUEUE_SECONDS else "crashed"
    if status.host == socket.gethostname():
        return status.state if process_lives(status) else "crashed"
    return status.state if -AHEAD_SECONDS < silence <= SILENT_SECONDS else "crashed"


def decided_state(status: Status, lock: Lock) -> str:
    """Return the state as ``actual_state`` infers it, but never a crash of a worker that holds ``lock``.

    Clocks of two hosts may differ, a shared disk may lag, and two hosts may have one name; the kernel knows who holds
    the lock.
    """
    state = actual_state(status)
    return status.state if state == "crashed" != status.state and status.pid and lock.is_held() else state


def check_silent(path: Path) -> None:
    """Raise RunError if a worker on another host writes the status file ``path`` within three heartbeats.

    Where locks do not reach other hosts, and clocks differ by more than a worker may be silent, nothing else tells.
    """
    earlier = _beating(path)
    if earlier is None or earlier.host == socket.gethostname():
        return
    end = time.monotonic() + 3 * HEARTBEAT_SECONDS
    while time.monotonic() < end:
        time.sleep(0.1)
        now = _beating(path)
        if now is not None and now.heartbeat != earlier.heartbeat:
            problem = f"The run {path.parent.name} is being worked on by pid {now.pid} on {now.host}."
            raise RunError(problem, "The clocks of the two machines differ, so it looked crashed. Stop it: vdtui stop.")


def _beating(path: Path) -> Status | None:
    """Return the status in ``path`` if it is that of a worker, None if it is not or cannot be read."""
    try:
        status = Status.load(path)
    except RunError:
        return None
    return status if status.state in ALIVE and status.pid else None


def silence(status: Status, now: float | None = None) -> float | None:
    """Seconds for which a worker that counts as living has said nothing, if that is longer than it should be.

    Long work between two heartbeats, a suspended process or a slow shared disk look like this; a crash is something
    else, and ``actual_state`` tells it.
    """
    if actual_state(status, now) not in ALIVE or status.pid == 0:
        return None
    silent = (time.time() if now is None else now) - status.heartbeat
    return silent if silent > QUIET_SECONDS else None


@dataclasses.dataclass(frozen=True)
class Control:
    """The newest request to the worker: ``run``, ``pause`` or ``stop``; ``seq`` counts the requests.

    ``once`` has the number of the last request for each action. Later requests carry it on: it is the worker that knows
    what it has done, and a request may overwrite another before the worker has seen it.
    """

    want: Want = "run"
    seq: int = 0
    once: dict[Action, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Control:
        """Read ``path``; anything unreadable means ``run``, so that rubbish there cannot stop a run."""
        document = read_json(path) or {}
        want, seq = document.get("want"), document.get("seq")
        once = document.get("once")
        numbers = once if isinstance(once, dict) else {}
        known: dict[Action, int] = {action: numbers[action] for action in ONCE if isinstance(numbers.get(action), int)}
        return cls(want if want in WANTS else "run", seq if isinstance(seq, int) else 0, known)

    def save(self, path: Path) -> None:
        """Replace ``path``."""
        write_json(path, {"want": self.want, "seq": self.seq} | ({"once": self.once} if self.once else {}))


def request(path: Path, want: Want) -> Control:
    """Write a new request to ``path`` and return it."""
    present = Control.load(path)
    control = Control(want, present.seq + 1, present.once)
    control.save(path)
    return control


def request_once(path: Path, action: Action) -> Control:
    """Ask in ``path`` for ``action`` once, whatever else is wanted; return the request."""
    present = Control.load(path)
    number = present.seq + 1
    control = Control(present.want, number, present.once | {action: number})
    control.save(path)
    return control


class Lock:
    """The run's lock: held by flock while a worker lives, released by the kernel however it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self.trouble = ""
        """The reason why the disk gave no lock; empty if it did."""

    def acquire(self) -> None:
        """Take the lock; raises RunError if another worker holds it.

        Some disks have no locks. There the run is worked on all the same, and ``trouble`` says so.
        """
        with storage_errors(self._path):
            file = open(self._path, "a+", encoding="utf-8", opener=unlinked)  # noqa: SIM115 - held until release
        try:
            self.trouble = _lock_soon(file)
        except BlockingIOError as error:
            problem, hint = self._held_by(file)
            file.close()
            raise RunError(problem, hint) from error
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        self._file = file

    def check_free(self) -> None:
        """Raise RunError if a worker holds the lock, on whatever host. Changes nothing."""
        try:
            file = open(self._path, encoding="utf-8", errors="replace")  # noqa: SIM115 - closed below
        except FileNotFoundError:
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunError(*self._held_by(file)) from error
            except OSError:  # a disk without locks: only the status tells
                return

    def is_held(self) -> bool:
        """Return whether a worker holds the lock; False where that cannot be known."""
        try:
            self.check_free()
        except RunError:
            return True
        except OSError:
            return False
        return False

    def release(self) -> None:
        """Give the lock back; harmless if it is not held."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _held_by(self, file: IO[str]) -> tuple[str, str]:
        file.seek(0)
        holder = file.read(200).strip() or "another process"
        problem = f"The run {self._path.parent.name} is already being worked on by {holder}."
        return problem, "Follow it with `vdtui monitor`, or stop it first with `vdtui stop`."


def _lock_soon(file: IO[str]) -> str:
    """Lock ``file`` as ``try_lock`` does, and wait for a process that holds it for a moment, as ``check_free`` does."""
    for _ in range(10):
        try:
            return try_lock(file)
        except BlockingIOError:
            time.sleep(0.02)
    return try_lock(file)
