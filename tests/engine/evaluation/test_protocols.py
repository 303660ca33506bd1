"""Protocols against loops that are written out: a number under a name must be what the name says."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engine.config.schema import EvaluationTable
from engine.data.batches import RealClips
from engine.evaluation import PROTOCOLS, Protocol, Recipe, evaluate_network, mean_std, train_network
from engine.evaluation.augmentation import RATIO, SCALE, crop_and_flip, crop_box, reorder
from engine.evaluation.protocols import IMAGENET_MEAN, IMAGENET_STD, as_seen
from engine.evaluation.teacher import Teacher
from engine.evaluation.training import centred, random_passes
from engine.judge import recipe_of
from engine.models import Network
from engine.models.registry import VIDEO_MODELS
from engine.synthetic import Pixels
from tests.tiny import FakeView, make_pixels, make_real, make_spec, make_static_dynamic, normalised

SPEC = make_spec("abc", frames=2, height=3)
VDSD = PROTOCOLS["vdsd"]


class Linear(Network):
    """Multinomial regression from zero: a network whose training can be written down."""

    def __init__(self, classes: int, frames: int, size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * frames * size * size, classes)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.flatten(1)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.layer(self.embed(clips))


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VIDEO_MODELS, "linear", Linear)


def recipe(**changes: Any) -> Recipe:
    values = {"model": "linear", "epochs": 6, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "batch": 64}
    return Recipe(**{**values, **changes})


def pixels() -> Pixels:
    return Pixels(SPEC, torch.randn(3, 2, 2, 3, 3, 3, generator=torch.Generator().manual_seed(0)))


def weights(network: nn.Module) -> np.ndarray:
    return np.concatenate([parameter.detach().double().numpy().ravel() for parameter in network.parameters()])


# --- vdsd, as published ----------------------------------------------------------------------------------------------


def as_published(clips: np.ndarray) -> np.ndarray:
    """float64 batch (N, 3, ...) in the data's normalisation -> ImageNet's -> zero mean, unit variance of the whole."""
    shown = np.empty_like(clips, dtype=np.float64)
    for c in range(3):
        brightness = clips[:, c].astype(np.float64) * SPEC.std[c] + SPEC.mean[c]
        shown[:, c] = (brightness - IMAGENET_MEAN[c]) / IMAGENET_STD[c]
    return (shown - shown.mean()) / shown.std(ddof=1)


def test_a_batch_is_shifted_and_scaled_as_a_whole() -> None:
    """The quirk that makes a clip's logits depend on what else is in its batch."""
    clips = torch.randn(4, 3, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    assert np.allclose(as_seen(clips, SPEC, VDSD).numpy(), as_published(clips.numpy()), atol=1e-5)
    assert as_seen(clips, SPEC, PROTOCOLS["strict"]) is clips


@pytest.mark.parametrize("epochs", [6, 7])
def test_training_as_published_forgets_its_momentum_half_way(epochs: int) -> None:
    """Against SGD written out in float64 on standardised batches, with a velocity that starts anew."""
    synthetic = pixels()
    network = train_network(synthetic, recipe(epochs=epochs, protocol=VDSD), seed=1)
    clips = synthetic.pixels.transpose(2, 3).reshape(6, 3, 2, 3, 3).double().numpy()
    x, y = as_published(clips).reshape(6, -1), np.repeat(np.arange(3), 2)
    weight, bias = np.zeros((3, x.shape[1])), np.zeros(3)
    velocity = [np.zeros_like(weight), np.zeros_like(bias)]
    half = (epochs + 1) // 2
    for epoch in range(epochs):
        if epoch == half:
            velocity = [np.zeros_like(weight), np.zeros_like(bias)]
        logits = x @ weight.T + bias
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(6), y] -= 1
        gradients = (p.T @ x / 6 + 0.01 * weight, p.sum(axis=0) / 6 + 0.01 * bias)
        velocity = [0.9 * v + g for v, g in zip(velocity, gradients, strict=True)]
        rate = 0.05 if epoch < half else 0.005
        weight, bias = weight - rate * velocity[0], bias - rate * velocity[1]
    assert np.allclose(weights(network), np.concatenate([weight.ravel(), bias]), rtol=1e-4, atol=1e-6)


