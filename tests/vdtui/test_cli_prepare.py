"""`vdtui prepare` and `vdtui data` as a user meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from engine.data import demo
from engine.errors import DataError, UsageError
from tests.videos import write_dataset
from vdtui.cli.data import data
from vdtui.cli.prepare import prepare

ROOT = Path(__file__).parents[2]

app = typer.Typer()
app.command()(prepare)
app.command()(data)


def run(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


SMALL = ("--frames", "4", "--size", "32", "--interval", "1", "--workers", "1")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "mine", ("[bold]walk", "run"))


def test_prepare_then_data(source: Path, tmp_path: Path) -> None:
    """stdout is for results only; the summary is for people."""
    result = run("prepare", "folders", "--source", source, "--output", tmp_path / "c.h5", *SMALL)
    assert result.stdout == ""
    assert "2 classes, train 6 videos (6 clips), test 2 videos (2 clips)" in result.stderr
    shown = run("data", tmp_path / "c.h5").stdout
    assert "4 frames of 32 x 32" in shown
    assert "[bold]walk" in shown
    document = json.loads(run("data", tmp_path / "c.h5", "--json").stdout)
    assert document["classes"] == ["[bold]walk", "run"]
    assert document["splits"]["train"] == {"clips": 6, "videos": 6, "per_class": [3, 3]}
    assert (document["frames"], document["height"], document["width"], document["interval"]) == (4, 32, 32, 1)
    assert document["bytes"] == (tmp_path / "c.h5").stat().st_size
    assert document["skipped"] == []


def test_json_is_one_document(source: Path, tmp_path: Path) -> None:
    result = run("prepare", "folders", "--source", source, "--output", tmp_path / "c.h5", *SMALL, "--json")
    document = json.loads(result.stdout)
    assert document["clips"] == {"train": 6, "test": 2}
    assert document["path"] == str(tmp_path / "c.h5")


def test_shards_on_a_shared_disk(source: Path, tmp_path: Path) -> None:
    """Two machines, and a third command that joins what they did."""
    words = ("prepare", "folders", "--source", source, "--output", tmp_path / "c.h5", *SMALL)
    said = run(*words, "--shard", "1/2").stderr
    assert "Shard 1/2: 4 videos, in " in said and "without --shard" in said
    assert json.loads(run(*words, "--shard", "2/2", "--json").stdout)["videos"] == 4
    assert json.loads(run(*words, "--json").stdout)["resumed_videos"] == 8
    with pytest.raises(UsageError, match="mean nothing to a shard"):
        run(*words, "--shard", "1/2", "--overwrite")


def test_output_is_named_after_the_source(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("prepare", "folders", "--source", source, *SMALL)
    assert (tmp_path / "mine.h5").exists()


def test_demo_has_its_own_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = demo.make_demo
    monkeypatch.setattr(demo, "make_demo", lambda folder, seed, **rest: make(folder, seed, 2, 1, **rest))
    run("prepare", "demo", "--output", tmp_path / "d.h5", "--workers", "1")
    document = json.loads(run("data", tmp_path / "d.h5", "--json").stdout)
    assert (document["frames"], document["height"], document["interval"]) == (8, 64, 1)
    assert document["layout"] == "demo"


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (("nope",), UsageError, "folders"),
        (("folders",), UsageError, "--source"),
        (("demo", "--source", "x"), UsageError, "--source"),
        (("folders", "--source", "missing"), DataError, "<class>"),
    ],
)
def test_mistakes_say_what_to_do(
    arguments: tuple[str, ...], error: type[UsageError], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        run("prepare", *arguments)
    assert hint in caught.value.hint + caught.value.details
    assert not list(tmp_path.iterdir())


def test_ctrl_c_says_that_it_goes_on(tmp_path: Path) -> None:
    """A user who sees a traceback does not try again."""
    source = write_dataset(tmp_path / "mine", each=50, length=20)
    script = tmp_path / "script.py"
    script.write_text(
        "import typer\nfrom vdtui.cli import prepare as module\nmodule.PLAIN_SECONDS = 0.0\n"
        "if __name__ == '__main__':\n    typer.run(module.prepare)\n"
    )
    options = ["--output", str(tmp_path / "c.h5"), "--frames", "4", "--size", "64", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, str(script), "folders", "--source", str(source), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    process.stderr.readline()  # it is under way
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it too
    said = process.stderr.read()
    assert process.wait() == 130, said
    assert "run the same command again" in said
    assert "Traceback" not in said
    assert (tmp_path / "c.h5.partial").exists()


def test_help_has_an_example() -> None:
    for command in ("prepare", "data"):
        assert f"vdtui {command} " in run(command, "--help").stdout


def test_starts_without_the_engine() -> None:
    """`vdtui --help` must not wait for FFmpeg and HDF5."""
    heavy = {"av", "h5py", "torch", "numpy", "rich.progress"}
    code = f"import sys, vdtui.cli.prepare, vdtui.cli.data; print({heavy} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
