"""The list of presets from which a new run begins: its order, its groups, and the search in it.

Groups and search go by what the schema and the name say of a preset, never by its description, which is prose.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from engine.config import Preset, is_published, load_preset, preset_names
from engine.data.recipe import DEMO

ANY = "any data"
ABLATIONS = "ablations of default"
_ORDER = {ANY: 0, DEMO: 1, ABLATIONS: 3}
"""The places of the groups that are no benchmark; benchmarks stand between, by name."""


@dataclasses.dataclass(frozen=True)
class ListedPreset:
    """The facts of a preset by which it is listed and found."""

    name: str
    dataset: str
    """The layout of its data, or ``ANY``."""
    kind: str
    objectives: tuple[str, ...]
    """The objectives of its stages that learn; none of a coreset."""
    ipc: int
    is_published: bool
    """True for a published setting, False for our rates."""

    @property
    def group(self) -> str:
        """The head under which it is listed."""
        return ABLATIONS if self.name.startswith("ablation-") else self.dataset

    def matches(self, typed: str) -> bool:
        """Tell whether each typed word is in one of its facts; published settings are listed when asked for."""
        typed_words = typed.lower().split()
        if self.is_published and not any(word.startswith("pub") for word in typed_words):
            return False
        rates = "published" if self.is_published else "ours"
        facts = " ".join([self.name, self.group, self.kind, *self.objectives, f"ipc{self.ipc}", rates])
        return all(word in facts.lower() for word in typed_words)


def all_presets() -> dict[str, Preset]:
    """The shipped presets by name."""
    return {name: load_preset(name) for name in preset_names()}


def listed(presets: Mapping[str, Preset]) -> list[ListedPreset]:
    """Put those of a data set beside each other, those for any data and ``demo`` first, ablations last."""
    return sorted((_listed(name, preset) for name, preset in presets.items()), key=_place)


def _listed(name: str, preset: Preset) -> ListedPreset:
    objectives = {"static": preset.static.objective, "dynamic": preset.dynamic.objective}
    return ListedPreset(
        name,
        preset.dataset.layout or ANY,
        preset.synthetic.kind,
        tuple(objective for stage, objective in objectives.items() if stage in preset.stages),
        preset.synthetic.ipc,
        is_published(name),
    )


def _place(preset: ListedPreset) -> tuple[int, str, bool, str]:
    return _ORDER.get(preset.group, 2), preset.group, preset.is_published, preset.name
