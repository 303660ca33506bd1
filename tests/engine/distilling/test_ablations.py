"""Ablations from videos to report: one that fails at its end, or stores what it says it has not, has cost a day."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.api import resume_distillation, run_distillation
from engine.config import Preset, load_preset
from engine.data.store import ClipStore
from engine.errors import UsageError
from engine.evaluation.evaluate import Questions, evaluate, find_source
from engine.events import NetworkTrained
from engine.export import card
from engine.runs import RunDirectory
from engine.runs.checkpoints import load_checkpoint
from engine.runs.comparison import compare, read_sources
from engine.runs.results import trained_on
from engine.synthetic import load_set
from tests.tiny_run import QUICK, at_step, cut_run, make_clips

FEW = ("static.steps=2", "static.checkpoint_every=1", "dynamic.steps=1", "evaluation.epochs=1", "evaluation.repeats=1")
PIXELS = 64 * 64
WHAT = {
    "default": ["static-dynamic", "random", "static-only"],
    "ablation-static-only": ["static-only", "random"],
    "stills": ["static-only", "random"],
    "ablation-dynamic-only": ["static-dynamic", "random"],
    "ablation-hallucinator-per-class": ["static-dynamic", "random", "static-only"],
}


def quick(name: str) -> Preset:
    without = ["synthetic.statics_per_instance=0"] if name == "ablation-dynamic-only" else []
    return load_preset(name, [*QUICK, *FEW, *without])


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def runs(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of each preset of ``WHAT``, named as it is."""
    folder = tmp_path_factory.mktemp("runs")
    for name in WHAT:
        run_distillation(quick(name), clips, runs_dir=folder, name=name)
    return folder


@pytest.mark.parametrize("name", WHAT)
def test_an_ablation_runs_to_its_table_and_report(runs: Path, name: str) -> None:
    """Named presets that stop half way would be found out by those who waited for them."""
    run = RunDirectory(runs / name)
    assert run.state() == "completed" and run.report.is_file()
    assert [row["what"] for row in run.folded().results] == WHAT[name]


VALUES = {
    "ablation-static-only": 2 * 2 * 3 * PIXELS,
    "ablation-dynamic-only": 2 * 2 * 8 * PIXELS + 327,
    "ablation-hallucinator-per-class": 2 * (2 * 3 * PIXELS + 2 * 8 * PIXELS + 327),
}


@pytest.mark.parametrize("name", VALUES)
def test_the_table_counts_what_is_stored_and_nothing_else(runs: Path, name: str) -> None:
    """Counted by hand, and in the file: bytes are what an ablation is weighed against."""
    run = RunDirectory(runs / name)
    row = run.folded().results[0]
    assert (row["stored_values"], row["bytes"]) == (VALUES[name], 4 * VALUES[name])
    content = run.best.read_bytes()
    labels = 2 * 8
    assert len(content) - 8 - int.from_bytes(content[:8], "little") - labels == row["bytes"]


def test_static_only_is_the_static_memory_of_the_published_method(runs: Path, clips: Path, tmp_path: Path) -> None:
    """Beside the method as published, whose stills are those of stage 1, it shows what stage 2 adds.

    So its stills and their accuracies must be those of it.
    """
    changes = ["synthetic.kind=static-dynamic", "dynamic.init=noise", "dynamic.train_static=false"]
    frozen = load_preset("ablation-static-only", [*QUICK, *FEW, *changes])
    alone, whole = RunDirectory(runs / "ablation-static-only"), run_distillation(frozen, clips, runs_dir=tmp_path)
    kept = load_set(alone.best)
    assert torch.equal(kept.synthetic.tensors()["static"], load_set(whole.best).synthetic.tensors()["static"])
    assert alone.best.read_bytes() == alone.last.read_bytes()
    assert (kept.provenance.step, kept.provenance.selected_on, kept.provenance.accuracy) == (2, "none", None)
    own, rival = alone.folded().results[0], whole.folded().results[2]
    assert own["top1"] == rival["top1"] and own["bytes"] == rival["bytes"]
    assert (own["step"], rival["step"]) == (2, None)


def test_what_a_static_only_run_took_is_told_and_a_rival_s_is_not(runs: Path) -> None:
    """Time is half of what is compared; nothing was made for the still video of another set."""
    found = compare(read_sources(runs, ["ablation-static-only", "default"], lambda text: None))
    seconds = {(row.run, row.result["what"]): row.seconds for group in found for row in group.rows}
    assert (seconds["ablation-static-only", "static-only"] or 0) > 0
    assert seconds["default", "static-only"] is None


def test_the_report_of_a_static_only_run_says_that_nothing_was_chosen(runs: Path) -> None:
    """It was learned, which a coreset's report denies."""
    page = (RunDirectory(runs / "ablation-static-only").report).read_text(encoding="utf-8")
    assert "the set is that of the last step" in page and "nothing was learned" not in page


@pytest.mark.parametrize(
    ("name", "moment"),
    [("ablation-static-only", "stage 1"), ("ablation-static-only", "the final table"), ("stills", "stage 1")],
)
def test_a_static_only_run_goes_on_where_it_stopped(
    runs: Path, clips: Path, tmp_path: Path, name: str, moment: str
) -> None:
    """A run that was cut off gives the set and the numbers of one that was not, with whitened steps and a bank, too."""
    when = at_step(2) if moment == "stage 1" else lambda event: isinstance(event, NetworkTrained)
    run = cut_run(quick(name), clips, tmp_path, when)
    stopped = load_checkpoint(run.checkpoints)
    assert stopped is not None and stopped.stage == ("static" if moment == "stage 1" else "evaluate")
    resume_distillation(run)
    whole = RunDirectory(runs / name)
    assert run.best.read_bytes() == whole.best.read_bytes()
    mine, theirs = run.folded().results, whole.folded().results
    assert [row["top1"] for row in mine] == [row["top1"] for row in theirs]


def test_the_mean_frame_is_that_of_all_training_clips(clips: Path, tmp_path: Path) -> None:
    """Against a loop in float64 over every frame of every class. Whoever names it as a baseline counts on it."""
    preset = load_preset("mean-frame", [*QUICK, "static.steps=0", "synthetic.ipc=2", "dataset.val_fraction=0"])
    with ClipStore.open(clips) as store:
        view = store.split("train")
        pixels, labels = view.clips(np.arange(len(view))).astype(np.float64), np.asarray(view.labels)
    run = run_distillation(preset, clips, runs_dir=tmp_path)
    assert run.state() == "completed"
    own, *_ = run.folded().results
    assert (own["what"], own["objective"], own["step"]) == ("mean-frame", None, None), "nothing is learned"
    assert trained_on(own) == "mean-frame" and "mean frame of each class" in run.report.read_text()
    assert card._made(load_set(run.best).provenance) == "made of training clips without learning"
    learned = load_set(run.best).synthetic
    found = learned.tensors()["static"].double().numpy()
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (learned.spec.mean, learned.spec.std))
    for label in range(2):
        frames = [frame.transpose(2, 0, 1) / 255 for clip in pixels[labels == label] for frame in clip]
        expected = (sum(frames) / len(frames) - mean) / std
        for image in found[label]:
            assert image == pytest.approx(expected, abs=1e-5)


def test_without_still_images_there_is_no_still_video(runs: Path) -> None:
    """A rival of no images would be a crash, or a number that means nothing."""
    with pytest.raises(UsageError, match="has no static memory"):
        next(evaluate(find_source("ablation-dynamic-only", runs, None, []), runs, Questions(("static-only",))))
