"""`vdtui study grid` as a user calls it, over runs that are finished."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.errors import UsageError
from engine.events import ResultReady, RunCompleted
from tests.engine.export.made_up import MadeUpRuns, begun, result
from vdtui.cli.study import app

EXTRA = {"recipe": {"epochs": 500, "lr": 0.01}}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of runs with a finished grid in it: three seeds, and 10 or 20 steps."""
    for steps, means in ((10, (0.40, 0.46, 0.49)), (20, (0.50, 0.54, 0.58))):
        for seed, mean in enumerate(means):
            rows = [result("static-dynamic", (mean - 0.01, mean + 0.01), 3, **EXTRA)]
            events = [*begun(), *map(ResultReady, rows), RunCompleted(100.0)]
            MadeUpRuns(tmp_path / "studies/grid").make(f"seed-{seed}_steps-{steps}", "completed", events, None)
    return tmp_path


def test_a_grid_over_seeds_tells_of_methods(runs: Path) -> None:
    """The row of the best seed would be taken for the method; its neighbours are no evidence unless put together."""
    words = ["grid", "--preset", "demo", "--vary", "run.seed=0,1,2", "--vary", "dynamic.steps=10,20"]
    answer = CliRunner().invoke(app, [*words, "--runs-dir", str(runs)], catch_exceptions=False)
    above, below = answer.stdout.split("over run seeds", 1)
    assert above.count("static") == 0 and above.count("completed") == 6
    ten, twenty = [line.split() for line in below.splitlines() if line.split()[:1] in (["10"], ["20"])]
    assert ten == ["10", "3", "45.0", "+-", "4.6", "%", "-"]
    # pairs of +10, +8, +9 points: mean 9, standard error 1 / sqrt(3), t = 4.3027
    assert " ".join(twenty) == "20 3 54.0 +- 4.0 % +9.0 [6.5, 11.5] better method"
    answer = CliRunner().invoke(app, [*words, "--json", "--runs-dir", str(runs)], catch_exceptions=False)
    document = json.loads(answer.stdout)
    assert len(document["rows"]) == 6 and document["over_seeds"][1]["over_first"]["verdict"] == "better"
    assert json.loads((runs / "studies/grid/results.json").read_text(encoding="utf-8")) == document


def test_a_grid_without_seeds_has_one_table(runs: Path) -> None:
    """Nothing is said of methods where there is one run of each."""
    words = ["grid", "--preset", "demo", "--vary", "run.seed=0", "--vary", "dynamic.steps=10,20"]
    answer = CliRunner().invoke(app, [*words, "--runs-dir", str(runs)], catch_exceptions=False)
    assert answer.exit_code == 0 and "over run seeds" not in answer.stdout and "method" not in answer.stdout


def test_a_cell_by_an_earlier_revision_of_the_method_is_no_cell(runs: Path) -> None:
    """Two methods would stand in one table under one name, and their difference would be read as that of the steps."""
    meta = runs / "studies/grid/seed-1_steps-10/meta.json"
    known = json.loads(meta.read_text(encoding="utf-8"))
    meta.write_text(json.dumps({name: value for name, value in known.items() if name != "revisions"}))
    words = ["grid", "--preset", "demo", "--vary", "run.seed=0,1,2", "--vary", "dynamic.steps=10,20"]
    answer = CliRunner().invoke(app, [*words, "--runs-dir", str(runs)])
    assert isinstance(answer.exception, UsageError) and "seed-1_steps-10" in answer.exception.problem
    assert "earlier vdtui" in answer.exception.problem and "--name" in answer.exception.hint
