"""Protocols against loops that are written out: a number under a name must be what the name says."""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engine.config.schema import EvaluationSection
from engine.data.batches import RealClips
from engine.evaluation import PROTOCOLS, Protocol, Recipe, evaluate_network, mean_std, protocol_named, train_network
from engine.evaluation.augmentation import RATIO, SCALE, crop_and_flip, crop_box, reorder
from engine.evaluation.judge import recipe_of
from engine.evaluation.protocols import IMAGENET_MEAN, IMAGENET_STD, as_seen
from engine.evaluation.teacher import Teacher
from engine.evaluation.training import centred, fit, random_passes
from engine.models import Network
from engine.models.registry import VIDEO_MODELS
from engine.synthetic import Pixels
from tests.tiny import FakeView, make_pixels, make_real, make_spec, make_static_dynamic, normalised

SPEC = make_spec("abc", frames=2, height=3)
VDSD = PROTOCOLS["vdsd"]
VDSD_OWN = protocol_named("vdsd", "own")


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


def imagenet(clips: np.ndarray) -> np.ndarray:
    """float64 batch (N, 3, ...) in the data's normalisation -> ImageNet's."""
    shown = np.empty_like(clips, dtype=np.float64)
    for c in range(3):
        brightness = clips[:, c].astype(np.float64) * SPEC.std[c] + SPEC.mean[c]
        shown[:, c] = (brightness - IMAGENET_MEAN[c]) / IMAGENET_STD[c]
    return shown


def as_published(clips: np.ndarray) -> np.ndarray:
    """... -> zero mean, unit variance of the whole."""
    shown = imagenet(clips)
    return (shown - shown.mean()) / shown.std(ddof=1)


