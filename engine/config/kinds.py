"""The kinds of sets (``synthetic.kind``): what each stores, in which stages it is made, and what stands beside it.

Presets, plans, the form and the dashboard must know all this at once, so the description of a kind needs no torch; its
class in ``engine/synthetic`` does the rest, and a test holds the two together. Everything that differs between kinds is
asked here or of the class: an ``if`` on the name of a kind would be one more place that a new kind must be added to.

A new kind is a subclass of ``Kind`` here, its class there, and a field of the schema for each key of its own: see
docs/extending.md.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from engine.config.choosing import split_of_choice

if TYPE_CHECKING:
    from engine.config.schema import Preset, SyntheticSection

Shape = tuple[int, ...]


class Pictures(NamedTuple):
    """The shape of a series of pictures; that of a clip has three channels."""

    channels: int
    frames: int
    height: int
    width: int


@dataclasses.dataclass(frozen=True)
class Part:
    """One tensor that a set stores. Of pictures it is (C, number, frames, channels, h, w): so many of each class."""

    name: str
    """The name in the set file, and in figures and checkpoints."""
    stage: str
    """The stage that makes it."""
    rate: str = ""
    """The key of its learning rate, in the last stage that can learn it; "" for real clips, which are not learned."""
    channels: int = 0
    """Channels of its pictures; 0 for what is no pictures, and so is stored as float32 at any precision."""
    still: bool = False
    """Whether each picture stands alone, and the tensor is (C, number, channels, h, w)."""
    smooth: tuple[int, ...] = ()
    """The axes, counted from the end, along which real video varies smoothly, and whitened steps too."""
    exact: bool = False
    """Whether its values are those of real video, which uint8 holds without loss."""

    def pictures(self, shape: Shape) -> Pictures | None:
        """The series of pictures that each memory of the tensor's ``shape`` is; None where it is no pictures."""
        if not self.channels:
            return None
        frames = 1 if self.still else shape[2]
        return Pictures(self.channels, frames, *shape[-2:])


LABELS = Part("soft_labels", "dynamic")
"""The learned labels (C, ipc, C), which a set of any kind that has stage 2 may store; their rate is the objective's."""
STATIC = Part("static", "static", "dynamic.lr_static", channels=3, still=True, smooth=(-2, -1))
STILLS = dataclasses.replace(STATIC, rate="static.lr")
"""The static memory where stage 1 is the last."""
HALLUCINATOR = tuple(Part(f"hallucinator.{name}", "dynamic", "dynamic.lr_hallucinator") for name in ("weight", "bias"))
_OPTIONAL = {"dynamic_size": "a dynamic memory", "rank": "a dynamic memory of low rank"}
"""Keys of [synthetic] that are unset unless they are read, and what they need."""


class Kind(ABC):
    """The description of one kind of set."""

    name: ClassVar[str]
    label: ClassVar[str]
    """What tables call a set of it."""
    made_by: ClassVar[str]
    """Its class, as ``module:Class``; "" where there is no set, since nothing is stored beside the data."""
    parts: ClassVar[tuple[Part, ...]]
    """All tensors that it stores but soft labels; clips have the height and width of the first."""
    keys: ClassVar[frozenset[str]] = frozenset()
    """Those of the optional keys of [synthetic] that it reads."""
    contains: ClassVar[tuple[str, ...]] = ()
    """The kinds of the sets that one of it may contain, and that stand beside it in tables."""
    beside: ClassVar[str] = ""
    """What a sentence calls a set of it that another one contains; "" where none does."""
    in_presets: ClassVar[bool] = True
    """Whether ``synthetic.kind`` may name it."""

    @property
    def learned(self) -> bool:
        """Whether an optimiser makes its clips; the others' are real."""
        return any(part.rate for part in self.parts)

    @property
    def in_stage_2(self) -> bool:
        """Whether stage 2 learns some of it."""
        return any(part.stage == "dynamic" for part in self.parts)

    def part(self, name: str) -> Part:
        """The tensor ``name``. Raises KeyError if it stores none such."""
        return {part.name: part for part in (*self.parts, LABELS)}[name]

    @abstractmethod
    def stages(self, section: SyntheticSection) -> tuple[str, ...]:
        """The stages that make the set, in their order, without those that every run has."""

    @abstractmethod
    def shapes(self, section: SyntheticSection, classes: int, clip: Pictures) -> dict[str, Shape]:
        """The shape of each of ``parts`` in a set of ``classes`` classes whose clips are ``clip``."""

    def stored_values(self, section: SyntheticSection, classes: int, clip: Pictures) -> int:
        """How many numbers such a set stores, with learned labels."""
        labels = section.ipc * classes**2 if section.labels == "learned" and self.in_stage_2 else 0
        return sum(math.prod(shape) for shape in self.shapes(section, classes, clip).values()) + labels

    def baselines(self, section: SyntheticSection) -> tuple[str, ...]:
        """Those of ``contains`` that a set has."""
        return self.contains

    def rows(self, preset: Preset) -> tuple[str, ...]:
        """What the rows of the final table are of: the set, its baselines of real clips, and the sets it contains."""
        return (self.name, *self.real_clips(preset), *self.baselines(preset.synthetic))

    def real_clips(self, preset: Preset) -> tuple[str, ...]:
        """The real clips that stand beside the set, each name once."""
        if preset.evaluation.baselines is not None:
            return tuple(dict.fromkeys(preset.evaluation.baselines))
        published = split_of_choice(preset.evaluation.protocol) == "test"
        return ("random", *COMPRESSED) if self.learned and not published else ("random",)

    def start_clips(self, preset: Preset) -> int:
        """How many real clips of each class its memories start from."""
        return 0

    def impossible(self, section: SyntheticSection) -> str:
        """Why there can be no such set of this kind, or ""."""
        for key, needed in _OPTIONAL.items():
            if getattr(section, key) is not None and key not in self.keys:
                return f"synthetic.{key} needs {needed}, which synthetic.kind = {self.name} has not"
        if section.hallucinator == "per-class":
            if section.hallucinators > 1:
                return "synthetic.hallucinator = per-class gives each class one, so synthetic.hallucinators must be 1"
            if self.learned and HALLUCINATOR[0] not in self.parts:
                return f"synthetic.hallucinator needs a dynamic memory, which synthetic.kind = {self.name} has not"
        return ""


