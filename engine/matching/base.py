"""The base class of objectives, which knows neither how a set is stored nor how it is optimised.

An objective sees a set only through the clips that it makes, and the real data through ``RealClips``; so every
objective works with every kind of set that makes clips, or images, of the kind it needs. A new objective is one file
beside this one and one line in ``engine/config/objectives.py`` (docs/extending.md). Reading a preset imports these
files, so they do without torch until something is computed (``engine.lazy``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from engine.config.objectives import Facts
from engine.lazy import torch
from engine.seeds import generator

if TYPE_CHECKING:
    from engine.config import Preset
    from engine.data.batches import RealClips
    from engine.machine.process_group import Group
    from engine.matching.experts import Trajectories
    from engine.models.base import Network
    from engine.models.repeated import Recorder
    from engine.synthetic.base import SyntheticSet


def _alone() -> Group:
    from engine.machine.process_group import ALONE

    return ALONE


@dataclass(frozen=True)
class Setting:
    """The arguments of any objective beside its table in the preset."""

    real: RealClips
    new_network: Callable[[int], Network]
    """The constructor of a new network by its number: an image network in stage 1, a video network in stage 2."""
    seed: int
    precision: torch.dtype = field(default_factory=lambda: torch.float32)
    embedding: str = "map"
    """``map``: networks' features before their last average pool, as published; ``pooled``: behind it."""
    group: Group = field(default_factory=_alone)
    """The processes that share the loss, which is the sum over all of them of the parts that ``losses`` yields."""
    trajectories: Trajectories | None = None
    """The weights of experts, for objectives that follow them."""
    record: Recorder | None = None
    """The constructor of records of passes, for objectives that can repeat those of synthetic clips, or None."""

    def embed(self, network: Network, batch: torch.Tensor) -> torch.Tensor:
        """Return psi, float32 features (N, D) of clips or images, by a pass in ``precision``."""
        from engine.models.precision import autocast

        with autocast(batch.device, self.precision):
            features = network.pooled(batch) if self.embedding == "pooled" else network.embed(batch)
        return features.float()


class Objective(Facts, ABC):
    """A loss of a synthetic set against real data, at a step.

    All randomness comes from the seed given at construction and the step, so a step can be computed again. Presets and
    plans read the attributes and class methods of ``Facts``.
    """

    @classmethod
    def for_stills(cls, preset: Preset, setting: Setting) -> Self:
        """Return the objective of stage 1 of ``preset``; a class with ``still_settings`` defines it."""
        raise NotImplementedError(f"{cls.__name__} does not work on still images")

    @classmethod
    def for_clips(cls, preset: Preset, setting: Setting) -> Self:
        """Return the objective of stage 2 of ``preset``; a class with ``clip_settings`` defines it."""
        raise NotImplementedError(f"{cls.__name__} does not work on clips")

    def begin(self, synthetic: SyntheticSet) -> list[str]:
        """Decide what depends on the set, the network and the machine; return messages for the user.

        It is called once, before the first step of a run, or before its next one after ``load_state``.
        """
        return []

    @abstractmethod
    def losses(self, synthetic: SyntheticSet, step: int) -> Iterator[torch.Tensor]:
        """Yield the loss at ``step`` as parts that sum to it, differentiable in ``synthetic.parameters()``.

        Each of several processes yields its share, which may be no part at all. The caller runs ``backward`` on each
        part before it takes the next, so that only one part's activations are held at a time.
        """

    def loss(self, synthetic: SyntheticSet, step: int) -> torch.Tensor:
        """Return the whole loss at ``step`` as one scalar, with all its activations."""
        return torch.stack(list(self.losses(synthetic, step))).sum()

    def parameters(self) -> dict[str, torch.Tensor]:
        """Return the tensors that the objective learns beside the memories, by name; the same ones at every call."""
        return {}

    def rates(self) -> dict[str, float]:
        """Return the learning rates of ``parameters``, and of the set's ``soft_labels`` if it learns them."""
        return {}

    def momenta(self) -> dict[str, float]:
        """Return the momenta of ``parameters``, for runs whose optimiser is SGD."""
        return {}

    def figures(self) -> dict[str, float]:
        """Return numbers of the last step that a user should see, by name, such as a learned step size."""
        return {}

    def after_step(self, synthetic: SyntheticSet, step: int) -> None:
        """Train networks on the memories after their step, if the objective does so."""

    def state(self) -> dict[str, torch.Tensor]:
        """Return the tensors of a checkpoint; none for objectives that begin every step anew."""
        return {}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the tensors that ``state`` gave."""
        assert not state


def parts(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Yield ``items`` in consecutive parts of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def linear_parts(value: torch.Tensor, terms: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield parts whose sum is ``value``, a scalar, and whose gradients are those of ``terms``.

    A loss may tie all of its clips together, so that no pass has a loss of its own. Its derivative by the result of
    each pass is then computed beforehand, and a term is the result times that derivative: by the chain rule the
    gradient of the term is exact. The value of a term means nothing and is subtracted: the first part has ``value``,
    the others 0.
    """
    for term in terms:
        yield term - term.detach() + value
        value = torch.zeros_like(value)


def in_rounds(available: int, size: int, step: int, seed: int, name: str) -> torch.Tensor:
    """Return the indices that ``step`` takes of 0 .. ``available`` - 1: at most ``size``, all once in each round.

    A round is cut into as few steps as ``size`` allows, whose sizes differ by at most one: a small last step would
    count as much as a full one. The order comes from ``seed`` and ``name``.
    """
    steps = -(-available // size)
    order = torch.randperm(available, generator=generator(seed, name, step // steps))
    return order.tensor_split(steps)[step % steps]


def class_sums(embedded: torch.Tensor, labels: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sums (number, D) and counts (number, 1) of the rows of ``embedded`` (N, D) by label."""
    # As one_hot, which reads from the labels: a step that is recorded must not.
    member = (labels.unsqueeze(1) == torch.arange(number, device=labels.device)).to(embedded.dtype)
    return member.T @ embedded, member.sum(0).unsqueeze(1)


def class_means(embedded: torch.Tensor, labels: torch.Tensor, number: int) -> torch.Tensor:
    """Return means (number, D) of the rows of ``embedded`` (N, D) by label; every label must occur."""
    sums, counts = class_sums(embedded, labels, number)
    return sums / counts
