"""UCF101 and MiniUCF: lists with and without labels, spellings, flat folders of frames, a part of the classes."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.layouts import LayoutOptions, Listing, list_videos
from engine.data.layouts.annotations import AnnotationFile
from engine.data.layouts.ucf101 import MINIUCF_CLASSES, _read_classes, _read_list
from engine.errors import DataError
from tests.layouts import UCF_CLASSES, empty, frame_folder, make_ucf101, touch, write_lines


def ucf101(source: Path, layout: str = "ucf101", **options: object) -> Listing:
    return list_videos(layout, source, LayoutOptions(**options))  # type: ignore[arg-type]


def groups_for_testing(listing: Listing) -> set[tuple[str, str]]:
    """(class, group) of the test videos."""
    return {(listing.classes[v.label], v.path.stem[-7:-4]) for v in listing.videos if v.split == "test"}


@pytest.mark.parametrize("split", [1, 2, 3])
@pytest.mark.parametrize("videos", ["UCF-101/{label}", "{label}", "videos", ".", "a/b/c/{label}/d"])
def test_the_official_split_wherever_it_lies(tmp_path: Path, split: int, videos: str) -> None:
    """Numbers compare with published ones only if exactly the official videos are on either side."""
    listing = ucf101(make_ucf101(tmp_path, videos=videos), split=split)
    assert listing.classes == UCF_CLASSES
    assert groups_for_testing(listing) == {(name, f"g{split:02d}") for name in UCF_CLASSES}
    assert Counter(video.split for video in listing.videos) == {"train": 9, "test": 3}
    assert (listing.official_split, listing.dataset, listing.layout) == (split, "ucf101", "ucf101")
    assert (listing.rejected, listing.missing, listing.notes) == ((), (), ())


@pytest.mark.parametrize("videos", ["jpegs_112", "jpegs/{label}"])
def test_frames_are_found_by_the_same_names(tmp_path: Path, videos: str) -> None:
    """The reference code reads SOURCE/jpegs_112/v_..._c01/frame000001.jpg."""
    listing = ucf101(make_ucf101(tmp_path, frame_folder, videos=videos))
    assert Counter(video.split for video in listing.videos) == {"train": 9, "test": 3}
    assert all((video.path / "frame000001.jpg").is_file() for video in listing.videos)


def test_frames_beside_videos_are_no_duplicates(tmp_path: Path) -> None:
    """Many keep both; half of everything would count as skipped, and prepare would stop."""
    make_ucf101(tmp_path)
    make_ucf101(tmp_path, frame_folder, videos="jpegs")
    listing = ucf101(tmp_path)
    assert all(video.path.is_file() for video in listing.videos) and len(listing.videos) == 12
    assert listing.rejected == ()
    assert listing.notes == ("12 videos are here as folders of frames too; the video files are used.",)


def test_spelling_traps(tmp_path: Path) -> None:
    """The lists write HandstandPushups/v_HandStandPushups_..., and copies of the data either."""
    make_ucf101(tmp_path, classes=("HandstandPushups",))
    for path in (tmp_path / "UCF-101").rglob("*.avi"):
        path.rename(path.with_name(path.name.replace("Handstand", "HandStand")))
    listing = ucf101(tmp_path)
    assert len(listing.videos) == 4
    assert listing.classes == ("HandstandPushups",)
    assert listing.notes == ()


def test_label_order_is_that_of_class_ind(tmp_path: Path) -> None:
    """Labels of published models follow classInd.txt; sorting by name would swap classes."""
    make_ucf101(tmp_path, classes=("b", "a", "C"))
    order = ["3 a", "12 C", "1 b"]
    write_lines(tmp_path / "ucfTrainTestlist/classInd.txt", order)
    lists = tmp_path / "ucfTrainTestlist/trainlist01.txt"
    text = lists.read_text()
    for name, number in (("a", 3), ("C", 12), ("b", 1)):
        text = "\n".join(
            f"{line.rpartition(' ')[0]} {number}" if line.startswith(f"{name}/") else line for line in text.split("\n")
        )
    lists.write_text(text)
    listing = ucf101(tmp_path)
    assert listing.classes == ("b", "a", "C")
    assert all(video.name.split("/")[1] == listing.classes[video.label] for video in listing.videos)
    (tmp_path / "ucfTrainTestlist/classInd.txt").unlink()
    assert ucf101(tmp_path).classes == ("b", "a", "C")


def test_mini_is_the_fifty_classes(tmp_path: Path) -> None:
    """MiniUCF is a choice of UCF101; one class more or less and nothing compares."""
    assert len(set(MINIUCF_CLASSES)) == 50
    assert list(MINIUCF_CLASSES) == sorted(MINIUCF_CLASSES, key=str.casefold)
    listing = ucf101(make_ucf101(tmp_path), "miniucf101")
    assert listing.classes == ("ApplyEyeMakeup", "Biking")
    assert (listing.dataset, listing.official_split, len(listing.videos)) == ("miniucf101", 1, 8)
    (note,) = listing.notes  # that the third class of UCF101 is here is nothing to tell
    assert note.startswith("48 of 50 classes of the split have no videos here: BalanceBeam,")


def test_a_part_of_the_data(tmp_path: Path) -> None:
    """Half a data set must be usable, and be told from a whole one."""
    make_ucf101(tmp_path)
    shutil.rmtree(tmp_path / "UCF-101/Archery")
    (tmp_path / "UCF-101/Biking/v_Biking_g02_c01.avi").unlink()
    touch(tmp_path, "UCF-101/Biking/mine.avi")
    listing = ucf101(tmp_path)
    assert listing.classes == ("ApplyEyeMakeup", "Biking")
    assert listing.rejected == (("Biking/v_Biking_g02_c01.avi", "the split names it, but it is not here"),)
    assert listing.notes == (
        "1 of 3 classes of the split have no videos here: Archery.",
        "1 video here is not in the split lists and not used.",
    )


@pytest.mark.parametrize("name", ["trainlist01.txt", "testlist01.txt"])
def test_missing_or_empty_list(tmp_path: Path, name: str) -> None:
    path = make_ucf101(tmp_path) / "ucfTrainTestlist" / name
    path.write_bytes(b"\r\n")
    with pytest.raises(DataError, match=f"{name} is empty"):
        ucf101(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=f"There is no {name}"):
        ucf101(tmp_path)
    path.mkdir()
    with pytest.raises(DataError, match=f"There is no {name}"):
        ucf101(tmp_path)


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("trainlist01.txt", "v_Biking_g01_c01.avi 3", "CLASS/VIDEO"),
        ("trainlist01.txt", "Biking/ 3", "CLASS/VIDEO"),
        ("trainlist01.txt", "Biking/v_Biking_g07_c01.avi 2", "number 2 here and 3 before"),
        ("testlist01.txt", "Bikin/v_Biking_g07_c01.avi", "not in classInd.txt"),
        ("classInd.txt", "Biking", "new number"),
        ("classInd.txt", "4 Biking", "new number"),
        ("classInd.txt", "3 Cycling", "new number"),
    ],
)
def test_malformed_line_is_named(tmp_path: Path, name: str, line: str, said: str) -> None:
    """The user must find the line in a list of thousands."""
    path = make_ucf101(tmp_path) / "ucfTrainTestlist" / name
    before = path.read_text()
    path.write_text(f"{before}{line}\n")
    with pytest.raises(DataError, match=f"{name}, line {before.count(chr(10)) + 1}: .*{said}"):
        ucf101(tmp_path)


def test_the_same_video_on_both_sides(tmp_path: Path) -> None:
    """Training on test videos makes results that are too good, and nobody sees why."""
    lists = make_ucf101(tmp_path) / "ucfTrainTestlist"
    for name in ("trainlist01.txt", "testlist01.txt"):
        with (lists / name).open("a") as file:
            file.write("Archery/v_Archery_g01_c01.avi\nBiking/v_Biking_g02_c01.avi\n")
    listing = ucf101(tmp_path)
    sides = {video.path.name: video.split for video in listing.videos}
    assert sides["v_Archery_g01_c01.avi"] == sides["v_Biking_g02_c01.avi"] == "test"
    assert len(listing.videos) == 12
    archery, biking = "UCF-101/Archery/v_Archery_g01_c01.avi", "UCF-101/Biking/v_Biking_g02_c01.avi"
    both = "in train and in test; used for testing only"
    assert sorted(listing.rejected) == [
        (archery, both),
        (archery, "listed twice in test"),
        (biking, both),
        (biking, both),
    ]


def test_found_twice(tmp_path: Path) -> None:
    """Which copy is used must not depend on the disk."""
    make_ucf101(tmp_path, videos="b")
    touch(tmp_path, "a/v_Biking_g02_c01.avi", "b/v_Biking_g02_c01.mp4", "b/10/v_Biking_g03_c01.avi")
    listing = ucf101(tmp_path)
    assert sorted(listing.rejected) == [
        ("b/10/v_Biking_g03_c01.avi", "found twice; b/v_Biking_g03_c01.avi is used"),
        ("b/v_Biking_g02_c01.avi", "found twice; a/v_Biking_g02_c01.avi is used"),
        ("b/v_Biking_g02_c01.mp4", "found twice; a/v_Biking_g02_c01.avi is used"),
    ]


@given(content=st.one_of(st.binary(max_size=80), st.text(alphabet="aB/. 012\t\n\r\0\x85", max_size=60)))
def test_any_bytes_as_lists(tmp_path_factory: pytest.TempPathFactory, content: bytes | str) -> None:
    """A file that is something else must give an error in plain words, never a traceback."""
    path = empty(tmp_path_factory.getbasetemp() / "fuzz/list.txt")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    file = AnnotationFile(path.name, path)
    for read in (lambda: _read_classes(None, _read_list(file, "train")), lambda: _read_classes(file, [])):
        try:
            classes = read()
        except DataError as error:
            assert "\n" not in error.problem + error.hint
        else:
            assert classes
