"""A bank of targets, which keeps the real side of objectives that compare class means.

Plain DM draws a network for every step and embeds ``batch_real`` real clips of each class with it, only to take their
means: at IPC 1, 64 real clips for one synthetic clip. But a network is a pure function of its number, and so are its
embeddings of the real data, so both can be used again. A bank is a window of ``members`` consecutive numbers, one of
which each step draws. It keeps, of each member, the mean embedding (or the mean of a statistic of embeddings) of every
class over *all* training clips, which a mean over 64 clips only estimates. The schedule of the bank is a pure function
of seed and step: otherwise a resumed run would meet other networks than one that was never stopped.

Targets are computed when a member is first drawn, and no checkpoint holds them: they follow from the data and the
number, and a resumed run computes those that it meets again, to the bit. (A member has C x D floats: with ConvNet3D and
50 classes of 16 x 112 x 112, 76,800 bytes, so that 100 members would add 7.7 MB to every checkpoint.) Filling a member
takes one pass over the training clips, and about the time of one step of plain DM if a class has about ``batch_real``
clips; ``clips`` bounds it where classes are large. Like a step, it finishes before a request to stop is heard. The
networks of a small bank are kept, 14.6 MB each: beside a handful of synthetic clips, drawing 3.65 M weights anew would
be a good part of a step.

Gradient matching (dc) has the same waste, but a bank would gain less. After the first step of a network, its real
gradients are taken at weights that the synthetic images have trained, which never occur again. With ``outer_loops = 1``
every step has a new network, and a bank would be possible, but a target is then a gradient per class: 1.55 M weights x
50 classes x 4 bytes = 311 MB a member at 112 pixels, against 76,800 bytes here. So there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field

from engine.config.fields import Few, Networks, Section, Steps
from engine.lazy import torch
from engine.machine.copies import to_device
from engine.matching.base import Setting, class_sums
from engine.seeds import generator, stage_seed

if TYPE_CHECKING:
    from engine.config import Preset
    from engine.models.base import Network

    Statistic = Callable[[torch.Tensor, int], torch.Tensor]
    """The function whose values (N, E) are averaged, of embeddings (N, D), row by row, and the network's number."""

KEPT_NETWORKS = 16
"""The most networks of a bank that are kept, those that were met last."""


class BankSettings(Section):
    """The keys of a target bank, for the settings of an objective to inherit."""

    target: Literal["batch", "bank"] = Field(
        "batch", description="real side: batch: real clips drawn per step; bank: class means of all, kept per network"
    )
    bank: Networks = Field(100, description="networks in the bank, of which each step draws one (bank)")
    renew_every: Steps = Field(
        10, description="steps until the bank's oldest network is replaced by a new one; 0: never (bank)"
    )
    bank_clips: Steps = Field(0, description="real clips per class that a network's means are of; 0: all (bank)")


class StillBankSettings(BankSettings):
    """The keys of a target bank in stage 1, where networks see single frames."""

    bank_frames: Few = Field(
        4, description="frames of each real clip, evenly spaced, that a network's means are of (bank)"
    )


def embeddings_themselves(embedded: torch.Tensor, number: int) -> torch.Tensor:
    """Return ``embedded`` itself, so that class means are those of embeddings."""
    return embedded


@dataclass(frozen=True)
class Schedule:
    """The schedule of a bank, which gives each step its network, as a pure function of seed and step.

    At step k the bank holds the numbers ``first(k)`` to ``first(k) + members - 1``: every ``renew_every`` steps (0:
    never) the oldest is dropped and the next number comes in. Each step draws one of them uniformly.
    """

    seed: int
    members: int
    renew_every: int = 0

    @classmethod
    def of(cls, section: BankSettings, preset: Preset, stage: str = "dynamic") -> Self:
        """Return the schedule of ``stage`` of ``preset``, by which its plan counts too."""
        return cls(stage_seed(preset.run.seed, stage), section.bank, section.renew_every)

    def first(self, step: int) -> int:
        """Return the oldest member's number at ``step``, which is also the number of members dropped before."""
        return step // self.renew_every if self.renew_every else 0

    def number(self, step: int) -> int:
        """Return the number of the network of ``step``."""
        # Whatever the objective: the name is from when DM alone had a bank, and decides what is drawn.
        drawn = torch.randint(self.members, (), generator=generator(self.seed, "dm-bank", step))
        return self.first(step) + int(drawn)


