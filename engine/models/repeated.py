"""A computation of fixed shapes that is made many times, on a GPU as a CUDA graph.

A training step of a small network is some hundred kernels of a few microseconds each, and to start one takes the host
about as long. A CUDA graph is the record of a step's kernels, which the GPU starts by itself. It computes on the memory
that was recorded, so what goes in is copied there, and what comes out lies where it lay the time before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from engine.errors import UsageError
from engine.text import one_line

Tensors = tuple[torch.Tensor, ...]
Made = tuple[torch.Tensor | None, ...]
Compute = Callable[..., Made]
"""A function of tensors that reads nothing from the device and whose every call starts the same kernels."""

WARM_UP = 3
"""Calls before one is recorded, in which libraries choose kernels and take memory that no record may have in it."""


class Record(ABC):
    """The record of one call of a function."""

    @abstractmethod
    def __call__(self, *given: torch.Tensor) -> Made:
        """Repeat it on ``given``; the tensors that are returned are those of the call before, with new content."""


class CudaGraph(Record):
    """A record of what ``compute(*given)`` does on a GPU; to make it computes nothing.

    Raises UsageError if it cannot be recorded, as where it reads from the device.
    """

    def __init__(self, compute: Compute, given: Tensors) -> None:
        self._given = tuple(torch.empty_like(tensor).copy_(tensor) for tensor in given)
        self._graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(self._graph):
                self._made = compute(*self._given)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = one_line(next(iter(str(error).splitlines()), "no reason was given"))
            problem = f"The training step cannot be recorded as a CUDA graph: {reason}"
            raise UsageError(problem, "Train without graphs: --set run.cuda_graphs=false") from error

    def __call__(self, *given: torch.Tensor) -> Made:
        """Repeat it on ``given``, of the shapes that were recorded."""
        for own, tensor in zip(self._given, given, strict=True):
            own.copy_(tensor)
        self._graph.replay()
        return self._made


Recorder = Callable[[Compute, Tensors], Record]
"""The constructor of a record, of a function and what it is first given."""


class Repeated:
    """``compute``, recorded once per set of shapes after WARM_UP plain calls of them, and repeated from then on.

    A result holds until the next call.
    """

    def __init__(self, compute: Compute, record: Recorder = CudaGraph) -> None:
        self._compute, self._record = compute, record
        self._calls: dict[tuple[object, ...], int] = {}
        self._records: dict[tuple[object, ...], Record] = {}

    def __call__(self, *given: torch.Tensor) -> Made:
        """Return what ``compute`` returns of ``given``."""
        shapes = tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in given)
        if shapes not in self._records:
            self._calls[shapes] = self._calls.get(shapes, 0) + 1
            if self._calls[shapes] <= WARM_UP:
                return self._compute(*given)
            self._records[shapes] = self._record(self._compute, given)
        return self._records[shapes](*given)
