"""The bank of DM targets: wrong means here, and every step of days of optimisation goes to the same wrong place."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engine.config import Preset
from engine.data.batches import RealClips
from engine.errors import DivergedError
from engine.machine.process_group import Group
from engine.matching import Setting
from engine.matching.bank import Schedule, TargetBank
from engine.matching.distribution import DistributionMatching
from engine.models import Network, video_model
from engine.seeds import stage_seed
from engine.synthetic import StaticDynamic
from tests.engine.matching.test_distribution import (
    SPEC,
    TinyNetwork,
    clips_by_class,
    clips_of,
    distances_by_hand,
    embed_by_hand,
    in_float64,
)
from tests.tiny import make_real, make_spec, make_static_dynamic

CPU = torch.device("cpu")
THREE = make_spec("abc", frames=3, height=3)


class Counting:
    """Builds TinyNetworks, and counts the clips that each number embedded without gradient: the real ones."""

    def __init__(self) -> None:
        self.real: Counter[int] = Counter()
        self.largest = 0

    def __call__(self, number: int) -> Network:
        return _Counted(number, self)


class _Counted(TinyNetwork):
    def __init__(self, number: int, counting: Counting) -> None:
        super().__init__(number)
        self.number, self.counting = number, counting

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        self.counting.largest = max(self.counting.largest, len(batch))
        if not torch.is_grad_enabled():
            self.counting.real[self.number] += len(batch)
        return super().embed(batch)


def make(
    setting: Setting, members: int, renew_every: int = 0, clips: int = 0, at_once: int = 64
) -> DistributionMatching:
    bank = TargetBank(setting, Schedule(setting.seed, members, renew_every), clips, at_once)
    return DistributionMatching(setting, 64, at_once=at_once, bank=bank)


def two_sets(counts: tuple[int, int] = (3, 5)) -> tuple[RealClips, StaticDynamic]:
    return make_real(SPEC, counts), make_static_dynamic(SPEC, ipc=2, statics=1, dynamics=1)


# --- targets, loss, gradient -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [64, 4, 1])
def test_targets_are_the_means_over_all_clips(at_once: int) -> None:
    """Against a float64 loop over every training clip of every class, however many go through at once."""
    real = make_real(SPEC, (3, 7))
    bank = TargetBank(Setting(real, TinyNetwork, 0), Schedule(0, 5), at_once=at_once)
    for step in range(6):
        number = bank.schedule.number(step)
        expected = [np.mean([embed_by_hand(clip, number) for clip in own], axis=0) for own in clips_by_class(real)]
        found = bank.means(TinyNetwork(number).eval(), [0, 1], step)
        assert found.dtype == torch.float32 and found.shape == (2, len(expected[0]))
        assert found.numpy() == pytest.approx(np.stack(expected), abs=1e-6)
        assert torch.equal(bank.means(TinyNetwork(number).eval(), [1], step), found[1:]), "not the classes asked for"


class OfImages(Network):
    """Embeds an image as w x, w by number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.weight = torch.randn(4, 3 * 3 * 3, generator=torch.Generator().manual_seed(number))

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        assert batch.shape[1:] == (3, 3, 3)
        return nn.functional.linear(batch.flatten(1), self.weight)


@pytest.mark.parametrize("at_once", [64, 3, 1])
@pytest.mark.parametrize(("frames", "numbers"), [(1, [1]), (2, [0, 2]), (3, [0, 1, 2]), (9, [0, 1, 2])])
def test_targets_of_stills_are_means_over_frames_of_all_clips(frames: int, numbers: list[int], at_once: int) -> None:
    """Against a float64 loop over every clip and each of its frames that are taken; no clip has more than it has."""
    real = make_real(THREE, (3, 2, 4))
    bank = TargetBank(Setting(real, OfImages, 0), Schedule(0, 5), at_once=at_once, frames=frames)
    assert bank.clips_per_fill() == 9 * len(numbers)
    for step in range(4):
        network = OfImages(bank.schedule.number(step))
        weight = network.weight.double().numpy()
        expected = []
        for label in range(3):
            own = real.clips(real.of_class(label)).double().numpy()
            images = [clip[:, number].reshape(-1) for clip in own for number in numbers]
            expected.append(np.mean([weight @ image for image in images], axis=0))
        found = bank.means(network.eval(), [0, 1, 2], step).numpy()
        assert found == pytest.approx(np.stack(expected), abs=1e-5)


