"""The beginning of a run: what it has chosen once must hold to its end, or a resumed run is another one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from engine.api import resume_distillation
from engine.config import load_preset
from engine.distilling import opening
from engine.events import Event, Note, StageStarted
from engine.machine.process_group import ALONE
from engine.models.measured import Chosen
from tests.tiny import make_spec
from tests.tiny_run import QUICK, cut_run, make_clips

COMMON = (*QUICK, "synthetic.kind=coreset", "selection.method=random", "evaluation.models=['convnet3d_small']")


def test_a_run_goes_on_in_the_number_format_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is faster may be another one by then; half of a table in each would be of neither. meta.json says why."""
    answers = [Chosen(torch.float32, {"float32": 1.0, "bfloat16": 2.0})]
    monkeypatch.setattr(opening, "precision_of", lambda *_: answers.pop())
    preset = load_preset("default", [*COMMON, "evaluation.epochs=1"])
    run = cut_run(
        preset,
        make_clips(tmp_path),
        tmp_path,
        lambda event: isinstance(event, StageStarted) and event.stage == "evaluate",
    )
    for _ in range(2):
        assert not answers and run.meta()["precision"] == "float32"
        assert run.meta()["precision_seconds"] == {"float32": 1.0, "bfloat16": 2.0}
        resume_distillation(run)
    assert {row["recipe"]["precision"] for row in run.folded().results} == {"float32"}


@pytest.mark.parametrize(("asked", "expected", "warned"), [("auto", "bfloat16", True), ("float32", "float32", False)])
def test_a_run_that_goes_on_slowly_says_so(
    asked: str, expected: str, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was begun on another machine; what the preset says itself counts everywhere."""
    told: list[Event] = []
    run = SimpleNamespace(meta=lambda: {"precision": "bfloat16"}, path=Path("runs/one"))
    session = cast(Any, SimpleNamespace(run=run, emit=told.append))
    monkeypatch.setattr(opening, "choose_precision", lambda name, device: torch.float32)
    preset = load_preset("default", [f"run.precision={asked}"])
    chosen = opening._chosen(session, preset, make_spec("ab", 8, 64), torch.device("cpu"), ALONE)
    assert str(chosen.precision) == f"torch.{expected}"
    assert [isinstance(one, Note) and one.level for one in told] == (["warning"] if warned else [])
