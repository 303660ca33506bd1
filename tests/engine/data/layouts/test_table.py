"""Tables: formats, stretches of time, paths that lead elsewhere, rows that make no sense."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.decode import SkippedVideo, read_video
from engine.data.layouts import LayoutOptions, Listing, list_videos
from engine.data.layouts.annotations import AnnotationFile
from engine.data.layouts.table import _rows
from engine.data.sampling import Placement, Sampling
from engine.errors import DataError, UsageError
from tests.layouts import empty, frame_folder, make_table, touch, write_lines
from tests.videos import grey_ramp, ramp_numbers, write_video


def table(source: Path, **options: object) -> Listing:
    return list_videos("table", source, LayoutOptions(**options))  # type: ignore[arg-type]


def sides(listing: Listing) -> dict[str, tuple[str, str]]:
    return {video.name: (listing.classes[video.label], video.split) for video in listing.videos}


def test_source_may_be_the_file_or_its_folder(tmp_path: Path) -> None:
    """All three are natural to type."""
    make_table(tmp_path / "data")
    listing = table(tmp_path / "data/clips.csv")
    assert (listing.dataset, listing.classes) == ("clips", ("run", "walk"))
    expected = {
        f"videos/{label}{number}.mp4": (label, "test" if number == 2 else "train")
        for label in ("run", "walk")
        for number in range(3)
    }
    assert sides(listing) == expected
    assert table(tmp_path / "data").dataset == "data"
    assert sides(table(tmp_path / "data")) == expected
    (tmp_path / "data/clips.csv").rename(tmp_path / "other.csv")
    listing = table(tmp_path / "data", annotations=tmp_path / "other.csv")
    assert sides(listing) == expected and all(video.path.is_file() for video in listing.videos)


@pytest.mark.parametrize("name", ["t.csv", "t.TSV", "t.jsonl"])
def test_formats_agree(tmp_path: Path, name: str) -> None:
    """The same rows in any format are the same data set."""
    touch(tmp_path, "a b/1.mp4", "a b/2, x.mp4", "3.mp4")
    frame_folder(tmp_path / "4")
    rows = [
        ("a b/1.mp4", "10", "Train", "", ""),
        ("a b/2, x.mp4", "9", "training", "1.5", "3"),
        ("a b/2, x.mp4", "10", "validation", "3", ""),
        ("3.mp4", "9", "TEST", "", "2"),
        ("./4", "10", "test", "", ""),
    ]
    columns = ("path", "label", "split", "start", "end")
    if name.endswith("jsonl"):
        documents = [dict(zip(columns, row, strict=True)) for row in rows]
        for document in documents:
            document["label"] = int(document["label"])  # type: ignore[assignment]
            document["start"] = float(document["start"]) if document["start"] else None  # type: ignore[assignment]
        write_lines(tmp_path / name, ["", *map(json.dumps, documents)])
    elif name.endswith("csv"):
        quoted = [",".join(f'"{cell}"' if "," in cell else cell for cell in row) for row in rows]
        write_lines(tmp_path / name, [" Path ,LABEL,split,start,end", *quoted], "\r\n")
    else:
        write_lines(tmp_path / name, ["\t".join(columns), *("\t".join(row) for row in rows)])
    listing = table(tmp_path / name)
    assert listing.classes == ("9", "10")
    assert sides(listing) == {
        "a b/1.mp4": ("10", "train"),
        "a b/2, x.mp4@1.5-3": ("9", "train"),
        "a b/2, x.mp4@3-": ("10", "val"),
        "3.mp4@0-2": ("9", "test"),
        "4": ("10", "test"),
    }
    times = {video.name: (video.start, video.end) for video in listing.videos}
    assert times["a b/2, x.mp4@1.5-3"] == (1.5, 3) and times["a b/2, x.mp4@3-"] == (3, None)
    assert times["3.mp4@0-2"] == (None, 2) and times["4"] == (None, None)


@pytest.mark.parametrize("split", ["subset", "Set", "phase", "partition"])
@pytest.mark.parametrize("path", ["file", "video_path", "Filename", "clip"])
@pytest.mark.parametrize("label", ["class", "action", "Category"])
def test_columns_by_their_usual_names(tmp_path: Path, path: str, label: str, split: str) -> None:
    """A split in a column `subset` was ignored without a word, and another one was made."""
    touch(tmp_path, "1.mp4", "2.mp4")
    write_lines(tmp_path / "t.csv", [f"{path},{label},{split},fps,note", "1.mp4,a,test,25,", "2.mp4,a,training,25,x"])
    listing = table(tmp_path)
    assert sides(listing) == {"1.mp4": ("a", "test"), "2.mp4": ("a", "train")}
    assert listing.notes == ("Columns that are not read in t.csv: fps, note.",)


def test_what_json_lines_name_and_nobody_reads_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "1.mp4", "2.mp4")
    rows = [{"path": "1.mp4", "label": "a"}, {"path": "2.mp4", "label": "a", "crop": [1, 2], "subset": None}]
    write_lines(tmp_path / "t.jsonl", map(json.dumps, rows))
    assert table(tmp_path).notes == ("A column that is not read in t.jsonl: crop.",)


@pytest.mark.parametrize(
    ("start", "end"),
    [("start_time", "end_time"), ("t_start", "t_end"), ("begin", "stop"), ("time_start", "time_end")],
)
def test_stretches_by_their_usual_names(tmp_path: Path, start: str, end: str) -> None:
    """Whole videos were used in their place."""
    touch(tmp_path, "1.mp4", "2.mp4")
    write_lines(tmp_path / "t.csv", [f"path,label,{start},{end}", "1.mp4,a,0.1,0.3", "2.mp4,a,1:02.5,1:00:03"])
    listing = table(tmp_path)
    assert {video.name: (video.start, video.end) for video in listing.videos} == {
        "1.mp4@0.1-0.3": (0.1, 0.3), "2.mp4@62.5-3603": (62.5, 3603)
    }  # fmt: skip
    assert listing.notes == ()


def test_stretches_by_numbers_of_frames(tmp_path: Path) -> None:
    for name in ("1.mp4", "2.mp4"):
        write_video(tmp_path / name, grey_ramp(30))
    frame_folder(tmp_path / "3")
    lines = ["path,label,start_frame,end_frame", "1.mp4,a,10,18", "2.mp4,a,,4", "3,a,1,", "2.mp4,a,99,"]
    write_lines(tmp_path / "t.csv", lines)
    listing = table(tmp_path)
    assert listing.notes == ("Frames in t.csv are counted from 0, and end_frame is the first not shown.",)
    shown = {}
    for video in listing.videos:
        outcome = read_video(
            video, Sampling(2, 32, train=Placement("sliding", None, 2), test=Placement("sliding", None, 2))
        )
        shown[video.name] = (
            outcome.reason if isinstance(outcome, SkippedVideo) else (outcome.length, ramp_numbers(outcome.clips[0])[0])
        )
    assert shown == {
        "1.mp4#10-18": (8, 10), "2.mp4#0-4": (4, 0), "3#1-": (2, 1), "2.mp4#99-": "it has no frames from number 99 on"
    }  # fmt: skip
    write_lines(tmp_path / "t.csv", ["path,label,first_frame,last_frame", "1.mp4,a,10,17", "2.mp4,a,0,3"])
    listing = table(tmp_path)
    assert {video.frames for video in listing.videos} == {(10, 18), (0, 4)}
    assert "last_frame too" in listing.notes[0]


LISTS = {
    # a list as other trainers and spreadsheets write it: its suffix and lines
    "blanks": (".txt", ["v 1.mp4 0", "2.mp4 1", "3.mp4 0", "4.mp4 1"]),
    "commas": (".csv", ["v 1.mp4,0", "2.mp4,1", "3.mp4,0", "4.mp4,1"]),
    "blanks in a .csv": (".csv", ["v 1.mp4 0", "2.mp4 1", "3.mp4 0", "4.mp4 1"]),
    "semicolons": (".csv", ["path;label", "v 1.mp4;0", "2.mp4;1", "3.mp4;0", "4.mp4;1"]),
    "tabs in a .csv": (".csv", ["label\tpath", "0\tv 1.mp4", "1\t2.mp4", "0\t3.mp4", "1\t4.mp4"]),
    "bars": (".csv", ["path|label", "v 1.mp4|0", "2.mp4|1", "3.mp4|0", "4.mp4|1"]),
    "a header and blanks": (".txt", ["path label", "v 1.mp4 0", "2.mp4 1", "3.mp4 0", "4.mp4 1"]),
    "no suffixes": (".txt", ["v 1 0", "2 1", "3 0", "4 1"]),
    "numbers of frames": (".txt", ["v 1.mp4 30 0", "2.mp4 31 1", "3.mp4 9 0", "4.mp4 9 1"]),
    "a split": (".csv", ["v 1.mp4,0,train", "2.mp4,1,train", "3.mp4,0,test", "4.mp4,1,val"]),
}


@pytest.mark.parametrize("case", LISTS)
def test_lists_of_other_trainers(tmp_path: Path, case: str) -> None:
    """People have such lists already, and none of them has a column named path."""
    suffix, lines = LISTS[case]
    touch(tmp_path, "v 1.mp4", "2.mp4", "3.mp4", "4.mp4")
    listing = table(write_lines(tmp_path / f"t{suffix}", lines))
    assert {name: label for name, (label, _) in sides(listing).items()} == {
        "v 1.mp4": "0", "2.mp4": "1", "3.mp4": "0", "4.mp4": "1"
    }  # fmt: skip
    if case == "a split":
        assert {name: split for name, (_, split) in sides(listing).items()} == {
            "v 1.mp4": "train", "2.mp4": "train", "3.mp4": "test", "4.mp4": "val"
        }  # fmt: skip
    if case == "numbers of frames":
        assert listing.notes == (f"A column that is not read in t{suffix}: 2 (the number of frames).",)


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_table", ["NFC", "NFD"])
def test_accents_meet(tmp_path: Path, on_disk: Any, in_table: Any) -> None:
    """macOS takes letters and accents apart; every such video was missing, and every class there twice."""
    spelt = {form: unicodedata.normalize(form, "caf\N{LATIN SMALL LETTER E WITH ACUTE}") for form in ("NFC", "NFD")}
    touch(tmp_path, f"{spelt[on_disk]}.mp4", "2.mp4")
    name = spelt[in_table]
    other = spelt["NFC" if in_table == "NFD" else "NFD"]
    write_lines(tmp_path / "t.csv", ["path,label", f"{name}.mp4,{name}", f"2.mp4,{other}"])
    listing = table(tmp_path)
    assert (len(listing.videos), listing.classes, listing.rejected) == (2, (name,), ())


def test_slashes_of_windows(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "a/2.mp4")
    write_lines(tmp_path / "t.csv", ["path,label", "a\\1.mp4,x", "a/2.mp4,x"])
    assert set(sides(table(tmp_path))) == {"a/1.mp4", "a/2.mp4"}


def test_without_a_split_one_is_made(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{number}.mp4" for number in range(20)))
    write_lines(tmp_path / "t.csv", ["label,path", *(f"{number % 2},{number}.mp4" for number in range(20))])
    assert Counter((v.label, v.split) for v in table(tmp_path).videos) == {
        (0, "train"): 7, (0, "test"): 3, (1, "train"): 7, (1, "test"): 3
    }  # fmt: skip
    half = table(tmp_path, test_fraction=0.5)
    assert Counter(video.split for video in half.videos) == {"train": 10, "test": 10}
    assert sides(half) != sides(table(tmp_path, test_fraction=0.5, seed=1))


def test_stretches_of_one_file_are_on_one_side(tmp_path: Path) -> None:
    """Half of a scene for training and half for testing makes results that are too good."""
    touch(tmp_path, *(f"{number}.mp4" for number in range(5)))
    rows = [f"{number}.mp4,x,{start},{start + 5}" for number in range(5) for start in range(0, 40, 5)]
    write_lines(tmp_path / "t.csv", ["path,label,start,end", *rows])
    split: dict[Path, set[str]] = {}
    for video in table(tmp_path).videos:
        split.setdefault(video.path, set()).add(video.split)
    assert sorted(map(sorted, split.values())) == [["test"], ["test"], ["train"], ["train"], ["train"]]


def test_a_file_that_is_named_like_a_stretch(tmp_path: Path) -> None:
    """Two videos of one name would be one in fingerprints."""
    touch(tmp_path, "1.mp4", "1.mp4@0-5")
    write_lines(tmp_path / "t.csv", ["path,label,end", "1.mp4@0-5,x,", "1.mp4,x,5"])
    assert set(sides(table(tmp_path))) == {"1.mp4@0-5", "1.mp4@0-5 [2]"}


def test_options_that_mean_nothing(tmp_path: Path) -> None:
    """An option that is ignored silently is a wrong result later."""
    make_table(tmp_path)
    with pytest.raises(UsageError, match="--test-fraction means nothing"):
        table(tmp_path, test_fraction=0.2)
    with pytest.raises(UsageError, match="--annotations means nothing"):
        table(tmp_path / "clips.csv", annotations=tmp_path / "clips.csv")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "t.csv is empty"),
        (["path,label"], "t.csv has no rows"),
        (["path,lable", "1.mp4,a"], "t.csv, line 1: there is no column 'label' among path, lable"),
        (["a,b,c,d", "1.mp4,a,1,2"], "t.csv, line 1: there is no column 'path' among a, b, c, d"),
        (["1.mp4,a,1,2"], "t.csv, line 1: 4 columns without names"),
        (["1.mp4,a", "2.mp4,a,b"], "t.csv, line 2: 3 cells for 2 columns"),
        (["path label split", "1.mp4 a"], "t.csv, line 2: 2 cells, not 3"),
        (["path,label,start_frame", "1.mp4,a,1.5"], "t.csv, line 2: start_frame is no number of a frame"),
        (["path,label,end_frame", "1.mp4,a,0:12"], "t.csv, line 2: end_frame is no number of a frame"),
        (["path,label,start_frame,end_frame", "1.mp4,a,8,8"], "t.csv, line 2: the video would end before it begins"),
        (["path,label,subset", "1.mp4,a,trian"], "t.csv, line 2: there is no split 'trian'"),
        (["path,label", "1.mp4,a", "1.mp4, "], "t.csv, line 3: no label"),
        (["path,label", ",a"], "t.csv, line 2: no path"),
        (["path,label", "1\0.mp4,a"], "t.csv, line 2: no path"),
        (["path,label,split", "1.mp4,a,train", "2.mp4,a,"], "t.csv, line 3: no split"),
        (["path,label,split", "1.mp4,a,trian"], "t.csv, line 2: there is no split 'trian'"),
        (["path,label,start", "1.mp4,a,soon"], "t.csv, line 2: start is no number of seconds"),
        (["path,label,end", "1.mp4,a,inf"], "t.csv, line 2: end is no number of seconds"),
        (["path,label,start", "1.mp4,a,-1"], "t.csv, line 2: start is no number of seconds"),
        (["path,label,start,end", "1.mp4,a,3,3"], "t.csv, line 2: the video would end before it begins"),
        (["path,label", '"1\n.mp4",a', "2.mp4,a,b"], "t.csv, line 4: 3 cells for 2 columns"),
        (["path,label", "1.mp4," + "a" * 200_000], "t.csv, line 2: field larger than field limit"),
        (["path,label,split", "1.mp4,a,train", "2.mp4,b,test"], "Class 'b' in t.csv has no videos for training"),
        (["path,label,split", "1.mp4,a,train", "2.mp4,a,val"], "t.csv has no videos for testing"),
    ],
)
def test_malformed_row_is_named(tmp_path: Path, rows: list[str], said: str) -> None:
    """The user must find the line in a table of thousands."""
    touch(tmp_path, "1.mp4", "2.mp4")
    write_lines(tmp_path / "t.csv", rows)
    with pytest.raises(DataError) as caught:
        table(tmp_path)
    assert said in caught.value.problem


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: it is not JSON"),
        ("[]", "line 2: expected an object"),
        ('{"path": "1.mp4", "label": true}', "line 2: no label"),
        ('{"path": "1.mp4", "label": 0.5}', "line 2: no label"),
        ('{"path": "1.mp4", "label": NaN}', "line 2: no label"),
        ('{"path": 1, "label": "a"}', "line 2: no path"),
        ('{"path": "\\ud800", "label": "a"}', "line 2: no path"),
        ('{"path": "1.mp4", "label": "a", "split": 3}', "line 2: there is no split '3'"),
        ('{"path": "1.mp4", "label": "a", "split": "test"}', "line 1: no split"),
        ('{"path": "1.mp4", "label": "a", "start": [1]}', "line 2: start is no number"),
        ('{"path": "1.mp4", "label": "a", "end": 1' + "0" * 400 + "}", "line 2: end is no number"),
    ],
)
def test_malformed_json_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    touch(tmp_path, "1.mp4")
    write_lines(tmp_path / "t.jsonl", ['{"path": "1.mp4", "label": 3}', line])
    with pytest.raises(DataError) as caught:
        table(tmp_path)
    assert f"t.jsonl, {said}" in caught.value.problem


def test_which_table(tmp_path: Path) -> None:
    """With two tables, a guess may be last year's."""
    make_table(tmp_path)
    touch(tmp_path, "old.tsv")
    with pytest.raises(DataError, match="There are 2 tables") as caught:
        table(tmp_path)
    assert "--annotations FILE" in caught.value.hint
    assert len(table(tmp_path, annotations=tmp_path / "clips.csv").videos) == 6
    with pytest.raises(DataError, match="no table"):
        table(tmp_path, annotations=tmp_path / "videos")
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(DataError, match="is not a file"):
        table(tmp_path, annotations=tmp_path / "dir.csv")
    with pytest.raises(DataError, match="does not exist"):
        table(tmp_path, annotations=tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"There is no \.csv"):
        table(tmp_path / "videos")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """One broken path must not stop a thousand good ones; if all are, the folder is wrong."""
    make_table(tmp_path)
    (tmp_path / "videos/run0.mp4").unlink()
    listing = table(tmp_path)
    assert listing.rejected == (("videos/run0.mp4", "the file is missing"),)
    assert len(listing.videos) == 5
    with pytest.raises(DataError, match=r"None of the videos of clips\.csv can be used; first videos/run0") as caught:
        table(tmp_path / "videos", annotations=tmp_path / "clips.csv")
    assert "relative" in caught.value.hint


