"""MTT: a wrong loss or gradient here and memories are learned that lead a student somewhere else than the experts."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from engine.config import Preset, load_preset
from engine.errors import DivergedError, PresetError
from engine.machine.process_group import Group
from engine.matching.base import Setting
from engine.matching.experts import FlatParameters, Trajectories
from engine.matching.trajectory import TrajectoryMatching, Window
from engine.matching.unroll import UNROLLS, Student, _stepped, affordable, kept_bytes
from engine.models import Network, video_model
from engine.seeds import generator
from engine.synthetic import Pixels, StaticImages, Temporal
from engine.synthetic.base import SyntheticSet
from tests.tiny import make_real, make_spec, make_static_dynamic

SPEC = make_spec(classes=("a", "b", "c"), frames=2, height=3)
C, CLIP, IMAGE, HIDDEN = 3, 54, 27, 4
BETA = 0.2
KINDS = ("pixels", "few frames", "static-dynamic", "all memories", "images")


class TinyNetwork(Network):
    """logits = w2 dropout(tanh(w1 x + b1)) + b2."""

    def __init__(self, inputs: int = CLIP, dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        for name, shape in {"w1": (HIDDEN, inputs), "b1": (HIDDEN,), "w2": (C, HIDDEN), "b2": (C,)}.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape, dtype=dtype)))
        self.dropout = nn.Dropout(dropout)
        self.largest = 0

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        self.largest = max(self.largest, len(batch))
        return self.dropout(nn.functional.linear(batch.flatten(1), self.w1, self.b1).tanh())

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(self.embed(batch), self.w2, self.b2)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(size: int, seed: int) -> torch.Tensor:
    return 0.4 * random(size, seed=seed)


def make_set(kind: str, ipc: int = 2, dtype: torch.dtype = torch.float64) -> SyntheticSet:
    """A random set, all of whose parameters want a gradient."""
    synthetic: SyntheticSet
    if kind == "images":
        synthetic = StaticImages(SPEC, random(C, ipc, 3, 3, 3).to(dtype))
    elif kind == "pixels":
        synthetic = Pixels(SPEC, random(C, ipc, 2, 3, 3, 3).to(dtype))
    elif kind == "few frames":
        synthetic = Pixels(SPEC, random(C, ipc, 1, 3, 3, 3).to(dtype), temporal=Temporal(2, 1, 1, "duplicate"))
    else:
        made = make_static_dynamic(SPEC, ipc, train_static=kind == "all memories", hallucinators=2)
        made.static, made.dynamic = made.static.to(dtype), made.dynamic.to(dtype)
        made.hallucinator.to(dtype)
        synthetic = made
    for parameter in synthetic.parameters().values():
        parameter.requires_grad_()
    return synthetic


def make_student(synthetic: SyntheticSet, network: Network | None = None, **changes: Any) -> Student:
    network = network or TinyNetwork(IMAGE if isinstance(synthetic, StaticImages) else CLIP)
    given: dict[str, Any] = {
        "step_size": torch.tensor(BETA, dtype=torch.float64, requires_grad=True),
        "steps": 4,
        "seed": 5,
        "precision": torch.float32,
        "batch": None,
        "at_once": 64,
    }
    return Student(synthetic, network.train(), FlatParameters(network), **(given | changes))


def value_and_gradients(student: Student, unroll: str, scale: float = 1.0) -> tuple[float, dict[str, torch.Tensor]]:
    """|theta_N - theta*|^2 from and to random weights, and its gradients by what is learned."""
    size = student.parameters.size
    learned = student.synthetic.parameters() | {"step_size": student.step_size}
    for parameter in learned.values():
        parameter.grad = None
    dtype = next(iter(learned.values())).dtype
    loss = UNROLLS[unroll](student, weights(size, 1).to(dtype), weights(size, 2).to(dtype)) * scale
    loss.backward()
    return loss.item(), {name: cast(torch.Tensor, p.grad).clone() for name, p in learned.items()}


# --- by hand, in float64 ---------------------------------------------------------------------------------------------


def unrolled_by_hand(x: np.ndarray, labels: list[int], beta: float, steps: int, start: np.ndarray) -> np.ndarray:
    """The weights after ``steps`` of gradient descent on the mean cross-entropy, the gradient written out."""
    bounds = np.cumsum([HIDDEN * CLIP, HIDDEN, C * HIDDEN])
    w1, b1, w2, b2 = (part.copy() for part in np.split(start, bounds))
    w1, w2 = w1.reshape(HIDDEN, CLIP), w2.reshape(C, HIDDEN)
    for _ in range(steps):
        gradients = [np.zeros_like(w) for w in (w1, b1, w2, b2)]
        for clip, label in zip(x, labels, strict=True):
            hidden = np.tanh(w1 @ clip + b1)
            logits = w2 @ hidden + b2
            wrong = np.exp(logits) / np.exp(logits).sum() - np.eye(C)[label]
            back = (w2.T @ wrong) * (1 - hidden**2)
            parts = (np.outer(back, clip), back, np.outer(wrong, hidden), wrong)
            for total, part in zip(gradients, parts, strict=True):
                total += part / len(x)
        w1, b1, w2, b2 = (w - beta * g for w, g in zip((w1, b1, w2, b2), gradients, strict=True))
    return np.concatenate([w1.ravel(), b1, w2.ravel(), b2])


def loss_by_hand(pixels: np.ndarray, beta: float, steps: int, start: np.ndarray, target: np.ndarray) -> float:
    """``pixels`` (C, ipc, T, 3, H, W)."""
    clips = np.moveaxis(pixels, 2, 3).reshape(-1, CLIP)
    labels = [c for c in range(C) for _ in range(pixels.shape[1])]
    return float(((unrolled_by_hand(clips, labels, beta, steps, start) - target) ** 2).sum())


@pytest.mark.parametrize("unroll", UNROLLS)
def test_the_loss_and_its_gradients_are_those_of_training_written_out_by_hand(unroll: str) -> None:
    """With a wrong gradient the clips would be moved anywhere but where the loss falls, and nobody would be told."""
    synthetic = cast(Pixels, make_set("pixels"))
    student = make_student(synthetic, steps=3)
    start, target = (weights(student.parameters.size, seed).numpy() for seed in (1, 2))
    value, gradients = value_and_gradients(student, unroll)
    pixels = synthetic.pixels.detach().numpy()

    def by_hand(x: np.ndarray, beta: float) -> float:
        return loss_by_hand(x, beta, 3, start, target)

    assert value == pytest.approx(by_hand(pixels, BETA), rel=1e-12)
    step = 1e-5
    slope = (by_hand(pixels, BETA + step) - by_hand(pixels, BETA - step)) / (2 * step)
    assert gradients["step_size"].item() == pytest.approx(slope, rel=1e-7)
    for place in np.random.default_rng(0).integers(0, pixels.size, 12):
        shift = np.zeros(pixels.size)
        shift[place] = step
        moved = shift.reshape(pixels.shape)
        slope = (by_hand(pixels + moved, BETA) - by_hand(pixels - moved, BETA)) / (2 * step)
        assert gradients["pixels"].flatten()[place].item() == pytest.approx(slope, rel=1e-6, abs=1e-9)


# --- the three unrolls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unroll", ["checkpointed", "constant"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_saving_memory_changes_neither_the_loss_nor_a_gradient(
    kind: str, batch: int | None, dropout: float, unroll: str
) -> None:
    """A user who needs the memory would otherwise get other results than one who has it."""
    synthetic = make_set(kind)
    network = TinyNetwork(IMAGE if kind == "images" else CLIP, dropout)
    student = make_student(synthetic, network, batch=batch, at_once=2)
    wanted, gradients = value_and_gradients(student, "plain", scale=0.7)
    value, found = value_and_gradients(student, unroll, scale=0.7)
    assert value == pytest.approx(wanted, rel=1e-12)
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(found[name], gradient, rtol=1e-8, atol=1e-12)


def test_the_unrolls_agree_for_the_network_that_is_used() -> None:
    """Its convolutions, pooling and dropout have second derivatives of their own, which could be missing or wrong."""
    spec = make_spec(frames=8, height=64)
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 1, 8, 3, 64, 64, generator=rng).requires_grad_()
    synthetic = Pixels(spec, pixels)
    network = video_model("convnet3d", 2, 8, 64, 0, torch.device("cpu")).requires_grad_(False)
    parameters = FlatParameters(network)
    step_size = torch.tensor(0.05, requires_grad=True)
    start = parameters.gather(network)
    target = start + 1e-3 * torch.randn(start.shape, generator=rng)
    found = {}
    for unroll, function in UNROLLS.items():
        pixels.grad = step_size.grad = None
        student = Student(synthetic, network.train(), parameters, step_size, 2, 3, torch.float32, None, 64)
        loss = function(student, start, target)
        loss.backward()
        assert pixels.grad is not None and step_size.grad is not None
        found[unroll] = loss.item(), pixels.grad.clone(), step_size.grad.clone()
    wanted, by_pixels, by_step_size = found["plain"]
    assert by_pixels.norm() > 0
    for unroll in ("checkpointed", "constant"):
        value, gradient, slope = found[unroll]
        assert value == pytest.approx(wanted, rel=1e-5)
        assert (gradient - by_pixels).norm() <= 1e-4 * by_pixels.norm(), unroll
        assert slope.item() == pytest.approx(by_step_size.item(), rel=1e-4)


def test_constant_keeps_nothing_of_the_unroll() -> None:
    """It is there for what does not fit otherwise: a loss that still held the graph would not fit either."""
    synthetic = make_set("all memories", ipc=3)
    student = make_student(synthetic, at_once=2)
    size = student.parameters.size
    loss = UNROLLS["constant"](student, weights(size, 1), weights(size, 2))
    assert loss.grad_fn is not None
    behind = [node for node, _ in loss.grad_fn.next_functions if node is not None]
    assert len(behind) == len(synthetic.parameters()) + 1
    assert all(type(node).__name__ == "AccumulateGrad" for node in behind)
    assert cast(TinyNetwork, student.network).largest == 2


@pytest.mark.parametrize("unroll", UNROLLS)
def test_what_is_not_learned_gets_no_gradient(unroll: str) -> None:
    """The static memory of stage 2 is frozen; a gradient for it would be time and memory for nothing."""
    synthetic = make_set("static-dynamic")
    value_and_gradients(make_student(synthetic), unroll)
    assert synthetic.tensors()["static"].grad is None


def test_pieces_of_a_batch_add_up_to_it() -> None:
    """How many clips fit into a pass must not decide what is learned."""
    synthetic = make_set("pixels", ipc=3)
    wanted, gradients = value_and_gradients(make_student(synthetic, at_once=9), "plain")
    value, found = value_and_gradients(make_student(synthetic, at_once=4), "plain")
    assert value == pytest.approx(wanted, rel=1e-12)
    torch.testing.assert_close(found["pixels"], gradients["pixels"], rtol=1e-9, atol=1e-14)


def test_soft_labels_are_what_the_student_learns() -> None:
    """A set that has them would otherwise be taken for one with hard labels."""
    synthetic = make_set("pixels", ipc=1)
    hard, _ = value_and_gradients(make_student(synthetic), "plain")
    synthetic.soft_labels = torch.eye(C, dtype=torch.float64).unsqueeze(1)
    same, _ = value_and_gradients(make_student(synthetic), "constant")
    synthetic.soft_labels = torch.full((C, 1, C), 1 / C, dtype=torch.float64)
    soft, _ = value_and_gradients(make_student(synthetic), "constant")
    assert same == pytest.approx(hard, rel=1e-12)
    assert soft != pytest.approx(hard, rel=1e-3)


# --- what a student meets --------------------------------------------------------------------------------------------


def test_every_instance_has_its_turn_before_any_has_two() -> None:
    """Instances that are drawn too rarely would be learned less than others."""
    synthetic = make_set("static-dynamic", ipc=3)  # 9 instances in batches of 4: three steps are a round
    student = make_student(synthetic, batch=4)
    rounds = []
    for first in (0, 3, 6):
        steps = [list(student.passes(i)) for i in range(first, first + 3)]
        assert [sum(len(p.labels) for p in passes) for passes in steps] == [4, 4, 1]
        assert all(sum(p.share for p in passes) == pytest.approx(1) for passes in steps)
        pairs = [pair for passes in steps for p in passes for pair in zip(p.labels, p.choice, strict=True)]
        instances = [(int(label), int(choice) // synthetic.variants) for label, choice in pairs]
        assert sorted(instances) == [(c, j) for c in range(3) for j in range(3)]
        rounds.append((instances, [int(choice) % synthetic.variants for _, choice in sorted(pairs)]))
    orders, variants = zip(*rounds, strict=True)
    assert orders[0] != orders[1] != orders[2]
    assert variants[0] != variants[1] != variants[2]


def test_all_variants_of_an_instance_are_shown() -> None:
    """Pairs of memories that a student never sees would not be learned."""
    synthetic = make_set("static-dynamic", ipc=1)
    student = make_student(synthetic)
    seen = {int(choice) for i in range(200) for drawn in student.passes(i) for choice in drawn.choice}
    assert seen == set(range(synthetic.variants))


def test_masks_differ_between_steps_and_leave_other_random_numbers_alone() -> None:
    """One mask for all steps would train one half of the network; a moved global generator would spoil a resume."""
    student = make_student(make_set("pixels"), TinyNetwork(dropout=0.5), at_once=2)
    seeds = [drawn.dropout for i in range(5) for drawn in student.passes(i)]
    assert len(seeds) == len(set(seeds)) == 15
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    with_dropout, _ = value_and_gradients(student, "constant")
    assert torch.equal(torch.rand(1), wanted)
    without, _ = value_and_gradients(make_student(make_set("pixels"), at_once=2), "constant")
    assert with_dropout != pytest.approx(without, rel=1e-5)


@pytest.mark.parametrize("unroll", UNROLLS)
def test_bfloat16_passes_leave_float32_gradients(unroll: str) -> None:
    """On a GPU the default is bfloat16; the step of the weights must not be rounded to it."""
    synthetic = make_set("static-dynamic", dtype=torch.float32)
    network, step_size = TinyNetwork(dtype=torch.float32), torch.tensor(BETA, requires_grad=True)
    made = {
        precision: value_and_gradients(
            make_student(synthetic, network, precision=precision, step_size=step_size), unroll
        )
        for precision in (torch.float32, torch.bfloat16)
    }
    (wanted, gradients), (value, found) = made.values()
    assert value == pytest.approx(wanted, rel=1e-2) and value != wanted
    for name, gradient in gradients.items():
        assert found[name].dtype == torch.float32
        assert (found[name] - gradient).norm() < 0.1 * gradient.norm(), name


# --- the objective ---------------------------------------------------------------------------------------------------


class FakeTrajectories:
    """Random weights for every expert and epoch."""

    def __init__(self, size: int, moves: bool = True) -> None:
        self.size = size
        self.moves = moves
        self.drawn: list[tuple[int, int]] = []

    def weights(self, expert: int, epoch: int) -> torch.Tensor:
        return weights(self.size, 100 * expert + (epoch if self.moves else 0)).float()

    def draw(self, rng: torch.Generator, starts: range, expert_epochs: int) -> tuple[torch.Tensor, torch.Tensor]:
        expert = int(torch.randint(5, (), generator=rng))
        epoch = starts[int(torch.randint(len(starts), (), generator=rng))]
        self.drawn.append((expert, epoch))
        return self.weights(expert, epoch), self.weights(expert, epoch + expert_epochs)


SIZE = HIDDEN * CLIP + HIDDEN + C * HIDDEN + C


def make_objective(
    trajectories: FakeTrajectories | None = None, group: Group | None = None, seed: int = 0, **table: Any
) -> TrajectoryMatching:
    def new_network(number: int) -> Network:
        return TinyNetwork(dtype=torch.float32)

    setting = Setting(
        make_real(SPEC, [2, 2, 2]),
        new_network,
        seed,
        group=group or Group(),
        trajectories=cast(Trajectories, trajectories or FakeTrajectories(SIZE)),
    )
    return TrajectoryMatching(setting, **({"syn_steps": 3, "step_size": BETA} | table))


def test_the_loss_is_relative_to_how_far_the_expert_went() -> None:
    """Otherwise the experts' first epochs, in which they go far, would be all that counts."""
    trajectories = FakeTrajectories(SIZE)
    objective = make_objective(trajectories, expert_epochs=2, max_start_epoch=4)
    synthetic = cast(Pixels, make_set("pixels", dtype=torch.float32))
    loss = objective.loss(synthetic, 7)
    (expert, epoch), pixels = trajectories.drawn[-1], synthetic.pixels.detach().double().numpy()
    start, target = (trajectories.weights(expert, e).double().numpy() for e in (epoch, epoch + 2))
    wanted = loss_by_hand(pixels, BETA, 3, start, target) / ((start - target) ** 2).sum()
    assert loss.item() == pytest.approx(wanted, rel=1e-5)


