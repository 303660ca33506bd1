"""DC: a wrong value or gradient here and the static memory, on which all else stands, is another one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from engine.matching import Setting
from engine.matching.gradient import GradientMatching, gradient_distance
from engine.models import image_model
from engine.seeds import generator
from engine.synthetic import StaticImages
from tests.tiny import make_real, make_spec, normalised

SPEC = make_spec(frames=2, height=3)
PIXELS, HIDDEN = 27, 4
Weights = dict[str, np.ndarray]


def weights_of(seed: int) -> Weights:
    rng = np.random.default_rng(2000 + seed)
    return {
        "w1": rng.normal(size=(HIDDEN, PIXELS)) / 5,
        "b1": rng.normal(size=HIDDEN) / 5,
        "w2": rng.normal(size=(2, HIDDEN)),
        "b2": rng.normal(size=2),
        "scale": rng.uniform(0.5, 1.5, size=HIDDEN),
    }


class TinyNetwork(nn.Module):
    """logits = w2 (scale * tanh(w1 x + b1)) + b2; ``scale`` is a normalisation parameter, with one axis."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        for name, value in weights_of(seed).items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value).float()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = (images.flatten(1) @ self.w1.T + self.b1).tanh()
        return (self.scale * hidden) @ self.w2.T + self.b2


def gradients_by_hand(weights: Weights, images: np.ndarray, labels: np.ndarray) -> Weights:
    """Backpropagation of the mean cross-entropy, spelled out."""
    x = images.reshape(len(images), -1)
    hidden = np.tanh(x @ weights["w1"].T + weights["b1"])
    scaled = weights["scale"] * hidden
    logits = scaled @ weights["w2"].T + weights["b2"]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    delta = exponentials / exponentials.sum(axis=1, keepdims=True)
    delta[np.arange(len(labels)), labels] -= 1
    delta /= len(labels)
    back = delta @ weights["w2"]
    inner = back * weights["scale"] * (1 - hidden**2)
    return {
        "w2": delta.T @ scaled,
        "b2": delta.sum(axis=0),
        "scale": (back * hidden).sum(axis=0),
        "w1": inner.T @ x,
        "b1": inner.sum(axis=0),
    }


def distance_by_hand(one: Weights, other: Weights) -> tuple[float, float]:
    """Sum over weight matrices and their rows of 1 - cosine; and what a guard of 1e-6 against zero rows may add."""
    total = guard = 0.0
    for name in ("w1", "w2"):
        for a, b in zip(one[name], other[name], strict=True):
            norms = float(np.sqrt((a * a).sum()) * np.sqrt((b * b).sum()))
            total += 1 - float((a * b).sum()) / norms
            guard += 1e-6 / norms
    return total, guard


def loss_by_hand(weights: Weights, real: list[np.ndarray], images: np.ndarray) -> tuple[list[float], float]:
    parts, guard = [], 0.0
    for c, frames in enumerate(real):
        target = gradients_by_hand(weights, frames, np.full(len(frames), c))
        mine = gradients_by_hand(weights, images[c], np.full(images.shape[1], c))
        part, extra = distance_by_hand(mine, target)
        parts.append(part)
        guard += extra
    return parts, guard


def train_by_hand(weights: Weights, images: np.ndarray, steps: int, rate: float) -> Weights:
    """SGD without momentum on all images, all parameters."""
    x = images.reshape(-1, PIXELS)
    labels = np.repeat(np.arange(2), images.shape[1])
    for _ in range(steps):
        gradients = gradients_by_hand(weights, x, labels)
        weights = {name: value - rate * gradients[name] for name, value in weights.items()}
    return weights


@pytest.fixture
def real():
    """Clips that stand still, so that whichever frame is drawn is known."""
    return make_real(SPEC, (3, 5), still=True)


def frames_by_class(real) -> list[np.ndarray]:
    frames = normalised(real.view.pixels[:, 0], SPEC)
    return [frames[real.view.labels == c] for c in range(2)]


def make_images(per_class: int = 2) -> StaticImages:
    return StaticImages(SPEC, torch.randn(2, per_class, 3, 3, 3, generator=torch.Generator().manual_seed(0)))


def as_float64(images: StaticImages) -> np.ndarray:
    return images.static.detach().numpy().astype(np.float64)


