"""The demo data: the same for everyone, complete or absent, and such that direction shows only in time."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.data import demo
from engine.data.decode import DecodedVideo, read_video
from engine.data.demo import CLASSES, draw_clip, make_demo, prepare_demo
from engine.data.layouts import VideoEntry
from engine.data.sampling import Sampling
from engine.data.store import ClipStore
from engine.errors import UsageError

ROOT = Path(__file__).parents[3]


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(folder.rglob("*.mp4"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "make_demo", lambda folder, seed, **rest: make_demo(folder, seed, 2, 1, **rest))


def test_same_bytes_for_a_seed(tmp_path: Path) -> None:
    """Demo results in the manual must be what the reader gets."""
    one, two = hashes(make_demo(tmp_path / "1", 0, 2, 1)), hashes(make_demo(tmp_path / "2", 0, 2, 1))
    assert one == two
    assert len(set(one.values())) == len(one) == 24
    more = hashes(make_demo(tmp_path / "3", 0, 3, 1))
    assert all(more[name] == value for name, value in one.items())
    assert hashes(make_demo(tmp_path / "4", 1, 2, 1)).keys() == one.keys()
    assert hashes(tmp_path / "4") != one


def test_existing_folder_is_kept(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        make_demo(tmp_path)


def test_complete_or_absent(tmp_path: Path) -> None:
    """Half a demo would be taken for the whole one next time."""

    class StopNowError(Exception):
        pass

    def stop(done: int, total: int, name: str) -> None:
        if done == 5:
            raise StopNowError

    with pytest.raises(StopNowError):
        make_demo(tmp_path / "d", 0, 2, 1, progress=stop)
    assert not list(tmp_path.iterdir())


def test_files_hold_what_was_drawn(tmp_path: Path) -> None:
    """The encoder must not blur the demo away, nor prepare crop it."""
    folder = make_demo(tmp_path / "d", 3, 1, 0)
    for number, name in enumerate(CLASSES):
        generator = np.random.default_rng(np.random.SeedSequence([3, 0, number, 0]))
        drawn = draw_clip(generator, name.split("-")[0], name.split("-")[1])
        outcome = read_video(VideoEntry(folder / "train" / name / "000.mp4", name, 0, "train"), Sampling(8, 64))
        assert isinstance(outcome, DecodedVideo)
        assert outcome.length == 8
        assert np.abs(outcome.clips[0].astype(int) - drawn).mean() < 6


def centre(frame: np.ndarray) -> np.ndarray:
    """Where the object is: centre of what differs from the median of the clip."""
    weight = np.abs(frame).sum(axis=-1)
    weight = np.where(weight > 120, weight, 0.0)
    y, x = np.mgrid[0:64, 0:64]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("name", CLASSES)
def test_moves_as_its_class_says(name: str) -> None:
    shape, direction = name.split("-")
    for seed in range(5):
        clip = draw_clip(np.random.default_rng(seed), shape, direction).astype(float)
        residual = clip - np.median(clip, axis=0)
        moved = centre(residual[-1]) - centre(residual[0])
        assert np.dot(moved, demo.DIRECTIONS[direction]) > 8


def test_prepare_demo_is_made_once(tmp_path: Path, small: None) -> None:
    path = prepare_demo(tmp_path, seed=7)
    stamp = path.stat().st_mtime_ns
    assert path.name == f"demo-7-{demo.version()}.h5"
    with ClipStore.open(path) as store:
        assert store.classes == CLASSES
        assert (store.layout, store.dataset) == ("demo", "demo")
        assert (len(store.split("train")), len(store.split("test"))) == (16, 8)
    assert prepare_demo(tmp_path, seed=7).stat().st_mtime_ns == stamp


def test_two_processes_at_once(tmp_path: Path) -> None:
    """Two runs started together both need the demo."""
    code = (
        "import sys; from pathlib import Path; from engine.data import demo; make = demo.make_demo\n"
        "demo.make_demo = lambda folder, seed, **rest: make(folder, seed, 4, 1, **rest)\n"
        "print(demo.prepare_demo(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate()[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0] == answers[1]
    ClipStore.open(Path(answers[0])).close()
