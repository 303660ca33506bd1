"""The class of each kind of set."""

from __future__ import annotations

import importlib

from engine.config.kinds import KINDS
from engine.synthetic.base import SyntheticSet


def set_class(kind: str) -> type[SyntheticSet]:
    """The class that ``kind`` is made by. Raises KeyError for what is no kind, ValueError for one without sets."""
    module, _, name = KINDS[kind].made_by.partition(":")
    found: type[SyntheticSet] = getattr(importlib.import_module(module), name)
    return found
