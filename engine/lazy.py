"""torch for modules that must be importable without it: it is loaded when one of its names is first used.

An objective's file holds its settings, which presets, forms and the dashboard read, and its computation, which needs
torch. Importing torch takes seconds, so such a file says ``from engine.lazy import nn, torch`` and uses neither while
it is imported: annotations are not evaluated, ``with torch.no_grad():`` stands in a function in place of a decorator,
and subclasses of torch's classes stand in a module of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn
else:
    from importlib import import_module

    class _Lazy:
        def __init__(self, name):
            self._name = name

        def __getattr__(self, name):
            return getattr(import_module(self._name), name)

    torch, nn = _Lazy("torch"), _Lazy("torch.nn")

__all__ = ["nn", "torch"]
