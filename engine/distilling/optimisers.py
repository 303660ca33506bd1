"""The optimisers of both stages, and Adam in whitened coordinates: steps on memories that are smooth, as video is.

The gradient of a matching objective on pixels is nearly white noise: a random network's first kernels are, and it is
seen through them. Adam divides it by its size pixel by pixel, so each step adds white noise of the size of the rate,
and only what many networks agree on stands out of it in the end. Natural video is the contrary of white: its power
falls steeply with frequency (Field 1987). Both are mended by one change of variables, as it is used to visualise
networks' features (Olah, Mordvintsev and Schubert 2017): a memory is m = P z, where P multiplies each frequency of
space and time by the amplitude that the data has there, and Adam moves z, in whose units data are white. A step on z
is smooth already, so that m moves by what is strong in the data most: nearly all that it changes is the same in all
frames (measured in docs/experiments/memories.md).

A smooth step on z is one that P makes large: at the frequency zero, the colour of a whole clip, its amplitude is 70 at
8 x 64 x 64 and 170 at 16 x 112 x 112, where that of white noise is 1 (`docs/experiments/parity.py --data`, JHMDB). So
that a rate means the same at all sizes, the step of each memory is brought to the length that Adam's own has: at most
the rate, as a root mean square in units of the data's deviation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from engine.config.kinds import Part
from engine.distilling.opening import Work
from engine.matching import Objective
from engine.seeds import generator
from engine.synthetic import StaticImages, SyntheticSet

FLOOR = 1e-3
"""Least power of a frequency, as part of the mean power: nothing is out of reach."""


BLOCK = 1 << 22
"""Most values of memories that are whitened at once."""

MEASURED = 256
"""Most training clips whose spectrum is taken for that of the data."""


def dynamic_optimiser(work: Work, synthetic: SyntheticSet, objective: Objective) -> torch.optim.Optimizer:
    """Return the preset's optimiser over all that stage 2 learns, each part at its own rate."""
    section = work.preset.dynamic
    parts, own = synthetic.description, synthetic.parameters()
    rates = objective.rates()
    rates |= {name: work.preset.value(parts.part(name).rate) for name in own if name not in rates}
    learned = own | objective.parameters()
    groups = [{"params": [tensor], "lr": rates[name], "full_lr": rates[name]} for name, tensor in learned.items()]
    if section.optimiser == "whitened-adam":
        whitened = {name: whitening(work, synthetic, parts.part(name)) for name in own}
        return WhitenedAdam(
            [group | {"whitening": whitened.get(name)} for name, group in zip(learned, groups, strict=True)]
        )
    if section.optimiser == "adam":
        return torch.optim.Adam(groups)
    momenta = dict.fromkeys(learned, section.momentum) | objective.momenta()
    return torch.optim.SGD([group | {"momentum": momenta[name]} for name, group in zip(learned, groups, strict=True)])


def static_optimiser(work: Work, images: StaticImages) -> torch.optim.Optimizer:
    """Return the preset's optimiser over the images of stage 1."""
    section = work.preset.static
    group = {"params": [images.static], "lr": section.lr, "full_lr": section.lr}
    if section.optimiser == "whitened-adam":
        part = images.description.part("static")
        return WhitenedAdam([group | {"whitening": whitening(work, images, part)}])
    return torch.optim.SGD([group], momentum=section.momentum)


def whitening(work: Work, synthetic: SyntheticSet, part: Part) -> Whitening | None:
    """Return the whitening of a part of the set by the spectrum of training clips; None for what has no such axes."""
    if not part.smooth:
        return None
    chosen = torch.randperm(len(work.train), generator=generator(work.seed, "spectrum"))[:MEASURED].sort().values
    batches = (synthetic.project(part.name, work.train.clips(indices)) for indices in chosen.split(32))
    return Whitening.of(batches, part.smooth)


