"""FRePo: a wrong value, gradient or label here and memories are learned for another regression than the one meant."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engine.config import Preset
from engine.data.batches import RealClips
from engine.errors import DataError, DivergedError
from engine.machine.process_group import Group
from engine.matching.base import Setting
from engine.matching.kernel import (
    KernelRegression,
    centred_one_hot,
    label_margin,
    online_batch,
    real_batch,
    ridge_regression,
    ridge_solve,
    start_labels,
)
from engine.models import Network, video_model
from engine.seeds import generator
from engine.synthetic import Pixels, StaticDynamic, StaticImages
from engine.synthetic.base import SyntheticSet
from tests.tiny import compose_by_hand, make_real, make_spec, make_static_dynamic, normalised
from tests.turns import in_turns

SPEC = make_spec(classes=("a", "b", "c"), frames=2, height=3)
CLIP, IMAGE, HIDDEN = 54, 27, 5
C = 3
RIDGE = 0.01
Weights = dict[str, np.ndarray]


def weights_of(number: int, inputs: int = CLIP) -> Weights:
    rng = np.random.default_rng(3000 + number)
    return {
        "w1": rng.normal(size=(HIDDEN, inputs)) / np.sqrt(inputs),
        "b1": rng.normal(size=HIDDEN) / 5,
        "w2": rng.normal(size=(C, HIDDEN)) / 2,
        "b2": rng.normal(size=C) / 5,
    }


class TinyNetwork(Network):
    """embed = dropout(tanh(w1 x + b1)), logits = w2 embed + b2, its weights from numpy."""

    def __init__(self, number: int, inputs: int = CLIP, dropout: float = 0.0) -> None:
        super().__init__()
        for name, value in weights_of(number, inputs).items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value).float()))
        self.dropout = nn.Dropout(dropout)
        self.largest = 0

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        self.largest = max(self.largest, len(batch))
        return self.dropout(nn.functional.linear(batch.flatten(1), self.w1, self.b1).tanh())

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(self.embed(batch), self.w2, self.b2)


def make(real: RealClips, new_network: Callable[[int], Network] = TinyNetwork, seed: int = 0, **table: object):
    setting = Setting(real, new_network, seed)
    return KernelRegression(setting, **({"pool": 1, "ridge": RIDGE} | table))  # type: ignore[arg-type]


def soft_labels(ipc: int, seed: int = 7) -> torch.Tensor:
    return start_labels(C, ipc) + 0.3 * torch.randn(C, ipc, C, generator=torch.Generator().manual_seed(seed))


def make_pixels(ipc: int = 1, seed: int = 0) -> Pixels:
    rng = torch.Generator().manual_seed(seed)
    return Pixels(SPEC, torch.randn(C, ipc, SPEC.frames, 3, SPEC.height, SPEC.width, generator=rng))


def make_set(kind: str, ipc: int, labels: bool = True) -> SyntheticSet:
    """A set that has one clip per instance, so that what a draw gives is known."""
    synthetic: SyntheticSet
    synthetic = make_pixels(ipc) if kind == "pixels" else make_static_dynamic(SPEC, ipc, statics=1, dynamics=1)
    if labels:
        synthetic.soft_labels = soft_labels(ipc)
    return synthetic


# --- by hand, in float64 ---------------------------------------------------------------------------------------------


def phi_by_hand(weights: Weights, x: np.ndarray) -> np.ndarray:
    return np.tanh(x.reshape(len(x), -1) @ weights["w1"].T + weights["b1"])


def margin_by_hand(labels: np.ndarray) -> float:
    margins = []
    for row in labels:
        first, second = sorted(row, reverse=True)[:2]
        margins.append(min(first - second, 1 / len(row)))
    return sum(margins) / len(margins)


def loss_by_hand(
    weights: Weights, x_s: np.ndarray, y_s: np.ndarray, x_t: np.ndarray, labels: np.ndarray, ridge: float = RIDGE
) -> tuple[float, float]:
    """The regression's error, and the label margin's term."""
    phi_s, phi_t = phi_by_hand(weights, x_s), phi_by_hand(weights, x_t)
    kernel, number = phi_s @ phi_s.T, len(phi_s)
    alpha = np.linalg.solve(kernel + ridge * np.trace(kernel) / number * np.eye(number), y_s)
    error = 0.0
    for phi, label in zip(phi_t, labels, strict=True):
        for c, predicted in enumerate((phi @ phi_s.T) @ alpha):
            error += (predicted - (float(c == label) - 1 / C)) ** 2
    return error / len(labels), -margin_by_hand(y_s)


def real_by_hand(real: RealClips) -> tuple[np.ndarray, np.ndarray]:
    return normalised(real.view.pixels, SPEC), np.asarray(real.view.labels)


def arrays_of(synthetic: SyntheticSet) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy().astype(np.float64) for name, tensor in synthetic.tensors().items()}


def clips_by_hand(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Clips (n, 3, T, H, W) of a set with one clip per instance."""
    if "pixels" in arrays:
        return arrays["pixels"].swapaxes(2, 3).reshape(-1, 3, SPEC.frames, SPEC.height, SPEC.width)
    pairs = itertools.chain(*(zip(s, d, strict=True) for s, d in zip(arrays["static"], arrays["dynamic"], strict=True)))
    weight, bias = arrays["hallucinator.weight"], arrays["hallucinator.bias"]
    return np.stack([compose_by_hand(s, d[:, 0], weight, bias) for s, d in pairs])


