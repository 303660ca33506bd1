"""Static-dynamic memories (Wang et al., CVPR 2024): stills that a dynamic memory brings to life."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch

from engine.config.kinds import HALLUCINATOR, KINDS, Shape
from engine.data.spec import ClipSpec
from engine.errors import PresetError
from engine.models.hallucinator import Hallucinator
from engine.models.precision import seeded
from engine.seeds import derive
from engine.synthetic.base import Shown, SyntheticSet
from engine.synthetic.numbers import typed
from engine.synthetic.scaled import enlarge, shrink
from engine.synthetic.start import Start
from engine.synthetic.still import StillVideo, still_of
from engine.synthetic.temporal import Temporal


class Disentangled(SyntheticSet):
    """Static memory (C, spc, 3, H, W), dynamic memories and one or more hallucinators.

    Instance j of a class owns ``spc / ipc`` statics and ``dpc / ipc`` dynamics; its clips are
    hallucinator(concat(static repeated over T, dynamic)) over all pairs of one static and one dynamic, made by each
    of the hallucinators, which all classes share. With ``per_class`` there is one for each class instead, which makes
    all clips of that class.

    With ``spc`` 0 there are no statics: an instance has a clip for each dynamic, made with zeros in their place,
    which are the data's mean colour.

    A dynamic memory is (T, 1, H, W), or less: ``temporal`` says which frames it has, and squares smaller than the clips
    are enlarged bilinearly. How the (C, dpc) of them are stored is for the subclass, whose constructor takes the
    tensors by their names. With ``train_static`` the static memory is learned too.
    """

    metadata_read: ClassVar[tuple[str, ...]] = ("temporal", "hallucinator")

    def __init__(
        self,
        spec: ClipSpec,
        ipc: int,
        static: torch.Tensor,
        hallucinator: Hallucinator,
        dynamics: Shape,
        *,
        temporal: Temporal | None = None,
        train_static: bool = False,
        per_class: bool = False,
        soft_labels: torch.Tensor | None = None,
        learn_labels: bool = False,
    ) -> None:
        """``dynamics`` is the shape (C, dpc, stored, 1, h, w) of all dynamic memories, however they are stored."""
        super().__init__(spec, ipc, soft_labels=soft_labels, learn_labels=learn_labels)
        number = len(spec.classes)
        assert temporal is None or temporal.frames == spec.frames, (temporal, spec.frames)
        stored = spec.frames if temporal is None else temporal.stored
        assert static.shape[0] == number and static.shape[2:] == (3, spec.height, spec.width), static.shape
        assert len(dynamics) == 6 and dynamics[0] == number and dynamics[2:4] == (stored, 1), dynamics
        assert _is_clip_or_square(spec, dynamics[4:]), dynamics
        assert static.shape[1] % ipc == 0, static.shape
        assert dynamics[1] > 0 and dynamics[1] % ipc == 0, dynamics
        assert not per_class or hallucinator.number == number, (hallucinator.number, number)
        assert not train_static or static.shape[1] > 0, "there is no static memory to train"
        self.static = static
        self.hallucinator = hallucinator
        self.temporal = temporal if temporal is not None and temporal.compresses else None
        self.train_static = train_static
        self.per_class = per_class
        self.statics_per_instance = static.shape[1] // ipc
        self.dynamics_per_instance = dynamics[1] // ipc
        self._size = dynamics[4:]

    # --- how dynamic memories are stored -----------------------------------------------------------------------------

    @abstractmethod
    def dynamics(self, labels: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        """The dynamic memories ``d`` of classes ``labels``, int64 (N): (N, stored, 1, h, w)."""

    @abstractmethod
    def _dynamic_parts(self) -> dict[str, torch.Tensor]:
        """The tensors that store the dynamic memories."""

    @classmethod
    @abstractmethod
    def noise(cls, start: Start) -> dict[str, torch.Tensor]:
        """The tensors that store dynamic memories of random numbers, whose variance is 1."""

    @classmethod
    @abstractmethod
    def stored_as(cls, dynamics: torch.Tensor, shapes: Mapping[str, Shape]) -> dict[str, torch.Tensor]:
        """The tensors that store ``dynamics`` (C, dpc, stored, 1, h, w) best, in the shapes that they have in a set."""

    # --- where it comes from -----------------------------------------------------------------------------------------

    @classmethod
    def start(cls, start: Start) -> Self:
        """Noise and random hallucinators; or the identity, and what real clips add to stills, or what moves in them.

        A start from ``motion`` leaves the static memory as it is (without one it is that from ``residual``); one from
        ``residual`` makes the stills of an instance equally bright.
        """
        spec, section = start.spec, start.preset.synthetic
        if section.dynamic_size is not None and section.dynamic_size > spec.height:
            problem = f"synthetic.dynamic_size = {section.dynamic_size} is more than the clips' {spec.height} pixels."
            raise PresetError(problem, f"Set it to {spec.height} or less, or leave it out.")
        static = start.static
        init = start.preset.dynamic.init
        if static is None:  # clips without still images
            static = torch.zeros(len(spec.classes), 0, 3, spec.height, spec.width, device=start.device)
        elif init == "residual":
            static = of_one_luminance(static, section.ipc, spec.std)
        if init == "noise":
            stored = cls.noise(start)
        else:
            moving_alone = init == "motion" and static.shape[1] > 0
            clips = _from_clips(start, None if moving_alone else static)
            stored = cls.stored_as(clips, start.shapes(cls.kind))
        given: dict[str, Any] = {
            **stored,
            "static": static,
            "hallucinator": _start_hallucinator(start),
            "temporal": start.temporal,
            "train_static": start.preset.dynamic.train_static and static.shape[1] > 0,
            "per_class": section.hallucinator == "per-class",
            "soft_labels": start.labels,
            "learn_labels": start.labels is not None,
        }
        return cls(spec, section.ipc, **given)

    @classmethod
    def build(cls, spec: ClipSpec, ipc: int, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> Self:
        """The set of these memories and hallucinators."""
        whose = metadata.get("hallucinator", "shared")
        if whose not in ("shared", "per-class"):
            raise ValueError("hallucinator")
        given: dict[str, Any] = {
            **{part.name: tensors[part.name] for part in KINDS[cls.kind].parts if part not in HALLUCINATOR},
            "hallucinator": _read_hallucinator(tensors),
            "temporal": Temporal.of_metadata(metadata, spec.frames),
            "per_class": whose == "per-class",
            "soft_labels": tensors.get("soft_labels"),
        }
        return cls(spec, ipc, **given)

    def metadata(self) -> dict[str, str]:
        """Add ``hallucinator``: ``per-class`` where the c-th of them makes the clips of class c."""
        return super().metadata() | ({"hallucinator": "per-class"} if self.per_class else {})

    def pairing(self) -> dict[str, int]:
        """Statics and dynamics of an instance, and how many hallucinators each draw picks one of, if not one."""
        pairing = {"statics": self.statics_per_instance, "dynamics": self.dynamics_per_instance}
        return pairing | ({"hallucinators": self._hallucinators} if self._hallucinators > 1 else {})

    # --- what it is --------------------------------------------------------------------------------------------------

    @property
    def variants(self) -> int:
        """Pairs of one static (if there are any) and one dynamic of an instance, for each hallucinator it may have."""
        return max(1, self.statics_per_instance) * self.dynamics_per_instance * self._hallucinators

    @property
    def _hallucinators(self) -> int:
        """The number of hallucinators of which a draw picks one."""
        return 1 if self.per_class else self.hallucinator.number

    def describe(self) -> str:
        """Describe it as any set; the same weights make other clips if each is for a class."""
        return super().describe() + (" per-class" if self.per_class else "")

    def _stored(self) -> dict[str, torch.Tensor]:
        return {"static": self.static, **self._dynamic_parts(), **self._weights()}

    def _learned(self) -> dict[str, torch.Tensor]:
        # The static memory is frozen in stage 2, unless it is asked for.
        static = {"static": self.static} if self.train_static else {}
        return {**static, **self._dynamic_parts(), **self._weights()}

    def _weights(self) -> dict[str, torch.Tensor]:
        return {"hallucinator.weight": self.hallucinator.weight, "hallucinator.bias": self.hallucinator.bias}

    def compose(self, labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """Clips of the choices ((instance * statics + s) * dynamics + d) * hallucinators + h, numbers per instance."""
        pair, h = choice // self._hallucinators, choice % self._hallucinators
        instance = choice // self.variants
        s = pair // self.dynamics_per_instance
        d = instance * self.dynamics_per_instance + pair % self.dynamics_per_instance
        moving = self.moving(self.dynamics(labels, d))
        return self.hallucinator.compose(self._still(labels, s), moving, labels if self.per_class else h)

    def _still(self, labels: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        if self.statics_per_instance:
            return self.static[labels, s]
        return self.static.new_zeros(len(labels), *self.static.shape[2:])

    def moving(self, dynamic: torch.Tensor) -> torch.Tensor:
        """Dynamic memories (N, stored, 1, h, w) as the hallucinator sees them: (N, T, H, W)."""
        # Space before time (they commute): then only the frames that differ are enlarged.
        large = enlarge(dynamic.squeeze(2), (self.spec.height, self.spec.width))
        return large if self.temporal is None else self.temporal.stretch(large, 1)

    def project(self, name: str, clips: torch.Tensor) -> torch.Tensor:
        """Return what stores the median over time of each clip, or what moves in it beside that."""
        still = still_of(clips, 2)
        if name == "static":
            return still
        statics = still.unsqueeze(1)[:, : self.statics_per_instance]
        full = residual_dynamic(clips.unsqueeze(1), statics, 1, self.spec.std)
        side = self._size[1] if self._size != full.shape[-2:] else None
        shapes = {part: tuple(tensor.shape) for part, tensor in self._dynamic_parts().items()}
        return self.stored_as(fit_dynamic(full, self.temporal, side), shapes)[name].squeeze(1)

    def shown_parts(self, label: int, most: int | None = None) -> Shown:
        """The stills, and the dynamic memories as the hallucinator sees them, with all frames at the clips' size."""
        d = torch.arange(self.ipc * self.dynamics_per_instance, device=self.device)[:most]
        with torch.no_grad():
            signed = self.moving(self.dynamics(torch.full_like(d, label), d))
        return Shown(self.static[label, :most].detach(), signed)

    def baselines(self) -> dict[str, SyntheticSet]:
        """The still video: the static memory alone, as clips that do not move."""
        if not self.statics_per_instance:
            return {}
        return {StillVideo.kind: StillVideo(self.spec, self.ipc, self.static)}