class Whitening:
    """P = F^-1 A F on the axes ``dims``, counted from the end: symmetric, and its mean squared amplitude is 1.

    ``power`` is the mean |F x|^2 over the data, for all frequencies of ``dims`` but the last one's negative ones (as
    ``rfftn`` has them).
    """

    def __init__(self, power: torch.Tensor, dims: Sequence[int], last: int) -> None:
        self._dims, self._last = tuple(dims), last
        floored = power / _mean(power, last) + FLOOR
        self.amplitude = (floored / _mean(floored, last)).sqrt()
        """A, in the shape of ``power``."""

    @classmethod
    def of(cls, batches: Iterable[torch.Tensor], dims: Sequence[int]) -> Whitening:
        """Return the whitening of data in ``batches`` (N, ...); each of the N has the shape of a memory."""
        total, number, last = torch.zeros(()), 0, 0
        for batch in batches:
            others = [axis for axis in range(-batch.dim(), 0) if axis not in dims]
            power = torch.fft.rfftn(batch.double(), dim=tuple(dims)).abs().square()
            total = total.to(power) + power.sum(others, keepdim=True).squeeze(0)
            number, last = number + len(batch), batch.shape[dims[-1]]
        return cls((total / max(1, number)).float(), dims, last)

    def __call__(self, memory: torch.Tensor) -> torch.Tensor:
        """Return P ``memory``; the last axes of ``memory`` are those of the data."""
        sizes = [memory.shape[axis] for axis in self._dims]
        frequencies = torch.fft.rfftn(memory, dim=self._dims) * self.amplitude
        return torch.fft.irfftn(frequencies, s=sizes, dim=self._dims)


def _mean(power: torch.Tensor, last: int) -> torch.Tensor:
    """Return the mean over all frequencies, with the mirror images that ``rfftn`` leaves out along the last axis."""
    twice = torch.full((power.shape[-1],), 2.0, device=power.device)
    twice[0] = 1
    if last % 2 == 0:
        twice[-1] = 1
    return (power * twice).sum() / (twice.sum() * (power.numel() // power.shape[-1]))


class WhitenedAdam(torch.optim.Optimizer):
    """Adam (Kingma and Ba 2015) whose groups may have a ``whitening``; those without one are plain Adam.

    With one, a tensor is memories (C, number, ...), and the step of each is m <- m - lr P u |u| / |P u| where u =
    adam(P dL/dm): the direction of Adam's step on z where m = P z, as dL/dz = P dL/dm, and the length of Adam's step u,
    whose root mean square is at most about 1, and the less the less the gradients of the last steps agree.

    Memories are taken a block at a time: what a step holds beside Adam's two moments does not grow with the set.
    """

    def __init__(
        self, groups: list[dict[str, Any]], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__([{"whitening": None} | group for group in groups], {"lr": 0.0, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step on everything that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.grad is not None:
                    self._step(tensor, group)

    def _step(self, tensor: torch.Tensor, group: dict[str, Any]) -> None:
        whitening: Whitening | None = group["whitening"]
        assert tensor.grad is not None
        state = self.state[tensor]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(tensor), torch.zeros_like(tensor)
        state["step"] += 1
        moments = (state["exp_avg"], state["exp_avg_sq"])
        if whitening is None:
            tensor -= group["lr"] * _adam(tensor.grad, *moments, int(state["step"]), group)
            return
        every = [_memories(each) for each in (tensor, tensor.grad, *moments)]
        at_once = max(1, BLOCK // every[0][0].numel())
        for memories, gradient, mean, square in zip(*(each.split(at_once) for each in every), strict=True):
            move = _adam(whitening(gradient), mean, square, int(state["step"]), group)
            smooth = whitening(move)
            memories -= (
                group["lr"] * smooth * (_length(move) / _length(smooth).clamp_min(torch.finfo(smooth.dtype).tiny))
            )


def _memories(tensor: torch.Tensor) -> torch.Tensor:
    """Return a view of memories (C, number, ...) one after the other, (C * number, ...)."""
    return tensor.detach().view(-1, *tensor.shape[2:])


def _length(memories: torch.Tensor) -> torch.Tensor:
    """Return |m| of each of ``memories`` (n, ...), in a shape that multiplies them."""
    return memories.flatten(1).norm(dim=1).view(-1, *(1 for _ in memories.shape[1:]))


def _adam(
    gradient: torch.Tensor, mean: torch.Tensor, square: torch.Tensor, count: int, group: dict[str, Any]
) -> torch.Tensor:
    """Return Adam's move in units of the rate, and add the gradient to its moments ``mean`` and ``square``."""
    first, second = group["betas"]
    mean.lerp_(gradient, 1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    size = (square / (1 - second**count)).sqrt_().add_(group["eps"])
    return (mean / (1 - first**count)).div_(size)
