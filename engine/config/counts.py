"""What a run will do, counted from its preset alone.

The run, its plan and the form in which it is set up must agree; the form starts at once, so this needs no torch.
"""

from __future__ import annotations

from engine.config.kinds import COMPRESSED
from engine.config.objectives import named
from engine.config.schema import DynamicSection, Preset, StaticSection

MOST_RUNGS = 6
"""Ways to store a compressed baseline that networks are trained on to choose one of them."""


def is_candidate(section: DynamicSection, step: int) -> bool:
    """Whether ``step`` is one among which the iteration is chosen: 0, every ``eval_every``, and the last."""
    return step == section.steps or (0 <= step < section.steps and step % section.eval_every == 0)


def candidates(section: DynamicSection, after: int = -1) -> int:
    """How many of these steps are later than ``after``, which is a step, or -1 for all of them."""
    if after >= section.steps:
        return 0
    return (section.steps - 1) // section.eval_every - after // section.eval_every + 1


def inner_trainings(section: StaticSection) -> int:
    """Return the number of steps of stage 1 after which the objective trains its network."""
    return section.steps - section.steps // named(section.objective).steps_per_network(section.settings)


def baseline_networks(preset: Preset) -> int:
    """How many networks choose the storage of the compressed baselines at most; the bytes of a set decide how many.

    Of the bytes of a large set none do: whatever is stored at its best fits.
    """
    compressed = [name for name in preset.kind.rows(preset) if name in COMPRESSED]
    return len(compressed) * MOST_RUNGS * preset.evaluation.selection_repeats
