"""The folders in which campaigns work."""

from __future__ import annotations

import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
"""A disk in memory: of a kill a disk loses nothing, and flushing it would take most of the time."""


def home(name: str) -> tempfile.TemporaryDirectory[str]:
    """Return a new folder, in memory where there is a disk for that."""
    return tempfile.TemporaryDirectory(prefix=f"vdtui-{name}-", dir=MEMORY if MEMORY.is_dir() else None)
