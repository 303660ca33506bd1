"""Copies to a device that do not wait for it.

A GPU works off what it was told while the host prepares the next step. An ordinary copy from the host waits until all
of it is done, so that one index of a few bytes in every step makes the GPU idle while the host prepares.
"""

from __future__ import annotations

import functools

from engine.lazy import torch

WAITING = ("cpu", "mps")
"""Devices to which copies are ordinary ones: there is nothing to wait for, or no other way."""


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return ``tensor``, which lies in the host's memory, on ``device``; what is done with it there comes in order."""
    if device.type in WAITING:
        return tensor.to(device)
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


@functools.lru_cache(256)
def constant(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Return ``values``, float32 (n), on ``device``: the same tensor at every call, so nobody may change it."""
    with torch.inference_mode(False):  # also where it is first asked for by a test, whose tensors know no gradients
        return torch.tensor(values, device=device)
