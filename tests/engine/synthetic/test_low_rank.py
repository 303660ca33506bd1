"""Low-rank dynamic memory: that it is the sum it says, and starts as near to real clips as so few maps can."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.config import load_preset
from engine.errors import PresetError
from engine.models.hallucinator import Hallucinator
from engine.synthetic import Start, StaticDynamic, StaticImages, Temporal, set_class
from engine.synthetic.low_rank import LowRank
from tests.tiny import compose_by_hand, enlarge_by_hand, make_real, make_spec

SPEC = make_spec("ab", frames=4, height=5)
REAL = make_real(SPEC, (3, 2))


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def low_rank(rank: int = 2, frames: int = 4, side: int = 5, temporal: Temporal | None = None) -> LowRank:
    hallucinator = Hallucinator.of(0.3 * numbers(3, 4, 3, 3, 3, seed=1), numbers(3, seed=2))
    coefficients, maps = numbers(2, 2, rank, frames, seed=3), numbers(2, 2, rank, 1, side, side, seed=4)
    return LowRank(SPEC, 1, numbers(2, 1, 3, 5, 5, seed=5), coefficients, maps, hallucinator, temporal=temporal)


@pytest.mark.parametrize(("frames", "side"), [(4, 5), (2, 5), (4, 3)])
def test_clips_are_the_hallucinator_s_of_the_sum(frames: int, side: int) -> None:
    """Each clip in float64, frame by frame and map by map: other clips would be learned than are stored."""
    synthetic = low_rank(frames=frames, side=side, temporal=Temporal(4, frames) if frames < 4 else None)
    clips, _ = synthetic.expand()
    weight, bias = (tensor.detach().double().numpy() for tensor in synthetic.hallucinator.parameters())
    for number, clip in enumerate(clips.detach()):
        label, d = divmod(number, 2)
        shown = np.zeros((4, 5, 5))
        for t in range(4):
            for r in range(2):
                value = float(synthetic.coefficients[label, d, r, t * frames // 4])
                shown[t] += value * enlarge_by_hand(synthetic.maps[label, d, r, 0].numpy(), 5, 5)
        expected = compose_by_hand(synthetic.static[label, 0].double().numpy(), shown, weight, bias)
        assert np.allclose(clip.numpy(), expected, atol=1e-4)


def started(kind: str, **changes: object) -> StaticDynamic | LowRank:
    given = {"synthetic.kind": kind} | {key.replace("__", "."): v for key, v in changes.items()}
    preset = load_preset("ablation-pairing-2", given)
    static = StaticImages.start(Start(preset, REAL)).static
    return set_class(kind).start(Start(preset, REAL, static))  # type: ignore[return-value]


@pytest.mark.parametrize("side", [None, 3])
def test_at_full_rank_it_starts_as_the_whole_memory(side: int | None) -> None:
    """A start that lost something at full rank would lose more at any other."""
    size = {} if side is None else {"synthetic__dynamic_size": side}
    whole, sums = started("static-dynamic", **size), started("low-rank", synthetic__rank=4, **size)
    assert isinstance(whole, StaticDynamic) and isinstance(sums, LowRank)
    labels, d = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    assert torch.allclose(sums.dynamics(labels, d), whole.dynamic.flatten(0, 1), atol=1e-5)
    assert torch.allclose(sums.expand()[0], whole.expand()[0], atol=1e-4)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_start_is_the_nearest_of_its_rank(rank: int) -> None:
    """Eckart and Young: the squared error left is the sum of the squared singular values left out, of NumPy's."""
    whole, sums = started("static-dynamic"), started("low-rank", synthetic__rank=rank)
    assert isinstance(whole, StaticDynamic) and isinstance(sums, LowRank)
    labels, d = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    for one, other in zip(whole.dynamic.flatten(0, 1), sums.dynamics(labels, d), strict=True):
        values = np.linalg.svd(one.double().numpy().reshape(4, -1), compute_uv=False)
        left = float(((one - other).double() ** 2).sum())
        assert left == pytest.approx(float((values[rank:] ** 2).sum()), rel=1e-4, abs=1e-9)
    assert sums.coefficients.square().mean() == pytest.approx(1, rel=1e-4, abs=1e-9)


def test_noise_has_the_variance_of_the_data() -> None:
    """In units of the data's deviation, as the noise that a whole memory starts from."""
    spec = make_spec("ab", frames=8, height=32)
    preset = load_preset(
        "ablation-pairing-2", {"synthetic.kind": "low-rank", "dynamic.init": "noise", "synthetic.rank": 3}
    )
    synthetic = LowRank.start(Start(preset, make_real(spec, (3, 2)), numbers(2, 2, 3, 32, 32)))
    shown = synthetic.dynamics(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]))
    assert shown.shape == (4, 8, 1, 32, 32) and 0.6 < float(shown.var()) < 1.5


def test_gradients_of_both_factors_are_those_of_finite_differences() -> None:
    """A factor whose gradient is wrong is learned to be something else than the loss asks for."""
    synthetic = low_rank()
    weight = numbers(4, 3, 4, 5, 5, seed=9)

    def loss() -> torch.Tensor:
        return (synthetic.compose(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])) * weight).sum()

    for tensor in (synthetic.coefficients, synthetic.maps):
        tensor.requires_grad_()
    loss().backward()
    for tensor in (synthetic.coefficients, synthetic.maps):
        direction = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(7))
        with torch.no_grad():  # linear in each factor, so that any step does
            tensor += direction
            after = loss()
            tensor -= 2 * direction
            before = loss()
            tensor += direction
        assert tensor.grad is not None
        assert float((tensor.grad * direction).sum()) == pytest.approx(float(after - before) / 2, rel=1e-3)


def test_bytes_by_hand() -> None:
    """Two maps and two series in place of four frames; coefficients are few, and always float32."""
    synthetic = low_rank()
    static, maps, coefficients = 2 * 1 * 3 * 25, 2 * 2 * 2 * 25, 2 * 2 * 2 * 4
    assert synthetic.stored_values == static + maps + coefficients + 327
    assert synthetic.nbytes() == 4 * synthetic.stored_values
    assert synthetic.nbytes("float16") == 2 * (static + maps) + 4 * (coefficients + 327)
    assert synthetic.nbytes("uint8") == static + maps + 8 * (2 * 1 + 2 * 2) + 4 * (coefficients + 327)


def test_more_maps_than_frames_are_refused() -> None:
    """They would be stored, counted, and of no use."""
    with pytest.raises(PresetError, match=r"synthetic\.rank = 5") as caught:
        started("low-rank", synthetic__rank=5)
    assert "4" in caught.value.hint


def test_rank_is_refused_where_nothing_reads_it() -> None:
    """A key that changes nothing would pass for a result."""
    with pytest.raises(PresetError, match=r"synthetic\.rank needs a dynamic memory of low rank"):
        load_preset("default", ["synthetic.rank=3"])
