"""DC, gradient matching (Zhao, Mopuri and Bilen 2021), the objective of stage 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field

from engine.config.fields import Every, Rate, Section, Steps
from engine.config.objectives import Passes
from engine.lazy import nn, torch
from engine.matching.base import Objective, Setting, linear_parts
from engine.seeds import generator

if TYPE_CHECKING:
    from engine.config import Preset
    from engine.synthetic.base import SyntheticSet

    Gradients = tuple[torch.Tensor, ...]
    """A gradient for each weight tensor."""


class DcSettings(Section):
    """The keys of DC in ``[static]``."""

    outer_loops: Every = Field(1, description="steps with one network before a new one is drawn (dc)")
    inner_loops: Steps = Field(1, description="steps of that network's training between two steps of the images (dc)")
    lr_network: Rate = Field(0.01, description="learning rate of that network (dc)")


class GradientMatching(Objective):
    """sum_c sum_{weights W} sum_{filters i} (1 - cos(dL_real/dW_i, dL_syn/dW_i)).

    L is the cross-entropy of one network: L_real on ``batch_real`` frames, one random frame of each of as many real
    clips of class c, and L_syn on the class's synthetic images. Biases and normalisation parameters do not count. A
    network lives for ``outer_loops`` steps; between two of them it takes ``inner_loops`` SGD steps (rate
    ``lr_network``) on all synthetic images. All is in float32: bfloat16 would lose the cosine of small gradients.

    ``at_once`` bounds the images per network pass, and so the memory; gradients are sums over passes.
    """

    name: ClassVar[str] = "dc"
    title: ClassVar[str] = "gradient matching (Zhao et al. 2021)"
    still_settings: ClassVar[type[Section]] = DcSettings
    still_settings_inline: ClassVar[bool] = True

    def __init__(
        self,
        setting: Setting,
        batch_real: int,
        outer_loops: int = 1,
        inner_loops: int = 1,
        lr_network: float = 0.01,
        at_once: int = 64,
    ) -> None:
        self._setting = setting
        self._seed = setting.seed
        self._batch_real = batch_real
        self._outer_loops = outer_loops
        self._inner_loops = inner_loops
        self._lr_network = lr_network
        self._at_once = at_once
        self._network: nn.Module | None = None

    @classmethod
    def for_stills(cls, preset: Preset, setting: Setting) -> Self:
        """Return the objective of stage 1."""
        section = preset.static.table(cls.name, DcSettings)
        return cls(setting, preset.static.batch_real, section.outer_loops, section.inner_loops, section.lr_network)

    @classmethod
    def passes(cls, preset: Preset, stage: str, classes: int) -> Passes:
        """Return the real images of each class, and the synthetic ones, whose gradients are differentiated."""
        settings = preset.static.table(cls.name, DcSettings)
        own = classes * preset.synthetic.ipc * max(1, preset.synthetic.statics_per_instance)
        between = settings.inner_loops * (1 - 1 / settings.outer_loops)
        return Passes(0, classes * preset.static.batch_real + between * own, own)

    @classmethod
    def steps_per_network(cls, settings: Section) -> int:
        """Return ``outer_loops``."""
        assert isinstance(settings, DcSettings)
        return settings.outer_loops

    @classmethod
    def rehearsed(cls, settings: Section) -> Section:
        """Return ``settings`` with networks of two steps, if they have several.

        Of three steps, a network is then trained after the first and the third, and a new one is drawn for the third.
        """
        return settings.model_copy(update={"outer_loops": 2}) if cls.steps_per_network(settings) > 1 else settings

    def losses(self, synthetic: SyntheticSet, step: int) -> Iterator[torch.Tensor]:
        """Yield a part per class of this process's share, or per pass of a class with more images than a pass takes."""
        network = self._network_of(step)
        weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
        for label in self._setting.group.share(range(len(synthetic.spec.classes))):
            rng = generator(self._seed, "dc-real", step, label)
            real = self._setting.real.draw_frames(label, self._batch_real, rng)
            labels = torch.full((len(real),), label, device=real.device)
            target = _sums(
                torch.autograd.grad(_share_of_mean(network, images, own, len(real)), weights)
                for images, own in zip(real.split(self._at_once), labels.split(self._at_once), strict=True)
            )
            yield from self._distances(network, weights, synthetic, label, target, step)

    def _distances(
        self,
        network: nn.Module,
        weights: Sequence[torch.Tensor],
        synthetic: SyntheticSet,
        label: int,
        target: Gradients,
        step: int,
    ) -> Iterator[torch.Tensor]:
        """Yield D(G, target), where G is the gradient of a class's images, as one part per pass.

        G = sum_p g_p over the passes p, so dD = sum_p <dD/dG, d g_p>. If there are several, G and dD/dG are computed
        first, without the graphs of any g_p; then the part of each pass is linear in its g_p.
        """
        passes = list(self._passes(synthetic, step, [label]))

        def gradients(k: int, create_graph: bool) -> Gradients:
            drawn = synthetic.made_of(*passes[k])
            loss = _share_of_mean(network, drawn.clips, drawn.targets, synthetic.ipc)
            return torch.autograd.grad(loss, weights, create_graph=create_graph)

        if len(passes) == 1:
            yield gradient_distance(gradients(0, create_graph=True), target)
            return
        whole = _sums(gradients(k, create_graph=False) for k in range(len(passes)))
        value = gradient_distance(tuple(gradient.requires_grad_() for gradient in whole), target)
        along = torch.autograd.grad(value, whole)

        def term(k: int) -> torch.Tensor:
            products = zip(gradients(k, create_graph=True), along, strict=True)
            return torch.stack([(gradient * by).sum() for gradient, by in products]).sum()

        yield from linear_parts(value.detach(), map(term, range(len(passes))))

    def after_step(self, synthetic: SyntheticSet, step: int) -> None:
        """Train the network on the images, or drop it after its last step."""
        if (step + 1) % self._outer_loops == 0:
            self._network = None
            return
        network = self._network_of(step)
        optimiser = torch.optim.SGD(network.parameters(), self._lr_network)
        number = len(synthetic.spec.classes) * synthetic.ipc
        for _ in range(self._inner_loops):
            optimiser.zero_grad()
            for labels, choice in self._passes(synthetic, step):
                with torch.no_grad():
                    drawn = synthetic.made_of(labels, choice)
                _share_of_mean(network, drawn.clips, drawn.targets, number).backward()
            optimiser.step()

    def state(self) -> dict[str, torch.Tensor]:
        """Return the parameters of the network if the next step uses it too."""
        return {} if self._network is None else dict(self._network.state_dict())

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the network."""
        self._network = None
        if state:
            self._network = self._setting.new_network(0)
            self._network.load_state_dict(dict(state))

    def _passes(
        self, synthetic: SyntheticSet, step: int, classes: Sequence[int] | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Return the labels and choices of the step's draw of ``classes`` (default all), ``at_once`` at a time."""
        labels, choice = synthetic.choose(generator(self._seed, "dc-synthetic", step), classes)
        return zip(labels.split(self._at_once), choice.split(self._at_once), strict=True)

    def _network_of(self, step: int) -> nn.Module:
        if self._network is None or step % self._outer_loops == 0:
            self._network = self._setting.new_network(step // self._outer_loops)
        return self._network


def _share_of_mean(network: nn.Module, images: torch.Tensor, targets: torch.Tensor, number: int) -> torch.Tensor:
    """Return the contribution of ``images`` to the mean cross-entropy of ``number`` images."""
    if len(images) == number:
        return nn.functional.cross_entropy(network(images), targets)
    return nn.functional.cross_entropy(network(images), targets, reduction="sum") / number


def _sums(parts: Iterable[Gradients]) -> Gradients:
    """Return the sum of each tensor over ``parts``."""
    total: Gradients = ()
    for part in parts:
        total = tuple(a + b for a, b in zip(total, part, strict=True)) if total else part
    return total


def gradient_distance(first: Gradients, second: Gradients) -> torch.Tensor:
    """Return the sum of 1 - cosine over tensors and their rows (output filters); a zero row has cosine 0."""
    distances = []
    for a, b in zip(first, second, strict=True):
        rows_a, rows_b = a.flatten(1), b.flatten(1)
        norms = rows_a.norm(dim=1) * rows_b.norm(dim=1)
        distances.append((1 - (rows_a * rows_b).sum(1) / (norms + 1e-6)).sum())
    return torch.stack(distances).sum()
