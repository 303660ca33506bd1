"""Runs whose set is a coded file: what is judged and counted must be what a user can hand over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.api import resume_distillation, run_distillation
from engine.config import load_preset
from engine.distilling.plan import plan
from engine.evaluation.trials import digest
from engine.runs import RunDirectory
from engine.runs.new import new_run
from engine.synthetic import encode_set, load_set
from tests.tiny_run import QUICK, at_step, lose_power, make_clips

SHORT = (
    *("static.steps=2", "static.checkpoint_every=1", "dynamic.steps=3", "dynamic.checkpoint_every=1"),
    *("dynamic.optimiser=whitened-adam", "dynamic.lr_dynamic=0.05", "evaluation.epochs=1", "evaluation.repeats=1"),
    *("dynamic.eval_every=2", "dynamic.dm.bank=1", "dynamic.dm.bank_clips=2", "dynamic.lr_static=0.05"),
)
CASES = {
    "pixels": ("synthetic.kind=pixels", "storage.how=h264-35@half"),
    "static-dynamic": ("storage.how=jpeg-60+h264-35",),
    "low-rank": ("synthetic.kind=low-rank", "storage.how=jpeg-60"),
    "static-only": ("synthetic.kind=static-only", "storage.how=jpeg-60"),
    "coreset": ("synthetic.kind=coreset", "selection.method=k-center", "selection.epochs=1", "storage.how=h264-35"),
    "half": ("synthetic.kind=pixels", "storage.how=float16"),
    "through": ("synthetic.kind=pixels", "storage.how=h264-40", "storage.learn_through=true"),
    "formation": (
        *("synthetic.kind=pixels", "synthetic.formation=2", "synthetic.ipc=4", "synthetic.n_syn=4"),
        *("storage.how=h264-40", "storage.learn_through=true"),
    ),
    "through-seldom": (
        *("storage.how=jpeg-30+h264-40", "storage.learn_through=true", "storage.every=2"),
        *("dynamic.train_static=true",),
    ),
    "through-static-only": (
        *("synthetic.kind=static-only", "storage.how=jpeg-30", "storage.learn_through=true", "storage.every=2"),
    ),
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.mark.parametrize("case", CASES)
def test_a_coded_run_is_judged_by_its_file_and_goes_on_where_it_was_cut(case: str, clips: Path, tmp_path: Path) -> None:
    """A table of sets that nobody can hand over, or another set after a night's power cut."""
    preset = load_preset("default", [*QUICK, *SHORT, *CASES[case]])
    whole = run_distillation(preset, clips, runs_dir=tmp_path, name="whole")
    coded = preset.storage.how != "float16"
    assert whole.best.suffix == whole.last.suffix == (".vds" if coded else ".safetensors")
    loaded, own = load_set(whole.best), whole.folded().results[0]
    assert loaded.precision == ("codec" if coded else "float16")
    if coded:
        assert own["storage"] == str(loaded.storage) == preset.storage.how
        assert own["bytes"] == loaded.nbytes == whole.best.stat().st_size
    judged = json.loads(next(whole.evaluations.glob(f"{own['what']}-convnet3d_small-test-*.json")).read_text())["set"]
    assert judged.startswith(digest(loaded.synthetic))
    if "dynamic" in preset.stages:
        step = loaded.provenance.step
        (trial,) = whole.evaluations.glob(f"synthetic-val-{step:06d}-*.json")
        assert json.loads(trial.read_text())["set"].startswith(digest(loaded.synthetic))

    if case == "static-dynamic":
        what_a_set_contains_is_stored_as_the_set_is(whole)
    if case == "pixels":
        the_state_to_go_on_from_is_exact(whole)

    stages = [stage for stage in ("static", "dynamic") if stage in preset.stages]
    if stages:
        run = new_run(preset, clips, tmp_path, "cut", "cut", ["test"])
        for stage in stages:
            lose_power(run, at_step(2, stage))
        resume_distillation(run)
        assert run.best.read_bytes() == whole.best.read_bytes() and run.last.read_bytes() == whole.last.read_bytes()


def what_a_set_contains_is_stored_as_the_set_is(run: RunDirectory) -> None:
    """The still video beside a coded set would be counted in float32, a hundred times its bytes."""
    row = next(row for row in run.folded().results if row["what"] == "static-only")
    still = load_set(run.best).synthetic.baselines()["static-only"]
    assert row["storage"] == "jpeg-60" and row["bytes"] == encode_set(still, "jpeg-60").nbytes


def the_state_to_go_on_from_is_exact(run: RunDirectory) -> None:
    """A run that went on from what a codec left of it would be another run."""
    newest = load_file(sorted(run.checkpoints.iterdir())[-1])["pixels"]
    decoded = load_set(run.last).synthetic.tensors()["pixels"]
    assert newest.dtype == torch.float32 and not torch.equal(newest, decoded)


@pytest.mark.parametrize("init", ["noise", "residual"])
def test_a_plan_tells_the_bytes_of_the_file(init: str, clips: Path) -> None:
    """Noise takes ten times the bytes of what is learned from it; a budget would be met by accident."""
    changes = [*QUICK, *SHORT, *CASES["pixels"], f"dynamic.init={init}", f"dataset.path={clips}"]
    found = plan(load_preset("default", changes))
    assert found.storage == "h264-35@half" and found.classes == 2 and found.bytes_per_class == found.file_bytes / 2
    assert found.measured_on == ("real clips" if init == "noise" else "the set after a few steps")
    assert 300 < found.file_bytes < 3000
