"""Where a run computes, and in which number format: decided once, by what the device is fast at."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from engine.errors import UsageError


def choose_device(name: str) -> torch.device:
    """The device of a preset's ``run.device``; raises UsageError if this machine lacks it."""
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
    """The number format of network passes: ``auto`` is bfloat16 only where the hardware has it.

    A CPU without bf16 instructions emulates them: ConvNet3D is then some 80 times slower than in float32.
    """
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if device.type == "cpu" and _cpu_has_bfloat16() else torch.float32


def _cpu_has_bfloat16() -> bool:
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return False
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager[object]:
    """Network passes in ``precision``; parameters and memories stay float32."""
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, precision)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draws of torch's global generators inside come from ``seed``; outside they go on as if nothing had happened.

    For what cannot be given a generator: initialisation of modules, dropout.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """The same seed gives the same bytes: torch prefers deterministic kernels inside.

    Enter it before anything is computed on CUDA, whose matrix products are set up once. Where CUDA has no deterministic
    kernel, as for the pooling of torchvision's video models, the usual one runs, and torch warns of it. New tensors are
    not filled with NaN first, as torch would do here: nothing reads them before it has written them, and on a GPU each
    would be one more kernel, where small training steps are bound by the number of kernels.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    filling: Any = torch.utils.deterministic
    filled = filling.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    filling.fill_uninitialized_memory = False
    try:
        yield
    finally:
        filling.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(before, warn_only=warned)