class TargetBank:
    """The class means of real clips by the networks of ``schedule``, each computed when its network is first met.

    They are means of embeddings, or of a statistic of embeddings. Each of several processes keeps those of its own
    classes. ``clips`` bounds the clips per class from which a member is computed, drawn anew for every member; 0: all
    of them. ``at_once`` bounds the clips per pass. With ``frames`` above 0 its networks see images, and the means are
    over as many frames of each clip, in the middle of equal parts of it; ``at_once`` then bounds the frames.
    """

    def __init__(
        self, setting: Setting, schedule: Schedule, clips: int = 0, at_once: int = 64, frames: int = 0
    ) -> None:
        self.schedule = schedule
        self._setting = setting
        self._clips = clips
        self._at_once = at_once
        length = setting.real.spec.frames
        number = min(frames, length)
        self._frames = (2 * torch.arange(number) + 1) * length // max(1, 2 * number)
        """The numbers of the frames that are taken of a clip; none where clips are embedded whole."""
        self.own = setting.group.share(range(len(setting.real.spec.classes)))
        """The classes whose targets this process keeps."""
        self._means: dict[int, torch.Tensor] = {}
        self._networks: dict[int, Network] = {}
        self._met: set[int] = set()
        self._fills = [0]

    @classmethod
    def of(cls, section: BankSettings, preset: Preset, setting: Setting, stage: str) -> Self | None:
        """Return the bank of ``stage`` of ``preset``, or None if ``section`` asks for none."""
        if section.target != "bank":
            return None
        frames = section.bank_frames if isinstance(section, StillBankSettings) else 0
        return cls(setting, Schedule.of(section, preset, stage), section.bank_clips, frames=frames)

    def network(self, step: int) -> Network:
        """Return the network of ``step``, without gradient and in evaluation mode, so that its embeddings are fixed."""
        number, oldest = self.schedule.number(step), self.schedule.first(step)
        network = self._networks.pop(number, None)
        if network is None:
            # What is kept of it must be a function of one clip: not of a batch's statistics, not of chance.
            network = self._setting.new_network(number).requires_grad_(False).eval()
        recent = [n for n in self._networks if n >= oldest][-(KEPT_NETWORKS - 1) :]
        self._networks = {n: self._networks[n] for n in recent} | {number: network}
        return network

    def meet(self, network: Network, step: int, statistic: Statistic = embeddings_themselves) -> None:
        """Compute the targets of ``step``'s network for all classes of this process, unless the bank has them.

        ``network`` is ``self.network(step)``; ``statistic`` is the same at every step.
        """
        assert not network.training
        number, oldest = self.schedule.number(step), self.schedule.first(step)
        self._means = {n: means for n, means in self._means.items() if oldest <= n < oldest + self.schedule.members}
        if number not in self._means and self.own:
            self._means[number] = self._compute(network, number, statistic)

    def means(
        self,
        network: Network,
        classes: Sequence[int],
        step: int,
        statistic: Statistic = embeddings_themselves,
    ) -> torch.Tensor:
        """Return the targets (classes, E) of ``step`` of ``classes``, which are this process's; else as ``meet``."""
        self.meet(network, step, statistic)
        means = self._means[self.schedule.number(step)]
        return means[to_device(torch.tensor([self.own.index(c) for c in classes]), means.device)]

    def fills(self, steps: int) -> int:
        """Return the number of members that the first ``steps`` steps meet, each of which is filled once."""
        for step in range(len(self._fills) - 1, steps):
            self._met.add(self.schedule.number(step))
            self._fills.append(len(self._met))
        return self._fills[steps]

    def clips_per_fill(self) -> int:
        """Return the number of clips, or frames, of all classes from which a member's targets are computed."""
        available = [self._setting.real.available(c) for c in range(len(self._setting.real.spec.classes))]
        clips = sum(min(self._clips, number) if self._clips else number for number in available)
        return clips * max(1, len(self._frames))

    def _compute(self, network: Network, number: int, statistic: Statistic) -> torch.Tensor:
        sums: torch.Tensor | float = 0.0
        counts: torch.Tensor | float = 0.0
        for batch, members in self._batches(number):
            with torch.no_grad():
                found = statistic(self._setting.embed(network, batch), number)
            part_sums, part_counts = class_sums(found, to_device(members, found.device), len(self.own))
            sums, counts = sums + part_sums, counts + part_counts
        return torch.as_tensor(sums / counts)

    def _batches(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield real clips or frames for the member, class by class, with the places of their classes in ``own``."""
        chosen = [self._choose(c, number) for c in self.own]
        places = torch.arange(len(chosen)).repeat_interleave(torch.tensor([len(own) for own in chosen]))
        together = max(1, self._at_once // max(1, len(self._frames)))
        for indices, members in zip(torch.cat(chosen).split(together), places.split(together), strict=True):
            if not len(self._frames):
                yield self._setting.real.clips(indices), members
                continue
            of_clips = indices.repeat_interleave(len(self._frames))
            images = self._setting.real.images(of_clips, self._frames.repeat(len(indices)))
            yield images, members.repeat_interleave(len(self._frames))

    def _choose(self, label: int, number: int) -> torch.Tensor:
        """Return the indices of the clips of a class from which the member is computed, in the order of storage."""
        if not self._clips:
            return self._setting.real.of_class(label)
        rng = generator(self._setting.seed, "dm-bank-clips", number, label)
        return self._setting.real.pick(label, self._clips, rng).sort().values
