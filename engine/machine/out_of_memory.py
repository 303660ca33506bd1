"""Errors of libraries that ran out of memory, each in its own words, as one error with a remedy.

Needs no torch, so that the command line can tell it of anything.
"""

from __future__ import annotations

import contextlib
import re
import resource
from collections.abc import Iterator

from engine.errors import MemoryShortError
from engine.text import human_bytes

_MESSAGES = re.compile(
    r"can't allocate memory|not enough memory|out of memory|ALLOC_FAILED|[Cc]annot allocate memory"
    r"|failed to map segment|can't start new thread"  # a library that does not fit; the stack of a thread
)
_WANTED = re.compile(r"(?:[Tt]ried|Unable) to allocate (\d[\d.]*) (\w+)")
HINT = (
    "Free some and go on, or ask for less: synthetic.ipc, dynamic.batch_real, evaluation.batch and the clips' size "
    "decide; `vdtui plan` tells the need."
)


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Raise MemoryShortError for what was raised inside because memory of the machine or of the device ran out."""
    try:
        yield
    except (MemoryError, RuntimeError, ImportError, OSError) as error:
        if not (isinstance(error, MemoryError) or _MESSAGES.search(str(error))):
            raise
        raise MemoryShortError(f"Memory ran out{_wanted(str(error))}.", _limit() or HINT) from error


def _limit() -> str:
    """Return what to do about a limit of this process's address space; empty where there is none."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return ""
    return f"This shell lets a process have {human_bytes(limit)} of addresses: raise it with `ulimit -v unlimited`."


def _wanted(message: str) -> str:
    found = _WANTED.search(message)
    if found is None:
        return ""
    more = human_bytes(int(found[1])) if found[2] == "bytes" else f"{found[1]} {found[2]}"
    return f" when {more} more were asked for"
