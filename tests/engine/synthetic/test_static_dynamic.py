"""Static-dynamic memories: what a user loses here is that the stored numbers are the clips that were learned."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from engine.config import load_preset
from engine.evaluation.trials import digest
from engine.models import Hallucinator
from engine.synthetic import (
    Start,
    StaticDynamic,
    Temporal,
    fit_dynamic,
    of_one_luminance,
    residual_dynamic,
    still_of,
)
from tests.tiny import compose_by_hand, enlarge_by_hand, make_real, make_spec, make_static_dynamic

PAIRINGS = [(1, 1), (2, 2), (3, 2)]


def marked(ipc: int, statics: int, dynamics: int, classes: int = 3) -> StaticDynamic:
    """Memories whose clips say of what they are made: channel 0 is 100 c + s, channel 1 is 100 c + d."""
    spec = make_spec("abcdef"[:classes], frames=2, height=3)
    static, dynamic = (
        100.0 * torch.arange(classes)[:, None] + torch.arange(ipc * number)[None] for number in (statics, dynamics)
    )
    hallucinator = Hallucinator()
    with torch.no_grad():
        hallucinator.weight.zero_()
        hallucinator.bias.zero_()  # type: ignore[union-attr]
        hallucinator.weight[0, 0, 1, 1, 1] = hallucinator.weight[1, 3, 1, 1, 1] = 1.0
    return StaticDynamic(
        spec,
        ipc,
        static[:, :, None, None, None].expand(-1, -1, 3, 3, 3).contiguous(),
        dynamic[:, :, None, None, None, None].expand(-1, -1, 2, 1, 3, 3).contiguous(),
        hallucinator,
    )


def origins(clips: torch.Tensor) -> list[tuple[int, int, int]]:
    """(class, static, dynamic) of marked clips; all voxels of a clip must agree."""
    found = []
    for clip in clips:
        s, d = (channel.unique().tolist() for channel in clip[:2])
        assert len(s) == len(d) == 1 and s[0] // 100 == d[0] // 100
        found.append((int(s[0] // 100), int(s[0] % 100), int(d[0] % 100)))
    return found


def test_clips_are_the_hallucinator_s_convolution() -> None:
    """Every clip of the set against explicit loops in float64, with random weights and a frame that is not square."""
    spec = make_spec(frames=3, height=4, width=5)
    synthetic = make_static_dynamic(spec, ipc=2, statics=2, dynamics=1)
    clips, labels = synthetic.expand()
    tensors = {name: tensor.numpy() for name, tensor in synthetic.tensors().items()}
    number = 0
    for c, j, s in itertools.product(range(2), range(2), range(2)):
        expected = compose_by_hand(
            tensors["static"][c, 2 * j + s],
            tensors["dynamic"][c, j, :, 0],
            tensors["hallucinator.weight"],
            tensors["hallucinator.bias"],
        )
        assert labels[number] == c
        assert np.allclose(clips[number].numpy(), expected, rtol=1e-5, atol=1e-5)
        number += 1
    assert len(clips) == number == 8


@pytest.mark.parametrize("ipc", [1, 2, 3])
@pytest.mark.parametrize(("statics", "dynamics"), PAIRINGS)
def test_a_draw_has_a_clip_of_every_instance_made_of_its_own(ipc: int, statics: int, dynamics: int) -> None:
    """Memories of another instance, or class, would blur what each one learns; any IPC must work."""
    synthetic = marked(ipc, statics, dynamics)
    seen = Counter()
    for seed in range(30):
        clips, labels = synthetic.sample(torch.Generator().manual_seed(seed))
        assert labels.tolist() == [c for c in range(3) for _ in range(ipc)] and labels.dtype == torch.int64
        for number, (c, s, d) in enumerate(origins(clips)):
            assert (c, s // statics, d // dynamics) == (number // ipc, number % ipc, number % ipc)
            seen[c, s, d] += 1
    assert len(seen) == 3 * ipc * statics * dynamics, "some pairs are never drawn"


@pytest.mark.parametrize(("statics", "dynamics"), [(2, 2), (3, 2)])
def test_pairs_are_drawn_equally_often(statics: int, dynamics: int) -> None:
    """A pair that is drawn less often is learned worse. Chi-square over the pairs of each instance."""
    synthetic, draws = marked(2, statics, dynamics), 160
    seen = Counter()
    for seed in range(draws):
        seen.update(origins(synthetic.sample(torch.Generator().manual_seed(seed))[0]))
    pairs = statics * dynamics
    for c, j in itertools.product(range(3), range(2)):
        counts = [
            seen[c, j * statics + s, j * dynamics + d] for s, d in itertools.product(range(statics), range(dynamics))
        ]
        expected = draws / pairs
        assert sum(counts) == draws
        assert sum((count - expected) ** 2 / expected for count in counts) < pairs - 1 + 6 * (2 * (pairs - 1)) ** 0.5


def test_instances_are_drawn_independently() -> None:
    """If all instances took the same variant, a batch would show a quarter of the combinations."""
    synthetic = marked(2, 2, 2)
    together = Counter()
    for seed in range(150):
        found = origins(synthetic.sample(torch.Generator().manual_seed(seed), [1])[0])
        together[tuple((s % 2, d % 2) for _, s, d in found)] += 1
    assert len(together) == 16


@given(st.integers(0, 2**31), st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True), st.integers(1, 3))
def test_a_draw_of_some_classes_is_that_part_of_the_whole_draw(seed: int, classes: list[int], ipc: int) -> None:
    """A large set is drawn in parts to fit into memory: it must be the same draw."""
    synthetic = marked(ipc, 2, 2)
    whole, _ = synthetic.sample(torch.Generator().manual_seed(seed))
    part, labels = synthetic.sample(torch.Generator().manual_seed(seed), classes)
    assert labels.tolist() == [c for c in classes for _ in range(ipc)]
    assert torch.equal(part, torch.cat([whole[c * ipc : (c + 1) * ipc] for c in classes]))


@pytest.mark.parametrize("ipc", [1, 2, 3])
@pytest.mark.parametrize(("statics", "dynamics"), PAIRINGS)
def test_expand_gives_every_clip_once_in_order(ipc: int, statics: int, dynamics: int) -> None:
    """By class, instance, static, dynamic: exported names and grids go by this order."""
    synthetic = marked(ipc, statics, dynamics)
    clips, labels = synthetic.expand()
    expected = [
        (c, j * statics + s, j * dynamics + d)
        for c in range(3)
        for j in range(ipc)
        for s in range(statics)
        for d in range(dynamics)
    ]
    assert origins(clips) == expected and labels.tolist() == [c for c, _, _ in expected]
    assert len(expected) == 3 * synthetic.clips_per_class and not clips.requires_grad


def test_the_dataset_is_what_expand_gives() -> None:
    """`load_synthetic(path).as_dataset()` is how others train on a set: a plain torch Dataset in a plain DataLoader."""
    synthetic = make_static_dynamic(make_spec("abc"), ipc=2)
    clips, labels = synthetic.expand()
    dataset = synthetic.as_dataset()
    assert len(dataset) == len(clips) == 3 * 2 * 4  # type: ignore[arg-type]
    loaded = list(DataLoader(dataset, batch_size=5))
    assert torch.allclose(torch.cat([batch for batch, _ in loaded]), clips, atol=1e-5)
    assert torch.equal(torch.cat([batch for _, batch in loaded]), labels)
    item, label = dataset[7]
    assert item.shape == (3, 3, 4, 4) and item.dtype == torch.float32 and type(label) is int
    assert not item.requires_grad
    for outside in (len(clips), -1):
        with pytest.raises(IndexError):
            dataset[outside]


def test_layout_is_channels_last() -> None:
    """3-D convolutions on the GPU are several times slower in the other layout."""
    clips, _ = make_static_dynamic(make_spec()).sample(torch.Generator())
    assert clips.is_contiguous(memory_format=torch.channels_last_3d)


def test_the_gradient_is_that_of_the_clips() -> None:
    """Against finite differences in float64; the static memory, frozen in stage 2, has none."""
    synthetic = make_static_dynamic(make_spec(height=3), ipc=1)
    synthetic.hallucinator.double()
    synthetic.static, synthetic.dynamic = synthetic.static.double(), synthetic.dynamic.double()
    parameters = synthetic.parameters()
    assert set(parameters) == {"dynamic", "hallucinator.weight", "hallucinator.bias"}
    for parameter in parameters.values():
        parameter.requires_grad_()
    rng = torch.Generator().manual_seed(1)
    weights = torch.randn(2, 3, 3, 3, 3, dtype=torch.float64, generator=rng)

    def loss() -> torch.Tensor:
        return (weights * synthetic.sample(torch.Generator().manual_seed(5))[0] ** 2).sum()

    loss().backward()
    assert synthetic.static.grad is None and not synthetic.static.requires_grad
    for parameter in parameters.values():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0
        flat, gradient = parameter.detach().view(-1), parameter.grad.reshape(-1)
        for index in range(0, len(flat), max(1, len(flat) // 12)):
            before, values = flat[index].item(), []
            for change in (1e-5, -1e-5):
                flat[index] = before + change
                values.append(loss().item())
            flat[index] = before
            assert gradient[index].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-6)


def test_tensors_are_the_parameters_themselves() -> None:
    """A checkpoint is written from them and loaded into them: a copy would lose every step."""
    synthetic = make_static_dynamic(make_spec())
    with torch.no_grad():
        synthetic.parameters()["dynamic"].fill_(7.0)
        synthetic.tensors()["hallucinator.bias"].fill_(3.0)
    assert synthetic.tensors()["dynamic"].unique().tolist() == [7.0]
    assert synthetic.hallucinator.bias.tolist() == [3.0] * 3  # type: ignore[union-attr]


# --- several hallucinators, fewer and smaller frames ------------------------------------------------------------------


def test_draws_of_earlier_runs_are_what_they_were() -> None:
    """A run that was started with an earlier version goes on with the same draws; the list was written down then."""
    found = origins(marked(2, 2, 2).sample(torch.Generator().manual_seed(5))[0])
    assert found == [(0, 1, 1), (0, 3, 2), (1, 1, 1), (1, 2, 3), (2, 1, 0), (2, 3, 2)]


TEMPORAL = [None, Temporal(4, 2), Temporal(4, 3, 1, "linear"), Temporal(4, 1, 2)]


@pytest.mark.parametrize("side", [None, 1, 2, 4])
@pytest.mark.parametrize("temporal", TEMPORAL, ids=str)
def test_stored_dynamics_are_enlarged_and_stretched(temporal: Temporal | None, side: int | None) -> None:
    """Every clip against explicit loops: enlarged pixel by pixel, stretched by the matrix, convolved by hand."""
    spec = make_spec(frames=4, height=4, width=5)
    synthetic = make_static_dynamic(spec, ipc=1, statics=1, dynamics=2, temporal=temporal, side=side)
    clips, _ = synthetic.expand()
    tensors = {name: tensor.numpy() for name, tensor in synthetic.tensors().items()}
    matrix = np.eye(4) if temporal is None else temporal.matrix().numpy()
    for number, (c, d) in enumerate(itertools.product(range(2), range(2))):
        stored = tensors["dynamic"][c, d, :, 0]
        large = np.stack([enlarge_by_hand(frame, 4, 5) for frame in stored])
        shown = np.einsum("fs,shw->fhw", matrix, large)
        weights = tensors["hallucinator.weight"], tensors["hallucinator.bias"]
        expected = compose_by_hand(tensors["static"][c, 0], shown, *weights)
        assert np.allclose(clips[number].numpy(), expected, rtol=1e-5, atol=1e-5)
    assert clips.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("side", [2, 3, 7])
def test_smaller_dynamics_are_enlarged_as_torch_does(side: int) -> None:
    """Bilinear between the centres of the pixels: a reader of the file without us can do the same in one line."""
    synthetic = make_static_dynamic(make_spec(frames=3, height=16), side=side)
    stored = synthetic.dynamic[:, 0]
    expected = torch.nn.functional.interpolate(stored[:, :, 0], (16, 16), mode="bilinear", align_corners=False)
    assert torch.equal(synthetic.moving(stored), expected)


def test_space_and_time_can_be_enlarged_in_any_order() -> None:
    """A preview, a report and the training must show the same, whichever they do first."""
    temporal = Temporal(6, 2, 2, "linear")
    synthetic = make_static_dynamic(make_spec(frames=6, height=8), temporal=temporal, side=3)
    stretched = temporal.stretch(synthetic.dynamic[1, :, :, 0], 1)
    later = torch.nn.functional.interpolate(stretched, (8, 8), mode="bilinear", align_corners=False)
    assert torch.allclose(synthetic.moving(synthetic.dynamic[1]), later, atol=1e-6)


def test_every_pair_is_made_by_every_hallucinator_in_order() -> None:
    """By class, instance, static, dynamic, hallucinator, against explicit loops: exported names go by this order."""
    synthetic = make_static_dynamic(make_spec(frames=2, height=3), ipc=2, statics=2, dynamics=1, hallucinators=3)
    clips, labels = synthetic.expand()
    tensors = {name: tensor.numpy() for name, tensor in synthetic.tensors().items()}
    number = 0
    for c, j, s, h in itertools.product(range(2), range(2), range(2), range(3)):
        expected = compose_by_hand(
            tensors["static"][c, 2 * j + s],
            tensors["dynamic"][c, j, :, 0],
            tensors["hallucinator.weight"][h],
            tensors["hallucinator.bias"][h],
        )
        assert labels[number] == c and np.allclose(clips[number].numpy(), expected, rtol=1e-5, atol=1e-5)
        number += 1
    assert len(clips) == number == 24 and synthetic.variants == 6 and synthetic.clips_per_class == 12


def test_hallucinators_are_drawn_equally_often_and_with_every_pair() -> None:
    """One that is drawn less often is learned worse. Clips say which one made them: its bias is on channel 2."""
    synthetic = marked(1, 2, 2)
    weight, bias = synthetic.hallucinator.weight.detach(), torch.zeros(3, 3)
    bias[:, 2] = torch.arange(3)
    several = Hallucinator.of(weight.expand(3, -1, -1, -1, -1, -1).clone(), bias)
    synthetic = StaticDynamic(synthetic.spec, 1, synthetic.static, synthetic.dynamic, several)
    seen, draws = Counter(), 240
    for seed in range(draws):
        with torch.no_grad():
            clips, _ = synthetic.sample(torch.Generator().manual_seed(seed))
        seen.update((*o, int(clip[2].unique())) for o, clip in zip(origins(clips), clips, strict=True))
    for c in range(3):
        counts = [seen[c, s, d, h] for s, d, h in itertools.product(range(2), range(2), range(3))]
        assert sum(counts) == draws
        assert sum((count - draws / 12) ** 2 / (draws / 12) for count in counts) < 11 + 6 * 22**0.5


# --- ablations: one hallucinator for each class, no still images ---------------------------------------------------


def convolved(still: torch.Tensor, moving: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """One clip (3, T, H, W) of a still (3, H, W) and a dynamic memory (T, H, W) by torch's convolution in float64."""
    joined = torch.cat([still[:, None].repeat(1, len(moving), 1, 1), moving[None]]).double()
    return torch.nn.functional.conv3d(joined[None], weight.double(), bias.double(), padding=1)[0]


