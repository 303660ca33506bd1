"""From a method's name to a coreset: the clips that it chooses of each class."""

from __future__ import annotations

from collections.abc import Callable

import torch

from engine.data.batches import RealClips
from engine.models.base import Network
from engine.seeds import generator
from engine.selection.clusters import clusters
from engine.selection.coverage import coverage
from engine.selection.easy import clip_losses, easiest
from engine.selection.features import clip_features
from engine.selection.herding import herding
from engine.selection.k_center import k_center
from engine.synthetic.pixels import Coreset

SELECTORS: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {
    "herding": herding,
    "k-center": k_center,
    "clusters": clusters,
    "coverage": coverage,
    "easy": easiest,
}
"""Methods that look at what a network makes of each clip: ``easy`` at losses, the others at features."""


def select_coreset(
    real: RealClips,
    method: str,
    ipc: int,
    seed: int,
    network: Network | None = None,
    precision: torch.dtype = torch.float32,
    *,
    number: int = 0,
    check: Callable[[], None] = lambda: None,
    costs: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return indices of the chosen clips, int64 (C, ipc), by order of choice; a class with fewer repeats its own.

    ``random`` draws from ``seed`` and ``number``, the number of the draw. ``easy`` looks at the losses of ``network``,
    the others at what it embeds. ``coverage`` is for the ``costs`` of all clips of ``real`` (n), if they have some. Two
    clips of one video may both be chosen.
    """
    chosen = []
    for label in range(len(real.spec.classes)):
        if method == "random":
            own = real.pick(label, ipc, generator(seed, "random-clips", number, label))
        else:
            assert network is not None, method
            measured = (clip_losses if method == "easy" else clip_features)(real, label, network, precision, check)
            own = real.of_class(label)
            if costs is None:
                own = own[SELECTORS[method](measured, ipc)]
            else:
                assert method == "coverage", method
                own = own[coverage(measured, ipc, costs[own])]
        chosen.append(own[torch.arange(ipc) % len(own)])
    return torch.stack(chosen)


def coreset(real: RealClips, chosen: torch.Tensor) -> Coreset:
    """The clips ``chosen`` (C, ipc) of ``real`` as a set."""
    return Coreset.of(real, chosen)
