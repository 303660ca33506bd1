"""Pixels, coresets and still videos: rows of a table that must be trained on by the same rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from engine.evaluation.subjects import full_data, of_set
from engine.selection import coreset, select_coreset
from engine.synthetic import Coreset, Pixels, StaticImages, StillVideo, SyntheticSet, Temporal
from tests.tiny import make_real, make_spec, make_static_dynamic

SPEC = make_spec("abc", frames=3, height=4, width=5)


def pixels(kind: type[Pixels] = Pixels, ipc: int = 2) -> Pixels:
    return kind(SPEC, torch.randn(3, ipc, 3, 3, 4, 5, generator=torch.Generator().manual_seed(0)))


def stills(per_class: int) -> torch.Tensor:
    return torch.randn(3, per_class, 3, 4, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [Pixels, Coreset])
def test_pixels_are_their_own_clips(kind: type[Pixels]) -> None:
    """Frames before channels on the disk, channels before frames for networks: nothing else changes."""
    synthetic = pixels(kind)
    for clips, labels in (synthetic.expand(), synthetic.sample(torch.Generator())):
        assert labels.tolist() == [0, 0, 1, 1, 2, 2]
        for number in range(6):
            stored = synthetic.pixels[number // 2, number % 2].numpy()
            assert np.array_equal(clips[number].numpy(), np.moveaxis(stored, 1, 0))


def test_a_still_video_is_one_image_for_all_frames() -> None:
    """The "boring video" row: each frame the same, and each image of an instance in turn."""
    static = stills(4)
    synthetic = StillVideo(SPEC, 2, static)
    clips, labels = synthetic.expand()
    assert labels.tolist() == [c for c in range(3) for _ in range(4)] and synthetic.variants == 2
    for number, clip in enumerate(clips):
        for t in range(SPEC.frames):
            assert torch.equal(clip[:, t], static[number // 4, number % 4])
    drawn, _ = synthetic.sample(torch.Generator().manual_seed(1))
    for number, clip in enumerate(drawn):
        own = static[number // 2, 2 * (number % 2) : 2 * (number % 2) + 2]
        assert any(torch.equal(clip[:, 0], image) for image in own)


def test_static_images_are_all_drawn() -> None:
    """Stage 1 matches all images of a class in every step."""
    synthetic = StaticImages(SPEC, stills(4))
    images, labels = synthetic.sample(torch.Generator(), [2, 0])
    assert labels.tolist() == [2] * 4 + [0] * 4
    assert torch.equal(images, torch.cat([synthetic.static[2], synthetic.static[0]]))


def soft_rows(ipc: int) -> torch.Tensor:
    """Soft labels that say of which class c and instance j they are: 100 c + 10 j + the class that they speak of."""
    c, j, k = torch.meshgrid(torch.arange(3), torch.arange(ipc), torch.arange(3), indexing="ij")
    return (100 * c + 10 * j + k).float()


def softly(learn: bool = False) -> list[SyntheticSet]:
    """Every kind with soft labels, two instances of three classes."""
    soft = {"soft_labels": soft_rows(2), "learn_labels": learn}
    memory = make_static_dynamic(SPEC, 2, 2, 1, hallucinators=2)
    return [
        type(memory)(SPEC, 2, memory.static, memory.dynamic, memory.hallucinator, **soft),
        Pixels(SPEC, pixels().pixels, **soft),
        Coreset(SPEC, pixels().pixels, **soft),
        StillVideo(SPEC, 2, stills(4), **soft),
        StaticImages(SPEC, stills(2), **soft),
    ]


@pytest.mark.parametrize("synthetic", softly(), ids=lambda each: each.kind)
def test_soft_labels_are_those_of_the_clip_s_instance(synthetic: SyntheticSet) -> None:
    """A network trained on another instance's labels learns nothing; whichever variant is drawn, the row is its own."""
    for seed in range(5):
        drawn = synthetic.draw(torch.Generator().manual_seed(seed), [2, 0])
        assert drawn.labels.tolist() == [2, 2, 0, 0]
        assert drawn.targets.tolist() == [[200 + 10 * j + k for k in range(3)] for j in (0, 1)] + [
            [10 * j + k for k in range(3)] for j in (0, 1)
        ]
        clips, targets = synthetic.sample(torch.Generator().manual_seed(seed), [2, 0])
        assert torch.equal(targets, drawn.targets) and torch.equal(clips, drawn.clips)
    variants = synthetic.variants
    clips, targets = synthetic.expand()
    assert targets[:, 0].tolist() == [100 * c + 10 * j for c in range(3) for j in range(2) for _ in range(variants)]
    dataset = synthetic.as_dataset()
    loaded = list(DataLoader(dataset, batch_size=5))
    assert torch.equal(torch.cat([rows for _, rows in loaded]), targets) and len(clips) == len(targets)
    assert not dataset[0][1].requires_grad  # type: ignore[union-attr]


