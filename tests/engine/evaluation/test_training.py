"""Training and testing of networks: every number that a user reports comes from here."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engine.data.batches import RealClips
from engine.errors import StopRequested
from engine.evaluation import PROTOCOLS, Recipe, evaluate_network, outcome, train_network, training
from engine.evaluation.protocols import FrameOrder
from engine.evaluation.training import as_stills, one_pass
from engine.models import Network, video_model
from engine.models.convnet3d import ConvNet3DSmall
from engine.models.registry import VIDEO_MODELS
from engine.seeds import derive, generator
from engine.synthetic import Coreset, Pixels, StaticImages, StillVideo, SyntheticSet, Temporal, decode_set, encode_set
from tests.tiny import FakeView, make_pixels, make_real, make_spec, make_static_dynamic, normalised

SPEC = make_spec("abc", frames=2, height=3)
INPUTS = 3 * 2 * 3 * 3


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


class Dropping(Linear):
    """The same from a random start and with dropout: all kinds of randomness that training has."""

    def __init__(self, classes: int, frames: int, size: int) -> None:
        super().__init__(classes, frames, size)
        self.layer.reset_parameters()

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.layer(nn.functional.dropout(self.embed(clips), training=self.training))


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VIDEO_MODELS, "linear", Linear)
    monkeypatch.setitem(VIDEO_MODELS, "dropping", Dropping)


def recipe(**changes: Any) -> Recipe:
    values = {"model": "linear", "epochs": 6, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "batch": 64}
    return Recipe(**{**values, **changes})


def pixels() -> Pixels:
    return Pixels(SPEC, torch.randn(3, 2, 2, 3, 3, 3, generator=torch.Generator().manual_seed(0)))


def weights(network: nn.Module) -> np.ndarray:
    return np.concatenate([parameter.detach().double().numpy().ravel() for parameter in network.parameters()])


# --- training --------------------------------------------------------------------------------------------------------


def sgd_by_hand(x: np.ndarray, y: np.ndarray, rates: list[float], momentum: float, decay: float) -> np.ndarray:
    """Softmax regression in float64, whole batches; velocity v = momentum v + gradient + decay w; w -= rate v."""
    weight, bias = np.zeros((3, x.shape[1])), np.zeros(3)
    velocity = [np.zeros_like(weight), np.zeros_like(bias)]
    for rate in rates:
        logits = x @ weight.T + bias
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        for i, (value, gradient) in enumerate(((weight, p.T @ x / len(y)), (bias, p.sum(axis=0) / len(y)))):
            velocity[i] = momentum * velocity[i] + gradient + decay * value
        weight, bias = weight - rate * velocity[0], bias - rate * velocity[1]
    return np.concatenate([weight.ravel(), bias])


@pytest.mark.parametrize(("momentum", "decay", "epochs"), [(0.0, 0.0, 2), (0.9, 0.0, 8), (0.9, 0.05, 8)])
def test_training_is_sgd_with_a_tenth_of_the_rate_from_half_way(momentum: float, decay: float, epochs: int) -> None:
    """Against SGD written out in float64: momentum, weight decay, and the drop exactly half way."""
    synthetic = pixels()
    network = train_network(synthetic, recipe(epochs=epochs, momentum=momentum, weight_decay=decay), seed=1)
    x = synthetic.pixels.transpose(2, 3).reshape(6, -1).double().numpy()
    rates = [0.05] * (epochs // 2) + [0.005] * (epochs // 2)
    expected = sgd_by_hand(x, np.repeat(np.arange(3), 2), rates, momentum, decay)
    assert np.allclose(weights(network), expected, rtol=1e-4, atol=1e-6)
    assert not network.training


def test_an_epoch_is_every_clip_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches of at most ``batch``, in an order that changes; a clip left out would not be learned from."""
    synthetic, seen = pixels(), []
    stored = [tuple(clip.flatten().tolist()) for clip in synthetic.expand()[0]]

    class Watching(Linear):
        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            seen.append([stored.index(tuple(clip.flatten().tolist())) for clip in clips])
            return super().forward(clips)

    monkeypatch.setitem(VIDEO_MODELS, "watching", Watching)
    train_network(synthetic, recipe(model="watching", epochs=5, batch=4), seed=0)
    assert [len(batch) for batch in seen] == [4, 2] * 5
    epochs = [seen[i] + seen[i + 1] for i in range(0, 10, 2)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs) and len({tuple(epoch) for epoch in epochs}) > 1


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def make_kind(kind: str, ipc: int) -> SyntheticSet:
    """Random ones of every kind, some with labels of their own."""
    soft = random(3, ipc, 3)
    makers = {
        "pixels": lambda: Pixels(SPEC, random(3, ipc, 2, 3, 3, 3), soft_labels=soft),
        "few frames": lambda: Pixels(SPEC, random(3, ipc, 1, 3, 3, 3), temporal=Temporal(2, 1)),
        "coreset": lambda: Coreset(SPEC, random(3, ipc, 2, 3, 3, 3)),
        "images": lambda: StaticImages(SPEC, random(3, ipc, 3, 3, 3), soft_labels=soft),
        "still": lambda: StillVideo(SPEC, ipc, random(3, 2 * ipc, 3, 3, 3), soft_labels=soft),
        "static-dynamic": lambda: make_static_dynamic(SPEC, ipc, soft=True),
        "hallucinators": lambda: make_static_dynamic(SPEC, ipc, hallucinators=3),
        "per class": lambda: make_static_dynamic(SPEC, ipc, per_class=True, temporal=Temporal(2, 1), side=2),
        "no statics": lambda: make_static_dynamic(SPEC, ipc, statics=0),
    }
    return makers[kind]()


