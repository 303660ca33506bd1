"""The run directory: where everything of one run lies, how it is made and found.

docs/formats.md describes its files; the paths are spelled out here once. Nothing here needs torch, so `vdtui runs`
starts at once.
"""

from __future__ import annotations

import dataclasses
import os
import re
import time
import tomllib
from pathlib import Path
from typing import Any, Literal

from engine.errors import RunError, UsageError
from engine.files import (
    SET_SUFFIXES,
    draft,
    read_json,
    read_text,
    storage_errors,
    sweep,
    too_deep,
    write_json,
    write_text,
)
from engine.runs.log import EventTail
from engine.runs.state import RunState, fold
from engine.runs.status import Action, Control, Lock, Status, Want, check_silent, decided_state, request, request_once

RUNS_VARIABLE = "VDTUI_RUNS"


def runs_folder(given: Path | None = None) -> Path:
    """The folder of all runs: ``given``, else ``$VDTUI_RUNS``, else ``./runs``."""
    return given if given is not None else Path(os.environ.get(RUNS_VARIABLE) or "runs")


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """The paths of one run, and what they say. Reading never changes anything."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name: that of its folder."""
        return self.path.name

    @property
    def preset_file(self) -> Path:
        """The resolved preset: running it again gives the same run. It changes once, when a budget has been spent."""
        return self.path / "preset.toml"

    @property
    def meta_file(self) -> Path:
        """The file of versions, device, command, data fingerprint and seed."""
        return self.path / "meta.json"

    @property
    def status_file(self) -> Path:
        """The status that the worker last wrote."""
        return self.path / "status.json"

    @property
    def events_file(self) -> Path:
        """The event log."""
        return self.path / "events.jsonl"

    @property
    def control_file(self) -> Path:
        """The newest request to the worker."""
        return self.path / "control.json"

    @property
    def engine_log(self) -> Path:
        """The worker's output."""
        return self.path / "engine.log"

    @property
    def lock_file(self) -> Path:
        """The file that a living worker locks."""
        return self.path / "lock"

    @property
    def job_file(self) -> Path:
        """The job of a cluster in which the worker was started last, if one ever was."""
        return self.path / "job.json"

    @property
    def checkpoints(self) -> Path:
        """The last two checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The synthetic set that the validation split chose."""
        return self._set("best")

    @property
    def last(self) -> Path:
        """The synthetic set after the last step."""
        return self._set("last")

    def _set(self, name: str) -> Path:
        """The coded file if there is one, else that of tensors, which may not be there yet: a run has one of them."""
        coded, tensors = (self.path / "synthetic" / f"{name}{suffix}" for suffix in SET_SUFFIXES)
        return coded if coded.is_file() else tensors

    def set_file(self, name: Literal["best", "last"], *, coded: bool) -> Path:
        """Return where the set ``name`` is to be written, as a coded file or as one of tensors."""
        return self.path / "synthetic" / f"{name}{SET_SUFFIXES[0 if coded else 1]}"

    @property
    def previews(self) -> Path:
        """Small uint8 pictures of the set as it took shape."""
        return self.path / "previews"

    @property
    def evaluations(self) -> Path:
        """One file per trained network; finished ones are not trained again on resume."""
        return self.path / "evaluations"

    @property
    def rungs(self) -> Path:
        """The files of real clips among whose ways to spend the budget one was chosen."""
        return self.path / "rungs"

    @property
    def budget_file(self) -> Path:
        """The choice of how the budget is spent, and what it was chosen from; only of a run that has a budget."""
        return self.path / "budget.json"

    @property
    def plan_file(self) -> Path:
        """The plan that was made before the start, as `vdtui plan --json` prints it; only where somebody made one."""
        return self.path / "plan.json"

    @property
    def baselines(self) -> Path:
        """Real clips that were compressed to stand beside the set; encoded ones are not encoded again on resume."""
        return self.path / "baselines"

    @property
    def folders(self) -> tuple[Path, ...]:
        """All folders of a run, of which some may be missing."""
        return self.checkpoints, self.best.parent, self.previews, self.evaluations, self.rungs, self.baselines

    @property
    def report(self) -> Path:
        """The HTML report, written at the end."""
        return self.path / "report.html"

    def status(self) -> Status:
        """Return the status that the worker last wrote; raise RunError if it is unreadable, or the folder is gone."""
        if not self.path.is_dir():
            raise RunError(
                f"The folder {self.path} is gone: it was moved or deleted.", "A worker that had it notices, and stops."
            )
        return Status.load(self.status_file)

    def state(self) -> str:
        """One of the eight states, with crashes inferred; raises RunError if the directory is damaged."""
        return decided_state(self.status(), self.lock())

    def meta(self) -> dict[str, Any]:
        """The content of meta.json, or an empty dict."""
        return read_json(self.meta_file) or {}

    def preset_values(self) -> dict[str, Any]:
        """The resolved preset as plain tables, without validation (a newer version may know more keys)."""
        try:
            values = tomllib.loads(read_text(self.preset_file))
            if too_deep(values):
                raise RecursionError
            return values
        except (OSError, ValueError, RecursionError) as error:
            problem = f"{self.preset_file} is missing or damaged."
            raise RunError(
                problem, "Without its preset a run cannot be read; remove it or restore the file."
            ) from error

    def folded(self) -> RunState:
        """The whole event log, folded."""
        tail = EventTail(self.events_file)
        state = fold(tail.read(limit=-1))
        state.damaged += tail.damaged
        return state

    def meta_is_damaged(self) -> bool:
        """Return whether meta.json is there and cannot be read."""
        return self.meta_file.exists() and read_json(self.meta_file) is None

    def damage(self, lines: int, meta: bool) -> tuple[str, str] | None:
        """Return problem and hint if ``lines`` of the event log, or meta.json (``meta``), were left out, else None."""
        hint = "What is shown is the rest. A copy of the run from before, if there is one, has all of it."
        if lines:
            left_out = "1 line is" if lines == 1 else f"{lines} lines are"
            return f"{self.events_file} is damaged: {left_out} left out.", hint
        return (f"{self.meta_file} is damaged and left out.", hint) if meta else None

    def control(self) -> Control:
        """The present request."""
        return Control.load(self.control_file)

    def request(self, want: Want) -> Control:
        """Ask the worker to ``run``, ``pause`` or ``stop``."""
        return request(self.control_file, want)

    def request_once(self, action: Action) -> Control:
        """Ask the worker to ``evaluate`` or to save a ``checkpoint`` at its next step, and to go on as before."""
        return request_once(self.control_file, action)

    def check_free(self) -> None:
        """Raise RunError if a worker has the run. Waits some seconds where only its heartbeat can tell."""
        self.lock().check_free()
        check_silent(self.status_file)

    def lock(self) -> Lock:
        """The lock of this run, not yet taken."""
        return Lock(self.lock_file)