@pytest.mark.parametrize("at_once", [64, 2, 1])
@pytest.mark.parametrize("per_class", [1, 2, 3])
def test_the_loss_is_the_equation_s(real, per_class: int, at_once: int) -> None:
    """Against backpropagation and cosines in float64 loops; biases and normalisation parameters do not count."""
    images = make_images(per_class)
    parts, guard = loss_by_hand(weights_of(4), frames_by_class(real), as_float64(images))
    objective = GradientMatching(Setting(real, TinyNetwork, 0), 256, at_once=at_once)
    passes = -(-per_class // at_once)
    found = [part.item() for part in objective.losses(images, step=4)]
    assert guard < 1e-3 and len(found) == 2 * passes
    found = [sum(found[:passes]), sum(found[passes:])]
    assert found == pytest.approx(parts, abs=guard + 2e-5)
    assert objective.loss(images, 4).item() == pytest.approx(sum(found), rel=1e-6)


@pytest.mark.parametrize("at_once", [64, 2, 1])
def test_the_gradient_is_that_of_the_equation(real, at_once: int) -> None:
    """The second derivative through the network's own gradient, against finite differences of the float64 loops."""
    images, frames = make_images(3), frames_by_class(real)
    images.static.requires_grad_()
    for part in GradientMatching(Setting(real, TinyNetwork, 0), 256, at_once=at_once).losses(images, 4):
        part.backward()
    gradient, values = images.static.grad, as_float64(images)
    assert gradient is not None
    flat = values.reshape(-1)
    for index in range(0, len(flat), 5):
        before, losses = flat[index], []
        for change in (1e-5, -1e-5):
            flat[index] = before + change
            losses.append(sum(loss_by_hand(weights_of(4), frames, values)[0]))
        flat[index] = before
        expected = (losses[0] - losses[1]) / 2e-5
        assert gradient.reshape(-1)[index].item() == pytest.approx(expected, rel=5e-3, abs=5e-4)


def test_passes_are_bounded(real) -> None:
    """A batch of 256 frames, and all images at IPC 50, must go through the network on a small GPU."""
    largest = 0

    class Watching(TinyNetwork):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            nonlocal largest
            largest = max(largest, len(images))
            return super().forward(images)

    objective, images = GradientMatching(Setting(real, Watching, 0), 256, 2, at_once=2), make_images(5)
    objective.loss(images, 0)
    objective.after_step(images, 0)
    assert largest == 2


def test_passes_have_the_gradient_of_soft_labels_too(real) -> None:
    """Images whose labels are learned: both get the gradient that one pass would give."""
    gradients = []
    for at_once in (64, 2):
        soft = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(1)).softmax(2).requires_grad_()
        images = StaticImages(SPEC, make_images(5).static.requires_grad_(), soft_labels=soft, learn_labels=True)
        for part in GradientMatching(Setting(real, TinyNetwork, 0), 256, at_once=at_once).losses(images, 4):
            part.backward()
        gradients.append((images.static.grad, soft.grad))
    for whole, parts in zip(*gradients, strict=True):
        assert whole is not None and parts is not None
        assert torch.allclose(whole, parts, rtol=1e-3, atol=1e-5) and bool((whole != 0).any())


def test_what_fits_is_one_pass_to_the_bit(real) -> None:
    """Runs at IPC 1 must learn what they learned before there were passes."""
    images, network, expected = make_images(), TinyNetwork(4), []
    weights = [network.w1, network.w2]
    for label in range(2):
        frames = real.draw_frames(label, 4, generator(0, "dc-real", 4, label))
        target = torch.autograd.grad(nn.functional.cross_entropy(network(frames), _of(label, frames)), weights)
        own = images.static[label]
        loss = nn.functional.cross_entropy(network(own), _of(label, own))
        expected.append(gradient_distance(torch.autograd.grad(loss, weights), target).item())
    found = GradientMatching(Setting(real, TinyNetwork, 0), 4, at_once=4).losses(images, 4)
    assert [part.item() for part in found] == expected


def _of(label: int, images: torch.Tensor) -> torch.Tensor:
    return torch.full((len(images),), label)