@pytest.mark.parametrize("at_once", [64, 4, 1])
def test_the_loss_is_the_equation_s_with_all_real_clips(at_once: int) -> None:
    """On the scale of plain DM, so that its learning rates hold: a squared distance of means, summed over classes."""
    real, synthetic = two_sets()
    objective = make(Setting(real, TinyNetwork, 0), members=4, renew_every=2, at_once=at_once)
    for step in (0, 7, 3):
        number = Schedule(0, 4, 2).number(step)
        expected = distances_by_hand(clips_by_class(real), clips_of(synthetic, in_float64(synthetic)), number)
        assert objective.loss(synthetic, step).item() == pytest.approx(sum(expected), rel=1e-4)


@pytest.mark.parametrize("at_once", [64, 2])
def test_the_gradient_is_that_of_the_equation(at_once: int) -> None:
    """Against finite differences of the float64 loops, at a step whose targets are computed and at one that has them.

    And nowhere else: neither the static memory nor a network may be moved.
    """
    real, synthetic = make_real(SPEC, (2, 4)), make_static_dynamic(SPEC, ipc=1, statics=1, dynamics=1)
    networks: list[TinyNetwork] = []

    def new_network(number: int) -> TinyNetwork:
        networks.append(TinyNetwork(number))
        return networks[-1]

    objective = make(Setting(real, new_network, 0), members=1, at_once=at_once)
    parameters = synthetic.parameters()
    for parameter in parameters.values():
        parameter.requires_grad_()
    gradients = []
    for step in (5, 6):
        for part in objective.losses(synthetic, step):
            part.backward()
        gradients.append({name: parameter.grad for name, parameter in parameters.items()})
        for parameter in parameters.values():
            parameter.grad = None
    assert synthetic.static.grad is None and all(network.weight.grad is None for network in networks)
    tensors, clips = in_float64(synthetic), clips_by_class(real)
    rng = np.random.default_rng(0)
    for name, parameter in parameters.items():
        first, second = (gradient[name] for gradient in gradients)
        assert first is not None and second is not None and torch.equal(first, second)
        for index in rng.choice(parameter.numel(), 3 if parameter.dim() == 1 else 8, replace=False):
            flat, values = tensors[name].reshape(-1), []
            before = flat[index]
            for change in (1e-5, -1e-5):
                flat[index] = before + change
                values.append(sum(distances_by_hand(clips, clips_of(synthetic, tensors), 0)))
            flat[index] = before
            expected = (values[0] - values[1]) / 2e-5
            assert first.reshape(-1)[index].item() == pytest.approx(expected, rel=2e-3, abs=1e-4), name


def test_one_member_that_is_never_renewed_is_one_network_and_all_clips() -> None:
    """Plain DM with a single network and as many real clips as there are is the same number, step for step."""
    real, synthetic = two_sets()
    banked = make(Setting(real, TinyNetwork, 3), members=1)
    plain = DistributionMatching(Setting(real, lambda step: TinyNetwork(0), 3), 64)
    for step in range(4):
        assert banked.loss(synthetic, step).item() == pytest.approx(plain.loss(synthetic, step).item(), rel=1e-5)


@pytest.mark.parametrize("clips", [1, 2, 4])
def test_fewer_clips_per_member_are_different_ones_of_the_class(clips: int) -> None:
    """``bank_clips``: exactly that many clips of the class, none twice, found among all that there are."""
    real = make_real(SPEC, (4, 5))
    bank = TargetBank(Setting(real, TinyNetwork, 0), Schedule(0, 1, 1), clips, at_once=2)
    drawn = set()
    for step in range(4):  # one member, renewed every step: network k at step k
        found = bank.means(TinyNetwork(step).eval(), [0, 1], step).numpy()
        for label, own in enumerate(clips_by_class(real)):
            embedded = [embed_by_hand(clip, step) for clip in own]
            fitting = [
                (label, chosen)
                for chosen in itertools.combinations(range(len(own)), clips)
                if np.mean([embedded[i] for i in chosen], axis=0) == pytest.approx(found[label], abs=1e-5)
            ]
            assert len(fitting) == 1, f"class {label}: no {clips} clips of it have this mean"
            drawn.update(fitting)
    assert len(drawn) > 2, "every member drew the same clips"


# --- which network a step meets --------------------------------------------------------------------------------------


@given(st.integers(0, 2**40), st.integers(1, 12), st.integers(0, 5), st.integers(1, 60))
def test_the_schedule_is_that_of_a_list_whose_oldest_is_replaced(
    seed: int, members: int, renew_every: int, steps: int
) -> None:
    """Against a bank that is kept by hand; asked at any step alone, as a resumed run does, it says the same."""
    held, newest = list(range(members)), members - 1
    schedule = Schedule(seed, members, renew_every)
    sequence = [schedule.number(step) for step in range(steps)]
    for step in range(steps):
        if renew_every and step and step % renew_every == 0:
            newest += 1
            held = [*held[1:], newest]
        assert schedule.first(step) == held[0]
        assert sequence[step] in held
        assert Schedule(seed, members, renew_every).number(step) == sequence[step]


