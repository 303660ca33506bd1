"""The poller: from run directories to immutable snapshots. No widget reads a file, and nothing here draws.

A screen asks a watcher again and again, in a thread; the watcher answers with a new snapshot or with None when
nothing changed. Every poll does a bounded piece of work (a long log is read in chunks), looks at ``stat`` before it
reads, and then proposes a pause that keeps reading below a small share of one core, so that watching never slows a
run down. A directory that is damaged, removed, half-written or from a newer version gives a snapshot that says so;
if that were an exception, the screen would be gone just when the user needs to know why.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from engine.config.kinds import is_own
from engine.errors import PresetError, RunError
from engine.runs import ALIVE, RunDirectory, RunState, Status, list_runs
from engine.runs.results import is_result
from engine.runs.standing import thinned, warnings_about
from engine.runs.state import Accuracy, Curve, LogLine, Stage
from engine.runs.status import decided_state, silence
from vdtui.tui.logs import LogReader, Loss, Stamp, stamp

if TYPE_CHECKING:
    import numpy as np

POLL_SECONDS = 0.4
RUNS_POLL_SECONDS = 1.0
FOLD_SECONDS = 0.12
"""Processor time that one poll of the runs screen spends on logs that it has not read yet."""
SHARE = 0.04
"""The share of one core that following a run may take."""
LONGEST_PAUSE = 2.0
HURRY = 0.9
"""The share while an existing log is read through, which happens once and keeps the user waiting."""
LOG_LINES = 2000
STUDIES = "studies"
"""The folder of studies in a runs folder."""

T = TypeVar("T", bound="RunSnapshot | RunsSnapshot")


@dataclasses.dataclass(frozen=True)
class TimeLeft:
    """Seconds until the end of a run and of its stage (None: unknown), as its worker ``told`` them (Unix seconds)."""

    run: float
    stage: float | None
    at_least: bool
    told: float

    @classmethod
    def of(cls, status: Status) -> TimeLeft | None:
        """Return what ``status`` tells of it; nothing of a run that nobody works on."""
        if status.left is None or status.state not in ("running", "stopping"):
            return None
        return cls(status.left, status.stage_left, bool(status.at_least), status.heartbeat)


@dataclasses.dataclass(frozen=True, eq=False)
class RunSnapshot:
    """Everything that the run screen shows of one run at one moment. Text in it is as found: see ``words.plain``."""

    name: str
    path: Path
    state: str
    """One of ``engine.runs.STATES``, or ``damaged`` or ``removed``."""
    want: str
    """The last request to the worker: ``run``, ``pause`` or ``stop``."""
    trouble: tuple[str, str] | None
    """The fault of the directory and its remedy, if it has one."""
    title: str
    kind: str
    """The kind of set, as the preset says: ``what`` of the run's own result."""
    seed: int | None
    device: str
    stages: tuple[Stage, ...]
    stage: str
    losses: dict[str, Loss]
    figures: dict[str, float]
    accuracies: tuple[Accuracy, ...]
    best: tuple[int, float | None] | None
    results: tuple[dict[str, Any], ...]
    previews: tuple[tuple[str, int, str], ...]
    log: tuple[LogLine, ...]
    problem: tuple[str, str] | None
    started: float | None
    updated: float | None
    seconds: float
    stored_bytes: int | None
    reading: float | None
    """The fraction of the log that is folded so far, or None when all of it is."""
    figure_curves: dict[str, dict[str, Loss]] = dataclasses.field(default_factory=dict)
    """Curves by stage and name."""
    published: str = ""
    """The paper's number as the preset gives it; nobody has checked it."""
    data_bytes: int | None = None
    """Bytes of all training clips, as stored."""
    classes: tuple[str, ...] = ()
    dead_seconds: float = 0.0
    """Seconds since the start in which no worker worked, up to the last sign of life."""
    paused_at: float | None = None
    """Unix seconds at which the run was paused, if it is."""
    left: TimeLeft | None = None

    @property
    def alive(self) -> bool:
        """Tell whether a worker has the run or will take it."""
        return self.state in ALIVE

    @property
    def shown_state(self) -> str:
        """The state, or what it is about to become: a request takes a moment to reach the worker."""
        if self.state == "running" and self.want != "run":
            return "pausing" if self.want == "pause" else "stopping"
        if self.state == "paused" and self.want != "pause":
            return "continuing" if self.want == "run" else "stopping"
        return self.state

    @property
    def present(self) -> Stage | None:
        """The stage that the run is in."""
        return next((stage for stage in self.stages if stage.name == self.stage), None)


