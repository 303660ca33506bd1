"""The time of a run that is too large to be rehearsed: how long a clip's pass takes here, times how many will be made.

A few clips go through each network of the preset, with gradients and without. What else a run does, such as reading
clips, encoding and optimising, is small beside the passes of networks so large, and is not counted.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

from engine.config import Preset
from engine.config.counts import (
    baseline_networks,
    budget_networks,
    candidates,
    clips_shown,
    expert_epochs,
    feature_epochs,
)
from engine.config.kinds import CLASS_MEAN, COMPRESSED, KINDS, Kind, is_own
from engine.config.networks import still_network
from engine.config.objectives import Facts, Passes, named
from engine.config.size import plain_bytes, stored_values
from engine.evaluation.judge import precision_of
from engine.models import autocast, choose_device, still_model, video_model
from engine.models.convnet3d import ConvNet3D
from engine.models.registry import sees_stills

CLIPS = 4
"""The clips of a pass that is timed."""
REPEATS = 3
FEATURES = "epochs of the network by whose features real clips are chosen"
CLIP_BYTES = 0.1
"""Bytes of a value of a real clip at the finest H.264 of a baseline, roughly."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The numbers of the data that a plan counts with."""

    classes: int
    frames: int
    side: int
    train: int
    """Training clips, without what is held out."""
    val: int
    """Clips that choose the step; 0 without any."""
    test: int
    largest: int
    """Training clips of the largest class."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """The seconds of one clip, or image, through one network."""

    forward: float
    trained: float
    twice: float
    still: float | None = None
    """The seconds of training on a clip that does not move; None: as on any other."""

    def of(self, passes: Passes) -> float:
        """Return the seconds of ``passes``."""
        return passes.forward * self.forward + passes.trained * self.trained + passes.twice * self.twice


@dataclasses.dataclass(frozen=True)
class Counted:
    """One part of a run: ``number`` units of ``what``, and the seconds of all their passes."""

    stage: str
    number: int
    what: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Units:
    """The seconds of a clip through each network of a preset, by name, and of an image where stage 1 has steps."""

    clips: Mapping[str, Unit]
    images: Unit


def measure(preset: Preset, sizes: Sizes) -> Units:
    """Time the networks of ``preset`` on clips of these sizes, here and now."""
    device = choose_device(preset.run.device)
    precision = precision_of(preset, sizes.classes, sizes.frames, sizes.side, device, None).precision
    shape = (3, sizes.frames, sizes.side, sizes.side)

    def clips(model: str) -> Unit:
        network = video_model(model, sizes.classes, sizes.frames, sizes.side, 0, device)
        twice = model == preset.evaluation.models[0] and _differentiates_twice(preset, "dynamic")
        unit = _unit(network, shape, device, precision, twice)
        if not (_has_stills(preset) and sees_stills(model)):
            return unit
        assert isinstance(network, ConvNet3D)
        see = functools.partial(network.stills, frames=sizes.frames)
        return dataclasses.replace(
            unit, still=_unit(network, (3, sizes.side, sizes.side), device, precision, see=see).trained
        )

    nothing = Unit(0.0, 0.0, 0.0)
    images = nothing
    if "static" in preset.stages and preset.static.steps:
        model = preset.evaluation.models[0]
        network = still_model(still_network(preset), model, sizes.classes, sizes.frames, sizes.side, 0, device)
        images = _unit(network, (3, sizes.side, sizes.side), device, precision, _differentiates_twice(preset, "static"))
    return Units({model: clips(model) for model in preset.evaluation.models}, images)


def _has_stills(preset: Preset) -> bool:
    """Return whether networks are trained on clips that do not move: those of the set, or of one that it contains."""
    return any(_is_still(preset.kind, row) for row in preset.kind.rows(preset))


def _is_still(own: Kind, row: str) -> bool:
    kind = own if is_own(row, own.name) else KINDS.get(row)
    return row == CLASS_MEAN or (kind is not None and kind.still)


def _differentiates_twice(preset: Preset, stage: str) -> bool:
    passes = _passes(preset, stage, 1)
    return stage in preset.stages and passes is not None and passes.twice > 0


def _passes(preset: Preset, stage: str, classes: int) -> Passes | None:
    objective: type[Facts] = named(getattr(preset, stage).objective)
    return objective.passes(preset, stage, classes)


def _unit(
    network: nn.Module,
    shape: tuple[int, ...],
    device: torch.device,
    precision: torch.dtype,
    twice: bool = False,
    see: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Unit:
    """Return the times of a clip, or image, of ``shape``; ``see`` gives logits in another way than ``network`` does."""
    clips = torch.randn(CLIPS, *shape, device=device)
    labels = torch.zeros(CLIPS, dtype=torch.int64, device=device)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        with autocast(device, precision):
            logits = (see or network)(batch)
        return nn.functional.cross_entropy(logits.float(), labels)

    def forward() -> None:
        with torch.no_grad():
            loss(clips)

    def trained() -> None:
        network.zero_grad()
        loss(clips).backward()

    def again() -> None:
        weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(loss(clips.requires_grad_()), weights, create_graph=True)
        torch.autograd.grad(gradients, [clips, *weights], [gradient.detach() for gradient in gradients])

    seconds = [_median(call, device) / CLIPS for call in (forward, trained, *([again] if twice else []))]
    return Unit(seconds[0], seconds[1], seconds[2] if twice else 0.0)


def _median(call: Callable[[], None], device: torch.device) -> float:
    """Return the median seconds of ``call``, after one that is not counted; of a slow one, of a single call."""
    times: list[float] = []
    for number in range(1 + REPEATS):
        began = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
        if number and sum(times) > 5:
            break
    return statistics.median(times[1:])


def reckon(preset: Preset, sizes: Sizes, units: Units) -> list[Counted] | None:
    """Return the parts of a run of ``preset``; None if an objective does not say what its steps do."""
    stages, evaluation = preset.stages, preset.evaluation
    first = units.clips[evaluation.models[0]]
    ipc = preset.synthetic.ipc
    parts: list[Counted] = []

    def trained(instances: int, tested: int, unit: Unit = first, still: bool = preset.kind.still) -> float:
        one = unit.still if still and unit.still is not None else unit.trained
        return clips_shown(evaluation, instances) * one + tested * unit.forward

    own = sizes.classes * ipc
    if networks := budget_networks(preset):
        what = "networks to choose how the budget is spent, at most"
        parts.append(Counted("budget", networks, what, networks * trained(own, sizes.val)))
    if "experts" in stages:
        epochs = expert_epochs(preset)
        parts.append(Counted("experts", epochs, "epochs on all training clips", epochs * sizes.train * first.trained))
    for stage, unit in (("static", units.images), ("dynamic", first)):
        steps = getattr(preset, stage).steps
        if stage not in stages:
            continue
        passes = _passes(preset, stage, sizes.classes)
        if passes is None:
            return None
        parts.append(Counted(stage, steps, "steps", steps * unit.of(passes)))
        section = getattr(preset, stage)
        if fills := named(section.objective).banked_networks(preset, stage):
            clips = getattr(section.settings, "bank_clips", None) or sizes.largest
            frames = getattr(section.settings, "bank_frames", 1)
            seconds = fills * min(sizes.train, sizes.classes * clips) * frames * unit.forward
            parts.append(Counted(stage, fills, "networks of the target bank", seconds))
    if "dynamic" in stages and sizes.val:
        networks = candidates(preset.dynamic) * evaluation.selection_repeats
        seconds = networks * trained(own, sizes.val)
        parts.append(Counted("dynamic", networks, "networks to choose the step", seconds))
    if "select" in stages:
        looked = 0.0 if preset.selection.method == "random" else sizes.train * first.forward
        seconds = feature_epochs(preset, "select") * sizes.train * first.trained + looked
        parts.append(Counted("select", 1, "coreset", seconds))
    if epochs := feature_epochs(preset, "evaluate"):
        parts.append(Counted("evaluate", epochs, FEATURES, epochs * sizes.train * first.trained))
    largest, several = _beside(preset, sizes)
    if several and (networks := baseline_networks(preset)) and sizes.val:
        what = "networks to choose the storage of baselines, at most"
        parts.append(Counted("evaluate", networks, what, networks * trained(largest, sizes.val, still=False)))
    rows = instances_of_rows(preset, sizes)
    networks = len(rows) * len(evaluation.models) * evaluation.repeats
    seconds = sum(
        evaluation.repeats * trained(instances, sizes.test, units.clips[model], _is_still(preset.kind, row))
        for row, instances in zip(preset.kind.rows(preset), rows, strict=True)
        for model in evaluation.models
    )
    return [*parts, Counted("evaluate", networks, "networks for the final table", seconds)]


def instances_of_rows(preset: Preset, sizes: Sizes) -> list[int]:
    """Return the number of clips in an epoch of each row of the final table, about where codecs decide it."""
    own, (largest, _) = sizes.classes * preset.synthetic.ipc, _beside(preset, sizes)
    return [_instances(name, own, largest, sizes) for name in preset.kind.rows(preset)]


def _beside(preset: Preset, sizes: Sizes) -> tuple[int, bool]:
    """Return how many compressed real clips stand beside the set, about, and whether their storage must be chosen.

    Clips of CLIP_BYTES a value, of which as many fit as the set takes; a set that is coded itself has about as many
    bytes as twice its instances. Where the most clips fit at once, there is nothing to choose.
    """
    most = min(preset.evaluation.baseline_clips * preset.synthetic.ipc, sizes.largest)
    values = stored_values(preset.synthetic, sizes.classes, sizes.frames, sizes.side)
    size = plain_bytes(preset, values)
    if size is None:
        return min(most, 2 * preset.synthetic.ipc) * sizes.classes, True
    clip = CLIP_BYTES * 3 * sizes.frames * sizes.side**2
    fitting = int(size / sizes.classes / clip)
    return max(1, min(most, fitting)) * sizes.classes, fitting < most


def _instances(row: str, own: int, largest: int, sizes: Sizes) -> int:
    if row in COMPRESSED:
        return largest
    if row == CLASS_MEAN:
        return sizes.classes
    return sizes.train if row == "full" else own


def total(parts: Iterable[Counted]) -> float:
    """Return the seconds of all ``parts``."""
    return sum(part.seconds for part in parts)