class StaticDynamicKind(Kind):
    """Still images that one-channel videos bring to life (``StaticDynamic``)."""

    name = "static-dynamic"
    label = "static and dynamic memory"
    made_by = "engine.synthetic.static_dynamic:StaticDynamic"
    parts = (STATIC, Part("dynamic", "dynamic", "dynamic.lr_dynamic", channels=1, smooth=(-4, -2, -1)), *HALLUCINATOR)
    keys = frozenset({"dynamic_size"})
    contains = ("static-only",)

    def stages(self, section: SyntheticSection) -> tuple[str, ...]:
        """The two stages; without still images there is nothing for the first."""
        return ("static", "dynamic") if section.statics_per_instance else ("dynamic",)

    def shapes(self, section: SyntheticSection, classes: int, clip: Pictures) -> dict[str, Shape]:
        """The static memory at the clips' size, the dynamic one at its own, and 327 numbers for each hallucinator."""
        number = classes if section.hallucinator == "per-class" else section.hallucinators
        several = (number,) if number > 1 else ()
        height, width = (section.dynamic_size or side for side in clip[2:])
        moving = Pictures(1, stored_frames(section, clip), height, width)
        return {
            "static": (classes, section.ipc * section.statics_per_instance, 3, clip.height, clip.width),
            **self.dynamic_shapes(section, (classes, section.ipc * section.dynamics_per_instance), moving),
            "hallucinator.weight": (*several, 3, 4, 3, 3, 3),
            "hallucinator.bias": (*several, 3),
        }

    def dynamic_shapes(self, section: SyntheticSection, number: Shape, moving: Pictures) -> dict[str, Shape]:
        """The shapes of what stores ``number`` (classes, of each) dynamic memories ``moving``."""
        return {"dynamic": (*number, moving.frames, 1, moving.height, moving.width)}

    def baselines(self, section: SyntheticSection) -> tuple[str, ...]:
        """The still video of its static memory, if it has one."""
        return self.contains if section.statics_per_instance else ()

    def start_clips(self, preset: Preset) -> int:
        """Static and dynamic memory start from the same clips, as far as both go."""
        section = preset.synthetic
        dynamic = 0 if preset.dynamic.init == "noise" else section.ipc * section.dynamics_per_instance
        return max(stills_to_start(preset), dynamic)


