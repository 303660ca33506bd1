"""Networks that a GPU trains in turn, by recorded steps. There is no GPU here: the record of a step is a list of the
operations that it made, traced and repeated on a CPU, where it must give the bits of plain training; and a device
without content stands in for one that must not be waited for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from engine.config import load_preset
from engine.data.batches import RealClips
from engine.errors import RunError, UsageError
from engine.evaluation import QueueState, Recipe, Request, Trainers, TrialCache
from engine.evaluation.judge import Judge
from engine.evaluation.protocols import PROTOCOLS
from engine.evaluation.training import carried_out, fitting
from engine.evaluation.trials import train_trial
from engine.matching.bank import Schedule, TargetBank
from engine.matching.base import Setting
from engine.matching.distribution import DistributionMatching
from engine.models.precision import Chance
from engine.models.registry import VIDEO_MODELS, video_model
from engine.models.repeated import WARM_UP, Compute, CudaGraph, Repeated, Tensors
from engine.synthetic import SyntheticSet
from engine.synthetic.still import StillVideo
from tests.tiny import FakeView, make_pixels, make_spec, make_static_dynamic
from tests.traced import Traced

CPU, META = torch.device("cpu"), torch.device("meta")
SPEC = make_spec(("still", "moving"), frames=8, height=64)
RECIPE = Recipe("convnet3d_small", WARM_UP + 2, 0.01, 0.9, 5e-4, 3)


@pytest.fixture(autouse=True)
def records() -> list[Traced]:
    Traced.made = []
    return Traced.made


def make_test() -> RealClips:
    return RealClips(cast(Any, FakeView(make_pixels(6, SPEC), [0, 1] * 3)), SPEC, CPU)


def still() -> SyntheticSet:
    return StillVideo(SPEC, 2, torch.randn(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))


def weights(network: nn.Module) -> list[torch.Tensor]:
    return list(network.state_dict().values())


class Normalised(nn.Module):
    """A network with statistics of its batches, and chance of its own."""

    def __init__(self, classes: int, frames: int, size: int) -> None:
        super().__init__()
        self.norm, self.drop, self.logits = nn.BatchNorm3d(3), nn.Dropout(0.3), nn.Linear(3, classes)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.logits(self.drop(self.norm(clips).relu().mean((2, 3, 4))))


@pytest.mark.parametrize("how", ["plain", "stills", "strong", "norm"])
def test_recorded_steps_train_the_very_network_that_plain_ones_do(
    how: str, monkeypatch: pytest.MonkeyPatch, records: list[Traced]
) -> None:
    """To the bit, with dropout, changing rates and a smaller last batch, of which there are records of their own."""
    data = still() if how == "stills" else make_static_dynamic(SPEC, ipc=2, seed=7)
    recipe = RECIPE
    if how == "strong":
        recipe = dataclasses.replace(recipe, protocol=PROTOCOLS["strict-strong"], lr=1e-3)
    if how == "norm":
        monkeypatch.setitem(VIDEO_MODELS, "norm", Normalised)
        recipe = dataclasses.replace(recipe, model="norm")
    plain = carried_out(fitting(data, recipe, 3))
    recorded = carried_out(fitting(data, recipe, 3, record=Traced))
    assert all(map(torch.equal, weights(plain.network), weights(recorded.network))) and plain.loss == recorded.loss
    assert [record.times for record in records] == 2 * [recipe.epochs - WARM_UP]
    start = video_model(recipe.model, 2, 8, 64, 0, CPU)
    assert not torch.equal(weights(start)[0], weights(plain.network)[0])


def test_networks_that_take_turns_have_the_trials_of_networks_alone(tmp_path: Path, records: list[Traced]) -> None:
    """Two at a time of four, one of them known; in the order of the requests, each kept as soon as it is there."""
    data, told = make_static_dynamic(SPEC, seed=7), list[QueueState]()
    alone = [train_trial(data, make_test(), RECIPE, seed) for seed in range(4)]

    def requests() -> list[Request]:
        # The second one is over first.
        recipes = [dataclasses.replace(RECIPE, epochs=2 if seed == 1 else RECIPE.epochs) for seed in range(4)]
        return [
            Request(lambda: data, make_test(), recipe, seed, TrialCache(tmp_path, "x"))
            for seed, recipe in enumerate(recipes)
        ]

    short = train_trial(data, make_test(), dataclasses.replace(RECIPE, epochs=2), 1)
    expected = [short if trial.seed == 1 else trial for trial in alone]
    with Trainers(CPU, Traced) as trainers:
        first = next(trainers.trials(requests()[2:3], 2))
        state = torch.get_rng_state()
        trials = list(trainers.trials(requests(), 2, told.append))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.outcome == alone[2].outcome and len(list(tmp_path.glob("x-*.json"))) == 4
    for trial, own in zip(trials, expected, strict=True):
        assert dataclasses.replace(trial, seconds=0) == dataclasses.replace(own, seconds=0)
    assert trials[2].seconds == first.seconds, "it was known"
    assert max(len(state.now) for state in told) == 2 and [told[-1].finished, told[-1].known] == [4, 1]
    assert len(records) == 3, "the short one is over before there is anything to repeat"


def test_what_watches_may_stop_networks_in_turn(tmp_path: Path) -> None:
    def watch(state: QueueState) -> None:
        if state.networks > 0.5:
            raise RunError("stop", "")

    data = make_static_dynamic(SPEC, seed=7)
    requests = [Request(lambda: data, make_test(), RECIPE, seed, TrialCache(tmp_path, "x")) for seed in range(2)]
    with pytest.raises(RunError, match="stop"), Trainers(CPU, Traced) as trainers:
        list(trainers.trials(requests, 2, watch))


def test_graphs_are_for_those_who_want_them_on_a_gpu(tmp_path: Path) -> None:
    preset, cuda = load_preset("default", ["run.cuda_graphs=true"]), torch.device("cuda")

    def record(preset: Any, device: torch.device) -> object:
        real = RealClips(cast(Any, FakeView(make_pixels(6, SPEC), [0, 1] * 3)), SPEC, device)
        return Judge.of(preset, real, torch.float32, tmp_path).record

    assert record(preset, cuda) is CudaGraph
    assert record(preset, CPU) is record(load_preset("default"), cuda) is None


def test_a_step_that_cannot_be_recorded_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a network of somebody's own reads from the device; but memory that is short is told as such."""

    def capture(error: Exception) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
        monkeypatch.setattr(torch.cuda, "graph", fail)
        CudaGraph(lambda x: (x,), (torch.zeros(1),))

    with pytest.raises(UsageError, match=r"CUDA graph: operation not permitted$") as raised:
        capture(RuntimeError("operation not permitted\nwhen stream is capturing"))
    assert "run.cuda_graphs=false" in raised.value.hint
    with pytest.raises(torch.OutOfMemoryError):
        capture(torch.OutOfMemoryError("CUDA out of memory"))


