"""select, evaluate and study as a user types them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forked import workers_are_forked
from tests.tiny_run import make_clips, quick_options
from tests.vdtui.test_cli import refused, typed, vdtui

QUICK = [*quick_options(), "--set", "selection.features=seeded"]


@pytest.fixture(scope="module", autouse=True)
def forked_workers() -> Iterator[None]:
    with workers_are_forked():
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clips.h5 and a finished coreset named `core`."""
    folder = tmp_path_factory.mktemp("home")
    make_clips(folder)
    done(vdtui(folder, "select", "k-center", "--data", "clips.h5", "--ipc", "2", *QUICK, "--run", "core", "--plain"))
    return folder


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_coreset_is_a_run_like_any_other(home: Path) -> None:
    """It can be shown, compared and exported; its rows say what they are."""
    document = json.loads(done(typed(home, "show", "core", "--json")))
    assert [row["what"] for row in document["results"]] == ["k-center", "random"]
    assert document["state"] == "completed"
    done(
        typed(home, "export", "core", "--format", "safetensors", "--precision", "uint8", "--output", "core.safetensors")
    )


def test_evaluate_prints_one_document_and_adds_to_the_run(home: Path) -> None:
    """Scripts read stdout; people find the number again under the run."""
    words = ["evaluate", "core", "--protocol", "vdsd", "--epochs", "1", "--repeats", "2", "--output", "out.json"]
    result = vdtui(home, *words, "--json")
    document = json.loads(done(result))
    (row,) = document["results"]
    assert row["protocol"] == "vdsd" and row["std_kind"] == "population" and len(row["top1"]["seeds"]) == 2
    assert row["deviations"] and row["model"] == "convnet3d_small"
    assert json.loads((home / "out.json").read_text()) == document
    shown = json.loads(done(typed(home, "show", "core", "--json")))["results"]
    assert any(other["protocol"] == "vdsd" for other in shown)
    plain = done(typed(home, *words[:-2]))
    assert "protocol vdsd 2" in plain and "population" in plain and "epochs 1, published 500" in plain
    assert "one test clip per video" in row["deviations"][-1]


def test_networks_that_diverge_are_said_to(home: Path) -> None:
    """Their accuracy must not pass for that of the set: on the terminal, in JSON and in the report."""
    words = ["evaluate", "core", "--epochs", "3", "--repeats", "2", "--set", "evaluation.lr=1e9"]
    (row,) = json.loads(done(typed(home, *words, "--json")))["results"]
    assert row["train_loss"] == [None, None] and row["caution"].startswith("2 of 2 networks did not learn")
    assert "2 of 2 networks did not learn" in " ".join(done(typed(home, *words)).split())
    done(typed(home, "report", "core", "--format", "md", "--output", "core.md"))
    assert "2 of 2 networks did not learn" in (home / "core.md").read_text()


def test_mistakes_get_two_plain_lines(home: Path) -> None:
    """Before any network is trained."""
    refused(typed(home, "select", "best", "--data", "clips.h5"), "best", "k-center")
    refused(typed(home, "evaluate", "core", "--protocol", "strictest"), "protocol")
    refused(typed(home, "evaluate", "core", "--model", "resnet"), "models")
    refused(typed(home, "evaluate", "core", "--frames", "backwards"), "reversed")
    refused(typed(home, "evaluate", "core", "--baseline", "nobody"), "random")
    refused(typed(home, "evaluate", "none.safetensors", "--data", "clips.h5"), "none.safetensors")
    refused(typed(home, "study", "temporal", "--data", "clips.h5", "--n-syn", "9"), "8 frames")
    refused(typed(home, "study", "grid", "--data", "clips.h5", "--vary", "dynamic.stepz=1,2"), "dynamic.stepz")


def test_a_study_goes_on_where_it_stopped_and_ends_in_a_table_and_a_plot(home: Path) -> None:
    """A grid of runs is hours: a second start must not do a first one's work again."""
    words = ["study", "temporal", "--data", "clips.h5", "--set", "synthetic.kind=pixels", *quick_options()]
    words += ["--set", "evaluation.repeats=1", "--set", "dynamic.steps=2", "--n-syn", "1,8", "--frames", "shuffled"]
    first = json.loads(done(typed(home, *words[:-4], "--n-syn", "1", "--frames", "none", "--json")))
    assert [row["values"]["synthetic.n_syn"] for row in first["rows"]] == [1]
    result = typed(home, *words, "--json")
    document = json.loads(done(result))
    assert "2 runs, 1 of them done" in result.stderr
    assert [row["state"] for row in document["rows"]] == ["completed", "completed"]
    values = [next(r for r in row["results"] if r["what"] == "pixels")["stored_values"] for row in document["rows"]]
    assert values[1] == 8 * values[0]
    orders = [[r["recipe"]["frames"] for r in row["results"] if r["what"] == "pixels"] for row in document["rows"]]
    assert orders == [["as-is", "shuffled"]] * 2
    folder = home / "runs/studies/temporal"
    assert (folder / "results.png").read_bytes().startswith(b"\x89PNG") and (folder / "results.json").is_file()
    refused(typed(home, *words, "--set", "run.seed=3"), "another")


def test_the_study_of_bytes_counts_files(home: Path) -> None:
    """Learned sets and real clips on one axis; every point is a file that was decoded again."""
    words = [
        "distill",
        "--data",
        "clips.h5",
        *quick_options(),
        "--set",
        "dynamic.steps=2",
        "--run",
        "learned",
        "--plain",
    ]
    done(typed(home, *words))
    words = ["study", "bytes", "learned", "--clips", "1", "--real", "h264-35,uint8", "--storage", "uint8"]
    words += ["--epochs", "1", "--repeats", "1", "--json"]
    document = json.loads(done(typed(home, *words)))
    assert [(row["what"], row["storage"]) for row in document["rows"]] == [
        ("static-dynamic", "uint8"),
        ("random", "h264-35"),
        ("random", "uint8"),
    ]
    sizes = [row["bytes"] for row in document["rows"]]
    assert sizes[1] < sizes[2] and sizes[2] > 2 * 8 * 64 * 64 * 3 and sizes[0] > 2 * 2 * (3 + 8) * 64 * 64
    assert (home / "runs/studies/bytes/results.png").read_bytes().startswith(b"\x89PNG")
    again = typed(home, *words)  # nothing is trained anew
    assert json.loads(done(again))["rows"] == document["rows"]
