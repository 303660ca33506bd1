"""Learning through the storage: the objective must see the file, and the memories must get what it says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from engine.config import load_preset
from engine.distilling.choosing import NoChoice
from engine.distilling.learning import Learning
from engine.distilling.through import ThroughStorage
from engine.events import Event, Note, Step
from engine.machine.process_group import ALONE, Group
from engine.runs import RunDirectory
from engine.runs.checkpoints import Checkpoint
from engine.synthetic import Pixels, SyntheticSet, decode_set, encode_set
from engine.synthetic.levels import decoded
from engine.synthetic.streams import Coding
from tests.tiny import make_spec, make_static_dynamic

SPEC = make_spec(("a", "b"), 4, 16, 18)
RATE = 0.3


class Session:
    """Keeps what is emitted and saved."""

    def __init__(self, folder: Path) -> None:
        self.run = RunDirectory(folder)
        self.events: list[Event] = []
        self.saved: list[Checkpoint] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        arrays = {name: array.copy() for name, array in checkpoint.arrays.items()}  # they are views of the memories
        self.saved.append(dataclasses.replace(checkpoint, arrays=arrays))


class Squares:
    """Half the squared distance of all clips from ``target``, and the sums of the clips that it was shown."""

    def __init__(self, target: torch.Tensor) -> None:
        self.target, self.after = target, list[float]()

    def begin(self, synthetic: SyntheticSet) -> list[str]:
        return []

    def losses(self, synthetic: SyntheticSet, step: int) -> Iterator[torch.Tensor]:
        for label in range(2):  # in parts, as objectives do
            clips = synthetic.draw(torch.Generator().manual_seed(step), [label]).clips
            yield 0.5 * (clips - self.target[label]).square().sum()

    def after_step(self, synthetic: SyntheticSet, step: int) -> None:
        self.after.append(synthetic.expand()[0].sum().item())

    def parameters(self) -> dict[str, torch.Tensor]:
        return {}

    figures = state = parameters

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        assert not state


def work_of(session: Session, *changes: str, group: Group = ALONE) -> Any:
    preset = load_preset("default", ["storage.learn_through=true", "synthetic.kind=pixels", *changes])
    said = {"fingerprint": "x", "check": lambda serve: None}
    return SimpleNamespace(session=session, preset=preset, device=torch.device("cpu"), group=group, **said)


def start() -> torch.Tensor:
    waves = torch.linspace(0, 4, 18).sin() + torch.linspace(0, 3, 16).cos().unsqueeze(1)
    return 0.5 * waves + 0.4 * torch.randn(2, 1, 4, 3, 16, 18, generator=torch.Generator().manual_seed(0))


def learned(
    folder: Path, memory: torch.Tensor, target: torch.Tensor, every: int, resume: Checkpoint | None = None
) -> tuple[Session, Squares]:
    """Five steps of SGD through the file, or those that are left."""
    session, objective = Session(folder), Squares(target)
    Learning(
        work=work_of(session, "storage.how=h264-30", f"storage.every={every}"),
        stage="dynamic",
        synthetic=Pixels(SPEC, memory.requires_grad_()),
        objective=cast(Any, objective),
        optimiser=torch.optim.SGD([memory], lr=RATE),
        steps=5,
        checkpoint_every=1,
        choice=cast(Any, NoChoice(cast(Any, session))),
        resume=resume,
    ).run()
    return session, objective


def in_range(memory: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (SPEC.mean, SPEC.std))
    return ((memory * std + mean).clamp(0, 1) - mean) / std


@pytest.mark.parametrize("every", [1, 2, 3])
def test_steps_are_those_that_are_written_out(every: int, tmp_path: Path) -> None:
    """Whoever learns through a codec that the objective does not see has learned beside it."""
    target = torch.randn(2, 3, 4, 16, 18, generator=torch.Generator().manual_seed(1))
    memory, losses, shown = in_range(start()), [], []
    for step in range(5):
        if step % every == 0:
            offset = decode_set(encode_set(Pixels(SPEC, memory), "h264-30").blob).tensors()["pixels"] - memory
        seen = memory + offset
        residual = seen - target.transpose(1, 2).unsqueeze(1)
        losses.append(0.5 * residual.double().square().sum().item())
        memory = in_range(memory - RATE * residual)
        shown.append((memory + offset).sum().item())
    made = start()
    session, objective = learned(tmp_path, made, target, every)
    assert torch.allclose(made, memory, atol=1e-4)
    steps = [event for event in session.events if isinstance(event, Step)]
    assert [event.loss for event in steps] == pytest.approx(losses, rel=1e-4)
    assert objective.after == pytest.approx(shown, rel=1e-3)
    told = [event.step - 1 for event in steps if "encoding_seconds" in event.figures]
    assert told == [step for step in range(5) if step % every == 0]
    (note,) = (event.text for event in session.events if isinstance(event, Note))
    assert "h264-30" in note and ("every step" if every == 1 else f"every {every} steps") in note


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_it_goes_on_between_two_encodings(cut: int, tmp_path: Path) -> None:
    """The offset of the last encoding cannot be computed from memories that have moved since."""
    target, whole = torch.zeros(2, 3, 4, 16, 18), start()
    session, _ = learned(tmp_path, whole, target, 3)
    checkpoint = next(saved for saved in session.saved if saved.step == cut)
    assert ("storage.pixels" in checkpoint.arrays) == (cut % 3 != 0)
    again = torch.from_numpy(checkpoint.arrays["pixels"].copy())
    learned(tmp_path, again, target, 3, checkpoint)
    assert torch.equal(again, whole)


@pytest.mark.parametrize("train_static", [False, True])
def test_both_memories_are_seen_as_the_file_shows_them(train_static: bool, tmp_path: Path) -> None:
    """A still that the codec changes would be seen as it never will be, learned or not."""
    synthetic = make_static_dynamic(SPEC, 1, 2, 2, train_static=train_static)
    with torch.no_grad():
        for tensor in synthetic.hallucinator.parameters():
            tensor.copy_(tensor.half())  # what the file rounds of it is not shown
    for tensor in synthetic.parameters().values():
        tensor.requires_grad_()
    work = work_of(Session(tmp_path), "synthetic.kind=static-dynamic", "storage.how=jpeg-60+h264-30")
    through = ThroughStorage(work, synthetic, None)
    through.renew(0)
    back = cast(Any, decode_set(encode_set(synthetic, "jpeg-60+h264-30").blob))
    clips, expected = through.seen().sample(torch.Generator().manual_seed(2))[0], None
    for tensor in (back.static, back.dynamic):
        tensor.requires_grad_()
    expected = back.sample(torch.Generator().manual_seed(2))[0]
    assert torch.allclose(clips, expected, atol=1e-4)
    clips.pow(3).sum().backward()
    expected.pow(3).sum().backward()
    assert torch.allclose(synthetic.dynamic.grad, back.dynamic.grad, rtol=1e-3, atol=1e-2)
    if train_static:
        assert torch.allclose(synthetic.static.grad, back.static.grad, rtol=1e-3, atol=1e-2)
    else:
        assert synthetic.static.grad is None


def test_processes_share_the_encoding_and_see_the_same(tmp_path: Path) -> None:
    """Eight GPUs would wait for one that encodes, or each learn another set."""
    synthetic = Pixels(SPEC, in_range(start().expand(2, 3, -1, -1, -1, -1).clone()))
    part = synthetic.description.part("pixels")
    coding = Coding.parse("h264-30")
    whole = decoded(part, synthetic.pixels, SPEC, coding)
    shares = [decoded(part, synthetic.pixels, SPEC, coding, Group(rank, 4).share(range(6))) for rank in range(4)]
    assert all(share.any() for share in shares) and torch.equal(sum(shares, torch.zeros(())), whole)
    assert torch.equal(whole, decode_set(encode_set(synthetic, "h264-30").blob).tensors()["pixels"])
