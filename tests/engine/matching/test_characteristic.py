"""NCFM: a wrong loss or gradient here and days of optimisation go somewhere else, silently."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch

from engine.config import Preset
from engine.machine.process_group import ALONE
from engine.matching import Setting
from engine.matching.bank import Schedule, TargetBank
from engine.matching.characteristic import CharacteristicFunctions
from engine.seeds import generator, stage_seed
from engine.synthetic import Pixels, StaticImages
from tests.engine.matching.test_distribution import (
    SPEC,
    FlatNetwork,
    TinyNetwork,
    clips_by_class,
    clips_of,
    embed_by_hand,
    in_float64,
)
from tests.tiny import make_real, make_static_dynamic

SEED, FREQUENCIES = 3, 5


def drawn(number: int, size: int, seed: int = SEED, frequencies: int = FREQUENCIES) -> np.ndarray:
    """The frequencies of a network, (size, frequencies)."""
    return torch.randn(size, frequencies, generator=generator(seed, "ncfm-frequencies", number)).double().numpy()


def distance_by_hand(real: list[np.ndarray], synthetic: list[np.ndarray], w: np.ndarray, alpha: float) -> float:
    """Of the embeddings of one class, from the equation: amplitude and phase of two characteristic functions."""
    total = 0.0
    for k in range(w.shape[1]):
        r, s = (
            sum(cmath.exp(1j * float(w[:, k] @ (f / np.linalg.norm(f)))) for f in side) / len(side)
            for side in (real, synthetic)
        )
        amplitude = (abs(r) - abs(s)) ** 2
        phase = 2 * abs(r) * abs(s) * (1 - math.cos(cmath.phase(r) - cmath.phase(s)))
        total += math.sqrt(alpha * amplitude + (1 - alpha) * phase)
    return 300 * total / w.shape[1]


def loss_by_hand(real: list[list[np.ndarray]], synthetic: list[list[np.ndarray]], number: int, alpha: float) -> float:
    """Summed over classes, in float64, of clips as TinyNetwork ``number`` embeds them."""
    total = 0.0
    for own_real, own_synthetic in zip(real, synthetic, strict=True):
        embedded = [[embed_by_hand(clip, number) for clip in side] for side in (own_real, own_synthetic)]
        total += distance_by_hand(*embedded, drawn(number, len(embedded[0][0])), alpha)
    return total


def make(setting: Setting, alpha: float = 0.5, bank: bool = False, at_once: int = 64) -> CharacteristicFunctions:
    kept = TargetBank(setting, Schedule(setting.seed, 3, 2), at_once=at_once) if bank else None
    return CharacteristicFunctions(setting, 64, FREQUENCIES, alpha, bank=kept, at_once=at_once)


@pytest.mark.parametrize("bank", [False, True])
@pytest.mark.parametrize("at_once", [64, 4, 1])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_the_loss_is_the_equation_s(alpha: float, at_once: int, bank: bool) -> None:
    """Against a float64 loop over clips, classes and frequencies, however many clips go through at once."""
    real, synthetic = make_real(SPEC, (3, 5)), make_static_dynamic(SPEC, ipc=2, statics=1, dynamics=1)
    objective = make(Setting(real, TinyNetwork, SEED), alpha, bank, at_once)
    made = clips_of(synthetic, in_float64(synthetic))
    for step in (0, 7):
        number = Schedule(SEED, 3, 2).number(step) if bank else step
        expected = loss_by_hand(clips_by_class(real), made, number, alpha)
        assert objective.loss(synthetic, step).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("bank", [False, True])
@pytest.mark.parametrize(("alpha", "at_once"), [(0.5, 64), (0.5, 1), (0.2, 64), (0.9, 1)])
def test_the_gradient_is_that_of_the_equation(alpha: float, at_once: int, bank: bool) -> None:
    """Against finite differences of the float64 loop, in dynamic memory and hallucinator, and nowhere else."""
    real, synthetic = make_real(SPEC, (2, 4)), make_static_dynamic(SPEC, ipc=2, statics=1, dynamics=1)
    objective = make(Setting(real, TinyNetwork, SEED), alpha, bank, at_once)
    for parameter in synthetic.parameters().values():
        parameter.requires_grad_()
    for part in objective.losses(synthetic, 5):
        part.backward()
    assert synthetic.static.grad is None
    number = Schedule(SEED, 3, 2).number(5) if bank else 5
    tensors, clips = in_float64(synthetic), clips_by_class(real)
    rng = np.random.default_rng(0)
    for name, parameter in synthetic.parameters().items():
        assert parameter.grad is not None
        for index in rng.choice(parameter.numel(), 3 if parameter.dim() == 1 else 8, replace=False):
            flat, values = tensors[name].reshape(-1), []
            before = flat[index]
            for change in (1e-5, -1e-5):
                flat[index] = before + change
                values.append(loss_by_hand(clips, clips_of(synthetic, tensors), number, alpha))
            flat[index] = before
            slope = (values[0] - values[1]) / 2e-5
            assert parameter.grad.reshape(-1)[index].item() == pytest.approx(slope, rel=5e-3, abs=2e-2), name


def test_equal_clips_have_no_distance_and_a_gradient_of_zero() -> None:
    """The square root has no slope at nothing: one NaN there would end the run that found what it was looking for."""
    real = make_real(SPEC, (2, 2))
    own = np.stack([np.stack(clips) for clips in clips_by_class(real)])
    pixels = torch.tensor(own).float().transpose(2, 3).contiguous().requires_grad_()
    loss = make(Setting(real, TinyNetwork, SEED)).loss(Pixels(SPEC, pixels), 0)
    loss.backward()
    assert loss.item() < 1e-2 and pixels.grad is not None and torch.isfinite(pixels.grad).all()


def test_length_of_embeddings_counts_for_nothing() -> None:
    """They are compared on the sphere: of a network ten times as large the loss is the same."""

    class Larger(TinyNetwork):
        def embed(self, batch: torch.Tensor) -> torch.Tensor:
            return 10 * super().embed(batch)

    real, synthetic = make_real(SPEC, (3, 3)), make_static_dynamic(SPEC, ipc=2)
    losses = [make(Setting(real, network, SEED)).loss(synthetic, 2).item() for network in (TinyNetwork, Larger)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_of_stills_it_is_the_equation_s_too() -> None:
    """Stage 1: real clips whose frames are all the same, so whichever frame is drawn, the frames are known."""
    real = make_real(SPEC, (3, 5), still=True)
    static = torch.randn(2, 2, 3, SPEC.height, SPEC.width, generator=torch.Generator().manual_seed(0))
    preset = Preset.model_validate({"static": {"objective": "ncfm", "ncfm": {"frequencies": 4, "alpha": 0.3}}})
    objective = CharacteristicFunctions.for_stills(preset, Setting(real, lambda number: FlatNetwork(), SEED))
    w, expected = drawn(6, 3 * SPEC.height * SPEC.width, frequencies=4), 0.0
    for label, clips in enumerate(clips_by_class(real)):
        frames = [clip[:, 0].ravel() for clip in clips]
        expected += distance_by_hand(frames, [still.double().numpy().ravel() for still in static[label]], w, 0.3)
    assert objective.loss(StaticImages(SPEC, static), 6).item() == pytest.approx(expected, rel=1e-4)


def test_the_keys_of_the_preset_are_what_is_used() -> None:
    """A key of [dynamic.ncfm] that did nothing would be a promise."""
    seed = stage_seed(Preset().run.seed, "dynamic")
    real, synthetic = make_real(SPEC, (3, 5)), make_static_dynamic(SPEC, ipc=2)

    def losses(table: dict[str, object]) -> list[float]:
        preset = Preset.model_validate({"dynamic": {"objective": "ncfm", "batch_real": 2, "ncfm": table}})
        objective = CharacteristicFunctions.for_clips(preset, Setting(real, TinyNetwork, seed, group=ALONE))
        return [objective.loss(synthetic, step).item() for step in range(8)]

    table: dict[str, object] = {"frequencies": 6, "alpha": 0.4, "classes_per_step": 2}
    table |= {"target": "bank", "bank": 3, "renew_every": 2, "bank_clips": 2}
    setting = Setting(real, TinyNetwork, seed)
    kept = TargetBank(setting, Schedule(seed, 3, 2), 2)
    mine = CharacteristicFunctions(setting, 2, 6, 0.4, bank=kept, classes_per_step=2)
    expected = losses(table)
    assert expected == [mine.loss(synthetic, step).item() for step in range(8)]
    others = {"frequencies": 7, "alpha": 0.6, "classes_per_step": 1, "target": "batch"}
    for name, value in (others | {"bank": 2, "renew_every": 1, "bank_clips": 3}).items():
        assert losses(table | {name: value}) != expected, name


def test_frequencies_are_standard_normal_and_of_each_network_its_own() -> None:
    """Of another scale they would see another part of the distribution than the published loss."""
    objective = CharacteristicFunctions(Setting(make_real(SPEC, (1, 1)), TinyNetwork, SEED), 1, frequencies=4000)
    angles = []
    for number in (0, 1, 0):
        found = objective.statistic(torch.eye(2)[:1] * 5, number)
        cos, sin = found[0].double().unflatten(0, (2, -1))
        assert torch.allclose(cos**2 + sin**2, torch.ones_like(cos), atol=1e-5)
        angles.append(found)
        assert cos.mean().item() == pytest.approx(math.exp(-0.5), abs=0.03)  # of a standard normal angle
        assert sin.mean().item() == pytest.approx(0, abs=0.05)
    assert torch.equal(angles[0], angles[2]) and not torch.equal(angles[0], angles[1])
