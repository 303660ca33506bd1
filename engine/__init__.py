"""Video dataset distillation, headless: the work behind `vdtui`, importable and usable from a notebook.

    from engine import load_preset, load_synthetic, run_distillation

Names are loaded when they are first used, so that importing a part of the engine that needs no torch (events, runs,
presets) does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from engine.api import resume_distillation, run_distillation
    from engine.config import Preset, load_preset
    from engine.data.store import ClipStore
    from engine.errors import VdtuiError
    from engine.runs import RunDirectory, find_run
    from engine.synthetic import load_synthetic

_HOMES = {
    "ClipStore": "engine.data.store",
    "Preset": "engine.config",
    "RunDirectory": "engine.runs",
    "VdtuiError": "engine.errors",
    "find_run": "engine.runs",
    "load_preset": "engine.config",
    "load_synthetic": "engine.synthetic",
    "resume_distillation": "engine.api",
    "run_distillation": "engine.api",
}

__all__ = [
    "ClipStore",
    "Preset",
    "RunDirectory",
    "VdtuiError",
    "__version__",
    "find_run",
    "load_preset",
    "load_synthetic",
    "resume_distillation",
    "run_distillation",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
