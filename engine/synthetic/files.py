"""The synthetic set file: safetensors, with what is needed to use the set beside the tensors.

The same set gives the same bytes: the library writes its metadata in a random order, so the header is put in order
before it is written. Nothing is unpickled when a file from outside is read.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from engine.config.kinds import KINDS, LABELS
from engine.data.spec import ClipSpec
from engine.errors import DataError, PresetError
from engine.files import write_bytes
from engine.synthetic.base import SyntheticSet
from engine.synthetic.numbers import PRECISIONS
from engine.synthetic.registry import set_class
from engine.text import one_line

FORMAT, VERSION = "vdtui.synthetic", 1
_MOST_FRAMES = 1 << 16
"""A damaged file that names more would fill the memory when its few stored frames are shown."""
_MOST_SIDE = 1 << 12
"""As above, for the height and width of still images of which there are none, which take no bytes."""
LATER_FIELDS = ("step_size", "objective")
"""Fields of ``Provenance`` that a file may lack."""
_OPTIONAL = ("temporal", "hallucinator")
"""Metadata that says something of some kinds of sets alone."""
_HINT = "Export it again with `vdtui export RUN --format safetensors`, or use another file."


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where a set comes from: preset title, seed, and the protocol and accuracy that chose it."""

    preset: str = ""
    seed: int = 0
    step: int = 0
    protocol: str = ""
    selected_on: str = "none"
    accuracy: float | None = None
    step_size: float | None = None
    """The learning rate that was learned with the set (trajectory matching), which networks are to be trained at."""
    objective: str | None = None
    """By which it was learned, as presets name it; None of real clips, and of files from before it was noted."""

    def metadata(self) -> dict[str, str]:
        """As text by field; a step size or objective that there is not is left out, as in files from before them."""
        fields = dataclasses.asdict(self)
        known = {name: value for name, value in fields.items() if name not in LATER_FIELDS or value is not None}
        return {name: json.dumps(value) for name, value in known.items()}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str]) -> Provenance:
        """The inverse of ``metadata``. Raises KeyError or ValueError for what is missing or of another type."""
        own = cls.__dataclass_fields__
        fields = {name: json.loads(metadata[name]) for name in own if name not in LATER_FIELDS or name in metadata}
        fields = dict.fromkeys(LATER_FIELDS) | fields
        wanted = {"preset": str, "seed": int, "step": int, "protocol": str, "selected_on": str}
        bad = [name for name, kind in wanted.items() if type(fields[name]) is not kind]
        bad += [name for name in ("accuracy", "step_size") if not _is_measure(fields[name])]
        bad += [] if isinstance(fields["objective"], str | None) else ["objective"]
        if bad or (fields["step_size"] is not None and fields["step_size"] <= 0):
            raise ValueError(bad[0] if bad else "step_size")
        return cls(**fields)


def _is_measure(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and abs(value) <= sys.float_info.max)


def to_bytes(synthetic: SyntheticSet, provenance: Provenance, precision: str = "float32") -> bytes:
    """The file's content; equal sets and provenances give equal bytes."""
    spec = synthetic.spec
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "kind": synthetic.kind,
        "classes": json.dumps(list(spec.classes), ensure_ascii=False),
        "ipc": str(synthetic.ipc),
        "pairing": json.dumps(synthetic.pairing()),
        "frames": str(spec.frames),
        "mean": json.dumps(list(spec.mean)),
        "std": json.dumps(list(spec.std)),
        "precision": precision,
        **synthetic.metadata(),
        **provenance.metadata(),
    }
    stored, extra = synthetic.encoded(precision)
    soft = stored.pop(LABELS.name, None)
    stored["labels"] = hard_labels(len(spec.classes), synthetic.ipc) if soft is None else soft
    return ordered(save(stored, metadata | extra))


def save_synthetic(path: Path, synthetic: SyntheticSet, provenance: Provenance, precision: str = "float32") -> None:
    """Write ``synthetic`` to ``path``, complete or not at all."""
    write_bytes(path, to_bytes(synthetic, provenance, precision))


def hard_labels(classes: int, ipc: int) -> torch.Tensor:
    """The labels of instances by their place, int64 (C, ipc)."""
    return torch.arange(classes).unsqueeze(1).expand(-1, ipc).contiguous()


