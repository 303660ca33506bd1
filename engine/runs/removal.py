"""Removing runs: what may go, what that is, and its end.

A folder that is deleted is gone, so nothing is guessed here: only what the engine itself has made counts as a run, and
one file too many is reason enough to leave all of it. The command line and the dashboard remove through this alone.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from pathlib import Path

from engine.errors import RunError, UsageError
from engine.files import DRAFT, draft, storage_errors
from engine.runs.directory import RunDirectory, find_run
from engine.runs.log import is_event_log
from engine.runs.status import ALIVE

BEGUN_WITH = frozenset({"preset.toml", "meta.json", "control.json", "status.json"})
"""Files that every run has from its first moment."""
FILES = BEGUN_WITH | {
    *("events.jsonl", "engine.log", "lock", "report.html", "budget.json", "job.json"),
    *("trackers.json", "metrics.prom"),
}
FOLDERS = frozenset({"checkpoints", "synthetic", "previews", "evaluations", "baselines", "rungs"})
TRACKED = frozenset({"tensorboard", "wandb"})
"""Folders that trackers write."""
_HALF_WRITTEN = re.compile(r"\.[\w-]+\.\d+-\d+\.tmp(\.\w+)?")
"""Names of what an earlier version left of a file that it replaced when it was killed; now these are drafts."""
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Removal:
    """A removal to be confirmed: the run, its ``state``, its size in ``nbytes``; of a linked run, the link alone."""

    run: RunDirectory
    state: str
    """One of the eight states, or ``damaged``."""
    nbytes: int
    target: Path | None
    """The place of a linked run, which stays."""


def find_removals(folder: Path, names: list[str]) -> list[Removal]:
    """Return the removals of the runs ``names`` (names in ``folder``, or paths), each once, in their order.

    Raises UsageError for a name that is none, RunError for what is no run or lives; then none of them may go.
    """
    found: dict[Path, Removal] = {}
    for name in names:
        if not name.strip() or Path(name).name in ("", ".."):
            raise UsageError(f"{name!r} does not name a run.", "Name it as `vdtui runs` does, or by its folder.")
        removal = removal_of(find_run(folder, name))
        path = removal.run.path
        found.setdefault(path.parent.resolve() / path.name, removal)
    return list(found.values())


def removal_of(run: RunDirectory) -> Removal:
    """Return the removal of ``run``; raise RunError if it is no run, holds foreign files, or is worked on."""
    linked = run.path.is_symlink()
    _check_is_run(run)
    if not linked:
        _check_is_all_ours(run)
    try:
        state = run.state()
    except RunError:
        state = "damaged"
    if state in ALIVE:
        raise RunError(f"The run {run.name} is {state}.", f"Stop it first: vdtui stop {run.name}")
    run.check_free()
    return Removal(run, state, 0 if linked else _nbytes(run.path), run.path.resolve() if linked else None)


def remove_run(run: RunDirectory) -> None:
    """Delete a run, or the link to it where it is linked; raises RunError as ``removal_of`` does.

    It goes at once, by its name: killed meanwhile, this leaves a draft that is swept, and no half of a run, which could
    be told from a foreign folder no more.
    """
    removal = removal_of(run)
    with storage_errors(run.path):
        if removal.target is not None:
            run.path.unlink()
            return
        lock = run.lock()
        lock.acquire()  # no worker begins while its folder goes
        try:
            with draft(run.path.parent) as apart:
                _delete(run.path, apart / "run")
        finally:
            lock.release()


def _delete(folder: Path, apart: Path) -> None:
    """Delete ``folder`` after it was moved to ``apart``; what cannot be deleted is put back."""
    folder.replace(apart)
    try:
        shutil.rmtree(apart)
    except OSError:
        apart.replace(folder)
        raise


def _check_is_run(run: RunDirectory) -> None:
    """The engine's own event log and meta.json; a run whose worker never came has its first files and no log."""
    path = run.path
    if path.name == "" or not path.is_dir():
        raise RunError(f"{path} is no run.", "Name a folder that `vdtui runs` lists.")
    hint = "Nothing was removed. If the folder is to go, delete it by other means."
    if not isinstance(run.meta().get("seed"), int):
        raise RunError(f"{path} is no run: it has no meta.json of vdtui.", hint)
    begun = run.events_file.exists() or any(os.path.lexists(path / name) for name in FOLDERS)
    begun = begun or not all((path / name).is_file() for name in BEGUN_WITH)
    if begun and not is_event_log(run.events_file):
        raise RunError(f"{path} is no run: it has no event log of vdtui.", hint)


def _check_is_all_ours(run: RunDirectory) -> None:
    with os.scandir(run.path) as entries:
        foreign = sorted(entry.name for entry in entries if not _is_ours(entry))
    if foreign:
        more = f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
        problem = f"{run.path} holds what is not of a run: {', '.join(foreign[:_NAMED])}{more}."
        raise RunError(problem, "Nothing was removed. Move that elsewhere first.")


def _is_ours(entry: os.DirEntry[str]) -> bool:
    if entry.is_dir():
        return entry.name in FOLDERS | TRACKED or (DRAFT.fullmatch(entry.name) is not None and not entry.is_symlink())
    return entry.name in FILES or _HALF_WRITTEN.fullmatch(entry.name) is not None


def _nbytes(folder: Path) -> int:
    """Bytes of all files in ``folder``; links are not followed, and what cannot be read counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total
