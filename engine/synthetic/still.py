"""Still images: what stage 1 learns, and the "boring video" that each of them makes when it is shown as a clip."""

from __future__ import annotations

from typing import ClassVar

import torch

from engine.data.spec import ClipSpec
from engine.synthetic.base import SyntheticSet


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