@pytest.mark.parametrize("number", range(5))
def test_soft_labels_are_learned_only_if_asked(number: int) -> None:
    """Labels that move although a preset holds them fixed, or the other way round, are another method."""
    fixed, learned = softly()[number], softly(learn=True)[number]
    assert "soft_labels" not in fixed.parameters() and learned.parameters()["soft_labels"] is learned.soft_labels
    assert learned.tensors().keys() == fixed.tensors().keys() and "soft_labels" in fixed.tensors()
    labels = learned.parameters()["soft_labels"].requires_grad_()
    targets = learned.sample(torch.Generator(), [1])[1]
    targets.sum().backward()
    assert labels.grad is not None and labels.grad[1].unique().tolist() == [1.0] and labels.grad[[0, 2]].sum() == 0
    assert not learned.expand()[1].requires_grad


@pytest.mark.parametrize("shape", [(3, 2), (3, 1, 3), (2, 2, 3), (3, 2, 4)])
def test_soft_labels_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """One value for each class, for every instance."""
    with pytest.raises(AssertionError):
        Pixels(SPEC, pixels().pixels, soft_labels=torch.zeros(shape))
    with pytest.raises(AssertionError):
        Pixels(SPEC, pixels().pixels, learn_labels=True)


@pytest.mark.parametrize("number", range(5))
def test_soft_labels_cost_four_bytes_a_value(number: int) -> None:
    """They are stored, so they count, at any precision as float32: bytes are the honest axis."""
    soft = softly()[number]
    hard = type(soft).__new__(type(soft))
    hard.__dict__ = {**soft.__dict__, "soft_labels": None}
    assert soft.stored_values == hard.stored_values + 3 * 2 * 3
    for precision in ("float32", "float16", "uint8"):
        assert soft.nbytes(precision) == hard.nbytes(precision) + 4 * 3 * 2 * 3


@pytest.mark.parametrize(
    ("synthetic", "values"),
    [
        (pixels(ipc=2), 3 * 2 * 3 * 3 * 4 * 5),
        (StaticImages(SPEC, stills(4)), 3 * 4 * 3 * 4 * 5),
        (StillVideo(SPEC, 2, stills(4)), 3 * 4 * 3 * 4 * 5),
    ],
    ids=["pixels", "images", "still"],
)
def test_bytes_by_hand(synthetic: SyntheticSet, values: int) -> None:
    """Bytes are the honest axis of every comparison: 4, 2 or 1 a value; in uint8 a range for each slice."""
    slices = 3 * synthetic.tensors()[next(iter(synthetic.tensors()))].shape[1]
    assert synthetic.stored_values == values
    assert synthetic.nbytes() == synthetic.nbytes("float32") == 4 * values
    assert synthetic.nbytes("float16") == 2 * values
    assert synthetic.nbytes("uint8") == values + 8 * slices


@given(st.lists(st.integers(1, 5), min_size=3, max_size=3), st.integers(1, 12), st.integers(0, 99))
@settings(max_examples=40)
def test_a_clip_that_comes_again_is_counted_once(counts: list[int], ipc: int, seed: int) -> None:
    """One clip shown twenty times would weigh as twenty: random clips could weigh more than all of the data."""
    real = make_real(SPEC, counts, seed)
    synthetic = coreset(real, select_coreset(real, "random", ipc, seed))
    values = sum(min(count, ipc) for count in counts) * 3 * 3 * 4 * 5
    assert synthetic.ipc == ipc and synthetic.distinct == tuple(min(count, ipc) for count in counts)
    assert synthetic.stored_values == synthetic.nbytes() == synthetic.nbytes("uint8") == values
    assert synthetic.nbytes("float32") == 4 * values and synthetic.nbytes("float16") == 2 * values
    assert synthetic.nbytes() <= full_data(real).nbytes
    row = of_set("random", synthetic, "uint8")
    assert row.distinct_clips == (None if min(counts) >= ipc else sum(synthetic.distinct))


