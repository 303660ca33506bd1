"""Processes of one run, played by threads of which one computes at a time: torch is not asked for more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch

from engine.machine.process_group import Group

R = TypeVar("R")


class Turns(Group):
    """A process that lets the others compute until all have come where their tensors are summed."""

    def __init__(
        self, rank: int, count: int, turn: threading.Lock, meeting: threading.Barrier, held: list[list[torch.Tensor]]
    ) -> None:
        super().__init__(rank, count)
        object.__setattr__(self, "turn", turn)
        object.__setattr__(self, "meeting", meeting)
        object.__setattr__(self, "held", held)

    def wait(self) -> None:
        """Let the others compute until all have come here."""
        self.turn.release()
        try:
            self.meeting.wait(60)
        finally:
            self.turn.acquire()

    def sum_(self, tensors: Iterable[torch.Tensor]) -> None:
        own = list(tensors)
        self.held[self.rank] = own
        self.wait()
        sums = [torch.stack(list(same)).sum(0) for same in zip(*self.held, strict=True)]
        self.wait()
        for tensor, total in zip(own, sums, strict=True):
            tensor.copy_(total)
        self.wait()

    def agree(self, value: bool, device: torch.device) -> bool:
        told = torch.tensor(float(value and self.leads))
        self.sum_([told])
        return bool(told)


def in_turns(count: int, work: Callable[[Group], R]) -> list[R]:
    """What ``work`` gives in each of ``count`` processes, in their order."""
    turn, meeting, held = threading.Lock(), threading.Barrier(count), [[] for _ in range(count)]
    results: dict[int, R] = {}

    def process(rank: int) -> None:
        with turn:
            results[rank] = work(Turns(rank, count, turn, meeting, held))

    threads = [threading.Thread(target=process, args=(rank,), daemon=True) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(results) == count, "a process failed, or waits for ever"
    return [results[rank] for rank in range(count)]
