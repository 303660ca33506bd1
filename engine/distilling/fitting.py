"""The need of a run in memory and disk, beside what there is here, and what may be reduced so that it fits.

A rehearsal tells the need of the preset as it is; of others, what differs is counted: clips that go through a network
at once with gradients, times what a clip's pass keeps, the memories with their optimiser, and the files of experts.
What leaves the method alone is reduced first. Batches of real clips are not among what is reduced: they go through
networks 64 at a time, so their number takes time and no memory.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.config import Preset
from engine.config.load import override
from engine.config.objectives import named
from engine.config.size import stored_values
from engine.data.batches import free_bytes
from engine.distilling.plan import sizes_of
from engine.distilling.reckoning import Sizes, instances_of_rows
from engine.evaluation.judge import precision_of
from engine.evaluation.trainers import shares
from engine.matching.trajectory import MttSettings, TrajectoryMatching
from engine.models import autocast, choose_device, video_model

AT_ONCE = 64
"""Clips that objectives send through a network at once, at most."""
PROCESS = 600 << 20
"""Bytes of a process that has imported torch, and of what it holds beside its clips, about."""
COPIES = 4
"""Copies of the memories that learning holds: values, gradients, and two moments."""
TWICE = 3
"""Passes that are differentiated twice keep about as many times what one keeps that is differentiated once."""
LEAST_BATCH = 16


@dataclasses.dataclass(frozen=True)
class Need:
    """Bytes of memory on the device, and of the disk."""

    memory: int
    disk: int

    def within(self, room: Need) -> bool:
        """Return whether it fits into ``room``."""
        return self.memory <= room.memory and self.disk <= room.disk


@dataclasses.dataclass(frozen=True)
class Kept:
    """Measurements of networks by their names: bytes that a clip's pass keeps for its gradient, and weights."""

    clips: Mapping[str, int]
    weights: Mapping[str, int]
    cores: int
    """Threads that train networks; 1 where they are trained one after the other."""


@dataclasses.dataclass(frozen=True)
class Reduced:
    """A preset, and how it was reduced."""

    preset: Preset
    same: tuple[str, ...] = ()
    """Changes that leave the method as it is, as words of a command."""
    other: tuple[str, ...] = ()
    """Changes that change results, as ``section.key=value``."""
    alone: bool = False
    """True if networks are trained one at a time, with ``OMP_NUM_THREADS=1``."""


@dataclasses.dataclass(frozen=True)
class Fitting:
    """A preset's need as it is, the room that there is, and the preset reduced until it fits."""

    need: Need
    room: Need
    reduced: Reduced | None
    """The preset itself where it fits; None if nothing that may be reduced makes it fit."""

    @property
    def fits(self) -> bool:
        """True if nothing has to be reduced."""
        return self.need.within(self.room)

    def document(self) -> dict[str, Any]:
        """Return what `vdtui plan --json` says of it; ``changes`` are empty where it fits, null where nothing helps."""
        found = self.reduced
        return {
            "fits": self.fits,
            "needs": dataclasses.asdict(self.need),
            "free": dataclasses.asdict(self.room),
            "one_network_at_a_time": found is not None and found.alone,
            "changes": None if found is None else list(found.same),
            "changes_of_results": None if found is None else list(found.other),
        }


class Fitter:
    """The data and networks of a preset, and what is free here, looked at once before anything is rehearsed."""

    def __init__(self, preset: Preset, runs: Path) -> None:
        self._room = room(preset, runs)
        with tempfile.TemporaryDirectory(prefix="vdtui-plan-") as folder:
            self._sizes, _ = sizes_of(preset, Path(folder))
        self._kept = measure_kept(preset, self._sizes)

    def fit(self, preset: Preset, rehearsed: int = 0) -> Fitting:
        """Return how ``preset`` fits; ``rehearsed`` are the bytes of memory that its plan tells, 0 to count them."""
        need = counted(preset, self._sizes, self._kept)
        need = Need(rehearsed or need.memory, need.disk)
        return Fitting(need, self._room, fitted(preset, self._sizes, self._kept, self._room, rehearsed))


def room(preset: Preset, folder: Path) -> Need:
    """Return what is free on the device of ``preset``, and on the disk of ``folder`` or of the nearest above it."""
    device = choose_device(preset.run.device)
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    return Need(free_bytes(device), shutil.disk_usage(place).free)


def measure_kept(preset: Preset, sizes: Sizes) -> Kept:
    """Send a clip through each network of ``preset``, and count what autograd keeps of it."""
    device = choose_device(preset.run.device)
    precision = precision_of(preset, sizes.classes, sizes.frames, sizes.side, device, None).precision
    clips: dict[str, int] = {}
    weights: dict[str, int] = {}
    for model in preset.evaluation.models:
        network = video_model(model, sizes.classes, sizes.frames, sizes.side, 0, device)
        clips[model] = _kept(network, torch.randn(2, 3, sizes.frames, sizes.side, sizes.side, device=device), precision)
        weights[model] = sum(parameter.numel() for parameter in network.parameters())
    return Kept(clips, weights, torch.get_num_threads() if device.type == "cpu" else 1)


def _kept(network: nn.Module, clips: torch.Tensor, precision: torch.dtype) -> int:
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    saved: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor), autocast(clips.device, precision):
        network(clips.requires_grad_()).sum()
    return sum(saved.values()) // len(clips)


