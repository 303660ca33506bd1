"""The number format that is measured: a wrong one costs half of the time, an unsteady one the bytes of a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from engine.config import load_preset
from engine.evaluation.judge import precision_of
from engine.models import measured as module
from engine.models.measured import ROUNDS, WARM_UP, Chosen, Steps, kept, measured, precision_for

CPU, GPU = torch.device("cpu"), torch.device("cuda")
STEPS = Steps("convnet3d_small", 3, 8, 64, 2)


def clock(float32: Iterator[float], bfloat16: Iterator[float], carry_out: bool = False) -> Callable[..., float]:
    """A stopwatch that shows what it is told; float32 and bfloat16 come in turn."""
    shown = (next(one) for _ in iter(int, 1) for one in (float32, bfloat16))

    def seconds(call: Callable[[], None]) -> float:
        if carry_out:
            call()
        return next(shown)

    return seconds


@pytest.mark.parametrize(
    ("float32", "bfloat16", "expected"),
    [
        ([2.0] * ROUNDS, [1.0] * ROUNDS, torch.bfloat16),
        ([1.0] * ROUNDS, [2.0] * ROUNDS, torch.float32),
        ([1.0] * ROUNDS, [1.0] * ROUNDS, torch.float32),
        ([1.0, 1.2] * (ROUNDS // 2), [0.9, 1.1] * (ROUNDS // 2), torch.float32),  # within the spread
        ([1.0, 1.02] * (ROUNDS // 2), [0.9, 0.92] * (ROUNDS // 2), torch.bfloat16),
        ([1.0] * (ROUNDS - 1) + [0.1], [0.9] * (ROUNDS - 1) + [9.0], torch.bfloat16),  # one step of each was disturbed
    ],
)
def test_bfloat16_must_be_faster_by_more_than_the_spread(
    float32: list[float], bfloat16: list[float], expected: torch.dtype
) -> None:
    """In doubt it is float32, or the answer would be the clock's mood; and the first steps choose kernels."""
    first = [100.0] * WARM_UP
    found = measured(STEPS, CPU, clock(iter(first + float32), iter([0.001] * WARM_UP + bfloat16)))
    assert found.precision == expected
    middle = {name: sorted(times)[ROUNDS // 2] for name, times in (("float32", float32), ("bfloat16", bfloat16))}
    assert found.seconds == pytest.approx(middle, rel=0.2)


def test_what_is_timed_are_training_steps_in_each_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """With their backward pass, on clips of the shape asked for; and nobody's random numbers move."""
    seen: list[object] = []
    backward = torch.Tensor.backward
    monkeypatch.setattr(module, "autocast", lambda device, precision: (seen.append(precision), nullcontext())[1])
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss: (seen.append("back"), backward(loss))[1])
    torch.manual_seed(1)
    before = torch.get_rng_state()
    measured(STEPS, CPU, clock(iter([1.0] * 99), iter([1.0] * 99), carry_out=True))
    assert seen == [torch.float32, "back", torch.bfloat16, "back"] * (WARM_UP + ROUNDS)
    assert torch.equal(before, torch.get_rng_state())


def test_the_first_answer_is_everybodys(tmp_path: Path) -> None:
    """Cells of a grid that start at once, on one machine, would else be of two number formats."""
    at_once = threading.Barrier(8)
    answers, lock = [], threading.Lock()

    def ask(number: int) -> None:
        def measure() -> Chosen:
            at_once.wait()
            precision = "bfloat16" if number % 2 else "float32"
            return Chosen(module.FORMATS[precision], {"float32": float(number), "bfloat16": 1.0})

        found = kept(tmp_path / "new", {"device": "x"}, measure)
        with lock:
            answers.append(found)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8 and all(one == answers[0] for one in answers)
    assert kept(tmp_path / "new", {"device": "x"}, lambda: pytest.fail("it is known")) == answers[0]  # type: ignore[arg-type]
    other = Chosen(torch.float32, {"float32": 1.0, "bfloat16": 2.0})
    assert kept(tmp_path / "new", {"device": "y"}, lambda: other) == other
    assert len(list((tmp_path / "new").iterdir())) == 2, "no draft is left"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[",
        "{}",
        '{"steps": {"device": "x"}, "precision": "float8"}',
        '{"steps": {"device": "x"}, "precision": ["float32"]}',
        '{"steps": {"device": "x"}, "precision": "float32", "precision_seconds": {"float32": "1", "bfloat16": 2}}',
    ],
)
def test_a_damaged_answer_is_no_answer(tmp_path: Path, content: str) -> None:
    """A run that cannot be started for a cache would be worse than one that measures again."""
    own = Chosen(torch.bfloat16, {"float32": 2.0, "bfloat16": 1.0})
    kept(tmp_path, {"device": "x"}, lambda: own)
    (path,) = tmp_path.iterdir()
    path.write_text(content)
    assert kept(tmp_path, {"device": "x"}, lambda: own) == own


def test_a_folder_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    """An evaluation of somebody else's run reads a folder that it may not write to."""
    (tmp_path / "file").write_text("")
    own = Chosen(torch.bfloat16, {"float32": 2.0, "bfloat16": 1.0})
    assert kept(tmp_path / "file" / "folder", {"device": "x"}, lambda: own) == own


def test_only_gpus_are_asked_and_only_by_auto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU an answer by the clock would depend on its other work, and so would the bytes of a run."""
    asked = []

    def measure(steps: Steps, device: torch.device) -> Chosen:
        asked.append((steps, device.type))
        return Chosen(torch.float32, {"float32": 1.0, "bfloat16": 2.0})

    monkeypatch.setattr(module, "measured", measure)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "card")
    for name in ("auto", "float32", "bfloat16"):
        assert precision_for(name, CPU, STEPS, tmp_path).seconds is None
    assert precision_for("bfloat16", GPU, STEPS, tmp_path) == Chosen(torch.bfloat16)
    assert not asked and not [*tmp_path.iterdir()]
    for _ in range(2):
        assert precision_for("auto", GPU, STEPS, tmp_path).precision == torch.float32
    assert asked == [(STEPS, "cuda")]
    precision_for("auto", GPU, STEPS, None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "other card")
    precision_for("auto", GPU, STEPS, tmp_path)
    assert len(asked) == 3
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert precision_for("auto", GPU, STEPS, tmp_path) == Chosen(torch.float32)
    assert len(asked) == 3


def test_sets_of_any_size_have_one_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid over the IPC that changed the format between two cells would compare two things at once."""
    asked = set()
    monkeypatch.setattr("engine.evaluation.judge.precision_for", lambda name, device, steps, folder: asked.add(steps))
    for ipc in (1, 5, 50):
        precision_of(load_preset("default", {"synthetic.ipc": ipc}), 10, 8, 64, CPU, tmp_path)
    assert asked == {Steps("convnet3d", 10, 8, 64, 10)}
