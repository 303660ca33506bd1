"""The seam between what is learned and how it is compared with real data.

An objective sees a parameterisation only through ``sample``, and the real data through ``RealClips``; so every
objective works with every parameterisation that yields its kind of batch. A new method is one file beside this one
and one line in ``matching/__init__.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import torch

from engine.synthetic.base import SyntheticSet


class Objective(ABC):
    """A loss of a synthetic set against real data, at a step.

    All randomness comes from the seed given at construction and the step, so a step can be computed again.
    """

    @abstractmethod
    def losses(self, synthetic: SyntheticSet, step: int) -> Iterator[torch.Tensor]:
        """The loss at ``step`` in parts whose sum it is, differentiable in ``synthetic.parameters()``.

        Parts that do not depend on each other are handed out one by one: the caller runs ``backward`` on each before
        it takes the next, so that only one part's activations are held at a time.
        """

    def loss(self, synthetic: SyntheticSet, step: int) -> torch.Tensor:
        """The whole loss at ``step`` as one scalar, with all its activations."""
        return torch.stack(list(self.losses(synthetic, step))).sum()

    def after_step(self, synthetic: SyntheticSet, step: int) -> None:  # noqa: B027 - nothing is right for most
        """Called when the memories have moved at ``step``; for objectives that train their network on them."""

    def state(self) -> dict[str, torch.Tensor]:
        """What must be stored to go on from here; empty for objectives that begin every step anew."""
        return {}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what ``state`` gave."""
        assert not state


def parts(number: int, size: int) -> Iterator[range]:
    """range(number) in consecutive ranges of at most ``size``."""
    for start in range(0, number, size):
        yield range(start, min(start + size, number))
