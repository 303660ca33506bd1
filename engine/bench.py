"""The speed of the parts on this device, each beside its floor, measured in one run.

Absolute times say little on a shared machine; a ratio of two things timed in turn does. The floor of a network pass
is its arithmetic at the rate of a large matrix product; the floor of a distillation step is the bare network passes
that it cannot do without. Distribution matching and evaluation also stand beside the loops that one would write first,
with plain modules in float32: a class after the other with 64 real clips each, a network after the other.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from engine.data.batches import RealClips
from engine.data.spec import ClipSpec
from engine.evaluation import Recipe, Request, Trainers, TrialCache, train_network
from engine.matching import Setting
from engine.matching.bank import Schedule, TargetBank
from engine.matching.distribution import DistributionMatching
from engine.matching.experts import FlatParameters
from engine.matching.unroll import UNROLLS, Student
from engine.models import Hallucinator, autocast, choose_device, choose_precision, video_model
from engine.models.convnet3d import ConvNet3D, forward_flops
from engine.models.repeated import CudaGraph, Recorder
from engine.synthetic import Pixels, StaticDynamic, StillVideo
from engine.synthetic.levels import decoded
from engine.synthetic.streams import Coding
from engine.timings import FEWEST, Measurement, Timings

CLASSES, FRAMES, SIZE = 8, 8, 64
EVALUATED, NETWORKS = 3, 3
"""Epochs and networks of the evaluation that is timed; as many networks as a row of the final table has."""
RECORDED_EPOCHS, RECORDED_STEPS = 40, 20
"""Epochs of networks and steps of stage 2 where some are recorded, which costs a few of them."""
LOOP = "not a floor: a loop over classes in float32"
"""The reference of distribution matching: one class is timed, and taken times their number."""
BATCH_REAL = 8
"""The demo's stage 2: real clips per class and step."""
BANK_RENEWED, BANK_CLIPS, LOOP_BATCH_REAL = 10, 16, 64
"""Steps between two renewals of the target bank of `default`, its clips of each class, and those of plain DM."""
SECONDS = 50.0
"""The time of all measurements where nobody says another one; what they do besides comes on top."""
SECONDS_TO_COMPARE = 400.0
"""The same where timings are compared: on two cores enough for FEWEST of the slowest part."""
STORED_AS = "h264-35"
"""The storage of `default`."""
SYN_STEPS = 10
"""Student steps of MTT, as published."""


def _spec(classes: int) -> ClipSpec:
    """Return a spec of classes named by their numbers, with clips of the size that is measured at."""
    return ClipSpec(tuple(map(str, range(classes))), FRAMES, SIZE, SIZE, (0.5,) * 3, (0.25,) * 3)


