"""If this fails, a plan promises bytes that the run's set does not have."""

from __future__ import annotations

from pathlib import Path

from engine.config import load_preset
from engine.distilling.first_size import MOST_VALUES, first_size
from engine.runs.new import with_data
from tests.tiny_run import QUICK, make_clips, run_of


def test_the_size_that_is_told_first_is_that_of_the_set_that_learning_begins_with(tmp_path: Path) -> None:
    clips = make_clips(tmp_path)
    still = {"dynamic.lr_dynamic": 1e-9, "storage.how": "h264-35", "evaluation.baselines": []}
    preset = with_data(load_preset("default", {**QUICK, **still}), clips)
    said = first_size(preset, 1000)
    kept = run_of(preset, tmp_path).best.stat().st_size
    assert said is not None and abs(said - kept) <= 24, (said, kept)
    assert first_size(preset, MOST_VALUES + 1) is None
    noise = load_preset("default", {**QUICK, "dynamic.init": "noise", "storage.how": "h264-35"})
    assert first_size(with_data(noise, clips), 1000) is None
