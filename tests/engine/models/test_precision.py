"""Where and in what a run computes: a wrong choice costs speed, or the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import UsageError
from engine.models import autocast, choose_device, choose_precision, image_model, precision, seeded, video_model
from engine.models.precision import deterministic

CPU = torch.device("cpu")


def test_named_precisions() -> None:
    """What a preset says counts on every device."""
    assert choose_precision("float32", CPU) == torch.float32
    assert choose_precision("bfloat16", CPU) == torch.bfloat16


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 avx512f", torch.float32),
        ("fpu avx512_bf16", torch.bfloat16),
        ("amx_bf16 amx_tile", torch.bfloat16),
        ("asimd bf16", torch.bfloat16),
        ("nobf16 avx512_bf16x", torch.float32),
    ],
)
def test_auto_on_a_cpu_goes_by_its_instructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, expected: torch.dtype
) -> None:
    """Without bf16 instructions a run in bfloat16 takes some 80 times as long."""
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "cpuinfo")
    assert choose_precision("auto", CPU) == expected
    monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "gone")
    assert choose_precision("auto", CPU) == torch.float32


def test_auto_never_emulates_on_other_devices() -> None:
    """mps: float32."""
    assert choose_precision("auto", torch.device("mps")) == torch.float32


def test_devices() -> None:
    """A device that is not there is said before anything starts."""
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UsageError, match="cuda:99"):
        choose_device("cuda:99")


def test_autocast_is_off_in_float32_and_on_in_bfloat16() -> None:
    """float32 asked for must be float32 to the bit."""
    x = torch.randn(4, 4)
    with autocast(CPU, torch.float32):
        assert (x @ x).dtype == torch.float32
    with autocast(CPU, torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16


def test_seeded_draws_repeat_and_the_outside_goes_on() -> None:
    """An evaluation in the middle of a notebook or a run must not move anybody's random numbers, nor on an error."""
    torch.manual_seed(1)
    undisturbed = torch.rand(3)
    torch.manual_seed(1)
    with seeded(5, CPU):
        first = torch.rand(3)
    with pytest.raises(ZeroDivisionError), seeded(6, CPU):
        torch.rand(1)
        raise ZeroDivisionError
    assert torch.equal(torch.rand(3), undisturbed)
    with seeded(5, CPU):
        assert torch.equal(torch.rand(3), first)


@pytest.mark.parametrize(
    "make", [lambda s: video_model("convnet3d", 3, 8, 64, s, CPU), lambda s: image_model(3, 16, s, CPU)]
)
def test_the_same_seed_gives_the_same_network(make) -> None:
    """Networks come from the seed, not from the clock: a run can be repeated; and each seed gives another one."""
    torch.manual_seed(123)
    before = torch.get_rng_state()
    one = make(4)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(10)
    again, other = make(4), make(5)
    for (name, a), b, c in zip(one.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c) == ("features" in name and a.dim() == 1 and a.unique().numel() == 1)
    assert all(torch.isfinite(p).all() for p in one.parameters())


def test_deterministic_kernels_are_asked_for_inside_and_nowhere_else() -> None:
    """A notebook's other work must not change its speed because a run was made in it; new tensors cost no filling."""
    settings: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled() and not settings.fill_uninitialized_memory
    assert (torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory) == before