@dataclasses.dataclass(frozen=True)
class RunRow:
    """One line of the runs screen."""

    path: Path
    state: str
    title: str
    stage: str
    step: int
    total: int
    best: float | None
    stored_bytes: int | None
    created: float
    trouble: tuple[str, str] | None
    accuracies: tuple[float, ...] = ()
    """Accuracies on validation in their order, a few of the whole course."""
    chosen_on_test: bool = False
    """True where ``best`` is an accuracy on the test split, by which the step is chosen."""
    silent: int | None = None
    """Seconds for which a living worker has said nothing, if that is longer than it should be."""
    test: float | None = None
    """Top-1 of its own set in the final table."""
    warnings: tuple[str, ...] = ()
    """Warnings about that number (``engine.runs.standing``)."""
    left: TimeLeft | None = None
    worked: float | None = None
    """Seconds of work so far."""

    @property
    def alive(self) -> bool:
        """Tell whether a worker has the run or will take it."""
        return self.state in ALIVE

    @property
    def name(self) -> str:
        """The run's name; that of a run of a study begins with the study's: ``objectives/seed-0``."""
        study = self.path.parent
        return f"{study.name}/{self.path.name}" if study.parent.name == STUDIES else self.path.name

    @property
    def fraction(self) -> float | None:
        """The done part of the run by the time that it takes, in [0, 1]; of its stage where that is unknown."""
        if self.state == "completed":
            return 1.0
        if self.left is not None and not self.left.at_least and self.worked is not None:
            return self.worked / max(self.worked + self.left.run, 1e-9)
        return min(1.0, self.step / self.total) if self.total > 0 else None


@dataclasses.dataclass(frozen=True)
class RunsSnapshot:
    """All runs of a folder, newest first."""

    folder: Path
    rows: tuple[RunRow, ...]


def studies(folder: Path) -> list[Path]:
    """The studies of a runs folder, newest first: runs folders of their own."""
    try:
        found = [path for path in (folder / STUDIES).iterdir() if path.is_dir()]
        return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return []


