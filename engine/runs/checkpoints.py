"""Checkpoints: numpy arrays and a small JSON document in one safetensors file, complete or absent.

Random generators need not be stored: every random draw of a run comes from a generator that is derived from the
seed, a name and a step (``engine.seeds``), so the step is the state. Nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import RunError
from engine.runs.files import storage_errors, write_bytes

if TYPE_CHECKING:
    import numpy as np

KEPT = 2


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """State of a run after ``step`` optimiser steps of ``stage``."""

    stage: str
    step: int
    arrays: dict[str, np.ndarray]
    document: dict[str, Any]


def save_checkpoint(folder: Path, order: int, checkpoint: Checkpoint) -> Path:
    """Write ``checkpoint`` as number ``order`` of the run, then remove all but the last ``KEPT``."""
    from safetensors.numpy import save

    path = folder / f"{order:08d}-{checkpoint.stage}-{checkpoint.step}.safetensors"
    metadata = {"stage": checkpoint.stage, "step": str(checkpoint.step), "document": json.dumps(checkpoint.document)}
    # The library stores the memory behind an array: of a view, that is not what the view shows.
    arrays = {name: array.copy(order="C") for name, array in checkpoint.arrays.items()}
    write_bytes(path, save(arrays, metadata))
    with storage_errors(folder):
        for old in checkpoint_files(folder)[:-KEPT]:
            old.unlink(missing_ok=True)
    return path


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints in ``folder``, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.glob("*.safetensors") if re.match(r"\d{8}-", path.name))


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest readable checkpoint, or None if there is none yet.

    A damaged newest one (a disk that lied about a flush) falls back to the one before; RunError if all are damaged.
    """
    files = checkpoint_files(folder)
    for path in reversed(files):
        try:
            return _read(path)
        except (OSError, ValueError, KeyError, _safetensor_error()):
            continue
    if files:
        problem = f"None of the {len(files)} checkpoints in {folder} can be read."
        raise RunError(problem, "Remove that folder to begin the run anew, or restore it from a backup.")
    return None


def _read(path: Path) -> Checkpoint:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    return Checkpoint(metadata["stage"], int(metadata["step"]), arrays, json.loads(metadata["document"]))


def _safetensor_error() -> type[Exception]:
    from safetensors import SafetensorError

    return SafetensorError
