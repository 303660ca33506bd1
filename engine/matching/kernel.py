"""FRePo, kernel ridge regression on the features of a pool of networks (Zhou, Nezhadarya and Ba 2022).

The other objectives make synthetic data resemble real data. This one optimises the purpose of the set itself: a
classifier fitted to it must label real clips correctly. Training a whole network and differentiating through that would
take a day per step; a ridge regression on the features of a network that was trained a little on the set has a closed
form. With a pool of such networks, the features are not random, and the memories suit more than a single network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field

from engine.config.fields import Count, Every, Networks, Rate, Section
from engine.config.objectives import Passes
from engine.errors import DataError, DivergedError
from engine.lazy import nn, torch
from engine.machine.copies import to_device
from engine.matching.base import Objective, Setting, in_rounds, linear_parts, parts
from engine.seeds import derive, generator

if TYPE_CHECKING:
    from engine.config import Preset
    from engine.models.base import Network
    from engine.synthetic.base import Draw, SyntheticSet

ONLINE_BATCH = 500
"""The most instances that a training step of a pool network takes (as published: Wang et al. 2024)."""


class FrepoSettings(Section):
    """FRePo, kernel ridge regression on a pool of networks (Zhou et al. 2022)."""

    pool: Networks = Field(10, description="networks in the pool")
    online_updates: Every = Field(100, description="training steps of a pool network before it is drawn anew")
    lr_network: Rate = Field(1e-4, description="learning rate of the pool networks' Adam")
    batch_real: Count = Field(512, description="real clips per step, of all classes together")
    ridge: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(1e-6, description="regularisation of the solve")
    lr_labels: Rate = Field(1e-3, description="learning rate of learned labels")


class KernelRegression(Objective):
    """1/B sum_t |K_ts (K_ss + ridge tr(K_ss)/n I)^-1 y_s - y_t|^2 - 1/n sum_s min(top1(y_s) - top2(y_s), 1/C).

    K = Phi Phi^T, and Phi are the embeddings by a network of the pool; s are the n clips of one draw of the synthetic
    set, t up to ``batch_real`` real clips (a random frame of each if the set draws images), y_t = one-hot - 1/C. The
    labels y_s are the soft ones of the set. A set without any has those of ``start_labels``, fixed, and then the second
    term, the label margin, is left out. (As in the code of Wang et al. 2024, both terms are means, and the error has no
    factor 1/2.)

    A step draws one of ``pool`` networks. When the memories have moved, that network takes one step of Adam, at the
    constant rate ``lr_network``, on the mean squared error between its logits and the labels of a draw of the whole
    set, with dropout; features are always computed without it. After ``online_updates`` of these the network is drawn
    anew. (The rate is constant in the code of Zhou et al. In that of Wang et al. it rises over 500 steps and falls over
    100, of which a network of 100 updates sees at most 0.064 of the rate, and 0.041 in the mean.)

    Kernels are in float64 whatever the precision of the networks: with a ridge of 1e-6, float32 is too coarse for the
    condition number of K_ss. ``at_once`` bounds the clips per network pass, and so the memory.

    Raises DataError if there is a single class.
    """

    name: ClassVar[str] = "frepo"
    title: ClassVar[str] = "kernel ridge regression on a pool of networks (Zhou et al. 2022)"
    clip_settings: ClassVar[type[Section]] = FrepoSettings
    learns_labels: ClassVar[bool] = True
    compares_embeddings: ClassVar[bool] = True

    def __init__(
        self,
        setting: Setting,
        pool: int = 10,
        online_updates: int = 100,
        lr_network: float = 1e-4,
        batch_real: int = 512,
        ridge: float = 1e-6,
        at_once: int = 64,
        lr_labels: float = 1e-3,
    ) -> None:
        self._classes = len(setting.real.spec.classes)
        if self._classes < 2:
            problem = "Kernel regression (frepo) learns to tell classes apart, and this data has only one."
            raise DataError(problem, "Use data with more classes, or --set dynamic.objective=dm.")
        self._setting = setting
        self._pool = _Pool(setting.new_network, pool, online_updates, lr_network)
        self._batch_real = batch_real
        self._ridge = ridge
        self._at_once = at_once
        self._lr_labels = lr_labels
        self._figures: dict[str, float] = {}

    @classmethod
    def passes(cls, preset: Preset, stage: str, classes: int) -> Passes:
        """Return the real clips without gradients, and the instances, by which also the network is trained."""
        real = preset.dynamic.table(cls.name, FrepoSettings).batch_real
        return Passes(real, 2 * classes * preset.synthetic.ipc)

    @classmethod
    def for_clips(cls, preset: Preset, setting: Setting) -> Self:
        """Return the objective of stage 2."""
        section = preset.dynamic.table(cls.name, FrepoSettings)
        return cls(
            setting,
            pool=section.pool,
            online_updates=section.online_updates,
            lr_network=section.lr_network,
            batch_real=section.batch_real,
            ridge=section.ridge,
            lr_labels=section.lr_labels,
        )

    def losses(self, synthetic: SyntheticSet, step: int) -> Iterator[torch.Tensor]:
        """Yield a part per network pass over synthetic clips, of which the first has the value, the others 0.

        The inverse ties all synthetic clips together, so the activations of all would have to be held at once. Instead
        Phi_s is computed first, without activations, then dL/dPhi_s and dL/dy_s. Each part is linear in its rows of
        Phi_s and y_s, with these coefficients, so its gradient is exact by the chain rule; see ``linear_parts``.
        """
        member = self._member(step)
        network = self._pool.network(member).eval().requires_grad_(False)
        passes = self._passes(synthetic, "frepo-synthetic", step, self._setting.group.count)
        with torch.no_grad():
            phi_s, y_s, stills = self._embed_synthetic(network, synthetic, passes)
            phi_t, y_t = self._embed_real(network, step, phi_s.shape[1], stills)
        _check(phi_s, phi_t, step)
        learned = synthetic.soft_labels is not None
        fit = _fit(phi_s, y_s, phi_t, y_t, self._ridge, learned)
        self._figures = {"online_age": float(member.age)} | ({"label_margin": fit.margin} if learned else {})
        value = fit.loss if self._setting.group.leads else torch.zeros_like(fit.loss)
        sizes = [len(labels) for labels, _ in passes]
        coefficients = list(zip(fit.to_phi.split(sizes), fit.to_y.split(sizes), strict=True))

        def term(k: int) -> torch.Tensor:
            to_phi, to_y = coefficients[k]
            drawn = synthetic.made_of(*passes[k])
            linear = (to_phi * self._setting.embed(network, drawn.clips)).sum()
            return linear + (to_y * self._labels(drawn)).sum()

        yield from linear_parts(value, map(term, self._setting.group.share(range(len(passes)))))

    def rates(self) -> dict[str, float]:
        """Return the learning rate of the labels, which counts if the set learns them."""
        return {"soft_labels": self._lr_labels}

    def figures(self) -> dict[str, float]:
        """Return, of the last step, the network's age in updates, and learned labels' mean margin, at most 1/C."""
        return self._figures

    def after_step(self, synthetic: SyntheticSet, step: int) -> None:
        """Train the step's network on the set, or draw it anew instead of a last update that no step would use."""
        from engine.models.precision import autocast, seeded

        member = self._member(step)
        if member.age + 1 >= self._pool.online_updates:
            self._pool.renew(member)
            return
        network = self._pool.network(member).train().requires_grad_(True)
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        chosen = online_batch(self._classes * synthetic.ipc, step, self._setting.seed)
        # Every process computes all of it: dropout masks depend on how clips are grouped, which must not depend on
        # how many processes there are.
        for k, (labels, choice) in enumerate(self._passes(synthetic, "frepo-online", step, 1, chosen)):
            with torch.no_grad():
                drawn = synthetic.made_of(labels, choice)
                wanted = self._labels(drawn)
            clips, dropout = drawn.clips, derive(self._setting.seed, "frepo-dropout", step, k)
            with seeded(dropout, clips.device), autocast(clips.device, self._setting.precision):
                logits = network(clips)
            squares = (logits.float() - wanted).square().sum()
            (squares / (len(chosen) * self._classes)).backward()
        self._pool.update(member)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the pool: numbers and ages of its networks, weights and Adam's moments of those that were trained."""
        return self._pool.state()

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the pool."""
        self._pool.load_state(state)

    def _member(self, step: int) -> _Member:
        rng = generator(self._setting.seed, "frepo-member", step)
        return self._pool.members[int(torch.randint(len(self._pool.members), (), generator=rng))]

    def _passes(
        self, synthetic: SyntheticSet, name: str, step: int, shares: int, chosen: torch.Tensor | None = None
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the labels and choices of a draw, ordered by class and instance, divided into network passes.

        Passes are of whole classes where these fit, and there are at least ``shares`` of them if possible. ``chosen``
        are the indices of the draw's instances to take, ascending; None: all.
        """
        labels, choice = synthetic.choose(generator(self._setting.seed, name, step))
        if chosen is not None:
            chosen = to_device(chosen, labels.device)
            labels, choice = labels[chosen], choice[chosen]
        size = min(self._at_once, -(-len(labels) // shares))
        if synthetic.ipc <= self._at_once:
            size = synthetic.ipc * min(self._at_once // synthetic.ipc, -(-self._classes // shares))
        return list(zip(labels.split(size), choice.split(size), strict=True))

    def _labels(self, drawn: Draw) -> torch.Tensor:
        """Return y_s (N, C) of a draw."""
        if drawn.targets.is_floating_point():
            return drawn.targets
        return to_device(start_labels(self._classes, 1).squeeze(1), drawn.labels.device)[drawn.labels]

    def _embed_synthetic(
        self, network: Network, synthetic: SyntheticSet, passes: list[tuple[torch.Tensor, torch.Tensor]]
    ) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """Return Phi_s (n, D) and y_s (n, C), ordered by class and instance, and True if they are of images.

        Each process computes all rows: its share of the parts needs the derivatives by all of them.
        """
        phi, labels, stills = [], [], False
        for labels_of_pass, choice in passes:
            drawn = synthetic.made_of(labels_of_pass, choice)
            phi.append(self._setting.embed(network, drawn.clips))
            labels.append(self._labels(drawn))
            stills = drawn.clips.dim() == 4
        return torch.cat(phi), torch.cat(labels), stills

    def _embed_real(self, network: Network, step: int, width: int, stills: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return Phi_t (B, width) and y_t (B, C) of the step's real batch; processes divide Phi_t among them."""
        real, seed = self._setting.real, self._setting.seed
        indices = real_batch(len(real), self._batch_real, step, seed)
        frames = torch.randint(real.spec.frames, indices.shape, generator=generator(seed, "frepo-frames", step))
        phi = torch.zeros(len(indices), width, device=real.device)
        for rows in parts(self._setting.group.share(range(len(indices))), self._at_once):
            chosen = list(rows)
            if stills:
                pixels = real.view.frames_at(indices[chosen].numpy(), frames[chosen].numpy())
                batch = real.spec.normalise_images(to_device(torch.from_numpy(pixels), real.device))
            else:
                batch = real.clips(indices[chosen])
            phi[to_device(torch.tensor(chosen), phi.device)] = self._setting.embed(network, batch)
        self._setting.group.sum_([phi])
        return phi, centred_one_hot(to_device(real.labels[indices], real.device), self._classes)


# --- labels ----------------------------------------------------------------------------------------------------------


def centred_one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return one-hot - 1/C, float32 (N, C), of class numbers ``labels`` (N)."""
    return nn.functional.one_hot(labels, classes).float() - 1 / classes


def start_labels(classes: int, ipc: int) -> torch.Tensor:
    """Return the first labels: (one-hot - 1/C) / sqrt(C/10), float32 (C, ipc, C) (Zhou et al. 2022)."""
    rows: torch.Tensor = centred_one_hot(torch.arange(classes), classes) / (classes / 10) ** 0.5
    return rows.unsqueeze(1).repeat(1, ipc, 1)


def label_margin(labels: torch.Tensor) -> torch.Tensor:
    """Return the mean over the rows of ``labels`` (N, C) of min(largest - second largest, 1/C)."""
    top = labels.topk(2, dim=1).values
    return (top[:, 0] - top[:, 1]).clamp_max(1 / labels.shape[1]).mean()


# --- the regression --------------------------------------------------------------------------------------------------


def ridge_regression(phi_s: torch.Tensor, y_s: torch.Tensor, phi_t: torch.Tensor, ridge: float) -> torch.Tensor:
    """Return K_ts (K_ss + ridge tr(K_ss)/n I)^-1 y_s with K = Phi Phi^T: predictions (B, C), differentiable.

    ``phi_s`` is (n, D), not all zero, ``y_s`` (n, C), ``phi_t`` (B, D); in float64, or little but rounding is left.
    """
    return phi_t @ (phi_s.T @ ridge_solve(phi_s @ phi_s.T, y_s, ridge))


def ridge_solve(k_ss: torch.Tensor, y_s: torch.Tensor, ridge: float) -> torch.Tensor:
    """Return (K_ss + ridge tr(K_ss)/n I)^-1 y_s, (n, C), by Cholesky.

    ``k_ss`` (n, n) may be singular, as it is if two clips are the same. If rounding then outweighs the ridge, so that
    the sum is not positive definite, the ridge is raised to the rounding error, and then tenfold until it is.
    """
    number = len(k_ss)
    scaled_identity = k_ss.trace() / number * torch.eye(number, dtype=k_ss.dtype, device=k_ss.device)
    factor, failed = torch.linalg.cholesky_ex(k_ss + ridge * scaled_identity)
    while failed:
        ridge = max(10 * ridge, number * torch.finfo(k_ss.dtype).eps)
        assert ridge < 1, "a matrix Phi Phi^T with finite values is positive definite but for its rounding"
        factor, failed = torch.linalg.cholesky_ex(k_ss + ridge * scaled_identity)
    return torch.cholesky_solve(y_s, factor)


@dataclass(frozen=True)
class _Fit:
    """The result of a regression: loss, margin of the labels, dL/dPhi_s (n, D) and dL/dy_s (n, C), in float32."""

    loss: torch.Tensor
    margin: float
    to_phi: torch.Tensor
    to_y: torch.Tensor


def _fit(
    phi_s: torch.Tensor, y_s: torch.Tensor, phi_t: torch.Tensor, y_t: torch.Tensor, ridge: float, learned: bool
) -> _Fit:
    phi, labels, phi_real, wanted = map(_in_float64, (phi_s, y_s, phi_t, y_t))
    with torch.enable_grad():
        phi, labels = phi.requires_grad_(), labels.requires_grad_()
        margin = label_margin(labels)
        error = (ridge_regression(phi, labels, phi_real, ridge) - wanted).square().sum(1).mean()
        loss = error - margin if learned else error
        to_phi, to_y = torch.autograd.grad(loss, (phi, labels))
    value, to_phi, to_y = (tensor.detach().float().to(phi_s.device) for tensor in (loss, to_phi, to_y))
    return _Fit(value, margin.item(), to_phi, to_y)


def _in_float64(tensor: torch.Tensor) -> torch.Tensor:
    """Return ``tensor`` in float64, on the CPU unless it is on CUDA: other devices, such as MPS, may lack float64."""
    return (tensor if tensor.device.type == "cuda" else tensor.cpu()).detach().to(torch.float64)


def _check(phi_s: torch.Tensor, phi_t: torch.Tensor, step: int) -> None:
    """Raise DivergedError if embeddings are not finite, or are the same for all clips."""
    slower = "Start again with lower rates: --set dynamic.frepo.lr_network=... and dynamic.lr_dynamic=..."
    for phi, what in ((phi_s, "synthetic"), (phi_t, "real")):
        if not torch.isfinite(phi).all():
            raise DivergedError(f"At step {step} the network's embeddings of the {what} clips are not finite.", slower)
    if _collapsed(phi_s):
        problem = f"At step {step} the network embeds all synthetic clips alike: there is nothing to regress on."
        raise DivergedError(problem, slower)
    if _collapsed(phi_t):
        problem = f"At step {step} the network embeds all {len(phi_t)} real clips alike: there is nothing to predict."
        hint = "Check the clips with `vdtui data FILE.h5 --sheet`: are they all black, or all the same?"
        raise DivergedError(problem, hint)


def _collapsed(phi: torch.Tensor) -> bool:
    """Return True if all rows of ``phi`` (N, D) are zero or, if there are several, equal up to rounding."""
    largest = phi.abs().max()
    if len(phi) == 1 or largest == 0:
        return bool(largest == 0)
    return bool((phi - phi[:1]).abs().max() <= 8 * torch.finfo(phi.dtype).eps * largest)


# --- what is drawn ---------------------------------------------------------------------------------------------------


def real_batch(available: int, size: int, step: int, seed: int) -> torch.Tensor:
    """Return the indices of the real clips of ``step``: at most ``size``, all of ``available`` once in each round."""
    return in_rounds(available, size, step, seed, "frepo-real")


def online_batch(available: int, step: int, seed: int) -> torch.Tensor:
    """Return the ascending indices that a pool network trains on at ``step``: ONLINE_BATCH of ``available``, or all."""
    order = torch.randperm(available, generator=generator(seed, "frepo-online-batch", step))
    return order[:ONLINE_BATCH].sort().values


# --- the pool --------------------------------------------------------------------------------------------------------


@dataclass
class _Member:
    """A network of the pool. Until it has an ``adam`` it was never trained, and its number determines its weights."""

    number: int
    age: int
    network: Network | None = None
    adam: torch.optim.Adam | None = None


class _Pool:
    """The networks, each with its own Adam, made when they are first used.

    As in the code of Zhou et al., their ages begin evenly spread, though none is trained yet: otherwise all would be
    drawn anew at about the same time, and all features would be random again. Member k has the numbers k, k + pool,
    k + 2 pool, ... in turn, so that no initialisation is used twice.
    """

    def __init__(self, new_network: Callable[[int], Network], size: int, online_updates: int, lr: float) -> None:
        self._new_network = new_network
        self._lr = lr
        self.online_updates = online_updates
        self.members = [_Member(k, k * online_updates // size) for k in range(size)]

    def network(self, member: _Member) -> Network:
        """Return the member's network."""
        if member.network is None:
            member.network = self._new_network(member.number)
        return member.network

    def update(self, member: _Member) -> None:
        """Take one step of Adam on the member's gradients, then drop them."""
        adam = self._adam(member)
        adam.step()
        adam.zero_grad(set_to_none=True)
        member.age += 1

    def renew(self, member: _Member) -> None:
        """Give the member its next number, and so a new network."""
        member.number += len(self.members)
        member.age = 0
        member.network = member.adam = None

    def state(self) -> dict[str, torch.Tensor]:
        """Return numbers, ages, and the tensors of trained members; the others follow from their numbers."""
        state = {
            "numbers": torch.tensor([member.number for member in self.members]),
            "ages": torch.tensor([member.age for member in self.members]),
        }
        for k, member in enumerate(self.members):
            if member.adam is None:
                continue
            network = self.network(member)
            state |= {f"network.{k}.{name}": tensor for name, tensor in network.state_dict().items()}
            for name, parameter in network.named_parameters():
                moments = member.adam.state[parameter]
                state |= {f"adam.{k}.{name}/{key}": tensor for key, tensor in moments.items()}
        return state

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the tensors that ``state`` gave."""
        pairs = zip(state["numbers"].tolist(), state["ages"].tolist(), strict=True)
        self.members = [_Member(number, age) for number, age in pairs]
        for k, member in enumerate(self.members):
            weights = _below(state, f"network.{k}.")
            if weights:
                self.network(member).load_state_dict(weights)
                self._load_moments(member, _below(state, f"adam.{k}."))

    def _load_moments(self, member: _Member, stored: Mapping[str, torch.Tensor]) -> None:
        adam, parameters = self._adam(member), dict(self.network(member).named_parameters())
        for name, tensor in stored.items():
            owner, _, key = name.rpartition("/")
            like = torch.zeros(()) if key == "step" else parameters[owner]  # the count of steps stays on the CPU
            # In the layout of the parameter, as Adam makes them: its kernels for many tensors at once want that.
            adam.state[parameters[owner]][key] = torch.zeros_like(like).copy_(tensor)

    def _adam(self, member: _Member) -> torch.optim.Adam:
        if member.adam is None:
            member.adam = torch.optim.Adam(self.network(member).parameters(), self._lr)
        return member.adam


def _below(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