def test_each_class_has_its_own_hallucinator() -> None:
    """Every clip, one by one: a class that were given its neighbour's would be another ablation than its name says."""
    synthetic = make_static_dynamic(make_spec("abc", frames=3, height=4, width=5), ipc=2, statics=2, per_class=True)
    clips, labels = synthetic.expand()
    stored = synthetic.tensors()
    assert stored["hallucinator.weight"].shape == (3, 3, 4, 3, 3, 3) and stored["hallucinator.bias"].shape == (3, 3)
    pairs = itertools.product(range(3), range(2), range(2), range(2))
    for number, (c, j, s, d) in enumerate(pairs):
        still, moving = stored["static"][c, 2 * j + s], stored["dynamic"][c, 2 * j + d, :, 0]
        expected = convolved(still, moving, stored["hallucinator.weight"][c], stored["hallucinator.bias"][c])
        assert labels[number] == c and torch.allclose(clips[number].double(), expected, atol=1e-5)
    assert len(clips) == 24 and synthetic.variants == 4, "they are no further variants"


@given(st.integers(0, 2**31), st.lists(st.integers(0, 2), min_size=1, max_size=5))
def test_classes_may_be_asked_for_in_any_order(seed: int, classes: list[int]) -> None:
    """Objectives draw single classes, and evaluation mixed batches."""
    synthetic = make_static_dynamic(make_spec("abc", frames=2), per_class=True)
    labels = torch.tensor(classes)
    choice = torch.randint(4, (len(classes),), generator=torch.Generator().manual_seed(seed))
    clips, (every, _) = synthetic.compose(labels, choice), synthetic.expand()
    assert torch.allclose(clips, every[labels * 4 + choice], atol=1e-6)


