"""Real clips as networks see them: a wrong normalisation or draw spoils every number after it."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.data import batches
from engine.data.batches import RESIDENT_SHARE, RealClips, free_bytes
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


# --- the whole split on the device -----------------------------------------------------------------------------------


class Unread:
    """A view whose pixels must not be read any more."""

    def __init__(self, view: Any) -> None:
        self.labels, self.video, self._length = view.labels, view.video, len(view)

    def __len__(self) -> int:
        return self._length


def kept(real: RealClips) -> RealClips:
    """The same split, all of it on the device, and nothing behind it."""
    moved = RealClips(real.view, real.spec, real.device).keep_on_device()
    assert moved.resident is not None and moved.resident.dtype == torch.uint8
    moved.view = Unread(real.view)  # type: ignore[assignment]
    return moved


@given(st.integers(0, 2**31), st.lists(st.integers(0, 10), min_size=1, max_size=12), st.integers(1, 12))
def test_a_split_on_the_device_gives_the_same_bits(seed: int, indices: list[int], size: int) -> None:
    """A run must not depend on how much memory was free when it began."""
    real = make_real(SPEC, (4, 7))
    moved = kept(real)
    chosen = torch.tensor(indices, dtype=torch.int64)
    numbers = torch.randint(3, (len(indices),), generator=generator(seed))
    pairs = [
        (real.clips(chosen), moved.clips(chosen)),
        (real.images(chosen, numbers), moved.images(chosen, numbers)),
        (real.draw_frames(1, 4, generator(seed)), moved.draw_frames(1, 4, generator(seed))),
        *zip(real.draw_clips([1, 0], 3, generator(seed)), moved.draw_clips([1, 0], 3, generator(seed)), strict=True),
        *((one[0], other[0]) for one, other in zip(real.batches(size), moved.batches(size), strict=True)),
    ]
    for one, other in pairs:
        assert torch.equal(one, other) and one.stride() == other.stride() and one.dtype == other.dtype


def test_images_are_the_frames_asked_for() -> None:
    """Frame i of clip i, and no other pairing."""
    real = make_real(SPEC, (4, 7))
    images = real.images(torch.tensor([5, 0, 5]), torch.tensor([2, 1, 0]))
    expected = normalised(real.view.pixels[[5, 0, 5], [2, 1, 0]], SPEC)  # type: ignore[attr-defined]
    assert np.allclose(images.numpy(), expected, atol=1e-5)


def test_the_split_is_moved_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a data set in memory twice may be one time too often."""
    monkeypatch.setattr(batches, "BLOCK_BYTES", 400)  # two clips of 180
    real = make_real(SPEC, (4, 7))
    view, sizes = copy.copy(real.view), []
    read = view.clips
    view.clips = lambda indices: sizes.append(len(indices)) or read(indices)  # type: ignore[method-assign, func-returns-value]
    moved = RealClips(view, SPEC, torch.device("cpu")).keep_on_device()
    assert sizes == [2, 2, 2, 2, 2, 1]
    assert np.array_equal(moved.resident, real.view.pixels)  # type: ignore[attr-defined, arg-type]


@pytest.mark.parametrize(("clips", "moved"), [(8, True), (9, False)])
def test_a_split_that_takes_too_much_stays_on_the_disk(
    monkeypatch: pytest.MonkeyPatch, clips: int, moved: bool
) -> None:
    """Networks and their gradients need the rest; without it a run ends in its first step, or the machine swaps."""
    monkeypatch.setattr(batches, "free_bytes", lambda device: 8 * 180 / RESIDENT_SHARE)
    real = make_real(SPEC, (clips, 0)).keep_on_device()
    assert (real.resident is not None) == moved and len(real.clips(torch.arange(clips))) == clips


def test_where_memory_is_unknown_nothing_is_moved() -> None:
    """And a split without clips has nothing to move."""
    assert free_bytes(torch.device("meta")) == 0
    assert make_real(SPEC, (0, 0)).keep_on_device().resident is None


def linux(folder: Path, available: int, limit: str | None = None, used: int = 0) -> Path:
    """The few files in which Linux tells of its memory, in kB for all and in bytes for a container."""
    (folder / "proc").mkdir()
    (folder / "proc/meminfo").write_text(f"MemTotal:  99 kB\nMemFree: 7 kB\nMemAvailable:   {available} kB\n")
    if limit is not None:
        (folder / "sys/fs/cgroup").mkdir(parents=True)
        (folder / "sys/fs/cgroup/memory.max").write_text(f"{limit}\n")
        (folder / "sys/fs/cgroup/memory.stat").write_text(f"anon {used}\nfile 10000\nshmem 1000\npgfault 3\n")
    return folder


@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [(None, 0, 50 * 1024), ("max", 9, 50 * 1024), ("30000", 9000, 20000), ("90000", 0, 50 * 1024), ("10", 9000, 0)],
)
def test_free_memory_is_the_container_s_too(tmp_path: Path, limit: str | None, used: int, expected: int) -> None:
    """In a container with 4 GB on a machine with 500, the machine's free memory is a promise that kills the run."""
    assert batches._free_ram(linux(tmp_path, 50, limit, used)) == expected


def test_free_memory_elsewhere_is_half_of_all(tmp_path: Path) -> None:
    """Not every system tells what is free."""
    assert 2**20 < batches._free_ram(tmp_path) < 2**50


def test_processes_on_one_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight processes that each take what is free for one."""
    monkeypatch.setattr(batches, "_free_ram", lambda: 800)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert free_bytes(torch.device("cpu")) == 100
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert free_bytes(torch.device("cpu")) == 800


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu_a_resident_split_gives_what_a_read_one_gives() -> None:
    """There, too, results must not depend on what was free."""
    here = make_real(SPEC, (4, 7))
    read = RealClips(here.view, SPEC, torch.device("cuda"))
    moved = kept(read)
    assert moved.resident is not None and moved.resident.is_cuda
    indices, numbers = torch.tensor([3, 9, 3, 0]), torch.tensor([2, 0, 1, 1])
    assert torch.equal(read.clips(indices), moved.clips(indices))
    assert torch.equal(read.images(indices, numbers), moved.images(indices, numbers))
    assert torch.allclose(moved.clips(indices).cpu(), here.clips(indices), atol=1e-6)