def test_doubles(tmp_path: Path) -> None:
    """Training on test videos makes results that are too good, however their paths are spelt."""
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    (tmp_path / "link.mp4").symlink_to("b.mp4")
    rows = ["./a.mp4,x,train,,", "x/../a.mp4,x,test,,", "link.mp4,x,train,,", "b.mp4,x,train,,", "c.mp4,x,train,,",
            f"{tmp_path}/c.mp4,x,train,0,", "c.mp4,x,train,0,5", "c.mp4,x,train,5,9"]  # fmt: skip
    (tmp_path / "x").mkdir()
    write_lines(tmp_path / "t.csv", ["path,label,split,start,end", *rows])
    write_lines(tmp_path / "u.jsonl", ['{"path": "c.mp4", "label": "x"}', '{"path": "c.mp4", "label": "y"}'])
    conflict = table(tmp_path, annotations=tmp_path / "u.jsonl")
    assert conflict.rejected == (("c.mp4", "the same file as c.mp4 of class x, which is used"),)
    listing = table(tmp_path / "t.csv")
    assert sides(listing) == {
        "x/../a.mp4": ("x", "test"), "link.mp4": ("x", "train"), "c.mp4": ("x", "train"),
        "c.mp4@0-5": ("x", "train"), "c.mp4@5-9": ("x", "train"),
    }  # fmt: skip
    assert sorted(listing.rejected) == [
        ("a.mp4", "in train and in test; used for testing only"),
        ("b.mp4", "the same file as link.mp4, which is used"),
        ("c.mp4@0-", "the same file as c.mp4, which is used"),
    ]