def test_every_start_epoch_and_expert_is_drawn_and_a_step_always_draws_the_same() -> None:
    """Experts that are never drawn were trained for nothing; a step that drew anew could not be resumed."""
    trajectories = FakeTrajectories(SIZE)
    objective, synthetic = (
        make_objective(trajectories, max_start_epoch=4, syn_steps=1),
        make_set("pixels", 1, torch.float32),
    )
    first = [objective.loss(synthetic, step).item() for step in range(120)]
    assert set(trajectories.drawn) == {(expert, epoch) for expert in range(5) for epoch in range(4)}
    again = make_objective(max_start_epoch=4, syn_steps=1)
    assert [again.loss(synthetic, step).item() for step in range(100, 120)] == first[100:]
    other = make_objective(max_start_epoch=4, syn_steps=1, seed=1)
    assert other.loss(synthetic, 100).item() != first[100]


@pytest.mark.parametrize(
    ("window", "bounds"),
    [
        (Window(1, 6, 3, 8), [3, 3, 4, 4, 5, 5, 6, 6]),
        (Window(0, 4, 2, 7), [2, 2, 2, 3, 3, 4, 4]),
        (Window(2, 5, 5, 3), [5, 5, 5]),
        (Window(0, 4, 1, 2), [1, 3]),
        (Window(0, 10), [10, 10, 10]),
    ],
)
def test_the_window_of_start_epochs_grows_from_the_first_bound_to_the_last(window: Window, bounds: list[int]) -> None:
    """DATM: each bound for an equal part of the steps; asked at any step alone, as a resumed run does."""
    assert [window.at(step) for step in range(len(bounds))] == [range(window.low, bound) for bound in bounds]
    assert window.at(len(bounds) - 1) == range(window.low, bounds[-1])


