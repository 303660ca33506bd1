"""The list of objectives, and the facts of each that presets, forms, plans, counts and messages need.

A new objective is one file, whose class states its facts, and one line here. The classes lie above presets, so this
module names them as text and imports them when the schema is built; their files import no torch (``engine.lazy``).
Those of other packages come by entry points, or by address (``engine.config.plugins``).
"""

from __future__ import annotations

import contextlib
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from engine.config import plugins
from engine.config.fields import Section
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.config.schema import Preset

OBJECTIVES = [
    "engine.matching.gradient:GradientMatching",
    "engine.matching.distribution:DistributionMatching",
    "engine.matching.trajectory:TrajectoryMatching",
    "engine.matching.kernel:KernelRegression",
    "engine.matching.characteristic:CharacteristicFunctions",
]
"""The classes, as ``module:Class``, in the order in which presets and forms list them."""


class Passes(NamedTuple):
    """The clips, or images, that one step of an objective sends through a network; fractions are means over steps."""

    forward: float = 0.0
    """Without gradients."""
    trained: float = 0.0
    """With gradients of memories or weights."""
    twice: float = 0.0
    """With gradients of gradients."""


class Facts:
    """The facts of an objective; ``engine.matching.Objective`` inherits this."""

    name: ClassVar[str]
    """The name in presets: ``dynamic.objective = "NAME"``, ``[dynamic.NAME]``."""
    title: ClassVar[str]
    """The name in full, with its source, in a few words."""
    still_settings: ClassVar[type[Section] | None] = None
    """The class of ``[static.NAME]``, ``Section`` if it has no keys; None if it does not work on still images."""
    clip_settings: ClassVar[type[Section] | None] = None
    """The class of ``[dynamic.NAME]``, ``Section`` if it has no keys; None if it does not work on clips."""
    still_settings_inline: ClassVar[bool] = False
    """True if its keys of stage 1 stand in ``[static]`` itself, as in presets older than ``[static.NAME]``."""
    needs_experts: ClassVar[bool] = False
    """True if it follows experts, trained on all clips beforehand; their networks may have no buffers."""
    learns_labels: ClassVar[bool] = False
    """True if it gives soft labels a gradient."""
    learns_step_size: ClassVar[bool] = False
    """True if it learns a ``step_size``, at which networks may be trained on the set."""
    compares_embeddings: ClassVar[bool] = False
    """True if it compares the features that ``dynamic.embedding`` names."""

    @classmethod
    def settings_in(cls, stage: str) -> type[Section] | None:
        """Return the class of its keys in ``stage`` (``static`` or ``dynamic``); None if it does not work there."""
        return {"static": cls.still_settings, "dynamic": cls.clip_settings}[stage]

    @classmethod
    def expert_snapshots(cls, settings: Section) -> int:
        """Return the number of an expert's snapshots that can be drawn, its first weights included; 0 without any."""
        return 0

    @classmethod
    def banked_networks(cls, preset: Preset, stage: str = "dynamic") -> int:
        """Return the number of networks whose targets ``stage`` of ``preset`` keeps; 0 without a target bank."""
        return 0

    @classmethod
    def steps_per_network(cls, settings: Section) -> int:
        """Return the number of steps that share one network; it is trained after each of them but the last."""
        return 1

    @classmethod
    def passes(cls, preset: Preset, stage: str, classes: int) -> Passes | None:
        """Return what a step of ``stage`` sends through networks on data of ``classes`` classes; None: not known.

        By this a plan tells the time of steps that are too long to be tried. The filling of a target bank is counted
        by ``banked_networks``.
        """
        return None

    @classmethod
    def rehearsed(cls, settings: Section) -> Section:
        """Return ``settings`` for a rehearsal of a few steps, in which all that takes time in a run must happen.

        A bank is to be filled at the first and the third, and at no other.
        """
        return settings


@cache
def objectives() -> dict[str, type[Facts]]:
    """Return the classes of all objectives by name: those of ``OBJECTIVES`` in their order, then of entry points.

    An entry point that cannot be loaded, or has the name of another, is left out; `vdtui doctor` names it.
    """
    found: dict[str, type[Facts]] = {}
    for address in OBJECTIVES:
        module, _, name = address.partition(":")
        objective: Any = getattr(import_module(module), name)
        assert objective.name not in found, f"two objectives are called {objective.name}"
        found[objective.name] = objective
    for name, offer in plugins.offered(plugins.OBJECTIVES).items():
        with contextlib.suppress(UsageError):
            foreign = of_address(offer.value)
            if foreign.name == name:
                found.setdefault(name, foreign)
    return found


@cache
def of_address(address: str) -> type[Facts]:
    """Return the objective at ``module:Class``. Raises UsageError for what is not there, or is no objective."""
    found = plugins.load(address)
    if not (isinstance(found, type) and issubclass(found, Facts)):
        problem = f"{address} is no objective."
        raise UsageError(problem, "Name a subclass of engine.matching.base.Objective; docs/extending.md has one.")
    if not isinstance(getattr(found, "name", None), str) or not isinstance(getattr(found, "title", None), str):
        hint = "Give the class these two texts, as in docs/extending.md."
        raise UsageError(f"{address} has no name and title.", hint)
    return found


def named(objective: str) -> type[Facts]:
    """Return the class of the objective that a validated preset names, or whose address it has."""
    return of_address(objective) if plugins.is_address(objective) else objectives()[objective]


def working_in(stage: str) -> dict[str, type[Facts]]:
    """Return the objectives that work in ``stage`` (``static`` or ``dynamic``), by name."""
    return {name: each for name, each in objectives().items() if each.settings_in(stage) is not None}


def names_with(fact: str) -> list[str]:
    """Return the names of the objectives of which ``fact``, an attribute of ``Facts``, is true."""
    return [name for name, each in objectives().items() if getattr(each, fact)]
