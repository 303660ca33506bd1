"""pyproject.toml against the imports: what is not declared is there by chance, until another package drops it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib

from tests.tiny import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DISTRIBUTIONS = {"PIL": "pillow"}
OWN = {"engine", "vdtui", "presets"}
PARTS = {"pydantic_core", "markupsafe"}  # of pydantic and jinja2


def imported() -> set[str]:
    """The packages that engine and vdtui import anywhere."""
    found: set[str] = set()
    for path in [*(ROOT / "engine").rglob("*.py"), *(ROOT / "vdtui").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(name.name.partition(".")[0] for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - OWN - {*sys.stdlib_module_names} - PARTS


def test_every_import_is_declared_and_every_dependency_imported() -> None:
    """A fresh installation would break, or bring what nothing needs."""
    declared = {re.split(r"[<>=\[ ]", text)[0].replace("-", "_") for text in PROJECT["dependencies"]}
    assert {DISTRIBUTIONS.get(name, name) for name in imported()} == declared
