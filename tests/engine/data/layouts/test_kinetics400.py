"""Kinetics-400: incomplete downloads, names with and without times, lists of several origins."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.decode import DecodedVideo, SkippedVideo, read_video
from engine.data.layouts import LAYOUTS, LayoutOptions, Listing, VideoEntry, list_videos
from engine.data.layouts.annotations import AnnotationFile
from engine.data.layouts.kinetics400 import _read_file
from engine.data.sampling import Placement, Sampling
from engine.errors import DataError
from tests.layouts import empty, frame_folder, kinetics_row, make_kinetics400, touch, write_lines
from tests.videos import grey_ramp, ramp_numbers, write_video

HEADER = "label,youtube_id,time_start,time_end,split"


def kinetics(source: Path, **options: object) -> Listing:
    return list_videos("kinetics400", source, LayoutOptions(**options))  # type: ignore[arg-type]


def names(listing: Listing, split: str) -> set[str]:
    return {video.name for video in listing.videos if video.split == split}


@pytest.mark.parametrize("videos", ["{split}/{label}", "{split}", "{label}", ".", "k400/videos_{split}"])
@pytest.mark.parametrize("write", [empty, frame_folder])
def test_found_wherever_it_lies(tmp_path: Path, videos: str, write: object) -> None:
    """Every downloader sorts the videos its own way."""
    listing = kinetics(make_kinetics400(tmp_path, write, videos))  # type: ignore[arg-type]
    assert listing.classes == ("air drumming", "zumba")
    assert Counter((v.label, v.split) for v in listing.videos) == {
        (0, "train"): 2, (0, "test"): 1, (1, "train"): 2, (1, "test"): 1
    }  # fmt: skip
    assert all(video.path.exists() for video in listing.videos)
    assert set(listing.missing) == {
        f"-{name}_000000{number}_000005_000015.mp4" for name in ("air", "zum") for number in (2, 4)
    }
    assert listing.rejected == ()
    assert listing.notes == (
        "The validation videos are the test split: there are no labelled test videos.",
        "2 rows have no label in the split files; not used.",
    )
    layout = LAYOUTS["kinetics400"]
    assert (layout.frames, layout.size, layout.fps) == (8, 64, 2)


def test_labelled_test_videos_stay_apart_from_validation(tmp_path: Path) -> None:
    """Whoever has the test videos wants validation for choosing, as it is meant."""
    make_kinetics400(tmp_path)
    write_lines(
        tmp_path / "test.csv", [HEADER, kinetics_row("zumba", "T1", "test"), kinetics_row("zumba", "T2", "test")]
    )
    listing = kinetics(tmp_path)
    assert "none of the 2 labelled test videos is here" in listing.notes[0]
    assert not any(name.startswith("T") for name in listing.missing)
    touch(tmp_path, "test/T1_000005_000015.mp4")
    listing = kinetics(tmp_path)
    assert names(listing, "test") == {"test/T1_000005_000015.mp4"}
    assert len(names(listing, "val")) == 2
    assert "T2_000005_000015.mp4" in listing.missing
    assert listing.notes == ()


def test_lists_of_all_origins(tmp_path: Path) -> None:
    """Columns in other orders, more of them, Windows' line ends, other names; the split column wins."""
    touch(tmp_path, "a_000001_000011.mp4", "_b_000100_000110.webm", "-c.mkv", "dd_000000_000010.mp4")
    rows = ["is_cc,split,time_end,youtube_id,Label,time_start", "0,train,11,a,x,1", "", '0,validate,110.0,_b,"x",100.0']
    write_lines(tmp_path / "annotations/kinetics-400_train.csv", rows, "\r\n")
    path = tmp_path / "annotations/kinetics400-val.csv"
    path.write_bytes("\ufefflabel,youtube_id,time_start,time_end\nx,-c,3,13\nx,dd,0,10\n".encode())
    listing = kinetics(tmp_path)
    assert names(listing, "train") == {"a_000001_000011.mp4"}
    assert names(listing, "test") == {"_b_000100_000110.webm", "-c.mkv", "dd_000000_000010.mp4"}


