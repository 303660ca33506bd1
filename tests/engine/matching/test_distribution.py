"""DM: a wrong value or gradient here and days of optimisation go somewhere else, silently."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from engine.data.batches import RealClips
from engine.errors import DivergedError
from engine.matching import DistributionMatching, Setting
from engine.models import Network
from engine.parallel import Group
from engine.synthetic import Pixels, StaticDynamic, StaticImages
from tests.tiny import compose_by_hand, conv3d_by_hand, make_real, make_spec, make_static_dynamic, normalised

SPEC = make_spec(frames=3, height=3)


def weights_of(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1000 + seed)
    return rng.normal(size=(2, 3, 2, 2, 2)) / 3, rng.normal(size=2)


class TinyNetwork(Network):
    """embed = tanh(one convolution), its weights from numpy."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        weight, bias = weights_of(seed)
        self.weight = torch.nn.Parameter(torch.tensor(weight).float())
        self.bias = torch.nn.Parameter(torch.tensor(bias).float())
        self.largest = 0

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        self.largest = max(self.largest, len(batch))
        return torch.nn.functional.conv3d(batch, self.weight, self.bias).tanh().flatten(1)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.embed(batch)


def embed_by_hand(clip: np.ndarray, seed: int) -> np.ndarray:
    return np.tanh(conv3d_by_hand(clip, *weights_of(seed))).ravel()


def distances_by_hand(real: list[list[np.ndarray]], synthetic: list[list[np.ndarray]], seed: int) -> list[float]:
    """|mean of embeddings - mean of embeddings|^2 for each class, in float64."""
    found = []
    for own_real, own_synthetic in zip(real, synthetic, strict=True):
        means = [sum(embed_by_hand(clip, seed) for clip in clips) / len(clips) for clips in (own_real, own_synthetic)]
        found.append(float(((means[0] - means[1]) ** 2).sum()))
    return found


def clips_by_class(real: RealClips) -> list[list[np.ndarray]]:
    clips = normalised(real.view.pixels, SPEC)  # type: ignore[attr-defined]
    return [list(clips[real.view.labels == label]) for label in range(len(SPEC.classes))]


def clips_of(synthetic: StaticDynamic, tensors: dict[str, np.ndarray]) -> list[list[np.ndarray]]:
    """One static and one dynamic per instance: every draw is the whole set."""
    hallucinator = tensors["hallucinator.weight"], tensors["hallucinator.bias"]
    return [
        [
            compose_by_hand(tensors["static"][c, j], tensors["dynamic"][c, j, :, 0], *hallucinator)
            for j in range(synthetic.ipc)
        ]
        for c in range(len(SPEC.classes))
    ]


def in_float64(synthetic: StaticDynamic) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().astype(np.float64) for name, tensor in synthetic.tensors().items()}


@pytest.mark.parametrize("at_once", [64, 4, 1])
def test_the_loss_is_the_equation_s(at_once: int) -> None:
    """Against float64 loops; classes of 3 and 5 real clips, fewer than asked for, give all that they have."""
    real, synthetic = make_real(SPEC, (3, 5)), make_static_dynamic(SPEC, ipc=2, statics=1, dynamics=1)
    objective = DistributionMatching(Setting(real, TinyNetwork, 0), 64, at_once=at_once)
    expected = distances_by_hand(clips_by_class(real), clips_of(synthetic, in_float64(synthetic)), seed=7)
    assert objective.loss(synthetic, step=7).item() == pytest.approx(sum(expected), rel=1e-4)


def test_parts_are_classes_and_sum_to_the_loss() -> None:
    """The worker runs backward on one part after the other; together they must be the loss."""
    real, synthetic = make_real(SPEC, (3, 5)), make_static_dynamic(SPEC, ipc=2, statics=1, dynamics=1)
    objective = DistributionMatching(Setting(real, TinyNetwork, 0), 64, at_once=2)
    parts = [part.item() for part in objective.losses(synthetic, 3)]
    expected = distances_by_hand(clips_by_class(real), clips_of(synthetic, in_float64(synthetic)), seed=3)
    assert parts == pytest.approx(expected, rel=1e-4)
    assert objective.loss(synthetic, 3).item() == pytest.approx(sum(parts), rel=1e-6)


