"""If this fails, a plan promises bytes that the run's set does not have."""

from __future__ import annotations

from pathlib import Path

from engine.api import run_distillation
from engine.config import load_preset
from engine.distilling.first_size import MOST_VALUES, first_size
from engine.runs.new import with_data
from tests.tiny_run import QUICK, make_clips


def test_the_size_that_is_told_first_is_that_of_the_set_that_learning_begins_with(tmp_path: Path) -> None:
    clips = make_clips(tmp_path)
    tiny = [*QUICK, "static.steps=0", "storage.how=h264-35"]
    still = load_preset("default", [*tiny, "dynamic.lr_dynamic=1e-9", "dynamic.lr_hallucinator=1e-9"])
    said = first_size(with_data(still, clips), 1000)
    kept = run_distillation(still, clips, runs_dir=tmp_path / "runs").best.stat().st_size
    assert said is not None and abs(said - kept) <= 24, (said, kept)  # digits of what a file says of its origin
    assert first_size(with_data(still, clips), MOST_VALUES + 1) is None
    noise = load_preset("default", [*tiny, "dynamic.init=noise"])
    assert first_size(with_data(noise, clips), 1000) is None
