"""HMDB51 as people have it: moved, in part, packed, with lists that do not match."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.layouts import LayoutOptions, Listing, list_videos
from engine.data.layouts.annotations import AnnotationFile
from engine.data.layouts.hmdb51 import _read_file
from engine.errors import DataError, UsageError
from tests.layouts import empty, frame_folder, make_hmdb51, touch, write_lines


def hmdb51(source: Path, **options: object) -> Listing:
    return list_videos("hmdb51", source, LayoutOptions(**options))  # type: ignore[arg-type]


def sides(listing: Listing) -> set[tuple[str, str, str]]:
    return {(listing.classes[v.label], v.path.stem.rpartition("_")[2], v.split) for v in listing.videos}


@pytest.mark.parametrize("split", [1, 2, 3])
@pytest.mark.parametrize(
    ("videos", "lists"),
    [("hmdb51_org", "testTrainMulti_7030_splits"), (".", "."), ("videos", "a/b/c"), ("x/y/z", "x")],
)
def test_the_official_split_wherever_it_lies(tmp_path: Path, split: int, videos: str, lists: str) -> None:
    """Numbers compare with published ones only if exactly the official videos are on either side."""
    source = make_hmdb51(tmp_path / "data", videos=videos, lists=lists)
    listing = hmdb51(source, split=split)
    assert listing.classes == ("brush_hair", "wave")
    for name in listing.classes:
        tests = {str(split - 1), "3"}
        assert {number for label, number, side in sides(listing) if (label, side) == (name, "test")} == tests
        trained = {number for label, number, side in sides(listing) if (label, side) == (name, "train")}
        assert trained == set("01235") - tests
    assert (listing.official_split, listing.dataset, listing.rejected) == (split, "hmdb51", ())
    assert listing.notes == (f"2 videos are on neither side of split {split}; --unused train trains on them too.",)
    assert all(video.path.is_file() for video in listing.videos)


def test_unused_videos_can_be_trained_on(tmp_path: Path) -> None:
    """Wang et al. 2024 train on them; without the option their numbers could not be repeated."""
    listing = hmdb51(make_hmdb51(tmp_path), unused="train")
    assert Counter(video.split for video in listing.videos) == {"train": 8, "test": 4}
    assert listing.notes == ()
    assert len(hmdb51(tmp_path, unused="leave").videos) == 10


def test_annotations_elsewhere(tmp_path: Path) -> None:
    """Split files are often kept apart from a read-only data folder."""
    make_hmdb51(tmp_path / "data", lists="../lists")
    with pytest.raises(DataError) as caught:
        hmdb51(tmp_path / "data")
    assert "--annotations" in caught.value.hint
    assert len(hmdb51(tmp_path / "data", annotations=tmp_path / "lists").videos) == 10


def test_a_part_of_the_classes(tmp_path: Path) -> None:
    """Half a data set must be usable, and be told from a whole one."""
    make_hmdb51(tmp_path, classes=("wave", "brush_hair", "catch", "cartwheel"))
    shutil.rmtree(tmp_path / "hmdb51_org/catch")
    shutil.rmtree(tmp_path / "hmdb51_org/brush_hair")
    listing = hmdb51(tmp_path)
    assert listing.classes == ("cartwheel", "wave")
    assert listing.rejected == ()
    assert "2 of 4 classes of the split have no videos here: brush_hair, catch." in listing.notes


def test_archives_that_are_still_packed(tmp_path: Path) -> None:
    """The download is an archive of archives; the commonest first mistake."""
    make_hmdb51(tmp_path)
    shutil.rmtree(tmp_path / "hmdb51_org/wave")
    touch(tmp_path / "hmdb51_org", "wave.rar", "brush_hair.rar")
    (note,) = [note for note in hmdb51(tmp_path).notes if "archive" in note]
    assert "unrar x" in note and "wave.rar" in note and "brush_hair" not in note
    shutil.rmtree(tmp_path / "hmdb51_org/brush_hair")
    with pytest.raises(DataError) as caught:
        hmdb51(tmp_path)
    assert ".rar" in caught.value.problem and "unrar x" in caught.value.hint


def test_what_is_not_here_and_what_is_not_listed(tmp_path: Path) -> None:
    """A broken copy must be noticed, and stray files must not become training data."""
    source = make_hmdb51(tmp_path)
    gone = next((source / "hmdb51_org/wave").glob("*_0.avi"))
    gone.unlink()
    touch(source / "hmdb51_org", "wave/stray.avi", "brush_hair/stray2.avi")
    listing = hmdb51(source)
    assert listing.rejected == ((f"wave/{gone.name}", "the split names it, but it is not here"),)
    assert "2 videos here are not in the split lists and not used." in listing.notes
    assert len(listing.videos) == 9


def test_class_without_training_videos_is_left_out(tmp_path: Path) -> None:
    """Otherwise prepare would decode for an hour and then stop for want of them."""
    source = make_hmdb51(tmp_path)
    for path in (source / "hmdb51_org/wave").iterdir():
        if path.stem[-1] not in "03":
            path.unlink()
    listing = hmdb51(source)
    assert listing.classes == ("brush_hair",)
    assert any("wave" in note and "no training videos" in note for note in listing.notes)
    for path in (source / "hmdb51_org/brush_hair").iterdir():
        if path.stem[-1] in "03":
            path.unlink()
    with pytest.raises(DataError, match="for testing"):
        hmdb51(source)


def test_one_name_in_two_classes(tmp_path: Path) -> None:
    """A name is unique within its class only; the video must come from the folder of its class."""
    for name in ("a", "b"):
        touch(tmp_path, f"{name}/same.avi", f"{name}/test.avi")
        write_lines(tmp_path / f"{name}_test_split1.txt", ["same.avi 1", "test.avi 2"])
    listing = hmdb51(tmp_path)
    assert {(v.name, v.label) for v in listing.videos} == {
        ("a/same.avi", 0), ("a/test.avi", 0), ("b/same.avi", 1), ("b/test.avi", 1)
    }  # fmt: skip
    assert listing.rejected == ()


@pytest.mark.parametrize("videos", ["frames", "jpegs_112/deeper", "."])
def test_folders_of_frames(tmp_path: Path, videos: str) -> None:
    """Frames that were extracted once, in class folders or flat."""

    def flat(path: Path) -> Path:
        return frame_folder(path.parents[1] / path.name if videos != "frames" else path)

    listing = hmdb51(make_hmdb51(tmp_path, flat, videos=videos))
    assert Counter(video.split for video in listing.videos) == {"train": 6, "test": 4}
    assert all(video.path.is_dir() for video in listing.videos)


def test_missing_split_and_wrong_number(tmp_path: Path) -> None:
    source = make_hmdb51(tmp_path)
    for path in (source / "testTrainMulti_7030_splits").glob("*split3.txt"):
        path.unlink()
    with pytest.raises(DataError, match=r"split3.txt .only those of split 1, 2"):
        hmdb51(source, split=3)
    for wrong in (0, 4, -1):
        with pytest.raises(UsageError, match="no split"):
            hmdb51(source, split=wrong)


@pytest.mark.parametrize("line", ["a.avi", "a.avi 3", "1", "a.avi one", "a.avi 1 x"])
def test_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    """The user must find the line without opening 153 files."""
    source = make_hmdb51(tmp_path)
    write_lines(source / "testTrainMulti_7030_splits/wave_test_split1.txt", ["x.avi 1", "", line])
    with pytest.raises(DataError, match=r"wave_test_split1.txt, line 3: "):
        hmdb51(source)


@given(content=st.one_of(st.binary(max_size=80), st.text(alphabet="a.vi 012\t\n\r#[\0\x85", max_size=60)))
def test_any_bytes_as_a_split_file(tmp_path_factory: pytest.TempPathFactory, content: bytes | str) -> None:
    """A file that is something else must give an error in plain words, never a traceback."""
    path = empty(tmp_path_factory.getbasetemp() / "fuzz/wave_test_split1.txt")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        wanted = _read_file("wave", AnnotationFile(path.name, path))
    except DataError as error:
        assert "\n" not in error.problem + error.hint
    else:
        assert {want.split for want in wanted} <= {"train", "test", "unused"}
