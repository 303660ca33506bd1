"""The base class of objectives that compare, class by class, means over clips of embeddings, or of a statistic of them.

DM and NCFM differ in the statistic and in the distance. They share all else: the draw of clips, classes too large for
one pass, steps that take some of the classes, the division among processes, and the bank that keeps the real side of a
network (``engine.matching.bank``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from engine.config.fields import Count, Section
from engine.config.objectives import Passes
from engine.errors import DivergedError
from engine.lazy import torch
from engine.machine.copies import to_device
from engine.matching.bank import BankSettings, Schedule, TargetBank
from engine.matching.base import Objective, Setting, class_means, class_sums, in_rounds, linear_parts, parts
from engine.seeds import derive, generator

if TYPE_CHECKING:
    from engine.config import Preset
    from engine.matching.recorded import RecordedSide
    from engine.models.base import Network
    from engine.synthetic.base import SyntheticSet

ROUNDING = 1e-5
"""The relative difference that rounding makes between two means of one embedding over different numbers of clips."""


class ClassMeansSettings(BankSettings):
    """The keys of all objectives that compare class means, in stage 2."""

    classes_per_step: Count | None = Field(
        None, description="classes that a step compares, all in turn, for data with many of them; unset: all"
    )


class ClassMeans(Objective):
    """sum_c D( mean_{s in S_c} t(psi(s)), mean_{x in B_c} t(psi(x)) ); subclasses define t and D.

    psi is the flattened embedding of a network that ``setting.new_network(step)`` draws anew for every step, B_c are
    ``batch_real`` random real clips of class c (with ``stills``, one random frame of each), S_c one draw of the class's
    synthetic clips. ``at_once`` bounds the clips per network pass, and so the memory.

    With ``classes_per_step`` n below the number C of classes, the loss of a step is the sum over n classes, times
    C / n, so that its expectation is the sum over all. They are drawn in rounds in which each class has one turn; where
    n does not divide C, the steps of a round take at most n classes, and their numbers differ by at most one. None: all
    classes at every step.

    With a ``bank``, psi is one of its networks and B_c are all training clips of the class (with ``stills``, some
    frames of each), embedded once per network instead of at every step (``engine.matching.bank``); ``batch_real`` then
    has no effect.
    """

    compares_embeddings: ClassVar[bool] = True

    def __init__(
        self,
        setting: Setting,
        batch_real: int,
        stills: bool = False,
        at_once: int = 64,
        bank: TargetBank | None = None,
        classes_per_step: int | None = None,
    ) -> None:
        self._setting = setting
        self._batch_real = batch_real
        self._stills = stills
        self._at_once = at_once
        self._bank = bank
        self._class_count = len(setting.real.spec.classes)
        self._classes_per_step = min(classes_per_step or self._class_count, self._class_count)
        self._figures: dict[str, float] = {}
        self._side: RecordedSide | None = None

    @classmethod
    def for_stills(cls, preset: Preset, setting: Setting) -> Self:
        """Return the objective of stage 1."""
        section = preset.static.settings
        # An objective of others may have no bank in stage 1.
        bank = TargetBank.of(section, preset, setting, "static") if isinstance(section, BankSettings) else None
        return cls(setting, preset.static.batch_real, stills=True, bank=bank, **cls.options(section))

    @classmethod
    def for_clips(cls, preset: Preset, setting: Setting) -> Self:
        """Return the objective of stage 2."""
        section = preset.dynamic.table(cls.name, ClassMeansSettings)
        bank = TargetBank.of(section, preset, setting, "dynamic")
        number, own = section.classes_per_step, cls.options(section)
        return cls(setting, preset.dynamic.batch_real, bank=bank, classes_per_step=number, **own)

    @classmethod
    def passes(cls, preset: Preset, stage: str, classes: int) -> Passes:
        """Return the real clips of the classes without gradients, unless banked, and their instances with them."""
        if stage == "static":
            own = preset.synthetic.ipc * max(1, preset.synthetic.statics_per_instance)
            real = 0 if cls.banked_networks(preset, "static") else classes * preset.static.batch_real
            return Passes(real, classes * own)
        settings = preset.dynamic.table(cls.name, ClassMeansSettings)
        share = min(classes, settings.classes_per_step or classes)
        real = 0 if cls.banked_networks(preset) else share * preset.dynamic.batch_real
        return Passes(real, share * preset.synthetic.ipc)

    @classmethod
    def options(cls, settings: Section) -> dict[str, Any]:
        """Return the arguments of ``__init__`` that a subclass adds, from its ``settings`` in either stage."""
        return {}

    @classmethod
    def banked_networks(cls, preset: Preset, stage: str = "dynamic") -> int:
        """Return the number of networks that the bank's schedule meets, which depends on steps and seed only."""
        table = preset.static if stage == "static" else preset.dynamic
        section = table.settings
        if not isinstance(section, BankSettings) or section.target != "bank":
            return 0
        schedule = Schedule.of(section, preset, stage)
        return len({schedule.number(step) for step in range(table.steps)})

    @classmethod
    def rehearsed(cls, settings: Section) -> Section:
        """Return ``settings`` with any bank reduced to one network, another one every second step."""
        banked = isinstance(settings, BankSettings)
        return settings.model_copy(update={"bank": 1, "renew_every": 2}) if banked else settings

    def statistic(self, embedded: torch.Tensor, number: int) -> torch.Tensor:
        """Return t of embeddings (N, D) by the network of ``number``: (N, E), row by row; here the embeddings."""
        return embedded

    @abstractmethod
    def distance(self, synthetic: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return D of the means (classes, E) of both sides, summed over classes, differentiable in ``synthetic``."""

    def losses(self, synthetic: SyntheticSet, step: int) -> Iterator[torch.Tensor]:
        """Yield a part per group of classes whose synthetic clips fit into one pass, or per pass of a larger class."""
        bank = self._bank
        network = self._setting.new_network(step).requires_grad_(False) if bank is None else bank.network(step)
        if bank is not None:
            bank.meet(network, step, self.statistic)  # also where none of this process's classes has its turn
        scale = self._class_count / len(self._classes(step))
        spread = _Spread(0.0 if bank is None else ROUNDING)
        for classes in parts(self._share(step), max(1, self._at_once // synthetic.ipc)):
            if bank is None:
                target = self._real_means(network, classes, step)
            else:
                target = bank.means(network, classes, step, self.statistic)
            spread.add(target)
            for part in self._distances(network, synthetic, classes, target, step):
                yield scale * part
        spread.check(step)
        if bank is not None:
            self._figures = {"bank_fills": float(bank.fills(step + 1))}

    def figures(self) -> dict[str, float]:
        """Return ``bank_fills``, the networks of the bank that a run without a break has filled by the last step."""
        return self._figures

    def real_passes(self, steps: int) -> int:
        """Return the number of real clips that the first ``steps`` steps embed, of all processes together.

        Without a bank, every step embeds batch_real clips of each class that has its turn (fewer if it has fewer). With
        one, all training clips are embedded for every network that is met: for those of the first window and for each
        new one, unless it is dropped before it is drawn. With 100 networks that never change, 5,000 steps, and classes
        of 64 clips, that is 100 times C x 64 instead of 5,000 times. Either way a step embeds ipc synthetic clips of
        each class that has its turn, forward and backward. A resumed run embeds the real clips again for each network
        of the bank that it meets.
        """
        if self._bank is not None:
            return self._bank.fills(steps) * self._bank.clips_per_fill()
        real = self._setting.real
        clips = [min(self._batch_real, real.available(c)) for c in range(self._class_count)]
        rounds, rest = divmod(steps, -(-self._class_count // self._classes_per_step))
        return rounds * sum(clips) + sum(clips[c] for step in range(steps - rest, steps) for c in self._classes(step))

    def _classes(self, step: int) -> list[int]:
        """Return the classes that have their turn at ``step``, ascending."""
        size = self._classes_per_step
        if size == self._class_count:
            return list(range(self._class_count))
        drawn = in_rounds(self._class_count, size, step, self._setting.seed, f"{self.name}-classes")
        return sorted(map(int, drawn))

    def _share(self, step: int) -> list[int]:
        """Return the classes of ``step`` that this process takes; with a bank, those whose targets it keeps."""
        if self._bank is None:
            return self._setting.group.share(self._classes(step))
        kept = set(self._bank.own)
        return [c for c in self._classes(step) if c in kept]

    def _network_number(self, step: int) -> int:
        """Return the number of the network of ``step``."""
        return step if self._bank is None else self._bank.schedule.number(step)

    def _statistics(self, network: Network, batch: torch.Tensor, step: int) -> torch.Tensor:
        """Return t(psi(x)) (N, E) of clips or frames."""
        return self.statistic(self._setting.embed(network, batch), self._network_number(step))

    def _distances(
        self, network: Network, synthetic: SyntheticSet, classes: Sequence[int], target: torch.Tensor, step: int
    ) -> Iterator[torch.Tensor]:
        """Yield the sum of the distances of ``classes`` from ``target`` (classes, E), as parts that sum to it."""
        labels, choice = synthetic.choose(generator(self._setting.seed, f"{self.name}-synthetic", step), classes)
        if len(labels) > self._at_once:
            yield from self._in_passes(network, synthetic, labels, choice, target, step)
            return
        if side := self._recorded_side(network, synthetic):
            yield side(network, labels, choice, target)
            return
        yield self._distance(self._statistics(network, synthetic.made_of(labels, choice).clips, step), target)

    def _distance(self, found: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the sum of the distances from ``target`` (classes, E) of statistics (N, E), as many of each class."""
        classes = len(target)
        members = torch.arange(classes, device=found.device).repeat_interleave(len(found) // classes)
        return self.distance(class_means(found, members, classes), target)

    def _recorded_side(self, network: Network, synthetic: SyntheticSet) -> RecordedSide | None:
        """Return what repeats the synthetic side of ``network`` and its likes, where steps are recorded and can be.

        What is seen through a storage is made anew at every step, and a statistic that draws is another one each time.
        """
        setting = self._setting
        learned = synthetic.parameters().values()
        if setting.record is None or type(self).statistic is not ClassMeans.statistic:
            return None
        if not all(tensor.is_leaf and tensor.requires_grad for tensor in learned):
            return None
        if self._side is None or not self._side.serves(synthetic):
            from engine.matching.recorded import RecordedSide

            self._side = RecordedSide(synthetic, network, setting.embed, self._distance, setting.record)
        return self._side

    def _in_passes(
        self,
        network: Network,
        synthetic: SyntheticSet,
        labels: torch.Tensor,
        choice: torch.Tensor,
        target: torch.Tensor,
        step: int,
    ) -> Iterator[torch.Tensor]:
        """Yield D(m, target) of one class, whose clips go through the network ``at_once`` at a time; ``target`` (1, E).

        m is the mean of n statistics t_s, so the gradient is sum_s <dD/dm / n, d t_s>. First m and dD/dm are computed,
        without activations; then the part of each pass is linear in its statistics, with these coefficients.
        """
        from engine.models.precision import seeded

        passes = list(zip(labels.split(self._at_once), choice.split(self._at_once), strict=True))
        seeds = [derive(self._setting.seed, f"{self.name}-pass", step, int(labels[0]), k) for k in range(len(passes))]

        def statistics(k: int) -> torch.Tensor:
            clips = synthetic.made_of(*passes[k]).clips
            with seeded(seeds[k], clips.device):  # a network with chance of its own must embed alike both times
                return self._statistics(network, clips, step)

        with torch.no_grad():
            total = torch.stack([statistics(k).sum(0) for k in range(len(passes))]).sum(0)
        mean = (total / len(labels)).unsqueeze(0).requires_grad_()
        value = self.distance(mean, target)
        (by_mean,) = torch.autograd.grad(value, mean)
        terms = ((statistics(k) @ by_mean.squeeze(0)).sum() / len(labels) for k in range(len(passes)))
        yield from linear_parts(value.detach(), terms)

    def _real_means(self, network: Network, wanted: Sequence[int], step: int) -> torch.Tensor:
        means: list[torch.Tensor] = []
        for classes in parts(wanted, max(1, self._at_once // self._batch_real)):
            sums: torch.Tensor | float = 0.0
            counts: torch.Tensor | float = 0.0
            for batch, members in self._real_batches(classes, step):
                with torch.no_grad():
                    found = self._statistics(network, batch, step)
                part_sums, part_counts = class_sums(found, to_device(members, found.device), len(classes))
                sums, counts = sums + part_sums, counts + part_counts
            means.append(torch.as_tensor(sums / counts))
        return torch.cat(means)

    def _real_batches(self, classes: Sequence[int], step: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield real clips or frames of ``classes``, ``at_once`` at a time, with their places in ``classes``."""
        real = self._setting.real
        rngs = {c: generator(self._setting.seed, f"{self.name}-real", step, c) for c in classes}
        if self._stills:
            for place, c in enumerate(classes):
                for images in real.draw_frames(c, self._batch_real, rngs[c]).split(self._at_once):
                    yield images, torch.full((len(images),), place)
            return
        draws = [real.pick(c, self._batch_real, rngs[c]) for c in classes]
        members = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(draw) for draw in draws]))
        for indices, own in zip(torch.cat(draws).split(self._at_once), members.split(self._at_once), strict=True):
            yield real.clips(indices), own


class _Spread:
    """A check that the real class means of one step are not all equal.

    They are if they differ by at most ``tolerance`` times the largest absolute value of the first.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._first: torch.Tensor | None = None
        self._equal: list[torch.Tensor] = []
        self._number = 0

    def add(self, means: torch.Tensor) -> None:
        """Compare ``means`` (classes, D) with the first mean of the step; nothing is read from the device."""
        first = means[:1] if self._first is None else self._first
        self._first = first
        self._equal.append(((means - first).abs() <= self._tolerance * first.abs().max()).all())
        self._number += len(means)

    def check(self, step: int) -> None:
        """Raise DivergedError if all means of ``step`` were equal."""
        if self._number > 1 and bool(torch.stack(self._equal).all()):
            raise DivergedError(
                f"At step {step} the network's embeddings of all classes are equal: there is nothing to match.",
                "Check the clips with `vdtui data FILE.h5 --sheet`: are they all black, or all the same?",
            )
