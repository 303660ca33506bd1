"""The loop of both stages: steps of an optimiser, checkpoints, previews, and the choice of the best iteration."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from engine.config.counts import candidates, is_candidate
from engine.config.revisions import revisions
from engine.distilling.opening import Work
from engine.distilling.previews import save_preview
from engine.distilling.progress import StepPace, TablePace
from engine.errors import DivergedError, StopRequested
from engine.evaluation import Trainers, TrialCache, caution, mean_std
from engine.events import BestChanged, Evaluated, NetworkTrained, Note, PreviewSaved, StageFinished, StageStarted, Step
from engine.machine.usage import Gauge
from engine.matching import Objective
from engine.runs.checkpoints import Checkpoint
from engine.synthetic import Provenance, SyntheticSet, save_synthetic

PREVIEWS_PER_STAGE = 12


class BestIteration:
    """Which iteration is kept: the one whose networks are best on the validation split; step 0 is a candidate too.

    The kept set is written to ``synthetic/best.safetensors`` at once. Without a validation split the last one is kept.
    """

    def __init__(self, work: Work, synthetic: SyntheticSet, objective: Objective, resume: Checkpoint | None) -> None:
        document = resume.document if resume else {}
        self._work = work
        self._synthetic = synthetic
        self._objective = objective
        self.best_step: int = document.get("best_step", -1)
        self.best_accuracy: float | None = document.get("best_accuracy")
        self._evaluated: int = document.get("evaluated", -1)
        self._seconds: list[float] = []
        self.trainers = Trainers(work.device)
        """Kept for all evaluations of the run; whoever asks for them closes it."""

    def due(self, step: int) -> bool:
        """Whether ``step`` is to be evaluated, and is not yet."""
        leads = self._work.group.leads
        return leads and step > self._evaluated and is_candidate(self._work.preset.dynamic, step)

    def seconds_left(self, step: int) -> float:
        """What the evaluations after ``step`` will take, judging by those that were made."""
        if self._work.choosing is None or not self._seconds:
            return 0.0
        return candidates(self._work.preset.dynamic, after=step) * mean_std(self._seconds)[0]

    def document(self) -> dict[str, Any]:
        """What a checkpoint must hold of it."""
        return {"best_step": self.best_step, "best_accuracy": self.best_accuracy, "evaluated": self._evaluated}

    def consider(self, step: int) -> None:
        """Evaluate the set as it is at ``step``, and keep it if it is the best so far."""
        work = self._work
        accuracy = None
        if work.choosing is not None:
            accuracy = self._accuracy(step)
        if accuracy is None or self.best_accuracy is None or accuracy > self.best_accuracy:
            self.best_step, self.best_accuracy = step, accuracy
            save_synthetic(work.session.run.best, self._synthetic, self.provenance(step, accuracy))
            work.session.emit(BestChanged(step, accuracy))
        self._evaluated = step

    def look(self, step: int) -> None:
        """Evaluate the set as it is at ``step`` because somebody asked, as ``now``: it is no candidate."""
        self._accuracy(step, "now")

    def provenance(self, step: int, accuracy: float | None) -> Provenance:
        """What the file says of itself."""
        protocol = self._work.preset.evaluation.protocol
        selected_on = "none" if self._work.choosing is None else self._work.choosing[1]
        title, seed, objective = self._work.preset.title, self._work.seed, self._work.preset.dynamic.objective
        return Provenance(title, seed, step, protocol, selected_on, accuracy, self._step_size(), objective)

    def _step_size(self) -> float | None:
        learned = self._objective.parameters().get("step_size")
        return None if learned is None else learned.item()

    def _accuracy(self, step: int, name: str = "synthetic") -> float:
        work, number = self._work, self._work.preset.evaluation.selection_repeats
        assert work.choosing is not None
        real, split = work.choosing
        recipe = work.judge.recipe(work.preset.evaluation.models[0], self._step_size())
        began = time.monotonic()
        cache = TrialCache(work.session.run.evaluations, f"{name}-{split}-{step:06d}")
        asked = (
            work.judge.request(lambda: self._synthetic, real, recipe, seed, cache)
            for seed in work.judge.seeds("selection", number)
        )
        title = [f"evaluating step {step}"]
        pace = TablePace(work.session, "dynamic", title, number, step=step, total=work.preset.dynamic.steps)
        trials, values = [], []
        for trial in self.trainers.trials(asked, work.judge.at_once("selection"), pace.watch):
            trials.append(trial)
            values.append(trial.outcome.top1)
            work.session.emit(NetworkTrained(name, step, split, trial.seed, trial.outcome.top1, trial.seconds))
        if warning := caution(trials, recipe):
            work.session.emit(Note("warning", f"step {step}: {warning}"))
        mean, std = mean_std(values, work.judge.protocol)
        seconds = time.monotonic() - began
        if name == "synthetic":
            self._seconds.append(seconds)
        work.session.emit(Evaluated(name, step, split, mean, std, tuple(values), round(seconds, 3)))
        return mean


@dataclass
class Learning:
    """The loop of both stages: steps of an optimiser on a synthetic set, with checkpoints, previews and a selection.

    At the boundary before step k, in this order: checkpoint, preview, evaluation, request to stop; then step k.
    """

    work: Work
    stage: str
    synthetic: SyntheticSet
    objective: Objective
    optimiser: torch.optim.Optimizer
    steps: int
    checkpoint_every: int
    selection: BestIteration | None = None
    cosine: bool = False
    """Whether learning rates fall to zero along half a cosine over the steps."""

    def run(self, resume: Checkpoint | None) -> None:
        """All steps that are left."""
        with nullcontext() if self.selection is None else self.selection.trainers:
            self._run(resume)

    def _run(self, resume: Checkpoint | None) -> None:
        session = self.work.session
        first = self._restore(resume)
        began = time.monotonic()
        session.emit(StageStarted(self.stage, first, self.steps))
        for text in self.objective.begin(self.synthetic):
            session.emit(Note("info", text))
        pace, gauge = StepPace(self.steps), Gauge(self.work.device)
        for step in range(first, self.steps + 1):
            if step % self.checkpoint_every == 0 or step == self.steps:
                self._save(step, resume)
            self._preview(step)
            try:
                if self.selection is not None and self.selection.due(step):
                    self.selection.consider(step)
                if step == self.steps:
                    break
                self.work.check(partial(self._serve, step, resume))
            except StopRequested:
                self._save(step, resume)
                raise
            started = time.monotonic()
            loss, figures = self._step(step, resume)
            later = self.selection.seconds_left(step) if self.selection else 0.0
            rate, eta = pace.stepped(time.monotonic() - started, step + 1, later)
            session.emit(Step(self.stage, step + 1, self.steps, loss, rate, figures | gauge.figures(), eta))
        if self.selection is not None:
            if self.work.group.leads:
                save_synthetic(session.run.last, self.synthetic, self.selection.provenance(self.steps, None))
            session.save_checkpoint(Checkpoint("evaluate", 0, self._arrays(), self._document()))
        session.emit(StageFinished(self.stage, round(time.monotonic() - began, 3)))

    def _serve(self, step: int, resume: Checkpoint | None, what: str) -> None:
        """Do what was asked for once. Nothing that is learned or chosen depends on whether it was."""
        if what == "checkpoint":
            self._save(step, resume)
        elif self.selection is None or self.work.choosing is None:
            why = "there is no validation split" if self.selection else "only the dynamic stage can be evaluated"
            self.work.session.emit(Note("info", f"no evaluation at step {step}: {why}"))
        else:
            self.selection.look(step)

    def _step(self, step: int, resume: Checkpoint | None) -> tuple[float, dict[str, float]]:
        self._set_rates(step)
        self.optimiser.zero_grad()
        total = torch.zeros((), device=self.work.device)
        for part in self.objective.losses(self.synthetic, step):
            part.backward()
            total += part.detach()
        learned = self._learned()
        for tensor in learned.values():
            if tensor.grad is None:
                tensor.grad = torch.zeros_like(tensor)  # no part of this process's share was made of it
        self.work.group.sum_([total, *(tensor.grad for tensor in learned.values() if tensor.grad is not None)])
        figures = {_grad_name(name): _norm(tensor.grad) for name, tensor in learned.items()}
        bad = [name for name, value in figures.items() if not np.isfinite(value)]
        if not np.isfinite(total.item()) or bad:
            self._save(step, resume)
            what = "loss" if not bad else f"gradient of {bad[0].removeprefix('grad_')}"
            raise self._diverged(f"The {what} of stage {self.stage} is not finite at step {step}")
        self.optimiser.step()
        self.objective.after_step(self.synthetic, step)
        figures |= self._ranges(step) | self.objective.figures()
        return total.item(), {name: float(f"{value:.5g}") for name, value in figures.items()}

    def _learned(self) -> dict[str, torch.Tensor]:
        return self.synthetic.parameters() | self.objective.parameters()

    def _set_rates(self, step: int) -> None:
        if self.cosine:
            for group in self.optimiser.param_groups:
                group["lr"] = group["full_lr"] * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def _ranges(self, step: int) -> dict[str, float]:
        """Smallest and largest value of each memory. If one is not finite, the last checkpoint is the good state."""
        ranges: dict[str, float] = {}
        for name, tensor in self._learned().items():
            low, high = (value.item() for value in tensor.detach().aminmax())
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
        every = max(1, -(-self.steps // PREVIEWS_PER_STAGE))
        if self.work.group.leads and (step % every == 0 or step == self.steps):
            file = save_preview(self.work.session.run.previews, self.stage, step, self.synthetic)
            self.work.session.emit(PreviewSaved(self.stage, step, file))

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {name: _array(tensor) for name, tensor in self.synthetic.tensors().items()}
        for name, tensor in self._learned().items():
            state = self.optimiser.state.get(tensor, {})
            arrays |= {f"optimiser.{name}/{key}": _array(value) for key, value in state.items() if value is not None}
        return arrays | {f"objective.{name}": _array(tensor) for name, tensor in self.objective.state().items()}

    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = {"data": self.work.fingerprint, "revisions": revisions(self.work.preset)}
        return document | (self.selection.document() if self.selection is not None else {})

    def _save(self, step: int, resume: Checkpoint | None) -> None:
        document = self._document()
        if resume is not None and resume.step == step and document.items() <= resume.document.items():
            return  # just loaded: nothing is new
        self.work.session.save_checkpoint(Checkpoint(self.stage, step, self._arrays(), document))

    def _restore(self, resume: Checkpoint | None) -> int:
        if resume is None:
            return 0
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


def _norm(gradient: torch.Tensor | None) -> float:
    assert gradient is not None
    return gradient.norm().item()
