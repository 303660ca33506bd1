"""Locks on open files, which end with the process that holds them, however it ends.

The one place that knows how the operating system locks: flock, which Linux and macOS have. A lock belongs to the open
file, so a second opening in the same process waits like another process.
"""

from __future__ import annotations

import fcntl
from typing import IO, Any


def lock(file: IO[Any], shared: bool = False) -> None:
    """Lock ``file`` without waiting; ``shared`` is for those who only read, of whom there may be several.

    Closing the file gives the lock back. Raises BlockingIOError if another opening holds it, and OSError on a disk
    that has no locks.
    """
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
