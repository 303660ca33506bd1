"""Something-Something V2: templates and labels, lists of several releases, incomplete copies."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.layouts import LAYOUTS, LayoutOptions, Listing, list_videos
from engine.data.layouts.annotations import AnnotationFile
from engine.data.layouts.ssv2 import _read_answers, _read_labels, _read_videos
from engine.errors import DataError
from tests.layouts import SSV2_TEMPLATES, empty, frame_folder, make_ssv2, ssv2_entry, touch

FIRST, SECOND = "Pushing something left", "Dropping something into something"


def ssv2(source: Path, **options: object) -> Listing:
    return list_videos("ssv2", source, LayoutOptions(**options))  # type: ignore[arg-type]


def rewrite(source: Path, name: str, document: Any) -> None:
    (source / f"labels/something-something-v2-{name}.json").write_text(json.dumps(document))


@pytest.mark.parametrize("videos", ["20bn-something-something-v2", ".", "a/b/c/d"])
@pytest.mark.parametrize("write", [empty, frame_folder])
def test_found_wherever_it_lies(tmp_path: Path, videos: str, write: object) -> None:
    """The archives unpack to a folder that many rename, or extract to frames."""
    listing = ssv2(make_ssv2(tmp_path, write, videos))  # type: ignore[arg-type]
    assert listing.classes == (FIRST, SECOND)
    assert {(int(v.path.stem), v.label, v.split) for v in listing.videos} == {
        (1, 0, "train"), (2, 1, "train"), (3, 0, "train"), (4, 1, "train"), (5, 0, "test"), (6, 1, "test")
    }  # fmt: skip
    assert (listing.rejected, listing.missing) == ((), ())
    assert listing.notes == ("The validation videos are the test split: there are no labelled test videos.",)
    layout = LAYOUTS["ssv2"]
    assert (layout.frames, layout.size, layout.uniform) == (8, 64, True)


def test_answers_make_the_test_videos_a_split(tmp_path: Path) -> None:
    """The later release says what the test videos show; then validation is for choosing."""
    make_ssv2(tmp_path)
    (tmp_path / "labels/test-answers.csv").write_text(f"7;{FIRST}\n8;{SSV2_TEMPLATES[1]}\n")
    listing = ssv2(tmp_path)
    sides = Counter(video.split for video in listing.videos)
    assert sides == {"train": 4, "val": 2, "test": 2}
    assert listing.notes == ()
    for number in (7, 8):
        (tmp_path / f"20bn-something-something-v2/{number}.webm").unlink()
    listing = ssv2(tmp_path)
    assert Counter(video.split for video in listing.videos) == {"train": 4, "test": 2}
    assert "none of the 2 labelled test videos is here" in listing.notes[0]


def test_labels_keep_their_numbers_order(tmp_path: Path) -> None:
    """Labels of published models follow labels.json; without its order, classes are swapped."""
    make_ssv2(tmp_path)
    rewrite(tmp_path, "labels", {FIRST: "10", SECOND: 9, "Nothing": "2"})
    listing = ssv2(tmp_path)
    assert listing.classes == (SECOND, FIRST)
    assert "1 of 3 classes of the split have no videos here: Nothing." in listing.notes


def test_incomplete_copies(tmp_path: Path) -> None:
    """Missing videos are counted, a class without training videos is left out, strangers are told."""
    make_ssv2(tmp_path)
    for number in (2, 4):
        (tmp_path / f"20bn-something-something-v2/{number}.webm").unlink()
    touch(tmp_path, "20bn-something-something-v2/999.webm")
    listing = ssv2(tmp_path)
    assert listing.classes == (FIRST,)
    assert {video.path.stem for video in listing.videos} == {"1", "3", "5"}
    assert listing.missing == ("2.webm", "4.webm")
    assert any("no training videos" in note and SECOND in note for note in listing.notes)
    assert "1 video here is not in the split lists and not used." in listing.notes


def test_doubles(tmp_path: Path) -> None:
    make_ssv2(tmp_path)
    entries = [ssv2_entry(number, SSV2_TEMPLATES[number % 2]) for number in (1, 2, 3, 4, 4, 5)]
    rewrite(tmp_path, "train", entries)
    rewrite(tmp_path, "labels", {FIRST: "0", SECOND: "1"})
    listing = ssv2(tmp_path)
    assert [v.split for v in listing.videos if v.path.stem == "5"] == ["test"]
    folder = "20bn-something-something-v2"
    assert sorted(listing.rejected) == [
        (f"{folder}/4.webm", "listed twice in train"),
        (f"{folder}/5.webm", "in train and in test; used for testing only"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("train", "", "train.json, line 1: it is not JSON"),
        ("train", "[\n{", "train.json, line 2: it is not JSON"),
        ("train", "{}", "train.json: expected a list"),
        ("train", "[1]", "train.json, entry 1: expected an object with an id"),
        ("train", '[{"id": true, "template": "x"}]', "train.json, entry 1: expected an object with an id"),
        ("validation", '[{"id": 1}]', "validation.json, entry 1: there is no template"),
        ("validation", '[{"id": "1", "template": "x\\ud800"}]', "validation.json, entry 1: there is no template"),
        ("train", '[{"id": "1", "template": "Flying [x]"}]', "entry 1: class 'Flying x' is not in labels.json"),
        ("labels", "[]", "labels.json: expected an object"),
        ("labels", '{"a": "x"}', "labels.json, label 1: expected a class and its number"),
        ("labels", '{"a": "1", "b": "1"}', "labels.json: two classes have the same number"),
        ("train", "[" * 100_000, "train.json, line 1: it is not JSON"),
        ("train", "1" * 10_000, "train.json, line 1: it is not JSON"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    """The user must find the place in a file of 170,000 entries."""
    make_ssv2(tmp_path)
    (tmp_path / f"labels/something-something-v2-{name}.json").write_text(text)
    with pytest.raises(DataError) as caught:
        ssv2(tmp_path)
    assert said in caught.value.problem


@pytest.mark.parametrize("name", ["labels", "train", "validation"])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    make_ssv2(tmp_path)
    (tmp_path / f"labels/something-something-v2-{name}.json").unlink()
    with pytest.raises(DataError, match=f"There is no file .{name}.json") as caught:
        ssv2(tmp_path)
    assert "labels.json" in caught.value.details


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([FIRST, "1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "template", "label", FIRST]) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(document=JSON, raw=st.none() | st.binary(max_size=40))
def test_any_file(tmp_path_factory: pytest.TempPathFactory, document: Any, raw: bytes | None) -> None:
    """A file that is something else must give an error in plain words, never a traceback."""
    path = empty(tmp_path_factory.getbasetemp() / "fuzz/x-train.json")
    path.write_bytes(json.dumps(document).encode() if raw is None else raw)
    file = AnnotationFile(path.name, path)
    for read in (
        lambda: _read_labels(file),
        lambda: list(_read_videos(file, {FIRST: 0}, "train")),
        lambda: list(_read_videos(file, {FIRST: 0}, "test")),
        lambda: list(_read_answers(file, {FIRST: 0})),
    ):
        try:
            read()
        except DataError as error:
            assert "\n" not in error.problem + error.hint
