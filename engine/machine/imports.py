"""The places where processes that this one starts look for modules: they must get this engine and no other.

`engine` is a common name. A file engine.py in the working directory, or in a folder of PYTHONPATH, would take its place
in a process that trains networks or decodes videos, and end it at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path

from engine import version

HOME = Path(str(version.__file__)).parent.parent
"""The folder that holds the package `engine`."""


def own_path() -> list[str]:
    """Return ``sys.path``, behind ``HOME`` if another `engine` would be found in it."""
    entries = [entry for entry in sys.path if isinstance(entry, str)]
    return entries if _finds_own(entries) else [str(HOME), *entries]


@contextmanager
def own_path_first() -> Iterator[None]:
    """Let ``sys.path`` be ``own_path()`` meanwhile: processes of multiprocessing that start then get it."""
    before = sys.path[:]
    sys.path[:] = own_path()
    try:
        yield
    finally:
        sys.path[:] = before


def own_environment() -> dict[str, str]:
    """Return the environment for `python -m` of a module of ours: ``HOME`` is the first folder of PYTHONPATH."""
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{HOME}{os.pathsep}{others}" if others else str(HOME)}


def _finds_own(entries: list[str]) -> bool:
    found = PathFinder.find_spec("engine", entries)
    try:
        return found is not None and found.origin is not None and os.path.samefile(found.origin, _init())
    except OSError:
        return False


def _init() -> Path:
    return HOME / "engine" / "__init__.py"
