"""DC, gradient matching (Zhao, Mopuri and Bilen 2021), the objective of stage 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self

import torch
from torch import nn

from engine.config import Preset
from engine.matching.base import Objective, Setting
from engine.seeds import generator
from engine.synthetic.base import SyntheticSet


class GradientMatching(Objective):
    """sum_c sum_{weights W} sum_{filters i} (1 - cos(dL_real/dW_i, dL_syn/dW_i)).

    L is the cross-entropy of one network on ``batch_real`` frames, one random frame of each of as many real clips of
    class c, and on the class's synthetic images. Biases and normalisation parameters do not count. A network lives
    for ``outer_loops`` steps; between two of them it takes ``inner_loops`` SGD steps (rate ``lr_network``) on all
    synthetic images. Always in float32: a cosine of small gradients does not survive bfloat16.
    """

    def __init__(
        self, setting: Setting, batch_real: int, outer_loops: int = 1, inner_loops: int = 1, lr_network: float = 0.01
    ) -> None:
        self._setting = setting
        self._seed = setting.seed
        self._batch_real = batch_real
        self._outer_loops = outer_loops
        self._inner_loops = inner_loops
        self._lr_network = lr_network
        self._network: nn.Module | None = None

    @classmethod
    def for_stills(cls, preset: Preset, setting: Setting) -> Self:
        """The objective of stage 1."""
        table = preset.static
        return cls(setting, table.batch_real, table.outer_loops, table.inner_loops, table.lr_network)

    def losses(self, synthetic: SyntheticSet, step: int) -> Iterator[torch.Tensor]:
        """One part per class of this process's share."""
        network = self._network_of(step)
        weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
        for label in self._setting.group.share(range(len(synthetic.spec.classes))):
            rng = generator(self._seed, "dc-real", step, label)
            real = self._setting.real.draw_frames(label, self._batch_real, rng)
            labels = torch.full((len(real),), label, device=real.device)
            target = torch.autograd.grad(nn.functional.cross_entropy(network(real), labels), weights)
            images, labels = synthetic.sample(generator(self._seed, "dc-synthetic", step), [label])
            loss = nn.functional.cross_entropy(network(images), labels)
            gradients = torch.autograd.grad(loss, weights, create_graph=True)
            yield gradient_distance(gradients, target)

    def after_step(self, synthetic: SyntheticSet, step: int) -> None:
        """Train the network on the images, unless it has had its last step."""
        if (step + 1) % self._outer_loops == 0:
            self._network = None
            return
        network = self._network_of(step)
        optimiser = torch.optim.SGD(network.parameters(), self._lr_network)
        for _ in range(self._inner_loops):
            with torch.no_grad():
                images, labels = synthetic.sample(generator(self._seed, "dc-synthetic", step))
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            optimiser.step()

    def state(self) -> dict[str, torch.Tensor]:
        """The network's parameters while it lives across steps."""
        return {} if self._network is None else dict(self._network.state_dict())

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the network."""
        self._network = None
        if state:
            self._network = self._setting.new_network(0)
            self._network.load_state_dict(dict(state))

    def _network_of(self, step: int) -> nn.Module:
        if self._network is None or step % self._outer_loops == 0:
            self._network = self._setting.new_network(step // self._outer_loops)
        return self._network


def gradient_distance(first: tuple[torch.Tensor, ...], second: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """sum over tensors and their rows (output filters) of 1 - cosine; a zero row has cosine 0."""
    distances = []
    for a, b in zip(first, second, strict=True):
        rows_a, rows_b = a.flatten(1), b.flatten(1)
        norms = rows_a.norm(dim=1) * rows_b.norm(dim=1)
        distances.append((1 - (rows_a * rows_b).sum(1) / (norms + 1e-6)).sum())
    return torch.stack(distances).sum()
