"""A run of every kind of set, from videos to its table: one that cannot go on where it was cut has cost a day."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.api import resume_distillation, run_distillation
from engine.config import Preset, load_preset
from engine.config.kinds import PRESET_KINDS
from engine.config.size import stored_values
from engine.distilling.plan import plan
from engine.evaluation.evaluate import Questions, evaluate, find_source
from engine.events import Event, NetworkTrained
from engine.export.report import report_data
from engine.runs import RunDirectory
from engine.runs.new import with_data
from engine.synthetic import load_set
from tests.tiny_run import QUICK, at_step, cut_run, make_clips

SHORT = (
    *("static.steps=1", "static.checkpoint_every=1", "dynamic.steps=2", "dynamic.checkpoint_every=1"),
    *("dynamic.optimiser=whitened-adam", "dynamic.lr_dynamic=0.05", "evaluation.epochs=1", "evaluation.repeats=1"),
    *("dynamic.dm.bank=1", "dynamic.dm.bank_clips=2", "selection.method=herding", "selection.epochs=1"),
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"))


def preset_of(kind: str) -> Preset:
    return load_preset("default", [*QUICK, *SHORT, f"synthetic.kind={kind}"])


def last(event: Event) -> bool:
    """True of the last step of stage 2, and of each network of the table, for runs without stage 2."""
    return at_step(2, "dynamic")(event) or (isinstance(event, NetworkTrained) and event.split == "test")


@pytest.mark.parametrize("kind", PRESET_KINDS)
def test_a_run_of_every_kind_goes_on_where_it_was_cut(kind: str, clips: Path, tmp_path: Path) -> None:
    """The same bytes and numbers as one that was never cut, and all that one does with a finished run."""
    preset = preset_of(kind)
    whole = run_distillation(preset, clips, runs_dir=tmp_path, name="whole")
    run = cut_run(preset, clips, tmp_path, last)
    resume_distillation(run)
    assert run.state() == "completed" and run.best.is_file() == bool(preset.kind.parts)
    for mine, theirs in ((run.best, whole.best), (run.last, whole.last)):
        assert mine.is_file() == theirs.is_file()
        assert not mine.is_file() or mine.read_bytes() == theirs.read_bytes()
    results = [{**row, "seconds": 0} for row in run.folded().results]
    assert results == [{**row, "seconds": 0} for row in whole.folded().results]
    assert [row["what"] for row in results] == list(preset.kind.rows(preset))
    assert tuple(run.folded().stages) == preset.stages
    check_uses(run, preset, results[0], tmp_path)


def check_uses(run: RunDirectory, preset: Preset, own: dict[str, object], runs: Path) -> None:
    """The report, and an evaluation of the set beside what it contains."""
    described = report_data(run)["set"]
    if not preset.kind.parts:
        assert described is None
        return
    loaded = load_set(run.best).synthetic
    assert described["kind"] == preset.kind.name and described["stored_values"] == loaded.stored_values
    source, contained = find_source(run.path.name, runs, None, []), preset.kind.baselines(preset.synthetic)
    rows = list(evaluate(source, runs, Questions(contained)))
    assert [row["what"] for row in rows] == [own["what"], *contained] and rows[0]["bytes"] == own["bytes"]


@pytest.mark.parametrize("kind", PRESET_KINDS)
def test_a_run_of_every_kind_can_be_planned(kind: str, clips: Path) -> None:
    """What a run would take is asked before the first of its kind is started."""
    preset = with_data(preset_of(kind), clips)
    found = plan(preset)
    stages = {part.stage for part in found.parts}
    assert stages == set(preset.stages) and found.parts[-1].number == len(preset.kind.rows(preset))
    classes, frames, side = 2, 8, 64
    assert found.stored_values == stored_values(preset.synthetic, classes, frames, side)
