"""A worker's hold on the folder of its run, by which it notices that the folder is moved or deleted.

A worker knows its files by their paths. Were they all it looked at, its next heartbeat or checkpoint would bring the
old folder back, half a run beside the one that was moved, or in the place of the one that was deleted.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from engine.errors import RunError
from engine.files import never_made_anew


class FolderGoneError(RunError):
    """The folder of a run is no longer where its worker found it."""


class Hold:
    """The folder ``path``, held open from now to ``release``; meanwhile this process makes no folder of that path anew.

    ``locked`` is the file in it that the worker has locked: a folder that is being deleted loses its files first.
    """

    def __init__(self, path: Path, locked: Path) -> None:
        self._path, self._locked = path, locked
        self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._known = {path: os.fstat(self._folder), locked: os.stat(locked)}
        self._ends = contextlib.ExitStack()
        self._ends.enter_context(never_made_anew(path))
        self._ends.callback(os.close, self._folder)

    def release(self) -> None:
        """Close the folder."""
        self._ends.close()

    def check(self) -> None:
        """Raise FolderGoneError if the folder was moved or deleted, or another one is in its place."""
        if not self._is_here():
            moved = self.moved_to()
            problem = f"The folder {self._path} was {'moved' if moved else 'deleted'} while its run was worked on."
            hint = f"Go on with it where it is now: vdtui resume {moved}" if moved else "Nothing of it was made anew."
            raise FolderGoneError(problem, hint)

    def moved_to(self) -> Path | None:
        """Return where the folder is now; None if it is deleted, or where the system does not tell."""
        try:
            place = Path(os.readlink(f"/proc/self/fd/{self._folder}"))
            here = os.path.samestat(os.stat(place), os.fstat(self._folder))
            return place if here and place != self._path else None
        except OSError:
            return None

    def _is_here(self) -> bool:
        try:
            return all(os.path.samestat(os.stat(path), known) for path, known in self._known.items())
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:  # a disk that does not answer is no proof
            return True