def test_every_member_is_drawn_about_equally_often() -> None:
    """A bank of which a few members did all the work would be a small bank."""
    drawn = Counter(Schedule(1, 10).number(step) for step in range(2000))
    assert set(drawn) == set(range(10)) and max(drawn.values()) < 1.5 * min(drawn.values())
    assert [Schedule(1, 10).number(step) for step in range(50)] != [Schedule(2, 10).number(step) for step in range(50)]


# --- cost ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("members", "renew_every", "clips"), [(3, 0, 0), (3, 2, 0), (4, 1, 2), (1, 5, 2)])
def test_real_clips_are_embedded_once_per_network_that_is_met(members: int, renew_every: int, clips: int) -> None:
    """The whole point; and what is foretold of the cost is what is spent, in passes of bounded size."""
    networks = Counting()
    real, synthetic = two_sets()
    objective = make(Setting(real, networks, 0), members, renew_every, clips, at_once=3)
    foretold = [objective.real_passes(steps) for steps in (20, 0, 7)]
    for step in range(20):
        objective.loss(synthetic, step)
        told = objective.figures()["bank_fills"]
        assert told == len(networks.real) == len({Schedule(0, members, renew_every).number(k) for k in range(step + 1)})
        if step == 6:
            assert foretold[2] == sum(networks.real.values())
    per_network = sum(min(clips, own) if clips else own for own in (3, 5))
    assert set(networks.real.values()) == {per_network}
    assert foretold[:2] == [sum(networks.real.values()), 0] and networks.largest <= 3


def test_the_cost_of_plain_dm_is_foretold_too() -> None:
    """What a bank saves is told against this."""
    networks = Counting()
    real, synthetic = two_sets()
    objective = DistributionMatching(Setting(real, networks, 0), 4, at_once=3)
    for step in range(3):
        objective.loss(synthetic, step)
    assert objective.real_passes(3) == sum(networks.real.values()) == 3 * (3 + 4)
    assert objective.figures() == {}


def test_dropped_members_are_forgotten() -> None:
    """Targets of all networks that a long run ever met would fill the device."""
    real = make_real(SPEC, (3, 5))
    bank = TargetBank(Setting(real, TinyNetwork, 0), Schedule(0, 3, 1))
    for step in range(12):
        bank.means(TinyNetwork(bank.schedule.number(step)).eval(), [0, 1], step)
        assert len(bank._means) <= 3 and min(bank._means) >= bank.schedule.first(step)


# --- resuming, processes, precision, guard ---------------------------------------------------------------------------


def learn(objective: DistributionMatching, synthetic: StaticDynamic, steps: range) -> list[float]:
    """Plain gradient steps, as the worker takes them; the losses."""
    losses = []
    for step in steps:
        for parameter in synthetic.parameters().values():
            parameter.requires_grad_().grad = None
        total = 0.0
        for part in objective.losses(synthetic, step):
            part.backward()
            total += part.item()
        with torch.no_grad():
            for parameter in synthetic.parameters().values():
                parameter -= 0.05 * parameter.grad  # type: ignore[operator]
        losses.append(total)
    return losses


@pytest.mark.parametrize(("network", "stop"), [("tiny", 1), ("tiny", 3), ("tiny", 5), ("convnet3d", 3)])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(network: str, stop: int) -> None:
    """Nothing of the bank is in a checkpoint, so what is computed again must be what was there."""
    spec = SPEC if network == "tiny" else make_spec(frames=8, height=64)
    real = make_real(spec, (2, 3))

    def new_network(number: int) -> Network:
        return TinyNetwork(number) if network == "tiny" else video_model(network, 2, 8, 64, number, CPU)

    def fresh() -> DistributionMatching:
        return make(Setting(real, new_network, 5), members=2, renew_every=2, at_once=4)

    whole = make_static_dynamic(spec)
    losses = learn(fresh(), whole, range(6))
    halves = make_static_dynamic(spec)
    before = fresh()
    found = learn(before, halves, range(stop))
    assert before.state() == {}
    after = fresh()
    after.load_state(before.state())
    found += learn(after, halves, range(stop, 6))
    assert found == losses
    for name, tensor in whole.tensors().items():
        assert torch.equal(halves.tensors()[name], tensor), name


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_shares_of_several_processes_are_the_whole(count: int) -> None:
    """A class that nobody computes, or that two do, makes other memories with more GPUs than with one."""
    real, synthetic = make_real(THREE, (3, 5, 2)), make_static_dynamic(THREE, ipc=2)
    whole = make(Setting(real, TinyNetwork, 0), 3, renew_every=2, at_once=4)
    shares = [
        make(Setting(real, TinyNetwork, 0, group=Group(rank, count)), 3, renew_every=2, at_once=4)
        for rank in range(count)
    ]
    for step in range(6):
        expected = [part.item() for part in whole.losses(synthetic, step)]
        found = [part.item() for share in shares for part in share.losses(synthetic, step)]
        assert sum(found) == pytest.approx(sum(expected), rel=1e-5)
        assert {share.figures()["bank_fills"] for share in shares} == {whole.figures()["bank_fills"]}
        assert {share.real_passes(9) for share in shares} == {whole.real_passes(9)}


