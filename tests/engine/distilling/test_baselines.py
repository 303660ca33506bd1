"""Runs with compressed baselines: what a user loses is a fair table, or the hours that it took when a run is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.api import resume_distillation, run_distillation
from engine.config import Preset, load_preset
from engine.config.counts import feature_epochs
from engine.config.load import override
from engine.distilling import baselines, final_table
from engine.distilling.opening import Work
from engine.distilling.plan import plan
from engine.evaluation import Subject
from engine.events import Event, NetworkTrained, Note, Progress
from engine.runs import RunDirectory
from engine.runs.new import new_run, with_data
from tests.tiny_run import QUICK, make_clips

BOTH = 'evaluation.baselines=["random","compressed-random","compressed-herding"]'
NAMES = ("compressed-random", "compressed-herding")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"), 8)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """The bytes that all sets are said to have: as few as one or some clips of each class take."""
    inner, budget = baselines.compressed_baseline, 1100

    def with_few(work: Work, what: str, nbytes: int, total: int) -> Subject | None:
        return inner(work, what, budget, total)

    monkeypatch.setattr(final_table, "compressed_baseline", with_few)
    return budget


def preset(*changes: str) -> Preset:
    """A set that costs no learning: herded clips, by the features of a network with its first weights."""
    chosen = ("synthetic.kind=coreset", "selection.method=herding", "selection.features=seeded")
    return load_preset("default", [*QUICK, *chosen, "evaluation.epochs=1", "evaluation.repeats=1", BOTH, *changes])


def compressed(run: RunDirectory) -> list[dict[str, Any]]:
    return [{**row, "seconds": 0} for row in run.folded().results if row["what"] in NAMES]


def test_a_run_chooses_on_validation_and_goes_on_where_it_was_cut(
    clips: Path, tmp_path: Path, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut while a baseline is chosen, it ends with the bytes, rows and networks of one that was never cut.

    The note at the start counts the networks that choose at most, and progress names each while it is trained.
    """
    monkeypatch.setattr("engine.distilling.progress.SECONDS_BETWEEN", 0.0)
    events: list[Event] = []
    whole = run_distillation(preset(), clips, runs_dir=tmp_path, name="whole", on_event=events.append)
    rows = compressed(whole)
    assert [row["what"] for row in rows] == list(NAMES)
    for row in rows:
        assert row["bytes"] <= small and row["selected_on"] == "val" and row["storage"].startswith("h264-")
        assert len(row["ladder"]) > 1 and all(rung["bytes"] <= small for rung in row["ladder"])
        assert row["ipc"] == next(rung["ipc"] for rung in row["ladder"] if rung["storage"] == row["storage"])
        best = max(rung["accuracy"] for rung in row["ladder"])
        assert best == next(rung["accuracy"] for rung in row["ladder"] if rung["storage"] == row["storage"])
    chose = [one for one in events if isinstance(one, NetworkTrained) and one.split == "val"]
    reported = {one.seed for one in events if isinstance(one, NetworkTrained) and one.split == "test"}
    assert {one.what.split()[0] for one in chose} == set(NAMES) and not {one.seed for one in chose} & reported
    assert len(chose) == sum(len(row["ladder"]) for row in rows)
    assert any("up to 24 networks choose their storage" in one.text for one in events if isinstance(one, Note))
    told = [one.what for one in events if isinstance(one, Progress)]
    assert any(what.startswith("choosing compressed-random, h264-") for what in told)

    count = 0

    def cut(event: Event) -> None:
        nonlocal count
        count += isinstance(event, NetworkTrained)
        if count == 2:
            raise RuntimeError("pulled the plug")

    run = new_run(preset(), clips, tmp_path, "cut", "cut", ["test"])
    with pytest.raises(RuntimeError):
        resume_distillation(run, on_event=cut)
    resume_distillation(run)
    assert compressed(run) == rows
    kept = [{path.name: path.read_bytes() for path in one.baselines.iterdir()} for one in (run, whole)]
    assert kept[0] == kept[1] and kept[0]