def test_a_class_teaches_only_its_own_hallucinator() -> None:
    """Otherwise they would be shared in secret."""
    synthetic = make_static_dynamic(make_spec("abc", frames=2), per_class=True)
    weight = synthetic.parameters()["hallucinator.weight"].requires_grad_()
    synthetic.sample(torch.Generator().manual_seed(0), [1])[0].square().sum().backward()
    assert weight.grad is not None
    assert [bool(own.any()) for own in weight.grad] == [False, True, False]


def test_one_for_each_class_is_told_from_as_many_that_are_shared() -> None:
    """The networks that were trained on one set must not stand for those of the other."""
    mine = make_static_dynamic(make_spec(), per_class=True)
    shared = StaticDynamic(mine.spec, 1, mine.static, mine.dynamic, mine.hallucinator)
    assert all(torch.equal(tensor, shared.tensors()[name]) for name, tensor in mine.tensors().items())
    assert digest(mine) != digest(shared) and shared.variants == 2 * mine.variants


def test_without_still_images_clips_are_made_of_zeros_and_dynamic_memory() -> None:
    """And of nothing else: no image may be hidden in what is not counted."""
    synthetic = make_static_dynamic(make_spec(frames=3, height=4, width=5), ipc=2, statics=0, dynamics=2)
    clips, labels = synthetic.expand()
    stored = synthetic.tensors()
    assert synthetic.stored_values == 2 * 4 * 3 * 4 * 5 + 327 and synthetic.nbytes() == 4 * synthetic.stored_values
    assert synthetic.nbytes("uint8") == 2 * 4 * 3 * 4 * 5 + 2 * 4 * 8 + 4 * 327
    for number, (c, d) in enumerate(itertools.product(range(2), range(4))):
        moving = stored["dynamic"][c, d, :, 0]
        weight, bias = stored["hallucinator.weight"], stored["hallucinator.bias"]
        expected = convolved(torch.zeros(3, 4, 5), moving, weight, bias)
        assert labels[number] == c and torch.allclose(clips[number].double(), expected, atol=1e-5)
    assert len(clips) == 8 and synthetic.variants == 2
    seen = {tuple(synthetic.draw(torch.Generator().manual_seed(s)).clips[0].flatten().tolist()) for s in range(12)}
    assert len(seen) == 2, "some dynamic memories are never drawn"