class Pace:
    """The wait before the next poll, from how long the last one took."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self.pause = 0.0

    def measured(self, poll: Callable[[], tuple[T | None, bool]]) -> T | None:
        """Run ``poll``, set ``pause`` by its cost, and return its snapshot; its bool asks to come back soon."""
        began = time.thread_time()
        snapshot, soon = poll()
        cost = time.thread_time() - began
        self.pause = cost * (1 / HURRY - 1) if soon else min(LONGEST_PAUSE, max(self._interval, cost / SHARE))
        return snapshot


class RunWatcher:
    """Follows one run directory. ``poll`` from one thread at a time, ``pause`` seconds apart."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._pace = Pace(POLL_SECONDS)
        self._log = LogReader(run.events_file)
        self._stamps: dict[Path, Stamp] = {}
        self._status: Status | None = None
        self._status_trouble: tuple[str, str] | None = None
        self._preset: dict[str, Any] = {}
        self._ahead: tuple[Stage, ...] | None = None
        self._meta: dict[str, Any] = {}
        self._meta_damaged = False
        self._want = "run"
        self._last_state = ""
        self._figure_curves: dict[str, dict[str, Loss]] = {}

    @property
    def pause(self) -> float:
        """Seconds to wait before the next poll."""
        return self._pace.pause

    def poll(self) -> RunSnapshot | None:
        """The run as it is now, or None if that is as it was."""
        return self._pace.measured(self._poll)

    def _poll(self) -> tuple[RunSnapshot | None, bool]:
        log_changed = self._log.read()
        changed = self._read_small_files() or log_changed
        state, trouble = self._judge()
        changed = changed or state != self._last_state
        self._last_state = state
        return (self._snapshot(state, trouble) if changed else None), self._log.behind

    def _changed(self, path: Path) -> bool:
        found = stamp(path)
        if path in self._stamps and self._stamps[path] == found:
            return False
        self._stamps[path] = found
        return True

    def _read_small_files(self) -> bool:
        run, changed = self.run, False
        if self._changed(run.status_file):
            changed = True
            try:
                self._status, self._status_trouble = run.status(), None
            except RunError as error:
                self._status_trouble = (error.problem, error.hint)
        if self._changed(run.preset_file):
            changed = True
            self._preset, self._ahead = preset_values(run), None
        if self._changed(run.meta_file):
            changed = True
            self._meta, self._meta_damaged = run.meta(), run.meta_is_damaged()
        if self._changed(run.control_file):
            changed = True
            self._want = run.control().want
        for path in (run.best, run.last):
            changed = self._changed(path) or changed
        return changed

    def _judge(self) -> tuple[str, tuple[str, str] | None]:
        if not self.run.path.is_dir():
            return "removed", (
                f"The folder of {self.run.name} is gone.",
                "It was removed or renamed: escape goes back.",
            )
        if self._status_trouble or self._status is None:
            return "damaged", self._status_trouble
        trouble = self._log.trouble or self.run.damage(self._log.state.damaged, self._meta_damaged)
        return decided_state(self._status, self.run.lock()), trouble

    def _snapshot(self, state: str, trouble: tuple[str, str] | None) -> RunSnapshot:
        folded = self._log.state
        seed = folded.seed if folded.started is not None else self._meta.get("seed")
        kind = text_of(table(self._preset, "synthetic"), "kind")
        return RunSnapshot(
            name=self.run.name,
            path=self.run.path,
            state=state,
            want=self._want,
            trouble=trouble,
            title=text_of(self._preset, "title"),
            kind=kind,
            seed=seed if isinstance(seed, int) else None,
            device=folded.device or text_of(table(self._preset, "run"), "device"),
            stages=tuple(dataclasses.replace(stage) for stage in folded.stages.values()) or self._stages_ahead(),
            stage=folded.stage,
            losses={stage: curve.loss for stage, curve in folded.long.items()},
            figures={name: value for name, value in folded.figures.items() if is_number(value)},
            accuracies=tuple(one for one in folded.accuracies if math.isfinite(one.mean)),
            best=checked_best(folded),
            results=tuple(folded.results),
            previews=tuple(folded.previews),
            log=tuple(folded.log[-LOG_LINES:]),
            problem=folded.problem,
            started=folded.started,
            updated=folded.updated,
            seconds=folded.seconds,
            stored_bytes=stored_bytes(self.run, folded, kind),
            reading=self._log.fraction if self._log.behind else None,
            figure_curves=self._figure_arrays(),
            published=text_of(self._preset, "published"),
            data_bytes=whole(self._meta.get("data_bytes")),
            classes=names(self._meta.get("classes")),
            dead_seconds=folded.dead_seconds,
            paused_at=folded.paused_at,
            left=TimeLeft.of(self._status) if self._status is not None else None,
        )

    def _stages_ahead(self) -> tuple[Stage, ...]:
        if self._ahead is None:
            self._ahead = stages_ahead(self._preset)
        return self._ahead

    def _figure_arrays(self) -> dict[str, dict[str, Loss]]:
        found, old = self._log.state.figure_curves, self._figure_curves
        self._figure_curves = {stage: arrays_of(curves, old.get(stage, {})) for stage, curves in found.items()}
        return self._figure_curves


def arrays_of(curves: dict[str, Curve], old: dict[str, Loss]) -> dict[str, Loss]:
    """``curves`` as arrays; one that is as it was in ``old`` stays the same object, and is not drawn again."""
    import numpy as np

    arrays = {}
    for name, curve in curves.items():
        steps, values = np.array(curve.steps, np.float64), as_floats(curve.values)
        known = old.get(name)
        same = known is not None and np.array_equal(known.steps, steps) and np.array_equal(known.values, values, True)
        arrays[name] = known if same and known is not None else Loss(steps, values)
    return arrays


