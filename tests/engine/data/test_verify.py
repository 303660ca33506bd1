"""Finding damage: every byte that changed is found, named by its clip, and nothing else is blamed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.layouts import list_videos
from engine.data.prepare import prepare
from engine.data.sampling import Placement, Sampling
from engine.data.store import ClipStore
from engine.data.verify import Damage, content_checksum, verify
from engine.errors import DataError, StopRequested
from tests.videos import write_dataset

CLIPS = [("train", clip) for clip in range(25)] + [("test", clip) for clip in range(15)]
METADATA = Damage("", -1, "", "labels, names or attributes are not as they were written")


@pytest.fixture(scope="module")
def clips_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 clips of 5 videos for training, 15 of 3 for testing, and a video that was skipped."""
    folder = tmp_path_factory.mktemp("verify")
    source = write_dataset(folder / "s", ("a", "b"), each=4)
    (source / "a" / "broken.mp4").write_bytes(b"nothing")
    five = Placement("random", 5)
    sampling = Sampling(3, 32, train=five, test=five)
    prepare(list_videos("folders", source), folder / "c.h5", sampling, max_skipped_percent=50)
    return folder / "c.h5"


@pytest.fixture
def copy(clips_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(clips_file, tmp_path / "copy.h5"))


def place(path: Path, split: str, clip: int) -> tuple[int, int, str]:
    """Where in the file a clip is, its length in bytes, and the name of its video."""
    found: dict[int, tuple[int, int]] = {}
    with h5py.File(path) as file:
        clips = file[split]["clips"]
        clips.id.chunk_iter(lambda chunk: found.__setitem__(chunk.chunk_offset[0], (chunk.byte_offset, chunk.size)))
        name = file["videos/name"][file[split]["video"][clip]].decode()
    return *found[clip], name


