"""The description of a set in its file, beside its memories: the clips that it stands for, and where it comes from."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from typing import Any

import torch

from engine.data.spec import ClipSpec
from engine.errors import PresetError

LATER_FIELDS = ("step_size", "objective", "accuracy_as")
"""Fields of ``Provenance`` that a file may lack."""
DAMAGE = (LookupError, ValueError, TypeError, AssertionError, RuntimeError, ArithmeticError, PresetError)
"""The errors of building a set of parts that do not go together."""
OPTIONAL = ("temporal", "hallucinator", "formation")
"""Metadata that says something of some kinds of sets alone."""
_MOST_FRAMES = 1 << 16
"""A damaged file that names more would fill the memory when its few stored frames are shown."""
_MOST_SIDE = 1 << 12
"""The same bound for the height and width of still images of which there are none, which take no bytes."""


@dataclasses.dataclass(frozen=True)
class Provenance:
    """The origin of a set: preset title, seed, and the protocol and accuracy that chose it."""

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
    accuracy_as: str | None = None
    """The storage of the set whose networks reached ``accuracy``, where it is not that of this file."""

    def metadata(self) -> dict[str, str]:
        """Return the fields as text, by name; later ones that are missing are left out, as in older files."""
        fields = dataclasses.asdict(self)
        known = {name: value for name, value in fields.items() if name not in LATER_FIELDS or value is not None}
        return {name: json.dumps(value) for name, value in known.items()}

    def stored_as(self, how: str, before: str) -> Provenance:
        """Return the origin that a file of storage ``how`` states, made of a set that was stored as ``before``."""
        if how == before or self.accuracy is None or self.accuracy_as is not None:
            return self
        return dataclasses.replace(self, accuracy_as=before)

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str]) -> Provenance:
        """The inverse of ``metadata``. Raises KeyError or ValueError for what is missing or of another type."""
        own = cls.__dataclass_fields__
        fields = {name: json.loads(metadata[name]) for name in own if name not in LATER_FIELDS or name in metadata}
        fields = dict.fromkeys(LATER_FIELDS) | fields
        wanted = {"preset": str, "seed": int, "step": int, "protocol": str, "selected_on": str}
        bad = [name for name, kind in wanted.items() if type(fields[name]) is not kind]
        bad += [name for name in ("accuracy", "step_size") if not _is_measure(fields[name])]
        bad += [name for name in ("objective", "accuracy_as") if not isinstance(fields[name], str | None)]
        if bad or (fields["step_size"] is not None and fields["step_size"] <= 0):
            raise ValueError(bad[0] if bad else "step_size")
        return cls(**fields)


def _is_measure(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and abs(value) <= sys.float_info.max)


def hard_labels(classes: int, ipc: int) -> torch.Tensor:
    """The labels of instances by their place, int64 (C, ipc)."""
    return torch.arange(classes).unsqueeze(1).expand(-1, ipc).contiguous()


def checked_spec(
    classes: Any, frames: Any, mean: Any, std: Any, memory: torch.Size, size: tuple[int, int] | None = None
) -> ClipSpec:
    """Return the clips that a file says it has, whose ``memory`` of the first part has this shape.

    They have the ``size`` (height and width) of that memory unless one is given. Raises ValueError or TypeError.
    """
    height, width = memory[-2:] if size is None else size
    spec = ClipSpec(
        classes=tuple(str(name) for name in classes),
        frames=int(frames),
        height=height,
        width=width,
        mean=tuple(float(value) for value in mean),
        std=tuple(float(value) for value in std),
    )
    if len(spec.mean) != 3 or len(spec.std) != 3 or not all(map(math.isfinite, spec.mean + spec.std)):
        raise ValueError("mean or std")
    if min(spec.std) <= 0 or not 1 <= spec.frames <= _MOST_FRAMES or not spec.classes or 0 in memory[2:]:
        raise ValueError("std, frames, or no memory at all")
    if not memory.numel() and max(spec.height, spec.width) > _MOST_SIDE:
        raise ValueError("height or width")
    return spec


def refuse_infinite(tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError if one of ``tensors`` has a value that is not finite."""
    if bad := [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]:
        raise ValueError(f"{bad[0]} has values that are not finite")
