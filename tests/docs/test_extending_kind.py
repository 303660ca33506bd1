"""The section on parameterisations of docs/extending.md, tried out: its code, added to a copy of the project, works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tiny import PYTHON, ROOT

TITLE = "A parameterisation"


def code_of(title: str) -> dict[str, str]:
    """The code blocks of a section of the page, by the path in their first line."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section is not None, title
    blocks = re.findall(r"^```python\n# (\S+)\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)
    assert len(blocks) == section[1].count("```python")
    return dict(blocks)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the code of the page in it, where the page says."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("engine", "vdtui", "presets", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "__snapshots__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path, code in code_of(TITLE).items():
        known = (folder / path).read_text(encoding="utf-8") if (folder / path).exists() else ""
        if known:  # a description goes before the registry, and its instance into it
            head, registry, tail = known.partition("KINDS: dict")
            (described,) = re.findall(r"^class (\w+)", code, re.MULTILINE)
            end = "    )\n}\n"
            assert tail.count(end) == 1
            code = f"{head}{code}\n\n{registry}" + tail.replace(end, f"        {described}(),\n{end}")
        (folder / path).write_text(code, encoding="utf-8")
    return folder


def run(folder: Path, *words: str) -> str:
    """What a command in the copy says, which must succeed."""
    done = subprocess.run(
        [PYTHON, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_tests_of_all_kinds_take_the_new_one(copy: Path) -> None:
    """Who follows the page would find out in a run what it leaves out."""
    said = run(
        copy,
        *("-m", "pytest", "-rp", "-p", "no:cacheprovider", "-k", "boomerang"),
        *("tests/engine/synthetic/test_registry.py", "tests/engine/config/test_kinds.py"),
    )
    assert said.count("PASSED") > 20


def test_the_new_kind_is_offered_and_makes_its_clips(copy: Path) -> None:
    """Frames that come again in the wrong order would be another method than the page describes."""
    run(
        copy,
        "-c",
        """
import torch
from engine.config import load_preset
from engine.config.kinds import KINDS
from engine.errors import PresetError
from engine.synthetic import set_class
from tests.tiny import make_spec
from vdtui.tui.form import sections

kind = next(field for field in sections()["synthetic"] if field.name == "kind")
assert "boomerang" in kind.choices and KINDS["boomerang"].label in kind.help
for frames, order in ((4, [0, 1, 1, 0]), (5, [0, 1, 2, 1, 0])):
    half = torch.randn(2, 1, (frames + 1) // 2, 3, 4, 4)
    clips = set_class("boomerang")(make_spec("ab", frames, 4), half).expand()[0]
    for clip, own in zip(clips, half[:, 0], strict=True):
        assert all(torch.equal(clip[:, t], own[stored]) for t, stored in enumerate(order))
try:
    load_preset("default", ["synthetic.kind=boomerang", "synthetic.n_syn=1"])
except PresetError as error:
    assert "boomerang" in error.problem
else:
    raise AssertionError("n_syn is refused")
""",
    )