def test_a_growing_window_starts_with_easy_epochs() -> None:
    """The keys of the preset are what is drawn by; and without them draws are those of all epochs, as they were."""
    synthetic = make_set("pixels", 1, torch.float32)

    def drawn(**table: int) -> list[int]:
        trajectories = FakeTrajectories(SIZE)
        keys = {"syn_steps": 1, "max_start_epoch": 6, "unroll": "plain", **table}
        preset = Preset.model_validate({"dynamic": {"objective": "mtt", "steps": 90, "mtt": keys}})
        setting = Setting(
            make_real(SPEC, [2, 2, 2]),
            lambda number: TinyNetwork(dtype=torch.float32),
            0,
            trajectories=cast(Trajectories, trajectories),
        )
        objective = TrajectoryMatching.for_clips(preset, setting)
        for step in range(90):
            objective.loss(synthetic, step)
        return [epoch for _, epoch in trajectories.drawn]

    epochs = drawn(min_start_epoch=1, first_max_start_epoch=4)
    assert [set(epochs[first : first + 30]) for first in (0, 30, 60)] == [{1, 2, 3}, {1, 2, 3, 4}, {1, 2, 3, 4, 5}]
    assert set(drawn()) == set(range(6)) and set(drawn(min_start_epoch=4)) == {4, 5}


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"min_start_epoch": 10}, "dynamic.mtt.min_start_epoch = 10 is not below dynamic.mtt.max_start_epoch = 10"),
        ({"first_max_start_epoch": 11}, "dynamic.mtt.first_max_start_epoch = 11 is above dynamic.mtt.max_start_epoch"),
        (
            {"min_start_epoch": 3, "first_max_start_epoch": 2},
            "dynamic.mtt.min_start_epoch = 3 is not below dynamic.mtt.first_max_start_epoch = 2",
        ),
    ],
)
def test_a_window_without_epochs_is_refused(table: dict[str, int], problem: str) -> None:
    """Before anything starts, with the keys as they are to be changed."""
    with pytest.raises(PresetError) as caught:
        load_preset("default", {f"dynamic.mtt.{key}": value for key, value in table.items()})
    assert problem in caught.value.problem and "\n" not in caught.value.problem