def test_in_bfloat16_it_is_nearly_the_same() -> None:
    """The networks' precision is for speed; embeddings are averaged, kept and compared in float32."""
    real, synthetic = two_sets((6, 6))
    exact = make(Setting(real, TinyNetwork, 0), 3).loss(synthetic, 0)
    fast = make(Setting(real, TinyNetwork, 0, torch.bfloat16), 3).loss(synthetic, 0)
    assert fast.dtype == torch.float32 and fast.item() == pytest.approx(exact.item(), rel=0.05)


class BatchDependent(TinyNetwork):
    """In training mode what it makes of a clip depends on the others of the batch, as batch normalisation does."""

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        embedded = super().embed(batch)
        return embedded - embedded.mean(0) if self.training else embedded


def test_a_clip_is_embedded_the_same_beside_any_others() -> None:
    """A mean that is kept must be that of a function of clips; of batch statistics it would be that of the packing."""
    real, synthetic = two_sets()
    losses = [
        make(Setting(real, network, 0), 2, at_once=at_once).loss(synthetic, 1).item()
        for network, at_once in itertools.product((TinyNetwork, BatchDependent), (64, 2))
    ]
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-5)


def test_a_collapsed_embedding_is_named() -> None:
    """Of clips that are all the same nothing can be learned: said at every step, whether targets are new or kept."""
    real = make_real(SPEC, (3, 5))
    real.view.pixels[:] = 7  # type: ignore[attr-defined]
    objective = make(Setting(real, TinyNetwork, 0), 1)
    for step in range(2):
        with pytest.raises(DivergedError, match="equal"):
            objective.loss(make_static_dynamic(SPEC), step)


# --- preset ----------------------------------------------------------------------------------------------------------


SEED = stage_seed(Preset().run.seed, "dynamic")


def run(table: dict[str, object], steps: int = 12) -> list[float]:
    real, synthetic = two_sets()
    preset = Preset.model_validate({"dynamic": {"batch_real": 2, "dm": table}})
    objective = DistributionMatching.for_clips(preset, Setting(real, TinyNetwork, SEED))
    return [objective.loss(synthetic, step).item() for step in range(steps)]


def test_the_preset_is_what_it_runs_with() -> None:
    """A key of [dynamic.dm] that did nothing would be a promise."""
    table: dict[str, object] = {"target": "bank", "bank": 4, "renew_every": 3, "bank_clips": 2}
    real, synthetic = two_sets()
    mine = make(Setting(real, TinyNetwork, SEED), 4, renew_every=3, clips=2)
    expected = run(table)
    assert expected == [mine.loss(synthetic, step).item() for step in range(12)]
    for name, value in {"target": "batch", "bank": 5, "renew_every": 2, "bank_clips": 3}.items():
        assert run(table | {name: value}) != expected, name


def test_without_being_asked_for_it_is_plain_dm() -> None:
    """Published numbers and runs of earlier versions: the defaults must be what they were, to the bit."""
    real, synthetic = two_sets()
    plain = DistributionMatching(Setting(real, TinyNetwork, SEED), 2)
    expected = [plain.loss(synthetic, step).item() for step in range(12)]
    assert run({}) == run({"bank": 3, "renew_every": 1, "bank_clips": 1}) == expected


@pytest.mark.parametrize(("members", "renew_every"), [(3, 2), (40, 1), (1, 0)])
def test_networks_of_a_small_bank_are_made_once(members: int, renew_every: int) -> None:
    """Drawing their weights anew for every step would cost as much as the step; of a large bank the last are kept."""
    made: list[int] = []

    def new_network(number: int) -> TinyNetwork:
        made.append(number)
        return TinyNetwork(number)

    real, _ = two_sets()
    bank = TargetBank(Setting(real, new_network, 0), Schedule(0, members, renew_every))
    for step in range(60):
        network = bank.network(step)
        fresh = TinyNetwork(bank.schedule.number(step))
        assert all(torch.equal(*pair) for pair in zip(network.parameters(), fresh.parameters(), strict=True))
        assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
    if members <= 16:
        assert sorted(made) == sorted(set(made)), "one was made twice"
    assert len(bank._networks) <= min(members, 16)