@pytest.mark.parametrize("at_once", [64, 2])
def test_the_gradient_is_that_of_the_equation(at_once: int) -> None:
    """Against finite differences of the float64 loops, in dynamic memory, hallucinator and nowhere else."""
    real, synthetic = make_real(SPEC, (2, 4)), make_static_dynamic(SPEC, ipc=1, statics=1, dynamics=1)
    networks: list[TinyNetwork] = []

    def new_network(step: int) -> TinyNetwork:
        networks.append(TinyNetwork(step))
        return networks[-1]

    objective = DistributionMatching(Setting(real, new_network, 0), 64, at_once=at_once)
    for parameter in synthetic.parameters().values():
        parameter.requires_grad_()
    for part in objective.losses(synthetic, 5):
        part.backward()
    assert synthetic.static.grad is None and networks[0].weight.grad is None
    tensors, clips = in_float64(synthetic), clips_by_class(real)
    rng = np.random.default_rng(0)
    for name, parameter in synthetic.parameters().items():
        assert parameter.grad is not None
        for index in rng.choice(parameter.numel(), 3 if parameter.dim() == 1 else 8, replace=False):
            flat, values = tensors[name].reshape(-1), []
            before = flat[index]
            for change in (1e-5, -1e-5):
                flat[index] = before + change
                values.append(sum(distances_by_hand(clips, clips_of(synthetic, tensors), 5)))
            flat[index] = before
            expected = (values[0] - values[1]) / 2e-5
            assert parameter.grad.reshape(-1)[index].item() == pytest.approx(expected, rel=2e-3, abs=1e-4), name


@pytest.mark.parametrize("batch_real", [2, 3])
def test_real_batches_are_different_clips_of_the_class(batch_real: int) -> None:
    """The mean of exactly ``batch_real`` clips of the class, none twice: found among all that there are."""
    real, synthetic = make_real(SPEC, (4, 5)), make_static_dynamic(SPEC, ipc=1, statics=1, dynamics=1)
    clips, made = clips_by_class(real), clips_of(synthetic, in_float64(synthetic))
    objective = DistributionMatching(Setting(real, TinyNetwork, 0), batch_real, at_once=1)
    drawn = set()
    for step in range(4):
        parts = [part.item() for part in objective.losses(synthetic, step)]
        for label, part in enumerate(parts):
            possible = {
                chosen: distances_by_hand([[clips[label][i] for i in chosen]], [made[label]], step)[0]
                for chosen in itertools.combinations(range(len(clips[label])), batch_real)
            }
            fitting = [chosen for chosen, value in possible.items() if value == pytest.approx(part, rel=1e-4)]
            assert fitting, f"class {label}: no {batch_real} clips of it have this mean"
            drawn.update((label, chosen) for chosen in fitting)
    assert len(drawn) > 2, "every step drew the same clips"


def test_passes_are_bounded() -> None:
    """``clips_at_once`` is what keeps a large set inside the memory of a GPU."""
    networks: list[TinyNetwork] = []

    def new_network(step: int) -> TinyNetwork:
        networks.append(TinyNetwork(step))
        return networks[-1]

    real, synthetic = make_real(SPEC, (7, 9)), make_static_dynamic(SPEC, ipc=2)
    DistributionMatching(Setting(real, new_network, 0), 64, at_once=3).loss(synthetic, 0)
    assert networks[0].largest <= 3


def test_a_step_can_be_computed_again_and_differs_from_its_neighbours() -> None:
    """A resumed run repeats a step to the bit; and each step has its own network, clips and draw."""
    real, synthetic = make_real(SPEC, (6, 6)), make_static_dynamic(SPEC, ipc=2)
    seeds: list[int] = []

    def new_network(step: int) -> TinyNetwork:
        seeds.append(step)
        return TinyNetwork(0)  # the same one, so that only the draws differ

    objective = DistributionMatching(Setting(real, new_network, 0), 2)
    values = [objective.loss(synthetic, step).item() for step in (0, 1, 2, 1, 0)]
    torch.rand(5)
    assert values[0] == values[4] and values[1] == values[3]
    assert len(set(values)) == 3 and seeds == [0, 1, 2, 1, 0]
    assert DistributionMatching(Setting(real, new_network, 0), 2).loss(synthetic, 1).item() == values[1]
    assert DistributionMatching(Setting(real, new_network, 1), 2).loss(synthetic, 1).item() != values[1]


