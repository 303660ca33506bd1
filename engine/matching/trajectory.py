"""MTT, trajectory matching (Cazenavette et al. 2022).

DM and DC compare the embeddings, or gradients, of one network. MTT compares the weights after some steps of training on
the synthetic clips with those after training on the real ones. Its gradient runs through all steps of that training,
in one of the three ways of ``engine.matching.unroll``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from engine.config.fields import Count, CountOrNone, Few, Fraction, Networks, Rate, Section
from engine.config.objectives import Passes
from engine.errors import DivergedError
from engine.lazy import torch
from engine.matching.base import Objective, Setting
from engine.seeds import derive, generator
from engine.text import human_bytes

if TYPE_CHECKING:
    from engine.config import Preset
    from engine.matching.experts import Trajectories
    from engine.matching.unroll import Student
    from engine.synthetic.base import SyntheticSet

MIN_STEP_SIZE, MAX_STEP_SIZE = 1e-3, 10.0


class MttSettings(Section):
    """MTT, trajectory matching (Cazenavette et al. 2022)."""

    syn_steps: Few = Field(10, description="student steps on the synthetic clips that are differentiated through")
    expert_epochs: Count = Field(1, description="expert epochs that the student shall make up for")
    max_start_epoch: Count = Field(10, description="the student starts at an expert's epoch below this")
    min_start_epoch: CountOrNone = Field(0, description="the student starts at an expert's epoch of at least this")
    first_max_start_epoch: Count | None = Field(
        None,
        description="max_start_epoch of the first step, from where it grows to its value over the steps (DATM, Guo et "
        "al. 2024: easy epochs first); unset: it is the same at all steps",
    )
    batch: Count | None = Field(None, description="synthetic instances per student step; unset: all")
    step_size: Annotated[float, Field(ge=1e-3, le=1, allow_inf_nan=False)] = Field(
        0.01, description="learning rate of the student at the start; it is learned and kept above 0.001"
    )
    lr_step_size: Rate = Field(1e-5, description="learning rate of that step size; 0 keeps it fixed")
    momentum_step_size: Fraction = Field(0.0, description="momentum of that step size (dynamic.optimiser = sgd)")
    experts_per_step: Networks = Field(
        1, description="experts whose losses are averaged in a step; processes share them"
    )
    unroll: Literal["auto", "plain", "checkpointed", "constant"] = Field(
        "auto",
        description="memory for time: plain keeps all student steps, the others compute them again; auto: the first "
        "of them that half of the free memory will do for",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        first = self.first_max_start_epoch
        if first is not None and first > self.max_start_epoch:
            raise ValueError(f"first_max_start_epoch = {first} is above max_start_epoch = {self.max_start_epoch}")
        name, bound = ("max", self.max_start_epoch) if first is None else ("first_max", first)
        if self.min_start_epoch >= bound:
            raise ValueError(f"min_start_epoch = {self.min_start_epoch} is not below {name}_start_epoch = {bound}")
        return self


@dataclass(frozen=True)
class Window:
    """The epochs of an expert after which a student may start: from ``low`` on, below ``high``.

    With ``first``, the upper bound grows from it to ``high``, and each bound holds for an equal part of ``steps``. So
    easy features, which experts learn early, come first (DATM, difficulty-aligned trajectories, Guo et al., ICLR 2024).
    """

    low: int
    high: int
    first: int | None = None
    steps: int = 0

    def at(self, step: int) -> range:
        """Return the epochs of ``step``, which depend on nothing else, so that a resumed run has the same."""
        if self.first is None:
            return range(self.low, self.high)
        grown = (self.high - self.first + 1) * step // self.steps
        return range(self.low, self.first + grown)


class TrajectoryMatching(Objective):
    """|theta_N - theta*|^2 / |theta_0 - theta*|^2, as the mean over ``experts_per_step`` drawn experts.

    theta_0 are the weights of an expert after a random epoch of the step's ``Window``, theta* those of the same expert
    ``expert_epochs`` later. From theta_0, the student takes N = ``syn_steps`` steps of SGD on the synthetic set,
    without momentum:

        theta_{i+1} = theta_i - beta g_i,   g_i = d/dtheta_i  mean over X_i of the cross-entropy at theta_i

    with the step size beta, which is learned too. X_i are ``batch`` instances of the set (None: all), in rounds in
    which each instance has one turn; each round draws anew which of its variants an instance shows.

    The student trains with dropout, as in the code of Wang et al. 2024. The masks come from the seed, the step and the
    student's step, so that a step that is computed again has the same masks. A pass takes at most ``at_once`` clips.
    ``unroll`` is the way by which the gradient gets from theta_N back to the clips:

    - ``plain``: autograd keeps the activations of all N steps.
    - ``checkpointed``: autograd keeps theta_i, and computes step i again when it needs it (Chen et al. 2016).
    - ``constant``: as ``checkpointed``, by hand and ``at_once`` clips at a time; see ``unroll_constant``.
    - ``auto``: the first of these for which KEPT_SHARE of the free memory will do; see ``kept_bytes``. They differ in
      rounding, so the choice is made once in a run, by the leader for all processes, and is part of the state.
    """

    name: ClassVar[str] = "mtt"
    title: ClassVar[str] = "trajectory matching (Cazenavette et al. 2022)"
    clip_settings: ClassVar[type[Section]] = MttSettings
    needs_experts: ClassVar[bool] = True
    learns_step_size: ClassVar[bool] = True

    def __init__(
        self,
        setting: Setting,
        syn_steps: int = 10,
        expert_epochs: int = 1,
        max_start_epoch: int = 10,
        min_start_epoch: int = 0,
        first_max_start_epoch: int | None = None,
        steps: int = 0,
        batch: int | None = None,
        step_size: float = 0.01,
        lr_step_size: float = 1e-5,
        momentum_step_size: float = 0.0,
        experts_per_step: int = 1,
        unroll: str = "auto",
        at_once: int = 64,
    ) -> None:
        from engine.matching.experts import FlatParameters

        assert setting.trajectories is not None, "trajectory matching needs experts"
        self._setting = setting
        self._trajectories: Trajectories = setting.trajectories
        self._syn_steps = syn_steps
        self._expert_epochs = expert_epochs
        self._window = Window(min_start_epoch, max_start_epoch, first_max_start_epoch, steps)
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
        """Return the objective of stage 2."""
        section = preset.dynamic.table(cls.name, MttSettings)
        return cls(
            setting,
            syn_steps=section.syn_steps,
            expert_epochs=section.expert_epochs,
            max_start_epoch=section.max_start_epoch,
            min_start_epoch=section.min_start_epoch,
            first_max_start_epoch=section.first_max_start_epoch,
            steps=preset.dynamic.steps,
            batch=section.batch,
            step_size=section.step_size,
            lr_step_size=section.lr_step_size,
            momentum_step_size=section.momentum_step_size,
            experts_per_step=section.experts_per_step,
            unroll=section.unroll,
        )

    @classmethod
    def passes(cls, preset: Preset, stage: str, classes: int) -> Passes:
        """Return the instances of all student steps, whose gradients are differentiated."""
        settings = preset.dynamic.table(cls.name, MttSettings)
        each = min(classes * preset.synthetic.ipc, settings.batch or classes * preset.synthetic.ipc)
        return Passes(twice=settings.experts_per_step * settings.syn_steps * each)

    @classmethod
    def expert_snapshots(cls, settings: Section) -> int:
        """Return the number of weights after epochs 0 to max_start_epoch + expert_epochs - 1."""
        assert isinstance(settings, MttSettings)
        return settings.max_start_epoch + settings.expert_epochs

    @classmethod
    def rehearsed(cls, settings: Section) -> Section:
        """Return ``settings`` by which students start from the first weights, so that experts need only one epoch."""
        first = {"min_start_epoch": 0, "max_start_epoch": 1, "first_max_start_epoch": None}
        return settings.model_copy(update={**first, "expert_epochs": 1})

    def begin(self, synthetic: SyntheticSet) -> list[str]:
        """Choose the unroll if ``unroll`` is ``auto`` and none is chosen yet; return a line on the choice."""
        if self._unroll is not None:
            return []
        from engine.data.batches import free_bytes
        from engine.matching.unroll import UNROLLS, affordable, kept_bytes

        needs, free = kept_bytes(self._student(synthetic, 0, 0)), free_bytes(self._setting.real.device)
        found = affordable(needs, free)
        agree, device = self._setting.group.agree, self._setting.real.device
        self._unroll = next(name for name in UNROLLS if agree(name == found, device))
        kept = ", ".join(f"{name} keeps {human_bytes(need)}" for name, need in needs.items())
        known = f"{human_bytes(free)} are free" if free else "how much is free is not known"
        return [f"dynamic.mtt.unroll = auto chose {self._unroll}: {kept}; {known}"]

    def losses(self, synthetic: SyntheticSet, step: int) -> Iterator[torch.Tensor]:
        """Yield a part per expert of this process's share."""
        from engine.matching.unroll import UNROLLS, squared_distance

        self.begin(synthetic)
        assert self._unroll is not None
        unroll = UNROLLS[self._unroll]
        for number in self._setting.group.share(range(self._experts_per_step)):
            rng = generator(self._setting.seed, "mtt-expert", step, number)
            start, target = self._trajectories.draw(rng, self._window.at(step), self._expert_epochs)
            distance = squared_distance(start, target)
            if distance == 0:
                raise DivergedError(
                    f"At step {step} an expert was drawn that does not move in {self._expert_epochs} epochs.",
                    "Train experts that learn: --set experts.lr=..., or --set experts.stored=float32.",
                )
            student = self._student(synthetic, step, number)
            yield unroll(student, start, target) / (distance * self._experts_per_step)

    def parameters(self) -> dict[str, torch.Tensor]:
        """Return the step size of the student, a scalar."""
        return {"step_size": self._step_size}

    def rates(self) -> dict[str, float]:
        """Return the learning rate of the step size; 0 keeps it fixed."""
        return {"step_size": self._lr_step_size}

    def momenta(self) -> dict[str, float]:
        """Return the momentum of the step size under SGD."""
        return {"step_size": self._momentum_step_size}

    def figures(self) -> dict[str, float]:
        """Return the current step size."""
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
        """Return the step size, and the index of the unroll once it is chosen."""
        from engine.matching.unroll import UNROLLS

        state = {"step_size": self._step_size.detach()}
        return state if self._unroll is None else state | {"unroll": torch.tensor([*UNROLLS].index(self._unroll))}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore ``state``; the step size in place, because an optimiser may hold the tensor."""
        from engine.matching.unroll import UNROLLS

        with torch.no_grad():
            self._step_size.copy_(state["step_size"].reshape(()))  # earlier checkpoints have an array of one
        if "unroll" in state:
            self._unroll = [*UNROLLS][int(state["unroll"])]

    def _student(self, synthetic: SyntheticSet, step: int, number: int) -> Student:
        from engine.matching.unroll import Student

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