def labels_by_hand(synthetic: SyntheticSet) -> np.ndarray:
    assert synthetic.soft_labels is not None
    return synthetic.soft_labels.detach().numpy().astype(np.float64).reshape(-1, C)


@pytest.fixture
def real() -> RealClips:
    return make_real(SPEC, (3, 4, 5))


@pytest.mark.parametrize("kind", ["pixels", "static-dynamic"])
@pytest.mark.parametrize("ipc", [1, 2, 3, 10])
def test_the_loss_is_the_equation_s(real: RealClips, kind: str, ipc: int) -> None:
    """Against numpy's solve in float64: squared error to centred one-hot labels, less the margin of the labels."""
    synthetic = make_set(kind, ipc)
    x_s, y_s = clips_by_hand(arrays_of(synthetic)), labels_by_hand(synthetic)
    expected = loss_by_hand(weights_of(0), x_s, y_s, *real_by_hand(real))
    objective = make(real, batch_real=512)
    assert objective.loss(synthetic, 3).item() == pytest.approx(sum(expected), rel=2e-4)
    assert objective.figures()["label_margin"] == pytest.approx(-expected[1], rel=1e-5)


@pytest.mark.parametrize("at_once", [2, 64])
@pytest.mark.parametrize("kind", ["pixels", "static-dynamic"])
def test_the_gradient_is_that_of_the_equation(real: RealClips, kind: str, at_once: int) -> None:
    """What moves memories and labels, through the inverse and through the two passes, against finite differences."""
    synthetic = make_set(kind, ipc=2)
    learned = synthetic.parameters() | {"soft_labels": synthetic.soft_labels}
    for tensor in learned.values():
        tensor.requires_grad_()
    for part in make(real, at_once=at_once).losses(synthetic, 0):
        part.backward()
    arrays, labels = arrays_of(synthetic), labels_by_hand(synthetic)
    arrays["soft_labels"] = labels

    def value() -> float:
        return sum(loss_by_hand(weights_of(0), clips_by_hand(arrays), labels, *real_by_hand(real)))

    checked = 0
    for name, tensor in learned.items():
        gradient, flat = tensor.grad.reshape(-1), arrays[name].reshape(-1)
        for index in range(0, len(flat), max(1, len(flat) // 12)):
            before, values = flat[index], []
            for change in (1e-5, -1e-5):
                flat[index] = before + change
                values.append(value())
            flat[index] = before
            expected = (values[0] - values[1]) / 2e-5
            assert gradient[index].item() == pytest.approx(expected, rel=2e-3, abs=2e-5), f"{name}[{index}]"
            checked += abs(expected) > 1e-3
    assert checked > 10


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 7, 64])
def test_parts_have_the_gradient_of_one_graph(real: RealClips, at_once: int) -> None:
    """Memory is bounded by passes over parts: they must neither lose nor double what ties the clips together."""
    synthetic = make_static_dynamic(SPEC, ipc=2, statics=2, dynamics=2)
    synthetic.soft_labels = soft_labels(2)
    learned = [*synthetic.parameters().values(), synthetic.soft_labels]
    for tensor in learned:
        tensor.requires_grad_()
    found = [part.detach() for part in backward_of(make(real, at_once=at_once).losses(synthetic, 5))]
    gradients = [tensor.grad for tensor in learned]

    drawn = synthetic.draw(generator(0, "frepo-synthetic", 5))
    network = TinyNetwork(0).double()
    phi_s, phi_t = network.embed(drawn.clips.double()), network.embed(real.clips(torch.arange(len(real))).double())
    kernel = phi_s @ phi_s.T
    inverse = torch.linalg.inv(kernel + RIDGE * kernel.trace() / len(kernel) * torch.eye(len(kernel)))
    errors = phi_t @ phi_s.T @ inverse @ drawn.targets.double() - (nn.functional.one_hot(real.labels, C) - 1 / C)
    first, second = drawn.targets.double().topk(2, dim=1).values.T
    loss = errors.square().sum() / len(real) - torch.minimum(first - second, torch.tensor(1 / C)).mean()
    expected = torch.autograd.grad(loss, learned)
    assert found[0].item() == pytest.approx(loss.item(), rel=1e-5) and all(part == 0 for part in found[1:])
    assert len(found) == (6 if at_once == 1 else -(-3 // (at_once // 2)))
    for mine, other in zip(gradients, expected, strict=True):
        assert mine is not None and torch.allclose(mine, other, rtol=1e-3, atol=1e-6)


def backward_of(losses: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    kept = []
    for part in losses:
        part.backward()
        kept.append(part)
    return kept


@pytest.mark.parametrize("ipc", [2, 5, 9])
def test_a_large_set_is_embedded_in_parts(real: RealClips, ipc: int) -> None:
    """``at_once`` is what keeps a set of many clips, and the real batch, inside the memory of a GPU.

    Also where a single class has more clips.
    """
    networks: list[TinyNetwork] = []

    def new_network(number: int) -> TinyNetwork:
        networks.append(TinyNetwork(number))
        return networks[-1]

    synthetic, objective = make_set("pixels", ipc), make(real, new_network, at_once=4)
    objective.loss(synthetic, 0)
    objective.after_step(synthetic, 0)
    assert [network.largest for network in networks] == [4]


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "ipc"), [(2, 1), (3, 2), (10, 3), (50, 1)])
def test_labels_start_as_published(classes: int, ipc: int) -> None:
    """(one-hot - 1/C) / sqrt(C/10): learned labels that begin elsewhere are not the published method's."""
    labels = start_labels(classes, ipc)
    assert labels.dtype == torch.float32 and labels.shape == (classes, ipc, classes)
    for c, j, k in itertools.product(range(classes), range(ipc), range(classes)):
        assert labels[c, j, k].item() == pytest.approx((float(c == k) - 1 / classes) / np.sqrt(classes / 10), rel=1e-5)


def test_real_labels_are_centred() -> None:
    """The targets of the regression are not scaled as the start labels are."""
    found = centred_one_hot(torch.tensor([1, 0]), 4)
    assert found.tolist() == [[-0.25, 0.75, -0.25, -0.25], [0.75, -0.25, -0.25, -0.25]]


def test_the_margin_by_hand() -> None:
    """Labels that say no class are pulled to one; those that do, by 1/C or more, are left alone."""
    labels = torch.tensor([[0.5, 0.4, -1.0, 0.0], [0.0, 2.0, 1.0, 0.0], [0.3, 0.3, 0.1, 0.0]], requires_grad=True)
    margin = label_margin(labels)
    margin.backward()
    assert margin.item() == pytest.approx((0.1 + 0.25 + 0.0) / 3)
    assert labels.grad is not None
    assert labels.grad[0].tolist() == pytest.approx([1 / 3, -1 / 3, 0, 0]) and not labels.grad[1].any()
    assert sorted(labels.grad[2].tolist()) == pytest.approx([-1 / 3, 0, 0, 1 / 3])


@pytest.mark.parametrize("ipc", [1, 2])
def test_a_set_without_learned_labels_has_those_of_the_start_and_no_margin(real: RealClips, ipc: int) -> None:
    """`labels = hard` with frepo is regression from fixed labels: nothing of them is learned, nor counted."""
    synthetic = make_set("pixels", ipc, labels=False)
    y_s = start_labels(C, ipc).numpy().astype(np.float64).reshape(-1, C)
    expected, _ = loss_by_hand(weights_of(0), clips_by_hand(arrays_of(synthetic)), y_s, *real_by_hand(real))
    objective = make(real)
    assert objective.figures() == {}
    synthetic.parameters()["pixels"].requires_grad_()
    backward_of(objective.losses(synthetic, 0))
    assert objective.loss(synthetic, 0).item() == pytest.approx(expected, rel=2e-4)
    assert objective.figures() == {"online_age": 0.0}


def test_fixed_soft_labels_need_no_gradient(real: RealClips) -> None:
    """Labels of a loaded set are kept as they are where only the clips are learned, and the other way round."""
    for learned in ("pixels", "soft_labels"):
        synthetic = make_set("pixels", ipc=2)
        tensors = {"pixels": synthetic.parameters()["pixels"], "soft_labels": synthetic.soft_labels}
        tensors[learned].requires_grad_()
        backward_of(make(real, at_once=2).losses(synthetic, 0))
        assert {name for name, tensor in tensors.items() if tensor.grad is not None} == {learned}
        assert bool(tensors[learned].grad.flatten(2).any(2).all())


# --- the regression --------------------------------------------------------------------------------------------------


@given(st.integers(1, 8), st.integers(0, 10**6))
def test_what_was_fitted_is_predicted_exactly(number: int, seed: int) -> None:
    """With the real batch the synthetic set itself and a ridge that vanishes, each clip gets its own label."""
    rng = np.random.default_rng(seed)
    phi, labels = rng.normal(size=(number, number + 4)), rng.normal(size=(number, C))
    found = ridge_regression(torch.tensor(phi), torch.tensor(labels), torch.tensor(phi), ridge=1e-14)
    assert found.numpy() == pytest.approx(labels, abs=1e-8)


def test_a_set_that_is_the_real_data_leaves_no_error(real: RealClips) -> None:
    """The whole objective, with the real clips as pixels and their labels: nothing is left to learn."""
    three = make_real(SPEC, (2, 2, 2))
    clips, labels = real_by_hand(three)
    own = np.stack([clips[labels == c] for c in range(C)]).swapaxes(2, 3)
    synthetic = Pixels(SPEC, torch.tensor(own).float().contiguous())
    synthetic.soft_labels = start_labels(C, 2) * (C / 10) ** 0.5
    loss = make(three, WideNetwork, ridge=1e-12).loss(synthetic, 0).item()
    assert loss == pytest.approx(-1 / C, abs=1e-5)  # only the margin's term, at its largest


class WideNetwork(TinyNetwork):
    """More features than clips."""

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.cat([batch.flatten(1), super().embed(batch)], dim=1)


@given(
    number=st.integers(1, 12),
    features=st.integers(1, 6),
    copies=st.integers(0, 4),
    scale=st.floats(-15, 15),
    ridge=st.sampled_from([1e-30, 1e-18, 1e-12, 1e-6, 1e-2, 1.0, 100.0]),
    seed=st.integers(0, 10**6),
)
def test_singular_kernels_of_any_size_have_finite_predictions_and_gradients(
    number: int, features: int, copies: int, scale: float, ridge: float, seed: int
) -> None:
    """Equal clips, more clips than features, dark or glaring networks, a ridge of nothing: no NaN in the memories."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(number, features)) * 10**scale
    phi_s = torch.tensor(np.concatenate([rows, rows[rng.integers(number, size=copies)]])).requires_grad_()
    y_s = torch.tensor(rng.normal(size=(len(phi_s), C))).requires_grad_()
    phi_t = torch.tensor(rng.normal(size=(5, features)) * 10**scale)
    ridge_regression(phi_s, y_s, phi_t, ridge).square().sum().backward()
    assert phi_s.grad is not None and y_s.grad is not None
    # float32, as the memories are
    assert bool(torch.isfinite(phi_s.grad.float()).all()) and bool(torch.isfinite(y_s.grad.float()).all())


@given(st.integers(1, 10), st.integers(1, 10), st.sampled_from([1e-6, 1e-3, 1.0]), st.integers(0, 10**6))
def test_the_solve_is_the_ridge_regression_of_weights(number: int, features: int, ridge: float, seed: int) -> None:
    """The kernel's form against the other one, over features: W = (Phi^T Phi + lambda I)^-1 Phi^T y."""
    rng = np.random.default_rng(seed)
    phi, labels, other = rng.normal(size=(number, features)), rng.normal(size=(number, C)), rng.normal(size=features)
    penalty = ridge * (phi**2).sum() / number
    weights = np.linalg.solve(phi.T @ phi + penalty * np.eye(features), phi.T @ labels)
    found = ridge_regression(torch.tensor(phi), torch.tensor(labels), torch.tensor(other)[None], ridge)
    assert found[0].numpy() == pytest.approx(other @ weights, rel=1e-6, abs=1e-6)


def test_nearly_parallel_embeddings_are_told_apart(real: RealClips) -> None:
    """Networks without normalisation embed all clips nearly alike; in float32 what tells them apart is rounded away."""

    def new_network(number: int) -> Network:
        return Broken(number, lambda phi: 0.01 * phi + 1)

    synthetic, network = make_set("pixels", 2), new_network(0)
    with torch.no_grad():
        phi_s = network.embed(synthetic.draw(torch.Generator()).clips).double().numpy()
        phi_t = network.embed(real.clips(torch.arange(len(real)))).double().numpy()
    kernel, y_s = phi_s @ phi_s.T, labels_by_hand(synthetic)
    ridged = kernel + 1e-9 * np.trace(kernel) / len(kernel) * np.eye(len(kernel))
    errors = phi_t @ phi_s.T @ np.linalg.solve(ridged, y_s) - np.eye(C)[real.view.labels] + 1 / C
    expected = (errors**2).sum() / len(phi_t) - margin_by_hand(y_s)
    assert make(real, new_network, ridge=1e-9).loss(synthetic, 0).item() == pytest.approx(expected, rel=1e-4)


def test_a_kernel_that_rounding_has_spoilt_is_solved_with_a_larger_ridge() -> None:
    """An eigenvalue a little below zero, beyond what the ridge makes up for, must not end a run."""
    kernel = torch.diag(torch.tensor([1.0, 1.0, -1e-9], dtype=torch.float64))
    found = ridge_solve(kernel, torch.eye(3, dtype=torch.float64), 1e-12)
    assert bool(torch.isfinite(found).all()) and found[0, 0].item() == pytest.approx(1, abs=1e-6)


# --- embeddings that say nothing -------------------------------------------------------------------------------------


class Broken(TinyNetwork):
    """What it embeds is ``make_broken`` of what TinyNetwork embeds."""

    def __init__(self, number: int, make_broken: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(number)
        self.make_broken = make_broken

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        return self.make_broken(super().embed(batch))


@pytest.mark.parametrize(
    ("what", "make_broken"),
    [
        ("synthetic clips alike", lambda phi: 0 * phi),
        ("synthetic clips alike", lambda phi: 0 * phi + 3),
        ("synthetic clips alike", lambda phi: 1e-8 * phi + 3),
        ("not finite", lambda phi: phi * float("nan")),
        ("not finite", lambda phi: phi * float("inf")),
    ],
)
def test_a_network_that_has_died_stops_the_run(
    real: RealClips, what: str, make_broken: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """Training with too high a rate kills networks. A clear message then, not NaN in memories that took hours."""
    objective = make(real, lambda number: Broken(number, make_broken))
    with pytest.raises(DivergedError, match=what) as caught:
        objective.loss(make_set("pixels", 2), 4)
    assert "step 4" in caught.value.problem and "lr_network" in caught.value.hint


def test_real_clips_that_are_all_the_same_are_named(real: RealClips) -> None:
    """A file of black clips, as a decoder that fails quietly makes them, is told from a network that has died."""
    real.view.pixels[:] = 0
    with pytest.raises(DivergedError, match="all 12 real clips alike") as caught:
        make(real).loss(make_set("pixels", 1), 0)
    assert "--sheet" in caught.value.hint


def test_a_single_real_clip_is_a_batch(real: RealClips) -> None:
    """It is alike to all of them, which says nothing of the network."""
    assert np.isfinite(make(real, batch_real=1).loss(make_set("pixels", 1), 0).item())


@pytest.mark.parametrize("size", [1e-12, 1e-4, 1e4, 1e12])
def test_the_size_of_features_does_not_matter(real: RealClips, size: float) -> None:
    """Networks without normalisation embed at any size; the ridge is relative, and so the loss is the same."""
    synthetic = make_set("pixels", 2)
    synthetic.parameters()["pixels"].requires_grad_()
    expected = make(real, at_once=2).loss(synthetic, 0).item()
    objective = make(real, lambda number: Broken(number, lambda phi: size * phi), at_once=2)
    found = sum(part.item() for part in backward_of(objective.losses(synthetic, 0)))
    assert found == pytest.approx(expected, rel=1e-4)
    assert bool(torch.isfinite(synthetic.parameters()["pixels"].grad).all())


def test_equal_instances_are_no_reason_to_stop(real: RealClips) -> None:
    """A start from a class that has one real clip gives several instances of it: singular, but soon apart."""
    synthetic = make_pixels(ipc=3)
    with torch.no_grad():
        synthetic.pixels[:] = synthetic.pixels[:, :1].clone()
    synthetic.pixels.requires_grad_()
    synthetic.soft_labels = soft_labels(3).requires_grad_()
    backward_of(make(real, ridge=1e-6).losses(synthetic, 0))
    assert bool(torch.isfinite(synthetic.pixels.grad).all()) and bool(torch.isfinite(synthetic.soft_labels.grad).all())


def test_one_class_is_refused_before_anything_starts() -> None:
    """There is nothing to tell apart, and its centred label is 0."""
    spec = make_spec(classes=("only",), frames=2, height=3)
    with pytest.raises(DataError, match="only one"):
        make(make_real(spec, (4,)))


# --- what is drawn ---------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 5))
def test_real_clips_come_all_in_turn(available: int, size: int, seed: int) -> None:
    """No clip is seen twice before all were seen once; batches are even, and differ from pass to pass."""
    batches = -(-available // size)
    passes = []
    for first in range(0, 3 * batches, batches):
        drawn = [real_batch(available, size, step, seed).tolist() for step in range(first, first + batches)]
        assert all(1 <= len(batch) <= size for batch in drawn)
        assert max(map(len, drawn)) - min(map(len, drawn)) <= 1
        passes.append([index for batch in drawn for index in batch])
        assert sorted(passes[-1]) == list(range(available))
    assert available < 8 or len({tuple(order) for order in passes}) > 1


def test_a_step_regresses_on_its_own_real_clips(real: RealClips) -> None:
    """``batch_real`` clips over all classes, none twice: found among all that there are."""
    synthetic = make_set("pixels", 2)
    clips, labels = real_by_hand(real)
    x_s, y_s = clips_by_hand(arrays_of(synthetic)), labels_by_hand(synthetic)
    objective, seen = make(real, batch_real=2), []
    for step in range(6):
        value = objective.loss(synthetic, step).item()
        fitting = [
            pair
            for pair in itertools.combinations(range(len(real)), 2)
            if sum(loss_by_hand(weights_of(0), x_s, y_s, clips[list(pair)], labels[list(pair)]))
            == pytest.approx(value, rel=1e-4)
        ]
        assert len(fitting) == 1, f"step {step}: no two clips have this loss"
        seen += fitting[0]
    assert sorted(seen) == list(range(12))


def test_a_step_can_be_computed_again_and_differs_from_its_neighbours(real: RealClips) -> None:
    """A resumed run repeats a step to the bit; and each step has its own clips and draw."""
    synthetic = make_static_dynamic(SPEC, ipc=2)
    synthetic.soft_labels = soft_labels(2)
    objective = make(real, batch_real=4)
    values = [objective.loss(synthetic, step).item() for step in (0, 1, 2, 1, 0)]
    torch.rand(5)
    assert values[0] == values[4] and values[1] == values[3] and len(set(values)) == 3
    assert make(real, batch_real=4).loss(synthetic, 1).item() == values[1]
    assert make(real, seed=1, batch_real=4).loss(synthetic, 1).item() != values[1]


def test_images_are_regressed_on_with_frames() -> None:
    """The same objective for stills: real clips then give one frame each. Clips that stand still say which."""
    real = make_real(SPEC, (3, 4, 5), still=True)
    images = StaticImages(SPEC, torch.randn(C, 2, 3, 3, 3, generator=torch.Generator().manual_seed(0)))
    images.soft_labels = soft_labels(2)
    clips, labels = real_by_hand(real)
    x_s = images.static.numpy().astype(np.float64).reshape(-1, IMAGE)
    expected = loss_by_hand(weights_of(0, IMAGE), x_s, labels_by_hand(images), clips[:, :, 0], labels)
    objective = make(real, lambda number: TinyNetwork(number, IMAGE), at_once=4)
    assert objective.loss(images, 0).item() == pytest.approx(sum(expected), rel=2e-4)


def test_in_bfloat16_it_is_nearly_the_same(real: RealClips) -> None:
    """The networks' precision is for speed; the regression itself is in float64."""
    synthetic = make_set("pixels", 2)
    exact = make(real).loss(synthetic, 0)
    fast = KernelRegression(Setting(real, TinyNetwork, 0, torch.bfloat16), pool=1, ridge=RIDGE).loss(synthetic, 0)
    assert fast.dtype == torch.float32 and fast.item() == pytest.approx(exact.item(), rel=0.05)
    assert fast.item() != exact.item()


def test_following_the_gradient_makes_better_predictions(real: RealClips) -> None:
    """The point of it all: after some steps of Adam the error of the regression is far smaller."""
    synthetic = make_set("pixels", 1)
    synthetic.soft_labels = start_labels(C, 1)
    learned = [synthetic.parameters()["pixels"].requires_grad_(), synthetic.soft_labels.requires_grad_()]
    optimiser, objective = torch.optim.Adam(learned, lr=0.05), make(real, ridge=1e-6)
    values = []
    for step in range(40):
        optimiser.zero_grad()
        values.append(sum(part.item() for part in backward_of(objective.losses(synthetic, step))))
        optimiser.step()
    assert values[-1] + 1 / C < 0.5 * (values[0] + 1 / C)


# --- the pool --------------------------------------------------------------------------------------------------------


def adam_by_hand(weights: Weights, moments: Weights, gradients: Weights, time: int, rate: float) -> Weights:
    """Step ``time`` (from 1) of Adam with its usual constants; ``moments`` are kept between steps."""
    moved = {}
    for name, gradient in gradients.items():
        first = moments[f"m {name}"] = 0.9 * moments.get(f"m {name}", 0) + 0.1 * gradient
        second = moments[f"v {name}"] = 0.999 * moments.get(f"v {name}", 0) + 0.001 * gradient**2
        change = first / (1 - 0.9**time) / (np.sqrt(second / (1 - 0.999**time)) + 1e-8)
        moved[name] = weights[name] - rate * change
    return moved


def gradients_by_hand(weights: Weights, x: np.ndarray, labels: np.ndarray) -> Weights:
    """Backpropagation of the mean squared error of the logits, spelled out."""
    flat, hidden = x.reshape(len(x), -1), phi_by_hand(weights, x)
    delta = 2 * (hidden @ weights["w2"].T + weights["b2"] - labels) / labels.size
    back = (delta @ weights["w2"]) * (1 - hidden**2)
    return {"w2": delta.T @ hidden, "b2": delta.sum(0), "w1": back.T @ flat, "b1": back.sum(0)}


@pytest.mark.parametrize("at_once", [2, 64])
def test_after_a_step_the_network_is_trained_on_the_set_as_it_is_now(real: RealClips, at_once: int) -> None:
    """One step of Adam on the memories that have just moved, with its moments kept; then the next loss sees it."""
    synthetic, rate = make_set("pixels", 2), 0.05
    objective = make(real, online_updates=4, lr_network=rate, at_once=at_once)
    weights, moments = weights_of(0), {}
    for step in range(4):
        x_s, y_s = clips_by_hand(arrays_of(synthetic)), labels_by_hand(synthetic)
        expected = sum(loss_by_hand(weights, x_s, y_s, *real_by_hand(real)))
        assert objective.loss(synthetic, step).item() == pytest.approx(expected, rel=5e-4), f"step {step}"
        assert objective.figures()["online_age"] == step
        with torch.no_grad():
            synthetic.parameters()["pixels"].mul_(0.9)
            synthetic.soft_labels.mul_(1.1)
        objective.after_step(synthetic, step)
        gradients = gradients_by_hand(weights, clips_by_hand(arrays_of(synthetic)), labels_by_hand(synthetic))
        weights = adam_by_hand(weights, moments, gradients, step + 1, rate)
    x_s, y_s = clips_by_hand(arrays_of(synthetic)), labels_by_hand(synthetic)
    fresh = sum(loss_by_hand(weights_of(1), x_s, y_s, *real_by_hand(real)))
    assert objective.loss(synthetic, 4).item() == pytest.approx(fresh, rel=5e-4)
    assert objective.figures()["online_age"] == 0


@given(st.integers(1, 1500), st.integers(0, 10**6), st.integers(0, 2**31))
def test_the_online_batch_is_at_most_500_different_instances(available: int, step: int, seed: int) -> None:
    """At IPC 50 a step that trained a pool network on the whole set would be most of the run."""
    chosen = online_batch(available, step, seed).tolist()
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(range(available))
    assert len(chosen) == min(500, available)
    assert chosen == online_batch(available, step, seed).tolist()
    if available > 600:
        assert chosen != online_batch(available, step + 1, seed).tolist()
        assert chosen != online_batch(available, step, seed + 1).tolist()


def test_every_instance_is_trained_on() -> None:
    """Instances that were never drawn would be distilled for networks that have not seen them."""
    counts = sum(torch.bincount(online_batch(1000, step, 0), minlength=1000) for step in range(100))
    assert isinstance(counts, torch.Tensor) and counts.min() > 20 and counts.max() < 80  # 50 in the mean


@pytest.mark.parametrize("at_once", [1, 4, 64])
def test_a_network_is_trained_on_some_instances_of_a_large_set(
    real: RealClips, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step of Adam on the mean over four of six instances: found among all fours that there are."""
    monkeypatch.setattr("engine.matching.kernel.ONLINE_BATCH", 4)
    found = set()
    for step in range(4):
        synthetic, objective = make_set("pixels", 2), make(real, online_updates=4, lr_network=0.05, at_once=at_once)
        objective.after_step(synthetic, step)
        state = objective.state()
        x, labels = clips_by_hand(arrays_of(synthetic)), labels_by_hand(synthetic)
        fitting = []
        for chosen in itertools.combinations(range(6), 4):
            gradients = gradients_by_hand(weights_of(0), x[list(chosen)], labels[list(chosen)])
            moments = {name: state[f"adam.0.{name}/exp_avg"].double().numpy() / 0.1 for name in gradients}
            if all(np.allclose(moments[name], gradients[name], rtol=1e-3, atol=1e-6) for name in gradients):
                fitting.append(chosen)
        assert len(fitting) == 1
        found.update(fitting)
    assert len(found) > 1, "every step takes the same ones"


def test_training_does_not_reach_the_memories(real: RealClips) -> None:
    """Only the loss moves them; the network's own training must leave no gradient, and the loss none in the network."""
    networks: list[TinyNetwork] = []

    def new_network(number: int) -> TinyNetwork:
        networks.append(TinyNetwork(number))
        return networks[-1]

    synthetic, objective = make_set("pixels", 1), make(real, new_network)
    synthetic.parameters()["pixels"].requires_grad_()
    synthetic.soft_labels.requires_grad_()
    objective.after_step(synthetic, 0)
    assert synthetic.parameters()["pixels"].grad is None and synthetic.soft_labels.grad is None
    backward_of(objective.losses(synthetic, 1))
    assert all(parameter.grad is None for parameter in networks[0].parameters())
    assert len(networks) == 1


@pytest.mark.parametrize(("pool", "updates"), [(1, 1), (1, 5), (3, 4), (4, 8), (5, 3), (10, 100)])
def test_networks_are_drawn_anew_in_turn(real: RealClips, pool: int, updates: int) -> None:
    """Ages begin evenly spread, so that the pool never is all random; and no network is used a second time."""
    made: list[int] = []

    def new_network(number: int) -> TinyNetwork:
        made.append(number)
        return TinyNetwork(number)

    synthetic, objective = make_set("pixels", 1), make(real, new_network, pool=pool, online_updates=updates)
    ages = objective.state()["ages"].tolist()
    assert ages == [k * updates // pool for k in range(pool)]
    numbers, used = list(range(pool)), []
    for step in range(60):
        objective.loss(synthetic, step)
        objective.after_step(synthetic, step)
        new = objective.state()
        changed = [k for k in range(pool) if new["ages"][k] != ages[k] or new["numbers"][k] != numbers[k]]
        assert len(changed) == 1
        used.append(changed[0])
        assert objective.figures()["online_age"] == ages[changed[0]]
        ages[changed[0]] += 1
        if ages[changed[0]] == updates:
            ages[changed[0]], numbers[changed[0]] = 0, numbers[changed[0]] + pool
        assert new["ages"].tolist() == ages and new["numbers"].tolist() == numbers
    assert set(used) == set(range(pool)) and len(made) == len(set(made))


def run(objective: KernelRegression, synthetic: SyntheticSet, steps: Iterable[int]) -> list[float]:
    """Steps as a run takes them: the loss moves clips and labels, the network is trained."""
    learned = [*synthetic.parameters().values(), synthetic.soft_labels]
    values = []
    for step in steps:
        for tensor in learned:
            tensor.requires_grad_().grad = None
        values.append(sum(part.item() for part in backward_of(objective.losses(synthetic, step))))
        with torch.no_grad():
            for tensor in learned:
                tensor -= 0.01 * tensor.grad
        objective.after_step(synthetic, step)
    return values


@pytest.mark.parametrize("stop_after", [0, 1, 4, 9])
def test_stopping_and_resuming_changes_nothing(real: RealClips, stop_after: int) -> None:
    """Weights, moments, ages and numbers of the pool are in the checkpoint: the run is the uninterrupted one's bits."""

    def start() -> tuple[KernelRegression, StaticDynamic]:
        synthetic = make_static_dynamic(SPEC, ipc=2)
        synthetic.soft_labels = soft_labels(2)
        table = {"pool": 3, "online_updates": 4, "lr_network": 0.05, "batch_real": 5, "at_once": 4}
        return make(real, lambda number: TinyNetwork(number, dropout=0.5), **table), synthetic

    expected = run(*start(), range(16))
    first, synthetic = start()
    begun = run(first, synthetic, range(stop_after))
    stored = {name: torch.from_numpy(tensor.detach().numpy().copy()) for name, tensor in first.state().items()}
    second, _ = start()
    torch.rand(3)
    run(second, start()[1], range(2))  # whatever it was before
    second.load_state(stored)
    assert begun + run(second, synthetic, range(stop_after, 16)) == expected
    assert {name: tensor.tolist() for name, tensor in first.state().items()} == {
        name: tensor.tolist() for name, tensor in stored.items()
    }, "restoring must not tie the new pool to the stored tensors"


def test_the_video_network_resumes_to_the_bit() -> None:
    """With the real network's dropout and memory layout, which a restored moment must have too."""
    spec = make_spec(frames=8, height=64)
    real = make_real(spec, (2, 2))

    def start() -> tuple[KernelRegression, Pixels]:
        rng = torch.Generator().manual_seed(0)
        synthetic = Pixels(spec, torch.randn(2, 1, 8, 3, 64, 64, generator=rng))
        synthetic.soft_labels = start_labels(2, 1)
        setting = Setting(real, lambda number: video_model("convnet3d", 2, 8, 64, number, torch.device("cpu")), 0)
        return KernelRegression(setting, pool=1, batch_real=2), synthetic

    expected = run(*start(), range(4))
    first, synthetic = start()
    begun = run(first, synthetic, range(2))
    stored = {name: torch.from_numpy(tensor.detach().numpy().copy()) for name, tensor in first.state().items()}
    second, _ = start()
    second.load_state(stored)
    assert begun + run(second, synthetic, range(2, 4)) == expected
    assert len(set(expected)) == 4


def test_dropout_is_only_in_the_training(real: RealClips) -> None:
    """Features that drop half of themselves would make a kernel of noise; a classifier is trained with it."""
    plain, dropping = (make(real, lambda number, p=p: TinyNetwork(number, dropout=p)) for p in (0.0, 0.5))
    synthetic = make_set("pixels", 2)
    assert plain.loss(synthetic, 0).item() == dropping.loss(synthetic, 0).item()
    for objective in (plain, dropping):
        objective.after_step(synthetic, 0)
    assert plain.loss(synthetic, 1).item() != dropping.loss(synthetic, 1).item()


def test_each_step_drops_other_features(real: RealClips) -> None:
    """One mask for all steps would be a smaller network; it must come from the step, so that it can be resumed."""
    weights = []
    for step in (0, 1, 0):
        objective = make(real, lambda number: TinyNetwork(number, dropout=0.5))
        objective.after_step(make_set("pixels", 2), step)  # a set of which each draw is the same
        torch.rand(2)
        weights.append(objective.state()["network.0.w1"])
    assert torch.equal(weights[0], weights[2]) and not torch.equal(weights[0], weights[1])


def test_the_preset_is_what_it_runs_with(real: RealClips) -> None:
    """A key of [dynamic.frepo] that did nothing would be a promise."""
    table = {"pool": 2, "online_updates": 6, "lr_network": 0.02, "batch_real": 3, "ridge": 0.5}
    preset = Preset.model_validate({"dynamic": {"objective": "frepo", "frepo": table}})
    mine = KernelRegression.for_clips(preset, Setting(real, TinyNetwork, 0))
    other = KernelRegression(Setting(real, TinyNetwork, 0), **table)  # type: ignore[arg-type]
    found, expected = (run(objective, make_set("pixels", 1), range(8)) for objective in (mine, other))
    assert found == expected
    for name, value in {"pool": 3, "online_updates": 2, "lr_network": 0.04, "batch_real": 4, "ridge": 0.6}.items():
        changed = KernelRegression(Setting(real, TinyNetwork, 0), **(table | {name: value}))  # type: ignore[arg-type]
        assert run(changed, make_set("pixels", 1), range(8)) != expected, name


# --- several processes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 5])
def test_processes_share_the_work_and_not_the_result(real: RealClips, count: int) -> None:
    """Of several processes each computes its share; the sums are those of one, and the pools the same."""

    def start(group: Group) -> tuple[KernelRegression, Pixels]:
        synthetic = make_pixels(2)
        synthetic.pixels.requires_grad_()
        synthetic.soft_labels = soft_labels(2).requires_grad_()
        setting = Setting(real, TinyNetwork, 0, group=group)
        return KernelRegression(setting, pool=1, lr_network=0.05, ridge=RIDGE, batch_real=7), synthetic

    def two_steps(
        objective: KernelRegression, synthetic: Pixels
    ) -> tuple[list[int], list[float], Sequence[torch.Tensor]]:
        values, shares = [], []
        for step in range(2):
            yielded = [part.item() for part in backward_of(objective.losses(synthetic, step))]
            values.append(sum(yielded))
            shares.append(len(yielded))
            objective.after_step(synthetic, step)
        zeros = torch.zeros(())
        return shares, values, [zeros if t.grad is None else t.grad for t in (synthetic.pixels, synthetic.soft_labels)]

    _, alone_values, alone_gradients = two_steps(*start(Group()))

    def work(group: Group) -> tuple[list[int], list[float], Sequence[torch.Tensor], dict[str, torch.Tensor]]:
        objective, synthetic = start(group)
        return *two_steps(objective, synthetic), objective.state()

    shares, values, gradients, pools = zip(*in_turns(count, work), strict=True)
    assert sum(own[0] > 0 for own in shares) == min(count, C), "some had nothing to do"
    for step in range(2):
        assert sum(own[step] for own in values) == pytest.approx(alone_values[step], rel=1e-5)
    for k, alone in enumerate(alone_gradients):
        together = torch.stack([own[k].expand_as(alone) for own in gradients]).sum(0)
        assert torch.allclose(together, alone, rtol=1e-3, atol=1e-5)
    assert all(torch.equal(pool[name], pools[0][name]) for pool in pools for name in pools[0])