class RunsWatcher:
    """Follows a folder of runs: small files at each poll if they changed, logs a little at a time, newest run first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pace = Pace(RUNS_POLL_SECONDS)
        self._entries: dict[Path, _Entry] = {}
        self._last: RunsSnapshot | None = None
        self._folding = 0.0

    @property
    def pause(self) -> float:
        """Seconds to wait before the next poll; reading new logs has a budget of its own and does not delay it."""
        return max(RUNS_POLL_SECONDS, self._pace.pause - self._folding / SHARE)

    def poll(self) -> RunsSnapshot | None:
        """The runs as they are now, or None if that is as they were."""
        return self._pace.measured(self._poll)

    def _poll(self) -> tuple[RunsSnapshot | None, bool]:
        runs = list(reversed(list_runs(self.folder)))
        for study in studies(self.folder):
            runs += reversed(list_runs(study))
        self._entries = {run.path: self._entries.get(run.path) or _Entry(run) for run in runs}
        folding = 0.0
        for entry in self._entries.values():
            entry.look()
            if folding < FOLD_SECONDS:
                began = time.thread_time()
                entry.fold()
                folding += time.thread_time() - began
        rows = sorted((entry.row() for entry in self._entries.values()), key=lambda row: -row.created)
        snapshot = RunsSnapshot(self.folder, tuple(rows))
        changed, self._last = snapshot != self._last, snapshot
        self._folding = folding
        return (snapshot if changed else None), False


def _tells_all(status: Status) -> bool:
    """Tell whether a status has the figures of a list of runs; those of older versions have none, or not all."""
    return status.accuracies is not None and status.warnings is not None


class _Entry:
    """The memory of one run between polls of the runs screen."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._status_file, self._preset_file = run.status_file, run.preset_file  # making paths is what a poll costs
        self._stamps: dict[Path, Stamp] = {}
        self._status: Status | None = None
        self._trouble: tuple[str, str] | None = None
        self._preset: dict[str, Any] = {}
        self._created = 0.0
        self._final: RunRow | None = None
        self._log: LogReader | None = None
        self._best: float | None = None
        self._bytes: int | None = None
        self._accuracies: tuple[float, ...] = ()
        self._test: float | None = None
        self._warnings: tuple[str, ...] = ()

    def _changed(self, path: Path) -> bool:
        found = stamp(path)
        if path in self._stamps and self._stamps[path] == found:
            return False
        self._stamps[path] = found
        return True

    def look(self) -> None:
        """Read the small files that changed."""
        run = self._run
        if self._changed(self._status_file):
            self._final = None
            try:
                self._status, self._trouble = run.status(), None
                self._take(self._status)
            except RunError as error:
                self._trouble = (error.problem, error.hint)
        if self._changed(self._preset_file):
            self._final = None
            self._preset = preset_values(run)
            found = self._stamps[self._preset_file] or self._stamps[self._status_file]
            self._created = found[2] / 1e9 if found else 0.0

    def _take(self, status: Status) -> None:
        """Take what the worker tells by itself; the log of such a run need not be read."""
        if status.accuracies is None or not _tells_all(status):
            return
        self._best, self._accuracies, self._log = status.best, status.accuracies, None
        self._bytes = status.stored_bytes or file_bytes(self._run)
        self._test, self._warnings = status.test, status.warnings or ()

    def fold(self) -> None:
        """Read the next chunk of the log, if there is one and the status does not tell what is in it."""
        if self._status is not None and _tells_all(self._status):
            return
        if self._log is None:
            if not self._changed(self._run.events_file):
                return
            # Steps and progress make up most of a log and say nothing about the best accuracy; their points would
            # fill the memory of a screen that shows hundreds of runs.
            self._log = LogReader(self._run.events_file, steps=False)
        if not self._log.read():
            return
        self._final = None
        state = self._log.state
        state.log.clear()
        best = checked_best(state)
        self._best = best[1] if best else None
        self._accuracies = thinned([one.mean for one in state.accuracy_curve() if math.isfinite(one.mean)])
        self._bytes = stored_bytes(self._run, state, table(self._preset, "synthetic").get("kind"))
        own = state.results[0] if state.results else {}
        self._test = own["top1"]["mean"] if is_result(own) else None
        self._warnings = warnings_about(own, state.results)
        if not self._log.behind and self._status is not None and self._status.state not in ALIVE:
            self._stamps[self._run.events_file] = self._log.stamp
            self._log = None  # its memory; it is folded anew should the run be resumed

    def row(self) -> RunRow:
        """The line of this run; the very same one as long as nothing in it can have changed."""
        if self._final is not None:
            return self._final
        row = self._row()
        self._final = None if row.alive or row.state == "crashed" else row
        return row

    def _row(self) -> RunRow:
        status = self._status or Status()
        state = "damaged" if self._trouble or self._status is None else decided_state(status, self._run.lock())
        quiet = silence(status) if state in ALIVE else None
        return RunRow(
            path=self._run.path,
            state=state,
            title=text_of(self._preset, "title"),
            stage=status.stage,
            step=status.step,
            total=status.total,
            best=self._best,
            stored_bytes=self._bytes,
            created=self._created,
            trouble=self._trouble,
            accuracies=self._accuracies,
            chosen_on_test=text_of(table(self._preset, "evaluation"), "protocol") == "vdsd",
            silent=None if quiet is None else int(quiet) // 10 * 10,
            test=self._test,
            warnings=self._warnings,
            left=TimeLeft.of(status) if state in ALIVE else None,
            worked=status.worked,
        )


