"""Which videos are found, and how they are split."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.layouts import LayoutOptions, Listing, VideoEntry, list_videos
from engine.data.layouts.base import natural_key, one_line
from engine.data.layouts.folders import _make_split, frame_files
from engine.errors import DataError, UsageError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def names(listing: Listing) -> set[str]:
    return {video.name for video in listing.videos}


def test_finds_hostile_names(tmp_path: Path) -> None:
    """A class could vanish because of its name; names become labels in reports."""
    classes = ["two words", "ünï", "<b>bold", "[red]", "%03d", "-rf", "q'uo\"te", "new\nline", "10", "9", "class.mp4"]
    for name in classes:
        touch(tmp_path, f"{name}/a b.mp4", f"{name}/%d.avi", f"{name}/no_suffix")
    listing = list_videos("folders", tmp_path)
    assert set(listing.classes) == set(classes)
    assert listing.classes.index("9") < listing.classes.index("10")
    assert len(listing.videos) == 3 * len(classes)


def test_file_names_that_are_not_utf8_do_not_stop_it(tmp_path: Path) -> None:
    """Old archives have Latin-1 names; HDF5 would refuse them after hours of decoding."""
    folder = tmp_path / "class"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.avi")).write_bytes(b"x")
    (video,) = list_videos("folders", tmp_path).videos
    assert video.name == "class/caf\N{REPLACEMENT CHARACTER}.avi"
    assert video.path.exists()
    video.name.encode()


def test_ignores_what_is_no_video(tmp_path: Path) -> None:
    """Notes and caches beside the videos would be counted as broken videos, and stop prepare."""
    touch(tmp_path, "a/1.mp4", "a/2.MP4", "a/list.txt", "a/meta.CSV", "a/.hidden.mp4", "a/cover.jpg", "a/README")
    touch(tmp_path, ".git/x.mp4", "annotations/split.txt", "notes.md", "stray.mp4")
    listing = list_videos("folders", tmp_path)
    assert listing.classes == ("a",)
    assert names(listing) == {"a/1.mp4", "a/2.MP4"}


def test_folder_of_frames_is_one_video_in_natural_order(tmp_path: Path) -> None:
    """frame10 before frame2 would shuffle time."""
    touch(tmp_path, "a/clip/frame10.jpg", "a/clip/frame2.jpg", "a/clip/frame1.PNG", "a/clip/notes.txt", "a/1.mp4")
    listing = list_videos("folders", tmp_path)
    assert names(listing) == {"a/clip", "a/1.mp4"}
    assert [path.name for path in frame_files(tmp_path / "a/clip")] == ["frame1.PNG", "frame2.jpg", "frame10.jpg"]


def test_given_split_is_kept(tmp_path: Path) -> None:
    """A published split that is silently remade gives numbers that compare with nothing."""
    touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4", "test/a/2.mp4", "test/b/2.mp4", "val/a/3.mp4")
    listing = list_videos("folders", tmp_path)
    assert {(video.split, video.name) for video in listing.videos} == {
        ("train", "train/a/1.mp4"),
        ("train", "train/b/1.mp4"),
        ("test", "test/a/2.mp4"),
        ("test", "test/b/2.mp4"),
        ("val", "val/a/3.mp4"),
    }


@pytest.mark.parametrize("split", ["test", "val"])
def test_class_without_training_videos_is_named(tmp_path: Path, split: str) -> None:
    """A misspelt class folder would otherwise become a class that can never be right."""
    touch(tmp_path, "train/a/1.mp4", "test/a/1.mp4", f"{split}/mispelt/1.mp4")
    with pytest.raises(DataError, match="mispelt"):
        list_videos("folders", tmp_path)


def test_train_without_test_is_no_class(tmp_path: Path) -> None:
    """train/ and val/ alone must not become two classes named train and val."""
    touch(tmp_path, "train/a/1.mp4", "val/a/1.mp4")
    with pytest.raises(DataError, match="no test/"):
        list_videos("folders", tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    """Vehicles have a class of that name."""
    touch(tmp_path, "train/1.mp4", "bus/1.mp4")
    assert list_videos("folders", tmp_path).classes == ("bus", "train")


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")])
def test_wrong_source_shows_the_tree(tmp_path: Path, make: object) -> None:
    """The user must learn what was expected without opening the manual."""
    make(tmp_path / "source")  # type: ignore[operator]
    with pytest.raises(DataError) as caught:
        list_videos("folders", tmp_path / "source")
    assert "SOURCE/<class>/" in caught.value.hint
    assert "\n" not in caught.value.problem + caught.value.hint


def test_symlink_loops_end(tmp_path: Path) -> None:
    """A link to a parent folder must not hang, nor count videos of one class in another."""
    touch(tmp_path, "a/1.mp4", "b/1.mp4")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/self").symlink_to(tmp_path / "a")
    (tmp_path / "b/broken").symlink_to(tmp_path / "b/broken")
    assert names(list_videos("folders", tmp_path)) == {"a/1.mp4", "b/1.mp4"}


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    """Data sets are often assembled out of links to a shared disk."""
    touch(tmp_path, "disk/many/1.mp4")
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").symlink_to(tmp_path / "disk/many")
    assert names(list_videos("folders", tmp_path / "source")) == {"a/1.mp4"}


def test_unknown_layout_lists_the_known() -> None:
    with pytest.raises(UsageError) as caught:
        list_videos("nope", Path())
    assert "folders" in caught.value.hint


@pytest.mark.parametrize("fraction", [0, 1, -1, 2, float("nan")])
def test_impossible_fraction(fraction: float) -> None:
    with pytest.raises(UsageError, match="fraction"):
        LayoutOptions(test_fraction=fraction)


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
    shuffle=st.randoms(use_true_random=False),
)
def test_made_split(sizes: list[int], fraction: float, seed: int, shuffle: random.Random) -> None:
    """Each class on both sides, near the fraction, and the same on a disk that lists files in another order."""
    videos = [VideoEntry(Path(), f"{c}/{v}", c, "train") for c, size in enumerate(sizes) for v in range(size)]
    options = LayoutOptions(fraction, seed)
    split = {video.name: video.split for video in _make_split(videos, options)}
    shuffled = shuffle.sample(videos, len(videos))
    assert split == {video.name: video.split for video in _make_split(shuffled, options)}
    tests = Counter(name.split("/")[0] for name, side in split.items() if side == "test")
    for label, size in enumerate(sizes):
        assert tests[str(label)] in range(min(1, size - 1), size)
        assert abs(tests[str(label)] - size * fraction) <= 1


def test_split_depends_on_seed(tmp_path: Path) -> None:
    touch(tmp_path, *(f"a/{number}.mp4" for number in range(30)))
    tests = [
        {
            video.name
            for video in list_videos("folders", tmp_path, LayoutOptions(seed=seed)).videos
            if video.split == "test"
        }
        for seed in (0, 0, 1)
    ]
    assert tests[0] == tests[1] != tests[2]
    assert len(tests[0]) == 9


@given(st.lists(st.text(alphabet="0123456789aB²٣ _", max_size=8), max_size=8))
def test_natural_key_is_total(texts: list[str]) -> None:
    """Any file name must sort (digits of other scripts included), and the order must not depend on the start."""
    backwards = list(reversed(texts))
    assert sorted(texts, key=natural_key) == sorted(backwards, key=natural_key)


def test_one_line_hides_escapes() -> None:
    """A file name must not recolour or clear the user's terminal."""
    assert "\x1b" not in one_line("a\x1b[2Jb\nc")
    assert one_line("naïve 动作") == "naïve 动作"
