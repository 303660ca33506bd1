"""The few errors that a user can meet.

Each carries two sentences: what is wrong, and what to do about it. The command line prints them as two plain
lines and exits with ``exit_code``; the worker records them in the run's event log. Anything else that is raised
is a bug, and invariants are asserts. If callers raised ad-hoc exceptions instead, messages would lose their hint
and exit codes would drift.
"""

from __future__ import annotations


class VdtuiError(Exception):
    """Something the user can mend.

    ``problem`` says what is wrong, ``hint`` what to do; both are one line of plain text. ``details`` is for the rare
    case that wants more, such as a picture of the folders that were expected: any number of lines, shown after them.
    """

    exit_code = 2

    def __init__(self, problem: str, hint: str, details: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint
        self.details = details

    def __reduce__(self) -> tuple[type[VdtuiError], tuple[str, str, str]]:
        return type(self), (self.problem, self.hint, self.details)  # errors cross process borders (prepare's workers)


class UsageError(VdtuiError):
    """A command was called in a way that cannot work (unknown run, output exists, wrong option)."""


class PresetError(VdtuiError):
    """A preset does not exist, cannot be read, or holds an unknown key, a wrong type or an impossible value."""


class DataError(VdtuiError):
    """Videos, folders or a clips file that are missing, damaged, or not what was expected."""


class RunError(VdtuiError):
    """A run directory that is damaged, busy, from a newer version, or in the wrong state for what was asked."""


class StorageError(VdtuiError):
    """Files that cannot be written or read: full disk, no permission."""

    exit_code = 1


class MemoryShortError(VdtuiError):
    """The machine or the device has not the memory that was asked of it."""

    exit_code = 1


class DivergedError(VdtuiError):
    """The computation left the finite numbers; the last good state is kept."""

    exit_code = 1


class StopRequested(Exception):  # noqa: N818 - not an error
    """Not an error: the run was asked to stop, and its state is saved. Never shown to a user as a failure."""