def test_clips_that_are_alike_but_do_not_come_again_are_counted() -> None:
    """Only what the order of the others says need not be stored."""
    one, two = (torch.full((3, 3, 4, 5), value) for value in (0.1, 0.2))
    rows = [[one, two, one, one], [one, one, one, two], [two, two, two, two]]
    synthetic = Coreset(SPEC, torch.stack([torch.stack(row) for row in rows]))
    assert synthetic.distinct == (3, 4, 1)


def test_soft_labels_of_a_clip_that_comes_again_are_all_counted() -> None:
    """They may differ, so each is stored."""
    clips = torch.rand(3, 1, 3, 3, 4, 5).expand(-1, 4, -1, -1, -1, -1)
    synthetic = Coreset(SPEC, clips.contiguous(), soft_labels=soft_rows(4))
    assert synthetic.nbytes() == 3 * 3 * 3 * 4 * 5 + 4 * 3 * 4 * 3


def test_a_coreset_costs_a_byte_a_value() -> None:
    """Real clips are exact in uint8; counting them as floats would make every comparison look too good."""
    assert pixels(Coreset).nbytes() == pixels(Coreset).nbytes("uint8") == 3 * 2 * 3 * 3 * 4 * 5


def test_bytes_of_static_dynamic_by_hand() -> None:
    """Memories at the precision, the hallucinator's 327 numbers always in float32."""
    synthetic = make_static_dynamic(SPEC, ipc=2, statics=2, dynamics=1)
    static, dynamic = 3 * 4 * 3 * 20, 3 * 2 * 3 * 20
    assert synthetic.stored_values == static + dynamic + 327
    assert synthetic.nbytes("float32") == 4 * (static + dynamic + 327)
    assert synthetic.nbytes("float16") == 2 * (static + dynamic) + 4 * 327
    assert synthetic.nbytes("uint8") == static + dynamic + 8 * (3 * 4 + 3 * 2) + 4 * 327


def test_bytes_of_compressed_memories_by_hand() -> None:
    """What is stored counts, not what is shown: two frames of 2 x 2 instead of three of 4 x 5, three hallucinators."""
    synthetic = make_static_dynamic(
        SPEC, ipc=2, statics=2, dynamics=1, temporal=Temporal(3, 2), side=2, hallucinators=3
    )
    static, dynamic, weights = 3 * 4 * 3 * 20, 3 * 2 * 2 * 4, 3 * 327
    assert synthetic.stored_values == static + dynamic + weights
    assert synthetic.nbytes("float32") == 4 * (static + dynamic + weights)
    assert synthetic.nbytes("float16") == 2 * (static + dynamic) + 4 * weights
    assert synthetic.nbytes("uint8") == static + dynamic + 8 * (3 * 4 + 3 * 2) + 4 * weights
    compressed = Pixels(SPEC, torch.zeros(3, 2, 2, 3, 4, 5), temporal=Temporal(3, 2))
    assert compressed.nbytes() == 4 * 3 * 2 * 2 * 3 * 20 and compressed.nbytes("uint8") == 720 + 8 * 6


@pytest.mark.parametrize(("ipc", "mebibytes"), [(1, 114.8), (5, 574.2)])
def test_published_bytes_of_pixels(ipc: int, mebibytes: float) -> None:
    """method.md: MiniUCF, 50 classes of 16 x 112 x 112 in float32."""
    spec = make_spec([str(c) for c in range(50)], frames=16, height=112)
    synthetic = Pixels(spec, torch.empty(50, ipc, 16, 3, 112, 112, device="meta"))
    assert synthetic.nbytes() / 2**20 == pytest.approx(mebibytes, abs=0.06)


def test_published_bytes_of_static_dynamic() -> None:
    """method.md: 2 statics and 2 dynamics of 16 frames an instance: 90.9 MiB."""
    values = 50 * (2 * 3 + 2 * 16) * 112 * 112
    assert 4 * values / 2**20 == pytest.approx(90.9, abs=0.06)
    small = make_static_dynamic(make_spec([str(c) for c in range(50)], frames=16, height=7))
    assert (small.nbytes() - 4 * 327) * 256 == 4 * values