def several_clips(per_video: tuple[int, ...]) -> tuple[RealClips, np.ndarray, np.ndarray, np.ndarray]:
    """Real clips of videos that have several each, in mixed order; also pixels, labels, video."""
    video = np.random.default_rng(3).permutation(np.repeat(np.arange(len(per_video)) * 7 + 2, per_video))
    labels = (video // 7) % 3
    shown = make_pixels(len(video), SPEC, seed=5)
    real = RealClips(cast(Any, FakeView(shown, labels.tolist(), video.tolist())), SPEC, torch.device("cpu"))
    return real, shown, labels, video


def test_three_random_passes_each_of_one_clip_per_video() -> None:
    """Every pass shows one clip of each video, half of them flipped; and each clip of a video comes up in time."""
    real, shown, labels, video = several_clips((1, 3, 2, 4, 1))
    known = {normalised(shown[i : i + 1], SPEC).astype(np.float32).tobytes(): (i, False) for i in range(len(shown))}
    known |= {
        np.ascontiguousarray(normalised(shown[i : i + 1], SPEC)[..., ::-1]).astype(np.float32).tobytes(): (i, True)
        for i in range(len(shown))
    }

    def nearest(clip: torch.Tensor) -> tuple[int, bool]:
        found = [(np.abs(np.frombuffer(b, np.float32) - clip.numpy().ravel()).max(), v) for b, v in known.items()]
        distance, which = min(found)
        assert distance < 1e-5
        return which

    seen: Counter[tuple[int, bool]] = Counter()
    for clips, of_batch in random_passes(real, 60, 2, seed=4):
        assert len(clips) <= 2
        which = [nearest(clip.contiguous()) for clip in clips]
        assert [int(labels[i]) for i, _ in which] == of_batch.tolist()
        seen.update(which)
    per_video = Counter[int]()
    for (i, _), number in seen.items():
        per_video[int(video[i])] += number
    assert set(per_video.values()) == {60} and len(per_video) == 5
    assert {i for i, _ in seen} == set(range(len(shown))), "some clip never comes up"
    flipped = sum(number for (_, flip), number in seen.items() if flip)
    assert 100 < flipped < 200
    for i in np.flatnonzero(video == 3 * 7 + 2):
        assert 5 <= seen[int(i), False] + seen[int(i), True] <= 28


def test_accuracy_as_published_counts_clips_of_three_passes() -> None:
    """Against a loop over the very same passes in float64: standardised in batches, one count per clip."""
    real, *_ = several_clips((1, 3, 2, 4, 1, 2, 2))
    network = Linear(3, 2, 3)
    with torch.no_grad():
        network.layer.weight.copy_(torch.randn(3, 54, generator=torch.Generator().manual_seed(2)))
    found = evaluate_network(network, real, torch.float32, protocol=VDSD, batch=4, seed=9, size=3)
    hits, count, confusion = 0, 0, np.zeros((3, 3), int)
    weight = network.layer.weight.detach().double().numpy()
    for clips, labels in random_passes(real, 3, 4, 9):
        logits = as_published(clips.double().numpy()).reshape(len(clips), -1) @ weight.T
        for row, label in zip(logits, labels.tolist(), strict=True):
            confusion[label, int(row.argmax())] += 1
            hits += int(row.argmax()) == label
            count += 1
    assert count == 21 and found.top1 == pytest.approx(hits / count) and found.top5 == 1.0
    assert found.confusion == confusion.tolist()


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_the_published_deviation_is_that_of_a_population(values: list[float]) -> None:
    """It is smaller than a sample's; a table that mixes both flatters one."""
    assert mean_std(values, VDSD)[1] == pytest.approx(np.std(values), abs=1e-9)
    assert mean_std(values)[1] == pytest.approx(np.std(values, ddof=1), abs=1e-9)


def test_a_result_of_other_values_than_the_published_ones_says_so() -> None:
    """`vdsd` with a tenth of the epochs is not the published protocol."""
    same = recipe(protocol=VDSD, epochs=500, lr=0.01, momentum=0.9, weight_decay=5e-4, batch=256)
    assert same.deviations() == []
    assert dataclasses.replace(same, epochs=44, batch=4).deviations() == [
        "epochs 44, published 500",
        "batch 4, published 256",
    ]
    assert dataclasses.replace(same, epochs=44, protocol=PROTOCOLS["strict"]).deviations() == []


def test_a_protocol_has_its_own_rate_unless_the_preset_has_one() -> None:
    """0.01 is published; by it a ConvNet3D often diverges on a few clips, and every set looks as bad as any other."""
    for name, rate in {"strict": 0.003, "strict-strong": 3e-4, "strict-teacher": 3e-4, "vdsd": 0.01}.items():
        assert recipe_of(EvaluationTable(protocol=name), "linear", torch.float32, None).lr == rate
        assert recipe_of(EvaluationTable(protocol=name, lr=0.2), "linear", torch.float32, None).lr == 0.2
    learned = EvaluationTable(lr=0.2, use_learned_lr=True)
    assert recipe_of(learned, "linear", torch.float32, 0.07).lr == 0.07
    assert recipe_of(learned, "linear", torch.float32, None).lr == 0.2


def test_two_recipes_have_one_fingerprint_only_if_they_are_the_same() -> None:
    """Else a cached number of one would be reported for the other."""
    base = recipe()
    others = [dataclasses.replace(base, protocol=protocol) for protocol in PROTOCOLS.values()]
    others += [
        dataclasses.replace(base, **{key: value}) for key, value in (("lr", 0.1), ("labels", "own"), ("batch", 8))
    ]
    others += [dataclasses.replace(base, frames="frozen"), dataclasses.replace(base, model="other")]
    assert len({one.digest() for one in others}) == len(others)
    assert dataclasses.replace(base).digest() == base.digest()


# --- strong training -------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 40), st.tuples(*[st.floats(0, 1, exclude_max=True)] * 4))
def test_a_crop_lies_inside_and_keeps_the_area_that_is_asked_for(
    height: int, width: int, draws: tuple[float, float, float, float]
) -> None:
    """A crop beyond the picture would be padding, one of no area an error in the middle of a run."""
    top, left, tall, wide = crop_box(height, width, *draws)
    assert 0 <= top <= top + tall <= height and 0 <= left <= left + wide <= width and tall >= 1 and wide >= 1
    if min(height, width) >= 20 and tall < height and wide < width:
        assert SCALE[0] * 0.85 <= tall * wide / (height * width) <= SCALE[1] * 1.15
        assert RATIO[0] * 0.8 <= wide * height / (tall * width) * width / height <= RATIO[1] * 1.25


def test_frames_of_a_clip_are_cropped_and_flipped_alike() -> None:
    """Else the crops would look like motion."""
    still = torch.rand(6, 3, 1, 12, 12).expand(-1, -1, 5, -1, -1).contiguous()
    out = crop_and_flip(still, torch.Generator().manual_seed(0))
    assert out.shape == still.shape and torch.equal(out, out[:, :, :1].expand_as(out))
    assert not torch.equal(out[0], still[0])
    again = crop_and_flip(still, torch.Generator().manual_seed(0))
    assert torch.equal(out, again)


def test_a_whole_crop_is_the_clip_or_its_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one crop whose result can be written down."""
    monkeypatch.setattr("engine.evaluation.augmentation.crop_box", lambda h, w, *draws: (0, 0, h, w))
    clips = torch.rand(40, 3, 2, 6, 6)
    out = crop_and_flip(clips, torch.Generator().manual_seed(0))
    mirrored = [torch.allclose(o, c.flip(-1)) for o, c in zip(out, clips, strict=True)]
    assert all(torch.allclose(o, c) for o, c, m in zip(out, clips, mirrored, strict=True) if not m)
    assert 8 < sum(mirrored) < 32


def test_strong_training_is_adamw_along_a_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against AdamW written out in float64 (Loshchilov and Hutter 2019), with crops switched off."""
    strong = dataclasses.replace(PROTOCOLS["strict-strong"], augment=False)
    real = make_real(SPEC, (4, 1, 1))
    found = weights(train_network(real, recipe(protocol=strong, epochs=5, lr=1e-3), seed=1))
    x = real.clips(torch.arange(6)).reshape(6, -1).double().numpy()
    y, value = real.labels.numpy(), np.zeros((3, x.shape[1] + 1))
    x = np.concatenate([x, np.ones((6, 1))], axis=1)
    first, second = np.zeros_like(value), np.zeros_like(value)
    for t in range(5):
        rate = 1e-3 * 0.5 * (1 + math.cos(math.pi * t / 5))
        logits = x @ value.T
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(6), y] -= 1
        gradient = p.T @ x / 6
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        step = (first / (1 - 0.9 ** (t + 1))) / (np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-8)
        value = value * (1 - rate * 0.01) - rate * step
    assert np.allclose(found, np.concatenate([value[:, :-1].ravel(), value[:, -1]]), rtol=1e-3, atol=1e-6)


