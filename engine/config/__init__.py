"""Presets: schema, loading, inheritance, overrides.

Names are loaded when they are first used: the schema is built from the objectives' files, and these import
``engine.config.fields`` from here, which must not build the schema in turn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.config.load import is_published, keys, load_preset, preset_names, published_twin, read_preset, to_toml
    from engine.config.revisions import earlier, outdated
    from engine.config.schema import Preset

_HOMES = {
    "Preset": "schema",
    "earlier": "revisions",
    "is_published": "load",
    "keys": "load",
    "load_preset": "load",
    "outdated": "revisions",
    "preset_names": "load",
    "published_twin": "load",
    "read_preset": "load",
    "to_toml": "load",
}

__all__ = [
    "Preset",
    "earlier",
    "is_published",
    "keys",
    "load_preset",
    "outdated",
    "preset_names",
    "published_twin",
    "read_preset",
    "to_toml",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'engine.config' has no attribute {name!r}")
    try:
        home = import_module(f"engine.config.{_HOMES[name]}")
    except AttributeError as error:  # of an objective's file, say: ``from engine.config import ...`` would swallow it
        raise ImportError(f"engine.config.{_HOMES[name]} cannot be imported: {error}") from error
    return getattr(home, name)
