"""MTT, trajectory matching (Cazenavette et al. 2022), with three ways to differentiate through a student's training.

DM and DC compare what one network sees of the synthetic clips; this one asks that a whole piece of training on them
leads where training on the real clips led. The gradient then runs through all of the student's steps. Kept as autograd
would keep it, that takes the activations of every step at once, which is what decides whether a data set can be
distilled on a given machine; so the unroll can be had in three forms, which give the same gradient for different
amounts of memory and time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from engine.config import Preset
from engine.data.batches import free_bytes
from engine.errors import DivergedError
from engine.matching.base import Objective, Setting
from engine.matching.experts import FlatParameters, Trajectories
from engine.models.base import Network
from engine.models.precision import autocast, seeded
from engine.seeds import derive, generator
from engine.synthetic.base import SyntheticSet

MIN_STEP_SIZE, MAX_STEP_SIZE = 1e-3, 10.0
KEPT_SHARE = 1 / 2
"""Of the memory that is free, what an unroll may keep; the rest is for what comes and goes while it is computed."""


class TrajectoryMatching(Objective):
    """|theta_N - theta*|^2 / |theta_0 - theta*|^2, the mean of it over ``experts_per_step`` drawn experts.

    theta_0 is an expert after a random epoch below ``max_start_epoch``, theta* the same one ``expert_epochs`` later.
    The student goes from theta_0 by N = ``syn_steps`` steps of SGD on the synthetic set, without momentum:

        theta_{i+1} = theta_i - beta g_i,   g_i = d/dtheta_i  mean over X_i of the cross-entropy at theta_i

    with the step size beta, which is learned too. X_i are ``batch`` instances of the set (None: all), none twice
    before all had their turn; which of its variants an instance shows is drawn anew for each such round.

    The student trains as networks do, with dropout, as in the code of Wang et al. 2024. Its masks come from the seed,
    the step and the student's step, so that what is computed again is computed alike. A pass takes at most
    ``at_once`` clips. ``unroll`` is how the gradient gets from theta_N back to the clips:

    - ``plain``: autograd keeps all N steps, and what each of them was computed of.
    - ``checkpointed``: autograd keeps theta_i, and computes a step again when it gets there (Chen et al. 2016).
    - ``constant``: as ``checkpointed``, by hand and ``at_once`` clips at a time; see ``unroll_constant``.
    - ``auto``: the first of these that KEPT_SHARE of the free memory will do for; see ``kept_bytes``. They differ in
      rounding, so the choice is made once in a run, is the leader's, and is part of the state.
    """

    def __init__(
        self,
        setting: Setting,
        syn_steps: int = 10,
        expert_epochs: int = 1,
        max_start_epoch: int = 10,
        batch: int | None = None,
        step_size: float = 0.01,
        lr_step_size: float = 1e-5,
        momentum_step_size: float = 0.0,
        experts_per_step: int = 1,
        unroll: str = "auto",
        at_once: int = 64,
    ) -> None:
        assert setting.trajectories is not None, "trajectory matching needs experts"
        self._setting = setting
        self._trajectories: Trajectories = setting.trajectories
        self._syn_steps = syn_steps
        self._expert_epochs = expert_epochs
        self._max_start_epoch = max_start_epoch
        self._batch = batch
        self._lr_step_size = lr_step_size
        self._momentum_step_size = momentum_step_size
        self._experts_per_step = experts_per_step
        self._unroll = None if unroll == "auto" else unroll
        self._at_once = at_once
        self._network = setting.new_network(0).train().requires_grad_(False)
        self._parameters = FlatParameters(self._network)
        self._step_size = torch.tensor(step_size, device=setting.real.device, requires_grad=True)

    @classmethod
    def for_clips(cls, preset: Preset, setting: Setting) -> Self:
        """The objective of stage 2."""
        section = preset.dynamic.mtt
        return cls(
            setting,
            syn_steps=section.syn_steps,
            expert_epochs=section.expert_epochs,
            max_start_epoch=section.max_start_epoch,
            batch=section.batch,
            step_size=section.step_size,
            lr_step_size=section.lr_step_size,
            momentum_step_size=section.momentum_step_size,
            experts_per_step=section.experts_per_step,
            unroll=section.unroll,
        )

    def begin(self, synthetic: SyntheticSet) -> list[str]:
        """Choose the unroll, unless it was asked for or has been chosen; tells which, and why."""
        if self._unroll is not None:
            return []
        needs, free = kept_bytes(self._student(synthetic, 0, 0)), free_bytes(self._setting.real.device)
        found = affordable(needs, free)
        agree, device = self._setting.group.agree, self._setting.real.device
        self._unroll = next(name for name in UNROLLS if agree(name == found, device))
        kept = ", ".join(f"{name} keeps {need / 1e9:,.2f} GB" for name, need in needs.items())
        known = f"{free / 1e9:,.2f} GB are free" if free else "how much is free is not known"
        return [f"dynamic.mtt.unroll = auto chose {self._unroll}: {kept}; {known}"]

    def losses(self, synthetic: SyntheticSet, step: int) -> Iterator[torch.Tensor]:
        """One part per expert of this process's share."""
        self.begin(synthetic)
        assert self._unroll is not None
        unroll = UNROLLS[self._unroll]
        for number in self._setting.group.share(range(self._experts_per_step)):
            rng = generator(self._setting.seed, "mtt-expert", step, number)
            start, target = self._trajectories.draw(rng, self._max_start_epoch, self._expert_epochs)
            distance = squared_distance(start, target)
            if distance == 0:
                raise DivergedError(
                    f"At step {step} an expert was drawn that does not move in {self._expert_epochs} epochs.",
                    "Train experts that learn: --set experts.lr=..., or --set experts.stored=float32.",
                )
            student = self._student(synthetic, step, number)
            yield unroll(student, start, target) / (distance * self._experts_per_step)

    def parameters(self) -> dict[str, torch.Tensor]:
        """The step size of the student, a scalar."""
        return {"step_size": self._step_size}

    def rates(self) -> dict[str, float]:
        """Its learning rate; 0 keeps it fixed."""
        return {"step_size": self._lr_step_size}

    def momenta(self) -> dict[str, float]:
        """Its momentum under SGD."""
        return {"step_size": self._momentum_step_size}

    def figures(self) -> dict[str, float]:
        """The step size as it is now."""
        return {"step_size": self._step_size.item()}

    def after_step(self, synthetic: SyntheticSet, step: int) -> None:
        """Keep the step size at 0.001 or more, as published; raises DivergedError above 10, or if it is not finite."""
        value = self._step_size.item()
        if not math.isfinite(value) or value > MAX_STEP_SIZE:
            raise DivergedError(
                f"The learned step size is {value:.3g} after step {step}; the last good state is kept.",
                "Start again with a lower rate: --set dynamic.mtt.lr_step_size=... (0 keeps the step size fixed).",
            )
        with torch.no_grad():
            self._step_size.clamp_(min=MIN_STEP_SIZE)

    def state(self) -> dict[str, torch.Tensor]:
        """The step size, and the number of the unroll once there is one."""
        state = {"step_size": self._step_size.detach()}
        return state if self._unroll is None else state | {"unroll": torch.tensor([*UNROLLS].index(self._unroll))}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore it; the step size in place: an optimiser may hold the tensor."""
        with torch.no_grad():
            self._step_size.copy_(state["step_size"].reshape(()))  # earlier checkpoints have an array of one
        if "unroll" in state:
            self._unroll = [*UNROLLS][int(state["unroll"])]

    def _student(self, synthetic: SyntheticSet, step: int, number: int) -> Student:
        return Student(
            synthetic,
            self._network,
            self._parameters,
            self._step_size,
            self._syn_steps,
            derive(self._setting.seed, "mtt-student", step, number),
            self._setting.precision,
            self._batch,
            self._at_once,
        )


# --- the student -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pass:
    """Instances of a set (labels and choices, int64 (n)) that go through the network together."""

    labels: torch.Tensor
    choice: torch.Tensor
    share: float
    """Their part of the instances that the student's step takes."""
    dropout: int
    """Seed of the masks."""


