"""Static-dynamic memories (Wang et al., CVPR 2024): stills that a dynamic memory brings to life."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from engine.data.spec import ClipSpec
from engine.models.hallucinator import Hallucinator
from engine.synthetic.base import SyntheticSet
from engine.synthetic.temporal import Temporal


class StaticDynamic(SyntheticSet):
    """Static memory (C, spc, 3, H, W), dynamic memory (C, dpc, stored, 1, h, w) and one or more hallucinators.

    Instance j of a class owns ``spc / ipc`` statics and ``dpc / ipc`` dynamics; its clips are
    hallucinator(concat(static repeated over T, dynamic)) over all pairs of one static and one dynamic, made by each
    of the hallucinators, which all classes share. With ``per_class`` there is one for each class instead, which makes
    all clips of that class.

    With ``spc`` 0 there are no statics: an instance has a clip for each dynamic, made with zeros in their place,
    which are the data's mean colour.

    The dynamic memory is (T, 1, H, W), or less: ``temporal`` says which frames it stores, and squares smaller than
    the clips are enlarged bilinearly; its shape alone says so. With ``train_static`` the static memory is learned too.
    """

    kind: ClassVar[str] = "static-dynamic"

    def __init__(
        self,
        spec: ClipSpec,
        ipc: int,
        static: torch.Tensor,
        dynamic: torch.Tensor,
        hallucinator: Hallucinator,
        *,
        temporal: Temporal | None = None,
        train_static: bool = False,
        per_class: bool = False,
        soft_labels: torch.Tensor | None = None,
        learn_labels: bool = False,
    ) -> None:
        super().__init__(spec, ipc, soft_labels=soft_labels, learn_labels=learn_labels)
        number = len(spec.classes)
        assert temporal is None or temporal.frames == spec.frames, (temporal, spec.frames)
        stored = spec.frames if temporal is None else temporal.stored
        assert static.shape[0] == number and static.shape[2:] == (3, spec.height, spec.width), static.shape
        assert dynamic.shape[0] == number and dynamic.shape[2:4] == (stored, 1), dynamic.shape
        assert _is_clip_or_square(spec, dynamic.shape[4:]), dynamic.shape
        assert static.shape[1] % ipc == 0, static.shape
        assert dynamic.shape[1] > 0 and dynamic.shape[1] % ipc == 0, dynamic.shape
        assert not per_class or hallucinator.number == number, (hallucinator.number, number)
        assert not train_static or static.shape[1] > 0, "there is no static memory to train"
        self.static = static
        self.dynamic = dynamic
        self.hallucinator = hallucinator
        self.temporal = temporal if temporal is not None and temporal.compresses else None
        self.train_static = train_static
        self.per_class = per_class
        self.statics_per_instance = static.shape[1] // ipc
        self.dynamics_per_instance = dynamic.shape[1] // ipc

    @property
    def variants(self) -> int:
        """Pairs of one static (if there are any) and one dynamic of an instance, for each hallucinator it may have."""
        return max(1, self.statics_per_instance) * self.dynamics_per_instance * self._hallucinators

    @property
    def _hallucinators(self) -> int:
        """Of how many hallucinators a draw picks one."""
        return 1 if self.per_class else self.hallucinator.number

    def describe(self) -> str:
        """As that of any set; the same weights make other clips if each is for a class."""
        return super().describe() + (" per-class" if self.per_class else "")

    def _stored(self) -> dict[str, torch.Tensor]:
        return {"static": self.static, "dynamic": self.dynamic, **self._weights()}

    def _learned(self) -> dict[str, torch.Tensor]:
        # The static memory is frozen in stage 2, unless it is asked for.
        static = {"static": self.static} if self.train_static else {}
        return {**static, "dynamic": self.dynamic, **self._weights()}

    def _weights(self) -> dict[str, torch.Tensor]:
        return {"hallucinator.weight": self.hallucinator.weight, "hallucinator.bias": self.hallucinator.bias}

    def compose(self, labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """Clips of the choices ((instance * statics + s) * dynamics + d) * hallucinators + h, numbers per instance."""
        pair, h = choice // self._hallucinators, choice % self._hallucinators
        instance = choice // self.variants
        s = pair // self.dynamics_per_instance
        d = instance * self.dynamics_per_instance + pair % self.dynamics_per_instance
        moving = self.moving(self.dynamic[labels, d])
        return self.hallucinator.compose(self._still(labels, s), moving, labels if self.per_class else h)

    def _still(self, labels: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        if self.statics_per_instance:
            return self.static[labels, s]
        return self.static.new_zeros(len(labels), *self.static.shape[2:])

    def moving(self, dynamic: torch.Tensor) -> torch.Tensor:
        """Stored dynamic memories (N, stored, 1, h, w) as the hallucinator sees them: (N, T, H, W)."""
        # Space before time (they commute): then only the frames that differ are enlarged.
        large = enlarge(dynamic.squeeze(2), (self.spec.height, self.spec.width))
        return large if self.temporal is None else self.temporal.stretch(large, 1)


def _is_clip_or_square(spec: ClipSpec, size: tuple[int, ...]) -> bool:
    height, width = size
    return (height, width) == (spec.height, spec.width) or 1 <= height == width <= min(spec.height, spec.width)


def enlarge(frames: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """``frames`` (N, T, h, w) at ``size`` (height and width), bilinearly between the centres of their pixels."""
    if frames.shape[-2:] == size:
        return frames
    return nn.functional.interpolate(frames, size, mode="bilinear", align_corners=False)


def shrink(frames: torch.Tensor, side: int) -> torch.Tensor:
    """``frames`` (N, T, H, W) as squares of ``side`` pixels, each the mean of the area it stands for."""
    if frames.shape[-2:] == (side, side):
        return frames
    return nn.functional.interpolate(frames, (side, side), mode="area")


def fit_dynamic(dynamic: torch.Tensor, temporal: Temporal | None = None, side: int | None = None) -> torch.Tensor:
    """What is stored of full dynamic memories (C, dpc, T, 1, H, W): (C, dpc, stored, 1, h, w).

    ``side`` is that of the stored squares (None: as they are); ``temporal`` says which frames are stored (None: all).
    """
    if side is not None:
        dynamic = shrink(dynamic.squeeze(3).flatten(0, 1), side).unflatten(0, dynamic.shape[:2]).unsqueeze(3)
    return dynamic if temporal is None else temporal.compress(dynamic, 2)


def still_of(clips: torch.Tensor, dim: int) -> torch.Tensor:
    """The median over time, which is axis ``dim``, of clips: the lower of the two middle values of an even number.

    What moves is not in it. ``Tensor.median`` gives the same, but on CUDA warns of indices that nobody asked for.
    """
    return clips.sort(dim).values.select(dim, (clips.shape[dim] - 1) // 2)


def of_one_luminance(static: torch.Tensor, ipc: int, std: tuple[float, ...]) -> torch.Tensor:
    """``static`` (C, spc, 3, H, W), normalised, where the statics of an instance all have the luminance of their mean.

    Then ``residual_dynamic`` leaves no luminance error for any pair of a static and a dynamic of an instance: a clip
    has the luminance of the one real clip and the colours of the other, where it would have been in front of half the
    difference of two backgrounds. One static is left as it is.
    """
    weight = torch.tensor(std, device=static.device) / sum(std)
    each = torch.einsum("nschw,c->nshw", static, weight).unflatten(1, (ipc, -1))
    missing = (each.mean(2, keepdim=True) - each).flatten(1, 2)
    # What the hallucinator at the identity adds of a dynamic memory.
    return static + missing.unsqueeze(2) / (len(std) * weight).view(-1, 1, 1)


def residual_dynamic(clips: torch.Tensor, static: torch.Tensor, ipc: int, std: tuple[float, ...]) -> torch.Tensor:
    """A dynamic memory that makes ``clips`` of ``static`` with an identity hallucinator, as nearly as one channel can.

    ``clips`` (C, dpc, 3, T, H, W) are real clips, ``static`` (C, spc, 3, H, W), both normalised. Returns
    (C, dpc, T, 1, H, W): the luminance (mean of the channels in pixel units) of each clip, less that of the mean
    static of its instance. This is the least-squares solution over all pairs: of the dynamics that an instance may
    have, it leaves the smallest sum of squared luminance errors static_s + dynamic_d - clip_d over its statics s.
    With no statics (spc 0) it is the luminance itself, as zeros stand in their place. ``fit_dynamic`` makes a smaller
    memory of it.
    """
    weight = torch.tensor(std, device=clips.device) / sum(std)  # pixel units, in units of the mean deviation
    luminance = torch.einsum("ndcthw,c->ndthw", clips, weight)
    if not static.shape[1]:
        return luminance.unsqueeze(3)
    still = torch.einsum("nschw,c->nshw", static, weight)
    per_instance = still.unflatten(1, (ipc, -1)).mean(2)
    repeats = clips.shape[1] // ipc
    return (luminance - per_instance.repeat_interleave(repeats, dim=1).unsqueeze(2)).unsqueeze(3)
