"""Which videos are found, and how they are split."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.decode import DecodedVideo, read_video
from engine.data.layouts import LAYOUTS, LayoutOptions, Listing, VideoEntry, list_videos
from engine.data.layouts.base import distinct, natural_key
from engine.data.layouts.frames import frame_files
from engine.data.layouts.holdout import hold_out
from engine.data.sampling import Sampling
from engine.errors import DataError, UsageError
from engine.text import one_line, readable
from tests.layouts import MAKERS, Write, frame_folder, make_folders, make_hmdb51, make_ucf101, real_video, touch
from tests.videos import ramp_numbers


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


def test_what_is_inside_a_folder_of_frames_is_no_video(tmp_path: Path) -> None:
    """Thumbnails and flow beside the frames would be videos of their own."""
    touch(tmp_path, "a/clip/1.jpg", "a/clip/2.jpg", "a/clip/flow/1.png", "a/clip/n_frames", "b/deep/er/1.mp4")
    assert names(list_videos("folders", tmp_path)) == {"a/clip", "b/deep/er/1.mp4"}


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
    """train/ alone, or test/ and val/, must not become classes of that name."""
    touch(tmp_path, "test/a/1.mp4", "val/a/1.mp4")
    with pytest.raises(DataError, match="no train/"):
        list_videos("folders", tmp_path)


@pytest.mark.parametrize(
    ("train", "test", "val"),
    [
        ("Train", "Test", "Val"),
        ("TRAIN", "TEST", "VALID"),
        ("training", "testing", "validation"),
        ("train_set", "test_set", "val-set"),
        ("trainset", "testset", "dev"),
        ("train-videos", "test-videos", "validation videos"),
    ],
)
@pytest.mark.parametrize("above", ["", "my-videos/", "archive/my-videos/"])
def test_split_folders_in_any_spelling(tmp_path: Path, above: str, train: str, test: str, val: str) -> None:
    """Otherwise the classes are Train and Test, and every network is right by chance."""
    for name in ("walk", "run"):
        touch(tmp_path, f"{above}{train}/{name}/1.mp4", f"{above}{test}/{name}/2.mp4", f"{above}{val}/{name}/3.mp4")
    listing = list_videos("folders", tmp_path)
    assert (listing.classes, listing.notes) == (("run", "walk"), ())
    assert {(video.split, video.name) for video in listing.videos} == {
        (split, f"{above}{folder}/{name}/{number}.mp4")
        for split, folder, number in (("train", train, 1), ("test", test, 2), ("val", val, 3))
        for name in ("walk", "run")
    }


@pytest.mark.parametrize("above", ["", "my-videos/"])
@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_validation_is_for_testing_where_there_is_no_test(tmp_path: Path, above: str, val: str) -> None:
    """As Kinetics' is; and two classes train and valid would be learned to no end."""
    touch(tmp_path, *(f"{above}{split}/{name}/1.mp4" for split in ("train", val) for name in ("walk", "run")))
    listing = list_videos("folders", tmp_path)
    assert listing.classes == ("run", "walk")
    assert {(video.split, video.name.removeprefix(above).split("/")[0]) for video in listing.videos} == {
        ("train", "train"), ("test", val)
    }  # fmt: skip
    assert listing.notes == (f"{val}/ is the test split: there is no test/.",)


def test_a_class_whose_accents_are_spelt_in_two_ways(tmp_path: Path) -> None:
    """Half of a data set was copied by way of macOS: test/ had a class that train/ has not."""
    touch(tmp_path, "train/caf\u00e9/1.mp4", "test/cafe\u0301/2.mp4")
    listing = list_videos("folders", tmp_path)
    assert (listing.classes, len(listing.videos)) == (("caf\u00e9",), 2)


def test_a_folder_around_the_classes(tmp_path: Path) -> None:
    """As archives unpack to; it would be the only class."""
    touch(tmp_path / "1", "mine/walk/1.mp4", "mine/walk/2.mp4", "mine/run/1.mp4")
    assert list_videos("folders", tmp_path / "1").classes == ("run", "walk")
    touch(tmp_path / "2", "walk/1/1.jpg", "walk/2/1.jpg", "walk/3/1.jpg")  # a class of three videos
    listing = list_videos("folders", tmp_path / "2")
    assert (listing.classes, len(listing.videos)) == (("walk",), 3)
    assert "There is only one class, walk. Is --source the folder above" in listing.notes[0]