@pytest.mark.parametrize("unroll", UNROLLS)
def test_processes_share_the_experts_of_a_step(unroll: str) -> None:
    """With several GPUs the loss must be the one of a single one: the mean over all experts of the step."""
    synthetic = make_set("static-dynamic", dtype=torch.float32)
    whole = list(make_objective(experts_per_step=5, unroll=unroll).losses(synthetic, 2))
    assert len(whole) == 5
    shares = []
    for rank in range(3):
        shared = make_objective(group=Group(rank, 3), experts_per_step=5, unroll=unroll)
        shares.append([part.item() for part in shared.losses(synthetic, 2)])
    assert [len(share) for share in shares] == [2, 2, 1]
    assert sorted(itertools.chain(*shares)) == sorted(part.item() for part in whole)
    assert len({part.item() for part in whole}) > 1
    single = make_objective(unroll=unroll)
    assert single.loss(synthetic, 2).item() == pytest.approx(5 * whole[0].item())


def test_learning_by_it_brings_the_student_to_the_experts() -> None:
    """The whole point: with the memories and the step size that are learned, the student arrives."""
    trajectories = FakeTrajectories(SIZE)
    trajectories.weights = lambda expert, epoch: 0.3 * random(SIZE, seed=0).float() + epoch * 0.02  # type: ignore[method-assign]
    objective = make_objective(trajectories, max_start_epoch=1, lr_step_size=1e-3, unroll="constant")
    synthetic = make_set("pixels", 1, torch.float32)
    learned = synthetic.parameters() | objective.parameters()
    rates = {"pixels": 0.05} | objective.rates()
    optimiser = torch.optim.Adam([{"params": [tensor], "lr": rates[name]} for name, tensor in learned.items()])
    losses = []
    for step in range(80):
        optimiser.zero_grad()
        for part in objective.losses(synthetic, step):
            part.backward()
            losses.append(part.item())
        optimiser.step()
        objective.after_step(synthetic, step)
    assert losses[-1] < 0.5 * losses[0]
    assert objective.figures()["step_size"] != pytest.approx(BETA, rel=1e-3)


