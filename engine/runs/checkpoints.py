"""Checkpoints: numpy arrays and a small JSON document in one safetensors file, complete or absent.

Random generators need not be stored: every random draw of a run comes from a generator that is derived from the
seed, a name and a step (``engine.seeds``), so the step is the state. Nothing is unpickled. A flipped bit would be
learned from without a word, so a checksum of everything is in the file, and is compared before anything is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import RunError
from engine.events import STAGES, Stage
from engine.files import is_number, storage_errors, write_bytes

if TYPE_CHECKING:
    import numpy as np

KEPT = 2
METADATA = ("stage", "step", "document")
"""The metadata of every checkpoint; ``check`` is missing where an earlier version wrote it."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """State of a run after ``step`` optimiser steps of ``stage``."""

    stage: Stage
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
    metadata["check"] = _check(metadata, arrays)
    write_bytes(path, save(arrays, metadata))
    with storage_errors(folder):
        for old in checkpoint_files(folder)[:-KEPT]:
            old.unlink(missing_ok=True)
    return path


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the checkpoints in ``folder``, oldest first."""
    if not folder.is_dir():
        return []
    named = (path for path in folder.glob("*.safetensors") if re.match(r"[0-9]{8}-", path.name))
    return sorted(path for path in named if path.is_file())


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest whole checkpoint, or None if there is none yet; raise RunError if all are damaged."""
    return load_newest(folder)[0]


def load_newest(folder: Path) -> tuple[Checkpoint | None, list[Path]]:
    """Return the newest whole checkpoint, or None if there is none yet, and the files of newer, damaged ones.

    A disk that lied about a flush costs the newest one, not the run. Raises RunError if all are damaged.
    """
    files = checkpoint_files(folder)
    for number, path in reversed([*enumerate(files)]):
        try:
            return _read(path), files[number + 1 :]
        except (*_DAMAGE, _safetensor_error()):
            continue
    if files:
        problem = f"None of the {len(files)} checkpoints in {folder} can be read."
        raise RunError(problem, "Remove that folder to begin the run anew, or restore it from a backup.")
    return None, []


_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""Errors of reading a file that holds something else; a lack of memory is no reason to call it damaged."""


def _read(path: Path) -> Checkpoint:
    """Return the checkpoint in ``path``; raise one of ``_DAMAGE``, or the library's own error, if it is not whole."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        metadata = dict(file.metadata() or {})
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    check = metadata.pop("check", None)
    if metadata.keys() != {*METADATA}:
        raise ValueError("not the metadata of a checkpoint")  # a damaged "check" is not an earlier version
    if check not in (None, _check(metadata, arrays)):
        raise ValueError("the checksum is another")
    document = json.loads(metadata["document"])
    step = int(metadata["step"])
    if step < 0 or not _is_document(document):
        raise ValueError("not the state of a run")
    return Checkpoint(_stage(metadata["stage"]), step, arrays, document)


def _check(metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """Return a hexadecimal digest of ``metadata``, and of name, type, shape and values of the contiguous ``arrays``."""
    import numpy as np

    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {[*array.shape]}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _stage(name: str) -> Stage:
    """Return ``name`` as a stage; raises ValueError if it is none."""
    for stage in STAGES:
        if stage == name:
            return stage
    raise ValueError("not a stage of a run")


def _is_document(document: Any) -> bool:
    return isinstance(document, dict) and all(_FITS[name](document[name]) for name in _FITS.keys() & document.keys())


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_FITS = {
    "data": lambda value: isinstance(value, str),
    "seconds": is_number,
    "revisions": lambda value: isinstance(value, dict),
    "best_step": _is_whole,
    "best_accuracy": lambda value: value is None or is_number(value),
    "evaluated": _is_whole,
}
"""Checks of the values of a document, for the keys that it has: a run that goes on from it relies on them."""


def _safetensor_error() -> type[Exception]:
    from safetensors import SafetensorError

    return SafetensorError