def test_without_still_images_the_start_shows_the_luminance_of_real_clips() -> None:
    """The ablation starts as near to real clips as it can, or it would lose for its start."""
    spec = make_spec()
    clips = torch.randn(2, 2, 3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    static = torch.zeros(2, 0, 3, 4, 4)
    dynamic = residual_dynamic(clips, static, 1, spec.std)
    made, _ = StaticDynamic(spec, 1, static, dynamic, Hallucinator.identity(spec.std)).expand()
    expected = luminance(clips.flatten(0, 1).numpy(), spec.std, 1)
    assert np.allclose(luminance(made.detach().numpy(), spec.std, 1), expected, atol=1e-5)


# --- what is learned -------------------------------------------------------------------------------------------------


def everything(seed: int = 0) -> StaticDynamic:
    """All that can be learned, at its smallest."""
    return make_static_dynamic(
        make_spec(frames=4, height=4),
        ipc=1,
        seed=seed,
        temporal=Temporal(4, 2, 1, "linear"),
        side=2,
        hallucinators=2,
        train_static=True,
        soft=True,
    )


def test_the_gradient_of_everything_that_can_be_learned() -> None:
    """Against finite differences in float64: small memories, several hallucinators, statics and soft labels."""
    synthetic = everything()
    synthetic.hallucinator.double()
    synthetic.static, synthetic.dynamic = synthetic.static.double(), synthetic.dynamic.double()
    synthetic.soft_labels = synthetic.soft_labels.double()  # type: ignore[union-attr]
    parameters = synthetic.parameters()
    assert set(parameters) == {"static", "dynamic", "hallucinator.weight", "hallucinator.bias", "soft_labels"}
    for parameter in parameters.values():
        parameter.requires_grad_()
    weights = torch.randn(2, 3, 4, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def loss() -> torch.Tensor:
        clips, targets = synthetic.sample(torch.Generator().manual_seed(3))
        return (weights * clips**2).sum() + ((targets - 0.3) ** 4).sum()

    loss().backward()
    for parameter in parameters.values():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0
        flat, gradient = parameter.detach().view(-1), parameter.grad.reshape(-1)
        for index in range(0, len(flat), max(1, len(flat) // 12)):
            before, values = flat[index].item(), []
            for change in (1e-5, -1e-5):
                flat[index] = before + change
                values.append(loss().item())
            flat[index] = before
            assert gradient[index].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-6)


def test_what_is_learned_is_what_was_asked_for() -> None:
    """The static memory and the labels stay as they are unless a preset says otherwise."""
    synthetic = everything()
    frozen = StaticDynamic(
        synthetic.spec,
        1,
        synthetic.static,
        synthetic.dynamic,
        synthetic.hallucinator,
        temporal=synthetic.temporal,
        soft_labels=synthetic.soft_labels,
    )
    assert set(frozen.parameters()) == {"dynamic", "hallucinator.weight", "hallucinator.bias"}
    assert frozen.tensors().keys() == synthetic.tensors().keys() == {*frozen.parameters(), "static", "soft_labels"}
    with torch.no_grad():
        for parameter in synthetic.parameters().values():
            parameter.fill_(2.0)
    assert all(tensor.unique().tolist() == [2.0] for tensor in synthetic.tensors().values())


@given(st.integers(0, 2**31), st.lists(st.integers(0, 1), min_size=1, max_size=2, unique=True))
def test_parts_of_a_draw_with_everything(seed: int, classes: list[int]) -> None:
    """As for plain sets: clips, labels and targets of some classes are those of the whole draw."""
    synthetic = everything()
    whole = synthetic.draw(torch.Generator().manual_seed(seed))
    part = synthetic.draw(torch.Generator().manual_seed(seed), classes)
    assert part.labels.tolist() == classes and torch.equal(part.targets, whole.targets[classes])
    assert torch.allclose(part.clips, whole.clips[classes], atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 1, 3, 4), (4, 1, 5, 5), (3, 1, 4, 4), (4, 2, 4, 4), (4, 1, 0, 0), (4, 1, 8, 8)])
def test_dynamics_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """Neither the clips' size nor a smaller square: a mistake, not a choice."""
    synthetic = make_static_dynamic(make_spec(frames=4, height=4))
    with pytest.raises(AssertionError):
        StaticDynamic(synthetic.spec, 1, synthetic.static, torch.zeros(2, 2, *shape), synthetic.hallucinator)


# --- the start from real clips ---------------------------------------------------------------------------------------


def luminance(clips: np.ndarray, std: tuple[float, ...], axis: int) -> np.ndarray:
    """Mean of the channels in pixel units, up to the constant that the means of the data add."""
    return np.mean(np.moveaxis(clips, axis, -1) * np.array(std), axis=-1)


@pytest.mark.parametrize(("ipc", "statics", "dynamics"), [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 3, 1)])
def test_the_residual_is_the_least_squares_solution(ipc: int, statics: int, dynamics: int) -> None:
    """Against numpy's lstsq, pixel by pixel, over the luminance errors of all pairs of an instance: a start that is
    worse than it could be costs steps."""
    std, rng = (0.2, 0.3, 0.25), np.random.default_rng(0)
    clips = rng.normal(size=(2, ipc * dynamics, 3, 2, 3, 3))
    static = rng.normal(size=(2, ipc * statics, 3, 3, 3))
    found = residual_dynamic(torch.tensor(clips).float(), torch.tensor(static).float(), ipc, std)
    assert found.shape == (2, ipc * dynamics, 2, 1, 3, 3)
    wanted, still = luminance(clips, std, 2), luminance(static, std, 2)
    brightness = np.mean(std)  # what a dynamic of 1 adds to the luminance through an identity hallucinator
    for c, d, t, h, w in np.ndindex(2, ipc * dynamics, 2, 3, 3):
        j = d // dynamics
        own = still[c, j * statics : (j + 1) * statics, h, w]
        solution = np.linalg.lstsq(np.full((statics, 1), brightness), wanted[c, d, t, h, w] - own, rcond=None)[0]
        assert found[c, d, t, 0, h, w].item() == pytest.approx(solution[0], rel=1e-4, abs=1e-5)