def test_paths_out_of_the_folder(tmp_path: Path) -> None:
    """A table from elsewhere must not make the tool read /home."""
    touch(tmp_path, "in/1.mp4", "in/2.mp4", "out/3.mp4", "out/4.mp4", "out/5.mp4")
    (tmp_path / "in/link.mp4").symlink_to(tmp_path / "out/4.mp4")
    outside = ["../out/3.mp4", "link.mp4", f"{tmp_path}/out/5.mp4", "../nothing.mp4"]
    write_lines(
        tmp_path / "in/t.csv", ["path,label,split", "1.mp4,x,train", "2.mp4,x,test", *(f"{o},x,train" for o in outside)]
    )
    listing = table(tmp_path / "in")
    assert set(sides(listing)) == {"1.mp4", "2.mp4"}
    assert listing.rejected == tuple(
        (name, "it lies outside of the source folder; --follow-links reads it") for name in outside
    )
    assert listing.root == (tmp_path / "in").resolve()
    everything = table(tmp_path / "in", follow_links=True)
    assert set(sides(everything)) == {"1.mp4", "2.mp4", *outside[:3]}
    assert everything.rejected == ((outside[3], "the file is missing"),)
    assert everything.root is None


TEXT = st.text(alphabet='{}[]":,0e. \n\ra\0é\tpathlbsi', max_size=50)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(["train", "1"])


@given(
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl"]),
    content=st.one_of(
        st.binary(max_size=60),
        TEXT.map(str.encode),
        TEXT.map(lambda text: f"path,label,split,start,end\n{text}".encode()),
        st.dictionaries(st.sampled_from(["path", "label", "split", "start", "end", "Path"]), VALUES).map(
            lambda document: json.dumps(document).encode()
        ),
    ),
)
def test_any_table(tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes) -> None:
    """A file that is something else must give an error in plain words, never a traceback."""
    path = empty(tmp_path_factory.getbasetemp() / f"fuzz/t{suffix}")
    path.write_bytes(content)
    try:
        rows = list(_rows(AnnotationFile(path.name, path))[1])
    except DataError as error:
        assert "\n" not in error.problem + error.hint
    else:
        assert all(row.path and row.label and (row.start or 0) >= 0 for row in rows)
