"""Several processes that work on one run as if they were one: started by torchrun, one per device.

All of them hold the same memories and take the same optimiser step. Each computes its share of the loss, gradients are
summed, and so the memories stay equal without ever being sent. The first process, the leader, owns the run directory:
it alone holds the lock, writes events and checkpoints, evaluates, and answers requests to pause or stop.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from engine.errors import RunError
from engine.machine.torchrun import started_by_torchrun

PATIENCE = timedelta(days=7)
"""The others wait for the leader while it evaluates, or while the run is paused over a weekend."""
MEETING = timedelta(minutes=5)
"""The time that they wait for each other at the start."""


@dataclass(frozen=True)
class Group:
    """The processes of a run; ``rank`` is this one's number, 0 the leader's."""

    rank: int = 0
    count: int = 1
    connection: Any = None
    """The process group of torch.distributed, where there are several."""

    @property
    def leads(self) -> bool:
        """True if this process owns the run directory."""
        return self.rank == 0

    def share(self, items: Iterable[int]) -> list[int]:
        """Return the part of ``items`` that is this process's to compute: every ``count``-th, from its own rank."""
        return list(items)[self.rank :: self.count]

    def sum_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by its sum over all processes; every process must give the same ones."""
        if self.count > 1:
            with _losses_named():
                for tensor in tensors:
                    dist.all_reduce(tensor, group=self.connection)

    def agree(self, value: bool, device: torch.device) -> bool:
        """Return the leader's ``value``, in every process."""
        if self.count == 1:
            return value
        answer = torch.tensor([int(value)], device=device)
        with _losses_named():
            dist.broadcast(answer, src=0, group=self.connection)
            return bool(answer.item())


ALONE = Group()


@contextmanager
def _losses_named() -> Iterator[None]:
    """Raise RunError, in the user's words, for a connection that breaks inside."""
    try:
        yield
    except RuntimeError as error:
        raise RunError(
            "One of the processes that worked on this run was lost.",
            "Start them again: `vdtui resume RUN --processes N`, or the same torchrun; the last checkpoint counts.",
        ) from error


def local_device(name: str) -> str:
    """Return the device of this process where a preset says ``name``; of several processes each takes its own."""
    local = os.environ.get("LOCAL_RANK")
    several = started_by_torchrun() and local is not None
    if several and name in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{local}"
    return name


@contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """Yield the group that torchrun started, or a group of one; NCCL between GPUs, gloo elsewhere."""
    if not started_by_torchrun():
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=MEETING)
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), dist.new_group(timeout=PATIENCE))
    finally:
        dist.destroy_process_group()
