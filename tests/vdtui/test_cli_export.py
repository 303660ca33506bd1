"""If these fail, `vdtui export` and `vdtui report` cannot be used from a shell or a script."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from engine.errors import UsageError, VdtuiError
from engine.runs import RunDirectory
from engine.synthetic import encode_set, load_set
from tests.engine.export.made_up import MadeUpRuns, begun
from vdtui.cli.export import export
from vdtui.cli.report import report

app = typer.Typer()
app.command()(export)
app.command()(report)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: ``done`` with a set, ``new`` without."""
    runs = MadeUpRuns(tmp_path_factory.mktemp("cli") / "runs")
    run = runs.completed()
    runs.make("new", "stopped", begun(), None)
    return run.path.parent


def call(*arguments: object) -> str:
    """stdout of a command; raises what it raises."""
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)
    if isinstance(answer.exception, VdtuiError):
        raise answer.exception
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def test_export_writes_the_chosen_set_and_says_so_in_json(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "set.safetensors"
    stdout = call("export", "done", "--runs-dir", folder, "--format", "safetensors", "--precision", "uint8",
                  "--output", output, "--json")  # fmt: skip
    document = json.loads(stdout)
    assert document["files"] == [{"path": str(output), "bytes": output.stat().st_size}]
    assert document["bytes"] == output.stat().st_size and load_set(output).precision == "uint8"
    card = Path(document["card"]).read_text(encoding="utf-8")
    assert (
        "Top-1 on the test split: 52.0" in card
        and "of the set as float32, not of these files, which hold uint8" in card
    )
    call("export", output, "--format", "gif", "--output", tmp_path / "clips")
    assert (tmp_path / "clips" / "00_red" / "4.gif").is_file()


def test_a_set_is_handed_out_in_few_bytes(folder: Path, tmp_path: Path) -> None:
    """Whoever wants a file of a given storage gets it, whatever it is called, and every command takes it."""
    output = tmp_path / "few.bytes"
    call("export", "done", "--runs-dir", folder, "--format", "set", "--storage", "jpeg-80+h264-28", "--output", output)
    loaded = load_set(output)
    assert str(loaded.storage) == "jpeg-80+h264-28" and loaded.nbytes == output.stat().st_size
    whole = load_set(RunDirectory(folder / "done").best)
    assert loaded.provenance == dataclasses.replace(whole.provenance, accuracy_as="float32")
    expected = encode_set(whole.synthetic, "jpeg-80+h264-28").decode().tensors()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.synthetic.tensors().items())
    call("export", output, "--format", "set", "--output", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == output.read_bytes()
    call("export", output, "--format", "gif", "--output", tmp_path / "clips")
    assert (tmp_path / "clips" / "00_red" / "1.gif").is_file()
    again = json.loads(call("export", output, "--format", "safetensors", "--output", tmp_path / "s", "--json"))
    assert "decodes" in again["notes"][0] and load_set(tmp_path / "s").precision == "float32"


def test_notes_do_not_mix_with_json(folder: Path, tmp_path: Path) -> None:
    stdout = call("export", "done", "--runs-dir", folder, "--format", "png", "--output", tmp_path / "a.png", "--json")
    assert "1 of 4 clips" in json.loads(stdout)["notes"][0]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("export", "new", "--format", "mp4"), "vdtui show new"),
        (("export", "dnoe", "--format", "mp4"), "Did you mean done?"),
        (("export", "absent.safetensors", "--format", "mp4"), "Check the path"),
        (("export", "done", "--format", "mp4", "--precision", "uint8"), "--format safetensors"),
        (("export", "done", "--format", "png", "--fps", "3"), "--format mp4, gif or folders"),
        (("export", "done", "--format", "folders", "--frames", "--fps", "3"), "--format mp4, gif or folders"),
        (("export", "done", "--format", "pt", "--frames"), "--format folders"),
        (("export", "done", "--format", "pt", "--storage", "uint8"), "--format set"),
        (("report", "absent", "--format", "html"), "vdtui runs"),
    ],
)
def test_mistakes_are_said_in_words(folder: Path, tmp_path: Path, arguments: tuple[str, ...], hint: str) -> None:
    with pytest.raises(UsageError) as refusal:
        call(*arguments, "--runs-dir", folder, "--output", tmp_path / "out")
    assert hint in refusal.value.hint and not (tmp_path / "out").exists()


def test_report_writes_a_page_once(folder: Path, tmp_path: Path) -> None:
    arguments = ("report", "done", "--runs-dir", folder, "--format", "html", "--output", tmp_path / "done.html")
    assert str(tmp_path / "done.html") in call(*arguments)
    assert (tmp_path / "done.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(UsageError) as refusal:
        call(*arguments)
    assert "--overwrite" in refusal.value.hint
    call(*arguments, "--overwrite")


def test_report_prints_json_for_pipes(folder: Path) -> None:
    document = json.loads(call("report", "new", "--runs-dir", folder, "--format", "json", "--output", "-"))
    assert document["state"] == "stopped" and document["set"] is None
    with pytest.raises(UsageError):
        call("report", "done", "--runs-dir", folder, "--format", "html", "--output", "-")


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, vdtui.cli.export, vdtui.cli.report, engine.export; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "av", "matplotlib", "PIL", "numpy", "jinja2"} & set(loaded)
