"""Presets: schema, loading, inheritance, overrides."""

from engine.config.load import is_published, keys, load_preset, preset_names, published_twin, read_preset, to_toml
from engine.config.revisions import earlier, outdated, revisions
from engine.config.schema import Preset

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
    "revisions",
    "to_toml",
]
