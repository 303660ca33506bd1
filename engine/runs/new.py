"""A new run: its data found, and its directory made. Needs no torch, so that the dashboard can start runs too."""

from __future__ import annotations

import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.config import Preset, to_toml
from engine.config.revisions import revisions
from engine.data.recipe import default_file
from engine.runs import RunDirectory, create_run, runs_folder
from engine.version import VERSION

LIBRARIES = ("torch", "torchvision", "numpy", "h5py", "av", "safetensors")


def with_data(preset: Preset, data: str | Path | None) -> Preset:
    """``preset`` on the clips file ``data``, on its own, or on the one that `prepare` leaves in this folder.

    The path is made absolute, since workers live elsewhere.
    """
    given = preset.dataset.path if data is None else data
    if given is None:
        expected = default_file(preset.dataset)
        given = expected if expected is not None and expected.is_file() else None
    if given is None:
        return preset
    path = str(Path(given).resolve())
    return preset.model_copy(update={"dataset": preset.dataset.model_copy(update={"path": path})})


def new_run(
    preset: Preset, data: str | Path | None, runs_dir: Path | None, name: str | None, stem: str, command: list[str]
) -> RunDirectory:
    """Make the directory of a run of ``preset``, in state queued. ``stem`` names it if ``name`` does not."""
    preset = with_data(preset, data)
    versions = {library: metadata.version(library) for library in LIBRARIES}
    meta: dict[str, Any] = {
        "tool": f"vdtui {VERSION}",
        "versions": {"python": platform.python_version(), **versions},
        "platform": platform.platform(),
        "command": command,
        "seed": preset.run.seed,
        "revisions": revisions(preset),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    return create_run(runs_folder(runs_dir), name, stem, to_toml(preset), meta)
