"""The share of the device that the run takes: memory and load, told with its figures at most once a second.

Without them the user cannot see from afar that a card is nearly full, or that it waits for the disk most of the time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from engine.machine.cores import usable_cores

SECONDS_BETWEEN = 1.0


class Gauge:
    """A gauge of ``device_memory`` in bytes, and of ``device_load`` as a fraction of the device since it was last read.

    On CUDA the memory that torch has taken, and the share of the time in which the card computed (NVML), whoever's
    work that was; on the CPU the resident memory of this process, and its share of all cores that it may use. What
    the machine does not tell is left out.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._card = _Card(device) if device.type == "cuda" else None
        self._asked_at = self._wall = time.monotonic()
        self._busy = time.process_time()

    def figures(self) -> dict[str, float]:
        """Return the figures that are known, or nothing less than a second after the last ones."""
        now = time.monotonic()
        if now - self._asked_at < SECONDS_BETWEEN:
            return {}
        self._asked_at = now
        found = {"device_memory": self._memory(), "device_load": self._load(now)}
        return {name: value for name, value in found.items() if value is not None}

    def _memory(self) -> float | None:
        if self._card is not None:
            return float(torch.cuda.memory_reserved(self._device))
        try:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return None
        return float(pages * os.sysconf("SC_PAGE_SIZE"))

    def _load(self, now: float) -> float | None:
        if self._card is not None:
            return self._card.load()
        busy, wall = time.process_time() - self._busy, now - self._wall
        self._busy, self._wall = self._busy + busy, now
        return round(min(1.0, busy / wall / usable_cores()), 4)


class MemoryPeak:
    """A context manager that watches how many bytes a process and all below it hold at once; ``bytes`` is the most.

    It is the process ``pid``, by default this one.

    What each has for itself is added. The pages of libraries, which all of them map, count once, as many as the process
    with the most has. 0 where the system has no /proc.
    """

    SECONDS = 0.1

    def __init__(self, pid: int | None = None) -> None:
        self.bytes = 0
        self._pid = os.getpid() if pid is None else pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory peak", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            pages = list(_pages_of_all(self._pid))
            if pages:
                own, shared = sum(own for own, _ in pages), max(shared for _, shared in pages)
                self.bytes = max(self.bytes, (own + shared) * os.sysconf("SC_PAGE_SIZE"))
            if self._over.wait(self.SECONDS):
                return


def _pages_of_all(pid: int, parent: bytes = b"") -> Iterator[tuple[int, int]]:
    """Yield the resident pages of a process and of each below it: its own, and those of files that others may map.

    ``parent`` is the command line of the process above. One that has the same has not begun its program yet, and holds
    the memory of that process.
    """
    place = Path(f"/proc/{pid}")
    try:
        command = (place / "cmdline").read_bytes()
        resident, shared = map(int, (place / "statm").read_text(encoding="ascii").split()[1:3])
        tasks = list((place / "task").iterdir())
    except (OSError, ValueError):
        return  # it has ended, or there is no /proc
    if command == parent:
        return
    yield resident - shared, shared
    for task in tasks:
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text(encoding="ascii").split():
                yield from _pages_of_all(int(child), command)


class _Card:
    """One card through NVML, the driver's own library; torch reaches it only with a package that it does not bring."""

    def __init__(self, device: torch.device) -> None:
        self._nvml: ctypes.CDLL | None = None
        self._handle = ctypes.c_void_p()
        try:
            nvml = ctypes.CDLL("libnvidia-ml.so.1")
            uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()
            if nvml.nvmlInit_v2() == 0 and nvml.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(self._handle)) == 0:
                self._nvml = nvml
        except (OSError, AttributeError, RuntimeError):
            return  # no such library, or one without these names: the load stays unknown

    def load(self) -> float | None:
        rates = (ctypes.c_uint * 2)()  # nvmlUtilization_t: gpu, memory, in percent
        if self._nvml is None or self._nvml.nvmlDeviceGetUtilizationRates(self._handle, rates) != 0:
            return None
        return rates[0] / 100
