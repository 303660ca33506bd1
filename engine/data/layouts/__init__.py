"""The layouts that `prepare` knows, by name. A new one is a module beside this and a line in ``LAYOUTS``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.data.layouts import folders
from engine.data.layouts.base import LayoutOptions, Listing, VideoEntry
from engine.errors import UsageError

__all__ = ["LAYOUTS", "LayoutOptions", "Listing", "VideoEntry", "list_videos"]

LAYOUTS: dict[str, Callable[[Path, LayoutOptions], Listing]] = {
    "folders": folders.list_videos,
    "demo": folders.list_demo_videos,
}


def list_videos(layout: str, source: Path, options: LayoutOptions | None = None) -> Listing:
    """List the videos under ``source``.

    Raises :class:`UsageError` for a layout that does not exist and :class:`DataError` where ``source`` does not look
    like that layout.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"There is no layout named {layout!r}.", f"Choose one of: {', '.join(LAYOUTS)}.")
    return LAYOUTS[layout](source, options or LayoutOptions())