def ordered(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted by key; tensors and their bytes stay as they are."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


@dataclasses.dataclass(frozen=True)
class LoadedSet:
    """A set from a file, with where it comes from and at which precision it was stored."""

    synthetic: SyntheticSet
    provenance: Provenance
    precision: str


def load_synthetic(path: str | Path, device: torch.device | str = "cpu") -> SyntheticSet:
    """The synthetic set in ``path``: an object with ``sample``, ``expand`` and ``as_dataset``. Raises DataError."""
    return load_set(path, device).synthetic


def load_set(path: str | Path, device: torch.device | str = "cpu") -> LoadedSet:
    """As ``load_synthetic``, with provenance and precision. Raises DataError."""
    stored, metadata = _read(Path(path), str(device))
    path = one_line(path)
    if metadata.get("format") != FORMAT:
        raise DataError(f"{path} is a safetensors file, but not a synthetic set.", _HINT)
    if metadata.get("version") != str(VERSION):
        version = one_line(str(metadata.get("version"))[:20])
        problem = f"{path} has version {version} of the format; this vdtui reads {VERSION}."
        raise DataError(problem, "Update vdtui to read it.")
    try:
        precision = metadata["precision"]
        if precision not in PRECISIONS:
            raise ValueError(precision)
        synthetic = built(stored, metadata, precision)
        provenance = Provenance.of_metadata(metadata)
    except (LookupError, ValueError, TypeError, AssertionError, RuntimeError, ArithmeticError, PresetError) as error:
        reason = one_line(str(error))[:120]
        raise DataError(f"{path} is damaged: its tensors do not fit its description ({reason}).", _HINT) from error
    if not all(torch.isfinite(tensor).all() for tensor in synthetic.tensors().values()):
        raise DataError(f"{path} holds values that are not finite.", _HINT)
    return LoadedSet(synthetic, provenance, precision)


def _read(path: Path, device: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    shown = one_line(path)
    try:
        with safe_open(path, framework="pt", device=device) as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError as error:
        raise DataError(f"There is no file {shown}.", "Check the path.") from error
    except (OSError, SafetensorError) as error:
        reason = one_line(str(error).splitlines()[0][:120])
        raise DataError(f"{shown} cannot be read as a synthetic set: {reason}.", _HINT) from error


def built(stored: dict[str, torch.Tensor], metadata: dict[str, str], precision: str) -> SyntheticSet:
    """The set of a file's tensors and metadata. Raises what ``load_set`` makes a DataError of."""
    kind, ipc = set_class(metadata["kind"]), int(metadata["ipc"])
    spec = _spec(metadata, stored[KINDS[kind.kind].parts[0].name])
    if ipc < 1:
        raise ValueError("ipc")
    if unread := [name for name in _OPTIONAL if name in metadata and name not in kind.metadata_read]:
        raise ValueError(unread[0])
    soft = _soft_labels(stored, len(spec.classes), ipc)
    tensors = kind.decoded(spec, ipc, stored, metadata, precision) | ({} if soft is None else {LABELS.name: soft})
    synthetic = kind.build(spec, ipc, tensors, metadata)
    if synthetic.ipc != ipc:
        raise ValueError("ipc")
    return synthetic


def _spec(metadata: Mapping[str, str], memory: torch.Tensor) -> ClipSpec:
    spec = ClipSpec(
        classes=tuple(str(name) for name in json.loads(metadata["classes"])),
        frames=int(metadata["frames"]),
        height=memory.shape[-2],
        width=memory.shape[-1],
        mean=tuple(float(value) for value in json.loads(metadata["mean"])),
        std=tuple(float(value) for value in json.loads(metadata["std"])),
    )
    if len(spec.mean) != 3 or len(spec.std) != 3 or not all(map(math.isfinite, spec.mean + spec.std)):
        raise ValueError("mean or std")
    if min(spec.std) <= 0 or not 1 <= spec.frames <= _MOST_FRAMES or not spec.classes or 0 in memory.shape[2:]:
        raise ValueError("std, frames, or no memory at all")
    if not memory.numel() and max(spec.height, spec.width) > _MOST_SIDE:
        raise ValueError("height or width")
    return spec


def _soft_labels(stored: Mapping[str, torch.Tensor], classes: int, ipc: int) -> torch.Tensor | None:
    """The labels if they are soft; hard ones can only be those that the places of the instances say."""
    labels = stored["labels"]
    if labels.dtype == torch.float32 and labels.shape == (classes, ipc, classes):
        return labels
    hard = labels.dtype == torch.int64 and labels.shape == (classes, ipc)
    if not (hard and torch.equal(labels.cpu(), hard_labels(classes, ipc))):
        raise ValueError("labels")
    return None
