"""CONTRIBUTING.md against the code: who follows it must find what it names."""

from __future__ import annotations

import re

from tests.tiny import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL))


def test_every_package_has_its_line() -> None:
    """Who adds something must know in which folder others will look for it."""
    listed = re.findall(r"^\| `([a-z/]+)/` \|", PAGE, re.MULTILINE)
    packages = [
        path.parent.relative_to(ROOT) for name in ("engine", "vdtui") for path in (ROOT / name).glob("*/__init__.py")
    ]
    assert sorted(listed) == sorted(path.as_posix() for path in packages)


def test_files_that_are_named_are_there() -> None:
    """A how-to that begins at a file which has moved is none."""
    paths = [name for name in NAMED if re.fullmatch(r"[\w./]+(\.py|\.toml|/)", name) and "/" in name]
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert len(paths) > 20 and links
    assert [name for name in [*paths, *links] if not (ROOT / name).exists()] == []


def test_names_in_how_tos_are_those_of_the_code() -> None:
    """The registries and bases that something new is entered into."""
    text = "\n".join(path.read_text("utf-8") for name in ("engine", "vdtui") for path in (ROOT / name).rglob("*.py"))
    words = [name for name in NAMED if re.fullmatch(r"[A-Z]\w+(\.[A-Z]\w+)?|[a-z]\w+_\w+", name)]
    assert {"Objective", "VideoNetwork", "LAYOUTS", "LAYOUT_NAMES", "OBJECTIVES", "FieldRow.Changed"} <= {*words}
    missing = [name for name in words if not re.search(rf"\b{name.split('.')[-1]}\b", text)]
    assert missing == []


def test_the_checks_that_are_named_are_those_of_ci() -> None:
    """What passes here must pass there."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    checks = ("ruff check .", "ruff format", "mypy", "lint-imports", "python -m pytest")
    assert all(check in script and check in PAGE for check in checks)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100
