"""Places where workers are started: on this machine, or as jobs of a cluster.

Commands ask a ``Launcher`` and know no more than that. A run looks the same wherever its worker is: everybody reads its
directory. Nothing here imports torch, and submitit is imported only by who submits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from engine.runs import RunDirectory


@dataclasses.dataclass(frozen=True)
class Work:
    """A run that wants a worker; ``make`` makes its directory, or returns the one that is there."""

    name: str
    make: Callable[[], RunDirectory]


@dataclasses.dataclass(frozen=True)
class Ended:
    """A run whose worker has ended, and what the launcher knows of that beyond the run's state; "" if nothing."""

    run: RunDirectory
    reason: str


class Launcher(Protocol):
    """A place where workers are started."""

    def start(self, run: RunDirectory) -> None:
        """Start a worker on ``run`` and return at once. Raises RunError if a worker has it."""

    def run_all(self, works: Sequence[Work]) -> Iterator[Ended]:
        """Start a worker for each of ``works``, and yield each when it has ended."""

    def interrupted(self) -> str:
        """Return what has become of the work after ``run_all`` was left by KeyboardInterrupt, and how to go on."""