def test_an_expert_that_stands_still_is_reported() -> None:
    """The loss would be a division by zero, and all memories NaN."""
    objective = make_objective(FakeTrajectories(SIZE, moves=False), expert_epochs=3)
    with pytest.raises(DivergedError) as caught:
        objective.loss(make_set("pixels", dtype=torch.float32), 4)
    assert "step 4" in caught.value.problem and "3 epochs" in caught.value.problem and "experts.lr" in caught.value.hint


def test_the_table_of_the_preset_is_what_is_used() -> None:
    """A key that did nothing would be a promise that nobody keeps."""
    table = {"syn_steps": 2, "max_start_epoch": 3, "step_size": 0.5, "lr_step_size": 1e-3, "unroll": "constant"}
    preset = Preset.model_validate({"dynamic": {"objective": "mtt", "mtt": table | {"momentum_step_size": 0.9}}})
    setting = Setting(
        make_real(SPEC, [2, 2, 2]),
        lambda number: TinyNetwork(dtype=torch.float32),
        0,
        trajectories=cast(Trajectories, FakeTrajectories(SIZE)),
    )
    objective = TrajectoryMatching.for_clips(preset, setting)
    assert objective.rates() == {"step_size": 1e-3} and objective.momenta() == {"step_size": 0.9}
    assert objective.figures() == {"step_size": 0.5}
    synthetic = make_set("pixels", dtype=torch.float32)
    wanted = make_objective(**table).loss(synthetic, 3)
    assert objective.loss(synthetic, 3).item() == wanted.item()


