"""Static-dynamic memories (Wang et al., CVPR 2024): stills that a dynamic memory brings to life."""

from __future__ import annotations

from typing import ClassVar

import torch

from engine.data.spec import ClipSpec
from engine.models.hallucinator import Hallucinator
from engine.synthetic.base import SyntheticSet


class StaticDynamic(SyntheticSet):
    """Static memory (C, spc, 3, H, W), dynamic memory (C, dpc, T, 1, H, W) and one hallucinator.

    Instance j of a class owns ``spc / ipc`` statics and ``dpc / ipc`` dynamics; its clips are
    hallucinator(concat(static repeated over T, dynamic)) over all pairs of one static and one dynamic.
    """

    kind: ClassVar[str] = "static-dynamic"

    def __init__(
        self, spec: ClipSpec, ipc: int, static: torch.Tensor, dynamic: torch.Tensor, hallucinator: Hallucinator
    ) -> None:
        super().__init__(spec, ipc)
        number = len(spec.classes)
        assert static.shape[0] == number and static.shape[2:] == (3, spec.height, spec.width), static.shape
        assert dynamic.shape[0] == number and dynamic.shape[2:] == (spec.frames, 1, spec.height, spec.width)
        assert static.shape[1] % ipc == 0 and dynamic.shape[1] % ipc == 0
        self.static = static
        self.dynamic = dynamic
        self.hallucinator = hallucinator
        self.statics_per_instance = static.shape[1] // ipc
        self.dynamics_per_instance = dynamic.shape[1] // ipc

    @property
    def variants(self) -> int:
        """Pairs of one static and one dynamic of an instance."""
        return self.statics_per_instance * self.dynamics_per_instance

    def tensors(self) -> dict[str, torch.Tensor]:
        """Names as in the file."""
        weight, bias = self.hallucinator.weight.detach(), self.hallucinator.bias.detach()  # type: ignore[union-attr]
        return {
            "static": self.static.detach(),
            "dynamic": self.dynamic.detach(),
            "hallucinator.weight": weight,
            "hallucinator.bias": bias,
        }

    def parameters(self) -> dict[str, torch.Tensor]:
        """Dynamic memory and hallucinator; the static memory is frozen in stage 2."""
        assert self.hallucinator.bias is not None
        return {
            "dynamic": self.dynamic,
            "hallucinator.weight": self.hallucinator.weight,
            "hallucinator.bias": self.hallucinator.bias,
        }

    def compose(self, labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """Clips of the chosen pairs; choice = (instance * statics_per_instance + s) * dynamics_per_instance + d."""
        instance, pair = choice // self.variants, choice % self.variants
        s = instance * self.statics_per_instance + pair // self.dynamics_per_instance
        d = instance * self.dynamics_per_instance + pair % self.dynamics_per_instance
        return self.hallucinator.compose(self.static[labels, s], self.dynamic[labels, d].squeeze(2))


def residual_dynamic(clips: torch.Tensor, static: torch.Tensor, ipc: int, std: tuple[float, ...]) -> torch.Tensor:
    """A dynamic memory that makes ``clips`` of ``static`` with an identity hallucinator, as nearly as one channel can.

    ``clips`` (C, dpc, 3, T, H, W) are real clips, ``static`` (C, spc, 3, H, W), both normalised. Returns
    (C, dpc, T, 1, H, W): the luminance (mean of the channels in pixel units) of each clip, less that of the mean
    static of its instance. This is the least-squares solution over all pairs: of the dynamics that an instance may
    have, it leaves the smallest sum of squared luminance errors static_s + dynamic_d - clip_d over its statics s.
    """
    weight = torch.tensor(std, device=clips.device) / sum(std)  # pixel units, in units of the mean deviation
    luminance = torch.einsum("ndcthw,c->ndthw", clips, weight)
    still = torch.einsum("nschw,c->nshw", static, weight)
    per_instance = still.unflatten(1, (ipc, -1)).mean(2)
    repeats = clips.shape[1] // ipc
    return (luminance - per_instance.repeat_interleave(repeats, dim=1).unsqueeze(2)).unsqueeze(3)