def flip(path: Path, position: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
def test_a_whole_file_has_no_damage(tmp_path: Path, compression: str | None) -> None:
    """A false alarm costs a day of decoding."""
    prepare(list_videos("folders", write_dataset(tmp_path / "s")), tmp_path / "c.h5", Sampling(3, 32))
    assert verify(tmp_path / "c.h5") == []


@settings(max_examples=50)
@given(st.sampled_from(CLIPS), st.integers(0, 3 * 32 * 32 * 3 - 1), st.integers(0, 7))
def test_one_flipped_bit_names_its_clip(clips_file: Path, which: tuple[str, int], byte: int, bit: int) -> None:
    """A disk that loses bits: the user learns which video to decode again, and that the others are good."""
    split, clip = which
    path = Path(shutil.copy(clips_file, clips_file.with_name("flipped.h5")))
    start, _, video = place(path, split, clip)
    flip(path, start + byte, bit)
    assert verify(path) == [Damage(split, clip, video, "its pixels are not as they were written")]


def test_damages_come_in_order_over_blocks_and_splits(copy: Path) -> None:
    """More clips than are read at once, and the last ones too."""
    expected = []
    for split, clip in (("train", 0), ("train", 15), ("train", 16), ("train", 24), ("test", 14)):
        start, _, video = place(copy, split, clip)
        flip(copy, start + 5, 3)
        expected.append((split, clip, video))
    found = verify(copy)
    assert found is not None and [(damage.split, damage.clip, damage.video) for damage in found] == expected


def test_clips_under_each_other_s_place_are_damage(copy: Path) -> None:
    """The bytes are all there, and the labels are wrong."""
    with h5py.File(copy, "r+") as file:
        clips = file["train/clips"]
        first, other = clips[0], next(k for k in range(len(clips)) if (clips[k] != clips[0]).any())
        clips[0], clips[other] = clips[other], first
    found = verify(copy)
    assert found is not None and [damage.clip for damage in found] == [0, other]


def test_compressed_clips_that_cannot_be_unpacked_are_named(copy: Path) -> None:
    """One of them must not hide what the others are."""
    with h5py.File(copy, "r+") as file:
        clips = file["train/clips"][()]
        del file["train/clips"]
        file.create_dataset("train/clips", data=clips, chunks=(1, *clips.shape[1:]), compression="gzip")
    assert verify(copy) == []
    start, size, video = place(copy, "train", 7)
    content = bytearray(copy.read_bytes())
    content[start : start + size] = bytes(size)
    copy.write_bytes(content)
    flip(copy, place(copy, "test", 2)[0])
    found = verify(copy)
    assert found is not None and found[0] == Damage("train", 7, video, "it cannot be read")
    assert [(damage.split, damage.clip) for damage in found] == [("train", 7), ("test", 2)]


CHANGES: dict[str, Callable[[h5py.File], object]] = {
    "label": lambda file: file["train/labels"].__setitem__(0, 1 - file["train/labels"][0]),
    "video": lambda file: file["test/video"].__setitem__(0, file["test/video"][-1]),
    "frame number": lambda file: file["train/frame_indices"].__setitem__((3, 1), 99),
    "class name": lambda file: file.attrs.__setitem__("classes", '["b", "a"]'),
    "name of a video": lambda file: file["videos/name"].__setitem__(0, "other"),
    "length of a video": lambda file: file["videos/frames"].__setitem__(0, 7),
    "label of a video": lambda file: file["videos/label"].__setitem__(0, 1),
    "split of a video": lambda file: file["videos/split"].__setitem__(0, "val"),
    "reason": lambda file: file["skipped"].__setitem__(0, (b"a/broken.mp4", b"too old")),
    "mean": lambda file: file.attrs.__setitem__("mean", np.nextafter(file.attrs["mean"], 1)),
    "interval": lambda file: file.attrs.__setitem__("interval", 2),
    "new attribute": lambda file: file.attrs.__setitem__("extra", 2),
    "large attribute": lambda file: file.attrs.__setitem__("extra", np.zeros(5)),
    "attribute gone": lambda file: file.attrs.__delitem__("sampling"),
    "list of missing": lambda file: file.__setitem__("missing", ["x.avi"]),
    "checksum": lambda file: file.attrs.__setitem__("checksum", "0" * 64),
    "checksum gone": lambda file: file.attrs.__delitem__("checksum"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_beside_the_pixels_are_told_apart(copy: Path, name: str) -> None:
    """The clips are good, but what is said of them is not what was said."""
    with h5py.File(copy, "r+") as file:
        CHANGES[name](file)
    assert verify(copy) == [METADATA]


def test_a_lost_column_of_checksums_is_told(copy: Path) -> None:
    """The clips may be good or not; the other split's are looked at all the same."""
    with h5py.File(copy, "r+") as file:
        del file["train/crc32"]
    flip(copy, place(copy, "test", 4)[0])
    found = verify(copy)
    assert found is not None and found[:2] == [
        METADATA,
        Damage("train", -1, "", "the checksums of the train clips are gone"),
    ]
    assert [(damage.split, damage.clip) for damage in found[2:]] == [("test", 4)]


def test_a_wrong_checksum_of_a_clip_is_told_twice(copy: Path) -> None:
    """Nobody can say which of the two changed: the clip is named, and so are the numbers."""
    with h5py.File(copy, "r+") as file:
        file["train/crc32"][3] ^= 1
    found = verify(copy)
    assert found is not None and found[0] == METADATA and [damage.clip for damage in found[1:]] == [3]


def test_files_without_checksums_say_so(copy: Path) -> None:
    """Silence about a file of an older version would read as `whole`."""
    with h5py.File(copy, "r+") as file:
        del file.attrs["checksum"], file["train/crc32"], file["test/crc32"]
    assert verify(copy) is None


def test_when_it_was_made_is_no_damage(copy: Path) -> None:
    """A resumed prepare gives the same file but for this."""
    with h5py.File(copy, "r+") as file:
        file.attrs["created"] = "yesterday"
    assert verify(copy) == []


def test_progress_and_stopping(clips_file: Path) -> None:
    """A large file takes minutes: one must see it move, and Ctrl+C must end it."""
    told: list[tuple[int, int, str]] = []
    verify(clips_file, lambda *values: told.append(values))
    assert told == [(16, 40, "train"), (25, 40, "train"), (40, 40, "test")]

    def stop() -> None:
        raise StopRequested("now")

    with pytest.raises(StopRequested):
        verify(clips_file, check=stop)


@settings(max_examples=60)
@given(st.data())
def test_whatever_is_damaged_is_found_or_refused(clips_file: Path, data: st.DataObject) -> None:
    """A flipped byte anywhere among HDF5's own: never a crash, and no clip is good that differs."""
    content = bytearray(clips_file.read_bytes())
    size = 3 * 32 * 32 * 3
    outside = np.ones(len(content), bool)
    for split, clip in CLIPS:
        start, _, _ = place(clips_file, split, clip)
        outside[start : start + size] = False
    places = np.flatnonzero(outside)
    content[places[data.draw(st.integers(0, len(places) - 1))]] ^= 1 << data.draw(st.integers(0, 7))
    path = clips_file.with_name("anywhere.h5")
    path.write_bytes(content)
    try:
        found = verify(path)
    except DataError:
        return
    if not found:  # nothing that is read has changed
        with ClipStore.open(clips_file) as one, ClipStore.open(path) as other:
            for split in ("train", "test"):
                first, second = one.split(split), other.split(split)
                everything = np.arange(len(first))
                assert np.array_equal(first.clips(everything), second.clips(everything))
                assert np.array_equal(first.labels, second.labels) and np.array_equal(first.video, second.video)


# --- the checksum of everything but the pixels -----------------------------------------------------------------------


def small(path: Path) -> str:
    """A file with one of each kind of value; returns its checksum."""
    with h5py.File(path, "w") as file:
        file["train/labels"] = np.array([3, -1], np.int64)
        file["train/crc32"] = np.array([2**32 - 1], np.uint32)
        file["train/clips"] = np.zeros(5, np.uint8)
        file.create_dataset("videos/name", data=["a", "é\n"], dtype=h5py.string_dtype())
        text = h5py.string_dtype()
        file["skipped"] = np.array([("p", "r")], dtype=[("path", text), ("reason", text)])
        file.attrs["mean"] = np.array([0.5, 0.25, 1.0])
        file.attrs["version"] = 1
        file.attrs["format"] = "vdtui.clips"
        file.attrs["created"] = "now"
        file.attrs["checksum"] = "x"
        return content_checksum(file)


def test_the_checksum_is_what_is_written_down(tmp_path: Path) -> None:
    """Another encoding tomorrow would call every file of today damaged."""
    sha = hashlib.sha256()
    sha.update(b"train/labels i(2,)" + (3).to_bytes(8, "little") + (-1).to_bytes(8, "little", signed=True))
    sha.update(b"train/crc32 u(1,)" + (2**32 - 1).to_bytes(8, "little"))
    sha.update(b"videos/name text(2,)" + json.dumps(["a", "é\n"]).encode())
    sha.update(b'skipped text(1,)["p", "r"]')
    sha.update(b'@format text()["vdtui.clips"]')
    sha.update(b"@mean f(3,)" + np.array([0.5, 0.25, 1.0], "<f8").tobytes())
    sha.update(b"@version i()" + (1).to_bytes(8, "little"))
    assert small(tmp_path / "c.h5") == sha.hexdigest()


def test_the_checksum_does_not_depend_on_how_values_are_stored(tmp_path: Path) -> None:
    """A file that was repacked holds the same."""
    expected = small(tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "r+") as file:
        for name, options in (("train/labels", {"chunks": (1,)}), ("train/crc32", {"chunks": (1,), "compression": 1})):
            values = file[name][()]
            del file[name]
            file.create_dataset(name, data=values, **options)
        mean = file.attrs["mean"]
        del file.attrs["mean"]
        file.attrs["mean"] = mean
        assert content_checksum(file) == expected


def test_a_text_that_moves_over_a_border_is_a_change(tmp_path: Path) -> None:
    """("ab", "c") and ("a", "bc") are the same letters."""
    sums = set()
    for names in (["ab", "c"], ["a", "bc"], ["abc"], ['a", "bc'], []):
        with h5py.File(tmp_path / "c.h5", "w") as file:
            file.create_dataset("videos/name", data=names, dtype=h5py.string_dtype())
            sums.add(content_checksum(file))
    assert len(sums) == 5