def test_one_list_under_two_names(tmp_path: Path) -> None:
    """Mirrors ship val.csv and validate.csv; the second is no reason to reject every video."""
    make_kinetics400(tmp_path)
    (tmp_path / "kinetics_val.csv").write_bytes((tmp_path / "validate.csv").read_bytes())
    assert kinetics(tmp_path).rejected == ()


def test_doubles(tmp_path: Path) -> None:
    """Training on validation videos makes results that are too good."""
    touch(tmp_path, "a_000005_000015.mp4", "b_000005_000015.mp4", "c_000005_000015.mp4", "p.mp4")
    train = [kinetics_row("x", name, "train") for name in ("a", "a", "b", "c")]
    plain = [kinetics_row("x", "p", "train", start) for start in (1, 30)]
    write_lines(tmp_path / "train.csv", [HEADER, *train, *plain])
    write_lines(tmp_path / "val.csv", [HEADER, kinetics_row("x", "b", "val")])
    listing = kinetics(tmp_path)
    assert names(listing, "test") == {"b_000005_000015.mp4"}
    cut = {"p.mp4@1-11", "p.mp4@30-40"}  # two stretches of one file
    assert names(listing, "train") == {"a_000005_000015.mp4", "c_000005_000015.mp4", *cut}
    assert sorted(listing.rejected) == [
        ("a_000005_000015.mp4", "listed twice in train"),
        ("b_000005_000015.mp4", "in train and in test; used for testing only"),
    ]


@pytest.mark.parametrize(
    "file",
    ["{id}_000059_000069", "{id}_59_69", "{id}-59-69", "{id}_59.0_69.0", "{id}_000059", "{id}_59", "{id}",
     "A film [{id}]", "A film-{id}"],
)  # fmt: skip
def test_names_of_all_downloaders(tmp_path: Path, file: str) -> None:
    """Each tool has its own spelling of the seconds; all videos were missing."""
    for id in ("-3B32lodo2M", "a_1-2_34567"):
        touch(tmp_path, f"{file.format(id=id)}.mp4")
    write_lines(tmp_path / "train.csv", [HEADER, kinetics_row("x", "-3B32lodo2M", "train", 59)])
    write_lines(tmp_path / "val.csv", [HEADER, kinetics_row("x", "a_1-2_34567", "val", 59)])
    listing = kinetics(tmp_path)
    assert names(listing, "train") == {f"{file.format(id='-3B32lodo2M')}.mp4"}
    assert names(listing, "test") == {f"{file.format(id='a_1-2_34567')}.mp4"}
    assert not any("not in the split lists" in note for note in listing.notes)
    untimed = file in ("{id}", "A film [{id}]", "A film-{id}")
    assert {video.within for video in listing.videos} == {(59, 69) if untimed else None}


@pytest.mark.parametrize(
    ("seconds", "start", "expected"),
    [
        (40, 20, range(20, 30)),  # the whole video
        (10, 59, range(10)),  # cut, and named without its seconds
        (11, 3, range(11)),
        (13, 59, range(13)),  # cut at key frames
        (30, 59, None),  # neither
    ],
)
def test_a_longer_file_is_cut_as_its_row_says(tmp_path: Path, seconds: int, start: int, expected: range | None) -> None:
    """Clips of whole videos showed their middle, which is anything but the action."""
    path = write_video(tmp_path / "v.mp4", grey_ramp(2 * seconds, step=3), fps=2)
    entry = VideoEntry(path, "v.mp4", 0, "train", within=(start, start + 10))
    found = read_video(entry, Sampling(2, 32, train=Placement("sliding", None, 1)))
    if expected is None:
        assert isinstance(found, SkippedVideo)
        assert found.reason == "it is 30 s long, neither cut to 59-69 s nor reaching that"
        return
    assert isinstance(found, DecodedVideo)
    assert found.length == 2 * len(expected)
    assert ramp_numbers(found.clips[0], step=3)[0] == 2 * expected[0]
    assert bool(found.rules) == (expected[0] > 0)  # what was right before keeps its fingerprint


