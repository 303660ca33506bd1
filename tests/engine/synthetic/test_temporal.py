"""Temporal compression: what a user loses here is that the taxonomy's names mean what the paper means by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import PresetError
from engine.synthetic import Pixels, Temporal
from tests.tiny import make_spec

ALL = [
    Temporal(frames, n_syn, segments, interpolation)
    for frames in (1, 3, 8, 12)
    for segments in range(1, frames + 1)
    if frames % segments == 0
    for n_syn in range(1, frames // segments + 1)
    for interpolation in ("duplicate", "linear")
]
ANY = st.sampled_from(ALL)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(ANY)
def test_duplicate_shows_the_frame_that_its_share_of_time_belongs_to(temporal: Temporal) -> None:
    """floor(t * n_syn / n_real) within each segment, in whole numbers: no rounding shows a frame too late."""
    temporal = Temporal(temporal.frames, temporal.n_syn, temporal.segments, "duplicate")
    n_real = temporal.frames // temporal.segments
    expected = np.zeros((temporal.frames, temporal.segments * temporal.n_syn), np.float32)
    for k in range(temporal.segments):
        for t in range(n_real):
            expected[k * n_real + t, k * temporal.n_syn + t * temporal.n_syn // n_real] = 1
    assert temporal.stored == temporal.segments * temporal.n_syn and temporal.n_real == n_real
    assert np.array_equal(temporal.matrix().numpy(), expected)


@given(ANY)
def test_linear_is_torch_s_interpolation_of_each_segment(temporal: Temporal) -> None:
    """Between centres, constant outside, and never across the border of a segment."""
    temporal = Temporal(temporal.frames, temporal.n_syn, temporal.segments, "linear")
    stored = noise(2, temporal.stored, 5).double()
    segments = [
        torch.nn.functional.interpolate(
            stored[:, k * temporal.n_syn : (k + 1) * temporal.n_syn].transpose(1, 2),
            temporal.n_real,
            mode="linear",
            align_corners=False,
        ).transpose(1, 2)
        for k in range(temporal.segments)
    ]
    expected = torch.cat(segments, dim=1)
    assert torch.allclose(temporal.stretch(stored, 1), expected, atol=1e-6)
    assert torch.allclose(temporal.matrix().double() @ stored, expected, atol=1e-6)


@given(ANY, st.integers(0, 2))
def test_stretching_is_the_matrix(temporal: Temporal, dim: int) -> None:
    """Bytes, plans and starts go by the matrix, clips by ``stretch``: along whichever dimension time is."""
    shape = [2, 3, 4]
    shape[dim] = temporal.stored
    stored = noise(*shape)
    found = temporal.stretch(stored, dim)
    expected = np.moveaxis(np.tensordot(temporal.matrix().numpy(), stored.numpy(), (1, dim)), 0, dim)
    assert found.shape == expected.shape and np.allclose(found.numpy(), expected, atol=1e-6)
    if temporal.interpolation == "duplicate":
        assert np.array_equal(found.numpy(), expected), "copies must be exact"


@given(ANY, st.integers(0, 2))
def test_compression_is_the_least_squares_solution(temporal: Temporal, dim: int) -> None:
    """Against numpy's lstsq: a start from real clips that is further from them than it must be costs steps."""
    shape = [2, 3, 4]
    shape[dim] = temporal.frames
    clip = noise(*shape)
    columns = np.moveaxis(clip.numpy(), dim, 0).reshape(temporal.frames, -1).astype(np.float64)
    solution = np.linalg.lstsq(temporal.matrix().numpy().astype(np.float64), columns, rcond=None)[0]
    shape[dim] = temporal.stored
    found = temporal.compress(clip, dim)
    assert list(found.shape) == shape
    assert np.allclose(np.moveaxis(found.numpy(), dim, 0).reshape(temporal.stored, -1), solution, atol=1e-4)


@given(ANY)
def test_compressing_what_was_stretched_gives_it_back(temporal: Temporal) -> None:
    """No frame is stored that the clip does not show."""
    stored = noise(temporal.stored, 5)
    assert torch.allclose(temporal.compress(temporal.stretch(stored, 0), 0), stored, atol=1e-4)


@given(ANY)
def test_nothing_is_touched_where_all_frames_are_stored(temporal: Temporal) -> None:
    """n_syn = n_real is plain distillation: the same tensor, not a product that rounds, nor a copy."""
    whole = Temporal(temporal.frames, temporal.n_real, temporal.segments, temporal.interpolation)
    clip = noise(2, whole.frames)
    assert not whole.compresses and whole.stretch(clip, 1) is clip and whole.compress(clip, 1) is clip
    assert torch.equal(whole.matrix(), torch.eye(whole.frames))
    assert temporal.compresses == (temporal.stored < temporal.frames)


