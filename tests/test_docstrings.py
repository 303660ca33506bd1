"""Docstrings begin with what they are about: one that begins with a pronoun has to be read twice."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import ROOT

VAGUE = re.compile(r"(That|Those|Of|What|Whether|Where|How|As)\b")
FILES = [path for name in ("engine", "vdtui") for path in sorted((ROOT / name).rglob("*.py"))]


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of every docstring: those of modules, classes and functions, and those below a name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for field in getattr(node, "body", []) if not isinstance(node, (ast.Lambda, ast.IfExp)) else []:
            value = field.value if isinstance(field, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.lineno, value.value.strip()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_docstring_begins_with_a_noun_or_a_verb(path: Path) -> None:
    """A reader who looks up one name would have to read its neighbours to know what "that" is."""
    vague = [f"{path}:{line}: {text.splitlines()[0]}" for line, text in docstrings(path) if VAGUE.match(text)]
    assert vague == []