def check_name(name: str) -> str:
    """``name`` if it can be a folder's name; raises UsageError otherwise."""
    if not re.fullmatch(r"[\w][\w .+=-]{0,99}", name) or name.strip() != name or len(os.fsencode(name)) > 200:
        problem = f"{name!r} cannot be a run's name."
        raise UsageError(
            problem, "Use letters, digits, dots, dashes and underscores, at most 100, not starting with a dot."
        )
    return name


def create_run(folder: Path, name: str | None, stem: str, preset_toml: str, meta: dict[str, Any]) -> RunDirectory:
    """Make the directory of a new run in ``folder`` and return it, in state ``queued``.

    ``name`` is refused if it exists; without one, the first free of ``stem``, ``stem-2``, ``stem-3``, ... is taken.
    The directory appears under its name only when it is complete.
    """
    with storage_errors(folder):
        sweep(folder)
        with draft(folder) as apart:
            made = apart / "run"
            write_text(made / "preset.toml", preset_toml)
            write_json(made / "meta.json", meta)
            Control().save(made / "control.json")
            Status(state="queued", heartbeat=time.time(), accuracies=()).save(made / "status.json")
            return RunDirectory(_claim(folder, made, name, stem))


def _claim(folder: Path, made: Path, name: str | None, stem: str) -> Path:
    number = 1
    while True:
        wanted = check_name(name if name is not None else stem if number == 1 else f"{stem}-{number}")
        target = folder / wanted
        try:
            made.replace(target)  # atomic, also over an empty folder; whatever else has the name stays
            return target
        except OSError as error:
            if not os.path.lexists(target):
                raise
            if name is not None:
                problem = f"A run or folder {target} exists already."
                raise UsageError(
                    problem, "Choose another --run NAME, or go on with it: vdtui resume " + name
                ) from error
            number += 1


def find_run(folder: Path, name: str) -> RunDirectory:
    """The run ``name`` in ``folder``, or the one whose path ``name`` is; raises UsageError if there is none."""
    for path in (folder / name, Path(name)):
        if _is_run(path):
            return RunDirectory(path if path.name else path.resolve())
    import difflib

    near = difflib.get_close_matches(name, [run.name for run in list_runs(folder)], n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"There is no run {name!r} in {folder}.", hint + "See `vdtui runs`, or name the folder: --runs-dir DIR."
    )


def list_runs(folder: Path) -> list[RunDirectory]:
    """All runs in ``folder``, oldest first; a folder is a run if it has a status or a preset."""
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    return [RunDirectory(path) for path in sorted(filter(_is_run, paths), key=_age)]


def _is_run(path: Path) -> bool:
    try:
        return (path / "status.json").is_file() or (path / "preset.toml").is_file()
    except (OSError, ValueError):  # a name that no disk can hold
        return False


def _age(path: Path) -> tuple[float, str]:
    try:
        return (path / "preset.toml").stat().st_mtime, path.name
    except OSError:
        return 0.0, path.name