# --- unroll = auto ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pixels", "static-dynamic"])
@pytest.mark.parametrize("at_once", [64, 2])
def test_what_an_unroll_keeps_is_what_torch_s_profiler_sees(kind: str, at_once: int) -> None:
    """A run that takes the wrong one for its machine ends without memory, or takes twice the time for nothing."""
    spec = make_spec(frames=8, height=64)
    pixels = Pixels(spec, torch.randn(2, 3, 8, 3, 64, 64))
    synthetic = pixels if kind == "pixels" else make_static_dynamic(spec, 3)
    for parameter in synthetic.parameters().values():
        parameter.requires_grad_()
    network = video_model("convnet3d", 2, 8, 64, 0, torch.device("cpu")).requires_grad_(False)
    student = make_student(synthetic, network, steps=5, at_once=at_once, step_size=torch.tensor(0.1).requires_grad_())
    theta = student.parameters.gather(network).requires_grad_()

    def grown(build: Callable[[], object]) -> int:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            built = build()
        assert built is not None
        return sum(event.self_cpu_memory_usage for event in seen.key_averages())

    def a_pass() -> torch.Tensor:
        loss = student.cross_entropy(next(student.passes(0)), theta)
        return torch.autograd.grad(loss, theta, create_graph=True)[0]

    step, one = grown(lambda: _stepped(student, 0, theta)), grown(a_pass) - theta.nbytes
    weights = 5 * theta.nbytes
    expected = {"plain": 5 * step, "checkpointed": step + weights, "constant": one + weights}
    assert kept_bytes(student) == pytest.approx(expected, rel=1e-3)


