"""A record of a call (``engine.models.repeated``) for machines without a GPU: its operations, traced and repeated."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from engine.models.repeated import Compute, Made, Record, Tensors


class Traced(Record):
    """The operations of one call: what is read while they are made is in them as it was then.

    ``made`` are all that were made, where a test has a list for them.
    """

    made: ClassVar[list[Traced]] = []

    def __init__(self, compute: Compute, given: Tensors) -> None:
        self._given = tuple(tensor.clone() for tensor in given)
        network = getattr(compute, "_network", nn.Identity())
        before = [tensor.clone() for tensor in network.state_dict().values()]
        with torch.random.fork_rng():  # to record a step on a GPU computes nothing, to trace one does
            self._repeat = make_fx(lambda *own: tuple(compute(*own)))(*self._given)
        for tensor, own in zip(network.state_dict().values(), before, strict=True):
            tensor.copy_(own)
        self.times = 0
        type(self).made.append(self)

    def __call__(self, *given: torch.Tensor) -> Made:
        for own, tensor in zip(self._given, given, strict=True):
            own.copy_(tensor)
        self.times += 1
        return cast(Made, self._repeat(*self._given))
