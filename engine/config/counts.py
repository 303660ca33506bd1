"""What a run will do, counted from its preset alone.

The run, its plan and the form in which it is set up must agree; the form starts at once, so this needs no torch.
"""

from __future__ import annotations

from engine.config.objectives import named
from engine.config.schema import DynamicSection, Preset, StaticSection


def is_candidate(section: DynamicSection, step: int) -> bool:
    """Whether ``step`` is one among which the iteration is chosen: 0, every ``eval_every``, and the last."""
    return step == section.steps or (0 <= step < section.steps and step % section.eval_every == 0)


def candidates(section: DynamicSection, after: int = -1) -> int:
    """How many of these steps are later than ``after``, which is a step, or -1 for all of them."""
    if after >= section.steps:
        return 0
    return (section.steps - 1) // section.eval_every - after // section.eval_every + 1


def inner_trainings(section: StaticSection) -> int:
    """After how many steps of stage 1 the objective trains its network: all but the last of each network."""
    return section.steps - section.steps // named(section.objective).steps_per_network(section.settings)


def clips_to_start_from(preset: Preset) -> int:
    """How many real clips of each class the memories start from; 0 where they start from noise, or nothing is learned.

    Static and dynamic memory start from the same clips, as far as both go.
    """
    section, kind = preset.synthetic, preset.synthetic.kind
    static = 0 if preset.static.init == "noise" or kind == "pixels" else section.ipc * section.statics_per_instance
    per_instance = {"pixels": 1, "static-dynamic": section.dynamics_per_instance}.get(kind, 0)
    dynamic = 0 if preset.dynamic.init == "noise" else section.ipc * per_instance
    return 0 if kind in ("coreset", "full") else max(static, dynamic)


def table_rows(preset: Preset) -> int:
    """Rows of the final table: the set and its rivals."""
    kind = preset.synthetic.kind
    if kind == "full" or (kind == "coreset" and preset.selection.method == "random"):
        return 1
    return 3 if kind == "static-dynamic" and preset.synthetic.statics_per_instance else 2