KINDS = [
    "pixels",
    "few frames",
    "coreset",
    "images",
    "still",
    "static-dynamic",
    "hallucinators",
    "per class",
    "no statics",
]


@given(st.sampled_from(KINDS), st.integers(1, 4), st.integers(1, 14), st.integers(0, 2**31))
def test_a_pass_makes_the_clips_of_a_batch_only(kind: str, ipc: int, batch: int, seed: int) -> None:
    """All clips of a large set at once are many times its bytes; a batch at a time they must be the same, in order."""
    synthetic, asked = make_kind(kind, ipc), []
    rng = generator(seed, "epoch")
    whole = synthetic.draw(rng)
    order = torch.randperm(3 * ipc, generator=rng)
    compose = synthetic.compose

    def counting(labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        asked.append(len(labels))
        return compose(labels, choice)

    synthetic.compose = counting  # type: ignore[method-assign]
    made = list(one_pass(synthetic, generator(seed, "epoch"), batch))
    assert asked == [len(drawn.clips) for drawn in made] == [len(part) for part in order.split(batch)]
    assert torch.equal(torch.cat([drawn.labels for drawn in made]), whole.labels[order])
    assert torch.equal(torch.cat([drawn.targets for drawn in made]), whole.targets[order])
    assert torch.allclose(torch.cat([drawn.clips for drawn in made]), whole.clips[order], atol=1e-5)
    assert not any(drawn.clips.requires_grad for drawn in made)


def test_each_epoch_draws_the_clips_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs of statics and dynamics are trained on, not the four of the first draw."""
    synthetic, seen = make_static_dynamic(SPEC), set()

    class Watching(Linear):
        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            seen.update(round(clip.sum().item(), 4) for clip in clips)
            return super().forward(clips)

    monkeypatch.setitem(VIDEO_MODELS, "watching", Watching)
    train_network(synthetic, recipe(model="watching", epochs=30), seed=0)
    assert len(seen) == 3 * 4


def test_training_is_repeatable_and_disturbs_nobody() -> None:
    """A number that is published with its seed can be had again, whatever else the process draws."""
    synthetic, how = make_static_dynamic(SPEC, ipc=2), recipe(model="dropping", batch=3)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = weights(train_network(synthetic, how, seed=5))
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(17)
    assert np.array_equal(first, weights(train_network(synthetic, how, seed=5)))
    assert not np.array_equal(first, weights(train_network(synthetic, how, seed=6)))


def test_training_leaves_the_set_as_it_is() -> None:
    """The set under evaluation is still being learned."""
    synthetic = make_static_dynamic(SPEC)
    for parameter in synthetic.parameters().values():
        parameter.requires_grad_()
    before = {name: tensor.clone() for name, tensor in synthetic.tensors().items()}
    train_network(synthetic, recipe(), seed=0)
    assert all(torch.equal(tensor, synthetic.tensors()[name]) for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in synthetic.parameters().values())


def test_training_can_be_watched_and_stopped() -> None:
    """A stop in the middle of an evaluation is obeyed within a training step, and progress only grows."""
    done: list[float] = []

    def watch(fraction: float) -> None:
        done.append(fraction)
        if len(done) == 4:
            raise StopRequested("enough")

    before = torch.get_rng_state()
    with pytest.raises(StopRequested):
        train_network(pixels(), recipe(batch=4, epochs=50), 0, watch)
    assert len(done) == 4 and done == sorted(done) and done[0] >= 0 and done[-1] < 1
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("batch", [1, 3, 4, 256])
def test_progress_grows_within_an_epoch_too(batch: int) -> None:
    """An epoch of all real clips takes minutes; progress that stands still in it makes the time left grow."""
    done: list[float] = []
    synthetic = pixels()
    train_network(synthetic, recipe(batch=batch, epochs=2), 0, done.append)
    clips = synthetic.ipc * len(synthetic.spec.classes)
    steps = 2 * -(-clips // batch)
    assert done == pytest.approx([k / steps for k in range(steps)])


# --- testing ---------------------------------------------------------------------------------------------------------


def outcome_by_hand(logits: list[list[float]], labels: list[int], video: list[int], classes: int) -> tuple:
    """One video after the other; of equal logits the first class counts."""
    right = in_five = 0
    confusion = [[0] * classes for _ in range(classes)]
    videos = sorted(set(video))
    for name in videos:
        own = [i for i in range(len(video)) if video[i] == name]
        mean = [sum(logits[i][c] for i in own) / len(own) for c in range(classes)]
        ranked = sorted(range(classes), key=lambda c: (-mean[c], c))
        label = labels[own[0]]
        confusion[label][ranked[0]] += 1
        right += ranked[0] == label
        in_five += label in ranked[:5]
    per_class = [row[c] / sum(row) if sum(row) else None for c, row in enumerate(confusion)]
    return right / len(videos), in_five / len(videos), per_class, confusion


@given(st.integers(1, 8), st.lists(st.tuples(st.integers(0, 7), st.integers(1, 4)), min_size=1, max_size=12), st.data())
def test_accuracies_against_loops(classes: int, videos: list[tuple[int, int]], data: st.DataObject) -> None:
    """Several clips per video in any order, classes without videos, fewer than five classes, ties."""
    names = data.draw(st.lists(st.integers(0, 1000), min_size=len(videos), max_size=len(videos), unique=True))
    rows = [(name, label % classes) for name, (label, count) in zip(names, videos, strict=True) for _ in range(count)]
    rows = data.draw(st.permutations(rows))
    values = st.lists(st.integers(-3, 3), min_size=classes, max_size=classes)
    logits = data.draw(st.lists(values, min_size=len(rows), max_size=len(rows)))
    video, labels = [name for name, _ in rows], [label for _, label in rows]
    found = outcome(torch.tensor(logits).float(), torch.tensor(labels), torch.tensor(video), classes)
    top1, top5, per_class, confusion = outcome_by_hand(logits, labels, video, classes)
    assert (found.top1, found.top5) == (pytest.approx(top1), pytest.approx(top5))
    assert found.confusion == confusion
    assert [value is None for value in found.per_class] == [value is None for value in per_class]
    for mine, theirs in zip(found.per_class, per_class, strict=True):
        assert mine is None or mine == pytest.approx(theirs, rel=1e-6)
    if classes <= 5:
        assert found.top5 == 1.0


def test_fractions_are_exact() -> None:
    """`show --json` prints these: a third is 0.3333333333333333, for the class as for the whole."""
    found = outcome(torch.eye(2)[[0, 1, 1]], torch.tensor([0, 0, 0]), torch.tensor([1, 2, 3]), 2)
    assert found.top1 == 1 / 3
    assert found.per_class == [1 / 3, None]


def test_logits_are_averaged_not_votes() -> None:
    """One clear clip outweighs two doubtful ones: the protocol averages logits."""
    logits = torch.tensor([[0.0, 1.0], [0.0, 1.0], [9.0, 0.0]])
    assert outcome(logits, torch.tensor([0, 0, 0]), torch.tensor([4, 4, 4]), 2).top1 == 1.0


def test_the_whole_split_is_tested_in_its_order() -> None:
    """Each clip once with its own label, also in a last batch that is not full, and without dropout."""
    real = make_real(SPEC, (5, 4, 3))
    network = Dropping(3, 2, 3).eval()
    with torch.no_grad():
        x = torch.tensor(normalised(real.view.pixels, SPEC)).flatten(1)  # type: ignore[attr-defined]
        logits = x @ network.layer.weight.double().T + network.layer.bias.double()
    expected = outcome_by_hand(logits.tolist(), real.view.labels.tolist(), list(range(12)), 3)
    sizes = []
    for size in (1, 5, 12, 32):
        watched: list[float] = []
        found = evaluate_network(network, real, torch.float32, watched.append, size)
        assert (found.top1, found.top5, found.confusion) == (pytest.approx(expected[0]), 1.0, expected[3])
        sizes.append(len(watched))
    assert sizes == [12, 3, 1, 1]


def test_clips_of_a_video_are_put_together() -> None:
    """A video of three clips is one test, whichever numbers the videos have."""
    labels, video = [0, 0, 1, 1, 1, 2], [40, 40, 7, 7, 7, 0]
    view = FakeView(make_pixels(6, SPEC), labels, video)
    real = RealClips(view, SPEC, torch.device("cpu"))  # type: ignore[arg-type]
    found = evaluate_network(Linear(3, 2, 3), real, torch.float32)
    assert sum(itertools.chain(*found.confusion)) == 3
    assert found.top1 == pytest.approx(1 / 3) and found.per_class == [1.0, 0.0, 0.0]


# --- clips that do not move ------------------------------------------------------------------------------------------

CPU = torch.device("cpu")
STILLS = make_spec("abc", frames=8, height=64)


def make_stills(kind: str) -> SyntheticSet:
    """Sets of two instances of each class whose clips do not move, for networks of the package."""
    rng = torch.Generator().manual_seed(0)
    if kind == "still":
        return StillVideo(STILLS, 2, torch.randn(3, 4, 3, 64, 64, generator=rng))
    if kind == "one frame":
        return Pixels(STILLS, torch.randn(3, 2, 1, 3, 64, 64, generator=rng), temporal=Temporal(8, 1))
    coded = Coreset(STILLS, torch.randn(3, 2, 8, 3, 64, 64, generator=rng))
    return decode_set(encode_set(coded, "jpeg-90:repeat1").blob)


@pytest.mark.parametrize(
    ("kind", "protocol", "frames"),
    [
        ("still", "strict", "as-is"),
        ("one frame", "strict", "shuffled"),
        ("coded", "strict", "frozen"),
        ("still", "strict-strong", "as-is"),
        ("coded", "strict-teacher", "reversed"),
        ("one frame", "vdsd", "as-is"),
    ],
)
def test_a_network_of_stills_is_that_of_their_clips(
    kind: str, protocol: str, frames: FrameOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained on one frame of each clip, and on all of them: a saving of time that changed a number would be none."""
    monkeypatch.setattr(ConvNet3DSmall, "widths", (4, 6, 6))
    changes = {"protocol": PROTOCOLS[protocol], "frames": frames, "teacher": "t"}
    how = recipe(model="convnet3d_small", epochs=4, lr=1e-3, batch=4, **changes)
    teacher = video_model("convnet3d_small", 3, 8, 64, 9, CPU).eval() if how.protocol.teacher else None
    start = weights(video_model("convnet3d_small", 3, 8, 64, derive(1, "init"), CPU))
    synthetic, seen = make_stills(kind), []
    convolve = nn.Conv3d.forward

    def watched(layer: nn.Conv3d, clips: torch.Tensor) -> torch.Tensor:
        seen.append(clips.shape[2])
        return convolve(layer, clips)

    monkeypatch.setattr(nn.Conv3d, "forward", watched)
    quick = weights(train_network(synthetic, how, 1, teacher=teacher))
    assert set(seen) == {1}, "only the classifier, behind the pool over time, is 3-D"
    monkeypatch.setattr(training, "as_stills", lambda data, recipe: None)
    slow = weights(train_network(synthetic, how, 1, teacher=teacher))
    assert 8 in seen
    assert np.linalg.norm(quick - slow) < 1e-3 * np.linalg.norm(slow - start)


def test_clips_that_move_and_other_networks_see_all_frames() -> None:
    """One pixel of the last frame is enough; and nobody else's network is asked what it makes of images."""
    still, small = make_stills("still"), recipe(model="convnet3d_small")
    assert as_stills(still, small) is not None and as_stills(still, recipe()) is None
    assert as_stills(make_real(STILLS, (1, 1, 1), still=True), small) is None
    pixels = torch.zeros(3, 2, 8, 3, 64, 64)
    assert as_stills(Pixels(STILLS, pixels), small) is not None
    pixels[2, 1, 7, 2, 63, 63] = 1e-6
    assert as_stills(Pixels(STILLS, pixels), small) is None
    assert as_stills(make_static_dynamic(STILLS, temporal=Temporal(8, 1)), small) is None
