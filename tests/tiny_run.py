"""A distillation small enough for tests: two classes of real little videos, a handful of steps, tiny evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from engine import resume_distillation
from engine.config import Preset
from engine.data.layouts import list_videos
from engine.data.prepare import prepare
from engine.data.sampling import Sampling
from engine.events import Event, Step
from engine.runs import RunDirectory
from engine.runs.new import new_run
from tests.videos import write_video

QUICK = (
    "synthetic.statics_per_instance=2",
    "synthetic.dynamics_per_instance=2",
    "static.steps=4",
    "static.batch_real=2",
    "static.dm.bank=2",
    "static.checkpoint_every=2",
    "dynamic.steps=4",
    "dynamic.batch_real=2",
    "dynamic.eval_every=2",
    "dynamic.checkpoint_every=2",
    "dynamic.optimiser=sgd",
    "dynamic.schedule=constant",
    "dynamic.lr_dynamic=10.0",
    "dynamic.lr_hallucinator=1e-5",
    "dataset.val_fraction=0.3",
    "evaluation.epochs=1",
    "evaluation.repeats=2",
    "evaluation.selection_repeats=1",
    'evaluation.models=["convnet3d_small"]',
    "storage.how=float32",
    'evaluation.baselines=["random"]',
)
"""Overrides of the preset `default`; sets stay tensors, and distilling/test_keeping.py has coded ones."""


def quick_options() -> list[str]:
    """The overrides as arguments of `vdtui distill`."""
    return [word for text in QUICK for word in ("--set", text)]


def make_clips(folder: Path, per_class: int = 5) -> Path:
    """Real videos of two classes (one with a hostile name) through the real decoder: a clips file of 8 x 64 x 64."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("still <b>", "moving")):
        for number in range(per_class):
            frames = np.full((8, 64, 64, 3), rng.integers(40, 90, 3), np.uint8)
            for t in range(8):
                left = 8 + number + (4 * t if label else 0)
                frames[t, 20:40, left : left + 16] = 230
            split = "train" if number < per_class - 2 else "test"
            write_video(folder / "videos" / split / name / f"{number}.mp4", frames)
    listing = list_videos("folders", folder / "videos")
    prepare(listing, folder / "clips.h5", Sampling(8, 64))
    return folder / "clips.h5"


@pytest.fixture(scope="module", autouse=True)
def no_plots() -> Iterator[None]:
    """Draw no plots and no moving pictures in reports. A conftest.py that imports this says so for its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.export.report._plots", lambda *_: [])
        patch.setattr("engine.export.report._confusion", lambda *_: None)
        patch.setattr("engine.export.encode.gif", lambda *_, **__: b"")
        yield


def cut_run(
    preset: Preset, clips: Path | None, runs: Path, when: Callable[[Event], bool], name: str = "cut"
) -> RunDirectory:
    """A run of ``preset`` that lost its power at the first event of which ``when`` is true."""
    run = new_run(preset, clips, runs, name, name, ["test"])
    lose_power(run, when)
    return run


def lose_power(run: RunDirectory, when: Callable[[Event], bool]) -> None:
    """Let ``run`` begin or go on, until the first event of which ``when`` is true."""

    def die(event: Event) -> None:
        if when(event):
            raise RuntimeError("pulled the plug")

    with pytest.raises(RuntimeError, match="pulled the plug"):
        resume_distillation(run, on_event=die)


def at_step(step: int, *stages: str) -> Callable[[Event], bool]:
    """True of the end of ``step``, of one of ``stages`` if they are named."""
    return lambda event: isinstance(event, Step) and event.step == step and event.stage in (stages or (event.stage,))