def test_a_teacher_labels_and_is_trained_once(tmp_path: Path) -> None:
    """Its probabilities are what is learned: from zero, the first step's gradient is (1/C - teacher) x."""
    real = make_real(SPEC, (4, 4, 4))
    how = recipe(protocol=PROTOCOLS["strict-strong"], batch=4)
    teacher = Teacher(tmp_path, real, how, epochs=3, seed=0)
    network = teacher.network()
    again = Teacher(tmp_path, real, how, epochs=3, seed=0)
    read = again.network(lambda fraction: pytest.fail("trained again"))
    assert np.array_equal(weights(network), weights(read))
    assert Teacher(tmp_path, real, how, epochs=4, seed=0).fingerprint != teacher.fingerprint
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    assert np.array_equal(weights(Teacher(tmp_path, real, how, epochs=3, seed=0).network()), weights(network))

    taught = Protocol("t", 1, teacher=True)
    plain = recipe(protocol=taught, epochs=1, momentum=0.0, weight_decay=0.0)
    pupil = train_network(pixels(), plain, 1, teacher=network)
    x = pixels().pixels.transpose(2, 3).reshape(6, -1)
    said = network(x).softmax(1).double().detach().numpy()
    expected = -0.05 * (1 / 3 - said).T @ x.double().numpy() / 6
    assert np.allclose(weights(pupil)[: expected.size], expected.ravel(), rtol=1e-4, atol=1e-7)