@dataclass(frozen=True)
class Student:
    """A network's training on a synthetic set: the same whenever, and in whatever order, its steps are asked for."""

    synthetic: SyntheticSet
    network: Network
    """For its architecture; the weights are given."""
    parameters: FlatParameters
    step_size: torch.Tensor
    steps: int
    seed: int
    precision: torch.dtype
    batch: int | None
    at_once: int

    def passes(self, i: int) -> Iterator[Pass]:
        """What step ``i`` trains on."""
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
            yield Pass(labels.to(device), choice.to(device), len(rows) / len(chosen), dropout)

    def cross_entropy(self, drawn: Pass, theta: torch.Tensor) -> torch.Tensor:
        """What ``drawn`` adds to its step's mean cross-entropy at weights ``theta``."""
        clips = self.synthetic.compose(drawn.labels, drawn.choice)
        with seeded(drawn.dropout, clips.device), autocast(clips.device, self.precision):
            logits = functional_call(self.network, self.parameters.views(theta), (clips,))
        targets = self.synthetic.targets(drawn.labels, drawn.choice)
        return nn.functional.cross_entropy(logits.to(theta.dtype), targets) * drawn.share


# --- the unrolls: |theta_N - theta*|^2, differentiable in the set's parameters and the step size ---------------------


def unroll_plain(student: Student, start: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """By autograd, which keeps everything."""
    theta = start.detach().requires_grad_()
    for i in range(student.steps):
        theta = _stepped(student, i, theta)
    return squared_distance(theta, target)


def unroll_checkpointed(student: Student, start: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """By autograd, which keeps the weights before each step, and computes the step again when it comes back to it."""
    theta = start.detach().requires_grad_()
    for i in range(student.steps):
        # The student seeds its dropout itself, so there is no random state to preserve.
        theta = checkpoint(_stepped, student, i, theta, use_reentrant=False, preserve_rng_state=False)
    return squared_distance(theta, target)


def _stepped(student: Student, i: int, theta: torch.Tensor) -> torch.Tensor:
    """theta_{i+1} as a function of theta_i, the step size and the clips."""
    gradient = torch.zeros_like(theta)
    for drawn in student.passes(i):
        (part,) = torch.autograd.grad(student.cross_entropy(drawn, theta), theta, create_graph=True)
        gradient = gradient + part
    return theta - student.step_size * gradient


def unroll_constant(student: Student, start: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The chain rule by hand, backwards over the student's steps, none of whose graphs outlives its turn.

    With lambda_i = dL/dtheta_i and theta_{i+1} = theta_i - beta g_i, where g_i is a function of theta_i and X_i:

        dL/dX    += -beta d<lambda_{i+1}, g_i>/dX
        dL/dbeta += -<lambda_{i+1}, g_i>
        lambda_i  = lambda_{i+1} - beta d<lambda_{i+1}, g_i>/dtheta_i   (a product with the Hessian)

    <lambda, g_i> is a sum over clips, so it is taken a pass at a time. Held are theta_i for all i, and one pass. That
    the unroll need not be held is the idea of TESLA (Cui et al. 2023), which regroups the squared distance by the g_i
    and does not hold theta_i either, but leaves out that theta_i depends on the clips of earlier steps. Nothing is
    left out here, at the price of N vectors of weights.
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
    """theta_0, ..., theta_N, none of which knows of another."""
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
    """<along, g> of one pass, and its derivatives by ``theta`` and by what is learned; None where there is none."""
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
"""By their name in presets, from the one that keeps most to the one that keeps least."""


def kept_bytes(student: Student) -> dict[str, int]:
    """What each unroll keeps until its gradient is there, in bytes.

    A pass of the student's first step is built as ``plain`` builds it, and what autograd saves of it is counted, each
    storage once; so it is right for any network. A step is as many passes as its instances take, its weights, and
    their gradient, by which the step size learns. ``plain`` keeps all steps; ``checkpointed`` one of them, and
    ``constant`` one pass, each beside the weights of all steps. What comes and goes while a step is computed is not
    in it.
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
    """The first unroll of ``needs`` (bytes) that KEPT_SHARE of ``free`` bytes will do for, or else the last.

    ``checkpointed`` where it is not known what is free (0).
    """
    if not free:
        return "checkpointed"
    return next((name for name, need in needs.items() if need <= KEPT_SHARE * free), [*needs][-1])


def squared_distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """|first - second|^2 of flat weights."""
    return (first - second).square().sum()
