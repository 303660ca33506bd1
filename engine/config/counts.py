"""Counts of the work of a run, from its preset alone.

The run, its plan and the form in which it is set up must agree on them. The form starts without torch, and so does
this module.
"""

from __future__ import annotations

from engine.config.budget import MOST_RUNGS
from engine.config.choosing import split_of_choice
from engine.config.kinds import COMPRESSED, chooses_baselines
from engine.config.objectives import named
from engine.config.schema import DynamicSection, EvaluationSection, Preset, StaticSection


def is_candidate(section: DynamicSection, step: int) -> bool:
    """Return True if the iteration may be chosen at ``step``: at 0, at multiples of ``eval_every``, and at the last."""
    return step == section.steps or (0 <= step < section.steps and step % section.eval_every == 0)


def candidates(section: DynamicSection, after: int = -1) -> int:
    """Return the number of steps later than ``after`` at which the iteration may be chosen; -1 counts all of them."""
    if after >= section.steps:
        return 0
    return (section.steps - 1) // section.eval_every - after // section.eval_every + 1


def length_of(section: EvaluationSection) -> int:
    """Return how long networks are trained: in steps where these are counted, else in epochs."""
    return section.steps or section.epochs


def clips_shown(section: EvaluationSection, instances: int) -> float:
    """Return how many clips a network is shown in all of its training on ``instances`` of them."""
    if section.steps:
        return section.steps * instances / -(-instances // section.batch)
    return float(section.epochs * instances)


def inner_trainings(section: StaticSection) -> int:
    """Return the number of steps of stage 1 after which the objective trains its network."""
    return section.steps - section.steps // named(section.objective).steps_per_network(section.settings)


def expert_epochs(preset: Preset) -> int:
    """Return the number of epochs that all experts of ``preset`` are trained for together."""
    section = preset.experts
    return section.number * (preset.expert_snapshots - 1 if section.epochs is None else section.epochs)


def budget_networks(preset: Preset) -> int:
    """Return the most networks that choose how a budget is spent; the data decide how many of its rungs hold a clip."""
    by_val = preset.storage.open_budget and split_of_choice(preset.evaluation.protocol) == "val"
    return MOST_RUNGS * preset.evaluation.selection_repeats if by_val else 0


def baseline_networks(preset: Preset) -> int:
    """The most networks that choose the storage of the compressed baselines; the bytes of a set decide their number.

    Of the bytes of a large set none do: whatever is stored at its best fits.
    """
    compressed = [name for name in preset.kind.rows(preset) if name in COMPRESSED]
    return len(compressed) * MOST_RUNGS * preset.evaluation.selection_repeats


def feature_epochs(preset: Preset, stage: str) -> int:
    """Return the epochs on all training clips of the network by whose features ``stage`` chooses real clips.

    0 if it chooses none, or trains none for it. ``stage``: ``select``, of a coreset, or ``evaluate``, of a baseline;
    that of a set's start is the same, and counts there.
    """
    section = preset.selection
    chooses = {
        "select": "select" in preset.stages and section.method != "random",
        "evaluate": chooses_baselines(preset) or preset.kind.chooses_start(preset),
    }
    return section.epochs if chooses[stage] and section.features == "trained" else 0