class StaticDynamic(Disentangled):
    """Static-dynamic memories whose dynamic one is stored frame by frame: (C, dpc, stored, 1, h, w)."""

    kind: ClassVar[str] = "static-dynamic"

    def __init__(
        self,
        spec: ClipSpec,
        ipc: int,
        static: torch.Tensor,
        dynamic: torch.Tensor,
        hallucinator: Hallucinator,
        **settings: Any,
    ) -> None:
        """``settings`` are those of ``Disentangled``."""
        super().__init__(spec, ipc, static, hallucinator, tuple(dynamic.shape), **settings)
        self.dynamic = dynamic

    def dynamics(self, labels: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        """The memories themselves."""
        return self.dynamic[labels, d]

    def _dynamic_parts(self) -> dict[str, torch.Tensor]:
        return {"dynamic": self.dynamic}

    @classmethod
    def noise(cls, start: Start) -> dict[str, torch.Tensor]:
        """Random frames."""
        return {"dynamic": start.noise("dynamic-noise", start.shapes(cls.kind)["dynamic"])}

    @classmethod
    def stored_as(cls, dynamics: torch.Tensor, shapes: Mapping[str, Shape]) -> dict[str, torch.Tensor]:
        """The memories themselves."""
        return {"dynamic": dynamics}


def _from_clips(start: Start, static: torch.Tensor | None) -> torch.Tensor:
    """Return what real clips add to ``static``, or to their own mean frames, as dynamics (C, dpc, stored, 1, h, w)."""
    section, std = start.preset.synthetic, start.spec.std
    memories = []
    for label, own in enumerate(start.clips(section.ipc * section.dynamics_per_instance)):
        clips = own[None]
        full = motion(clips, std) if static is None else residual_dynamic(clips, static[label][None], section.ipc, std)
        memories.append(fit_dynamic(full, start.temporal, section.dynamic_size))
    return torch.cat(memories).contiguous()


def _start_hallucinator(start: Start) -> Hallucinator:
    """The hallucinators before their first step: torch's usual random weights, or the identity."""
    section, std = start.preset.synthetic, start.spec.std
    number = len(start.spec.classes) if section.hallucinator == "per-class" else section.hallucinators
    if start.preset.dynamic.init == "noise":
        with seeded(derive(start.seed, "hallucinator"), torch.device("cpu")):
            return Hallucinator(number).to(start.device)
    return Hallucinator.identity(std, number).to(start.device)


def _read_hallucinator(tensors: Mapping[str, torch.Tensor]) -> Hallucinator:
    weight, bias = (typed(tensors, f"hallucinator.{name}", torch.float32) for name in ("weight", "bias"))
    several = bias.dim() == 2 and len(bias) > 1
    if bias.shape[-1:] != (3,) or not (bias.dim() == 1 or several) or weight.shape != (*bias.shape, 4, 3, 3, 3):
        raise ValueError("hallucinator")
    return Hallucinator.of(weight, bias).requires_grad_(False)


def _is_clip_or_square(spec: ClipSpec, size: tuple[int, ...]) -> bool:
    height, width = size
    return (height, width) == (spec.height, spec.width) or 1 <= height == width <= min(spec.height, spec.width)


def fit_dynamic(dynamic: torch.Tensor, temporal: Temporal | None = None, side: int | None = None) -> torch.Tensor:
    """Return the stored form (C, dpc, stored, 1, h, w) of full dynamic memories (C, dpc, T, 1, H, W).

    ``side`` is that of the stored squares (None: as they are); ``temporal`` says which frames are stored (None: all).
    """
    if side is not None:
        dynamic = shrink(dynamic.squeeze(3).flatten(0, 1), (side, side)).unflatten(0, dynamic.shape[:2]).unsqueeze(3)
    return dynamic if temporal is None else temporal.compress(dynamic, 2)


def of_one_luminance(static: torch.Tensor, ipc: int, std: tuple[float, ...]) -> torch.Tensor:
    """``static`` (C, spc, 3, H, W), normalised, where the statics of an instance all have the luminance of their mean.

    Then ``residual_dynamic`` leaves no luminance error for any pair of a static and a dynamic of an instance: a clip
    has the luminance of the one real clip and the colours of the other, where it would have been in front of half the
    difference of two backgrounds. One static is left as it is.
    """
    weight = torch.tensor(std, device=static.device) / sum(std)
    each = luminance_of(static, std).unflatten(1, (ipc, -1))
    missing = (each.mean(2, keepdim=True) - each).flatten(1, 2)
    # What the hallucinator at the identity adds of a dynamic memory.
    return static + missing.unsqueeze(2) / (len(std) * weight).view(-1, 1, 1)


def luminance_of(pictures: torch.Tensor, std: tuple[float, ...]) -> torch.Tensor:
    """The luminance (N, n, ...) of normalised ``pictures`` (N, n, 3, ...): the mean of their channels in pixel units.

    Its unit is the mean of the channels' deviations ``std``, and it is 0 at the data's mean colour.
    """
    weight = torch.tensor(std, device=pictures.device) / sum(std)
    return torch.einsum("nsc...,c->ns...", pictures, weight)


def motion(clips: torch.Tensor, std: tuple[float, ...]) -> torch.Tensor:
    """A dynamic memory of what moves in real clips (N, n, 3, T, H, W), normalised: (N, n, T, 1, H, W).

    It is the luminance of each clip less its mean over time. So a still to which the hallucinator at the identity adds
    it keeps its own mean over time: what a still has learned of moving things is not shown a second time.
    """
    luminance = luminance_of(clips, std)
    return (luminance - luminance.mean(2, keepdim=True)).unsqueeze(3)


def residual_dynamic(clips: torch.Tensor, static: torch.Tensor, ipc: int, std: tuple[float, ...]) -> torch.Tensor:
    """A dynamic memory that makes ``clips`` of ``static`` with an identity hallucinator, as nearly as one channel can.

    ``clips`` (C, dpc, 3, T, H, W) are real clips, ``static`` (C, spc, 3, H, W), both normalised. Returns
    (C, dpc, T, 1, H, W): the luminance (mean of the channels in pixel units) of each clip, less that of the mean
    static of its instance. This is the least-squares solution over all pairs: of the dynamics that an instance may
    have, it leaves the smallest sum of squared luminance errors static_s + dynamic_d - clip_d over its statics s.
    With no statics (spc 0) it is the luminance itself, as zeros stand in their place. ``fit_dynamic`` makes a smaller
    memory of it.
    """
    luminance = luminance_of(clips, std)
    if not static.shape[1]:
        return luminance.unsqueeze(3)
    still = luminance_of(static, std)
    per_instance = still.unflatten(1, (ipc, -1)).mean(2)
    repeats = clips.shape[1] // ipc
    return (luminance - per_instance.repeat_interleave(repeats, dim=1).unsqueeze(2)).unsqueeze(3)
