"""The site of docs/: whoever follows a link of it must arrive."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from engine.version import VERSION
from tests.tiny import PYTHON, ROOT

BUILDS = all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings", "latex2mathml"))


@pytest.mark.skipif(not BUILDS, reason='pip install ".[docs]"')
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Links, anchors, pages and names of the API that are gone are warnings, and warnings are errors."""
    command = [PYTHON, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    methods = (tmp_path / "methods" / "index.html").read_text(encoding="utf-8")
    assert methods.count('display="block"') >= 6 and "```math" not in methods and "$`" not in methods
    assert "run_distillation" in (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    pages = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("index.html")]
    loaded = [
        found for page in pages for found in re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page)
    ]
    assert loaded == []


def test_links_of_the_readme_are_there() -> None:
    """The first page leads to all others."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page)
    assert len(links) > 15 and [link for link in links if not (ROOT / link).exists()] == []


def test_every_page_is_in_the_readme_or_the_home_page() -> None:
    """A page that nothing leads to is read by nobody."""
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md", "api.md", "design-notes.md"}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in sorted(pages) if f"docs/{name}" not in text] == []


def test_who_cites_names_this_version() -> None:
    """The changelog begins with it, too."""
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (first, *_) = re.findall(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8") + " ", re.MULTILINE)
    assert first == VERSION
