"""The loop of both stages: what a user loses here is a run that cannot go on from its checkpoint."""

from __future__ import annotations

from pathlib import Path

from engine.api import resume_distillation, run_distillation
from engine.config import load_preset
from tests.tiny_run import QUICK, at_step, cut_run, make_clips

MTT = (
    "synthetic.kind=pixels",
    "dynamic.objective=mtt",
    "dynamic.steps=2",
    "dynamic.checkpoint_every=1",
    "dynamic.optimiser=adam",
    "dynamic.lr_dynamic=0.01",
    "dynamic.mtt.syn_steps=1",
    "dynamic.mtt.max_start_epoch=1",
    "dynamic.mtt.lr_step_size=0.001",
    "experts.number=1",
    "evaluation.epochs=1",
    "evaluation.repeats=1",
)


def test_trajectory_matching_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Its step size is a number, not an array of one: stored as the latter, no MTT run could be resumed."""
    clips, preset = make_clips(tmp_path), load_preset("default", [*QUICK, *MTT])
    whole = run_distillation(preset, clips, runs_dir=tmp_path / "runs", name="whole")
    run = cut_run(preset, clips, tmp_path / "runs", at_step(2))
    resume_distillation(run)
    assert run.state() == "completed"
    assert run.last.read_bytes() == whole.last.read_bytes()
    losses, expected = run.folded().losses, whole.folded().losses
    expected.pop("experts", None)  # they were there
    assert losses == expected
