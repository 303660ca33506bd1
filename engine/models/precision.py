"""The device of a run, and the number format of its network passes, by default the one that the device is fast at."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from engine.errors import UsageError

FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""The number formats of network passes, by their names in presets."""


def choose_device(name: str) -> torch.device:
    """Return the device that ``run.device`` of a preset names; raises UsageError if this machine lacks it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        problem = f"There is no device {name} here: torch sees {torch.cuda.device_count()} CUDA devices."
        raise UsageError(problem, "Use --device cpu or auto, or check the driver.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("There is no mps device here.", "Use --device cpu or auto.")
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the number format of network passes; ``auto`` is bfloat16 where the hardware has it, else float32.

    A GPU that has it is not always faster by it, which ``engine.models.measured`` finds out.

    A CPU without bf16 instructions emulates them, which makes ConvNet3D some 80 times slower than float32.
    """
    if name != "auto":
        return FORMATS[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if device.type == "cpu" and _cpu_has_bfloat16() else torch.float32


def _cpu_has_bfloat16() -> bool:
    try:
        features = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return False
    return bool(features & {"avx512_bf16", "amx_bf16", "bf16"})


def autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager[object]:
    """Return a context in which network passes are in ``precision``; parameters and memories stay float32."""
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, precision)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators with ``seed`` inside, and restore their state afterwards.

    Needed by code that accepts no generator: the initialisation of modules, and dropout.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class Chance:
    """A course of torch's global generators of its own: what is drawn inside goes on where the last time inside ended.

    Needed where several things that draw take turns, as networks with dropout that are trained a step of each in turn.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device if device.type == "cuda" else None
        with seeded(seed, device):
            self._state = self._read()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Draw from it inside; outside, the generators stay as they are."""
        before = self._read()
        self._write(self._state)
        try:
            yield
        finally:
            self._state = self._read()
            self._write(before)

    def _read(self) -> list[torch.Tensor]:
        cuda = [] if self._device is None else [torch.cuda.get_rng_state(self._device)]
        return [torch.get_rng_state(), *cuda]

    def _write(self, state: list[torch.Tensor]) -> None:
        torch.set_rng_state(state[0])
        if self._device is not None:
            torch.cuda.set_rng_state(state[1], self._device)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Let torch prefer deterministic kernels inside, so that the same seed gives the same bytes.

    Enter it before anything is computed on CUDA, which sets up its matrix products once. Where CUDA has no
    deterministic kernel, as for the pooling of torchvision's video models, the usual one runs and torch warns. torch
    would also fill each new tensor with NaN. That is turned off: nothing reads a tensor before it is written, and each
    fill is one more kernel on a GPU, whose number bounds the speed of small training steps.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    enabled_before = torch.are_deterministic_algorithms_enabled()
    warn_only_before = torch.is_deterministic_algorithms_warn_only_enabled()
    settings: Any = torch.utils.deterministic
    fill_before = settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        settings.fill_uninitialized_memory = fill_before
        torch.use_deterministic_algorithms(enabled_before, warn_only=warn_only_before)