def test_one_static_and_one_dynamic_give_the_clip_s_luminance() -> None:
    """Stage 2 starts from what the eye recognises as the real clip."""
    spec, rng = make_spec(), torch.Generator().manual_seed(0)
    clips = torch.randn(2, 2, 3, 3, 4, 4, generator=rng)
    static = torch.randn(2, 2, 3, 4, 4, generator=rng)
    dynamic = residual_dynamic(clips, static, 2, spec.std)
    made, _ = StaticDynamic(spec, 2, static, dynamic, Hallucinator.identity(spec.std)).expand()
    expected = luminance(clips.flatten(0, 1).numpy(), spec.std, 1)
    assert np.allclose(luminance(made.numpy(), spec.std, 1), expected, atol=1e-5)


@pytest.mark.parametrize(("ipc", "statics", "dynamics"), [(1, 2, 2), (2, 3, 2)])
def test_statics_of_one_luminance_let_every_pair_show_a_real_clip(ipc: int, statics: int, dynamics: int) -> None:
    """Whatever is drawn, stage 2 starts from the luminance of a real clip, and from the colours of the static.

    Otherwise it starts from clips in front of the difference of two backgrounds, three times as far from real ones.
    """
    spec, rng = make_spec(), torch.Generator().manual_seed(0)
    clips = torch.randn(2, ipc * dynamics, 3, 3, 4, 4, generator=rng)
    raw = torch.randn(2, ipc * statics, 3, 4, 4, generator=rng)
    static = of_one_luminance(raw, ipc, spec.std)
    still, before = (luminance(one.numpy(), spec.std, 2).reshape(2, ipc, statics, 4, 4) for one in (static, raw))
    assert np.allclose(still, before.mean(axis=2, keepdims=True), atol=1e-5)
    in_pixels, were = (one.numpy() * np.array(spec.std)[:, None, None] for one in (static, raw))
    assert np.allclose(np.diff(in_pixels, axis=2), np.diff(were, axis=2), atol=1e-5), "colours have changed"
    dynamic = residual_dynamic(clips, static, ipc, spec.std)
    made, _ = StaticDynamic(spec, ipc, static, dynamic, Hallucinator.identity(spec.std)).expand()
    shown = luminance(made.detach().numpy(), spec.std, 1).reshape(2, ipc, statics, dynamics, 3, 4, 4)
    wanted = luminance(clips.numpy(), spec.std, 2).reshape(2, ipc, 1, dynamics, 3, 4, 4)
    assert np.allclose(shown, np.broadcast_to(wanted, shown.shape), atol=1e-5)


