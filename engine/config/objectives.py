"""The objectives that there are, and what must be known of each before it computes anything.

Presets, forms, plans, counts and messages are made of what the classes say of themselves, so an objective is one file
and one line here. Classes are named by text and imported when the schema is built: they lie above presets, and their
files import no torch (``engine.lazy``).
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from engine.config.fields import Section

if TYPE_CHECKING:
    from engine.config.schema import Preset

OBJECTIVES = [
    "engine.matching.gradient:GradientMatching",
    "engine.matching.distribution:DistributionMatching",
    "engine.matching.trajectory:TrajectoryMatching",
    "engine.matching.kernel:KernelRegression",
    "engine.matching.characteristic:CharacteristicFunctions",
]
"""``module:Class`` of each, in the order in which presets and forms list them."""


class Facts:
    """What an objective says of itself; ``engine.matching.Objective`` inherits this."""

    name: ClassVar[str]
    """The name in presets: ``dynamic.objective = "NAME"``, ``[dynamic.NAME]``."""
    title: ClassVar[str]
    """What it is in a few words, with its source."""
    still_settings: ClassVar[type[Section] | None] = None
    """Keys of ``[static.NAME]`` (none: ``Section``); None: it does not work in stage 1, on still images."""
    clip_settings: ClassVar[type[Section] | None] = None
    """Keys of ``[dynamic.NAME]`` (none: ``Section``); None: it does not work in stage 2, on clips."""
    still_settings_inline: ClassVar[bool] = False
    """Whether its keys of stage 1 stand in ``[static]`` itself, as in presets that are older than ``[static.NAME]``."""
    needs_experts: ClassVar[bool] = False
    """Whether it follows experts, trained on all clips before; their networks may have no buffers."""
    learns_labels: ClassVar[bool] = False
    """Whether a set's soft labels get a gradient."""
    learns_step_size: ClassVar[bool] = False
    """Whether it learns a ``step_size``, at which networks may be trained on the set."""
    compares_embeddings: ClassVar[bool] = False
    """Whether it compares what ``dynamic.embedding`` chooses."""

    @classmethod
    def settings_in(cls, stage: str) -> type[Section] | None:
        """The keys of its own in ``stage``, which is ``static`` or ``dynamic``; None: it does not work there."""
        return {"static": cls.still_settings, "dynamic": cls.clip_settings}[stage]

    @classmethod
    def expert_snapshots(cls, settings: Section) -> int:
        """How many of an expert's weights can be drawn, the first ones among them; 0 where it needs no experts."""
        return 0

    @classmethod
    def banked_networks(cls, preset: Preset) -> int:
        """How many networks stage 2 of ``preset`` computes targets for and keeps; 0 where it has no target bank."""
        return 0

    @classmethod
    def steps_per_network(cls, settings: Section) -> int:
        """After how many steps a network is drawn anew; it is trained after each of them but the last."""
        return 1

    @classmethod
    def rehearsed(cls, settings: Section) -> Section:
        """``settings`` for a rehearsal of three steps: what fills slowly is full at once, what comes later comes."""
        return settings


@cache
def objectives() -> dict[str, type[Facts]]:
    """All objectives by name, in the order of ``OBJECTIVES``."""
    found: dict[str, type[Facts]] = {}
    for address in OBJECTIVES:
        module, _, name = address.partition(":")
        objective: Any = getattr(import_module(module), name)
        assert objective.name not in found, f"two objectives are called {objective.name}"
        found[objective.name] = objective
    return found


def named(objective: str) -> type[Facts]:
    """The objective of that name, which a validated preset has."""
    return objectives()[objective]


def working_in(stage: str) -> dict[str, type[Facts]]:
    """The objectives of ``stage``, which is ``static`` or ``dynamic``, by name."""
    return {name: each for name, each in objectives().items() if each.settings_in(stage) is not None}


def that(fact: str) -> list[str]:
    """The names of the objectives of which ``fact``, an attribute of ``Facts``, is true."""
    return [name for name, each in objectives().items() if getattr(each, fact)]
