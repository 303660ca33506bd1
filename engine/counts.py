"""What a run will do, counted from its preset alone.

The run, its plan and the form in which it is set up must agree; the form starts at once, so this needs no torch.
"""

from __future__ import annotations

from engine.config.schema import DynamicTable, Preset


def candidate_steps(table: DynamicTable) -> tuple[int, ...]:
    """The steps among which the iteration is chosen: 0, every ``eval_every``, and the last."""
    return tuple(sorted({*range(0, table.steps, table.eval_every), table.steps}))


def table_rows(preset: Preset) -> int:
    """Rows of the final table: the set and its rivals."""
    kind = preset.synthetic.kind
    if kind == "full" or (kind == "coreset" and preset.selection.method == "random"):
        return 1
    return 3 if kind == "static-dynamic" and preset.synthetic.statics_per_instance else 2
