"""What the shell completes, through the program itself, as a shell asks it; and help without Python's types."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.runs import create_run
from vdtui.cli.help import plain_type

PROGRAM = [sys.executable, "-c", "import sys; sys.argv[0] = 'vdtui'; from vdtui.cli.main import main; main()"]
ROOT = str(Path(__file__).parents[2])


def run(folder: Path, *words: str, **more: str) -> str:
    environment = {**os.environ, "PYTHONPATH": ROOT, "COLUMNS": "80", **more}
    done = subprocess.run([*PROGRAM, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout


def completed(folder: Path, line: str) -> list[str]:
    words = {"_VDTUI_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    return run(folder, **words).split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vdtui show de", ["demo", "demo-2"]),
        ("vdtui resume --runs-dir others x", ["xyz"]),
        ("vdtui compare demo o", ["other"]),
        ("vdtui presets hmdb51-ipc5-pixels-m", ["hmdb51-ipc5-pixels-mtt", "hmdb51-ipc5-pixels-mtt-published"]),
        ("vdtui distill --set dynamic.eval", ["dynamic.eval_every="]),
        ("vdtui resu", ["resume"]),
    ],
)
def test_runs_presets_and_keys_are_completed(tmp_path: Path, line: str, expected: list[str]) -> None:
    """Names of forty characters would have to be typed, and keys be looked up."""
    for folder, name in (("runs", "demo"), ("runs", "demo-2"), ("runs", "other"), ("others", "xyz")):
        create_run(tmp_path / folder, name, name, "", {})
    assert completed(tmp_path, line) == expected


def test_completion_can_be_installed(tmp_path: Path) -> None:
    """There would be completion that nobody can switch on."""
    assert "--install-completion" in run(tmp_path, "--help")


def test_help_has_no_types_of_python(tmp_path: Path) -> None:
    """`--json <bool>` reads as if a value had to be given."""
    for command in ("evaluate", "data", "compare", "study grid"):
        shown = run(tmp_path, *command.split(), "--help")
        assert "--json" in shown and "<bool>" not in shown and "list[" not in shown and "range" not in shown
    assert (plain_type("<bool>"), plain_type("<list[str]>"), plain_type("<path>")) == ("", "<str>", "<path>")