def test_measuring_leaves_nothing_behind() -> None:
    """Neither memory, which a graph that holds itself would keep for good, nor another random state."""
    student = make_student(make_set("all memories"), TinyNetwork(dropout=0.5))
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    gc.collect()
    gc.disable()
    try:
        before = [kept_bytes(student), sum(type(thing) is torch.Tensor for thing in gc.get_objects())]
        after = [kept_bytes(student), sum(type(thing) is torch.Tensor for thing in gc.get_objects())]
    finally:
        gc.enable()
    assert before == after and torch.equal(torch.rand(1), wanted)
    assert all(parameter.grad is None for parameter in student.synthetic.parameters().values())


def test_what_is_kept_grows_with_the_student_s_steps_and_its_batch() -> None:
    """A set of ten times the clips must not be taken for a small one because a pass of it is measured."""

    def kept(**changes: Any) -> dict[str, int]:
        return kept_bytes(make_student(make_set("pixels", ipc=8), **changes))

    one, vector = kept(at_once=4, steps=1), 8 * SIZE
    more = kept(at_once=4, steps=3)
    assert more["plain"] == 3 * one["plain"]
    assert more["checkpointed"] - one["checkpointed"] == more["constant"] - one["constant"] == 2 * vector
    graph = one["constant"] - vector
    assert one["plain"] == one["checkpointed"] - vector == 6 * graph + 2 * vector  # 24 clips in six passes
    assert kept(at_once=4, steps=1, batch=12)["plain"] == 3 * graph + 2 * vector


@pytest.mark.parametrize(
    ("free", "chosen"),
    [
        (0, "checkpointed"),
        (1, "constant"),
        (599, "constant"),
        (600, "checkpointed"),
        (1999, "checkpointed"),
        (2000, "plain"),
    ],
)
def test_the_first_that_fits_into_half_of_what_is_free(free: int, chosen: str) -> None:
    """What is not known (0) is no reason to keep everything; where nothing fits, the least is all that can be tried."""
    assert affordable({"plain": 1000, "checkpointed": 300, "constant": 200}, free) == chosen


FREE = {"plain": 10**12, "checkpointed": 0, "constant": 1}
"""Bytes with which ``auto`` chooses each."""


