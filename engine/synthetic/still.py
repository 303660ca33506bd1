"""Still images: what stage 1 learns, and the "boring video" that each of them makes when it is shown as a clip."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Self

import torch

from engine.data.spec import ClipSpec
from engine.synthetic.base import Shown, SyntheticSet
from engine.synthetic.start import Start


def still_of(clips: torch.Tensor, dim: int) -> torch.Tensor:
    """The median over time, which is axis ``dim``, of clips: the lower of the two middle values of an even number.

    What moves is not in it. ``Tensor.median`` gives the same, but on CUDA warns of indices that nobody asked for.
    """
    return clips.sort(dim).values.select(dim, (clips.shape[dim] - 1) // 2)


class StaticImages(SyntheticSet):
    """``static`` (C, spc, 3, H, W). A draw gives *images*, all of a class: (C * spc, 3, H, W)."""

    kind: ClassVar[str] = "static-images"

    def __init__(
        self,
        spec: ClipSpec,
        static: torch.Tensor,
        *,
        soft_labels: torch.Tensor | None = None,
        learn_labels: bool = False,
    ) -> None:
        super().__init__(spec, static.shape[1], soft_labels=soft_labels, learn_labels=learn_labels)
        assert static.shape[0] == len(spec.classes)
        assert static.shape[2:] == (3, spec.height, spec.width), static.shape
        self.static = static

    @classmethod
    def start(cls, start: Start) -> Self:
        """Noise; of as many real clips the first frame, or the median over time; or the mean frame of the class."""
        shape, init = start.shapes(cls.kind)["static"], start.preset.static.init
        if init == "noise":
            return cls(start.spec, start.noise("static-noise", shape))
        if init == "mean":
            return cls(start.spec, start.mean_frames().unsqueeze(1).repeat(1, shape[1], 1, 1, 1))
        images = [still_of(own, 2) if init == "median" else own[:, :, 0] for own in start.clips(shape[1])]
        return cls(start.spec, torch.stack(images).contiguous())

    @classmethod
    def build(cls, spec: ClipSpec, ipc: int, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> Self:
        """The set of ``static``."""
        return cls(spec, tensors["static"], soft_labels=tensors.get("soft_labels"))

    def project(self, name: str, clips: torch.Tensor) -> torch.Tensor:
        """The median over time of each clip: (N, 3, H, W)."""
        return still_of(clips, 2)

    @property
    def frames(self) -> int:
        """One: a draw gives images."""
        return 1

    @property
    def variants(self) -> int:
        """One: an instance is an image."""
        return 1

    def _stored(self) -> dict[str, torch.Tensor]:
        return {"static": self.static}

    def _learned(self) -> dict[str, torch.Tensor]:
        return {"static": self.static}

    def compose(self, labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """The images ``choice``, (N, 3, H, W)."""
        return self.static[labels, choice].contiguous(memory_format=torch.channels_last)


class StillVideo(SyntheticSet):
    """The same memory shown as clips: an instance is one of its ``spc / ipc`` images, for all frames."""

    kind: ClassVar[str] = "static-only"

    def __init__(
        self,
        spec: ClipSpec,
        ipc: int,
        static: torch.Tensor,
        *,
        soft_labels: torch.Tensor | None = None,
        learn_labels: bool = False,
    ) -> None:
        super().__init__(spec, ipc, soft_labels=soft_labels, learn_labels=learn_labels)
        assert static.shape[0] == len(spec.classes) and static.shape[1] > 0 and static.shape[1] % ipc == 0
        assert static.shape[2:] == (3, spec.height, spec.width), static.shape
        self.static = static

    @classmethod
    def start(cls, start: Start) -> Self:
        """The static memory of stage 1, of which nothing more is learned."""
        assert start.static is not None
        return cls(start.spec, start.preset.synthetic.ipc, start.static)

    @classmethod
    def build(cls, spec: ClipSpec, ipc: int, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> Self:
        """The set of ``static``."""
        return cls(spec, ipc, tensors["static"], soft_labels=tensors.get("soft_labels"))

    def project(self, name: str, clips: torch.Tensor) -> torch.Tensor:
        """The median over time of each clip: (N, 3, H, W)."""
        return still_of(clips, 2)

    def of_one_frame(self) -> Self:
        """Return the set of the images as clips of one frame."""
        twin = copy.copy(self)
        twin.spec = dataclasses.replace(self.spec, frames=1)
        return twin

    def shown_parts(self, label: int, most: int | None = None) -> Shown:
        """The images."""
        return Shown(self.static[label, :most].detach(), super().shown_parts(label).signed)

    @property
    def variants(self) -> int:
        """The images of an instance."""
        return self.static.shape[1] // self.ipc

    def _stored(self) -> dict[str, torch.Tensor]:
        return {"static": self.static}

    def _learned(self) -> dict[str, torch.Tensor]:
        return {"static": self.static}

    def compose(self, labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """The images ``choice``, repeated over time."""
        still = self.static[labels, choice].unsqueeze(2).expand(-1, -1, self.spec.frames, -1, -1)
        return still.contiguous(memory_format=torch.channels_last_3d)
