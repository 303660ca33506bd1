"""`vdtui data` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from PIL import Image

from engine.data.layouts import list_videos
from engine.data.prepare import prepare
from engine.data.sampling import Placement, Sampling
from tests.videos import write_dataset

ROOT = Path(__file__).parents[2]
VDTUI = [sys.executable, "-c", "import sys; sys.argv[0] = 'vdtui'; from vdtui.cli.main import main; main()"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    write_dataset(folder / "mine", ("walk", "[red]run"), each=8)
    (folder / "mine/walk/broken.mp4").write_bytes(b"no video")
    sampling = Sampling(4, 32, train=Placement(number=2))
    prepare(list_videos("folders", folder / "mine"), folder / "c.h5", sampling, max_skipped_percent=10)
    return folder


def data(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*VDTUI, "data", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def test_the_text_says_what_went_in(home: Path) -> None:
    """Counts, sampling and what was skipped, for people."""
    result = data(home, "c.h5")
    assert result.returncode == 0 and not result.stderr, result.stderr
    for words in ("[red]run", "walk/broken.mp4", "2 clips per video, evenly (training)", "resize published", "skipped"):
        assert words in result.stdout, words


def test_json_has_everything(home: Path) -> None:
    """For scripts: one document, and nothing else on stdout."""
    found = json.loads(data(home, "c.h5", "--json").stdout)
    assert found["splits"]["train"]["clips"] == 2 * found["splits"]["train"]["videos"]
    assert found["sampling"]["train"]["number"] == 2 and found["split"] is None
    assert [row["path"] for row in found["skipped"]] == ["walk/broken.mp4"]
    assert sum(found["splits"]["test"]["per_class"]) == found["splits"]["test"]["clips"]


def test_a_sheet_as_a_picture(home: Path) -> None:
    """It is a PNG, and an existing file is kept."""
    assert data(home, "c.h5", "--png", "sheet.png", "--clips", "2", "--split", "test").returncode == 0
    assert Image.open(home / "sheet.png").format == "PNG"
    again = data(home, "c.h5", "--png", "sheet.png")
    assert again.returncode == 2 and "--overwrite" in again.stderr


def test_no_terminal_no_sheet(home: Path) -> None:
    """Never escape codes in a file."""
    result = data(home, "c.h5", "--sheet")
    assert result.returncode == 2 and "--png" in result.stderr and not result.stdout


def test_damage_is_found_and_named(home: Path, tmp_path: Path) -> None:
    """A copy that lost a byte on its way trains as if nothing had happened."""
    assert data(home, "c.h5", "--verify").stdout.strip() == "c.h5 is as it was written."
    copy = tmp_path / "copy.h5"
    copy.write_bytes((home / "c.h5").read_bytes())
    with h5py.File(copy) as file:
        place = file["train/clips"].id.get_chunk_info(3).byte_offset + 100
    with copy.open("r+b") as raw:
        raw.seek(place)
        value = raw.read(1)[0]
        raw.seek(place)
        raw.write(bytes([value ^ 64]))
    result = data(tmp_path, "copy.h5", "--verify")
    assert result.returncode == 2 and "train clip 3" in result.stderr and len(result.stderr.splitlines()) == 2
    assert json.loads(data(tmp_path, "copy.h5", "--verify", "--json").stdout)["whole"] is False
    assert data(home, "nothing.h5", "--verify").returncode == 2