@pytest.mark.parametrize("unroll", UNROLLS)
def test_auto_is_the_unroll_that_it_chooses_for_the_whole_run(unroll: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They differ in rounding: a resumed run that found other memory free would not be the one that was stopped."""
    synthetic = make_set("static-dynamic", dtype=torch.float32)
    wanted = make_objective(unroll=unroll).loss(synthetic, 2)
    expected = torch.autograd.grad(wanted, synthetic.parameters().values())
    monkeypatch.setattr("engine.data.batches.free_bytes", lambda device: FREE[unroll])
    objective = make_objective(unroll="auto")
    (told,) = objective.begin(synthetic)
    assert f"chose {unroll}" in told and "dynamic.mtt.unroll" in told and objective.begin(synthetic) == []
    assert make_objective(unroll=unroll).begin(synthetic) == []
    stored = {name: torch.from_numpy(value.numpy().copy()) for name, value in objective.state().items()}
    for other, free in FREE.items():
        monkeypatch.setattr("engine.data.batches.free_bytes", lambda device, free=free: free)
        resumed = make_objective(unroll="auto")
        resumed.load_state(stored)
        assert resumed.begin(synthetic) == [], other
        loss = resumed.loss(synthetic, 2)
        assert loss.item() == wanted.item()
        for mine, own in zip(torch.autograd.grad(loss, synthetic.parameters().values()), expected, strict=True):
            assert torch.equal(mine, own), other


class Led(Group):
    """A process that is told, question by question, what the leader has chosen."""

    def __init__(self, leaders: str) -> None:
        super().__init__(1, 2)
        object.__setattr__(self, "answers", iter([name == leaders for name in UNROLLS]))

    def agree(self, value: bool, device: torch.device) -> bool:
        return next(self.answers)  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("leaders", UNROLLS)
def test_all_processes_take_the_leader_s(leaders: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One GPU that has less free would otherwise learn, by rounding, from other gradients than the rest."""
    monkeypatch.setattr("engine.data.batches.free_bytes", lambda device: 10**12)
    (told,) = make_objective(group=Led(leaders), unroll="auto").begin(make_set("pixels", dtype=torch.float32))
    assert f"chose {leaders}" in told


def test_auto_is_what_a_preset_that_says_nothing_has() -> None:
    """MTT at IPC 50 would otherwise end without memory on every machine."""
    assert Preset().dynamic.mtt.unroll == "auto"


# --- the step size ---------------------------------------------------------------------------------------------------


def set_to(objective: TrajectoryMatching, value: float) -> None:
    with torch.no_grad():
        objective.parameters()["step_size"].fill_(value)


@pytest.mark.parametrize(("value", "kept"), [(0.5, 0.5), (-3.0, 1e-3), (0.0, 1e-3), (10.0, 10.0)])
def test_the_step_size_is_kept_positive(value: float, kept: float) -> None:
    """A negative one would train the student backwards."""
    objective = make_objective()
    set_to(objective, value)
    objective.after_step(make_set("pixels"), 0)
    assert objective.figures()["step_size"] == pytest.approx(kept)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 10.1])
def test_a_step_size_that_runs_away_stops_the_run(value: float) -> None:
    """Networks that users train with it would all be NaN, hours later."""
    objective = make_objective()
    set_to(objective, value)
    with pytest.raises(DivergedError) as caught:
        objective.after_step(make_set("pixels"), 12)
    assert "step 12" in caught.value.problem and "lr_step_size" in caught.value.hint


def test_a_resumed_step_size_is_the_one_that_was_stored() -> None:
    """And it stays the tensor that the optimiser holds, or it would never be learned again."""
    objective, other = make_objective(), make_objective()
    set_to(objective, 0.0625)
    tensor = other.parameters()["step_size"]
    other.load_state({name: value.clone() for name, value in objective.state().items()})
    assert other.parameters()["step_size"] is tensor and tensor.item() == 0.0625 and tensor.requires_grad
    synthetic = make_set("pixels", dtype=torch.float32)
    assert other.loss(synthetic, 1).item() == objective.loss(synthetic, 1).item()


def test_the_student_trains_from_the_experts_weights_not_from_its_own() -> None:
    """A student of other weights than the expert's would have another way to go."""

    def made(new_network: Callable[[int], Network]) -> float:
        setting = Setting(
            make_real(SPEC, [2, 2, 2]), new_network, 0, trajectories=cast(Trajectories, FakeTrajectories(SIZE))
        )
        return TrajectoryMatching(setting, syn_steps=2).loss(make_set("pixels", dtype=torch.float32), 0).item()

    def filled(number: int) -> Network:
        network = TinyNetwork(dtype=torch.float32)
        for parameter in network.parameters():
            nn.init.normal_(parameter, generator=generator(0, "other"))
        return network

    assert made(filled) == made(lambda number: TinyNetwork(dtype=torch.float32))
