"""What is asked of a run in between, an evaluation or a checkpoint now, must be answered and must change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.api import new_run, resume_distillation, run_distillation
from engine.config import Preset, load_preset
from engine.events import Event, StageStarted, Step
from engine.runs import EventTail, RunDirectory
from engine.runs import session as session_module
from tests.tiny_run import QUICK, make_clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "POLL_SECONDS", 0.0)


SMALL = ("dynamic.steps=5", "dynamic.eval_every=5", "dynamic.checkpoint_every=5", "static.steps=1")
FEW = ("evaluation.epochs=1", "evaluation.repeats=1")


def preset() -> Preset:
    return load_preset("default", [*QUICK, *SMALL, *FEW])


def logged(run: RunDirectory, kind: str) -> list[dict[str, Any]]:
    return [record for record in EventTail(run.events_file).read(limit=-1) if record["event"] == kind]


def test_asking_and_dying_changes_neither_the_bytes_nor_the_choice(clips: Path, tmp_path: Path) -> None:
    """Whoever is curious would get another set than whoever is not; or a checkpoint that nothing can go on from."""
    untouched = run_distillation(preset(), clips, runs_dir=tmp_path, name="untouched")
    run = new_run(preset(), clips, tmp_path, "asked", "asked", ["test"])

    def ask_and_die(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "static":
            run.request_once("evaluate")  # cannot be done there, and is said to be so
        if isinstance(event, Step) and (event.stage, event.step) == ("dynamic", 2):
            run.request_once("checkpoint")
            run.request_once("evaluate")
        if isinstance(event, Step) and (event.stage, event.step) == ("dynamic", 4):
            raise RuntimeError("pulled the plug")

    with pytest.raises(RuntimeError):
        resume_distillation(run, on_event=ask_and_die)
    resume_distillation(run)
    asked = [record for record in logged(run, "evaluated") if record["what"] == "now"]
    assert [record["step"] for record in asked] == [2]
    assert any("only the dynamic stage" in record["text"] for record in logged(run, "note"))
    begun = [record["step"] for record in logged(run, "stage_started") if record["stage"] == "dynamic"]
    assert begun == [0, 2]
    for one, other in ((run.best, untouched.best), (run.last, untouched.last)):
        assert one.read_bytes() == other.read_bytes()
    mine, theirs = run.folded(), untouched.folded()
    assert mine.best == theirs.best and mine.losses == theirs.losses
    assert mine.accuracy_curve() == theirs.accuracy_curve()
    assert [point.step for point in mine.accuracy_curve("now")] == [2]
    assert [row["top1"] for row in mine.results] == [row["top1"] for row in theirs.results]