@pytest.mark.parametrize("statics", [1, 2])
def test_motion_leaves_to_a_still_what_stage_1_made_of_it(statics: int) -> None:
    """A clip is the still, and beside it the real clip's luminance less its mean over time, in float64 by hand.

    So the mean of its frames is the still: motion that is in a still already is not shown a second time.
    """
    spec, rng = make_spec("ab", frames=4, height=6), torch.Generator().manual_seed(0)
    changes = {"synthetic.statics_per_instance": statics, "synthetic.dynamics_per_instance": 2}
    start = Start(
        load_preset("default", {"dynamic.init": "motion"} | changes),
        make_real(spec, (3, 2)),
        torch.randn(2, statics, 3, 6, 6, generator=rng),
    )
    made, labels = StaticDynamic.start(start).expand()
    clips = [clip for own in start.clips(2) for clip in own]
    assert len(made) == 2 * statics * 2 and start.static is not None
    for number, (clip, label) in enumerate(zip(made.detach(), labels.tolist(), strict=True)):
        s, d = number // 2 % statics, number % 2
        bright = luminance(clips[2 * label + d][None].numpy(), spec.std, 1)[0]
        moves = (bright - bright.mean(0)) / np.array(spec.std)[:, None, None, None]
        expected = start.static[label, s].unsqueeze(1).numpy() + moves
        assert np.allclose(clip.numpy(), expected, atol=1e-5)
        assert np.allclose(clip.numpy().mean(1), start.static[label, s].numpy(), atol=1e-5)


