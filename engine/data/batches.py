"""Real clips as networks see them: drawn by class, normalised on the device, late.

The bytes stay uint8 until here; a batch is a quarter of the float's size until it is where it is used. Where a whole
split fits on the device, it is moved there once: a step then waits for no read and for no copy to the device.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from engine.data.spec import ClipSpec
from engine.machine.copies import to_device

if TYPE_CHECKING:
    from engine.data.store import SplitView

RESIDENT_SHARE = 1 / 8
"""The share of the device's free memory that one split may take; the rest is for networks and their gradients."""
BLOCK_BYTES = 1 << 26


class RealClips:
    """The clips of one split, on ``device``.

    Draws are without replacement, so a class with fewer clips than asked for gives all that it has.
    """

    def __init__(self, view: SplitView, spec: ClipSpec, device: torch.device) -> None:
        self.view = view
        self.spec = spec
        self.device = device
        self.labels = torch.tensor(view.labels)  # a copy: views are read-only
        self._by_class = [torch.as_tensor(np.flatnonzero(view.labels == c)) for c in range(len(spec.classes))]
        self.resident: torch.Tensor | None = None
        """All pixels on the device, uint8 (N, T, H, W, 3), or None where each batch is read."""

    def keep_on_device(self) -> RealClips:
        """Move the split to the device if it takes no more than RESIDENT_SHARE of what is free; returns itself.

        Batches have the same values either way.
        """
        shape = (len(self), self.spec.frames, self.spec.height, self.spec.width, 3)
        size = int(np.prod(shape[1:]))
        if not len(self) or len(self) * size > RESIDENT_SHARE * free_bytes(self.device):
            return self
        resident = torch.empty(shape, dtype=torch.uint8, device=self.device)
        for indices in torch.arange(len(self)).split(max(1, BLOCK_BYTES // size)):
            resident[indices[0] : indices[-1] + 1] = torch.from_numpy(self.view.clips(indices.numpy()))
        self.resident = resident
        return self

    def __len__(self) -> int:
        return len(self.view)

    @property
    def several_clips(self) -> bool:
        """True if a video has several clips."""
        return len(np.unique(self.view.video)) < len(self)

    def digest(self) -> str:
        """A fingerprint of which real clips these are."""
        return self.view.identity

    def available(self, label: int) -> int:
        """The number of clips of the class."""
        return len(self._by_class[label])

    def fewer(self, number: int) -> dict[str, int]:
        """The classes that have fewer than ``number`` clips, by name: how many."""
        counts = {name: self.available(label) for label, name in enumerate(self.spec.classes)}
        return {name: count for name, count in counts.items() if count < number}

    def of_class(self, label: int) -> torch.Tensor:
        """Indices of the clips of a class, ascending."""
        return self._by_class[label]

    def pick(self, label: int, number: int, rng: torch.Generator) -> torch.Tensor:
        """Indices of up to ``number`` different clips of a class."""
        own = self._by_class[label]
        return own[torch.randperm(len(own), generator=rng)[:number]]

    def clips(self, indices: torch.Tensor) -> torch.Tensor:
        """Normalised clips (N, 3, T, H, W), channels last, on the device."""
        if self.resident is not None:
            return self.spec.normalise(self.resident.index_select(0, to_device(indices, self.device)))
        return self.spec.normalise(self._to_device(self.view.clips(indices.numpy())))

    def images(self, indices: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Frame ``numbers[i]`` of clip ``indices[i]``: normalised (N, 3, H, W), channels last, on the device."""
        if self.resident is not None:
            frames = self.resident.flatten(0, 1)
            chosen = to_device(indices * self.spec.frames + numbers, self.device)
            return self.spec.normalise_images(frames.index_select(0, chosen))
        return self.spec.normalise_images(self._to_device(self.view.frames_at(indices.numpy(), numbers.numpy())))

    def draw_clips(self, labels: Sequence[int], number: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Up to ``number`` random clips of each class, and their labels (on the device), ordered as ``labels``."""
        picks = [self.pick(label, number, rng) for label in labels]
        indices = torch.cat(picks)
        return self.clips(indices), to_device(self.labels[indices], self.device)

    def draw_frames(self, label: int, number: int, rng: torch.Generator) -> torch.Tensor:
        """One random frame of each of up to ``number`` random clips of a class: images (N, 3, H, W)."""
        indices = self.pick(label, number, rng)
        frames = torch.randint(self.spec.frames, (len(indices),), generator=rng)
        return self.images(indices, frames)

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All clips in order, ``size`` at a time, with their indices."""
        for indices in torch.arange(len(self)).split(size):
            yield self.clips(indices), indices

    def _to_device(self, pixels: np.ndarray) -> torch.Tensor:
        return to_device(torch.from_numpy(pixels), self.device)


def free_bytes(device: torch.device) -> int:
    """Memory that can still be taken on ``device`` by this process; 0 if that is not known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "cpu":
        return _free_ram() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's processes share it
    return 0


def _free_ram(system: Path = Path("/")) -> int:
    """The bytes that the kernel could give, or a container's limit leaves; elsewhere than on Linux half of all."""
    try:
        lines = (system / "proc/meminfo").read_text().splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    try:
        limit = (system / "sys/fs/cgroup/memory.max").read_text().strip()
        used = dict(line.split() for line in (system / "sys/fs/cgroup/memory.stat").read_text().splitlines())
    except OSError:
        return free
    if limit == "max":
        return free
    return max(0, min(free, int(limit) - int(used["anon"]) - int(used["shmem"])))  # the page cache makes room