def test_classes_with_the_same_folders_are_remarked_on(tmp_path: Path) -> None:
    """Then the level above was probably taken for the classes: people, cameras, folds."""
    touch(tmp_path / "1", *(f"{person}/{name}/1.mp4" for person in ("p1", "p2") for name in ("walk", "run")))
    (note,) = list_videos("folders", tmp_path / "1").notes
    assert "(p1, p2) has the same folders in it (run, walk)" in note
    touch(tmp_path / "2", *(f"{name}/{clip}/1.jpg" for name in ("walk", "run") for clip in ("1", "2")))
    assert list_videos("folders", tmp_path / "2").notes == ()  # folders of frames are called alike everywhere


def test_what_no_person_put_there_is_passed_over(tmp_path: Path) -> None:
    """Thumbnails of a storage device and deleted files became classes and videos."""
    touch(tmp_path, *(f"{name}/{number}.mp4" for name in "ab" for number in range(3)))
    expected = names(list_videos("folders", tmp_path))
    touch(tmp_path, "@eaDir/a/SYNOPHOTO_THUMB_M.jpg", "a/@eaDir/0.mp4/SYNOVIDEO_SCREENSHOT.jpg", "#recycle/old.mp4")
    touch(tmp_path, "$RECYCLE.BIN/x.mp4", "lost+found/1.mp4", "System Volume Information/1.mp4", "__MACOSX/a/1.mp4")
    listing = list_videos("folders", tmp_path)
    assert (names(listing), listing.classes, listing.notes) == (expected, ("a", "b"), ())


def test_our_own_outputs_in_the_source_are_passed_over(tmp_path: Path) -> None:
    """`vdtui prepare folders --source .`: the second time, the unfinished work of the first was a class."""
    touch(tmp_path, *(f"{name}/{number}.mp4" for name in "ab" for number in range(3)))
    expected = list_videos("folders", tmp_path)
    touch(tmp_path, "mine.h5", "mine.h5.partial/clips.raw", "mine.h5.partial/videos.jsonl", "mine.h5.partial/lock")
    touch(tmp_path, "runs/first/preset.toml", "runs/first/previews/1.png", "runs/first/status.json")
    assert list_videos("folders", tmp_path) == expected


def test_videos_that_lie_where_none_is_looked_for_are_told(tmp_path: Path) -> None:
    """Half of a data set may be left out because it was never sorted in."""
    touch(tmp_path, "a/1.mp4", "a/2.mp4", "b/1.mp4", "stray.mp4", "c/1.jpg", "c/2.jpg")
    notes = list_videos("folders", tmp_path).notes
    assert "1 video lies beside the class folders and in none, and not used: stray.mp4." in notes
    assert any(note.startswith("2 images lie right in the folder of a class") for note in notes)
    touch(tmp_path / "s", "train/a/1.mp4", "test/a/1.mp4", "extra/a/1.mp4")
    assert (
        "Beside the folders of the split, 1 folder is not read: extra." in list_videos("folders", tmp_path / "s").notes
    )


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
    assert "\n" not in caught.value.problem + caught.value.hint
    assert caught.value.details.startswith("Expected:\n  SOURCE/\n    <class>/\n")


def test_symlink_loops_end(tmp_path: Path) -> None:
    """A link to a parent folder must not hang, nor count videos of one class in another."""
    touch(tmp_path, "a/1.mp4", "b/1.mp4")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/self").symlink_to(tmp_path / "a")
    (tmp_path / "b/broken").symlink_to(tmp_path / "b/broken")
    assert names(list_videos("folders", tmp_path)) == {"a/1.mp4", "b/1.mp4"}


