"""The synthetic side of matching by recorded steps: on a CPU operations are traced, and must give the bits of plain
ones (tests/traced.py)."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, cast

import pytest
import torch

from engine.data.batches import RealClips
from engine.matching.bank import Schedule, TargetBank
from engine.matching.base import Setting
from engine.matching.characteristic import CharacteristicFunctions
from engine.matching.class_means import ClassMeans
from engine.matching.distribution import DistributionMatching
from engine.models.registry import image_model, video_model
from engine.models.repeated import WARM_UP
from engine.synthetic import SyntheticSet
from engine.synthetic.pixels import Pixels
from engine.synthetic.still import StaticImages
from engine.synthetic.temporal import Temporal
from tests.tiny import FakeView, make_pixels, make_spec, make_static_dynamic
from tests.traced import Traced

CPU = torch.device("cpu")
SPEC = make_spec(("a", "b", "c"), frames=8, height=64)
STEPS = 2 * (WARM_UP + 1)


@pytest.fixture(autouse=True)
def records(monkeypatch: pytest.MonkeyPatch) -> list[Traced]:
    monkeypatch.setattr(Traced, "made", [])
    return Traced.made


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def make_set(kind: str) -> SyntheticSet:
    made: dict[str, Any] = {
        "static-dynamic": lambda: make_static_dynamic(SPEC, ipc=2, seed=7),
        "pixels": lambda: Pixels(SPEC, random(3, 2, 4, 3, 64, 64), temporal=Temporal(8, 2, 2, "linear")),
        "stills": lambda: StaticImages(SPEC, random(3, 2, 3, 64, 64)),
    }
    synthetic = cast(SyntheticSet, made[kind]())
    for tensor in synthetic.parameters().values():
        tensor.requires_grad_()
    return synthetic


def setting_of(kind: str, **changes: Any) -> Setting:
    real = RealClips(cast(Any, FakeView(make_pixels(6, SPEC), [0, 1, 2] * 2)), SPEC, CPU)

    def network(number: int) -> Any:
        if kind == "stills":
            return image_model(3, 64, number, CPU)
        return video_model("convnet3d_small", 3, 8, 64, number, CPU)

    return Setting(real, network, 0, **changes)


def course(objective: ClassMeans, synthetic: SyntheticSet) -> list[torch.Tensor]:
    """Losses of some steps of SGD, and what they made of the set."""
    learned = list(synthetic.parameters().values())
    optimiser = torch.optim.SGD(learned, 0.1)
    losses = []
    for step in range(STEPS):
        optimiser.zero_grad()
        total = torch.zeros(())
        for part in objective.losses(synthetic, step):
            part.backward()
            total += part.detach()
        optimiser.step()
        losses.append(total)
    return [*losses, *(tensor.detach() for tensor in learned)]


@pytest.mark.parametrize(
    ("kind", "how"),
    [("static-dynamic", "banked"), ("pixels", "banked"), ("stills", "banked"), ("pixels", "some classes")],
)
def test_recorded_steps_learn_the_very_set_that_plain_ones_do(kind: str, how: str, records: list[Traced]) -> None:
    """Each step has another network and another draw. With 2 of 3 classes per step a group is smaller, and gradients
    are scaled behind the passes in place of before them, which is the same but for rounding.
    """

    def found(record: type[Traced] | None) -> list[torch.Tensor]:
        setting = setting_of(kind, record=record)
        given: dict[str, Any] = {"stills": kind == "stills"}
        if how == "banked":
            frames = 2 if kind == "stills" else 0
            given["bank"] = TargetBank(setting, Schedule(0, 3, 4), frames=frames)
        else:
            given["classes_per_step"] = 2
        return course(DistributionMatching(setting, 2, **given), make_set(kind))

    plain, recorded = found(None), found(Traced)
    same = torch.equal if how == "banked" else partial(torch.allclose, rtol=1e-4, atol=1e-5)
    assert len(plain) > STEPS and all(map(same, plain, recorded))
    assert not torch.equal(plain[0], plain[1]) and sum(record.times for record in records) >= 2
    assert len(records) == (1 if how == "banked" else 2)


def test_both_parts_of_a_loss_keep_their_gradients() -> None:
    """A caller may add them up before it goes back, though a record computes in the same place each time."""
    synthetic, other = make_set("pixels"), make_set("pixels")
    objectives = [DistributionMatching(setting_of("pixels", record=how), 2, at_once=4) for how in (None, Traced)]
    for step in range(WARM_UP + 1):
        for objective, one in zip(objectives, (synthetic, other), strict=True):
            for tensor in one.parameters().values():
                tensor.grad = None
            objective.loss(one, step).backward()
    for plain, recorded in zip(synthetic.parameters().values(), other.parameters().values(), strict=True):
        assert plain.grad is not None and recorded.grad is not None and torch.equal(plain.grad, recorded.grad)


def test_what_cannot_be_repeated_is_not_recorded(records: list[Traced]) -> None:
    """A set that is seen through its storage has new tensors at every step; NCFM draws frequencies for each network."""
    setting = setting_of("pixels", record=Traced)
    synthetic = make_set("pixels")
    course(CharacteristicFunctions(setting, 2, frequencies=8, alpha=0.5), synthetic)
    objective = DistributionMatching(setting, 2)
    for step in range(WARM_UP + 2):
        seen = synthetic.seen_as({name: tensor + 0.1 for name, tensor in synthetic.parameters().items()})
        for part in objective.losses(seen, step):
            part.backward()
    assert not records
    plain = dataclasses.replace(setting, record=None)
    assert torch.equal(DistributionMatching(plain, 2).loss(synthetic, 0), objective.loss(synthetic, 0))


def test_another_set_is_recorded_anew(records: list[Traced]) -> None:
    setting = setting_of("pixels", record=Traced)
    objective, plain = DistributionMatching(setting, 2), DistributionMatching(setting_of("pixels"), 2)
    for synthetic in (make_set("pixels"), make_set("static-dynamic")):
        for step in range(WARM_UP + 1):
            assert torch.equal(objective.loss(synthetic, step), plain.loss(synthetic, step))
    assert len(records) == 2
