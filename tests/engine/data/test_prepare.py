"""The clips file: what is in it, that it is the same however it was made, and what happens when things go wrong."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from engine.data import partial as partial_module
from engine.data import prepare as prepare_module
from engine.data.decode import DecodedVideo, Sampling, SkippedVideo
from engine.data.layouts import list_videos
from engine.data.partial import PartialClips, exclusive
from engine.data.pool import decode_in_order
from engine.data.prepare import PrepareSummary, prepare
from engine.errors import DataError, StorageError, UsageError
from tests.videos import CrashingPath, grey_ramp, ramp_numbers, write_dataset, write_video

ROOT = Path(__file__).parents[3]


def make(source: Path, output: Path, **options: object) -> PrepareSummary:
    chosen: dict[str, object] = {"frames": 4, "size": 32, **options}
    return prepare(list_videos("folders", source), output, **chosen)  # type: ignore[arg-type]


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
    summary = make(source, tmp_path / "c.h5", clips_per_video=2)
    with h5py.File(tmp_path / "c.h5") as file:
        assert file.attrs["format"] == "vdtui.clips"
        assert file.attrs["version"] == 1
        assert json.loads(file.attrs["classes"]) == ["<run>", "walk"]
        shape = [file.attrs[name] for name in ("frames", "height", "width", "interval")]
        assert shape == [4, 32, 32, 1]
        assert {"dataset", "layout", "created", "tool", "source_fingerprint"} <= set(file.attrs)
        assert (file.attrs["dataset"], file.attrs["layout"]) == ("mine", "folders")
        assert set(file) == {"train", "test", "videos", "skipped"}
        for split, clips in (("train", 12), ("test", 8)):
            group = file[split]
            assert (group["clips"].dtype, group["clips"].shape) == (np.uint8, (clips, 4, 32, 32, 3))
            assert group["clips"].chunks == (1, 4, 32, 32, 3)
            assert group["clips"].compression is None
            assert (group["labels"].dtype, group["video"].dtype) == (np.int64, np.int64)
            assert (group["frame_indices"].dtype, group["frame_indices"].shape) == (np.int32, (clips, 4))
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
    make(source, tmp_path / "1.h5", workers=1)
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
        write_video(tmp_path / f"s/a/{number}.mp4", np.zeros((4, 32, 32, 3), np.uint8))
    assert min(make(tmp_path / "s", tmp_path / "c.h5").std) > 0


def test_thousands_of_classes(tmp_path: Path) -> None:
    """HDF5 refuses large attributes in its oldest format: after all the decoding."""
    write_dataset(tmp_path / "s", each=2)
    names = tuple(f"{number:05d} " + "x" * 95 for number in range(2000))
    listing = list_videos("folders", tmp_path / "s")
    videos = sorted(listing.videos, key=prepare_module._order)
    with exclusive(tmp_path / "p"):
        partial = PartialClips(tmp_path / "p", {}, (1, 4, 32, 32, 3))
        for outcome in decode_in_order([video.path for video in videos], Sampling(4, 32), 1, lambda: None):
            partial.append(outcome)
        partial.commit()
        many = replace(listing, classes=names)
        work = prepare_module._Work(many, videos, partial, Sampling(4, 32), "")
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


@pytest.mark.parametrize("workers", [1, 2])
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


def test_torn_partial_is_cut_back(tmp_path: Path) -> None:
    """A kill may leave half a clip and half a line; a power cut a line without its clip."""
    shape = (1, 2, 4, 4, 3)
    outcomes: list[DecodedVideo | SkippedVideo] = [
        DecodedVideo(np.full(shape, 1, np.uint8), 2),
        SkippedVideo("broken"),
        DecodedVideo(np.full(shape, 3, np.uint8), 5),
    ]

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
    assert reopened().done == [2, "broken", 5]
    assert reopened().clips()[:, 0, 0, 0, 0, 0].tolist() == [1, 3]
    os.truncate(tmp_path / "clips.raw", 2 * 4 * 4 * 3 + 5)
    assert reopened().done == [2, "broken"]
    assert reopened().clips().shape == (1, *shape)
    assert PartialClips(tmp_path, {"a": 2}, shape).done == []


SCRIPT = """
import sys
from pathlib import Path
from engine.data import partial
from engine.data.layouts import list_videos
from engine.data.prepare import prepare
if __name__ == "__main__":
    partial.COMMIT_VIDEOS = 3
    print("go", flush=True)
    prepare(list_videos("folders", Path(sys.argv[1])), Path(sys.argv[2]), frames=4, size=32, workers=int(sys.argv[3]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_at_any_moment(tmp_path: Path, workers: int) -> None:
    """The machine goes down, the cluster kills the job: the file in the end must be the same."""
    source = write_dataset(tmp_path / "s", each=30, length=20)
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
            process.wait(chance.uniform(0.0, 0.3) + 0.1 * kills)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        process.stdout.close()
        assert kills < 40
    make(source, tmp_path / "whole.h5")
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


def test_crash_of_the_decoder_costs_one_video(source: Path) -> None:
    """One file that crashes FFmpeg would end a prepare of days, each time at the same place."""
    paths = sorted(source.rglob("*.mp4"))[:4]
    paths.insert(2, CrashingPath(paths[0]))
    outcomes = list(decode_in_order(paths, Sampling(4, 32), 2, lambda: None))
    assert [isinstance(outcome, SkippedVideo) for outcome in outcomes] == [False, False, True, False, False]


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """After a kill -9, orphans would hold memory on a shared machine for ever."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\n"
        "from engine.data.pool import _start\n"
        "if __name__ == '__main__':\n"
        "    print(_start(1).submit(os.getpid).result(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 10
    while _alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_no_worker_is_left(source: Path, tmp_path: Path) -> None:
    make(source, tmp_path / "c.h5", workers=2)
    assert not multiprocessing.active_children()
