"""The clips file: what is in it, that it is the same however it was made, and what happens when things go wrong."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data import partial as partial_module
from engine.data import prepare as prepare_module
from engine.data.decode import SkippedVideo
from engine.data.digest import Digest, Task, content, digest, totals
from engine.data.layouts import Listing, VideoEntry, list_videos
from engine.data.partial import PartialClips, exclusive
from engine.data.prepare import PrepareSummary, prepare
from engine.data.sampling import Placement, Sampling
from engine.errors import DataError, StorageError, UsageError
from tests.layouts import make_ucf101, real_video
from tests.videos import grey_ramp, ramp_numbers, write_dataset, write_image, write_video

ROOT = Path(__file__).parents[3]


SAMPLING = ("frames", "size", "interval", "train", "test", "spacing", "fps", "folder_fps", "seed")


def make(source: Path, output: Path, listing: Listing | None = None, **options: Any) -> PrepareSummary:
    sampling = Sampling(**{"frames": 4, "size": 32} | {name: options.pop(name) for name in SAMPLING if name in options})
    return prepare(listing or list_videos("folders", source), output, sampling, **options)


def everything(path: Path) -> dict[str, object]:
    """Every dataset and attribute but `created`."""
    found: dict[str, object] = {}
    with h5py.File(path, "r") as file:
        found |= {f"@{name}": str(value) for name, value in file.attrs.items() if name != "created"}

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = (str(item.dtype), item.shape, item.chunks, item.compression, item[()].tolist())

        file.visititems(visit)
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "mine", ("walk", "<run>"), each=5)


def test_the_format(source: Path, tmp_path: Path) -> None:
    """Scripts outside the project read this file by these names."""
    summary = make(source, tmp_path / "c.h5", train=Placement(number=2), test=Placement(number=2))
    with h5py.File(tmp_path / "c.h5") as file:
        assert file.attrs["format"] == "vdtui.clips"
        assert file.attrs["version"] == 1
        assert json.loads(file.attrs["classes"]) == ["<run>", "walk"]
        shape = [file.attrs[name] for name in ("frames", "height", "width", "interval")]
        assert shape == [4, 32, 32, 1]
        assert {"dataset", "layout", "created", "tool", "source_fingerprint", "checksum", "sampling"} <= set(file.attrs)
        assert json.loads(file.attrs["sampling"])["train"] == {"where": "uniform", "number": 2, "stride": None}
        assert (file.attrs["dataset"], file.attrs["layout"]) == ("mine", "folders")
        assert set(file) == {"train", "test", "videos", "skipped"}
        for split, clips in (("train", 12), ("test", 8)):
            group = file[split]
            assert (group["clips"].dtype, group["clips"].shape) == (np.uint8, (clips, 4, 32, 32, 3))
            assert group["clips"].chunks == (1, 4, 32, 32, 3)
            assert group["clips"].compression is None
            assert (group["labels"].dtype, group["video"].dtype) == (np.int64, np.int64)
            assert (group["frame_indices"].dtype, group["frame_indices"].shape) == (np.int32, (clips, 4))
            crc32 = [zlib.crc32(clip.tobytes()) for clip in group["clips"][()]]
            assert group["crc32"][()].tolist() == crc32 and group["crc32"].dtype == np.uint32
            for label, video in zip(group["labels"][()], group["video"][()], strict=True):
                assert file["videos/label"][video] == label
                assert file["videos/split"].asstr()[video] == split
        assert len(file["videos/name"]) == 10
        assert set(file["videos/frames"][()]) == {6}
        pixels = file["train/clips"][()].astype(np.float64) / 255
        assert np.allclose(file.attrs["mean"], pixels.mean(axis=(0, 1, 2, 3)), atol=1e-12)
        assert np.allclose(file.attrs["std"], pixels.std(axis=(0, 1, 2, 3)), atol=1e-12)
    assert (summary.videos, summary.clips) == ({"train": 6, "test": 4}, {"train": 12, "test": 8})
    assert summary.nbytes == (tmp_path / "c.h5").stat().st_size
    assert list(tmp_path.iterdir()) == [tmp_path / "c.h5"]


def test_clips_are_of_their_video(tmp_path: Path) -> None:
    """A shift by one between clips and labels would ruin everything and crash nothing."""
    for name, start in (("dark", 10), ("light", 130)):
        for number in range(4):
            write_video(tmp_path / "s" / name / f"{number}.mp4", grey_ramp(6 + number, start=start + 10 * number))
    make(tmp_path / "s", tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5") as file:
        names = file["videos/name"].asstr()[()]
        for split in ("train", "test"):
            group = file[split]
            for row, clip in enumerate(group["clips"][()]):
                folder, stem = names[group["video"][row]].removesuffix(".mp4").split("/")
                assert json.loads(file.attrs["classes"])[group["labels"][row]] == folder
                start = {"dark": 10, "light": 130}[folder] + 10 * int(stem)
                assert ramp_numbers(clip, start=start) == group["frame_indices"][row].tolist()


def test_workers_change_nothing(source: Path, tmp_path: Path) -> None:
    """The same data on a machine with more cores must have the same fingerprint and bytes."""
    make(source, tmp_path / "1.h5", workers=0)
    make(source, tmp_path / "2.h5", workers=2)
    assert everything(tmp_path / "1.h5") == everything(tmp_path / "2.h5")


def test_moved_source_is_the_same(source: Path, tmp_path: Path) -> None:
    """A run's data fingerprint must not depend on where the videos happened to lie."""
    shutil.copytree(source, tmp_path / "elsewhere" / source.name)
    make(source, tmp_path / "1.h5")
    make(tmp_path / "elsewhere" / source.name, tmp_path / "2.h5")
    assert everything(tmp_path / "1.h5") == everything(tmp_path / "2.h5")


