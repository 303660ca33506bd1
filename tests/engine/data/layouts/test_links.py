"""Links: what leads out of the source is never read, what stays inside is, and loops end. In every layout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.data.layouts import LayoutOptions, list_videos
from engine.errors import DataError
from tests.layouts import MAKERS, empty, make_folders, make_hmdb51, make_ucf101, touch

FOLLOW = LayoutOptions(follow_links=True)

REASONS = {
    "a link out of the source folder; --follow-links reads it",
    "it lies outside of the source folder; --follow-links reads it",
}


def video_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".avi", ".mp4", ".webm"))


@pytest.mark.parametrize("layout", MAKERS)
def test_a_file_behind_a_link_out_of_the_source(tmp_path: Path, layout: str) -> None:
    """A data set from elsewhere could otherwise hold a link to anything that the user may read."""
    source = MAKERS[layout](tmp_path / "source", empty)
    whole = list_videos(layout, source)
    chosen = min((v for v in whole.videos if v.split == "train"), key=lambda v: v.name)
    (tmp_path / "out").mkdir()
    chosen.path.rename(tmp_path / "out/secret.bin")
    chosen.path.symlink_to(tmp_path / "out/secret.bin")
    listing = list_videos(layout, source)
    assert {video.path for video in listing.videos} == {video.path for video in whole.videos} - {chosen.path}
    ((name, reason),) = listing.rejected
    assert name == chosen.name and reason in REASONS
    assert listing.root == source.resolve()
    assert listing.missing == whole.missing
    followed = list_videos(layout, source, FOLLOW)
    assert {video.path for video in followed.videos} == {video.path for video in whole.videos}
    assert (followed.root, followed.rejected) == (None, ())


@pytest.mark.parametrize("layout", MAKERS)
def test_links_inside_the_source(tmp_path: Path, layout: str) -> None:
    """Many sort a pool of files by links; those are as good as files."""
    source = MAKERS[layout](tmp_path / "source", empty)
    whole = list_videos(layout, source)
    for number, path in enumerate(video_files(source)):
        pool = source / ".pool" / f"{number:05d}"
        pool.parent.mkdir(exist_ok=True)
        path.rename(pool)
        path.symlink_to(os.path.relpath(pool, path.parent))
    listing = list_videos(layout, source)
    assert {video.path for video in listing.videos} == {video.path for video in whole.videos}
    assert listing.rejected == ()


@pytest.mark.parametrize("layout", MAKERS)
def test_the_source_itself_may_be_a_link(tmp_path: Path, layout: str) -> None:
    """Data lies on another disk, and ~/data leads there."""
    source = MAKERS[layout](tmp_path / "real", empty)
    (tmp_path / "link").symlink_to(source)
    listing = list_videos(layout, tmp_path / "link")
    direct = list_videos(layout, source)
    assert {video.name for video in listing.videos} == {video.name for video in direct.videos}
    assert listing.root == source.resolve()
    assert (listing.rejected, listing.dataset) == ((), direct.dataset)


@pytest.mark.parametrize("layout", MAKERS)
@pytest.mark.parametrize("options", [LayoutOptions(), FOLLOW])
def test_loops_end(tmp_path: Path, layout: str, options: LayoutOptions) -> None:
    """A link to a folder above must not hang, nor find everything again."""
    source = MAKERS[layout](tmp_path / "source", empty)
    whole = list_videos(layout, source)
    for folder in {path.parent for path in video_files(source)}:
        (folder / "aa-up").symlink_to(source)
        (folder / "itself").symlink_to("itself")
        (folder / "broken").symlink_to("nowhere")
    listing = list_videos(layout, source, options)
    assert {video.name for video in listing.videos} == {video.name for video in whole.videos}
    assert listing.rejected == ()


def test_many_links_among_folders_end_soon(tmp_path: Path) -> None:
    """Twenty folders with links to each other have more paths than there is time."""
    make_ucf101(tmp_path)
    for first in range(20):
        touch(tmp_path, f"x/{first}/stray.avi")
    for first in range(20):
        for second in range(20):
            (tmp_path / f"x/{first}/to{second}").symlink_to(tmp_path / f"x/{second}")
    listing = list_videos("ucf101", tmp_path)
    assert len(listing.videos) == 12
    assert listing.notes == ("20 videos here are not in the split lists and not used.",)


def test_a_class_behind_a_link_out_of_the_source(tmp_path: Path) -> None:
    """A class must not vanish without a word."""
    source = make_folders(tmp_path / "source")
    touch(tmp_path, "out/1.mp4", "out/2.mp4")
    (source / "jump").symlink_to(tmp_path / "out")
    (source / "run/more").symlink_to(tmp_path / "out")
    listing = list_videos("folders", source)
    assert listing.classes == ("run", "walk") and len(listing.videos) == 8
    assert {name for name, reason in listing.rejected if reason in REASONS} == {"jump", "run/more"}
    assert listing.notes == (
        "2 folders are not read, being behind links out of the source: jump, run/more; --follow-links reads them.",
    )
    assert list_videos("folders", source, FOLLOW).classes == ("jump", "run", "walk")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_given_split_behind_a_link(tmp_path: Path, split: str) -> None:
    """The other folders would be taken for classes."""
    others = {"train", "val", "test"} - {split}
    touch(tmp_path, "out/a/0.mp4", *(f"source/{other}/a/{other}.mp4" for other in others))
    (tmp_path / "source" / split).symlink_to(tmp_path / "out")
    with pytest.raises(DataError, match=f"{split}/ in .* is a link") as caught:
        list_videos("folders", tmp_path / "source")
    assert "--follow-links" in caught.value.hint
    assert len(list_videos("folders", tmp_path / "source", FOLLOW).videos) == 3


@pytest.mark.parametrize("linked", ["UCF-101", "ucfTrainTestlist"])
def test_an_official_folder_behind_a_link(tmp_path: Path, linked: str) -> None:
    """A folder of links is a natural way to put videos and lists side by side."""
    make_ucf101(tmp_path / "real")
    (tmp_path / "source").mkdir()
    for name in ("UCF-101", "ucfTrainTestlist"):
        place = tmp_path / "source" / name
        if name == linked:
            place.symlink_to(tmp_path / "real" / name)
        else:
            (tmp_path / "real" / name).rename(place)
    with pytest.raises(DataError) as caught:
        list_videos("ucf101", tmp_path / "source")
    assert caught.value.hint.startswith(f"{linked} is a link out of the source folder; --follow-links reads it.")
    assert len(list_videos("ucf101", tmp_path / "source", FOLLOW).videos) == 12


def test_split_files_behind_links_are_not_read(tmp_path: Path) -> None:
    """An error message would show a line of whatever they lead to."""
    make_hmdb51(tmp_path / "source")
    secret = tmp_path / "secret"
    secret.write_text("password 1234\n")
    split = tmp_path / "source/testTrainMulti_7030_splits/wave_test_split1.txt"
    split.unlink()
    split.symlink_to(secret)
    listing = list_videos("hmdb51", tmp_path / "source")
    assert listing.classes == ("brush_hair",)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/a_test_split1.txt").symlink_to(secret)
    with pytest.raises(DataError) as caught:
        list_videos("hmdb51", tmp_path / "source", LayoutOptions(annotations=tmp_path / "lists"))
    assert "a_test_split1.txt is a link" in caught.value.problem and "password" not in str(caught.value)
    (tmp_path / "source/clips.csv").symlink_to(secret)
    with pytest.raises(DataError, match=r"clips\.csv is a link"):
        list_videos("table", tmp_path / "source")


def test_doubles_among_own_videos(tmp_path: Path) -> None:
    """A link is the file it leads to: on both sides of a split it would be trained and tested on."""
    touch(tmp_path, "train/a/1.mp4", "train/a/2.mp4", "train/a/3.mp4", "test/a/4.mp4", "val/a/5.mp4")
    (tmp_path / "train/a/0.mp4").symlink_to("2.mp4")
    (tmp_path / "test/a/x.mp4").symlink_to("../../train/a/3.mp4")
    (tmp_path / "val/a/y.mp4").symlink_to("../../test/a/4.mp4")
    (tmp_path / "train/a/z.mp4").symlink_to("../../val/a/5.mp4")
    listing = list_videos("folders", tmp_path)
    assert {video.name for video in listing.videos} == {
        "train/a/1.mp4", "train/a/2.mp4", "test/a/4.mp4", "test/a/x.mp4", "val/a/5.mp4"
    }  # fmt: skip
    assert sorted(listing.rejected) == [
        ("train/a/0.mp4", "the same file as train/a/2.mp4, which is used"),
        ("train/a/3.mp4", "in train and in test; used for testing only"),
        ("train/a/z.mp4", "in train and in val; used for validation only"),
        ("val/a/y.mp4", "in val and in test; used for testing only"),
    ]


def test_a_second_name_for_a_video_is_no_duplicate(tmp_path: Path) -> None:
    """Views of the data made of links would make half of everything count as skipped."""
    source = make_ucf101(tmp_path / "source")
    (source / "view").mkdir()
    for path in video_files(source / "UCF-101"):
        (source / "view" / path.name).symlink_to(path)
    touch(tmp_path, "out/x.avi")
    (source / "view/v_Biking_g01_c01.mp4").symlink_to(tmp_path / "out/x.avi")
    (source / "a").symlink_to(source / "UCF-101")
    listing = list_videos("ucf101", source)
    assert {video.name.split("/")[0] for video in listing.videos} == {"UCF-101"}
    assert (listing.rejected, listing.notes) == ((), ())