def test_linked_folders_are_followed_if_asked_to(tmp_path: Path) -> None:
    """Data sets are often assembled out of links to a shared disk."""
    touch(tmp_path, "disk/many/1.mp4", "source/b/1.mp4")
    (tmp_path / "source/a").symlink_to(tmp_path / "disk/many")
    listing = list_videos("folders", tmp_path / "source", LayoutOptions(follow_links=True))
    assert names(listing) == {"a/1.mp4", "b/1.mp4"}
    assert listing.root is None


def test_unknown_layout_lists_the_known() -> None:
    with pytest.raises(UsageError) as caught:
        list_videos("nope", Path())
    assert "folders" in caught.value.hint


@pytest.mark.parametrize("fraction", [1, -1, 2, float("nan")])
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
    videos = [VideoEntry(Path(f"{c}/{v}"), f"{c}/{v}", c, "train") for c, size in enumerate(sizes) for v in range(size)]
    options = LayoutOptions(fraction, seed=seed)
    split = {video.name: video.split for video in hold_out(videos, options)}
    shuffled = shuffle.sample(videos, len(videos))
    assert split == {video.name: video.split for video in hold_out(shuffled, options)}
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


def test_a_given_split_and_a_fraction_contradict_each_other(tmp_path: Path) -> None:
    """An option that is ignored silently is a wrong result later."""
    touch(tmp_path, "train/a/1.mp4", "test/a/2.mp4")
    with pytest.raises(UsageError, match="--test-fraction means nothing"):
        list_videos("folders", tmp_path, LayoutOptions(test_fraction=0.5))


@given(st.lists(st.binary(min_size=1, max_size=3) | st.sampled_from([b"\xff", b"\xfe", "\ufffd [2]".encode()])))
def test_names_stay_apart(raw: list[bytes]) -> None:
    """Two files whose names look the same once they are UTF-8 must not become one in fingerprints."""
    spelt = [os.fsdecode(name) for name in raw]
    shown = distinct(spelt)
    assert len(set(shown)) == len(spelt)
    for name, text in zip(spelt, shown, strict=True):
        text.encode()
        assert text.startswith(readable(name))
    assert sorted(distinct(spelt[::-1])) == sorted(shown)
    if len(set(spelt)) == len(spelt):
        assert distinct(spelt[::-1]) == shown[::-1]


def test_classes_and_videos_that_look_the_same_stay_apart(tmp_path: Path) -> None:
    """Old archives have Latin-1 names; two classes of one name would be one line in every report."""
    for label in (b"caf\xe9", b"caf\xe8"):
        for video in (b"\xe0.avi", b"\xe1.avi"):
            folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + label))
            folder.mkdir(exist_ok=True)
            Path(os.fsdecode(os.fsencode(folder) + b"/" + video)).write_bytes(b"x")
    listing = list_videos("folders", tmp_path)
    assert listing.classes == ("caf\ufffd", "caf\ufffd [2]")
    assert len({video.name for video in listing.videos}) == len({video.path for video in listing.videos}) == 4
    assert {video.path.parent for video in listing.videos if video.label == 0} == {
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe8"))
    }


def test_very_long_numbers_sort() -> None:
    """Python refuses to turn thousands of digits into a number."""
    assert natural_key("9" * 5000) < natural_key("1" + "0" * 5000)
    assert sorted(["a010", "a9", "a10", "a0"], key=natural_key) == ["a0", "a9", "a010", "a10"]


@pytest.mark.parametrize("option", ["test_fraction", "split", "unused", "annotations"])
def test_options_that_a_layout_does_not_read_are_refused(tmp_path: Path, option: str) -> None:
    """An option that is ignored silently is a wrong result later."""
    value = {"test_fraction": 0.5, "split": 1, "unused": "train", "annotations": tmp_path}[option]
    readers = [name for name, layout in LAYOUTS.items() if option in layout.options]
    assert readers
    for name in LAYOUTS.keys() - set(readers):
        with pytest.raises(UsageError) as caught:
            list_videos(name, tmp_path, LayoutOptions(**{option: value}))  # type: ignore[arg-type]
        assert caught.value.problem == f"--{option.replace('_', '-')} means nothing to {name}."
        assert ", ".join(readers) in caught.value.hint


