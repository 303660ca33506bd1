"""The clips of a preset in three parts: what networks learn from, what chooses the iteration, and what is tested on.

Runs, `vdtui evaluate` and `vdtui experts` open their data here, so that they hold the same clips out of training and
refuse the same files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from engine.config import Preset
from engine.config.choosing import split_of_choice
from engine.config.objectives import named
from engine.data.batches import RealClips
from engine.data.opening import open_data
from engine.data.spec import ClipSpec
from engine.data.store import ClipStore, SplitView
from engine.errors import UsageError
from engine.models import check_model
from engine.models.registry import has_buffers, has_embedding
from engine.seeds import derive


@dataclass(frozen=True)
class Parts:
    """The clips file of a preset on a device; a context manager that closes the file.

    A part is moved to the device when it is first asked for, if it fits (``RealClips.keep_on_device``).
    """

    store: ClipStore
    preset: Preset
    device: torch.device

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()

    @cached_property
    def spec(self) -> ClipSpec:
        """The classes, shape and normalisation of the clips."""
        store = self.store
        return ClipSpec(store.classes, store.frames, store.height, store.width, store.mean, store.std)

    @cached_property
    def train(self) -> RealClips:
        """The clips that may be learned from."""
        return self._on_device(self._parted[0])

    @cached_property
    def val(self) -> RealClips | None:
        """The clips that the iteration is chosen on, or None if there are none."""
        return self._on_device(self._parted[1]) if len(self._parted[1]) else None

    @cached_property
    def test(self) -> RealClips:
        """The clips of the test split."""
        return self._on_device(self.store.split("test"))

    @cached_property
    def _parted(self) -> tuple[SplitView, SplitView]:
        return train_and_val(self.store, self.preset)

    def _on_device(self, view: SplitView) -> RealClips:
        return RealClips(view, self.spec, self.device).keep_on_device()


def open_parts(
    runs: Path,
    preset: Preset,
    device: torch.device,
    progress: Callable[[int, int, str], None],
    check: Callable[[], None],
) -> Parts:
    """Open the clips file of ``preset``, or make the demo's in the folder ``runs``.

    Raises DataError or PresetError if it is not what the preset says, or if a network of the preset cannot take it.
    """
    store = open_data(runs, preset, progress, check)
    try:
        for model in preset.evaluation.models:
            check_model(model, store.frames, store.height)
        _check_learnt_by(preset, store)
    except BaseException:
        store.close()
        raise
    return Parts(store, preset, device)


def _check_learnt_by(preset: Preset, store: ClipStore) -> None:
    """Raise UsageError if the objective of stage 2 cannot learn by the first network, which may be of another package.

    The schema refuses those of ours that it cannot.
    """
    model, objective = preset.evaluation.models[0], named(preset.dynamic.objective)
    if "experts" in preset.stages and has_buffers(model, store.frames, store.height):
        problem = f"dynamic.objective = {objective.name} cannot follow {model}, whose state is more than weights."
        raise UsageError(problem, "Name another network first in evaluation.models.")
    embeds = objective.compares_embeddings or objective.learns_labels
    if "dynamic" in preset.stages and embeds and not has_embedding(model, store.frames, store.height):
        problem = f"dynamic.objective = {objective.name} compares features, and {model} has no method embed."
        raise UsageError(problem, "Give it embed(clips) -> (N, D), or name another network first in evaluation.models.")


def train_and_val(store: ClipStore, preset: Preset) -> tuple[SplitView, SplitView]:
    """Part the training split into the clips to learn from and those to choose the iteration by.

    Where the data has a validation split, that one is taken, and nothing is held out. A protocol that chooses on the
    test split holds nothing out either, and its second part is empty.
    """
    whole = store.split("train")
    if split_of_choice(preset.evaluation.protocol) == "test":
        return whole.holdout(0.0, 0)
    if "val" in store.splits and len(store.split("val")):
        return whole, store.split("val")
    return whole.holdout(preset.dataset.val_fraction, derive(preset.run.seed, "holdout"))