def preset_values(run: RunDirectory) -> dict[str, Any]:
    """The resolved preset, or nothing if it is missing or damaged: the rest of the run can still be shown."""
    try:
        return run.preset_values()
    except RunError:
        return {}


def table(values: dict[str, Any], name: str) -> dict[str, Any]:
    """The table ``name`` of a preset, or an empty one."""
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def text_of(values: dict[str, Any], name: str) -> str:
    """The text ``name`` in a table, or none; a preset of a damaged disk may have a number there that fills a screen."""
    found = values.get(name)
    return found if isinstance(found, str) else ""


def stages_ahead(values: dict[str, Any]) -> tuple[Stage, ...]:
    """The stages of a run that has not said them yet, by its preset; none where that cannot be read."""
    from engine.config.load import validate  # which loads pydantic: the dashboard starts without

    try:
        return tuple(Stage(name) for name in validate(values, "preset").stages)
    except PresetError:
        return ()


def checked_best(state: RunState) -> tuple[int, float | None] | None:
    """The best step and its accuracy, if they are what they should be."""
    if state.best is None:
        return None
    step, accuracy = state.best
    return step, float(accuracy) if is_number(accuracy) and accuracy is not None else None


def whole(value: object) -> int | None:
    """``value`` if it is a whole number that counts something."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def names(value: object) -> tuple[str, ...]:
    """The class names of meta.json, or none."""
    return tuple(map(str, value)) if isinstance(value, list) else ()


def is_number(value: object) -> bool:
    """Tell whether a value from a log can be computed with."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def as_floats(values: list[float]) -> np.ndarray:
    """``values`` as float64; whatever a damaged log has put there instead of a number is NaN."""
    import numpy as np

    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.array([value if is_number(value) else math.nan for value in values], np.float64)


def stored_bytes(run: RunDirectory, state: RunState, kind: object) -> int | None:
    """Bytes of the synthetic set: as its result says, else the size of its file, else None."""
    for result in state.results:
        count = result.get("bytes")
        if is_own(result.get("what"), kind) and isinstance(count, int):
            return count
    return file_bytes(run)


def file_bytes(run: RunDirectory) -> int | None:
    """Bytes of the file of the synthetic set, if there is one."""
    for path in (run.best, run.last):
        found = stamp(path)
        if found:
            return found[1]
    return None