def test_without_validation_the_storage_is_fixed(clips: Path, tmp_path: Path, small: int) -> None:
    """Nothing is chosen on test: no network is trained for a choice, and the row says that none was made."""
    notes: list[Event] = []
    run = run_distillation(
        preset("dataset.val_fraction=0"), clips, runs_dir=tmp_path, name="fixed", on_event=notes.append
    )
    for row in compressed(run):
        assert (row["storage"], row["selected_on"], "ladder" in row) == ("h264-28", "none", False)
        assert row["bytes"] <= small
    assert not [one for one in notes if isinstance(one, NetworkTrained) and one.split == "val"]
    assert any(isinstance(one, Note) and "no validation split" in one.text for one in notes)


def test_chosen_clips_of_any_method_can_stand_beside_a_set(clips: Path, tmp_path: Path, small: int) -> None:
    """By coverage and by ease, each a row of its own clips in no more bytes; the plan counts their network."""
    rivals = ["compressed-coverage", "compressed-easy"]
    trained = ("selection.features=trained", "selection.epochs=1")
    asked = preset("dataset.val_fraction=0", *trained, f"evaluation.baselines={rivals}")
    assert feature_epochs(asked, "evaluate") == 1
    assert feature_epochs(override(asked, {"evaluation.baselines": ["random"]}, "test"), "evaluate") == 0
    run = run_distillation(asked, clips, runs_dir=tmp_path, name="rivals")
    rows = [row for row in run.folded().results if row["what"] in rivals]
    assert [row["what"] for row in rows] == rivals and all(0 < row["bytes"] <= small for row in rows)
    files = [next(run.baselines.glob(f"{name}-*.vds")).read_bytes() for name in rivals]
    assert files[0] != files[1]


def test_a_large_set_is_told_what_all_clips_take(clips: Path, tmp_path: Path) -> None:
    """The headline of float32 sets: real clips take less. Chosen ones would be the same as random ones, and are not."""
    run = run_distillation(preset(), clips, runs_dir=tmp_path, name="large")
    own, *_ = run.folded().results
    assert own["all_clips"]["storage"] == "h264-28" and own["all_clips"]["bytes"] < own["bytes"]
    assert own["all_clips"]["clips"] == own["all_clips"]["encoded"] == run.meta()["data_clips"]["train"]
    (row,) = compressed(run)
    assert (row["what"], row["storage"], row["ipc"]) == ("compressed-random", "h264-18", 4)
    capped = run_distillation(preset("evaluation.baseline_clips=2"), clips, runs_dir=tmp_path, name="capped")
    assert [(row["ipc"], row.get("capped")) for row in compressed(capped)] == [(2, True), (2, True)]


def test_published_judges_have_their_rows_and_no_others(clips: Path, tmp_path: Path) -> None:
    """A protocol that is published keeps its table, and nothing is encoded for it."""
    run = run_distillation(
        load_preset("default", [*QUICK[:-1], "synthetic.kind=static-only", "static.steps=1", "evaluation.protocol=vdsd",
                                "evaluation.epochs=1", "evaluation.repeats=1"]),
        clips, runs_dir=tmp_path, name="published",
    )  # fmt: skip
    assert [row["what"] for row in run.folded().results] == ["static-only", "random"]
    assert not run.baselines.exists() and "all_clips" not in run.folded().results[0]


def test_a_plan_counts_the_networks_that_choose(clips: Path, small: int) -> None:
    """Hours that nobody announced would be taken for a run that hangs."""
    found = plan(with_data(preset(), clips))
    part = next(part for part in found.parts if part.what == "networks to choose the storage of baselines")
    assert part.stage == "evaluate" and part.number >= 2 and part.seconds > 0
    assert next(part for part in found.parts if part.what == "networks for the final table").number == 4
