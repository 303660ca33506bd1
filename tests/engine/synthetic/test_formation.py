"""Clips that share a picture: one that were shown in another's place would teach a class another one's motion."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from engine.config import load_preset
from engine.errors import PresetError
from engine.seeds import generator
from engine.synthetic import Pixels, Temporal
from engine.synthetic.formation import Formation
from engine.synthetic.pixels import pictures_of
from engine.synthetic.start import Start
from tests.tiny import enlarge_by_hand, make_real, make_spec

SPEC = make_spec(frames=3, height=6, width=12)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("side", [2, 3])
def test_each_clip_is_its_part_of_the_picture_at_full_size(side: int) -> None:
    """Against loops: row by row of a picture, picture by picture of a class, enlarged pixel by pixel."""
    pictures, height, width = noise(2, 2, 3, 3, 6, 12), 6 // side, 12 // side
    learned = Pixels(SPEC, pictures, formation=Formation(SPEC, side))
    assert learned.ipc == 2 * side * side and learned.variants == 1
    clips, labels = learned.expand()
    assert labels.tolist() == [0] * learned.ipc + [1] * learned.ipc
    places = itertools.product(range(2), range(2), range(side), range(side))
    for clip, (label, picture, row, column) in zip(clips, places, strict=True):
        part = pictures[label, picture, :, :, row * height : (row + 1) * height, column * width : (column + 1) * width]
        for channel in range(3):
            expected = [enlarge_by_hand(frame.numpy(), 6, 12) for frame in part[:, channel]]
            assert np.allclose(clip[channel].numpy(), np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("side", [2, 3])
def test_pictures_are_made_of_clips_whose_pixels_are_means_of_areas(side: int) -> None:
    """Against loops; in the order in which they are shown."""
    clips = noise(2 * side * side, 3, 3, 6, 12).double()
    found = Formation(SPEC, side).form(clips)
    assert found.shape == (2, 3, 3, 6, 12)
    height, width = 6 // side, 12 // side
    for number, (y, x) in itertools.product(range(len(clips)), itertools.product(range(height), range(width))):
        row, column = divmod(number % (side * side), side)
        area = clips[number, :, :, y * side : (y + 1) * side, x * side : (x + 1) * side].mean((-2, -1))
        pixel = found[number // (side * side), :, :, row * height + y, column * width + x]
        assert torch.allclose(pixel, area)


def test_derivatives_of_first_and_second_order() -> None:
    """Trajectory matching differentiates twice. Against torch's finite differences in float64."""
    spec = make_spec(frames=2, height=4)
    labels, choice = torch.tensor([1, 0]), torch.tensor([3, 1])
    pictures = noise(2, 1, 2, 3, 4, 4).double().requires_grad_()
    formation = Formation(spec, 2)
    assert torch.autograd.gradcheck(lambda x: formation.shown(x, labels, choice) ** 2, pictures)
    assert torch.autograd.gradgradcheck(lambda x: formation.shown(x, labels, choice) ** 2, pictures)


def test_a_set_starts_from_as_many_real_clips_as_it_shows() -> None:
    """A clip of one colour comes back as it was: of each class those that a set without a formation starts from."""
    spec = make_spec(frames=4, height=8)
    real = make_real(spec, [9, 8])
    changes = {"synthetic.kind": "pixels", "dynamic.init": "residual", "synthetic.ipc": 8, "synthetic.formation": 2}
    preset = load_preset("default", changes | {"synthetic.n_syn": 2})
    learned = Pixels.start(Start(preset, real))
    assert learned.pixels.shape == Start(preset, real).shapes("pixels")["pixels"] == (2, 2, 2, 3, 8, 8)
    assert learned.ipc == 8 and learned.sharing == 4
    own = real.clips(real.pick(1, 8, generator(preset.run.seed, "start", 1)))
    means = Temporal(4, 2).compress(own.transpose(1, 2), 1).mean((-2, -1))
    assert torch.allclose(
        learned.pixels[1].unflatten(-1, (2, 4)).unflatten(-3, (2, 4)).mean((-1, -3))[0, :, :, 1, 0], means[2], atol=1e-5
    )


def test_what_a_whitening_is_of_looks_like_what_is_stored() -> None:
    """The spectrum of whole clips has none of the edges between those of a picture."""
    clips = noise(5, 3, 3, 6, 12)
    learned = Pixels(SPEC, noise(2, 1, 3, 3, 6, 12), formation=Formation(SPEC, 2))
    found = learned.project("pixels", clips)
    assert found.shape == (5, 3, 3, 6, 12)
    assert torch.equal(found[3], pictures_of(clips[[3, 4, 0, 1]], None, Formation(SPEC, 2))[0])


@pytest.mark.parametrize("side", [4, 5, 1])
def test_clips_that_cannot_be_cut_are_refused(side: int) -> None:
    """12 pixels can be four parts, 6 cannot."""
    with pytest.raises(PresetError) as refused:
        Formation(SPEC, side)
    assert "6 x 12" in refused.value.problem and "synthetic.formation" in refused.value.hint


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"synthetic.kind": "pixels", "synthetic.ipc": 5}, "no multiple of 4"),
        ({"synthetic.kind": "static-dynamic", "synthetic.ipc": 4}, "pixels that are learned"),
        ({"synthetic.kind": "coreset", "synthetic.ipc": 4}, "pixels that are learned"),
    ],
)
def test_presets_that_make_no_full_pictures_are_refused(changes: dict[str, object], named: str) -> None:
    """Before a run begins, in words of the preset."""
    with pytest.raises(PresetError) as refused:
        load_preset("default", {"synthetic.formation": 2, **changes})
    assert named in refused.value.problem and "\n" not in refused.value.problem
