"""Presets: schema, loading, inheritance, overrides."""

from engine.config.load import keys, load_preset, preset_names, read_preset, to_toml
from engine.config.schema import Preset

__all__ = ["Preset", "keys", "load_preset", "preset_names", "read_preset", "to_toml"]
