"""Nested tables, as presets and records have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def dotted(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested ``tables`` by their dotted keys, such as ``dynamic.dm.bank``, in order."""
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