def test_a_batch_is_shifted_and_scaled_as_a_whole() -> None:
    """The quirk that makes a clip's logits depend on what else is in its batch."""
    clips = torch.randn(4, 3, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    assert np.allclose(as_seen(clips, SPEC, VDSD).numpy(), as_published(clips.numpy()), atol=1e-5)
    assert np.allclose(as_seen(clips, SPEC, VDSD_OWN).numpy(), imagenet(clips.numpy()), atol=1e-5)
    assert as_seen(clips, SPEC, PROTOCOLS["strict"]) is clips


def test_a_frame_of_a_still_is_scaled_as_its_whole_clip() -> None:
    """A value that is shown for two frames counts twice, to the sample's deviation too."""
    clips = torch.randn(1, 3, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    whole = as_published(clips.expand(-1, -1, 2, -1, -1).numpy())
    assert np.allclose(as_seen(clips, SPEC, VDSD).numpy(), whole[:, :, :1], atol=1e-5)
    assert not np.allclose(as_published(clips.numpy()), whole[:, :, :1], atol=1e-3)


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


@pytest.mark.parametrize(("protocol", "passes", "seen"), [(VDSD, 3, as_published), (VDSD_OWN, 1, imagenet)])
def test_accuracy_as_published_counts_clips_of_random_passes(
    protocol: Protocol, passes: int, seen: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Against a loop over the very same passes in float64: batches of 64 as networks see them, one count per clip.

    A batch is standardised as a whole, so of other batches the same network has other logits.
    """
    real, *_ = several_clips((1, 3, 2, 4, 1, 2, 2) * 14)
    network = Linear(3, 2, 3)
    with torch.no_grad():
        network.layer.weight.copy_(torch.randn(3, 54, generator=torch.Generator().manual_seed(2)))
    found = evaluate_network(network, real, torch.float32, protocol=protocol, seed=9, size=30)
    hits, sizes, confusion = 0, [], np.zeros((3, 3), int)
    weight = network.layer.weight.detach().double().numpy()
    for clips, labels in random_passes(real, passes, 64, 9):
        logits = seen(clips.double().numpy()).reshape(len(clips), -1) @ weight.T
        sizes.append(len(clips))
        for row, label in zip(logits, labels.tolist(), strict=True):
            confusion[label, int(row.argmax())] += 1
            hits += int(row.argmax()) == label
    assert sizes == [64, 34] * passes
    assert found.top1 == pytest.approx(hits / sum(sizes)) and found.top5 == 1.0
    assert found.confusion == confusion.tolist()


def warm_cosine(epochs: int, rate: float) -> list[float]:
    """The rate of each epoch by torch's own schedulers, chained: a tenth of the epochs from 1 % up, a cosine to 1 %."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    rise = torch.optim.lr_scheduler.LinearLR(optimiser, start_factor=0.01, total_iters=epochs // 10)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=epochs, eta_min=rate * 0.01)
    chained, rates = torch.optim.lr_scheduler.ChainedScheduler([rise, fall]), []
    for _ in range(epochs):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        chained.step()
    return rates


@pytest.mark.parametrize("epochs", [20, 100, 1000])
def test_the_rate_for_learned_labels_rises_and_falls(epochs: int) -> None:
    """As in the public code of the numbers that one compares with; a constant rate trains another network."""
    how = recipe(protocol=VDSD_OWN, labels="own", epochs=epochs, lr=1e-4)
    assert np.allclose([how.rate(epoch) for epoch in range(epochs)], warm_cosine(epochs, 1e-4), rtol=0.03, atol=1e-7)


def test_learned_labels_as_published_are_fitted_by_adamw() -> None:
    """FRePo's judge, against AdamW written out in float64 on mean squared errors, ImageNet's normalisation alone."""
    labels = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(1))
    synthetic = Pixels(SPEC, pixels().pixels, soft_labels=labels)
    how = recipe(protocol=VDSD_OWN, labels="own", epochs=30, lr=1e-2, weight_decay=5e-4)
    found = weights(train_network(synthetic, how, seed=1))
    x = imagenet(synthetic.pixels.transpose(2, 3).reshape(6, 3, 2, 3, 3).numpy()).reshape(6, -1)
    x, y = np.concatenate([x, np.ones((6, 1))], axis=1), labels.reshape(6, 3).double().numpy()
    value = np.zeros((3, x.shape[1]))
    first, second = np.zeros_like(value), np.zeros_like(value)
    for t in range(30):
        rate = 1e-2 * min(1, 0.01 + 0.99 * t / 3) * (0.01 + 0.99 * (1 + math.cos(math.pi * t / 30)) / 2)
        gradient = 2 * (x @ value.T - y).T @ x / (6 * 3)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        step = (first / (1 - 0.9 ** (t + 1))) / (np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-8)
        value = value * (1 - rate * 5e-4) - rate * step
    assert np.abs(value).max() > 0.05
    assert np.allclose(found, np.concatenate([value[:, :-1].ravel(), value[:, -1]]), rtol=1e-3, atol=1e-5)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_the_published_deviation_is_that_of_a_population(values: list[float]) -> None:
    """It is smaller than a sample's; a table that mixes both flatters one."""
    assert mean_std(values, VDSD)[1] == pytest.approx(np.std(values), abs=1e-9)
    assert mean_std(values)[1] == pytest.approx(np.std(values, ddof=1), abs=1e-9)


def test_a_result_of_other_values_than_the_published_ones_says_so() -> None:
    """`vdsd` with a tenth of the epochs is not the published protocol."""
    same = recipe(protocol=VDSD, epochs=500, lr=0.01, momentum=0.9, weight_decay=5e-4, batch=256)
    assert same.deviations(True) == []
    assert dataclasses.replace(same, epochs=44, batch=4).deviations(True) == [
        "epochs 44, published 500",
        "batch 4, published 256 or 128",
    ]
    assert dataclasses.replace(same, epochs=44, protocol=PROTOCOLS["strict"]).deviations(False) == []
    assert dataclasses.replace(same, lr=0.02).deviations(True) == ["lr 0.02, published 0.01"]
    assert dataclasses.replace(same, lr=0.02, learned_lr=True).deviations(True) == []


def test_learned_labels_deviate_from_what_was_published_for_them() -> None:
    """FRePo's numbers are of another training than DM's; the epochs of one are no deviation of the other."""
    same = recipe(protocol=VDSD_OWN, labels="own", epochs=1000, lr=1e-4, weight_decay=5e-4, batch=500)
    assert same.deviations(True) == []
    other = dataclasses.replace(same, epochs=500, batch=256, lr=0.01)
    said = ["epochs 500, published 1000", "lr 0.01, published 0.0001", "batch 256, published 500"]
    assert other.deviations(True) == said


def test_one_clip_a_video_is_a_deviation() -> None:
    """Three passes over the same clips are not three draws: they differ in their flips alone."""
    same = recipe(protocol=VDSD, epochs=500, lr=0.01, momentum=0.9, weight_decay=5e-4, batch=256)
    assert same.deviations(False) == ["one test clip per video, published a random one in each pass"]
    assert several_clips((1, 1, 2))[0].several_clips and not several_clips((1, 1, 1))[0].several_clips


def test_a_protocol_has_its_own_rate_unless_the_preset_has_one() -> None:
    """0.01 is published; by it a ConvNet3D often diverges on a few clips, and every set looks as bad as any other."""
    for name, rate in {"strict": 0.003, "strict-strong": 3e-4, "strict-teacher": 3e-4, "vdsd": 0.01}.items():
        assert recipe_of(EvaluationSection(protocol=name), "linear", torch.float32, None).lr == rate
        assert recipe_of(EvaluationSection(protocol=name, lr=0.2), "linear", torch.float32, None).lr == 0.2
    assert recipe_of(EvaluationSection(protocol="vdsd", labels="own"), "linear", torch.float32, None).lr == 1e-4
    learned = EvaluationSection(lr=0.2, use_learned_lr=True)
    mine, rival = (recipe_of(learned, "linear", torch.float32, step_size) for step_size in (0.07, None))
    assert (mine.lr, mine.learned_lr, rival.lr, rival.learned_lr) == (0.07, True, 0.2, False)


def test_two_recipes_have_one_fingerprint_only_if_they_are_the_same() -> None:
    """Else a cached number of one would be reported for the other."""
    base = recipe()
    others = [dataclasses.replace(base, protocol=protocol) for protocol in PROTOCOLS.values()]
    others += [
        dataclasses.replace(base, **{key: value}) for key, value in (("lr", 0.1), ("labels", "own"), ("batch", 8))
    ]
    others += [dataclasses.replace(base, frames="frozen"), dataclasses.replace(base, model="other")]
    others += [dataclasses.replace(base, labels="own", protocol=VDSD_OWN)]
    assert len({one.digest() for one in others}) == len(others)
    assert dataclasses.replace(base).digest() == base.digest()


def test_what_hard_labels_mean_is_what_it_was() -> None:
    """Else every finished network is trained again, and a table parts results that were measured in the same way."""
    known = {"strict": "29d4927a1a71f1ea", "strict-strong": "c35e37598b889552", "strict-teacher": "4137be33bfc5e29b"}
    for name, digest in known.items():
        protocol = PROTOCOLS[name]
        how = Recipe(
            "convnet3d", 500, 0.003, 0.9, 5e-4, 256, protocol=protocol, teacher="t" if protocol.teacher else ""
        )
        assert (how.digest(), protocol.version) == (digest, 2)
        assert "loss" not in how.record()


def test_a_result_of_learned_labels_says_its_loss() -> None:
    """Networks of another loss, as the mean over classes once was, must not stand in one column with these."""
    own = recipe(labels="own").record()
    assert (own["labels"], own["loss"]) == ("own", "squared error, summed over classes")
    published = recipe(labels="own", protocol=VDSD_OWN).record()
    named = [published[key] for key in ("optimiser", "schedule", "loss", "momentum")]
    assert named == ["adamw", "warm-up and cosine", "mean squared error", None]


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
    (tmp_path / ".vdtui-0-00000000-abcdefgh.tmp").mkdir()  # of a writer that was killed behind its last step
    os.utime(tmp_path / ".vdtui-0-00000000-abcdefgh.tmp", (0, 0))
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
        # From zero weights the bias takes one step: -0.05 * mean over clips of 2 (0 - target).
        expected = 0.05 * 2 * wanted.double().mean(0).numpy()
        assert np.allclose(weights(network)[-3:], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("classes", [3, 30])
def test_learned_labels_are_no_weaker_for_many_classes(classes: int) -> None:
    """The error was averaged over classes: at the same rate networks of 51 learned 23 % of their own clips."""
    spec = make_spec([str(k) for k in range(classes)], frames=2, height=3)
    real, how = make_real(spec, [1] * classes), recipe(labels="own", epochs=1, momentum=0.0, weight_decay=0.0)
    found = weights(train_network(real, how, seed=0))[:-classes].reshape(classes, -1)
    x = real.clips(torch.arange(classes)).reshape(classes, -1).double().numpy()
    y = (np.eye(classes)[real.labels.numpy()] - 1 / classes) / math.sqrt(classes / 10)
    assert np.allclose(found, 0.05 * 2 * y.T @ x / classes, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("protocol", [PROTOCOLS["strict"], VDSD_OWN])
def test_a_guess_is_the_best_constant_answer(protocol: Protocol) -> None:
    """What a training loss is compared with to say that a network learned nothing: found by descent, not by formula."""
    labels = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(1)) + torch.tensor([2.0, 0.0, -1.0])
    soft, real = Pixels(SPEC, pixels().pixels, soft_labels=labels), make_real(SPEC, (4, 1, 2))
    for data, targets in ((soft, labels.reshape(6, 3)), (real, centred(real.labels, 3))):
        constant = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        descent = torch.optim.LBFGS([constant])

        def error(constant: torch.Tensor = constant, targets: torch.Tensor = targets) -> torch.Tensor:
            squares = (targets.double() - constant).square()
            return squares.mean() if protocol.mean_error else squares.sum(1).mean()

        def closure(
            error: Callable[[], torch.Tensor] = error, descent: torch.optim.Optimizer = descent
        ) -> torch.Tensor:
            descent.zero_grad()
            error().backward()
            return error()

        descent.step(closure)
        trained = fit(data, recipe(protocol=protocol, labels="own", batch=4), seed=0)
        assert trained.guess == pytest.approx(error().item(), rel=1e-5)
    assert fit(real, recipe(), seed=0).guess == pytest.approx(math.log(3))


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
