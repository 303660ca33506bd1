"""Real clips as networks see them: a wrong normalisation or draw spoils every number after it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny import make_pixels, make_real, make_spec, normalised

SPEC = make_spec("ab", frames=3, height=4, width=5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_normalisation_is_numpy_s() -> None:
    """(pixel / 255 - mean) / std for each channel; networks are trained on nothing else."""
    real = make_real(SPEC, (3, 4))
    clips = real.clips(torch.tensor([4, 0, 6]))
    expected = normalised(real.view.pixels[[4, 0, 6]], SPEC)
    assert clips.shape == (3, 3, 3, 4, 5) and clips.dtype == torch.float32
    assert np.allclose(clips.numpy(), expected, atol=1e-5)


def test_the_layout_is_that_of_the_bytes() -> None:
    """On the disk (T, H, W, 3) is channels last: no copy turns the axes, and convolutions get the fast layout."""
    pixels = torch.from_numpy(make_pixels(2, SPEC))
    clips, images = SPEC.normalise(pixels), SPEC.normalise_images(pixels[:, 0])
    assert clips.is_contiguous(memory_format=torch.channels_last_3d)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert clips.permute(0, 2, 3, 4, 1).is_contiguous() and pixels.dtype == torch.uint8
    assert np.allclose(images.numpy(), normalised(pixels[:, 0].numpy(), SPEC), atol=1e-5)


def test_all_256_values_come_back() -> None:
    """What is exported is what was read."""
    spec = make_spec(frames=4, height=8)
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 4, 8, 8, 1).expand(-1, -1, -1, -1, 3).contiguous()
    assert torch.equal(spec.to_pixels(spec.normalise(pixels)), pixels)
    assert torch.equal(spec.to_pixels(spec.normalise_images(pixels[:, 0])), pixels[:, 0])
    extreme = torch.tensor([-1e9, 1e9]).view(2, 1, 1, 1, 1).expand(2, 3, 1, 1, 1)
    assert spec.to_pixels(extreme).flatten().tolist() == [0, 0, 0, 255, 255, 255]


@given(st.integers(0, 2**31), st.integers(0, 9), st.integers(0, 1))
def test_draws_are_without_replacement_and_of_the_class(seed: int, number: int, label: int) -> None:
    """A clip twice in a batch is a batch with one clip less; a clip of another class is a wrong label."""
    real = make_real(SPEC, (4, 7))
    picked = real.pick(label, number, generator(seed)).tolist()
    assert len(set(picked)) == len(picked) == min(number, (4, 7)[label]) <= real.available(label)
    assert all(real.view.labels[index] == label for index in picked)


def test_draws_are_random_and_repeatable() -> None:
    """Every clip gets its turn; the same generator gives the same batch."""
    real = make_real(SPEC, (4, 7))
    counts = Counter(index for seed in range(300) for index in real.pick(1, 2, generator(seed)).tolist())
    assert len(counts) == 7 and all(50 < count < 125 for count in counts.values())
    assert torch.equal(real.pick(1, 3, generator(5)), real.pick(1, 3, generator(5)))


def test_draws_of_several_classes_have_their_labels() -> None:
    """Unequal classes: each gives what it has, in the order asked for."""
    real = make_real(SPEC, (2, 7))
    clips, labels = real.draw_clips([1, 0], 5, generator())
    assert labels.tolist() == [1] * 5 + [0] * 2 and len(clips) == 7


def test_frames_are_single_frames_of_different_clips() -> None:
    """Stage 1 draws one random frame of each of some clips; each frame number must occur."""
    real = make_real(SPEC, (5, 6))
    frames = normalised(real.view.pixels, SPEC)
    seen = Counter()
    for seed in range(60):
        images = real.draw_frames(1, 4, generator(seed))
        assert images.shape == (4, 3, 4, 5) and images.is_contiguous(memory_format=torch.channels_last)
        clips = []
        for image in images.numpy():
            distances = np.abs(frames - image[None, :, None]).max(axis=(1, 3, 4))
            clip, number = np.unravel_index(distances.argmin(), distances.shape)
            assert distances[clip, number] < 1e-5 and real.view.labels[clip] == 1
            clips.append(clip)
            seen[number] += 1
        assert len(set(clips)) == 4
    assert set(seen) == {0, 1, 2} and min(seen.values()) > 50


@pytest.mark.parametrize("size", [1, 4, 11, 100])
def test_batches_cover_the_split_in_order(size: int) -> None:
    """A test on part of the split, or on clips under other labels, is no test."""
    real = make_real(SPEC, (5, 6))
    parts = list(real.batches(size))
    assert torch.cat([indices for _, indices in parts]).tolist() == list(range(11)) and len(real) == 11
    assert all(len(clips) == len(indices) <= size for clips, indices in parts)
    assert np.allclose(torch.cat([clips for clips, _ in parts]).numpy(), normalised(real.view.pixels, SPEC), atol=1e-5)
