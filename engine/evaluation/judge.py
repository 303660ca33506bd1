"""Judging: networks trained on a set under the preset's protocol, with a teacher where it has one.

The choice of the iteration, the final table and `vdtui evaluate` all get their numbers here, so that they mean the
same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch

from engine.config import Preset
from engine.config.schema import EvaluationSection, SelectionSection
from engine.data.batches import RealClips
from engine.evaluation import (
    PROTOCOLS,
    STRICT,
    Protocol,
    Purpose,
    Recipe,
    Request,
    TrainingData,
    TrialCache,
    network_seed,
    protocol_named,
)
from engine.evaluation.stopping import STOPS, StoppingRule
from engine.evaluation.teacher import Teacher
from engine.models import Network, video_model
from engine.models.measured import Chosen, Steps, precision_for
from engine.models.repeated import CudaGraph, Recorder
from engine.seeds import derive

TEACHER_BATCH = 16


@dataclasses.dataclass(frozen=True)
class Judge:
    """The way in which a run, or `vdtui evaluate`, judges sets."""

    section: EvaluationSection
    train: RealClips
    """All clips that may be learned from; a teacher is trained on them."""
    seed: int
    precision: torch.dtype
    folder: Path
    """The folder of trained teachers."""
    record: Recorder | None = None
    """The constructor of records of training steps, by which networks are trained in turn (``trainers``), or None."""

    @classmethod
    def of(cls, preset: Preset, train: RealClips, precision: torch.dtype, runs: Path) -> Self:
        """Return the judge of ``preset``, which keeps teachers in a folder of ``runs`` that all runs there share."""
        records = preset.run.cuda_graphs and train.device.type == "cuda"
        folder = runs / ".data" / "networks"
        return cls(preset.evaluation, train, preset.run.seed, precision, folder, CudaGraph if records else None)

    @property
    def protocol(self) -> Protocol:
        """The protocol of the preset."""
        return protocol_named(self.section.protocol, self.section.labels)

    def seeds(self, purpose: Purpose, number: int) -> list[int]:
        """Return the seeds of ``number`` networks that choose the iteration (``selection``), or of the ``final`` table.

        A protocol that chooses on the test split reports the very networks that it chose by.
        """
        if self.protocol.selected_on == "test":
            purpose = "selection"
        return [network_seed(self.seed, purpose, k) for k in range(number)]

    def at_once(self, purpose: Purpose) -> int:
        """Return the number of networks of ``purpose`` that share the cores; their bits depend on it (``trainers``).

        Networks that both choose and are reported are trained in one and the same way for both.
        """
        numbers: dict[Purpose, int] = {"selection": self.section.selection_repeats, "final": self.section.repeats}
        return max(numbers.values()) if self.protocol.selected_on == "test" else numbers[purpose]

    def recipe(self, model: str, purpose: Purpose, step_size: float | None = None) -> Recipe:
        """Return the recipe of networks of ``model``, at the learned ``step_size`` where the preset wants that.

        Those that choose may stop early (``selection``), those that report never do.
        """
        recipe = recipe_of(self.section, model, self.precision, step_size)
        if self.protocol.teacher:
            recipe = dataclasses.replace(recipe, teacher=self._teacher(recipe).fingerprint)
        if purpose == "final":
            return recipe
        return dataclasses.replace(recipe, stop=stop_of(self.section))

    def request(
        self, data: Callable[[], TrainingData], real: RealClips, recipe: Recipe, seed: int, cache: TrialCache
    ) -> Request:
        """Return the request for one network that learns from ``data``, by a teacher if any, for a test on ``real``."""
        return Request(
            data, real, recipe, seed, cache, self._teacher(recipe).network if self.protocol.teacher else None
        )

    def feature_network(
        self, selection: SelectionSection, watch: Callable[[float], None] = lambda fraction: None
    ) -> Network:
        """Return the network whose features choose clips; a trained one is kept, and shared by the runs of a folder."""
        model, spec = self.section.models[0], self.train.spec
        if selection.features == "seeded":
            seed = derive(self.seed, "features")
            return video_model(model, len(spec.classes), spec.frames, spec.height, seed, self.train.device)
        strict = self.section.model_copy(update={"protocol": STRICT.name, "batch": selection.batch})
        recipe = recipe_of(strict, model, self.precision, None)
        return Teacher(self.folder, self.train, recipe, selection.epochs, self.seed).network(watch)

    def _teacher(self, recipe: Recipe) -> Teacher:
        return Teacher(self.folder, self.train, *_teaching(self.section, recipe), self.seed)


def recipe_of(section: EvaluationSection, model: str, precision: torch.dtype, step_size: float | None) -> Recipe:
    """Return the recipe of a preset's table; ``step_size`` is the rate that was learned with the set, if one was."""
    protocol = protocol_named(section.protocol, section.labels)
    rate = protocol.lr if section.lr is None else section.lr
    learned = step_size if section.use_learned_lr else None
    return Recipe(
        model,
        section.epochs,
        rate if learned is None else learned,
        section.momentum,
        section.weight_decay,
        section.batch,
        precision,
        protocol,
        section.labels,
        learned_lr=learned is not None,
        steps=section.steps,
    )


def stop_of(section: EvaluationSection) -> StoppingRule | None:
    """Return the rule by which networks that choose stop early; None: they make all epochs."""
    return STOPS.get(section.selection_stop)


def planned(preset: Preset, step_size: float | None) -> dict[str, Any]:
    """Return ``model`` and ``recipe``, as results have them, of the first network that ``preset`` evaluates a set by.

    ``step_size`` is the rate that was learned with the set, if one was.
    """
    model = preset.evaluation.models[0]
    return {"model": model, "recipe": recipe_of(preset.evaluation, model, torch.float32, step_size).record()}


def _teaching(section: EvaluationSection, recipe: Recipe) -> tuple[Recipe, int]:
    """Return recipe and epochs of the teacher of pupils of ``recipe``; it sees crops and flips, since its pupils do."""
    strong = PROTOCOLS["strict-strong"]
    return dataclasses.replace(recipe, protocol=strong, lr=strong.lr, batch=TEACHER_BATCH), section.teacher_epochs


def precision_of(
    preset: Preset, classes: int, frames: int, size: int, device: torch.device, runs: Path | None
) -> Chosen:
    """Return the number format of ``preset`` for clips of ``frames`` frames of ``size`` pixels (``precision_for``).

    It goes by steps of one clip of each class, the least that a set has, so that sets of any IPC have the same. What is
    measured is kept for all runs in ``runs``; None: it is not kept.
    """
    steps = Steps(preset.evaluation.models[0], classes, frames, size, min(classes, preset.evaluation.batch))
    folder = None if runs is None else runs / ".data" / "precision"
    return precision_for(preset.run.precision, device, steps, folder)
