"""Memories as pictures of bytes and back: what a codec stores of them.

A codec stores 256 levels. Colours in the range of pixels are stored as these, so that nothing needs to be said of them.
Learned memories may leave that range, and dynamic ones have none: of each of these the levels go from its least value
to its largest, two float32 numbers beside the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from engine.config.kinds import Part
from engine.data.spec import ClipSpec
from engine.errors import DataError
from engine.machine.cores import usable_cores
from engine.synthetic.streams import Coded, Coding

HALF_LEVEL = 1 / 510
"""Half a level of a pixel: colours that are no farther out of [0, 1] are pixels."""


def has_levels(coding: Coding) -> bool:
    """Return whether ``coding`` stores bytes; the others store values as they are."""
    return not coding.name.startswith("float")


def to_levels(part: Part, memory: torch.Tensor, spec: ClipSpec) -> tuple[np.ndarray, torch.Tensor | None]:
    """Return a memory (C, n, ...) as uint8 (C, n, T, h, w, channels), and its ranges (C, n, 2), or None for pixels.

    Value = least + step * level, in pixel units of [0, 1] for colours, so that a codec's idea of luminance holds.
    Raises DataError for values that are not finite.
    """
    values = frames_of(part, memory)
    mean, std = _scale(spec, part.channels)
    values = values * std + mean
    if part.exact or (part.channels == 3 and ((values >= -HALF_LEVEL) & (values <= 1 + HALF_LEVEL)).all()):
        return (values * 255).round().clamp(0, 255).to(torch.uint8).numpy(), None
    flat = values.flatten(2)
    low, high = flat.amin(2), flat.amax(2)
    step = ((high - low) / 255).clamp_min(torch.finfo(torch.float32).tiny)
    if not torch.isfinite(step).all():
        problem = "The set has values that are not finite, or too far apart for 256 levels."
        raise DataError(problem, "Choose an earlier state of the set, or store it as float32.")
    levels = ((flat - low.unsqueeze(2)) / step.unsqueeze(2)).round().clamp(0, 255).to(torch.uint8)
    return levels.view(values.shape).numpy(), torch.stack([low, step], 2)


def to_memory(part: Part, levels: np.ndarray, ranges: torch.Tensor | None, spec: ClipSpec) -> torch.Tensor:
    """Return the inverse of ``to_levels`` but for its rounding: (C, n, ...), float32."""
    shown = torch.from_numpy(levels)
    if ranges is None:
        memory = spec.normalise(shown.flatten(0, 1)).movedim(1, 2).unflatten(0, shown.shape[:2])
    else:
        mean, std = _scale(spec, part.channels)
        low, step = (end.view(*shown.shape[:2], 1, 1, 1, 1) for end in ranges.unbind(2))
        memory = ((low + step * shown.to(torch.float32) - mean) / std).movedim(-1, 3)
    return (memory.squeeze(2) if part.still else memory).contiguous()


def frames_of(part: Part, memory: torch.Tensor) -> torch.Tensor:
    """Return a memory (C, n, T, channels, h, w), or of stills without T, as (C, n, T, h, w, channels)."""
    return (memory.unsqueeze(2) if part.still else memory).movedim(3, -1)


def pixel_range(spec: ClipSpec, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the normalised values of black and of white, each (3, 1, 1)."""
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (spec.mean, spec.std))
    return -mean / std, (1 - mean) / std


def _scale(spec: ClipSpec, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of pixels; a dynamic memory's single channel is in units of its own."""
    if channels == 1:
        return torch.zeros(1), torch.ones(1)
    return torch.tensor(spec.mean), torch.tensor(spec.std)


def encoded(coding: Coding, clips: Sequence[np.ndarray]) -> list[Coded]:
    """Return ``clips``, each (T, h, w, channels), through ``coding``: one by one, on all cores."""
    with ThreadPoolExecutor(usable_cores()) as pool:  # coders let go of the interpreter
        return list(pool.map(coding.encode_clip, clips))


def decoded(
    part: Part, memory: torch.Tensor, spec: ClipSpec, coding: Coding, wanted: Sequence[int] | None = None
) -> torch.Tensor:
    """Return what ``memory`` (C, n, ...) comes back as from a file that stores it by ``coding``, which has levels.

    With ``wanted``, numbers of memories in 0..C*n - 1, all others are zeros, and are not encoded. Raises DataError.
    """
    levels, ranges = to_levels(part, memory, spec)
    clips = levels.reshape(-1, *levels.shape[2:])
    wanted = range(len(clips)) if wanted is None else wanted

    def there_and_back(number: int) -> np.ndarray:
        clip = clips[number]
        return coding.decode(coding.join([coding.encode_clip(clip)]), (1, *clip.shape))[0]

    shown = np.zeros_like(clips)
    with ThreadPoolExecutor(usable_cores()) as pool:  # coders let go of the interpreter
        for number, frames in zip(wanted, pool.map(there_and_back, wanted), strict=True):
            shown[number] = frames
    found = to_memory(part, shown.reshape(levels.shape), ranges, spec)
    mine = torch.zeros(len(clips), dtype=torch.bool)
    mine[list(wanted)] = True
    return torch.where(mine.view(*memory.shape[:2], *(1 for _ in memory.shape[2:])), found, 0.0)
