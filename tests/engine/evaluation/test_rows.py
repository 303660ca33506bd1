"""Rows of a table, judged: what a user loses here is that each network counts for its own row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config import load_preset
from engine.evaluation import Recipe, Trial, TrialCache
from engine.evaluation.judge import Judge
from engine.evaluation.rows import Row, judged
from engine.evaluation.subjects import full_data, random_clips
from engine.models.registry import VIDEO_MODELS
from tests.tiny import TinyClassifier, make_real, make_spec

SPEC = make_spec("ab", frames=2, height=3)
RECIPE = Recipe("tiny", 1, 0.1, 0.9, 0.0, 8)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Row], Judge]:
    """Two rows of three networks."""
    monkeypatch.setitem(VIDEO_MODELS, "tiny", TinyClassifier)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # networks are trained in this process
    train = make_real(SPEC, (4, 4))
    judge = Judge(load_preset("default").evaluation, train, 0, torch.float32, tmp_path / "networks")
    subjects = (full_data(train), random_clips(train, 1, 0))
    return [Row(subject, RECIPE, TrialCache(tmp_path, subject.what)) for subject in subjects], judge


def test_each_row_gets_its_own_networks(table: tuple[list[Row], Judge]) -> None:
    """A network too many in the first row would be one of another set, and all rows after it would be shifted."""
    rows, judge = table
    told: list[tuple[str, Trial]] = []
    test = make_real(SPEC, (3, 3), seed=9)
    found = list(
        judged(rows, judge, test, "abcd", lambda queue: None, lambda row, trial: told.append((row.subject.what, trial)))
    )
    assert [name for name, _ in told] == ["full"] * 3 + ["random"] * 3
    assert [row for row, _ in found] == rows
    for row, document in found:
        own = [trial for name, trial in told if name == row.subject.what]
        assert document["what"] == row.subject.what and document["data_fingerprint"] == "abcd"
        assert document["top1"]["values"] == [trial.outcome.top1 for trial in own]
        assert document["top1"]["seeds"] == judge.seeds("final", 3)


def test_networks_that_are_done_are_not_trained_again(
    table: tuple[list[Row], Judge], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is interrupted in its second row would begin with the first one again."""
    rows, judge = table
    test = make_real(SPEC, (3, 3), seed=9)

    def interrupt(row: Row, trial: Trial) -> None:
        if row is rows[1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(judged(rows, judge, test, "abcd", lambda queue: None, interrupt))
    watched: list[Any] = []
    assert len(list(judged(rows, judge, test, "abcd", watched.append))) == 2
    assert {place for queue in watched for place, _ in queue.now} == {4, 5}
