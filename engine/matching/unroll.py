"""A student's training on a synthetic set, and three ways to differentiate through it (unrolls).

Autograd alone holds the activations of all steps at once, and their size decides whether a machine can distil a data
set. The three unrolls give the same gradient for different amounts of memory and time. ``engine.matching.trajectory``
chooses among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from engine.machine.copies import to_device
from engine.matching.experts import FlatParameters
from engine.models.base import Network
from engine.models.precision import autocast, seeded
from engine.seeds import derive, generator
from engine.synthetic.base import SyntheticSet

KEPT_SHARE = 1 / 2
"""The part of the free memory that an unroll may keep; the rest is for tensors that live only while it is computed."""


# --- the student -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pass:
    """Instances of a set (labels and choices, int64 (n)) that go through the network together."""

    labels: torch.Tensor
    choice: torch.Tensor
    share: float
    """The number of instances, as a fraction of those of the student's step."""
    dropout: int
    """The seed of the masks."""


@dataclass(frozen=True)
class Student:
    """A network's training on a synthetic set; a step is the same however often, and in whatever order, it is taken."""

    synthetic: SyntheticSet
    network: Network
    """The architecture; the weights are arguments."""
    parameters: FlatParameters
    step_size: torch.Tensor
    steps: int
    seed: int
    precision: torch.dtype
    batch: int | None
    at_once: int

    def passes(self, i: int) -> Iterator[Pass]:
        """Yield the instances on which step ``i`` trains."""
        ipc, variants, device = self.synthetic.ipc, self.synthetic.variants, self.synthetic.device
        number = len(self.synthetic.spec.classes) * ipc
        steps_per_round = 1 if self.batch is None else -(-number // self.batch)
        rng = generator(self.seed, "round", i // steps_per_round)
        variant = torch.randint(variants, (number,), generator=rng)
        chosen = torch.arange(number)
        if self.batch is not None:
            chosen = torch.randperm(number, generator=rng).split(self.batch)[i % steps_per_round]
        for place, rows in enumerate(chosen.split(self.at_once)):
            labels, choice = rows // ipc, rows % ipc * variants + variant[rows]
            dropout = derive(self.seed, "dropout", i, place)
            yield Pass(to_device(labels, device), to_device(choice, device), len(rows) / len(chosen), dropout)

    def cross_entropy(self, drawn: Pass, theta: torch.Tensor) -> torch.Tensor:
        """Return the contribution of ``drawn`` to its step's mean cross-entropy at weights ``theta``."""
        clips = self.synthetic.compose(drawn.labels, drawn.choice)
        with seeded(drawn.dropout, clips.device), autocast(clips.device, self.precision):
            logits = functional_call(self.network, self.parameters.views(theta), (clips,))
        targets = self.synthetic.targets(drawn.labels, drawn.choice)
        return nn.functional.cross_entropy(logits.to(theta.dtype), targets) * drawn.share


# --- the unrolls: |theta_N - theta*|^2, differentiable in the set's parameters and the step size ---------------------


def unroll_plain(student: Student, start: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the distance by autograd, which keeps everything."""
    theta = start.detach().requires_grad_()
    for i in range(student.steps):
        theta = _stepped(student, i, theta)
    return squared_distance(theta, target)


def unroll_checkpointed(student: Student, start: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the distance by autograd, which keeps the weights before each step, and computes steps again backwards."""
    theta = start.detach().requires_grad_()
    for i in range(student.steps):
        # The student seeds its dropout itself, so there is no random state to preserve.
        theta = checkpoint(_stepped, student, i, theta, use_reentrant=False, preserve_rng_state=False)
    return squared_distance(theta, target)


def _stepped(student: Student, i: int, theta: torch.Tensor) -> torch.Tensor:
    """Return theta_{i+1} as a function of theta_i, the step size and the clips."""
    gradient = torch.zeros_like(theta)
    for drawn in student.passes(i):
        (part,) = torch.autograd.grad(student.cross_entropy(drawn, theta), theta, create_graph=True)
        gradient = gradient + part
    return theta - student.step_size * gradient


def unroll_constant(student: Student, start: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the distance with gradients by hand: the chain rule backwards over the steps, one graph at a time.

    With lambda_i = dL/dtheta_i and theta_{i+1} = theta_i - beta g_i, where g_i is a function of theta_i and X_i:

        dL/dX    += -beta d<lambda_{i+1}, g_i>/dX
        dL/dbeta += -<lambda_{i+1}, g_i>
        lambda_i  = lambda_{i+1} - beta d<lambda_{i+1}, g_i>/dtheta_i   (a product with the Hessian)

    <lambda, g_i> is a sum over clips, so it is computed a pass at a time. Memory holds theta_i for all i, and one pass.
    TESLA (Cui et al. 2023) has the idea that the unroll need not be held: it regroups the squared distance by the g_i
    and does not hold theta_i either, but neglects that theta_i depends on the clips of earlier steps. Here nothing is
    neglected, at the price of N vectors of weights.
    """
    thetas = _trained(student, start)
    value = squared_distance(thetas[-1], target)
    learned = [tensor for tensor in student.synthetic.parameters().values() if tensor.requires_grad]
    gradients = [torch.zeros_like(tensor) for tensor in learned]
    beta, to_beta = student.step_size.detach(), torch.zeros_like(student.step_size)
    along = 2 * (thetas.pop() - target)
    for i in reversed(range(student.steps)):
        theta = thetas.pop().requires_grad_()
        bend = torch.zeros_like(theta)
        for drawn in student.passes(i):
            inner, by_theta, by_learned = _inner_product(student, drawn, theta, along, learned)
            to_beta -= inner
            bend += by_theta
            for total, part in zip(gradients, by_learned, strict=True):
                if part is not None:
                    total -= beta * part
        along = along - beta * bend
    return _Known.apply(value, (*gradients, to_beta), *learned, student.step_size)  # type: ignore[no-any-return]


def _trained(student: Student, start: torch.Tensor) -> list[torch.Tensor]:
    """Return theta_0, ..., theta_N, without any graph that connects them."""
    thetas, beta = [start.detach()], student.step_size.detach()
    for i in range(student.steps):
        theta, stepped = thetas[-1].detach().requires_grad_(), thetas[-1].clone()
        for drawn in student.passes(i):
            (part,) = torch.autograd.grad(student.cross_entropy(drawn, theta), theta)
            stepped -= beta * part
        thetas.append(stepped)
    return thetas


def _inner_product(
    student: Student, drawn: Pass, theta: torch.Tensor, along: torch.Tensor, learned: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, Sequence[torch.Tensor | None]]:
    """Return <along, g> of one pass, and its derivatives by ``theta`` and each of ``learned`` (None: independent)."""
    (gradient,) = torch.autograd.grad(student.cross_entropy(drawn, theta), theta, create_graph=True)
    inner = along @ gradient
    by_theta, *by_learned = torch.autograd.grad(inner, (theta, *learned), allow_unused=True)
    return inner.detach(), torch.zeros_like(theta) if by_theta is None else by_theta, by_learned


class _Known(torch.autograd.Function):
    """A value whose gradients with respect to some tensors are known."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, gradients: Sequence[torch.Tensor], *tensors: torch.Tensor) -> Any:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Any) -> Any:
        return None, None, *(outer[0] * gradient for gradient in ctx.gradients)


Unroll = Callable[[Student, torch.Tensor, torch.Tensor], torch.Tensor]
UNROLLS: dict[str, Unroll] = {
    "plain": unroll_plain,
    "checkpointed": unroll_checkpointed,
    "constant": unroll_constant,
}
"""The unrolls by their names in presets, from the one that keeps most to the one that keeps least."""


def kept_bytes(student: Student) -> dict[str, int]:
    """Return the bytes that each unroll keeps until its gradient is computed.

    One pass of the student's first step is built as ``plain`` builds it, and the bytes that autograd saves are counted,
    each storage once; so the count is right for any network. A step keeps its passes, its weights, and their gradient,
    by which the step size learns. ``plain`` keeps all steps, ``checkpointed`` one step, and ``constant`` one pass, the
    latter two beside the weights of all steps. Tensors that live only while a step is computed are not counted.
    """
    saved: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # a tensor that is kept by the very node that made it is never freed

    passes = list(student.passes(0))
    theta = student.parameters.gather(student.network).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        torch.autograd.grad(student.cross_entropy(passes[0], theta), theta, create_graph=True)
    saved.pop(theta.untyped_storage().data_ptr(), None)
    one, weights = sum(saved.values()), student.steps * theta.nbytes
    step = round(one / passes[0].share) + 2 * theta.nbytes
    return {"plain": student.steps * step, "checkpointed": step + weights, "constant": one + weights}


def affordable(needs: Mapping[str, int], free: int) -> str:
    """Return the first unroll of ``needs`` (bytes) for which KEPT_SHARE of ``free`` bytes will do, or else the last.

    ``checkpointed`` if the free memory is not known (0).
    """
    if not free:
        return "checkpointed"
    return next((name for name, need in needs.items() if need <= KEPT_SHARE * free), [*needs][-1])


def squared_distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return |first - second|^2 of flat weights."""
    return (first - second).square().sum()
