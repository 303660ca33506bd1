"""A prepare that several machines share: the bytes of one, whatever each of them goes through."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.layouts import list_videos
from engine.data.prepare import ShardSummary, prepare, prepare_shard
from engine.data.sampling import Placement, Sampling
from engine.data.shards import Shard
from engine.errors import UsageError
from tests.engine.data.test_prepare import everything
from tests.videos import write_dataset

SAMPLING = Sampling(4, 32, train=Placement("sliding", None, 2))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_dataset(tmp_path_factory.mktemp("data") / "mine", each=6, length=9)
    (folder / "a/broken.mp4").write_bytes(b"no video")
    shutil.copy(folder / "a/0.mp4", folder / "a/copy.mp4")
    return folder


def part(source: Path, output: Path, shard: str) -> ShardSummary:
    listing = list_videos("folders", source)
    return prepare_shard(listing, output, SAMPLING, Shard.parse(shard), max_skipped_percent=20)


def whole(source: Path, output: Path) -> dict[str, object]:
    prepare(list_videos("folders", source), output, SAMPLING, max_skipped_percent=20)
    assert list(output.parent.iterdir()) == [output]
    return everything(output)


@given(total=st.integers(0, 300), count=st.integers(1, 40))
def test_every_video_is_in_one_shard(total: int, count: int) -> None:
    parts = [Shard(count, number + 1).part(total) for number in range(count)]
    assert [video for one in parts for video in one] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("count", [1, 3, 16])
def test_shards_joined_are_the_file_of_one(source: Path, tmp_path: Path, count: int) -> None:
    """A result must not depend on how many machines there were; 16 shards of 13 videos leave some empty."""
    for number in reversed(range(count)):
        summary = part(source, tmp_path / "s/c.h5", f"{number + 1}/{count}")
        assert part(source, tmp_path / "s/c.h5", f"{number + 1}/{count}").resumed_videos == summary.videos
    assert whole(source, tmp_path / "s/c.h5") == whole(source, tmp_path / "w/c.h5")


def test_a_join_goes_on_after_an_interruption(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joining terabytes takes an hour; what is joined is removed, and must not be asked for again."""
    for number in (1, 2, 3):
        part(source, tmp_path / "s/c.h5", f"{number}/3")
    asked = 0

    class StopNowError(Exception):
        pass

    def stop() -> None:
        nonlocal asked
        asked -= 1
        if asked == 0:
            raise StopNowError

    for moment in (25, 28, 31):  # asked for each of 14 videos, twice for the copies, then for each that is joined
        asked = moment
        with pytest.raises(StopNowError):
            prepare(list_videos("folders", source), tmp_path / "s/c.h5", SAMPLING, max_skipped_percent=20, check=stop)
    assert whole(source, tmp_path / "s/c.h5") == whole(source, tmp_path / "w/c.h5")


def test_an_unfinished_shard_is_named(source: Path, tmp_path: Path) -> None:
    """Decoding a part again here that another machine is at would cost hours."""
    part(source, tmp_path / "c.h5", "1/3")
    part(source, tmp_path / "c.h5", "3/3")
    with pytest.raises(UsageError, match=r"1 of 3 shards of .* are not finished, first 2/3") as caught:
        whole(source, tmp_path / "c.h5")
    assert "--shard 2/3" in caught.value.hint
    assert (tmp_path / "c.h5.shard-1-of-3").exists()


def test_shards_of_other_data_are_not_mixed_in(source: Path, tmp_path: Path) -> None:
    """Half of the clips of yesterday's videos: nobody would ever notice."""
    part(source, tmp_path / "c.h5", "1/2")
    part(source, tmp_path / "c.h5", "2/2")
    header = tmp_path / "c.h5.shard-2-of-2/header.json"
    header.write_text(json.dumps({**json.loads(header.read_text()), "decoder": "0"}))
    with pytest.raises(UsageError, match="shard-2-of-2 was made of other videos"):
        whole(source, tmp_path / "c.h5")
    part(source, tmp_path / "d.h5", "1/2")
    part(source, tmp_path / "d.h5", "1/3")
    with pytest.raises(UsageError, match="shards of 2 and of 3"):
        whole(source, tmp_path / "d.h5")


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "a/b", "1/2/3", "-1/2", "1/99999999", "١/٢"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        Shard.parse(text)