def counted(preset: Preset, sizes: Sizes, kept: Kept, alone: bool = False) -> Need:
    """Return what a run of ``preset`` needs, as counted; ``alone``: its networks are trained one at a time."""
    evaluation, first = preset.evaluation, preset.evaluation.models[0]
    own = sizes.classes * preset.synthetic.ipc
    largest = max(instances_of_rows(preset, sizes))
    trained = max(min(evaluation.batch, largest) * kept.clips[model] for model in evaluation.models)
    learning, disk = 0, 0
    if "dynamic" in preset.stages:
        objective = named(preset.dynamic.objective)
        learning = min(AT_ONCE, own) * kept.clips[first]
        if issubclass(objective, TrajectoryMatching):
            learning = _unrolled(preset.dynamic.table(objective.name, MttSettings), own) * TWICE * kept.clips[first]
        if objective.needs_experts:
            size = 2 if preset.experts.stored == "float16" else 4
            disk = preset.experts.number * preset.expert_snapshots * kept.weights[first] * size
    memories = COPIES * 4 * stored_values(preset.synthetic, sizes.classes, sizes.frames, sizes.side)
    cores = 1 if alone else kept.cores
    processes = max(shares(cores, number)[1] for number in (evaluation.repeats, evaluation.selection_repeats))
    inside = max(learning, trained if processes == 1 else 0)
    others = processes * (PROCESS + trained) if processes > 1 else 0
    return Need(PROCESS + memories + inside + others, disk + memories)


def _unrolled(settings: MttSettings, own: int) -> int:
    """Return the clips whose passes an unroll keeps at once; ``auto`` takes what fits, at least a pass."""
    step = min(own, settings.batch or own)
    return {"plain": settings.syn_steps * step, "checkpointed": step}.get(settings.unroll, min(AT_ONCE, step))


def fitted(preset: Preset, sizes: Sizes, kept: Kept, there: Need, rehearsed: int = 0) -> Reduced | None:
    """Return ``preset`` reduced until it fits into ``there``; None if nothing that may be reduced makes it fit.

    ``rehearsed`` is the memory in bytes that it needs as it is, where a rehearsal has told it (else 0).
    """
    now = Reduced(preset)
    plain = counted(preset, sizes, kept)
    more = rehearsed - plain.memory if rehearsed else 0

    def need(one: Reduced) -> Need:
        found = counted(one.preset, sizes, kept, one.alone)
        return Need(max(0, found.memory + more), found.disk)

    for reduce in (_one_at_a_time, _constant_unroll, _half_floats, _smaller_batch, _fewer_experts, _fewer_instances):
        for smaller in reduce(now):
            before, after = need(now), need(smaller)
            if before.within(there):
                return now
            if (before.memory > there.memory and after.memory < before.memory) or (
                before.disk > there.disk and after.disk < before.disk
            ):
                now = smaller
    if not need(now).within(there):
        return None
    for change in now.other:  # a later reduction may have been enough by itself
        key = change.partition("=")[0]
        section, name = key.split(".")
        former = override(now.preset, {key: getattr(getattr(preset, section), name)}, "--fit")
        undone = dataclasses.replace(now, preset=former, other=tuple(one for one in now.other if one != change))
        now = undone if need(undone).within(there) else now
    return now


def _changed(reduced: Reduced, key: str, value: object, same: bool) -> Reduced:
    preset = override(reduced.preset, {key: value}, "--fit")
    before = reduced.same if same else reduced.other
    said = (*(text for text in before if not text.startswith(f"{key}=")), f"{key}={value}")
    if same:
        return dataclasses.replace(reduced, preset=preset, same=said)
    return dataclasses.replace(reduced, preset=preset, other=said)


def _one_at_a_time(reduced: Reduced) -> Iterator[Reduced]:
    if choose_device(reduced.preset.run.device).type == "cpu":
        yield dataclasses.replace(reduced, alone=True)


def _constant_unroll(reduced: Reduced) -> Iterator[Reduced]:
    preset = reduced.preset
    if "dynamic" not in preset.stages or not issubclass(named(preset.dynamic.objective), TrajectoryMatching):
        return
    if preset.dynamic.table("mtt", MttSettings).unroll != "constant":
        yield _changed(reduced, "dynamic.mtt.unroll", "constant", same=True)


def _smaller_batch(reduced: Reduced) -> Iterator[Reduced]:
    return _halved(reduced, "evaluation.batch", reduced.preset.evaluation.batch, LEAST_BATCH)


def _fewer_instances(reduced: Reduced) -> Iterator[Reduced]:
    return _halved(reduced, "synthetic.ipc", reduced.preset.synthetic.ipc)


def _half_floats(reduced: Reduced) -> Iterator[Reduced]:
    if reduced.preset.experts.stored == "float32":
        yield _changed(reduced, "experts.stored", "float16", same=False)


def _fewer_experts(reduced: Reduced) -> Iterator[Reduced]:
    return _halved(reduced, "experts.number", reduced.preset.experts.number)


def _halved(reduced: Reduced, key: str, number: int, least: int = 1) -> Iterator[Reduced]:
    """Yield ``reduced`` with ``number``, the value of ``key``, halved again and again down to ``least``."""
    while number > least:
        number = max(least, number // 2)
        reduced = _changed(reduced, key, number, same=False)
        yield reduced
