"""DM: a wrong value or gradient here and days of optimisation go somewhere else, silently."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from engine.config import Preset
from engine.data.batches import RealClips
from engine.errors import DivergedError
from engine.machine.process_group import ALONE, Group
from engine.matching import Setting
from engine.matching.bank import Schedule, TargetBank
from engine.matching.distribution import DistributionMatching
from engine.models import Network
from engine.seeds import generator
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


# --- classes of more clips than fit into a pass ----------------------------------------------------------------------


class Dropping(TinyNetwork):
    """With chance of its own, as stochastic depth has: it drops half of every embedding, whichever half."""

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(super().embed(batch), 0.5)


@pytest.mark.parametrize("at_once", [1, 2, 3, 4])
def test_a_large_class_has_the_loss_and_the_gradient_of_one_pass(at_once: int) -> None:
    """At IPC 50 a class does not fit; parts must neither lose nor double what its mean ties together."""
    real, synthetic = make_real(SPEC, (3, 5)), make_static_dynamic(SPEC, ipc=5, train_static=True)
    learned = synthetic.parameters()
    for parameter in learned.values():
        parameter.requires_grad_()
    networks: list[TinyNetwork] = []

    def new_network(step: int) -> TinyNetwork:
        networks.append(TinyNetwork(step))
        return networks[-1]

    parts = list(DistributionMatching(Setting(real, new_network, 0), 64, at_once=at_once).losses(synthetic, 6))
    found = torch.autograd.grad(parts, list(learned.values()))
    assert networks[0].largest <= at_once and len(parts) == 2 * -(-5 // at_once)

    network, expected = TinyNetwork(6).double(), torch.zeros((), dtype=torch.float64)
    clips = synthetic.draw(generator(0, "dm-synthetic", 6)).clips.double()
    for label in range(2):
        own = network.embed(real.clips(real.of_class(label)).double()).mean(0)
        expected = expected + (network.embed(clips[5 * label : 5 * label + 5]).mean(0) - own).square().sum()
    assert sum(part.item() for part in parts) == pytest.approx(expected.item(), rel=1e-5)
    for mine, other in zip(found, torch.autograd.grad(expected, list(learned.values())), strict=True):
        assert torch.allclose(mine, other, rtol=1e-3, atol=1e-6)


def test_a_network_with_chance_of_its_own_embeds_a_large_class_alike_twice() -> None:
    """The gradient would be that of another loss than the one that is told; and a step must be the same again."""
    masks: list[torch.Tensor] = []

    class Watching(Dropping):
        def embed(self, batch: torch.Tensor) -> torch.Tensor:
            embedded = super().embed(batch)
            if len(batch) == 2:  # real batches are of one clip
                masks.append(embedded == 0)
            return embedded

    pixels = Pixels(SPEC, torch.randn(2, 4, 3, 3, 3, 3, requires_grad=True))
    for part in DistributionMatching(Setting(make_real(SPEC, (3, 3)), Watching, 0), 1, at_once=2).losses(pixels, 0):
        part.backward()
    passes = masks[-4:]
    assert len(passes) == 4 and torch.equal(passes[0], passes[2]) and torch.equal(passes[1], passes[3])
    assert not torch.equal(passes[0], passes[1])


# --- some classes per step -------------------------------------------------------------------------------------------

MANY = make_spec("abcdefg", frames=3, height=3)


def parts_of(objective: DistributionMatching, synthetic: StaticDynamic, step: int) -> list[float]:
    return [part.item() for part in objective.losses(synthetic, step)]


@pytest.mark.parametrize("number", [1, 2, 3, 5, 6])
def test_some_classes_per_step_are_all_classes_in_the_mean(number: int) -> None:
    """Each class once in a round; and what a step leaves out is made up for by C / n, or the rate would be another."""
    real, synthetic = make_real(MANY, (2, 3, 1, 4, 2, 2, 3)), make_static_dynamic(MANY, statics=1, dynamics=1)
    setting = Setting(real, lambda step: TinyNetwork(0), 0)  # the same network and clips: what a class gives is known
    each = parts_of(DistributionMatching(setting, 64, at_once=1), synthetic, 0)
    objective = DistributionMatching(setting, 64, at_once=1, classes_per_step=number)
    steps, rounds = -(-7 // number), []
    for begin in range(0, 3 * steps, steps):
        seen: list[int] = []
        for step in range(begin, begin + steps):
            found = parts_of(objective, synthetic, step)
            assert 1 <= len(found) <= number
            distances = [part * len(found) / 7 for part in found]
            seen += [min(range(7), key=lambda c, d=d: abs(each[c] - d)) for d in distances]
            assert sorted(distances) == pytest.approx(sorted(each[c] for c in seen[-len(found) :]), rel=1e-5)
        assert sorted(seen) == list(range(7))
        rounds.append(seen)
    assert len({tuple(seen) for seen in rounds}) > 1, "every round has the same order"


@pytest.mark.parametrize("number", [None, 7, 50])
def test_all_classes_per_step_are_plain_dm_to_the_bit(number: int | None) -> None:
    """A key that asks for all classes must not change what a run learns."""
    real, synthetic = make_real(MANY, (2,) * 7), make_static_dynamic(MANY)
    plain = DistributionMatching(Setting(real, TinyNetwork, 0), 2, at_once=3)
    asked = DistributionMatching(Setting(real, TinyNetwork, 0), 2, at_once=3, classes_per_step=number)
    assert [parts_of(plain, synthetic, step) for step in (0, 5)] == [
        parts_of(asked, synthetic, step) for step in (0, 5)
    ]


@pytest.mark.parametrize("bank", [False, True])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_several_processes_share_the_classes_of_a_step(count: int, bank: bool) -> None:
    """More GPUs must learn from the same classes, and with a bank each from those whose targets it has."""
    real, synthetic = make_real(MANY, (2, 3, 1, 4, 2, 2, 3)), make_static_dynamic(MANY)

    def make(group: Group = ALONE) -> DistributionMatching:
        setting = Setting(real, TinyNetwork, 0, group=group)
        kept = TargetBank(setting, Schedule(0, 2, 3), at_once=4) if bank else None
        return DistributionMatching(setting, 2, at_once=1, bank=kept, classes_per_step=3)

    whole, shares = make(), [make(Group(rank, count)) for rank in range(count)]
    for step in range(7):
        expected = parts_of(whole, synthetic, step)
        found = [part for share in shares for part in parts_of(share, synthetic, step)]
        assert sorted(found) == pytest.approx(sorted(expected), rel=1e-5)
        assert {str(share.figures()) for share in shares} == {str(whole.figures())}


@pytest.mark.parametrize("bank", [False, True])
@pytest.mark.parametrize("number", [1, 3, 7])
def test_the_real_clips_of_some_classes_per_step_are_foretold(number: int, bank: bool) -> None:
    """What a user saves with it: of several processes together, and with targets for all classes when first met."""
    embedded = 0

    class Counting(TinyNetwork):
        def embed(self, batch: torch.Tensor) -> torch.Tensor:
            nonlocal embedded
            embedded += 0 if torch.is_grad_enabled() else len(batch)
            return super().embed(batch)

    real, synthetic = make_real(MANY, (2, 3, 1, 4, 2, 2, 3)), make_static_dynamic(MANY)
    objectives = []
    for rank in range(2):
        setting = Setting(real, Counting, 0, group=Group(rank, 2))
        kept = TargetBank(setting, Schedule(0, 2, 2), at_once=4) if bank else None
        objectives.append(DistributionMatching(setting, 2, at_once=4, bank=kept, classes_per_step=number))
    for step in range(11):
        for objective in objectives:
            parts_of(objective, synthetic, step)
        assert {objective.real_passes(step + 1) for objective in objectives} == {embedded}


def test_the_key_of_the_preset_is_what_is_used() -> None:
    """A key that did nothing would be a promise that nobody keeps."""
    real, synthetic = make_real(MANY, (2,) * 7), make_static_dynamic(MANY)
    preset = Preset.model_validate({"dynamic": {"dm": {"classes_per_step": 2}, "batch_real": 2}})
    objective = DistributionMatching.for_clips(preset, Setting(real, TinyNetwork, 0))
    assert objective.real_passes(1) == 2 * 2
    wanted = DistributionMatching(Setting(real, TinyNetwork, 0), 2, classes_per_step=2)
    assert parts_of(objective, synthetic, 3) == parts_of(wanted, synthetic, 3)


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
