"""DM, distribution matching (Zhao and Bilen 2023): of clips in stage 2, or of single frames in stage 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import nn

from engine.config import Preset
from engine.errors import DivergedError
from engine.matching.base import Objective, Setting, parts
from engine.models.base import Network
from engine.models.precision import autocast
from engine.seeds import generator
from engine.synthetic.base import SyntheticSet


class DistributionMatching(Objective):
    """sum_c | mean_{x in B_c} psi(x) - mean_{s in S_c} psi(s) |^2.

    psi is the flattened embedding of a network that ``setting.new_network(step)`` draws anew for every step, B_c are
    ``batch_real`` random real clips of class c (or, for ``stills``, one random frame of each), S_c one draw of the
    class's synthetic ones. ``at_once`` bounds the clips per network pass, and so the memory.
    """

    def __init__(self, setting: Setting, batch_real: int, stills: bool = False, at_once: int = 64) -> None:
        self._setting = setting
        self._batch_real = batch_real
        self._stills = stills
        self._at_once = at_once

    @classmethod
    def for_stills(cls, preset: Preset, setting: Setting) -> Self:
        """The objective of stage 1."""
        return cls(setting, preset.static.batch_real, stills=True)

    @classmethod
    def for_clips(cls, preset: Preset, setting: Setting) -> Self:
        """The objective of stage 2."""
        return cls(setting, preset.dynamic.batch_real)

    def losses(self, synthetic: SyntheticSet, step: int) -> Iterator[torch.Tensor]:
        """One part per group of classes whose synthetic clips fit into one pass."""
        network = self._setting.new_network(step).requires_grad_(False)
        own = self._setting.group.share(range(len(synthetic.spec.classes)))
        spread = _Spread()
        for classes in parts(own, max(1, self._at_once // synthetic.ipc)):
            target = self._real_means(network, classes, step)
            spread.add(target)
            drawn = synthetic.draw(generator(self._setting.seed, "dm-synthetic", step), classes)
            with autocast(drawn.clips.device, self._setting.precision):
                embedded = network.embed(drawn.clips)
            members = torch.arange(len(classes), device=embedded.device).repeat_interleave(
                len(embedded) // len(classes)
            )
            yield (class_means(embedded.float(), members, len(classes)) - target).square().sum()
        spread.check(step)

    @torch.no_grad()
    def _real_means(self, network: Network, wanted: Sequence[int], step: int) -> torch.Tensor:
        means: list[torch.Tensor] = []
        for classes in parts(wanted, max(1, self._at_once // self._batch_real)):
            sums: torch.Tensor | float = 0.0
            counts: torch.Tensor | float = 0.0
            for batch, members in self._real_batches(classes, step):
                with autocast(batch.device, self._setting.precision):
                    embedded = network.embed(batch).float()
                part_sums, part_counts = class_sums(embedded, members.to(embedded.device), len(classes))
                sums, counts = sums + part_sums, counts + part_counts
            means.append(torch.as_tensor(sums / counts))
        return torch.cat(means)

    def _real_batches(self, classes: Sequence[int], step: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Real clips or frames of ``classes``, ``at_once`` at a time, each with its place in ``classes``."""
        real = self._setting.real
        rngs = {c: generator(self._setting.seed, "dm-real", step, c) for c in classes}
        if self._stills:
            for place, c in enumerate(classes):
                for images in real.draw_frames(c, self._batch_real, rngs[c]).split(self._at_once):
                    yield images, torch.full((len(images),), place)
            return
        draws = [real.pick(c, self._batch_real, rngs[c]) for c in classes]
        members = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(draw) for draw in draws]))
        for indices, own in zip(torch.cat(draws).split(self._at_once), members.split(self._at_once), strict=True):
            yield real.clips(indices), own


class _Spread:
    """Whether the real class means that an objective saw in one step differ at all."""

    def __init__(self) -> None:
        self._first: torch.Tensor | None = None
        self._equal = True
        self._number = 0

    def add(self, means: torch.Tensor) -> None:
        """``means`` (classes, D)."""
        first = means[:1] if self._first is None else self._first
        self._first = first
        self._equal = self._equal and bool((means == first).all())
        self._number += len(means)

    def check(self, step: int) -> None:
        """Raise DivergedError if all were equal."""
        if self._number > 1 and self._equal:
            raise DivergedError(
                f"At step {step} the network's embeddings of all classes are equal: there is nothing to match.",
                "Check the clips with `vdtui data FILE.h5 --sheet`: are they all black, or all the same?",
            )


def class_sums(embedded: torch.Tensor, labels: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums (number, D) and counts (number, 1) of the rows of ``embedded`` (N, D) by label."""
    member = nn.functional.one_hot(labels, number).to(embedded.dtype)
    return member.T @ embedded, member.sum(0).unsqueeze(1)


def class_means(embedded: torch.Tensor, labels: torch.Tensor, number: int) -> torch.Tensor:
    """Means (number, D) of the rows of ``embedded`` (N, D) by label; every label must occur."""
    sums, counts = class_sums(embedded, labels, number)
    return sums / counts
