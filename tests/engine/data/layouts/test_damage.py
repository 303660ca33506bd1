"""Annotation files that were cut off or changed on the way, through the whole of a listing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.layouts import Listing, list_videos
from engine.errors import DataError, UsageError
from tests.layouts import MAKERS, empty


def check(listing: Listing) -> None:
    """What everything after a listing relies on."""
    names = [video.name for video in listing.videos]
    assert len(set(names)) == len(names)
    assert len(set(listing.classes)) == len(listing.classes)
    assert {video.label for video in listing.videos} <= set(range(len(listing.classes)))
    assert {video.label for video in listing.videos if video.split == "train"} == set(range(len(listing.classes)))
    assert {video.split for video in listing.videos} <= {"train", "val", "test"}
    assert all("\n" not in note for note in listing.notes)
    for text in (*names, *listing.classes, *listing.missing, *(part for pair in listing.rejected for part in pair)):
        text.encode()


@pytest.mark.parametrize("layout", [layout for layout in MAKERS if layout != "folders"])
@settings(max_examples=60)
@given(data=st.data())
def test_damaged_annotations(tmp_path_factory: pytest.TempPathFactory, layout: str, data: st.DataObject) -> None:
    """Only errors in plain words may come out, or a listing that can be relied upon."""
    source = tmp_path_factory.getbasetemp() / f"damaged-{layout}"
    if not source.exists():
        MAKERS[layout](source, empty)
    files = sorted(path for path in source.rglob("*") if path.suffix in (".txt", ".csv", ".json"))
    path = data.draw(st.sampled_from(files), label="file")
    before = path.read_bytes()
    path.write_bytes(damage(before, data))
    try:
        check(list_videos(layout, source))
    except (DataError, UsageError) as error:
        assert "\n" not in error.problem + error.hint
    finally:
        path.write_bytes(before)


def damage(content: bytes, data: st.DataObject) -> bytes:
    """``content`` cut short, or with a part of it written over, taken out, or repeated."""
    start = data.draw(st.integers(0, len(content)), label="start")
    end = data.draw(st.integers(start, len(content)), label="end")
    middle = data.draw(
        st.binary(max_size=4) | st.sampled_from([b"\r", b"\n", b",", b'"', b"\0", b"\xff", content[start:end] * 2])
    )
    return content[:start] + middle + (content[end:] if data.draw(st.booleans(), label="rest") else b"")


def test_the_check_itself(tmp_path: Path) -> None:
    """A check that accepts nothing or everything would test nothing."""
    for layout, make in MAKERS.items():
        check(list_videos(layout, make(tmp_path / layout, empty)))
