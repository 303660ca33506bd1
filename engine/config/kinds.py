"""The kinds of sets (``synthetic.kind``): what each stores, in which stages it is made, and its neighbours in tables.

Presets, plans, the form and the dashboard read these descriptions before torch is imported. The class of a kind, in
``engine/synthetic``, does the rest, and a test compares the two. Code that differs between kinds asks the description
or the class: an ``if`` on the name of a kind would be one more place to edit for each new kind.

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
    """One tensor that a set stores. Pictures have the shape (C, number per class, frames, channels, h, w)."""

    name: str
    """The name in the set file, and in figures and checkpoints."""
    stage: str
    """The stage that makes it."""
    rate: str = ""
    """The key of its learning rate, in the last stage that can learn it; "" for real clips, which are not learned."""
    channels: int = 0
    """The channels of its pictures; 0 for a tensor without pictures, which is stored as float32 at any precision."""
    still: bool = False
    """True if its pictures are single images, so that its shape is (C, number per class, channels, h, w)."""
    smooth: tuple[int, ...] = ()
    """The axes, counted from the end, along which real video varies smoothly, and whitened steps too."""
    exact: bool = False
    """True if its values are those of real video, which uint8 holds without loss."""

    def pictures(self, shape: Shape) -> Pictures | None:
        """Return the shape of one memory in a tensor of ``shape``, as a series of pictures; None if it has none."""
        if not self.channels:
            return None
        frames = 1 if self.still else shape[2]
        return Pictures(self.channels, frames, *shape[-2:])


LABELS = Part("soft_labels", "dynamic")
"""The learned labels (C, ipc, C), which any kind with stage 2 may store; the objective sets their learning rate."""
STATIC = Part("static", "static", "dynamic.lr_static", channels=3, still=True, smooth=(-2, -1))
STILLS = dataclasses.replace(STATIC, rate="static.lr")
"""The static memory of kinds whose last stage is stage 1."""
HALLUCINATOR = tuple(Part(f"hallucinator.{name}", "dynamic", "dynamic.lr_hallucinator") for name in ("weight", "bias"))
_OPTIONAL = {
    "dynamic_size": "a dynamic memory",
    "rank": "a dynamic memory of low rank",
    "formation": "pixels that are learned",
}
"""Keys of [synthetic] that only some kinds read, with what such a kind must have; for other kinds they stay unset."""


class Kind(ABC):
    """The description of one kind of set."""

    name: ClassVar[str]
    label: ClassVar[str]
    """The name of a set of this kind in tables."""
    made_by: ClassVar[str]
    """The class of its sets, as ``module:Class``; "" for a kind that stores nothing beside the data."""
    parts: ClassVar[tuple[Part, ...]]
    """All tensors that a set stores but soft labels; clips have the height and width of the first."""
    keys: ClassVar[frozenset[str]] = frozenset()
    """The optional keys of [synthetic] that it reads."""
    contains: ClassVar[tuple[str, ...]] = ()
    """The kinds of smaller sets that are parts of a set of this kind, and stand beside it in tables."""
    beside: ClassVar[str] = ""
    """The name in sentences about a larger set that contains one of this kind; "" if no kind does."""
    in_presets: ClassVar[bool] = True
    """True if ``synthetic.kind`` may name it."""

    @property
    def learned(self) -> bool:
        """True if an optimiser makes its clips; the clips of other kinds are real."""
        return any(part.rate for part in self.parts)

    @property
    def still(self) -> bool:
        """True if no clip of it moves: it stores nothing but images."""
        return bool(self.parts) and all(part.still for part in self.parts)

    @property
    def in_stage_2(self) -> bool:
        """True if stage 2 learns at least one of its tensors."""
        return any(part.stage == "dynamic" for part in self.parts)

    def part(self, name: str) -> Part:
        """Return the tensor ``name``. Raises KeyError if a set stores none of that name."""
        return {part.name: part for part in (*self.parts, LABELS)}[name]

    @abstractmethod
    def stages(self, section: SyntheticSection) -> tuple[str, ...]:
        """Return the stages that make the set, in order, without those that every run has."""

    @abstractmethod
    def shapes(self, section: SyntheticSection, classes: int, clip: Pictures) -> dict[str, Shape]:
        """Return the shape of each of ``parts``, by name, in a set of ``classes`` classes whose clips are ``clip``."""

    def stored_values(self, section: SyntheticSection, classes: int, clip: Pictures) -> int:
        """Return the number of values that a set as in ``shapes`` stores, learned labels included."""
        labels = section.ipc * classes**2 if section.labels == "learned" and self.in_stage_2 else 0
        return sum(math.prod(shape) for shape in self.shapes(section, classes, clip).values()) + labels

    def baselines(self, section: SyntheticSection) -> tuple[str, ...]:
        """Return the kinds in ``contains`` that a set made by ``section`` has."""
        return self.contains

    def rows(self, preset: Preset) -> tuple[str, ...]:
        """Return the names of the rows of the final table: the set, real clips, and the sets it contains."""
        return (self.name, *self.real_clips(preset), *self.baselines(preset.synthetic))

    def real_clips(self, preset: Preset) -> tuple[str, ...]:
        """Return the names of the real clips, or of their mean, that stand beside the set, each once."""
        if preset.evaluation.baselines is not None:
            return tuple(dict.fromkeys(preset.evaluation.baselines))
        published = split_of_choice(preset.evaluation.protocol) == "test"
        return ("random", CLASS_MEAN, *COMPRESSED[:2]) if self.learned and not published else ("random",)

    def start_clips(self, preset: Preset) -> int:
        """Return the number of real clips of each class from which the memories start."""
        return 0

    def chooses_start(self, preset: Preset) -> bool:
        """Return whether the clips that the memories start from are chosen by what a network makes of them."""
        return preset.selection.method != "random" and self.start_clips(preset) > 0

    def impossible(self, section: SyntheticSection) -> str:
        """Return the reason why no set of this kind can be made by ``section``, or ""."""
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
        """Return both stages; without still images the first has nothing to learn, and is left out."""
        return ("static", "dynamic") if section.statics_per_instance else ("dynamic",)

    def shapes(self, section: SyntheticSection, classes: int, clip: Pictures) -> dict[str, Shape]:
        """Return those of static memory (at the clips' size), dynamic memory, and hallucinators (327 values each)."""
        number = classes if section.hallucinator == "per-class" else section.hallucinators
        hallucinators = (number,) if number > 1 else ()
        height, width = (section.dynamic_size or side for side in clip[2:])
        moving = Pictures(1, stored_frames(section, clip), height, width)
        return {
            "static": (classes, section.ipc * section.statics_per_instance, 3, clip.height, clip.width),
            **self.dynamic_shapes(section, (classes, section.ipc * section.dynamics_per_instance), moving),
            "hallucinator.weight": (*hallucinators, 3, 4, 3, 3, 3),
            "hallucinator.bias": (*hallucinators, 3),
        }

    def dynamic_shapes(self, section: SyntheticSection, number: Shape, moving: Pictures) -> dict[str, Shape]:
        """Return the shapes of the tensors of dynamic memories ``moving``; ``number`` is (classes, per class)."""
        return {"dynamic": (*number, moving.frames, 1, moving.height, moving.width)}

    def baselines(self, section: SyntheticSection) -> tuple[str, ...]:
        """Return the still video of the static memory, if the set has one."""
        return self.contains if section.statics_per_instance else ()

    def start_clips(self, preset: Preset) -> int:
        """Return the larger of the numbers that the two memories need: both start from the same clips."""
        section = preset.synthetic
        dynamic = 0 if preset.dynamic.init == "noise" else section.ipc * section.dynamics_per_instance
        return max(stills_to_start(preset), dynamic)


class LowRankKind(StaticDynamicKind):
    """Still images and dynamic memories, each the sum of a few maps that rise and fall over time (``LowRank``)."""

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
        """Return the shapes of the maps, and of their coefficients, one for each map and frame."""
        rank = section.rank or max(1, moving.frames // 4)
        return {
            "coefficients": (*number, rank, moving.frames),
            "maps": (*number, rank, 1, moving.height, moving.width),
        }


class PixelsKind(Kind):
    """Clips whose pixels are learned (``Pixels``)."""

    name = "pixels"
    label = "learned clips"
    made_by = "engine.synthetic.pixels:Pixels"
    parts = (Part("pixels", "dynamic", "dynamic.lr_dynamic", channels=3, smooth=(-4, -2, -1)),)
    keys = frozenset({"formation"})

    def stages(self, section: SyntheticSection) -> tuple[str, ...]:
        """Return stage 2 alone."""
        return ("dynamic",)

    def shapes(self, section: SyntheticSection, classes: int, clip: Pictures) -> dict[str, Shape]:
        """Return the shape of the stored frames, at the clips' size."""
        pictures = section.ipc // clips_of_a_picture(section.formation)
        return {"pixels": (classes, pictures, stored_frames(section, clip), 3, clip.height, clip.width)}

    def impossible(self, section: SyntheticSection) -> str:
        """Refuse pictures that would not be full, as well as what every kind refuses."""
        shared = clips_of_a_picture(section.formation)
        if section.ipc % shared:
            pictures = f"synthetic.formation = {section.formation} has {shared} clips in a picture"
            return f"{pictures}, and synthetic.ipc = {section.ipc} is no multiple of {shared}"
        return super().impossible(section)

    def start_clips(self, preset: Preset) -> int:
        """Return one clip for each instance, or 0 where pixels start from noise."""
        return 0 if preset.dynamic.init == "noise" else preset.synthetic.ipc


class StillVideoKind(Kind):
    """The images of stage 1, each shown for all frames of a clip (``StillVideo``)."""

    name = "static-only"
    label = "still video (static memory alone)"
    beside = "the still video"
    made_by = "engine.synthetic.still:StillVideo"
    parts = (STILLS,)

    def stages(self, section: SyntheticSection) -> tuple[str, ...]:
        """Return stage 1 alone."""
        return ("static",)

    def shapes(self, section: SyntheticSection, classes: int, clip: Pictures) -> dict[str, Shape]:
        """Return the shape of the static memory."""
        return {"static": (classes, section.ipc * section.statics_per_instance, 3, clip.height, clip.width)}

    def rows(self, preset: Preset) -> tuple[str, ...]:
        """Return the names of the rows of the final table; a set of which nothing is learned has a name of its own."""
        if preset.static.steps == 0 and preset.static.init == "mean":
            return (MEAN_FRAME, *(name for name in self.real_clips(preset) if name != CLASS_MEAN))
        return (self.name, *self.real_clips(preset))

    def start_clips(self, preset: Preset) -> int:
        """Return one clip for each image, or 0 where images start from noise."""
        return stills_to_start(preset)

    def impossible(self, section: SyntheticSection) -> str:
        """Refuse sets without images, and settings that need stage 2, as well as what every kind refuses."""
        if section.statics_per_instance == 0:
            return "synthetic.kind = static-only has nothing but still images, and synthetic.statics_per_instance is 0"
        if section.n_syn is not None or section.labels == "learned":
            setting = "synthetic.labels = learned" if section.n_syn is None else "synthetic.n_syn"
            return f"{setting} needs stage 2, which synthetic.kind = static-only has not"
        return super().impossible(section)


class StaticImagesKind(StillVideoKind):
    """The images that stage 1 learns, as images rather than clips (``StaticImages``); each is one instance."""

    name = "static-images"
    label = "still images"
    made_by = "engine.synthetic.still:StaticImages"
    in_presets = False


class CoresetKind(Kind):
    """A choice of real clips (``Coreset``)."""

    name = "coreset"
    label = "chosen real clips"
    made_by = "engine.synthetic.pixels:Coreset"
    parts = (Part("pixels", "select", channels=3, smooth=(-4, -2, -1), exact=True),)

    def stages(self, section: SyntheticSection) -> tuple[str, ...]:
        """Return the stage that chooses the clips."""
        return ("select",)

    def shapes(self, section: SyntheticSection, classes: int, clip: Pictures) -> dict[str, Shape]:
        """Return the shape of the clips, with all their frames: ``section.n_syn`` is of learned sets only."""
        return {"pixels": (classes, section.ipc, clip.frames, 3, clip.height, clip.width)}

    def rows(self, preset: Preset) -> tuple[str, ...]:
        """Return the name of the selection method, then the real clips beside it; random ones are one row."""
        return tuple(dict.fromkeys((preset.selection.method, *self.real_clips(preset))))


class FullKind(Kind):
    """All training clips, as the ceiling of every table; nothing is stored beside the data."""

    name = "full"
    label = "all training clips"
    made_by = ""
    parts = ()

    def stages(self, section: SyntheticSection) -> tuple[str, ...]:
        """Return no stage: nothing is made."""
        return ()

    def shapes(self, section: SyntheticSection, classes: int, clip: Pictures) -> dict[str, Shape]:
        """Return no shape: nothing is stored beside the data."""
        return {}

    def rows(self, preset: Preset) -> tuple[str, ...]:
        """Return one row: all training clips."""
        return (self.name,)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        StaticDynamicKind(),
        PixelsKind(),
        StillVideoKind(),
        CoresetKind(),
        FullKind(),
        LowRankKind(),
        StaticImagesKind(),
    )
}
PRESET_KINDS = tuple(kind.name for kind in KINDS.values() if kind.in_presets)
"""The values of ``synthetic.kind``."""
BASELINES = tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.contains))
"""The kinds of sets that sets of other kinds contain."""
COMPRESSED = ("compressed-random", "compressed-herding", "compressed-coverage", "compressed-easy")
"""Baselines of real clips that are compressed into as many bytes as a set; the first two stand beside any set."""
MEAN_FRAME = "mean-frame"
"""The row of a run's own still images where they are the mean frame of each class: nothing is learned."""
CLASS_MEAN = "class-mean"
"""The row of the mean frame of each class beside a set: a baseline of the fewest bytes."""


