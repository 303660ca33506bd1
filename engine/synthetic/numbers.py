"""Tensors as numbers of a precision: what a set file holds of each part of a set."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from engine.config.kinds import Part
from engine.errors import DataError, UsageError

PRECISIONS = {"float32": 4, "float16": 2, "uint8": 1}
"""Bytes per stored value."""
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "uint8": torch.uint8}


def check_precision(precision: str) -> None:
    """Raise UsageError unless ``precision`` is one of PRECISIONS."""
    if precision not in PRECISIONS:
        raise UsageError(f"There is no precision {precision!r}.", f"Choose one of {', '.join(PRECISIONS)}.")


def precision_of(part: Part, precision: str) -> str:
    """The precision of ``part`` in a set that is stored at ``precision``.

    Pictures may be stored at a lower one. Hallucinators (327 weights each), coefficients and soft labels are always
    float32: they are few, and every clip depends on them.
    """
    return precision if part.channels else "float32"


def stored_bytes(part: Part, tensor: torch.Tensor, precision: str) -> int:
    """Bytes of one tensor in the file at ``precision``."""
    precision = precision_of(part, precision)
    ranges = 8 * tensor.shape[0] * tensor.shape[1] if precision == "uint8" else 0
    return tensor.numel() * PRECISIONS[precision] + ranges


def encode(part: Part, tensor: torch.Tensor, precision: str) -> dict[str, torch.Tensor]:
    """The tensors that store ``tensor`` at ``precision``, as far as ``precision_of`` the part allows.

    uint8 has a scale and an offset for each [class, memory] slice: value = offset + scale * stored. Raises DataError
    for values that float16 cannot hold.
    """
    name, precision = part.name, precision_of(part, precision)
    if precision == "float32":
        return {name: tensor.to(torch.float32).contiguous()}
    if precision == "float16":
        if tensor.numel() and tensor.abs().max() > torch.finfo(torch.float16).max:
            problem = f"The {name} memory has values up to {tensor.abs().max():.3g}, beyond what float16 can hold."
            raise DataError(problem, "Export it as float32 or uint8.")
        return {name: tensor.to(torch.float16).contiguous()}
    flat = tensor.flatten(2)
    low, high = flat.amin(2), flat.amax(2)
    scale = ((high - low) / 255).clamp_min(torch.finfo(torch.float32).tiny)
    steps = ((flat - low.unsqueeze(2)) / scale.unsqueeze(2)).round().clamp(0, 255).to(torch.uint8)
    return {name: steps.view(tensor.shape).contiguous(), f"{name}.offset": low, f"{name}.scale": scale}


def decode(part: Part, stored: Mapping[str, torch.Tensor], precision: str) -> torch.Tensor:
    """float32 values of ``part``; the inverse of ``encode`` up to its rounding.

    Raises KeyError or ValueError if it is not stored as ``encode`` does.
    """
    name, precision = part.name, precision_of(part, precision)
    tensor = typed(stored, name, _DTYPES[precision])
    if precision != "uint8":
        return tensor.to(torch.float32)
    low, scale = (typed(stored, f"{name}.{piece}", torch.float32) for piece in ("offset", "scale"))
    if not low.shape == scale.shape == tensor.shape[:2]:
        raise ValueError(f"ranges of {name}")
    shape = tensor.shape[:2] + (1,) * (tensor.dim() - 2)
    return low.view(shape) + scale.view(shape) * tensor.to(torch.float32)


def typed(stored: Mapping[str, torch.Tensor], name: str, dtype: torch.dtype) -> torch.Tensor:
    """The tensor ``name``, which must be of ``dtype``. Raises KeyError or ValueError."""
    if stored[name].dtype != dtype:
        raise ValueError(f"{name} is {stored[name].dtype}")
    return stored[name]