def test_without_stills_motion_stands_on_what_it_moves_over() -> None:
    """Nothing would be left of a clip but what differs between its frames."""
    real = make_real(make_spec("ab", frames=4, height=6), (3, 2))
    sets = [
        StaticDynamic.start(Start(load_preset("ablation-dynamic-only", {"dynamic.init": init}), real))
        for init in ("motion", "residual")
    ]
    assert torch.equal(*(each.dynamic for each in sets))


def test_a_single_static_keeps_its_luminance() -> None:
    """One static and one dynamic were made for each other already."""
    raw = torch.randn(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(of_one_luminance(raw, 2, (0.2, 0.3, 0.25)), raw, atol=1e-6)


def test_a_fitted_dynamic_is_the_mean_over_what_each_value_stands_for() -> None:
    """Block means in float64: the start of a small memory is as near to the full one as duplicates can be."""
    full = np.random.default_rng(0).normal(size=(2, 3, 6, 1, 8, 8)).astype(np.float32)
    found = fit_dynamic(torch.tensor(full), Temporal(6, 1, 2), 4)
    assert found.shape == (2, 3, 2, 1, 4, 4)
    expected = full.astype(np.float64).reshape(2, 3, 2, 3, 1, 4, 2, 4, 2).mean(axis=(3, 6, 8))
    assert np.allclose(found.numpy(), expected, atol=1e-6)


def test_fitting_to_what_is_there_changes_nothing() -> None:
    """The same start as before where nothing is made smaller."""
    full = torch.randn(2, 2, 4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    for temporal in (None, Temporal(4, 4), Temporal(4, 2, 2)):
        for side in (None, 6):
            assert torch.equal(fit_dynamic(full, temporal, side), full)


def test_a_fitted_dynamic_shows_what_the_full_one_showed() -> None:
    """A dynamic memory that is smooth in space and time loses little: stage 2 starts from recognisable clips."""
    t, y, x = np.meshgrid(*(np.linspace(0, 1, number) for number in (12, 24, 24)), indexing="ij")
    full = torch.tensor(np.sin(2 * x + t) + np.cos(3 * y - 2 * t)).float().view(1, 1, 12, 1, 24, 24)
    temporal, spec = Temporal(12, 4, 1, "linear"), make_spec("a", frames=12, height=24)
    small = fit_dynamic(full, temporal, 12)
    synthetic = StaticDynamic(
        spec, 1, torch.zeros(1, 1, 3, 24, 24), small, Hallucinator.identity(spec.std), temporal=temporal
    )
    shown, wanted = synthetic.moving(small[0]), full[0, :, :, 0]
    assert (shown - wanted).norm() / wanted.norm() < 0.1


@pytest.mark.parametrize("frames", [1, 7, 8])
def test_a_still_is_the_median_over_time(frames: int) -> None:
    """What `Tensor.median` says it is, for odd and even numbers of frames."""
    clips = torch.randn(2, 3, frames, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(still_of(clips, 2), clips.median(dim=2).values)