def test_one_frame_is_the_boring_video() -> None:
    """method.md: n_syn = 1 with duplicate shows one image for all of the clip; its start is the mean of the frames."""
    boring = Temporal(8, 1)
    clip = noise(8, 3)
    assert torch.allclose(boring.compress(clip, 0)[0], clip.mean(0), atol=1e-6)
    assert torch.equal(boring.stretch(clip[:1], 0), clip[:1].expand(8, -1))


@pytest.mark.parametrize("temporal", [Temporal(6, 2, 2, "linear"), Temporal(6, 4), Temporal(5, 3, 1, "linear")])
def test_derivatives_of_first_and_second_order(temporal: Temporal) -> None:
    """Trajectory matching differentiates twice. Against torch's finite differences in float64."""
    stored = noise(2, temporal.stored, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: temporal.stretch(x, 1) ** 2, stored)
    assert torch.autograd.gradgradcheck(lambda x: temporal.stretch(x, 1) ** 2, stored)


@pytest.mark.parametrize(
    ("frames", "n_syn", "segments", "interpolation", "key", "mended"),
    [
        (16, 1, 3, "duplicate", "synthetic.segments", 1),
        (16, 1, 12, "duplicate", "synthetic.segments", 4),
        (16, 1, 0, "duplicate", "synthetic.segments", 16),
        (16, 1, -4, "duplicate", "synthetic.segments", 4),
        (16, 1, 32, "duplicate", "synthetic.segments", 16),
        (16, 0, 1, "duplicate", "synthetic.n_syn", 16),
        (16, 17, 1, "linear", "synthetic.n_syn", 16),
        (16, 5, 4, "linear", "synthetic.n_syn", 4),
        (16, 4, 4, "cubic", "synthetic.interpolation", "linear"),
        (10**15, 1, 7, "duplicate", "synthetic.segments", 1),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(
    frames: int, n_syn: int, segments: int, interpolation: str, key: str, mended: int | str
) -> None:
    """Before any work starts, with the key and a value that works."""
    with pytest.raises(PresetError) as caught:
        Temporal(frames, n_syn, segments, interpolation)
    assert key in caught.value.hint and str(mended) in caught.value.hint
    assert "\n" not in caught.value.problem + caught.value.hint
    fields = {"n_syn": n_syn, "segments": segments, "interpolation": interpolation, key.split(".")[1]: mended}
    Temporal(frames, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("temporal", [Temporal(6, 2, 2, "linear"), Temporal(6, 2), Temporal(6, 1, 3)])
def test_pixels_are_stretched_to_clips(temporal: Temporal) -> None:
    """Every clip against the matrix in float64: frames in their order, channels in theirs, in the networks' layout."""
    spec = make_spec("abc", frames=6, height=4, width=5)
    synthetic = Pixels(spec, noise(3, 2, temporal.stored, 3, 4, 5), temporal=temporal)
    clips, labels = synthetic.expand()
    assert labels.tolist() == [0, 0, 1, 1, 2, 2] and clips.is_contiguous(memory_format=torch.channels_last_3d)
    matrix = temporal.matrix().double().numpy()
    for number, clip in enumerate(clips):
        stored = synthetic.pixels[number // 2, number % 2].double().numpy()
        expected = np.einsum("fs,schw->cfhw", matrix, stored)
        assert np.allclose(clip.numpy(), expected, atol=1e-6)
    assert synthetic.stored_values == 3 * 2 * temporal.stored * 3 * 20 and synthetic.parameters().keys() == {"pixels"}


def test_pixels_with_all_frames_stored_are_plain_pixels() -> None:
    """Bytes of existing runs do not change where a preset spells out what is so anyway."""
    spec = make_spec(frames=4)
    pixels = noise(2, 1, 4, 3, 4, 4)
    plain, spelt = Pixels(spec, pixels), Pixels(spec, pixels, temporal=Temporal(4, 2, 2, "linear"))
    assert spelt.temporal is None and torch.equal(plain.expand()[0], spelt.expand()[0])
    with pytest.raises(AssertionError):
        Pixels(spec, pixels, temporal=Temporal(4, 2))
    with pytest.raises(AssertionError):
        Pixels(spec, pixels, temporal=Temporal(8, 4))