@pytest.mark.parametrize("layout", MAKERS)
@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")])
def test_every_layout_shows_its_tree(tmp_path: Path, layout: str, make: object) -> None:
    """The user must learn what was expected without opening the manual."""
    make(tmp_path / "source")  # type: ignore[operator]
    with pytest.raises(DataError) as caught:
        list_videos(layout, tmp_path / "source")
    assert "\n" not in caught.value.problem + caught.value.hint
    tree = [f"  {line}" if line else "" for line in LAYOUTS[layout].tree.splitlines()]
    assert caught.value.details.splitlines() == ["Expected:", *tree]


@pytest.mark.parametrize("real", MAKERS)
@pytest.mark.parametrize("asked", MAKERS)
def test_the_wrong_layout_is_recognised(tmp_path: Path, asked: str, real: str) -> None:
    """Whoever mistakes one data set for another is told which it is, with the command to type."""
    MAKERS[real](tmp_path / "my data", lambda path: touch(path.parent, path.name))
    right = {"miniucf101": "ucf101"}.get(real, real)
    assert LAYOUTS[right].fits(tmp_path / "my data")
    if {"miniucf101": "ucf101"}.get(asked, asked) == right or asked == "folders":
        return
    with pytest.raises(DataError) as caught:
        list_videos(asked, tmp_path / "my data")
    command = f"vdtui prepare {right} --source '{tmp_path}/my data'"
    assert caught.value.hint.endswith(f"It looks like {LAYOUTS[right].title}: {command}")


def test_own_split_of_an_official_data_set_is_remarked_on(tmp_path: Path) -> None:
    """A split that is made here gives numbers that compare with nothing published."""
    make_hmdb51(tmp_path / "a", videos=".")
    (note,) = list_videos("folders", tmp_path / "a").notes
    assert note == f"It looks like HMDB51: vdtui prepare hmdb51 --source {tmp_path}/a uses its official split."
    assert list_videos("folders", make_folders(tmp_path / "b")).notes == ()


@pytest.mark.parametrize("layout", LAYOUTS)
@given(name=st.binary(min_size=1, max_size=20))
def test_fits_never_raises(tmp_path_factory: pytest.TempPathFactory, layout: str, name: bytes) -> None:
    """It is asked while another error is being explained."""
    base = tmp_path_factory.getbasetemp()
    for source in (base / os.fsdecode(name), Path(os.fsdecode(name) * 1000), Path("/proc/self/mem"), Path("/dev/null")):
        assert LAYOUTS[layout].fits(source) in (True, False)


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a data set must not be taken for all of it because a folder has the wrong permissions."""
    make_ucf101(tmp_path)
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("Archery"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"Cannot list .*Archery: Permission denied"):
        list_videos("ucf101", tmp_path)


@pytest.mark.parametrize("layout", MAKERS)
@pytest.mark.parametrize("write", [real_video, frame_folder])
def test_what_is_listed_can_be_decoded(tmp_path: Path, layout: str, write: Write) -> None:
    """A path that the decoder refuses (relative, through a link, with odd characters) is a video lost."""
    if layout == "table":

        def write_as_named(path: Path) -> None:  # a table says mp4, whatever that is
            write(path)
            path.with_suffix("").rename(path)

        MAKERS[layout](tmp_path / "source", write if write is real_video else write_as_named)
    else:
        MAKERS[layout](tmp_path / "source", write)
    (tmp_path / "link").symlink_to("source")
    listing = list_videos(layout, tmp_path / "link")
    assert {video.split for video in listing.videos} == {"train", "test"}
    for video in listing.videos[:2]:
        decoded = read_video(video, Sampling(frames=3, size=32), listing.root)
        assert isinstance(decoded, DecodedVideo)
        assert decoded.length == (12 if write is real_video else 3)
        start = 10 + sum(video.path.name.encode()) % 80 if write is real_video else 10
        first = 4 if write is real_video else 0  # the middle three of twelve frames begin at the fourth
        assert ramp_numbers(decoded.clips[0], start) == [first, first + 1, first + 2]