class LowRankKind(StaticDynamicKind):
    """Such sets, whose dynamic memories are sums of few maps that rise and fall over time (``LowRank``)."""

    name = "low-rank"
    label = "static and low-rank dynamic memory"
    made_by = "engine.synthetic.low_rank:LowRank"
    parts = (
        STATIC,
        Part("coefficients", "dynamic", "dynamic.lr_dynamic", smooth=(-1,)),
        Part("maps", "dynamic", "dynamic.lr_dynamic", channels=1, smooth=(-2, -1)),
        *HALLUCINATOR,
    )
    keys = frozenset({"dynamic_size", "rank"})

    def dynamic_shapes(self, section: SyntheticSection, number: Shape, moving: Pictures) -> dict[str, Shape]:
        """The series of a number for each frame, and the maps that they are of."""
        rank = section.rank or max(1, moving.frames // 4)
        return {
            "coefficients": (*number, rank, moving.frames),
            "maps": (*number, rank, 1, moving.height, moving.width),
        }


class PixelsKind(Kind):
    """Whole clips, whose pixels are learned (``Pixels``)."""

    name = "pixels"
    label = "learned clips"
    made_by = "engine.synthetic.pixels:Pixels"
    parts = (Part("pixels", "dynamic", "dynamic.lr_dynamic", channels=3, smooth=(-4, -2, -1)),)

    def stages(self, section: SyntheticSection) -> tuple[str, ...]:
        """Stage 2 alone."""
        return ("dynamic",)

    def shapes(self, section: SyntheticSection, classes: int, clip: Pictures) -> dict[str, Shape]:
        """The frames that are stored, at the clips' size."""
        return {"pixels": (classes, section.ipc, stored_frames(section, clip), 3, clip.height, clip.width)}

    def start_clips(self, preset: Preset) -> int:
        """A clip for each instance."""
        return 0 if preset.dynamic.init == "noise" else preset.synthetic.ipc


class StillVideoKind(Kind):
    """The images of stage 1, each shown for all frames of a clip (``StillVideo``)."""

    name = "static-only"
    label = "still video (static memory alone)"
    beside = "the still video"
    made_by = "engine.synthetic.still:StillVideo"
    parts = (STILLS,)

    def stages(self, section: SyntheticSection) -> tuple[str, ...]:
        """Stage 1 alone."""
        return ("static",)

    def shapes(self, section: SyntheticSection, classes: int, clip: Pictures) -> dict[str, Shape]:
        """The static memory."""
        return {"static": (classes, section.ipc * section.statics_per_instance, 3, clip.height, clip.width)}

    def start_clips(self, preset: Preset) -> int:
        """A clip for each image."""
        return stills_to_start(preset)

    def impossible(self, section: SyntheticSection) -> str:
        """Without images there is nothing, and what stage 2 would learn is not learned."""
        if section.statics_per_instance == 0:
            return "synthetic.kind = static-only has nothing but still images, and synthetic.statics_per_instance is 0"
        if section.n_syn is not None or section.labels == "learned":
            which = "synthetic.labels = learned" if section.n_syn is None else "synthetic.n_syn"
            return f"{which} needs stage 2, which synthetic.kind = static-only has not"
        return super().impossible(section)


class StaticImagesKind(StillVideoKind):
    """The images themselves, as stage 1 learns them (``StaticImages``): an instance is an image."""

    name = "static-images"
    label = "still images"
    made_by = "engine.synthetic.still:StaticImages"
    in_presets = False


class CoresetKind(Kind):
    """Real clips that are chosen (``Coreset``)."""

    name = "coreset"
    label = "chosen real clips"
    made_by = "engine.synthetic.pixels:Coreset"
    parts = (Part("pixels", "select", channels=3, smooth=(-4, -2, -1), exact=True),)

    def stages(self, section: SyntheticSection) -> tuple[str, ...]:
        """The choice."""
        return ("select",)

    def shapes(self, section: SyntheticSection, classes: int, clip: Pictures) -> dict[str, Shape]:
        """All frames, whatever a learned set would store of them."""
        return {"pixels": (classes, section.ipc, clip.frames, 3, clip.height, clip.width)}

    def rows(self, preset: Preset) -> tuple[str, ...]:
        """A coreset has the name of its method; of random clips, which each network draws anew, there is one row."""
        return tuple(dict.fromkeys((preset.selection.method, *self.real_clips(preset))))


class FullKind(Kind):
    """All of the data: the ceiling, of which nothing is stored."""

    name = "full"
    label = "all training clips"
    made_by = ""
    parts = ()

    def stages(self, section: SyntheticSection) -> tuple[str, ...]:
        """Nothing is made."""
        return ()

    def shapes(self, section: SyntheticSection, classes: int, clip: Pictures) -> dict[str, Shape]:
        """Nothing is stored beside the data."""
        return {}

    def rows(self, preset: Preset) -> tuple[str, ...]:
        """The data alone."""
        return (self.name,)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        StaticDynamicKind(),
        LowRankKind(),
        PixelsKind(),
        StillVideoKind(),
        CoresetKind(),
        FullKind(),
        StaticImagesKind(),
    )
}
PRESET_KINDS = tuple(kind.name for kind in KINDS.values() if kind.in_presets)
"""The values of ``synthetic.kind``."""
BASELINES = tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.contains))
"""The kinds of sets that others contain."""
COMPRESSED = ("compressed-random", "compressed-herding")
"""Baselines of real clips that are compressed into as many bytes as a set."""
if TYPE_CHECKING:
    KindName = str
else:
    KindName = Literal[PRESET_KINDS]


def stored_frames(section: SyntheticSection, clip: Pictures) -> int:
    """Frames that are stored of a clip."""
    return clip.frames if section.n_syn is None else section.n_syn * section.segments


def stills_to_start(preset: Preset) -> int:
    """Real clips of each class that the static memory starts from, one for each image."""
    section = preset.synthetic
    return 0 if preset.static.init == "noise" else section.ipc * section.statics_per_instance
