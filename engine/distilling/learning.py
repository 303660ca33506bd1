"""The loop of both stages: steps of an optimiser on a synthetic set, with checkpoints, previews and a choice."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from engine.config.revisions import revisions
from engine.distilling.choosing import Choice
from engine.distilling.opening import Work
from engine.distilling.previews import save_preview
from engine.distilling.progress import StepPace
from engine.distilling.through import ThroughStorage
from engine.errors import DivergedError, StopRequested
from engine.events import Note, PreviewSaved, Stage, StageFinished, StageStarted, Step
from engine.machine.usage import Gauge
from engine.matching import Objective
from engine.runs.checkpoints import Checkpoint
from engine.runs.session import Session
from engine.runs.status import Action
from engine.synthetic import SyntheticSet

PREVIEWS_PER_STAGE = 12


def preview_every(steps: int) -> int:
    """Return the steps between two previews of a stage of ``steps``, which a plan counts with too."""
    return max(1, -(-steps // PREVIEWS_PER_STAGE))


class StageCheckpoints:
    """The checkpoints of one stage: it knows what the newest one says, and writes no second one that says the same.

    ``newest`` is the checkpoint that the stage goes on from, if it does.
    """

    def __init__(self, session: Session, newest: Checkpoint | None) -> None:
        self._session = session
        self._newest = None if newest is None else (newest.step, newest.document)

    def save(self, step: int, document: dict[str, Any], state: Callable[[], Checkpoint]) -> bool:
        """Save ``state()``, of ``step`` and with ``document``; return whether it was new."""
        if self._newest is not None:
            known_step, known = self._newest
            if step == known_step and document.items() <= known.items():
                return False
        self._session.save_checkpoint(state())
        self._newest = step, document
        return True


@dataclass(kw_only=True)
class Learning:
    """The loop of both stages: steps of an optimiser on a synthetic set, with checkpoints, previews and a choice.

    At the boundary before step k, in this order: checkpoint, preview, evaluation, request to stop; then step k.
    """

    work: Work
    stage: Literal["static", "dynamic"]
    synthetic: SyntheticSet
    objective: Objective
    optimiser: torch.optim.Optimizer
    steps: int
    checkpoint_every: int
    choice: Choice
    resume: Checkpoint | None
    """The checkpoint to go on from, if there is one."""
    cosine: bool = False
    """True if learning rates fall to zero along half a cosine over the steps."""

    def __post_init__(self) -> None:
        self._checkpoints = StageCheckpoints(self.work.session, self.resume)
        learns_through = self.work.preset.storage.learn_through
        self._through = ThroughStorage(self.work, self.synthetic, self.resume) if learns_through else None

    def run(self) -> None:
        """Take all steps that are left."""
        session = self.work.session
        first = self._restore()
        began = time.monotonic()
        session.emit(StageStarted(self.stage, first, self.steps))
        for text in self.objective.begin(self.synthetic):
            session.emit(Note("info", text))
        pace, gauge = StepPace(self.steps), Gauge(self.work.device)
        with self.choice:
            for step in range(first, self.steps):
                self._boundary(step)
                started = time.monotonic()
                loss, figures = self._step(step)
                rate, eta = pace.stepped(time.monotonic() - started, step + 1, self.choice.seconds_left(step))
                session.emit(Step(self.stage, step + 1, self.steps, loss, rate, figures | gauge.figures(), eta))
            self._boundary(self.steps)
        session.emit(StageFinished(self.stage, round(time.monotonic() - began, 3)))

    def _boundary(self, step: int) -> None:
        """Save, show and judge the set as it is before ``step``, and answer what was asked; may raise StopRequested."""
        if step % self.checkpoint_every == 0 or step == self.steps:
            self._save(step)
        self._preview(step)
        try:
            self.choice.consider(step)
            if step < self.steps:
                self.work.check(partial(self._serve, step))
        except StopRequested:
            self._save(step)
            raise

    def _serve(self, step: int, action: Action) -> None:
        """Carry out ``action``, which was asked for once. Nothing that is learned or chosen depends on it."""
        if action == "evaluate":
            self.choice.look(step)
        elif not self._save(step):
            self.work.session.emit(Note("info", f"the newest checkpoint is of step {step} already"))

    def _step(self, step: int) -> tuple[float, dict[str, float]]:
        self._set_rates(step)
        self.optimiser.zero_grad()
        total = torch.zeros((), device=self.work.device)
        encoding = {} if self._through is None else self._through.renew(step)
        for part in self.objective.losses(self._seen(), step):
            part.backward()
            total += part.detach()
        learned = self._learned()
        for tensor in learned.values():
            if tensor.grad is None:
                tensor.grad = torch.zeros_like(tensor)  # no part of this process's share was made of it
        self.work.group.sum_([total, *(tensor.grad for tensor in learned.values() if tensor.grad is not None)])
        norms = [tensor.grad.norm() for tensor in learned.values() if tensor.grad is not None]
        loss, *values = torch.stack([total, *norms]).tolist()  # read at once: each reading waits for the device
        figures = dict(zip(map(_grad_name, learned), values, strict=True))
        bad = [name for name, value in figures.items() if not np.isfinite(value)]
        if not np.isfinite(loss) or bad:
            self._save(step)
            culprit = "loss" if not bad else f"gradient of {bad[0].removeprefix('grad_')}"
            raise self._diverged(f"The {culprit} of stage {self.stage} is not finite at step {step}")
        self.optimiser.step()
        if self._through is not None:
            self._through.keep_in_range()
        self.objective.after_step(self._seen(), step)
        figures |= self._ranges(step) | self.objective.figures() | encoding
        return loss, {name: float(f"{value:.5g}") for name, value in figures.items()}

    def _seen(self) -> SyntheticSet:
        """Return the set that objectives see: as it will be decoded, where the preset learns through its storage."""
        return self.synthetic if self._through is None else self._through.seen()

    def _learned(self) -> dict[str, torch.Tensor]:
        return self.synthetic.parameters() | self.objective.parameters()

    def _set_rates(self, step: int) -> None:
        if self.cosine:
            for group in self.optimiser.param_groups:
                group["lr"] = group["full_lr"] * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def _ranges(self, step: int) -> dict[str, float]:
        """Return the smallest and the largest value of each memory.

        Raises DivergedError if one is not finite; the last checkpoint is then the good state.
        """
        ranges: dict[str, float] = {}
        learned = self._learned()
        found = torch.stack([torch.stack(tensor.detach().aminmax()) for tensor in learned.values()]).tolist()
        for (name, tensor), (low, high) in zip(learned.items(), found, strict=True):
            if not (np.isfinite(low) and np.isfinite(high)):
                raise self._diverged(f"The {name} memory is not finite after step {step} of stage {self.stage}")
            if not name.startswith("hallucinator") and tensor.dim() > 0:
                ranges |= {f"min_{name}": low, f"max_{name}": high}
        return ranges

    def _diverged(self, problem: str) -> DivergedError:
        rate = {"static": "static.lr", "dynamic": "dynamic.lr_dynamic"}[self.stage]
        return DivergedError(
            f"{problem}; the last good state is kept.", f"Start again with a lower rate: --set {rate}=..."
        )

    def _preview(self, step: int) -> None:
        if self.work.group.leads and (step % preview_every(self.steps) == 0 or step == self.steps):
            file = save_preview(self.work.session.run.previews, self.stage, step, self.synthetic)
            self.work.session.emit(PreviewSaved(self.stage, step, file))

    def state(self, stage: Stage, step: int) -> Checkpoint:
        """Return a checkpoint of the present state, from which a run goes on at ``step`` of ``stage``."""
        arrays = {name: _array(tensor) for name, tensor in self.synthetic.tensors().items()}
        for name, tensor in self._learned().items():
            state = self.optimiser.state.get(tensor, {})
            arrays |= {f"optimiser.{name}/{key}": _array(value) for key, value in state.items() if value is not None}
        arrays |= {f"objective.{name}": _array(tensor) for name, tensor in self.objective.state().items()}
        if self._through is not None:
            arrays |= {name: _array(tensor) for name, tensor in self._through.state(step, stage).items()}
        return Checkpoint(stage, step, arrays, self._document())

    def _document(self) -> dict[str, Any]:
        used = {"data": self.work.fingerprint, "revisions": revisions(self.work.preset)}
        return used | self.choice.document()

    def _save(self, step: int) -> bool:
        """Save a checkpoint of ``step``; return whether it says something new."""
        return self._checkpoints.save(step, self._document(), lambda: self.state(self.stage, step))

    def _restore(self) -> int:
        """Put the optimiser and the objective in the state of ``resume``; return the step to begin with."""
        if self.resume is None:
            return 0
        resume = self.resume
        learned = self._learned()
        for name, array in resume.arrays.items():
            if name.startswith("optimiser."):
                owner, _, key = name.removeprefix("optimiser.").rpartition("/")
                tensor = learned[owner]
                stored = torch.from_numpy(array)
                # Optimisers count their steps on the CPU, wherever the tensor is.
                self.optimiser.state[tensor][key] = stored if key == "step" else stored.to(tensor)
        own = {
            name.removeprefix("objective."): array
            for name, array in resume.arrays.items()
            if name.startswith("objective.")
        }
        self.objective.load_state({name: torch.from_numpy(array).to(self.work.device) for name, array in own.items()})
        return resume.step


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy()  # NumPy's own ascontiguousarray makes a scalar an array of one


def _grad_name(name: str) -> str:
    return f"grad_{name.removesuffix('.weight')}"