def test_a_record_repeats_what_was_given_and_not_what_was_there() -> None:
    """A value that is read from outside while recording stays what it was: what changes must be given."""
    rate, calls = [1.0], []

    class Spy(Traced):
        def __init__(self, compute: Compute, given: Tensors) -> None:
            calls.append(given[0].shape)
            super().__init__(compute, given)

    repeated = Repeated(lambda x: (x * rate[0], None), Spy)
    for _ in range(WARM_UP + 1):
        found, nothing = repeated(torch.ones(2))
    rate[0] = 5.0
    again, _ = repeated(torch.full((2,), 3.0))
    assert found is not None and again is not None and nothing is None
    assert found.tolist() == [1.0, 1.0] and again.tolist() == [3.0, 3.0] and calls == [torch.Size([2])]
    assert repeated(torch.ones(3))[0].tolist() == [5.0] * 3  # type: ignore[union-attr]


def test_chance_goes_on_where_it_was_left() -> None:
    torch.manual_seed(1)
    expected = torch.rand(4)
    chance = Chance(1, CPU)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    with chance.taken():
        first = torch.rand(2)
    with chance.taken():
        second = torch.rand(2)
    assert torch.equal(torch.cat([first, second]), expected) and torch.equal(torch.get_rng_state(), before)


# --- nothing waits for the device ------------------------------------------------------------------------------------


class Waits(TorchFunctionMode):
    """What is copied from the host to ``META`` so that the host waits. A reading from there raises by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        made = func(*args, **given)
        on_host = bool(args) and isinstance(args[0], torch.Tensor) and args[0].device == CPU
        arrives = isinstance(made, torch.Tensor) and made.device == META
        if func is torch.Tensor.to and on_host and arrives and not given.get("non_blocking"):
            self.found.append("to")
        if func is torch.tensor and arrives:
            self.found.append("tensor")
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and args[0].device == META:
            places = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(one, list) or (isinstance(one, torch.Tensor) and one.device == CPU) for one in places):
                self.found.append("index")
        return made


def on_meta(data: SyntheticSet) -> SyntheticSet:
    tensors = {name: tensor.to(META) for name, tensor in data.tensors().items()}
    return type(data).build(data.spec, data.ipc, tensors, data.metadata())


def real_on_meta() -> RealClips:
    real = RealClips(cast(Any, FakeView(make_pixels(6, SPEC), [0, 1] * 3)), SPEC, META)
    real.resident = torch.zeros(6, 8, 64, 64, 3, dtype=torch.uint8, device=META)
    return real


def test_the_stand_in_for_a_device_sees_who_waits() -> None:
    with Waits() as waits:
        there = torch.zeros(2).to(META)
        torch.tensor([1.0], device=META)
        there[[0, 1]]
        there[torch.tensor([0])] = 1.0
        torch.zeros(3).to(META, non_blocking=True)
        with pytest.raises((RuntimeError, NotImplementedError)):
            there.sum().item()
    assert waits.found == ["to", "tensor", "index", "index"]


@pytest.mark.parametrize("protocol", ["strict", "strict-strong", "vdsd"])
@pytest.mark.parametrize("what", ["set", "stills", "real"])
def test_no_training_step_waits_for_the_device(what: str, protocol: str) -> None:
    data = real_on_meta() if what == "real" else on_meta(still() if what == "stills" else make_static_dynamic(SPEC))
    recipe = dataclasses.replace(RECIPE, protocol=PROTOCOLS[protocol], batch=2, epochs=9)
    work = fitting(data, recipe, 0)
    for _ in range(2):  # constants come to the device once
        next(work)
    with Waits() as waits:
        for _ in range(4):
            next(work)
    assert not waits.found


@pytest.mark.parametrize("banked", [False, True])
def test_a_matching_step_waits_for_the_device_only_to_read(banked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it reads is whether all means are equal; nothing that goes there is waited for."""
    monkeypatch.setattr("engine.matching.class_means._Spread.check", lambda self, step: None)
    real, synthetic = real_on_meta(), on_meta(make_static_dynamic(SPEC))
    for tensor in synthetic.parameters().values():
        tensor.requires_grad_()
    network = video_model("convnet3d_small", 2, 8, 64, 0, META)
    setting = Setting(real, lambda step: network, 0)
    bank = TargetBank(setting, Schedule(0, 1), 2) if banked else None
    objective = DistributionMatching(setting, 2, bank=bank)
    with Waits() as waits:
        for step in range(2):
            for part in objective.losses(synthetic, step):
                part.backward()
    assert not waits.found
