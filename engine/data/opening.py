"""The clips file of a preset, found, made or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.config import Preset
from engine.data.check import needed_path, open_checked
from engine.data.demo import prepare_demo
from engine.data.store import ClipStore


def open_data(
    runs: Path, preset: Preset, progress: Callable[[int, int, str], None], check: Callable[[], None]
) -> ClipStore:
    """The clips file of the preset, checked against what the preset says of it; the demo's is made in ``runs``."""
    table = preset.dataset
    if table.path is None and table.layout == "demo":
        path = prepare_demo(runs / ".data", 0, progress=progress, check=check)
    else:
        path = Path(needed_path(preset))
    return open_checked(path, preset)