class _Clips:
    """Random clips in memory, with the interface that ``RealClips`` needs of a split."""

    identity = "bench"

    def __init__(self, per_class: int, classes: int) -> None:
        shape = (classes * per_class, FRAMES, SIZE, SIZE, 3)
        self._clips = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        self.labels = np.repeat(np.arange(classes), per_class)
        self.video = np.arange(len(self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def clips(self, indices: np.ndarray) -> np.ndarray:
        return self._clips[indices]


@dataclasses.dataclass(frozen=True)
class _Timed:
    """A part that is measured if there is time for it."""

    name: str
    measure: Callable[[torch.device, torch.dtype, int], Measurement]
    cost: float
    """The cost of one time, with what stands beside it, in training steps of ``CLASSES`` clips, as counted."""
    start: float = 0.0
    """The seconds in which its processes start."""


def bench(
    device_name: str = "auto",
    repeats: int = 5,
    seconds: float = SECONDS,
    tell: Callable[[str], None] = lambda text: None,
) -> Timings:
    """Measure the parts, each in turn with its floor, at most ``repeats`` times (MTT at most FEWEST times).

    Parts for which ``seconds`` leave no time are left out; the others are measured as often as there is time for all
    of them. ``tell`` gets a line on each as it begins, or is left out.
    """
    began = time.monotonic()
    device = choose_device(device_name)
    precision = choose_precision("auto", device)
    tell("passes of a network")
    measured = _network_passes(device, precision, repeats)
    step = measured[1].seconds
    start = 10.0 if device.type == "cpu" else 0.0
    parts = [
        _Timed("a step of stage 2", _dm_step, 7.5),
        _Timed("an evaluation beside a plain loop", _evaluation, 20, start),
        _Timed("training on stills beside clips", _stills, 1.5 * EVALUATED),
        _Timed("the target bank beside a plain loop", _dm_bank, 20),
        _Timed("a step of stage 2 that learns through storage", _dm_through, 5),
        _Timed("a step of stage 2 beside a plain loop", _dm_loop, 25),
        _Timed("a step of trajectory matching", _mtt_step, 60),
    ]
    if device.type == "cuda":
        parts += [
            _Timed("networks in turn beside one alone", _in_turn, 4 * RECORDED_EPOCHS),
            _Timed("a recorded step of stage 2 beside a plain one", _dm_recorded, 4 * RECORDED_STEPS),
        ]
    ahead = []
    left = seconds - (time.monotonic() - began)
    for part in parts:
        once = part.start + 2 * part.cost * step  # the first time is the warm-up
        if once <= left:
            ahead.append(part)
            left -= once
        else:
            tell(f"left out for want of time: {part.name}, about {once:.0f} s")
    while ahead:
        left = seconds - (time.monotonic() - began) - sum(part.start for part in ahead)
        times = int(left / step / sum(part.cost for part in ahead)) - 1
        part = ahead.pop(0)
        tell(part.name)
        measured.append(part.measure(device, precision, max(1, min(repeats, times))))
    return Timings(_device_name(device), torch.get_num_threads(), torch.__version__, tuple(measured))


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def conclusions(measured: Sequence[Measurement]) -> list[str]:
    """Return what a user may conclude from the passes in ``measured``, as sentences; rough, since it is of passes."""
    forward, step = (one.seconds / CLASSES for one in measured[:2])
    shape = f"{FRAMES} x {SIZE} x {SIZE}"
    network = 500 * 10 * step + 1000 * forward
    larger = forward_flops(16, 112) / forward_flops(FRAMES, SIZE)
    matching = 10 * (64 * forward + step)
    return [
        f"An evaluation of 5 networks takes about {_words(5 * network)} here: 500 epochs of 10 clips of {shape} each,"
        " and a test on 1,000.",
        f"1,000 steps of distribution matching take about {_words(1000 * matching)}: 10 classes, 64 real clips of each;"
        f" with a target bank about {_words(1000 * 10 * step)} and its filling.",
        f"Clips of 16 x 112 x 112 take {larger:.0f} times as long."
        " `vdtui plan --preset NAME --data FILE.h5` tells what a run takes.",
    ]


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _network_passes(device: torch.device, precision: torch.dtype, repeats: int) -> list[Measurement]:
    side = 2048
    matrix = torch.randn(side, side, device=device, dtype=precision)
    network = video_model("convnet3d", CLASSES, FRAMES, SIZE, 0, device)
    clips = torch.randn(CLASSES, 3, FRAMES, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last_3d)
    labels = torch.arange(CLASSES, device=device)
    flops = CLASSES * forward_flops(FRAMES, SIZE, CLASSES)

    @torch.no_grad()
    def product() -> None:
        matrix @ matrix

    def forward() -> None:
        with torch.no_grad(), autocast(device, precision):
            network(clips)

    def train() -> None:
        network.zero_grad()
        with autocast(device, precision):
            logits = network(clips)
        nn.functional.cross_entropy(logits.float(), labels).backward()

    floor = f"its arithmetic at the rate of a {side} x {side} matrix product"
    shape = f"{CLASSES} clips of {FRAMES} x {SIZE} x {SIZE}"
    return [
        _pairs(f"ConvNet3D forward, {shape}", floor, forward, product, repeats, device, flops / (2 * side**3)),
        _pairs(f"ConvNet3D training step, {shape}", floor, train, product, repeats, device, 3 * flops / (2 * side**3)),
    ]


def _dm_step(device: torch.device, precision: torch.dtype, repeats: int) -> Measurement:
    step, _ = _matching(device, precision, CLASSES, BATCH_REAL)
    network = video_model("convnet3d", CLASSES, FRAMES, SIZE, 0, device).requires_grad_(False)
    clips = torch.randn(CLASSES * BATCH_REAL, 3, FRAMES, SIZE, SIZE, device=device)
    clips = clips.contiguous(memory_format=torch.channels_last_3d)
    learned = clips[:CLASSES].clone(memory_format=torch.preserve_format).requires_grad_()

    def passes() -> None:
        with torch.no_grad(), autocast(device, precision):
            network.embed(clips)
        with autocast(device, precision):
            embedded = network.embed(learned)
        embedded.float().square().sum().backward()

    floor = f"bare passes: {len(clips)} clips forward, {CLASSES} forward and backward"
    return _pairs("stage 2, one DM step of the demo", floor, step, passes, repeats, device, 1.0)


def _dm_loop(device: torch.device, precision: torch.dtype, repeats: int) -> Measurement:
    """Measure a DM step beside as much work in a plain loop."""
    step, synthetic = _matching(device, precision, CLASSES, LOOP_BATCH_REAL)
    part = f"stage 2, one DM step of {CLASSES} classes, {LOOP_BATCH_REAL} real clips each"
    return _pairs(part, LOOP, step, _plain_class(synthetic, device), repeats, device, float(CLASSES))


def _dm_bank(device: torch.device, precision: torch.dtype, repeats: int) -> Measurement:
    """Measure the target bank of `default` between two renewals, beside as many steps of a plain loop without one."""
    # Two members do: how many there are decides which networks are met, not how often targets are computed.
    banked, synthetic = _matching(device, precision, CLASSES, BANK_CLIPS, bank=(2, BANK_RENEWED, BANK_CLIPS))

    def renewal() -> None:
        for _ in range(BANK_RENEWED):
            banked()

    part = f"stage 2, {BANK_RENEWED} DM steps with the target bank, its filling ({BANK_CLIPS} clips a class) included"
    floor = f"{LOOP}, {LOOP_BATCH_REAL} real clips a class"
    plain = _plain_class(synthetic, device)
    return _pairs(part, floor, renewal, plain, repeats, device, float(BANK_RENEWED * CLASSES))


def _plain_class(synthetic: StaticDynamic, device: torch.device) -> Callable[[], None]:
    """Return the part of a plain DM step that is of one class: a loop over classes takes so long for each of them."""
    clips = torch.randn(LOOP_BATCH_REAL, 3, FRAMES, SIZE, SIZE, device=device)
    network = ConvNet3D(CLASSES, FRAMES, SIZE).to(device).requires_grad_(False)

    def one_class() -> None:
        for tensor in synthetic.parameters().values():
            tensor.grad = None
        with torch.no_grad():
            target = network.embed(clips).mean(0)
        clip, _ = synthetic.sample(torch.Generator().manual_seed(0), [0])
        (network.embed(clip.contiguous()).mean(0) - target).square().sum().backward()

    return one_class


def _dm_through(device: torch.device, precision: torch.dtype, repeats: int) -> Measurement:
    """Measure a DM step with the target bank whose memories are stored and decoded first, beside the step alone."""
    # One member, which the warm-up fills: a second one would be filled in the middle of what is timed.
    step, synthetic = _matching(device, precision, CLASSES, BATCH_REAL, bank=(1, 10**6, BANK_CLIPS))
    how = Coding.parse(STORED_AS)
    pictures = [part for part in synthetic.description.parts if part.channels]

    def through() -> None:
        for part in pictures:
            memory = synthetic.tensors()[part.name].detach()
            decoded(part, memory.cpu(), synthetic.spec, how, range(memory.shape[0] * memory.shape[1]))
        step()

    part = f"stage 2, one DM step with the target bank, learning through {STORED_AS}"
    return _pairs(part, "not a floor: the step alone, nothing encoded", through, step, repeats, device, 1.0)


def _matching(
    device: torch.device,
    precision: torch.dtype,
    classes: int,
    batch_real: int,
    bank: tuple[int, int, int] | None = None,
    record: Recorder | None = None,
) -> tuple[Callable[[], None], StaticDynamic]:
    """Return a DM step of a static-dynamic set, and the set; ``bank``: members, steps between renewals, clips."""
    spec = _spec(classes)
    real = RealClips(_Clips(max(4 * BATCH_REAL, batch_real), classes), spec, device)  # type: ignore[arg-type]
    static = torch.randn(classes, 2, 3, SIZE, SIZE, device=device)
    dynamic = torch.randn(classes, 2, FRAMES, 1, SIZE, SIZE, device=device)
    synthetic = StaticDynamic(spec, 1, static, dynamic, Hallucinator.identity(spec.std).to(device))
    parameters = [tensor.requires_grad_() for tensor in synthetic.parameters().values()]
    networks = partial(video_model, "convnet3d", classes, FRAMES, SIZE, device=device)
    setting = Setting(real, networks, 0, precision, record=record)
    targets = None if bank is None else TargetBank(setting, Schedule(0, *bank[:2]), bank[2])
    objective = DistributionMatching(setting, batch_real, bank=targets)
    optimiser = torch.optim.SGD(parameters, 1e-3, momentum=0.95)
    numbers = itertools.count()

    def step() -> None:
        optimiser.zero_grad()
        for part in objective.losses(synthetic, next(numbers)):
            part.backward()
        optimiser.step()

    return step, synthetic


def _mtt_step(device: torch.device, precision: torch.dtype, repeats: int) -> Measurement:
    """Measure a plain MTT step of SYN_STEPS student steps, beside the bare passes of as many steps."""
    spec = _spec(CLASSES)
    pixels = Pixels(spec, torch.randn(CLASSES, 1, FRAMES, 3, SIZE, SIZE, device=device).requires_grad_())
    network = video_model("convnet3d", CLASSES, FRAMES, SIZE, 0, device).requires_grad_(False).train()
    flat = FlatParameters(network)
    start = flat.gather(network)
    rate = torch.tensor(0.01, device=device, requires_grad=True)
    student = Student(pixels, network, flat, rate, SYN_STEPS, seed=0, precision=precision, batch=None, at_once=CLASSES)
    bare = video_model("convnet3d", CLASSES, FRAMES, SIZE, 0, device).train()
    clips, labels = torch.randn(CLASSES, 3, FRAMES, SIZE, SIZE, device=device), torch.arange(CLASSES, device=device)
    clips = clips.contiguous(memory_format=torch.channels_last_3d).requires_grad_()

    def step() -> None:
        UNROLLS["plain"](student, start, start + 1e-3).backward()

    def passes() -> None:
        weights = list(bare.parameters())
        for _ in range(SYN_STEPS):
            with autocast(device, precision):
                logits = bare(clips)
            loss = nn.functional.cross_entropy(logits.float(), labels)
            gradients = torch.autograd.grad(loss, weights, create_graph=True)
            torch.autograd.grad(gradients, [clips, *weights], [gradient.detach() for gradient in gradients])

    part = f"stage 2, one MTT step of {SYN_STEPS} student steps on {CLASSES} clips"
    floor = "bare forward, backward and double backward passes"
    return _pairs(part, floor, step, passes, min(repeats, FEWEST), device, 1.0)


def _evaluation(device: torch.device, precision: torch.dtype, repeats: int) -> Measurement:
    """Measure an evaluation of EVALUATED epochs beside a plain loop, once for each network.

    The processes that train (``engine.evaluation.trainers``) are started before, as in a run of many evaluations.
    """
    spec = _spec(CLASSES)
    test = RealClips(_Clips(2, CLASSES), spec, device)  # type: ignore[arg-type]
    rng = torch.Generator().manual_seed(0)
    static = torch.randn(CLASSES, 2, 3, SIZE, SIZE, generator=rng).to(device)
    dynamic = torch.randn(CLASSES, 2, FRAMES, 1, SIZE, SIZE, generator=rng).to(device)
    synthetic = StaticDynamic(spec, 1, static, dynamic, Hallucinator.identity(spec.std).to(device))
    recipe = Recipe("convnet3d", EVALUATED, 0.01, 0.9, 5e-4, 256, precision)

    seeds = itertools.count()

    def ours() -> None:
        requests = (Request(lambda: synthetic, test, recipe, next(seeds), cache) for _ in range(NETWORKS))
        list(trainers.trials(requests, NETWORKS))

    def loop() -> None:
        network = ConvNet3D(CLASSES, FRAMES, SIZE).to(device)
        optimiser = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
        for epoch in range(EVALUATED):
            with torch.no_grad():
                clips, labels = synthetic.sample(torch.Generator().manual_seed(epoch), range(CLASSES))
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(clips.contiguous()), labels).backward()
            optimiser.step()
        network.eval()
        with torch.no_grad():
            for clips, _ in test.batches(CLASSES):
                network(clips.contiguous()).argmax(1)

    floor = "not a floor: one network after another in a plain loop, in float32"
    part = f"evaluation: {NETWORKS} networks, {EVALUATED} epochs of {CLASSES} clips, {len(test)} test clips"
    with tempfile.TemporaryDirectory() as folder, Trainers(device) as trainers:
        cache = TrialCache(Path(folder), "bench")
        return _pairs(part, floor, ours, loop, repeats, device, float(NETWORKS))


def _in_turn(device: torch.device, precision: torch.dtype, repeats: int, record: Recorder = CudaGraph) -> Measurement:
    """Measure NETWORKS networks with `run.cuda_graphs`, beside one of them alone and without."""
    test = RealClips(_Clips(2, CLASSES), _spec(CLASSES), device)  # type: ignore[arg-type]
    synthetic = Pixels(_spec(CLASSES), torch.randn(CLASSES, 1, FRAMES, 3, SIZE, SIZE, device=device))
    recipe = Recipe("convnet3d", RECORDED_EPOCHS, 0.003, 0.9, 5e-4, 256, precision)
    seeds = itertools.count()

    def trained(networks: int, record: Recorder | None) -> None:
        with tempfile.TemporaryDirectory() as folder, Trainers(device, record) as trainers:
            cache = TrialCache(Path(folder), "bench")
            requests = (Request(lambda: synthetic, test, recipe, next(seeds), cache) for _ in range(networks))
            list(trainers.trials(requests, networks))

    part = f"evaluation: {NETWORKS} networks in turn by CUDA graphs, {RECORDED_EPOCHS} epochs of {CLASSES} clips"
    floor = "not a floor: one network, without"
    return _pairs(part, floor, lambda: trained(NETWORKS, record), lambda: trained(1, None), repeats, device, 1.0)


def _dm_recorded(
    device: torch.device, precision: torch.dtype, repeats: int, record: Recorder = CudaGraph
) -> Measurement:
    """Measure DM steps with the target bank and `run.cuda_graphs`, beside the same without."""
    bank = (1, 10**6, BANK_CLIPS)
    plain, _ = _matching(device, precision, CLASSES, BATCH_REAL, bank=bank)
    recorded, _ = _matching(device, precision, CLASSES, BATCH_REAL, bank=bank, record=record)

    def steps(step: Callable[[], None]) -> None:
        for _ in range(RECORDED_STEPS):
            step()

    part = f"stage 2, {RECORDED_STEPS} DM steps with the target bank by CUDA graphs"
    floor = "not a floor: the same without"
    return _pairs(part, floor, lambda: steps(recorded), lambda: steps(plain), repeats, device, 1.0)


def _stills(device: torch.device, precision: torch.dtype, repeats: int) -> Measurement:
    """Measure the training of a network on stills, beside the same on as many clips that move."""
    spec = _spec(CLASSES)
    static = torch.randn(CLASSES, 1, 3, SIZE, SIZE, device=device)
    moving = Pixels(spec, torch.randn(CLASSES, 1, FRAMES, 3, SIZE, SIZE, device=device))
    recipe = Recipe("convnet3d", EVALUATED, 0.003, 0.9, 5e-4, 256, precision)
    still = StillVideo(spec, 1, static)
    part = f"training a network, {EVALUATED} epochs of {CLASSES} stills shown as clips"
    floor = "not a floor: as many clips that move"
    return _pairs(
        part,
        floor,
        lambda: train_network(still, recipe, 0),
        lambda: train_network(moving, recipe, 0),
        repeats,
        device,
        1.0,
    )


def _pairs(
    part: str,
    floor: str,
    run: Callable[[], object],
    reference: Callable[[], object],
    repeats: int,
    device: torch.device,
    scale: float,
) -> Measurement:
    run()
    reference()  # warm-up: kernels are chosen and memory is taken at the first call
    pairs = [(_seconds(run, device), scale * _seconds(reference, device)) for _ in range(repeats)]
    ratios = tuple(seconds / floor_seconds for seconds, floor_seconds in pairs)
    return Measurement(
        part,
        floor,
        statistics.median(seconds for seconds, _ in pairs),
        statistics.median(floor_seconds for _, floor_seconds in pairs),
        statistics.median(ratios),
        ratios,
    )


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
