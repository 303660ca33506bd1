"""Networks by name: a wrong one, or one that fails after hours, is a user's day lost."""

from __future__ import annotations

import inspect
import re
from typing import get_args

import pytest
import torch
from torch import nn

from engine.config.schema import EvaluationSection
from engine.errors import DataError, UsageError
from engine.models import VIDEO_MODELS, check_model, seeded, video_model
from engine.models.base import VideoNetwork
from engine.models.precision import deterministic

CPU, ON_META = torch.device("cpu"), torch.device("meta")
NAMES = list(VIDEO_MODELS)
SMALL = dict.fromkeys(NAMES, (2, 28)) | dict.fromkeys(["convnet3d", "convnet3d_small", "convnet3d_collapsed"], (8, 64))
"""Clips that are as small as they may be, or nearly so: frames and size."""

RESNETS = ("r3d_18", "mc3_18", "r2plus1d_18")
FRAMEWISE = tuple(name for name in NAMES if name.startswith("convnet_"))


def shapes_for(name: str) -> list[tuple[int, int]]:
    """Around every edge of what a network takes; few, as most of them go through a whole network."""
    frames, sizes = ((1, 2, 8, 9), (16, 17)) if name in RESNETS else ((1, 3), (1, 7, 8, 9, 12, 13, 14, 15, 40))
    return [(number, size) for number in frames for size in sizes]


def make(name: str, seed: int = 3) -> nn.Module:
    return video_model(name, 3, *SMALL[name], seed, CPU)


def clips_for(name: str, number: int = 2) -> torch.Tensor:
    frames, size = SMALL[name]
    rng = torch.Generator().manual_seed(0)
    clips = torch.randn(number, 3, frames, size, size, generator=rng)
    return clips.contiguous(memory_format=torch.channels_last_3d)


def loss_of(network: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    """In training, dropout and the like drawn from the same seed each time."""
    with seeded(5, CPU):
        return nn.functional.cross_entropy(network.train()(clips), torch.arange(len(clips)))


def works(name: str, frames: int, size: int) -> bool:
    """Whether a batch of one goes through as it is, in training and after."""
    with ON_META:
        try:
            network = VIDEO_MODELS[name](2, frames, size)
            for training in (True, False):
                assert network.train(training)(torch.empty(1, 3, frames, size, size)).shape == (1, 2)
        except (RuntimeError, ValueError):
            return False
    return True


def refused(name: str, frames: int, size: int) -> bool:
    try:
        check_model(name, frames, size)
    except DataError:
        return True
    return False


def test_a_preset_can_name_each_of_them() -> None:
    """One that the schema does not know cannot be asked for; one that only the schema knows ends in a traceback."""
    (names, _) = get_args(EvaluationSection.model_fields["models"].annotation)
    assert set(get_args(get_args(names)[0])) == set(VIDEO_MODELS)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("name", [*FRAMEWISE, *RESNETS])
def test_refused_is_exactly_what_would_fail(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip that would do must not be refused; one that would not must be before anything is trained."""
    found = {shape: refused(name, *shape) for shape in shapes_for(name)}
    assert len(set(found.values())) == 2, "the shapes show no limit"
    monkeypatch.setattr(VIDEO_MODELS[name], "check", staticmethod(lambda frames, size: None))
    assert found == {shape: not works(name, *shape) for shape in shapes_for(name)}


@pytest.mark.parametrize(("frames", "size"), [(1, 1), (1, 64), (2, 3), (5, 33), (9, 56)])
def test_swin_takes_any_shape(frames: int, size: int) -> None:
    """Fewer shapes: one takes its time."""
    assert not refused("swin3d_t", frames, size) and works("swin3d_t", frames, size)


@pytest.mark.parametrize("name", NAMES)
def test_a_refusal_names_the_clips_and_a_remedy_that_helps(name: str) -> None:
    """Each way out in the hint is followed, and leads out."""
    for frames, size in shapes_for(name):
        try:
            check_model(name, frames, size)
        except DataError as error:
            assert f"{frames} frames of {size} x {size} pixels" in error.problem
            for choice in error.hint.split(" or "):
                better = {flag: int(value) for flag, value in re.findall(r"--(\w+) (\d+)", choice)}
                if better:
                    check_model(name, better.get("frames", frames), better.get("size", size))
            assert "--size" in error.hint
            with pytest.raises(DataError):
                video_model(name, 2, frames, size, 0, CPU)


def test_to_check_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked while a user waits for a form or a plan."""

    def never(self: nn.Module) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr(nn.Module, "__init__", never)
    for name in NAMES:
        check_model(name, 8, 64)
        check_model(name, 16, 112)


@pytest.mark.parametrize(
    ("name", "near"), [("r3d-18", "r3d_18"), ("convnet_lstn", "convnet_lstm"), ("swin3d_b", "swin3d_t")]
)
def test_an_unknown_name_gets_the_nearest(name: str, near: str) -> None:
    """Not a KeyError."""
    for ask in (lambda: check_model(name, 8, 64), lambda: video_model(name, 2, 8, 64, 0, CPU)):
        with pytest.raises(UsageError) as caught:
            ask()
        assert name in caught.value.problem and near in caught.value.hint


def test_a_name_like_none_gets_them_all() -> None:
    """In one line, whatever the name holds."""
    with pytest.raises(UsageError) as caught:
        check_model("xyzzy\nplugh", 8, 64)
    assert all(name in caught.value.hint for name in NAMES) and "\n" not in caught.value.problem


@pytest.mark.parametrize("name", NAMES)
def test_weights_come_from_the_seed_and_training_repeats(name: str) -> None:
    """The same seed: the same weights and the same step, to the bit, downhill, with every weight in it."""
    clips, networks, losses = clips_for(name), [make(name), make(name)], []
    for one, again in zip(*(network.state_dict().values() for network in networks), strict=True):
        assert torch.equal(one, again)
    for network in networks:
        with deterministic():
            loss = loss_of(network, clips)
            loss.backward()
        losses.append(loss.detach())
    assert torch.equal(*losses)
    for one, again in zip(*(network.parameters() for network in networks), strict=True):
        assert one.grad is not None and again.grad is not None
        assert torch.equal(one.grad, again.grad) and bool(one.grad.isfinite().all())
    torch.optim.SGD(networks[0].parameters(), 1e-3).step()
    with torch.no_grad():
        assert loss_of(networks[0], clips) < losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_gives_other_weights_and_they_lie_as_clips_do(name: str) -> None:
    """Three networks of a table that were one would show no deviation; weights not channels last would cost speed."""
    one, other = make(name), make(name, seed=4)
    for mine, its in zip(one.parameters(), other.parameters(), strict=True):
        assert mine.dim() == 1 or not torch.equal(mine, its)
        if mine.dim() == 4:
            assert mine.is_contiguous(memory_format=torch.channels_last)
        if mine.dim() == 5:
            assert mine.is_contiguous(memory_format=torch.channels_last_3d)


def test_each_is_a_network_for_clips() -> None:
    """So each has an embedding for objectives and coresets, and limits to be asked for."""
    for builder in VIDEO_MODELS.values():
        assert isinstance(builder, type) and issubclass(builder, VideoNetwork) and not inspect.isabstract(builder)
