"""Another module called `engine`: what a user loses here is every command, or their own module without a word."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.data.pool import Workers
from engine.machine import imports
from engine.runs import create_run
from tests.tiny import ROOT
from vdtui.launch import launch
from vdtui.tui.commands import run_module

THEIRS = 'raise SystemExit("another engine")\n'


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A working directory with an engine.py and a package `presets` that are none of ours."""
    (tmp_path / "engine.py").write_text(THEIRS)
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "__init__.py").write_text(THEIRS)
    return tmp_path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a wheel fills it: presets inside the package, and not at the top."""
    folder = tmp_path_factory.mktemp("site-packages")
    for package, place in (("engine", "engine"), ("vdtui", "vdtui"), ("presets", "engine/presets")):
        shutil.copytree(ROOT / package, folder / place, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def python(code: str, folder: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    """``code`` as a script in ``folder``, which comes first on its path, and ``path`` after it."""
    script = folder / "script.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("wheel", [False, True])
def test_commands_and_scripts_get_ours(beside: Path, installed: Path, wheel: bool) -> None:
    """The command ended with somebody else's error; a script had no name by which to import ours."""
    home = installed if wheel else ROOT
    code = """
import sys
from vdtui.engine import load_preset
from vdtui.engine.runs.status import Status
import engine, engine.runs.status, vdtui.engine, vdtui.engine.runs
import vdtui.cli.main
assert vdtui.engine is engine and vdtui.engine.runs is engine.runs and engine.runs.status.Status is Status
assert engine.runs.__spec__.name == Status.__module__.removesuffix(".status") == "engine.runs"
assert "torch" not in sys.modules
print(engine.__file__, load_preset("demo").title)
"""
    done = python(code, beside, beside, home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(home / "engine" / "__init__.py"), "demo"]
    assert importable(installed, "engine") and not importable(installed, "presets")


def importable(folder: Path, name: str) -> bool:
    return (folder / name / "__init__.py").exists() or (folder / f"{name}.py").exists()


def test_two_in_one_process_are_told_apart(beside: Path) -> None:
    """Half of ours and half of theirs would end in an error about neither."""
    (beside / "engine.py").write_text("mine = 1\n")
    done = python("import engine\nimport vdtui.engine\n", beside, ROOT)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: vdtui needs its own module") and str(beside / "engine.py") in last


def test_a_worker_by_hand_has_a_name_too(beside: Path) -> None:
    """`python -m engine.worker` there would be the other module's."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "vdtui.engine.worker"], cwd=beside, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith("usage: "), done.stderr


def test_processes_that_are_started_get_ours(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker, a reader of videos or the dashboard's export ended at once."""
    monkeypatch.chdir(beside)
    monkeypatch.setenv("PYTHONPATH", str(beside))
    monkeypatch.syspath_prepend(str(beside))
    with Workers(len, 1) as workers:
        assert [*workers.map(["ab", "c"], lambda: None)] == [2, 1]
    assert imports.own_path()[0] == str(imports.HOME) and sys.path[0] == str(beside)
    assert run_module("vdtui.cli.main", "--version").code == 0
    for more in ({}, {"PYTHONSAFEPATH": "1"}):
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        run = create_run(beside / "runs", None, "r", "unknown = 1\n", {})
        assert launch(run).wait(60) == 2
        assert "another engine" not in run.engine_log.read_text()


def test_what_finds_ours_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own modules come before those that are installed."""
    monkeypatch.setattr(sys, "path", ["/nowhere", str(imports.HOME), *sys.path])
    assert imports.own_path()[0] == "/nowhere"