def test_chunks_see_the_same_draw() -> None:
    """A larger GPU must not give another result."""
    real, synthetic = make_real(SPEC, (6, 6)), make_static_dynamic(SPEC, ipc=2)
    losses = [
        DistributionMatching(Setting(real, TinyNetwork, 0), 4, at_once=size).loss(synthetic, 2).item()
        for size in (1, 2, 3, 4, 8, 64)
    ]
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-5)


def test_it_works_with_pixels_and_vanishes_on_the_real_clips() -> None:
    """The baseline: pixels that are the real clips match them exactly."""
    real = make_real(SPEC, (2, 2))
    own = np.stack([np.stack(clips) for clips in clips_by_class(real)])
    pixels = Pixels(SPEC, torch.tensor(own).float().transpose(2, 3).contiguous())
    assert DistributionMatching(Setting(real, TinyNetwork, 0), 64).loss(pixels, 0).item() == pytest.approx(0, abs=1e-9)
    assert DistributionMatching(Setting(real, TinyNetwork, 0), 64).state() == {}


def test_in_bfloat16_it_is_nearly_the_same() -> None:
    """The networks' precision is for speed; embeddings are averaged and compared in float32."""
    real, synthetic = make_real(SPEC, (6, 6)), make_static_dynamic(SPEC, ipc=2)
    exact = DistributionMatching(Setting(real, TinyNetwork, 0), 4).loss(synthetic, 0)
    fast = DistributionMatching(Setting(real, TinyNetwork, 0, torch.bfloat16), 4).loss(synthetic, 0)
    assert fast.dtype == torch.float32 and fast.item() == pytest.approx(exact.item(), rel=0.05)


# --- frames, processes, guard ----------------------------------------------------------------------------------------


class FlatNetwork(Network):
    """The embedding is the image itself."""

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.flatten(1)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.embed(batch)


def test_of_stills_it_is_the_distance_of_mean_frames() -> None:
    """Stage 1 by DM: real clips whose frames are all the same, so whichever frame is drawn, the mean is known."""
    real = make_real(SPEC, (3, 5), still=True)
    static = torch.randn(2, 2, 3, SPEC.height, SPEC.width, generator=torch.Generator().manual_seed(0))
    objective = DistributionMatching(Setting(real, lambda number: FlatNetwork(), 0), 64, stills=True, at_once=2)
    expected = 0.0
    for label, clips in enumerate(clips_by_class(real)):
        frames = np.mean([clip[:, 0] for clip in clips], axis=0)
        expected += float(((static[label].double().numpy().mean(axis=0) - frames) ** 2).sum())
    assert objective.loss(StaticImages(SPEC, static), 3).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("count", [2, 3])
def test_the_shares_of_several_processes_are_the_whole(count: int) -> None:
    """A class that nobody computes, or that two do, makes other memories with more GPUs than with one."""
    real, synthetic = make_real(SPEC, (3, 5)), make_static_dynamic(SPEC, ipc=2)
    whole = [
        part.item() for part in DistributionMatching(Setting(real, TinyNetwork, 0), 2, at_once=1).losses(synthetic, 1)
    ]
    shares = [
        [
            part.item()
            for part in DistributionMatching(
                Setting(real, TinyNetwork, 0, group=Group(rank, count)), 2, at_once=1
            ).losses(synthetic, 1)
        ]
        for rank in range(count)
    ]
    assert sorted(itertools.chain(*shares)) == pytest.approx(sorted(whole), rel=1e-5)


def test_a_collapsed_embedding_is_named() -> None:
    """Of clips that are all the same nothing can be learned; hours of steps would pass without a word."""
    real = make_real(SPEC, (3, 5))
    real.view.pixels[:] = 7  # type: ignore[attr-defined]
    with pytest.raises(DivergedError, match="equal"):
        DistributionMatching(Setting(real, TinyNetwork, 0), 2).loss(make_static_dynamic(SPEC), 0)