# --- labels and frames -----------------------------------------------------------------------------------------------


def test_own_labels_are_learned_by_squared_error_and_rivals_get_centred_ones() -> None:
    """FRePo's labels say more than a class; a rival under the same recipe gets the ones that they started from."""
    assert torch.allclose(centred(torch.tensor([1]), 3), torch.tensor([[-1 / 3, 2 / 3, -1 / 3]]) / math.sqrt(0.3))
    soft = make_static_dynamic(SPEC, soft=True)
    assert soft.soft_labels is not None
    for synthetic in (soft, make_static_dynamic(SPEC)):
        how = recipe(labels="own", epochs=1, momentum=0.0, weight_decay=0.0)
        network = train_network(synthetic, how, seed=3)
        wanted = soft.soft_labels.detach()[:, 0] if synthetic is soft else centred(torch.arange(3), 3)
        # From zero weights the bias takes one step: -0.05 * mean over clips of 2 (0 - target) / C.
        expected = 0.05 * 2 * wanted.double().mean(0).numpy() / 3
        assert np.allclose(weights(network)[-3:], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("frames", ["reversed", "frozen", "shuffled"])
def test_frames_are_moved_in_time_and_stay_whole(frames: str) -> None:
    """The question whether time matters would be answered wrongly if a frame were changed."""
    clips = torch.randn(20, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    out = reorder(clips, frames, torch.Generator().manual_seed(1))
    orders = []
    for before, after in zip(clips, out, strict=True):
        order = [next(t for t in range(4) if torch.equal(before[:, t], after[:, k])) for k in range(4)]
        orders.append(tuple(order))
    if frames == "reversed":
        assert set(orders) == {(3, 2, 1, 0)}
    elif frames == "frozen":
        assert all(len(set(order)) == 1 for order in orders) and len(set(orders)) > 1
    else:
        assert all(sorted(order) == [0, 1, 2, 3] for order in orders) and len(set(orders)) > 5
    assert reorder(clips, "as-is", torch.Generator()) is clips


def test_all_real_clips_can_be_learned_from() -> None:
    """All of the data is trained by the same code as a set of one clip: every clip once per epoch."""
    real = make_real(SPEC, (5, 4, 3))
    found = weights(train_network(real, recipe(epochs=1, momentum=0.0, weight_decay=0.0), seed=0))
    x = real.clips(torch.arange(12)).reshape(12, -1).double().numpy()
    p = np.full((12, 3), 1 / 3)
    p[np.arange(12), real.labels.numpy()] -= 1
    expected = np.concatenate([(-0.05 * p.T @ x / 12).ravel(), -0.05 * p.mean(0)])
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-6)