def test_ids_differ_by_case(tmp_path: Path) -> None:
    """YouTube's names do; the wrong video would get the label."""
    touch(tmp_path, "AbC_000005_000015.mp4", "v_000005_000015.mp4")
    rows = [kinetics_row("x", "abc", "train"), kinetics_row("y", "AbC", "train")]
    write_lines(tmp_path / "train.csv", [HEADER, *rows])
    write_lines(tmp_path / "val.csv", [HEADER, kinetics_row("y", "v", "val")])
    listing = kinetics(tmp_path)
    assert listing.classes == ("y",)
    assert listing.missing == ("abc_000005_000015.mp4",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: there is no column 'youtube_id'"),
        ("label,youtube_id,time_start\nx,a,1", "line 1: there is no column 'time_end'"),
        ("youtube_id,time_start,time_end\na,1,2", "line 1: there is no column 'label'"),
        (HEADER + ",split\n", "line 1: column 'split' is there twice"),
        (f"{HEADER}\n\nx,a,one,2,train", "line 3: 'one' is no time"),
        (f"{HEADER}\nx,a,nan,2,train", "line 2: 'nan' is no time"),
        (f"{HEADER}\nx,a,-1,2,train", "line 2: '-1' is no time"),
        (f"{HEADER}\nx,a,1,1e99,train", "line 2: '1e99' is no time"),
        (f"{HEADER}\nx,,1,2,train", "line 2: there is no youtube_id"),
        (f"{HEADER}\nx,a,1,2,trian", "line 2: there is no split 'trian'"),
        (f"{HEADER}\nx,a,1,2,train,more", "line 2: 6 cells for 5 columns"),
        ("\udcff", "line 1: it is not UTF-8"),
    ],
)
def test_malformed_line_is_named(tmp_path: Path, text: str, said: str) -> None:
    """The user must find the line in a list of 240,000."""
    make_kinetics400(tmp_path)
    (tmp_path / "train.csv").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError) as caught:
        kinetics(tmp_path)
    assert f"train.csv, {said}" in caught.value.problem


def test_nothing_downloaded_yet(tmp_path: Path) -> None:
    """An empty download folder is a mistake, not a data set with 240,000 missing videos."""
    make_kinetics400(tmp_path)
    for path in tmp_path.rglob("*.mp4"):
        path.unlink()
    with pytest.raises(DataError, match="None of the 10 videos"):
        kinetics(tmp_path)
    (tmp_path / "train.csv").unlink()
    with pytest.raises(DataError, match=r"no train\.csv"):
        kinetics(tmp_path)


CELLS = st.text(alphabet='aé1-.,"\n\r\t train', max_size=6) | st.sampled_from(["train", "val", "1", "9"])


@given(rows=st.lists(st.lists(CELLS, max_size=7), max_size=4), raw=st.binary(max_size=60), start=st.booleans())
def test_any_list(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], raw: bytes, start: bool) -> None:
    """A file that is something else must give an error in plain words, never a traceback."""
    path = empty(tmp_path_factory.getbasetemp() / "fuzz/train.csv")
    text = io.StringIO()
    csv.writer(text).writerows([HEADER.split(",") if start else [], *rows])
    path.write_bytes(text.getvalue().encode() + raw)
    try:
        read = _read_file(AnnotationFile(path.name, path), "train")
    except DataError as error:
        assert "\n" not in error.problem + error.hint
    else:
        assert all(row.video and row.start >= 0 and row.split in ("train", "val", "test") for row in read)
