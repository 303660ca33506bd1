"""The start of a set: noise, real clips, and the memory of the stage before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from engine.config import Preset
from engine.config.kinds import KINDS, Pictures, Shape
from engine.data.batches import RealClips
from engine.data.spec import ClipSpec
from engine.seeds import generator
from engine.synthetic.formation import Formation
from engine.synthetic.temporal import Temporal

MEAN_CLIPS = 32
"""Most clips whose mean is taken at once."""


@dataclass(frozen=True)
class Start:
    """The things that ``SyntheticSet.start`` may read. Equal ones give equal sets: draws are by the preset's seed."""

    preset: Preset
    real: RealClips
    """The training clips."""
    static: torch.Tensor | None = None
    """The static memory (C, spc, 3, H, W) of stage 1, or None where there was none."""
    labels: torch.Tensor | None = None
    """Soft labels (C, ipc, C) that are to be learned, or None."""
    chosen: torch.Tensor | None = None
    """Indices of training clips, int64 (C, n), the first to be taken first; None: random ones are drawn."""

    @property
    def spec(self) -> ClipSpec:
        """Return what clips are."""
        return self.real.spec

    @property
    def seed(self) -> int:
        """The one seed of the run."""
        return self.preset.run.seed

    @property
    def device(self) -> torch.device:
        """The device that the set is to be on."""
        return self.real.device

    @property
    def temporal(self) -> Temporal | None:
        """Return how stored frames become those of a clip, or None where all are stored."""
        section = self.preset.synthetic
        if section.n_syn is None:
            return None
        return Temporal(self.spec.frames, section.n_syn, section.segments, section.interpolation)

    @property
    def formation(self) -> Formation | None:
        """Return how clips share a picture, or None where each has its own. Raises PresetError if they cannot."""
        side = self.preset.synthetic.formation
        return None if side is None else Formation(self.spec, side)

    def shapes(self, kind: str) -> dict[str, Shape]:
        """The shapes of all tensors of a set of ``kind``."""
        clip = Pictures(3, self.spec.frames, self.spec.height, self.spec.width)
        return KINDS[kind].shapes(self.preset.synthetic, len(self.spec.classes), clip)

    def noise(self, name: str, shape: Shape) -> torch.Tensor:
        """Normally distributed numbers; another ``name`` gives others."""
        return torch.randn(shape, generator=generator(self.seed, name)).to(self.device)

    def mean_frames(self) -> torch.Tensor:
        """The mean over all frames of all training clips of each class, (C, 3, H, W); nothing is drawn."""
        return mean_frames(self.real, [self.real.of_class(label) for label in range(len(self.spec.classes))])

    def clips(self, per_class: int) -> Iterator[torch.Tensor]:
        """Real clips, class by class (all may not fit): (per_class, 3, T, H, W) of each, normalised.

        The first of ``chosen``, if some are, else random ones; a class with fewer repeats its own.
        """
        for label in range(len(self.spec.classes)):
            if self.chosen is None:
                own = self.real.pick(label, per_class, generator(self.seed, "start", label))
            else:
                own = self.chosen[label][:per_class]
            yield self.real.clips(own[torch.arange(per_class) % len(own)])


def mean_frames(
    real: RealClips, chosen: Sequence[torch.Tensor], check: Callable[[], None] = lambda: None
) -> torch.Tensor:
    """The mean over all frames of the clips ``chosen`` of each class, int64 (n), as normalised images (C, 3, H, W).

    ``check`` is called between reads, and may raise.
    """
    means = []
    for own in chosen:
        total = torch.zeros((), dtype=torch.float64, device=real.device)
        for indices in own.split(MEAN_CLIPS):
            check()
            total = total + real.clips(indices).double().mean(2).sum(0)
        means.append((total / len(own)).float())
    return torch.stack(means)
