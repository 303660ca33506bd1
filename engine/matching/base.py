"""The seam between what is learned and how it is compared with real data.

An objective sees a parameterisation only through ``sample``, and the real data through ``RealClips``; so every
objective works with every parameterisation that yields its kind of batch. A new method is one file beside this one
and one line in ``engine/config/objectives.py`` (docs/extending.md). Such files are imported where presets are read, so
they do without torch until something is computed (``engine.lazy``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from engine.config.objectives import Facts
from engine.lazy import nn, torch
from engine.seeds import generator

if TYPE_CHECKING:
    from engine.config import Preset
    from engine.data.batches import RealClips
    from engine.machine.process_group import Group
    from engine.matching.experts import Trajectories
    from engine.models.base import Network
    from engine.synthetic.base import SyntheticSet


def _alone() -> Group:
    from engine.machine.process_group import ALONE

    return ALONE


@dataclass(frozen=True)
class Setting:
    """What any objective is made of, beside its table in the preset."""

    real: RealClips
    new_network: Callable[[int], Network]
    """A freshly initialised network by its number: an image network in stage 1, a video network in stage 2."""
    seed: int
    precision: torch.dtype = field(default_factory=lambda: torch.float32)
    embedding: str = "map"
    """``map``: networks' features before their last average pool, as published; ``pooled``: behind it."""
    group: Group = field(default_factory=_alone)
    """The processes that share the loss: the sum over them of what ``losses`` yields is the whole."""
    trajectories: Trajectories | None = None
    """Experts' weights, for objectives that follow them."""

    def embed(self, network: Network, batch: torch.Tensor) -> torch.Tensor:
        """psi: float32 features (N, D) of clips or images, by a pass in ``precision``."""
        from engine.models.precision import autocast

        with autocast(batch.device, self.precision):
            features = network.pooled(batch) if self.embedding == "pooled" else network.embed(batch)
        return features.float()


class Objective(Facts, ABC):
    """A loss of a synthetic set against real data, at a step.

    All randomness comes from the seed given at construction and the step, so a step can be computed again. What presets
    and plans must know of it are the attributes and class methods of ``Facts``.
    """

    @classmethod
    def for_stills(cls, preset: Preset, setting: Setting) -> Self:
        """The objective of stage 1 of ``preset``; where there are ``still_settings``."""
        raise NotImplementedError(f"{cls.__name__} does not work on still images")

    @classmethod
    def for_clips(cls, preset: Preset, setting: Setting) -> Self:
        """The objective of stage 2 of ``preset``; where there are ``clip_settings``."""
        raise NotImplementedError(f"{cls.__name__} does not work on clips")

    def begin(self, synthetic: SyntheticSet) -> list[str]:
        """Called once before a run's first step, or its next after ``load_state``; returns what a user should be told.

        For objectives that must decide something by the set, the network and the machine.
        """
        return []

    @abstractmethod
    def losses(self, synthetic: SyntheticSet, step: int) -> Iterator[torch.Tensor]:
        """The loss at ``step`` in parts whose sum it is, differentiable in ``synthetic.parameters()``.

        Of several processes each yields its share, which may be nothing at all.

        Parts that do not depend on each other are handed out one by one: the caller runs ``backward`` on each before
        it takes the next, so that only one part's activations are held at a time.
        """

    def loss(self, synthetic: SyntheticSet, step: int) -> torch.Tensor:
        """The whole loss at ``step`` as one scalar, with all its activations."""
        return torch.stack(list(self.losses(synthetic, step))).sum()

    def parameters(self) -> dict[str, torch.Tensor]:
        """What the objective itself learns beside the memories, by name; the same tensors at every call."""
        return {}

    def rates(self) -> dict[str, float]:
        """Learning rates of ``parameters``, and of the set's ``soft_labels`` where it learns them."""
        return {}

    def momenta(self) -> dict[str, float]:
        """Momenta of ``parameters`` where the optimiser is SGD."""
        return {}

    def figures(self) -> dict[str, float]:
        """Numbers of the last step that a user should see, by name (a learned step size, ...)."""
        return {}

    def after_step(self, synthetic: SyntheticSet, step: int) -> None:
        """Called when the memories have moved at ``step``; for objectives that train their network on them."""

    def state(self) -> dict[str, torch.Tensor]:
        """What must be stored to go on from here; empty for objectives that begin every step anew."""
        return {}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what ``state`` gave."""
        assert not state


def parts(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """``items`` in consecutive parts of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def linear_parts(value: torch.Tensor, terms: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Parts whose sum is ``value``, a scalar, and whose gradients are those of ``terms``.

    For a loss that ties all of its clips together: its derivative by what a pass computes is known beforehand, and a
    term is the pass's result times that, linear in it, so that the gradient is exact by the chain rule. What a term
    itself amounts to means nothing and is taken off. The first part has the value, the others are 0.
    """
    for term in terms:
        yield term - term.detach() + value
        value = torch.zeros_like(value)


def in_rounds(available: int, size: int, step: int, seed: int, name: str) -> torch.Tensor:
    """Which of ``available`` things ``step`` takes: at most ``size``, none twice before all have had their turn.

    A round over all of them is cut into as few steps as ``size`` allows, of equal size up to one, rather than into
    full ones and a small last one that would count as much as they do. The order comes from ``seed`` and ``name``.
    """
    steps = -(-available // size)
    order = torch.randperm(available, generator=generator(seed, name, step // steps))
    return order.tensor_split(steps)[step % steps]


def class_sums(embedded: torch.Tensor, labels: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums (number, D) and counts (number, 1) of the rows of ``embedded`` (N, D) by label."""
    member = nn.functional.one_hot(labels, number).to(embedded.dtype)
    return member.T @ embedded, member.sum(0).unsqueeze(1)


def class_means(embedded: torch.Tensor, labels: torch.Tensor, number: int) -> torch.Tensor:
    """Means (number, D) of the rows of ``embedded`` (N, D) by label; every label must occur."""
    sums, counts = class_sums(embedded, labels, number)
    return sums / counts