@pytest.mark.parametrize("at_once", [64, 3])
@pytest.mark.parametrize(("outer", "inner"), [(1, 1), (3, 2), (2, 5), (4, 0)])
def test_between_steps_the_network_is_trained_on_the_images(real, outer: int, inner: int, at_once: int) -> None:
    """The outer and the inner loop of the paper: one network for ``outer`` steps, ``inner`` SGD steps in between."""
    images, frames, rate = make_images(), frames_by_class(real), 0.5
    objective = GradientMatching(Setting(real, TinyNetwork, 0), 256, outer, inner, rate, at_once)
    weights: Weights = {}
    for step in range(2 * outer + 1):
        if step % outer == 0:
            weights = weights_of(step // outer)
        expected, guard = loss_by_hand(weights, frames, as_float64(images))
        found = [part.item() for part in objective.losses(images, step)]
        assert found == pytest.approx(expected, abs=guard + 2e-4), f"step {step}"
        with torch.no_grad():
            images.static.add_(0.05)  # the memories move before the network is trained on them
        objective.after_step(images, step)
        weights = train_by_hand(weights, as_float64(images), inner, rate)


@pytest.mark.parametrize("stop_after", [0, 1, 2, 3])
def test_stopping_and_resuming_changes_nothing(real, stop_after: int) -> None:
    """The network that lives across steps is in the checkpoint: a resumed run is the uninterrupted one, to the bit."""
    images = make_images()

    def make() -> GradientMatching:
        return GradientMatching(Setting(real, TinyNetwork, 0), 2, outer_loops=3, inner_loops=2, lr_network=0.5)

    def take(objective: GradientMatching, step: int) -> float:
        value = objective.loss(images, step).item()
        objective.after_step(images, step)
        return value

    whole = make()
    expected = [take(whole, step) for step in range(7)]
    first = make()
    for step in range(stop_after + 1):
        take(first, step)
    stored = {name: tensor.clone() for name, tensor in first.state().items()}
    second = make()
    second.load_state(stored)
    assert [take(second, step) for step in range(stop_after + 1, 7)] == expected[stop_after + 1 :]
    assert bool(stored) == ((stop_after + 1) % 3 != 0)


def test_training_does_not_reach_the_images(real) -> None:
    """Only the loss moves the memories; the network's own training must leave no gradient in them."""
    images = make_images()
    images.static.requires_grad_()
    objective = GradientMatching(Setting(real, TinyNetwork, 0), 256, outer_loops=2, inner_loops=3)
    objective.loss(images, 0)
    objective.after_step(images, 0)
    assert images.static.grad is None


def test_steps_repeat_and_differ(real) -> None:
    """Each step draws its own frames, and the same ones when it is computed again."""
    images = make_images()

    def value(step: int, seed: int = 0) -> float:
        return GradientMatching(Setting(real, lambda _: TinyNetwork(0), seed), 2).loss(images, step).item()

    assert value(1) == value(1)
    assert len({value(0), value(1), value(2), value(1, seed=1)}) == 4


def test_it_runs_with_the_network_of_stage_1() -> None:
    """Only the weights of convolutions and classifier count, not group norm; and the loss has a gradient."""
    spec = make_spec(frames=2, height=8)
    images = StaticImages(spec, torch.randn(2, 1, 3, 8, 8).requires_grad_())
    objective = GradientMatching(
        Setting(make_real(spec, (3, 3)), lambda number: image_model(2, 8, number, torch.device("cpu")), 0), 3
    )
    loss = objective.loss(images, 0)
    loss.backward()
    assert 0 < loss.item() <= 2 * 2 * (3 * 128 + 2)
    assert images.static.grad is not None and bool((images.static.grad != 0).any())


# --- the distance ----------------------------------------------------------------------------------------------------


def test_the_distance_by_hand() -> None:
    """Equal directions 0, opposite ones 2, right angles 1; a convolution's filter is a row."""
    a = torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    b = torch.tensor([[9.0, 0.0], [0.0, -5.0], [1.0, -1.0]])
    assert gradient_distance((a,), (b,)).item() == pytest.approx(0 + 2 + 1, abs=1e-5)
    filters = torch.randn(5, 2, 3, 3)
    assert gradient_distance((filters, a), (-filters, b)).item() == pytest.approx(10 + 3, abs=1e-4)


def test_a_row_without_gradient_neither_counts_as_equal_nor_as_nan() -> None:
    """A dead filter must not make the loss, and then all memories, NaN; nor its gradient."""
    a = torch.zeros(2, 3, requires_grad=True)
    loss = gradient_distance((a,), (torch.ones(2, 3),))
    loss.backward()
    assert loss.item() == pytest.approx(2.0) and a.grad is not None and bool(torch.isfinite(a.grad).all())


@pytest.mark.parametrize("size", [10.0, 0.1, 0.03])
def test_the_cosine_does_not_depend_on_the_size_of_gradients(size: float) -> None:
    """method.md: 1 - cosine. Down to the smallest rows that stage 1's network has (products of norms around 1e-3)."""
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(4, 9, generator=rng), torch.randn(4, 9, generator=rng)
    expected = sum(1 - float(x @ y / (x.norm() * y.norm())) for x, y in zip(a.double(), b.double(), strict=True))
    assert gradient_distance((size * a,), (size * b,)).item() == pytest.approx(expected, rel=1e-3)
