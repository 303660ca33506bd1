"""DM, distribution matching (Zhao and Bilen 2023), the objective of stage 2 and of the pixel baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self

import torch
from torch import nn

from engine.config.schema import DynamicTable
from engine.data.batches import RealClips
from engine.matching.base import Objective, parts
from engine.models.base import Network
from engine.models.precision import autocast
from engine.seeds import generator
from engine.synthetic.base import SyntheticSet


class DistributionMatching(Objective):
    """sum_c | mean_{x in B_c} psi(x) - mean_{s in S_c} psi(s) |^2.

    psi is the flattened embedding of a network that ``new_network(step)`` draws anew for every step, B_c are
    ``batch_real`` random real clips of class c, S_c one draw of the class's synthetic clips. ``clips_at_once`` bounds
    the clips per network pass, and so the memory.
    """

    def __init__(
        self,
        real: RealClips,
        new_network: Callable[[int], Network],
        batch_real: int,
        seed: int,
        precision: torch.dtype = torch.float32,
        clips_at_once: int = 64,
    ) -> None:
        self._real = real
        self._new_network = new_network
        self._batch_real = batch_real
        self._seed = seed
        self._precision = precision
        self._clips_at_once = clips_at_once

    @classmethod
    def of_preset(
        cls,
        table: DynamicTable,
        real: RealClips,
        new_network: Callable[[int], Network],
        seed: int,
        precision: torch.dtype,
    ) -> Self:
        """The objective as the preset's table says."""
        return cls(real, new_network, table.batch_real, seed, precision)

    def losses(self, synthetic: SyntheticSet, step: int) -> Iterator[torch.Tensor]:
        """One part per group of classes whose synthetic clips fit into one pass."""
        network = self._new_network(step).requires_grad_(False)
        number = len(synthetic.spec.classes)
        for classes in parts(number, max(1, self._clips_at_once // synthetic.ipc)):
            target = self._real_means(network, classes, step)
            clips, labels = synthetic.sample(generator(self._seed, "dm-synthetic", step), classes)
            with autocast(clips.device, self._precision):
                embedded = network.embed(clips)
            yield (class_means(embedded.float(), labels - classes.start, len(classes)) - target).square().sum()

    @torch.no_grad()
    def _real_means(self, network: Network, wanted: range, step: int) -> torch.Tensor:
        means: list[torch.Tensor] = []
        for group in parts(len(wanted), max(1, self._clips_at_once // self._batch_real)):
            classes = [wanted[i] for i in group]
            sums: torch.Tensor | float = 0.0
            counts: torch.Tensor | float = 0.0
            draws = [self._real.pick(c, self._batch_real, generator(self._seed, "dm-real", step, c)) for c in classes]
            own = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(draw) for draw in draws]))
            for indices, labels in zip(
                torch.cat(draws).split(self._clips_at_once), own.split(self._clips_at_once), strict=True
            ):
                clips = self._real.clips(indices)
                with autocast(clips.device, self._precision):
                    embedded = network.embed(clips).float()
                part_sums, part_counts = class_sums(embedded, labels.to(embedded.device), len(classes))
                sums, counts = sums + part_sums, counts + part_counts
            means.append(torch.as_tensor(sums / counts))
        return torch.cat(means)


def class_sums(embedded: torch.Tensor, labels: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums (number, D) and counts (number, 1) of the rows of ``embedded`` (N, D) by label."""
    member = nn.functional.one_hot(labels, number).to(embedded.dtype)
    return member.T @ embedded, member.sum(0).unsqueeze(1)


def class_means(embedded: torch.Tensor, labels: torch.Tensor, number: int) -> torch.Tensor:
    """Means (number, D) of the rows of ``embedded`` (N, D) by label; every label must occur."""
    sums, counts = class_sums(embedded, labels, number)
    return sums / counts
