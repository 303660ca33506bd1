"""The script that takes the pictures for README.md."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image
from rich.segment import Segment
from rich.style import Style

SCRIPT = Path(__file__).parents[3] / "docs" / "screenshots.py"


@pytest.fixture
def screenshots() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("screenshots", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_cells_are_drawn_where_they_are(screenshots: ModuleType) -> None:
    """A picture would show other colours than the terminal, or be shifted behind a wide character."""
    style = Style.parse("#ff0000 on #0000ff")
    line = [
        Segment("▀", style),
        Segment("\u2801", style),
        Segment("界", style),
        Segment(" ", Style.parse("on #00ff00")),
    ]
    picture = screenshots.drawn([line], (5, 1)).convert("RGB")
    width, height = screenshots.CELL
    red, blue, green = (255, 0, 0), (0, 0, 255), (0, 255, 0)
    assert picture.size == (5 * width, height)
    assert picture.getpixel((5, height // 2 - 1)) == red and picture.getpixel((5, height // 2)) == blue
    dot = [(x, y) for x in range(width, 2 * width) for y in range(height) if picture.getpixel((x, y)) == red]
    assert dot and all(x < 1.5 * width and y < height / 4 for x, y in dot)
    assert {picture.getpixel((x, 1)) for x in range(4 * width, 5 * width)} == {green}
    assert picture.getpixel((4 * width - 1, height - 1)) == blue


def test_pictures_are_taken_of_runs(
    folder: Path, fake: Any, screenshots: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """README's pictures could not be taken anew."""
    for name in ("one", "two"):
        fake(name).complete().previews(20, 60)
    for variable in ("VDTUI_THEME", "COLORTERM"):  # which the script sets for itself
        monkeypatch.setenv(variable, "")
    monkeypatch.setattr(screenshots, "SETTLED_SECONDS", 0.2)
    monkeypatch.setattr(sys, "argv", ["screenshots.py", "runs/one", "runs/two", "--size", "90x30", "--output", "out"])
    screenshots.main()
    for name in ("dashboard", "runs", "gallery", "new", "compare"):
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.size == (90 * screenshots.CELL[0], 30 * screenshots.CELL[1])
            assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 20
