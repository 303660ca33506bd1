"""The mean frames of the classes beside a set: a user who trusts this row must get the means, and no others."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from engine.data.batches import RealClips
from engine.errors import RunError
from engine.evaluation import subjects
from engine.evaluation.protocols import Recipe
from engine.evaluation.subjects import class_mean
from engine.evaluation.training import as_stills
from engine.synthetic import Provenance, Storage, SyntheticSet, to_bytes
from engine.synthetic.still import StillVideo
from tests.tiny import FakeView, make_spec

SPEC = make_spec(("a", "b"), frames=8, height=64)
LABELS = [0, 1, 0, 0, 1]


def real() -> tuple[RealClips, np.ndarray]:
    quarters = np.random.default_rng(0).integers(0, 256, (len(LABELS), 8, 2, 2, 3), dtype=np.uint8)
    pixels = quarters.repeat(32, 2).repeat(32, 3)
    return RealClips(cast(Any, FakeView(pixels, LABELS)), SPEC, torch.device("cpu")), pixels


def means(pixels: np.ndarray, chosen: list[list[int]]) -> torch.Tensor:
    """By hand, in float64, as pixels (C, H, W, 3)."""
    frames = pixels.reshape(len(LABELS), 8, 64, 64, 3).astype(np.float64)
    return torch.from_numpy(np.stack([frames[own].mean((0, 1)) for own in chosen]))


def test_it_is_the_mean_over_all_frames_of_all_clips_as_its_file_has_it() -> None:
    train, pixels = real()
    found = class_mean(train, 0)
    synthetic = found.data(0)
    assert isinstance(synthetic, SyntheticSet) and synthetic.ipc == found.ipc == 1 and found.storage == "av1-10"
    expected = means(pixels, [[0, 2, 3], [1, 4]])
    normal = (expected / 255 - torch.tensor(SPEC.mean)) / torch.tensor(SPEC.std)
    still = StillVideo(SPEC, 1, normal.permute(0, 3, 1, 2).float().unsqueeze(1).contiguous())
    file = to_bytes(still, Provenance(), Storage.parse("av1-10"))
    assert found.nbytes == len(file) and found.precision == "codec" and not found.drawn and found.objective is None
    shown = SPEC.to_pixels(synthetic.expand()[0]).double().mean(1)
    assert (shown - expected).abs().mean() < 6 < 0.5 * (expected[0] - expected[1]).abs().mean()
    assert as_stills(synthetic, Recipe("convnet3d", 1, 0.1, 0.9, 0.0, 4)) is not None, "judged as cheaply as stills are"


def test_of_many_clips_some_are_drawn_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set of terabytes is not read for one image a class."""
    monkeypatch.setattr(subjects, "MEAN_OF", 1)
    read: list[int] = []
    train, _ = real()
    clips = train.clips
    monkeypatch.setattr(train, "clips", lambda indices: read.extend(indices.tolist()) or clips(indices))
    for seed in range(8):
        class_mean(train, seed)
    assert len(read) == 16 and set(read) == set(range(5))
    again = len(read)
    class_mean(train, 3)
    assert read[again:] == read[6:8]


def test_it_can_be_stopped() -> None:
    def check() -> None:
        raise RunError("stop", "")

    with pytest.raises(RunError, match="stop"):
        class_mean(real()[0], 0, check)
