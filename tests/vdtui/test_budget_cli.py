"""`--budget` as a user types it: a set of so many bytes, or two lines that say what is wrong at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tiny_run import make_clips, quick_options
from tests.vdtui.test_cli import refused, typed, vdtui

QUICK = [
    *quick_options(),
    *("--set", "dynamic.steps=1", "--set", "evaluation.epochs=1", "--set", "evaluation.repeats=1"),
    *("--set", "evaluation.baselines=['random']", "--set", "dynamic.dm.bank=1"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_clips(folder)
    return folder


def test_a_budget_from_the_command_to_what_show_says(home: Path) -> None:
    """The one command that a user with so many bytes types."""
    made = vdtui(home, "distill", "--data", "clips.h5", "--budget", "250B", *QUICK, "--run", "small", "--plain")
    assert made.returncode == 0, made.stderr
    assert (home / "runs" / "small" / "synthetic" / "best.vds").stat().st_size <= 500
    said = json.loads(typed(home, "show", "small", "--json").stdout)
    spent = said["budget"]
    own = said["results"][0]
    assert spent["budget"] == 500 and own["bytes"] <= 500 and own["ipc"] == spent["ipc"]
    assert spent["rung"] in typed(home, "show", "small").stdout
    last = next(line for line in (made.stdout + made.stderr).splitlines() if line.startswith("Chosen: "))
    assert f"step {said['best']['step']}," in last and ("its start" in last) == (said["best"]["step"] > 0)
    page = (home / "runs" / "small" / "report.html").read_text()
    assert "How the budget was spent" in page and spent["rung"] in page
    removed = typed(home, "remove", "small", "--yes")
    assert removed.returncode == 0 and not (home / "runs" / "small").exists(), removed.stderr


@pytest.mark.parametrize("budget", ["2", "a lot", "2GB", "0B", '2kB"\nx="'])
def test_what_is_no_size_is_refused(home: Path, budget: str) -> None:
    """A run that begins with a typing error costs a night."""
    answer = typed(home, "distill", "--data", "clips.h5", "--budget", budget, "--plain")
    refused(answer)
    assert "storage.budget" in answer.stderr


def test_instances_and_a_budget_are_refused_together(home: Path) -> None:
    """One of the two would be passed over in silence."""
    answer = typed(home, "distill", "--data", "clips.h5", "--budget", "2kB", "--set", "synthetic.ipc=5", "--plain")
    refused(answer)
    assert "storage.budget" in answer.stderr and "synthetic.ipc = 5" in answer.stderr


def test_a_budget_that_holds_no_clip_names_the_smallest_that_does(home: Path) -> None:
    """Otherwise a user tries one size after the other."""
    answer = vdtui(home, "distill", "--data", "clips.h5", "--budget", "50B", *QUICK, "--run", "tiny", "--plain")
    assert answer.returncode == 1
    assert "A budget of 50B per class is 100 bytes" in answer.stderr and "Give --budget " in answer.stderr