def chosen_by(compressed: str) -> str:
    """Return the method of ``vdtui select`` by which the baseline ``compressed`` has its clips."""
    return compressed.removeprefix("compressed-")


def chooses_baselines(preset: Preset) -> bool:
    """Return whether a baseline of ``preset`` has clips that are chosen by what a network makes of them."""
    return any(name in COMPRESSED and chosen_by(name) != "random" for name in preset.kind.rows(preset))


def is_own(what: object, kind: object) -> bool:
    """Return whether the row ``what`` of a table is that of the run's own set, which is of ``kind``."""
    return what in (kind, MEAN_FRAME)


if TYPE_CHECKING:
    KindName = str
else:
    KindName = Literal[PRESET_KINDS]


def stored_frames(section: SyntheticSection, clip: Pictures) -> int:
    """Return the number of frames that a learned set stores of each clip."""
    return clip.frames if section.n_syn is None else section.n_syn * section.segments


def clips_of_a_picture(formation: int | None) -> int:
    """Return how many clips a stored picture holds that has ``formation`` of them along each side; None: its own."""
    return 1 if formation is None else formation**2


def stills_to_start(preset: Preset) -> int:
    """Return the number of real clips of each class from which the static memory starts: one for each image."""
    section = preset.synthetic
    return 0 if preset.static.init in ("noise", "mean") else section.ipc * section.statics_per_instance
