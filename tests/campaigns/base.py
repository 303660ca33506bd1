"""What campaigns begin with: a folder of tiny videos, their clips and a finished run, and networks of no weight.

It is made in a process of its own, and what a run imports is imported here, once for all that are forked.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch._inductor  # which torch imports when it is told to be deterministic
from torch import nn

from engine.config import load_preset
from engine.data import check
from engine.data.layouts import list_videos
from engine.data.prepare import prepare
from engine.data.sampling import Sampling
from engine.distilling.process import carry_out
from engine.evaluation import evaluate, trainers  # noqa: F401
from engine.export import gallery, media, pictures, plots, report, side_by_side, tensors  # noqa: F401
from engine.export.tensors import export_set
from engine.models import registry
from engine.models.base import VideoNetwork
from engine.runs.new import new_run
from tests.campaigns.children import must, run_child
from tests.tiny_run import QUICK
from tests.videos import write_video

SMALL = (
    *QUICK,
    'evaluation.models=["convnet3d"]',
    "static.steps=2",
    "static.checkpoint_every=1",
    "dynamic.steps=3",
    "dynamic.checkpoint_every=1",
    "dynamic.eval_every=1",
    "evaluation.epochs=1",
    "static.network=convnet",
    "dynamic.dm.bank=1",
    "dynamic.dm.bank_clips=2",
    "run.device=cpu",
    "run.precision=float32",
)
"""Overrides of the preset `default`: every stage, with a checkpoint at each step."""

SAMPLING = Sampling(4, 16)
"""Of the clips."""


class Tiny(VideoNetwork):
    """A network of one linear layer behind an average over patches, in place of ConvNet3D."""

    def __init__(self, classes: int, frames: int, size: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool3d((1, size // 4, size // 4))
        self.classifier = nn.Linear(3 * frames * 16, classes)

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the means of 4 x 4 patches of every frame."""
        return self.pool(batch).flatten(1)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return class logits."""
        return self.classifier(self.embed(clips))


def use_tiny_networks() -> None:
    """Let ``Tiny`` stand for ConvNet3D, and an empty picture for every plot: both take most of a run's time."""
    registry.VIDEO_MODELS["convnet3d"] = Tiny
    check.MIN_FRAMES = check.MIN_SIZE = 4
    plots.svg = lambda figure, title: "<svg/>"
    torch.set_num_threads(1)


def make_base(base: Path) -> None:
    """Make the folder ``base``, by a child. Its run was made in the folder ``work`` beside it, where copies belong."""
    must(run_child(lambda: _make(base)), "the folder that all begin with")


def _make(base: Path) -> int:
    rng = np.random.default_rng(0)
    for label, name in enumerate(("still <b>", "moving")):
        for number in range(5):
            frames = np.full((6, 16, 16, 3), rng.integers(40, 90, 3), np.uint8)
            for t in range(6):
                left = number + (2 * t if label else 0)
                frames[t, 4:10, left : left + 4] = 230
            split = "train" if number < 3 else "test"
            write_video(base / "videos" / split / name / f"{number}.mp4", frames)
    prepare(list_videos("folders", base / "videos"), base / "clips.h5", SAMPLING, workers=0)
    (base / "work").mkdir()
    work = base.parent / "work"
    base.rename(work)
    carry_out(new_run(load_preset("default", list(SMALL)), work / "clips.h5", work / "runs", "done", "done", ["test"]))
    export_set(work / "runs" / "done" / "synthetic" / "best.safetensors", work / "set.vds", "jpeg-80+h264-28")
    work.rename(base)
    return 0