def test_fingerprint_tells_sources_and_options_apart(source: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(source, tmp_path / source.name)
    prints = [make(copy, tmp_path / "a.h5").source_fingerprint]
    prints.append(make(copy, tmp_path / "b.h5", interval=2).source_fingerprint)
    write_video(copy / "walk/0.mp4", grey_ramp(7))
    prints.append(make(copy, tmp_path / "c.h5").source_fingerprint)
    (copy / "walk/0.mp4").rename(copy / "walk/other.mp4")
    prints.append(make(copy, tmp_path / "d.h5").source_fingerprint)
    assert len(set(prints)) == 4


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_compression_changes_only_the_bytes(source: Path, tmp_path: Path, compression: str) -> None:
    make(source, tmp_path / "plain.h5")
    make(source, tmp_path / "small.h5", compression=compression)
    with h5py.File(tmp_path / "plain.h5") as plain, h5py.File(tmp_path / "small.h5") as small:
        assert small["train/clips"].compression == compression
        assert np.array_equal(plain["train/clips"][()], small["train/clips"][()])


def test_existing_output_needs_overwrite(source: Path, tmp_path: Path) -> None:
    """A file that took a day must not be lost to a repeated command."""
    (tmp_path / "c.h5").write_text("precious")
    with pytest.raises(UsageError) as caught:
        make(source, tmp_path / "c.h5")
    assert "--overwrite" in caught.value.hint
    assert (tmp_path / "c.h5").read_text() == "precious"
    make(source, tmp_path / "c.h5", overwrite=True)
    assert h5py.is_hdf5(tmp_path / "c.h5")


@pytest.mark.parametrize("options", [{"max_skipped_percent": 101}, {"compression": "zip"}, {"frames": 0}, {"size": -1}])
def test_impossible_options(source: Path, tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        make(source, tmp_path / "c.h5", **options)
    assert not list(tmp_path.iterdir())


def test_skipped_videos_are_recorded(tmp_path: Path) -> None:
    """Which videos a result is not based on must be known afterwards."""
    write_dataset(tmp_path / "s", each=5)
    (tmp_path / "s/a/broken\x1b.mp4").write_bytes(b"no video")
    with pytest.raises(DataError) as caught:
        make(tmp_path / "s", tmp_path / "c.h5")
    assert "broken" in caught.value.problem
    assert "\x1b" not in caught.value.problem
    assert "--max-skipped" in caught.value.hint
    assert not (tmp_path / "c.h5").exists()
    summary = make(tmp_path / "s", tmp_path / "c.h5", max_skipped_percent=10)
    assert [name for name, _ in summary.skipped] == ["a/broken\x1b.mp4"]
    with h5py.File(tmp_path / "c.h5") as file:
        assert [row["path"].decode() for row in file["skipped"][()]] == ["a/broken\x1b.mp4"]
        assert len(file["videos/name"]) == 10
        assert len(file["train/clips"]) + len(file["test/clips"]) == 10


def copied(tmp_path: Path, *pairs: tuple[str, str]) -> Path:
    """Two classes of six videos, and copies of some of them."""
    source = write_dataset(tmp_path / "s", each=6)
    for name, of in pairs:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / of, source / name)
    return source


def test_a_copy_is_used_once(tmp_path: Path) -> None:
    """Downloads come twice; README promises that duplicates are skipped, counted and named."""
    source = copied(tmp_path, ("a/0 (1).mp4", "a/0.mp4"), ("a/deep/0.mp4", "a/0.mp4"))
    summary = make(source, tmp_path / "c.h5", max_skipped_percent=0)
    assert sorted(summary.videos.items()) == [("test", 4), ("train", 8)]
    names = {name for name, _ in summary.skipped}
    assert len(names) == 2 and names < {"a/0.mp4", "a/0 (1).mp4", "a/deep/0.mp4"}
    assert all("a copy of a/" in reason and "which is used" in reason for _, reason in summary.skipped)
    assert summary.notes == ("2 videos are copies of others and are left out.",)
    with h5py.File(tmp_path / "c.h5") as file:
        assert {row["path"].decode() for row in file["skipped"][()]} == names
    assert not [note for note in summary.notes if "held out" in note]


def test_a_copy_across_a_given_split_is_tested_on_alone(tmp_path: Path) -> None:
    """Whoever trains on the test videos reports a number that is too good."""
    source = tmp_path / "s"
    write_dataset(source / "train", each=3)
    write_dataset(source / "test", each=1, length=7)
    shutil.copy(source / "test/a/0.mp4", source / "train/a/again.mp4")
    summary = make(source, tmp_path / "c.h5", max_skipped_percent=0)
    assert summary.skipped == (("train/a/again.mp4", "a copy of test/a/0.mp4, which is used for testing"),)
    assert summary.videos == {"train": 6, "test": 2}


def test_a_copy_in_two_classes_is_warned_of(tmp_path: Path) -> None:
    """One of the two labels is wrong, and only the user can know which."""
    source = copied(tmp_path, ("b/0_of_a.mp4", "a/0.mp4"))
    summary = make(source, tmp_path / "c.h5", max_skipped_percent=0)
    ((name, reason),) = summary.skipped
    assert {name, reason.split()[3]} == {"b/0_of_a.mp4", "a/0.mp4"}
    assert "of class" in reason
    assert [note for note in summary.notes if note.startswith("Warning: 1 video is in two classes, first ")]


def test_what_only_begins_and_ends_alike_is_no_copy(tmp_path: Path) -> None:
    """Raw video has no marks in its middle but pixels."""
    source = write_dataset(tmp_path / "s", each=4)
    content = bytearray((source / "a/0.mp4").read_bytes() + bytes(300_000))
    for number in range(2):
        content[150_000] = number
        (source / f"a/long{number}.mp4").write_bytes(content)
    summary = make(source, tmp_path / "c.h5", max_skipped_percent=0)
    assert (summary.skipped, sum(summary.videos.values())) == ((), 10)


def test_a_published_data_set_is_left_as_it_is(tmp_path: Path) -> None:
    """Numbers on a split without some of its videos compare with nothing; but a copy is told."""
    source = make_ucf101(tmp_path / "s", real_video, videos=".")
    shutil.copy(source / "v_Archery_g02_c01.avi", source / "v_Archery_g03_c01.avi")
    shutil.copy(source / "v_Biking_g02_c01.avi", source / "v_Archery_g01_c01.avi")
    summary = make(source, tmp_path / "c.h5", list_videos("ucf101", source))
    assert (summary.skipped, summary.videos) == ((), {"train": 9, "test": 3})
    assert summary.notes == (
        "1 video held out of training copies training videos: v_Archery_g01_c01.avi and v_Biking_g02_c01.avi.",
        "1 video copies another of its class, and counts twice: v_Archery_g03_c01.avi and v_Archery_g02_c01.avi.",
        "Warning: 1 video copies one of another class, so that a label is wrong: v_Archery_g01_c01.avi and "
        "v_Biking_g02_c01.avi.",
    )


def test_what_is_told_of_single_videos_survives_an_interruption(tmp_path: Path) -> None:
    """A remark on a video that was done before the interruption would be lost with it."""
    source = write_dataset(tmp_path / "s", each=4)
    for number in range(3):
        for name in ("img", "flow_x"):
            write_image(source / f"a/0/{name}_{number}.png", grey_ramp(1)[0])

    def stop(done: int, total: int, name: str) -> None:
        if done == 8:
            raise StopNowError

    with pytest.raises(StopNowError):
        make(source, tmp_path / "c.h5", progress=stop)
    notes = make(source, tmp_path / "c.h5").notes
    assert notes == ("1 folder holds images that are no frames of it: a/0 (flow_x_*.png).",)


@pytest.mark.parametrize("links", [True, False])
def test_what_appears_at_the_output_is_left_alone(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Two hours of another command's work were gone, without --overwrite."""
    if not links:

        def refuse(*_: object) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "link", refuse)

    def appear(done: int, total: int, name: str) -> None:
        if done == total:
            (tmp_path / "c.h5").write_text("precious")

    with pytest.raises(UsageError, match="appeared while this was prepared") as caught:
        make(source, tmp_path / "c.h5", progress=appear)
    assert "nothing is decoded a second time" in caught.value.hint
    assert (tmp_path / "c.h5").read_text() == "precious"
    (tmp_path / "c.h5").unlink()
    assert make(source, tmp_path / "c.h5").resumed_videos == 10
    assert list(tmp_path.iterdir()) == [tmp_path / "c.h5"]
    assert (tmp_path / "c.h5").stat().st_nlink == 1


def test_overwrite_is_of_what_was_there(source: Path, tmp_path: Path) -> None:
    """--overwrite was said of the old file, not of one that came meanwhile."""
    (tmp_path / "c.h5").write_text("old")

    def appear(done: int, total: int, name: str) -> None:
        if done == total:
            (tmp_path / "c.h5").write_text("precious and new")

    with pytest.raises(UsageError, match="appeared while this was prepared"):
        make(source, tmp_path / "c.h5", overwrite=True, progress=appear)
    assert (tmp_path / "c.h5").read_text() == "precious and new"
    make(source, tmp_path / "c.h5", overwrite=True)
    assert h5py.is_hdf5(tmp_path / "c.h5")


def test_class_that_lost_its_training_videos_is_named(tmp_path: Path) -> None:
    """A class that cannot be learned would only show as a low accuracy."""
    write_dataset(tmp_path / "s", each=5)
    (tmp_path / "s/gone").mkdir()
    (tmp_path / "s/gone/1.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="gone"):
        make(tmp_path / "s", tmp_path / "c.h5", max_skipped_percent=50)


def test_nothing_to_test_on(tmp_path: Path) -> None:
    write_dataset(tmp_path / "s", each=1)
    with pytest.raises(DataError, match="testing"):
        make(tmp_path / "s", tmp_path / "c.h5")


def test_short_videos_and_missing_tests_are_told(tmp_path: Path) -> None:
    write_dataset(tmp_path / "s", each=4, length=3)
    write_video(tmp_path / "s/single/1.mp4", grey_ramp(6))
    summary = make(tmp_path / "s", tmp_path / "c.h5")
    assert summary.short_videos == 8
    assert "single" in summary.notes[0]


def test_constant_videos_can_be_normalised(tmp_path: Path) -> None:
    """Training divides by std; black videos would stop it with a division by zero."""
    for number in range(2):
        write_video(tmp_path / f"s/a/{number}.mp4", np.zeros((4 + number, 32, 32, 3), np.uint8))
    assert min(make(tmp_path / "s", tmp_path / "c.h5").std) > 0


def test_thousands_of_classes(tmp_path: Path) -> None:
    """HDF5 refuses large attributes in its oldest format: after all the decoding."""
    write_dataset(tmp_path / "s", each=2)
    names = tuple(f"{number:05d} " + "x" * 95 for number in range(2000))
    listing = list_videos("folders", tmp_path / "s")
    videos = sorted(listing.videos, key=prepare_module._order)
    sampling = Sampling(4, 32)
    with exclusive(tmp_path / "p"):
        partial = PartialClips(tmp_path / "p", {}, (4, 32, 32, 3))
        for video in videos:
            partial.append(digest(Task(video, sampling, None)))
        partial.commit()
        work = prepare_module._Work(replace(listing, classes=names), videos, partial, sampling)
        prepare_module._assemble(work, tmp_path / "c.h5", None, lambda: None)
        partial.close()
    with h5py.File(tmp_path / "c.h5") as file:
        assert json.loads(file.attrs["classes"]) == list(names)


def test_progress_counts_every_video(source: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make(source, tmp_path / "c.h5", progress=lambda done, total, name: seen.append((done, total)))
    assert seen == [(done, 10) for done in range(11)]


class StopNowError(Exception):
    pass


@pytest.mark.parametrize("workers", [0, 2])
def test_stopping_keeps_what_is_done(source: Path, tmp_path: Path, workers: int) -> None:
    """A stop from the dashboard must not cost the videos decoded so far."""

    def stop(done: int, total: int, name: str) -> None:
        if done == 6:
            raise StopNowError

    with pytest.raises(StopNowError):
        make(source, tmp_path / "c.h5", progress=stop, workers=workers)
    assert not (tmp_path / "c.h5").exists()
    assert make(source, tmp_path / "c.h5", workers=workers).resumed_videos == 6
    make(source, tmp_path / "whole.h5")
    assert everything(tmp_path / "c.h5") == everything(tmp_path / "whole.h5")


def test_partial_of_other_data_is_not_mixed_in(source: Path, tmp_path: Path) -> None:
    """Clips of another interval in the first half of the file: nobody would ever notice."""

    def stop(done: int, total: int, name: str) -> None:
        if done == 6:
            raise StopNowError

    with pytest.raises(StopNowError):
        make(source, tmp_path / "c.h5", progress=stop, interval=2)
    assert make(source, tmp_path / "c.h5").resumed_videos == 0
    make(source, tmp_path / "whole.h5")
    assert everything(tmp_path / "c.h5") == everything(tmp_path / "whole.h5")


def test_partial_by_other_rules_is_not_mixed_in(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the clips by the clock and half by counting, after an update in the middle of a prepare."""

    def stop(done: int, total: int, name: str) -> None:
        if done == 6:
            raise StopNowError

    with monkeypatch.context() as patch, pytest.raises(StopNowError):
        patch.setattr(prepare_module, "RULES", prepare_module.RULES - 1)
        make(source, tmp_path / "c.h5", progress=stop)
    assert make(source, tmp_path / "c.h5").resumed_videos == 0


def test_clips_by_another_rule_have_another_fingerprint(tmp_path: Path) -> None:
    """Results on clips that were counted wrong must not pass for results on these."""
    path = write_video(tmp_path / "v.mp4", grey_ramp(6))
    assert content(path) != content(path, ("a rule",))


def made_up(value: int, frames: int, clips: int = 1) -> Digest:
    """A digest of grey clips of 2 x 4 x 4."""
    pixels = np.full((clips, 2, 4, 4, 3), value, np.uint8)
    return Digest(pixels, np.zeros((clips, 2), np.int32), frames, False, (value,) * clips, totals(pixels), str(value))


def test_torn_partial_is_cut_back(tmp_path: Path) -> None:
    """A kill may leave half a clip and half a line; a power cut a line without its clip."""
    shape = (2, 4, 4, 3)
    outcomes: list[Digest | SkippedVideo] = [made_up(1, 2, clips=2), SkippedVideo("broken"), made_up(3, 5)]

    def reopened() -> PartialClips:
        return PartialClips(tmp_path, {"a": 1}, shape)

    partial = reopened()
    for outcome in outcomes:
        partial.append(outcome)
    partial.commit()
    partial.close()
    with (tmp_path / "clips.raw").open("ab") as raw, (tmp_path / "videos.jsonl").open("ab") as log:
        raw.write(b"half a clip")
        log.write(b'{"fram')
    records = reopened().records
    assert (records.done, records.skipped, list(records.frames)) == (3, {1: "broken"}, [2, 5])
    assert (list(records.clips), list(records.crc32), records.contents) == ([2, 1], [1, 1, 3], ["1", "3"])
    assert reopened().clips()[:, 0, 0, 0, 0].tolist() == [1, 1, 3]
    os.truncate(tmp_path / "clips.raw", 2 * 2 * 4 * 4 * 3 + 5)
    assert reopened().records.done == 2
    assert reopened().clips().shape == (2, *shape)
    os.truncate(tmp_path / "clips.raw", 2 * 4 * 4 * 3)  # one of the two clips of a video
    assert reopened().records.done == 0
    assert PartialClips(tmp_path, {"a": 2}, shape).records.done == 0


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b'{"skipped": "x"}\n', b'{"frames": 1}\n', b"[]\n", b"1\n"])))
def test_any_rubbish_in_the_log_is_cut_back(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    """After a power cut a disk may hold anything; what can be read is kept, the rest is decoded again."""
    folder = tmp_path_factory.mktemp("p")
    PartialClips(folder, {}, (2, 4, 4, 3)).close()
    (folder / "videos.jsonl").write_bytes(b"".join(lines))
    partial = PartialClips(folder, {}, (2, 4, 4, 3))
    known = partial.records.done
    partial.append(made_up(1, 2))
    partial.commit()
    partial.close()
    assert PartialClips(folder, {}, (2, 4, 4, 3)).records.done == known + 1


def test_sums_and_content_are_what_they_say(tmp_path: Path) -> None:
    """Mean and deviation of terabytes rest on these sums; the fingerprint on the content."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7, 3), np.uint8)
    flat = pixels.reshape(-1, 3).astype(object)
    assert totals(pixels) == (*flat.sum(0), *(flat**2).sum(0))
    path = tmp_path / "video"
    found = set()
    for edit in (b"a" * 200_000, b"b" + b"a" * 199_999, b"a" * 199_999 + b"b", b"a" * 200_001, b"short", b""):
        path.write_bytes(edit)
        found.add(content(path))
    assert len(found) == 6


SCRIPT = """
import sys
from pathlib import Path
from engine.data import partial
from engine.data.layouts import list_videos
from engine.data.prepare import prepare
from engine.data.sampling import Placement, Sampling
if __name__ == "__main__":
    partial.COMMIT_SECONDS = 0.0
    print("go", flush=True)
    sampling = Sampling(4, 32, train=Placement("sliding", None, 5))
    prepare(list_videos("folders", Path(sys.argv[1])), Path(sys.argv[2]), sampling, workers=int(sys.argv[3]))
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_kill_at_any_moment(tmp_path: Path, workers: int) -> None:
    """The machine goes down, the cluster kills the job: the file in the end must be the same."""
    source = write_dataset(tmp_path / "s", each=12, length=20)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(source), str(tmp_path / "c.h5"), str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    chance = random.Random(workers)
    kills = 0
    while not (tmp_path / "c.h5").exists():
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(chance.uniform(0.0, 0.05) + 0.1 * kills)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        process.stdout.close()
        assert kills < 200
    make(source, tmp_path / "whole.h5", train=Placement("sliding", None, 5))
    assert everything(tmp_path / "c.h5") == everything(tmp_path / "whole.h5")
    assert kills > 0


def test_killed_while_assembling(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last moment before the rename is the worst one to lose everything."""

    def killed(*_: object) -> None:
        raise StopNowError

    with monkeypatch.context() as patch, pytest.raises(StopNowError):
        patch.setattr(prepare_module, "_publish", killed)
        make(source, tmp_path / "c.h5")
    assert not (tmp_path / "c.h5").exists()
    assert make(source, tmp_path / "c.h5").resumed_videos == 10
    assert list(tmp_path.iterdir()) == [tmp_path / "c.h5"]


def test_a_partial_that_is_a_link_is_not_followed(source: Path, tmp_path: Path) -> None:
    """Its name can be foreseen: whoever may write there could have the clips put, and files removed, elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "clips.raw").write_bytes(b"precious")
    (tmp_path / "c.h5.partial").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="in the way"):
        make(source, tmp_path / "c.h5")
    assert [path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()] == [b"precious"]


@pytest.mark.parametrize("name", ["lock", "clips.raw", "videos.jsonl", "header.json", "assembled.h5"])
def test_links_inside_a_partial_are_not_followed(source: Path, tmp_path: Path, name: str) -> None:
    """A folder that somebody made ready for us: the file that the link leads to stays as it is."""
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "c.h5.partial").mkdir()
    (tmp_path / "c.h5.partial" / name).symlink_to(tmp_path / "precious")
    with contextlib.suppress(StorageError):
        make(source, tmp_path / "c.h5")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (tmp_path / "c.h5").exists() == (name != "lock")  # what is worked with is removed first, but for the lock


def test_second_prepare_is_refused(source: Path, tmp_path: Path) -> None:
    """Two processes that append to one file make garbage."""
    with exclusive(tmp_path / "c.h5.partial"), pytest.raises(UsageError, match=r"Another process.*c\.h5"):
        make(source, tmp_path / "c.h5")
    make(source, tmp_path / "c.h5")


def test_full_disk(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is told in words, and what was decoded is kept."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(partial_module, "_write_all", full)
        with pytest.raises(StorageError, match="space"):
            make(source, tmp_path / "c.h5")
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(StorageError, match="space"):
            make(source, tmp_path / "c.h5")
    assert make(source, tmp_path / "c.h5").resumed_videos == 10


def test_a_disk_that_is_too_small_is_told_before_decoding(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after a day of decoding."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    seen: list[int] = []
    with pytest.raises(StorageError) as caught:
        make(source, tmp_path / "c.h5", progress=lambda done, total, name: seen.append(done))
    assert "233.5 kB" in caught.value.problem and "--size" in caught.value.hint and not seen


def test_varying_numbers_of_clips_stay_with_their_videos(tmp_path: Path) -> None:
    """Sliding windows give long videos more clips; labels, frame numbers and videos must follow."""
    for name, start in (("dark", 10), ("light", 130)):
        for number in range(4):
            write_video(tmp_path / "s" / name / f"{number}.mp4", grey_ramp(4 + 3 * number, start=start))
    summary = make(tmp_path / "s", tmp_path / "c.h5", train=Placement("sliding", None, 2))
    with h5py.File(tmp_path / "c.h5") as file:
        lengths, names = file["videos/frames"][()], file["videos/name"].asstr()[()]
        train = file["train"]
        expected = [
            row for row, length in enumerate(lengths[: summary.videos["train"]]) for _ in range(0, length - 3, 2)
        ]
        assert train["video"][()].tolist() == expected
        assert summary.clips["train"] == len(expected) and summary.clips["test"] == summary.videos["test"]
        for row, clip in enumerate(train["clips"][()]):
            start = 10 if names[train["video"][row]].startswith("dark") else 130
            assert ramp_numbers(clip, start=start) == train["frame_indices"][row].tolist()


def test_what_the_layout_rejected_counts_as_skipped(source: Path, tmp_path: Path) -> None:
    """Duplicates and links out of the folder are bad files too, and must be listed like them."""
    listing = replace(list_videos("folders", source), rejected=(("x.mp4", "a duplicate"),), notes=("a note",))
    with pytest.raises(DataError, match=r"1 of 11 .*x\.mp4: a duplicate"):
        make(source, tmp_path / "c.h5", listing)
    summary = make(source, tmp_path / "c.h5", listing, max_skipped_percent=10)
    assert summary.skipped == (("x.mp4", "a duplicate"),) and "a note" in summary.notes


def test_missing_videos_are_counted_and_named(source: Path, tmp_path: Path) -> None:
    """Kinetics is never complete: that is no error, but a number that belongs to every result."""
    listing = replace(list_videos("folders", source), missing=("gone.mp4", "away.mp4"), official_split=3)
    summary = make(source, tmp_path / "c.h5", listing)
    assert (summary.missing, summary.split, summary.skipped) == (2, 3, ())
    with h5py.File(tmp_path / "c.h5") as file:
        assert (file.attrs["missing"], file.attrs["split"]) == (2, 3)
        assert file["missing"].asstr()[()].tolist() == ["gone.mp4", "away.mp4"]


def test_copies_of_training_videos_among_the_tested_are_named(tmp_path: Path) -> None:
    """A test video that was trained on makes every number too good."""
    for split in ("train", "test"):
        write_dataset(tmp_path / "s" / split, each=2)
    write_video(tmp_path / "s/test/a/1.mp4", grey_ramp(6, start=33))
    write_video(tmp_path / "s/test/b/0.mp4", grey_ramp(6, start=44))
    write_video(tmp_path / "s/test/b/1.mp4", grey_ramp(6, start=55))
    summary = make(tmp_path / "s", tmp_path / "c.h5")
    assert summary.skipped == (("train/a/0.mp4", "a copy of test/a/0.mp4, which is used for testing"),)


def test_short_and_dense_videos_are_told_apart(tmp_path: Path) -> None:
    """The two rules for short videos change what a clip shows in different ways."""
    for length in (3, 9, 20):
        for number in range(2):
            write_video(tmp_path / f"s/a/{length}-{number}.mp4", grey_ramp(length, start=10 + number))
    summary = make(tmp_path / "s", tmp_path / "c.h5", interval=4)
    assert (summary.short_videos, summary.dense_videos) == (2, 2)


def test_train_and_test_are_placed_apart(source: Path, tmp_path: Path) -> None:
    """Several random clips to train on, one from the middle to test on."""
    summary = make(source, tmp_path / "c.h5", train=Placement("random", 3), test=Placement())
    assert summary.clips == {"train": 18, "test": 4}


def test_two_stretches_of_one_file_are_two_videos(tmp_path: Path) -> None:
    """A table may cut films into scenes."""
    path = write_video(tmp_path / "film.mp4", grey_ramp(40), fps=10)
    scenes = [("a", 0, "train", 0.0, 2.0), ("b", 0, "test", 2.0, 4.0)]
    videos = tuple(
        VideoEntry(path, f"film.mp4@{name}", label, split, at, end) for name, label, split, at, end in scenes
    )
    make(tmp_path, tmp_path / "c.h5", Listing(("film",), videos, "table", "films"))
    with h5py.File(tmp_path / "c.h5") as file:
        for split, begin in (("train", 0), ("test", 20)):
            numbers = [begin + number for number in file[split]["frame_indices"][0].tolist()]
            assert ramp_numbers(file[split]["clips"][0]) == numbers


def test_no_worker_is_left(source: Path, tmp_path: Path) -> None:
    make(source, tmp_path / "c.h5", workers=2)
    assert not multiprocessing.active_children()
