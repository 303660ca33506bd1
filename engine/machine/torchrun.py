"""The variables that torchrun sets for its processes. Schedulers of clusters set some of them too.

A process that believed WORLD_SIZE alone would wait for others that never come.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_SET_BY_TORCHRUN = frozenset(
    {
        *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME"),
        *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
        *("MASTER_ADDR", "MASTER_PORT"),
    }
)
_PREFIXES = ("TORCHELASTIC_", "PET_")
"""Prefixes of its other variables, and of the defaults that it takes for its own options."""


def started_by_torchrun() -> bool:
    """Return whether this process is one of several that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def leads() -> bool:
    """Return whether this process owns the run; of several that torchrun started, the first one does."""
    return not started_by_torchrun() or os.environ.get("RANK") == "0"


def without_torchrun(environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` for a process that is to be one of its own, or to start torchrun itself."""
    return {
        name: value
        for name, value in environment.items()
        if name not in _SET_BY_TORCHRUN and not name.startswith(_PREFIXES)
    }
