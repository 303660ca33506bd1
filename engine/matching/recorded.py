"""The synthetic side of a matching step, recorded and repeated (``engine.models.repeated``).

Beside few synthetic clips the kernels of a step end sooner than the host starts them. What changes from step to step is
given to the record: which clips are drawn, the target, and the weights, since each step may have a network of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from engine.models.base import Network
from engine.models.repeated import Made, Recorder, Repeated
from engine.synthetic.base import SyntheticSet

Embed = Callable[[Network, torch.Tensor], torch.Tensor]
Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A function of embeddings (N, D) and targets: a scalar."""


class RecordedSide:
    """distance(embed(network, clips of ``synthetic``), target), whose gradients come with its value.

    It is made for networks that are built as ``network`` is, and for the very tensors that ``synthetic`` learns.
    """

    def __init__(
        self, synthetic: SyntheticSet, network: Network, embed: Embed, distance: Distance, record: Recorder
    ) -> None:
        self._synthetic, self._distance = synthetic, distance
        self._learned = list(synthetic.parameters().values())
        self._embedding = _Embedding(network, embed)
        self._names = list(_weights(self._embedding))
        self._repeated = Repeated(self._compute, record)

    def serves(self, synthetic: SyntheticSet) -> bool:
        """Return whether ``synthetic`` learns the very tensors that this was made for."""
        learned = list(synthetic.parameters().values())
        return len(learned) == len(self._learned) and all(a is b for a, b in zip(learned, self._learned, strict=True))

    def __call__(
        self, network: Network, labels: torch.Tensor, choice: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """Return the distance of the clips ``choice`` of ``labels`` (N), differentiable in what the set learns."""
        weights = _weights(_Embedding(network, self._embedding.embed)).values()
        value, *gradients = self._repeated(labels, choice, target, *weights)
        assert value is not None
        kept = [None if gradient is None else gradient.clone() for gradient in gradients]
        part: torch.Tensor = _Known.apply(value.clone(), kept, *self._learned)
        return part

    def _compute(
        self, labels: torch.Tensor, choice: torch.Tensor, target: torch.Tensor, *weights: torch.Tensor
    ) -> Made:
        clips = self._synthetic.made_of(labels, choice).clips
        own = dict(zip(self._names, weights, strict=True))
        value = self._distance(functional_call(self._embedding, own, (clips,)), target)
        return value.detach(), *torch.autograd.grad(value, self._learned, allow_unused=True)


class _Embedding(nn.Module):
    """An embedding by a network as a module, whose weights can be given."""

    def __init__(self, network: Network, embed: Embed) -> None:
        super().__init__()
        self.network, self.embed = network, embed

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.embed(self.network, clips)


def _weights(embedding: _Embedding) -> dict[str, torch.Tensor]:
    return {**dict(embedding.named_parameters()), **dict(embedding.named_buffers())}


class _Known(torch.autograd.Function):
    """A scalar whose gradients are known already."""

    @staticmethod
    def forward(
        ctx: Any, value: torch.Tensor, gradients: list[torch.Tensor | None], *learned: torch.Tensor
    ) -> torch.Tensor:
        ctx.gradients = gradients
        return value

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        (scale,) = upstream
        return None, None, *(None if gradient is None else scale * gradient for gradient in ctx.gradients)
