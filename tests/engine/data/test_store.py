"""Reading clips: the right ones in the right order, fair holdouts, and files that cannot be trusted."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.data.layouts import list_videos
from engine.data.prepare import prepare
from engine.data.sampling import Placement, Sampling
from engine.data.sources import recording
from engine.data.store import ClipStore, SplitView
from engine.errors import DataError
from tests.videos import write_dataset

ROOT = Path(__file__).parents[3]
STORED: dict[str, dict[str, Any]] = {
    "plain": {"chunks": (1, 4, 32, 32, 3)},
    "gzip": {"chunks": (1, 4, 32, 32, 3), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": (1, 4, 32, 32, 3), "compression": "lzf", "fletcher32": True},
    "other chunks": {"chunks": (6, 2, 32, 32, 3)},
    "one piece": {},
}


@pytest.fixture(scope="module")
def clips_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    source = write_dataset(folder / "s", ("a", "b", "c"), each=6)
    three = Placement(number=3)
    prepare(list_videos("folders", source), folder / "c.h5", Sampling(4, 32, train=three, test=three))
    return folder / "c.h5"


@pytest.fixture(scope="module")
def stored(clips_file: Path) -> dict[str, Path]:
    """The same clips in every way in which HDF5 may store them, and behind bytes that are not HDF5's."""
    paths = {kind: clips_file.with_name(f"{kind}.h5") for kind in [*STORED, "behind a block"]}
    for kind, path in paths.items():
        rewrite(clips_file, path, 1024 if kind == "behind a block" else 0, **STORED.get(kind, STORED["plain"]))
    return paths


def rewrite(source: Path, target: Path, block: int = 0, **options: Any) -> None:
    """Copy a clips file with the clips stored by ``options``."""
    with h5py.File(source) as old, h5py.File(target, "w", userblock_size=block) as new:
        new.attrs.update(old.attrs)
        for name in old:
            old.copy(name, new)
        for split in ("train", "test"):
            del new[split]["clips"]
            new[split].create_dataset("clips", data=old[split]["clips"][()], **options)


@pytest.fixture
def copy(clips_file: Path, tmp_path: Path) -> Path:
    path = tmp_path / "copy.h5"
    path.write_bytes(clips_file.read_bytes())
    return path


def test_what_a_store_tells(clips_file: Path) -> None:
    with ClipStore.open(clips_file) as store:
        assert store.classes == ("a", "b", "c")
        assert (store.frames, store.height, store.width, store.interval) == (4, 32, 32, 1)
        assert (store.dataset, store.layout, store.splits) == ("s", "folders", ("train", "test"))
        assert len(store.mean) == len(store.std) == 3
        assert store.skipped == ()
        assert len(store.fingerprint) == 16
        train = store.split("train")
        assert (len(train), len(store.split("test"))) == (36, 18)
        assert train.labels.dtype == train.video.dtype == np.int64
        assert [len(train.by_class(label)) for label in range(3)] == [12, 12, 12]
        assert set(train.labels[train.by_class(1)]) == {1}
        with pytest.raises(DataError, match="val"):
            store.split("val")


def test_what_is_told_of_how_clips_were_taken(clips_file: Path) -> None:
    """A table of results must be able to say by which rule clips were cut."""
    with ClipStore.open(clips_file) as store:
        assert store.sampling["train"]["number"] == 3 and store.sampling["size"] == 32
        assert (store.official_split, store.missing, store.short_videos, store.dense_videos) == (0, 0, 0, 0)
        assert store.notes == () and len(store.checksum) == 64
        assert store.crc32("train").shape == (36,)


def test_files_of_the_first_version_still_open(copy: Path) -> None:
    """Clips that took a day to decode must not have to be decoded again after an update."""
    with h5py.File(copy, "r+") as file:
        for name in ("sampling", "split", "missing", "short_videos", "dense_videos", "notes", "checksum"):
            del file.attrs[name]
        for split in ("train", "test"):
            del file[split]["crc32"]
    with ClipStore.open(copy) as store:
        assert (store.sampling, store.official_split, store.missing, store.notes) == ({}, 0, 0, ())
        assert (store.short_videos, store.dense_videos, store.checksum, store.crc32("train")) == (0, 0, None, None)
        assert store.split("train").clips([0]).shape == (1, 4, 32, 32, 3)


@pytest.mark.parametrize("kind", [*STORED, "behind a block", "loaded"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(indices=st.lists(st.integers(0, 35), max_size=20), frames=st.lists(st.integers(0, 3), min_size=20, max_size=20))
@example(indices=list(range(36)), frames=[0, 1, 2, 3] * 9)
@example(indices=[5, 6, 7, 7, 6, 5, 35, 34, 0], frames=[3, 2, 1, 0] * 5)
def test_clips_come_in_the_order_asked(
    stored: dict[str, Path], kind: str, indices: list[int], frames: list[int]
) -> None:
    """Clips under each other's labels: training would run, and learn nothing."""
    path = stored.get(kind, stored["plain"])
    with h5py.File(path) as file, ClipStore.open(path) as store:
        truth = file["train/clips"][()]
        view = store.split("train")
        if kind == "loaded":
            view.load()
        clips = view.clips(indices)
        assert clips.dtype == np.uint8
        assert clips.shape == (len(indices), 4, 32, 32, 3)
        assert all(np.array_equal(clip, truth[index]) for clip, index in zip(clips, indices, strict=True))
        pictures = view.frames_at(indices, frames[: len(indices)])
        assert pictures.shape == (len(indices), 32, 32, 3)
        for picture, index, frame in zip(pictures, indices, frames, strict=False):
            assert np.array_equal(picture, truth[index, frame])


def test_plain_clips_are_read_past_hdf5(clips_file: Path) -> None:
    """Through HDF5 a random batch takes many times as long, and every step of a run waits for one."""
    with ClipStore.open(clips_file) as store:
        view = store.split("train")
        first = view.clips([7, 3])
        store._hdf5.close()
        assert np.array_equal(view.clips([7, 3]), first)
        assert np.array_equal(view.frames_at([7, 3], [0, 2]), first[[0, 1], [0, 2]])


def test_reads_that_come_in_parts_are_put_together(clips_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may give less than was asked for, as it does beyond 2 GB and on network disks."""
    with ClipStore.open(clips_file) as store:
        view, whole = store.split("train"), os.preadv
        expected = view.clips(range(36))
        monkeypatch.setattr(os, "preadv", lambda file, parts, offset: whole(file, [parts[0][:1000]], offset))
        assert np.array_equal(view.clips(range(36)), expected)


@pytest.mark.parametrize("kind", ["plain", "gzip", "loaded"])
def test_a_file_that_loses_its_end_is_told(stored: dict[str, Path], tmp_path: Path, kind: str) -> None:
    """Mapped memory would kill the process at that moment; what was loaded before is still there."""
    path = tmp_path / "c.h5"
    path.write_bytes(stored.get(kind, stored["plain"]).read_bytes())
    with ClipStore.open(path) as store:
        view = store.split("train")
        view.clips([0])
        if kind == "loaded":
            view.load()
        os.truncate(path, 4096)
        if kind == "loaded":
            assert view.clips(range(36)).any()
        else:
            for read in (lambda: view.clips(range(36)), lambda: view.frames_at(range(36), 3)):
                with pytest.raises(DataError, match="damaged"):
                    read()


def test_a_closed_store_reads_nothing(clips_file: Path) -> None:
    """Its file's number may be another file's by then, whose bytes would be training clips."""
    store = ClipStore.open(clips_file)
    view = store.split("train")
    view.clips([0])
    store.close()
    with clips_file.open("rb"), pytest.raises(DataError):
        view.clips([0])
    store.close()


def read_there(view: SplitView, indices: list[int]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """What another process gets."""
    return view.clips(indices), view.frames_at(indices, 1), view.store.video_names


INHERITED: list[SplitView] = []


def read_inherited(indices: list[int]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """What a forked process gets from a view that it never was sent."""
    return read_there(INHERITED[0], indices)


def check_views(path: Path, method: str) -> None:
    """Compare what other processes read with what this one does."""
    with ClipStore.open(path) as store:
        view = store.split("train").holdout(0.5, 1)[0]
        everything = range(len(view))
        expected, pictures = view.clips(everything), view.frames_at(everything, 1)
        with multiprocessing.get_context(method).Pool(2) as pool:
            parts = [list(everything)[k::4] for k in range(4)]
            waiting = pool.starmap_async(read_there, [(view, part) for part in parts], chunksize=1)
            here = [view.clips(everything) for _ in range(5)]
            for part, (clips, images, names) in zip(parts, waiting.get(60), strict=True):
                assert np.array_equal(clips, expected[part]) and np.array_equal(images, pictures[part])
                assert names == store.video_names
        assert all(np.array_equal(clips, expected) for clips in here)


def check_inherited(path: Path, read_before: bool) -> None:
    """Compare what forked processes read of a view that is there already with what this one does."""
    with ClipStore.open(path) as store:
        view = store.split("train")
        INHERITED.append(view)
        if read_before:
            view.clips([0])
        with multiprocessing.get_context("fork").Pool(2) as pool:
            waiting = pool.map_async(read_inherited, [list(range(k, 36, 4)) for k in range(4)], chunksize=1)
            expected = view.clips(range(36))
            for k, (clips, images, names) in enumerate(waiting.get(60)):
                assert np.array_equal(clips, expected[k::4]) and np.array_equal(images, expected[k::4, 1])
                assert names == store.video_names
        assert np.array_equal(view.clips(range(36)), expected)


def alone(check: Callable[..., None], *arguments: object) -> None:
    """Call ``check`` in a process of its own: one that is forked while other tests' threads hold locks never ends."""
    process = multiprocessing.get_context("spawn").Process(target=check, args=arguments)
    process.start()
    process.join(120)
    process.kill()
    assert process.exitcode == 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("kind", ["plain", "gzip"])
def test_views_go_to_other_processes(stored: dict[str, Path], kind: str, method: str) -> None:
    """A DataLoader's workers get the clips, whether they are forked in the middle of reading or start anew."""
    alone(check_views, stored[kind], method)


@pytest.mark.parametrize("read_before", [False, True])
@pytest.mark.parametrize("kind", ["plain", "gzip"])
def test_forked_processes_read_through_handles_of_their_own(
    stored: dict[str, Path], kind: str, read_before: bool
) -> None:
    """HDF5 does not expect its own state in two processes: clips of another place, or a crash."""
    alone(check_inherited, stored[kind], read_before)


def test_another_file_of_the_same_name_is_not_taken_for_it(clips_file: Path, copy: Path) -> None:
    """`prepare --overwrite` during a run: workers that start later would train on other clips."""
    with ClipStore.open(copy) as store:
        sent = pickle.dumps(store.split("train"))
        expected = store.split("train").clips([3])
        other = copy.with_name("other.h5")
        other.write_bytes(clips_file.read_bytes())
        with h5py.File(other, "r+") as file:
            file["train/labels"][0] = 2 - file["train/labels"][0]
        other.replace(copy)
        assert np.array_equal(store.split("train").clips([3]), expected)  # the one that was opened
        with pytest.raises(DataError, match="replaced"):
            pickle.loads(sent)
        store._process = 0  # as in a forked process
        with pytest.raises(DataError, match="replaced"):
            _ = store.file


def test_held_out_views_read_their_own_clips(clips_file: Path) -> None:
    """Indices of a part of the training clips must not be taken for those of the whole."""
    with ClipStore.open(clips_file) as store:
        whole = store.split("train")
        for view in whole.holdout(0.4, 1):
            direct = view.clips(range(len(view)))
            assert np.array_equal(direct, view.load().clips(range(len(view))))
            for index, clip in enumerate(direct):
                candidates = whole.clips(np.flatnonzero(whole.video == view.video[index]))
                assert any(np.array_equal(clip, candidate) for candidate in candidates)


@pytest.mark.parametrize("indices", [[36], [-37], [0.5], [True, False]])
def test_wrong_indices_raise(clips_file: Path, indices: list[object]) -> None:
    """A mask or a float read as an index would give some clip without a word."""
    with ClipStore.open(clips_file) as store:
        for read in (store.split("train").clips, lambda wrong: store.split("train").frames_at(wrong, 0)):
            with pytest.raises((IndexError, TypeError)):
                read(indices)
        with pytest.raises(IndexError):
            store.split("train").frames_at([0], [4])


class Columns:
    """What holdout needs of a store."""

    def __init__(self, labels: list[int], clips_per_video: int, recordings: list[int] | None = None) -> None:
        count = len(labels)
        self.recordings = np.arange(count) if recordings is None else np.array(recordings)
        self._columns = {
            ("train", "labels"): np.repeat(labels, clips_per_video),
            ("train", "video"): np.repeat(np.arange(count), clips_per_video),
        }


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.integers(1, 3),
    st.floats(0, 0.99),
    st.integers(0, 3),
)
def test_holdout(labels: list[int], clips_per_video: int, fraction: float, seed: int) -> None:
    """A video on both sides makes the validation accuracy a lie; a class without training clips cannot be learned."""
    whole = SplitView(Columns(labels, clips_per_video), "train", np.arange(len(labels) * clips_per_video))  # type: ignore[arg-type]
    train, val = whole.holdout(fraction, seed)
    again, _ = whole.holdout(fraction, seed)
    assert np.array_equal(train._rows, again._rows)
    assert sorted([*train._rows, *val._rows]) == list(range(len(whole)))
    assert not set(train.video) & set(val.video)
    for label in set(labels):
        videos = labels.count(label)
        held = len(set(val.video[val.labels == label]))
        assert len(set(train.video[train.labels == label])) == videos - held >= 1
        assert abs(held - videos * fraction) <= 1
        if fraction > 0 and videos > 1:
            assert held >= 1


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), min_size=1, max_size=60),
    st.floats(0, 0.9),
    st.integers(0, 3),
)
def test_holdout_parts_no_recording(videos: list[tuple[int, int]], fraction: float, seed: int) -> None:
    """Else the iteration is chosen by how well scenes are remembered, which the official test splits do not ask."""
    labels = [label for label, _ in videos]
    recordings = [10 * label + number for label, number in videos]
    whole = SplitView(Columns(labels, 2, recordings), "train", np.arange(2 * len(labels)))  # type: ignore[arg-type]
    train, val = whole.holdout(fraction, seed)
    assert sorted([*train._rows, *val._rows]) == list(range(len(whole)))
    for label in set(labels):
        own = [number for number, of in zip(recordings, labels, strict=True) if of == label]
        kept, held = ({recordings[v] for v in part.video[part.labels == label]} for part in (train, val))
        assert kept and (held or fraction == 0 or len(own) == 1)
        if len(set(own)) > 1:
            assert not kept & held
            smallest = min(own.count(number) for number in set(own))
            number = len(set(val.video[val.labels == label]))
            assert number <= max(1, round(len(own) * fraction), smallest)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("videos/clap/A_Round_of_Applause_clap_u_cm_np1_fr_med_0.avi", "videos/clap/A_Round_of_Applause_clap"),
        ("clap/A_Round_of_Applause_clap_h_nm_np12_le_goo_13.avi", "clap/A_Round_of_Applause_clap"),
        ("Biking/v_Biking_g07_c03.avi", "Biking/v_Biking_g07"),
        ("v_Biking_g07_c03", "v_Biking_g07"),
        ("mine/take_1.mp4", "mine/take_1.mp4"),
        ("a_g1_c2/holiday", "a_g1_c2/holiday"),
    ],
)
def test_a_recording_is_what_is_left_of_a_name(name: str, expected: str) -> None:
    """Names as the authors of HMDB51 and UCF101 describe them; all others are left alone."""
    assert recording(name) == expected


def test_fingerprint_tells_data_apart(clips_file: Path, copy: Path) -> None:
    """Results on different data must never look comparable."""
    with h5py.File(copy, "r+") as file:
        file["train/labels"][0] = 2 - file["train/labels"][0]
    with ClipStore.open(clips_file) as one, ClipStore.open(copy) as other:
        assert one.fingerprint != other.fingerprint


def test_many_readers_at_once(clips_file: Path) -> None:
    """Experts, evaluation and the dashboard read the same file."""
    with ClipStore.open(clips_file) as one, ClipStore.open(clips_file) as two:
        assert np.array_equal(one.split("test").clips([0]), two.split("test").clips([0]))


def refuse(path: Path, match: str | None = None) -> None:
    with pytest.raises(DataError, match=match) as caught:
        ClipStore.open(path)
    assert "\n" not in caught.value.problem + caught.value.hint


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    refuse(tmp_path / "none.h5", "no clips file")
    refuse(tmp_path, "no clips file")
    (tmp_path / "text.h5").write_text("hello")
    refuse(tmp_path / "text.h5", "not a clips file")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    refuse(tmp_path / "foreign.h5", "not one of clips")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file(copy: Path, share: float) -> None:
    """An interrupted download must be told from a bug."""
    copy.write_bytes(copy.read_bytes()[: int(copy.stat().st_size * share)])
    refuse(copy)


def outside_of_clips(path: Path) -> np.ndarray:
    """Positions of all bytes that say something of the clips and are not pixels."""
    outside = np.ones(path.stat().st_size, bool)
    with h5py.File(path) as file:
        for split in ("train", "test"):
            file[split]["clips"].id.chunk_iter(
                lambda chunk: outside.__setitem__(slice(chunk.byte_offset, chunk.byte_offset + chunk.size), False)
            )
    return np.flatnonzero(outside)


def read_all(path: Path) -> None:
    """Everything that is ever read of a file: clips, or a DataError."""
    try:
        with ClipStore.open(path) as store:
            _ = store.fingerprint, store.skipped, store.video_names
            for split in store.splits:
                view = store.split(split)
                store.crc32(split)
                view.clips([0, len(view) - 1])
                view.frames_at([len(view) - 1], [0])
    except DataError as error:
        assert "\n" not in error.problem + error.hint


@settings(max_examples=120)
@given(st.data())
def test_flipped_bytes_never_crash(stored: dict[str, Path], data: st.DataObject) -> None:
    """Whatever a damaged file says of its clips, the answer is clips or a DataError."""
    source = stored[data.draw(st.sampled_from(["plain", "gzip"]))]
    content, places = bytearray(source.read_bytes()), outside_of_clips(source)
    for _ in range(data.draw(st.integers(1, 3))):
        content[places[data.draw(st.integers(0, len(places) - 1))]] = data.draw(st.integers(0, 255))
    path = source.with_name("flipped.h5")
    path.write_bytes(content)
    read_all(path)


@given(st.floats(0, 1), st.binary(max_size=100))
def test_files_that_end_early_never_crash(clips_file: Path, share: float, rest: bytes) -> None:
    """A copy that was interrupted, or went on in the middle of something else."""
    content = clips_file.read_bytes()
    path = clips_file.with_name("cut.h5")
    path.write_bytes(content[: int(len(content) * share)] + rest)
    read_all(path)


ATTRIBUTES = (
    *("format", "version", "dataset", "layout", "classes", "frames", "height", "width", "interval", "mean", "std"),
    *("created", "tool", "source_fingerprint", "sampling", "split", "missing", "short_videos", "dense_videos", "notes"),
    "checksum",
)
VALUES = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["[" * 20_000, "{}", "[]", "null", "5", '"x"', '[["a"]]', '{"a": NaN}', "1e999"]),
    st.binary(min_size=1, max_size=9).map(np.void),
    st.lists(st.floats(width=32), min_size=1, max_size=5),
    st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4),
    st.just(h5py.Empty("f8")),
    st.just(np.zeros((40, 40))),
)


@settings(max_examples=100)
@given(st.sampled_from(ATTRIBUTES), VALUES)
def test_attributes_of_any_type_never_crash(clips_file: Path, name: str, value: object) -> None:
    """A file from another program, or of somebody who means harm."""
    path = clips_file.with_name("attributes.h5")
    path.write_bytes(clips_file.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    read_all(path)


DAMAGE: dict[str, Callable[[h5py.File], object]] = {
    "newer version": lambda file: file.attrs.__setitem__("version", 2),
    "classes are no JSON": lambda file: file.attrs.__setitem__("classes", "a, b"),
    "classes are no names": lambda file: file.attrs.__setitem__("classes", "[1, 2, 3]"),
    "classes are no list": lambda file: file.attrs.__setitem__("classes", "5"),
    "no mean": lambda file: file.attrs.__delitem__("mean"),
    "two means": lambda file: file.attrs.__setitem__("mean", [0.5, 0.5]),
    "std of zero": lambda file: file.attrs.__setitem__("std", [0.5, 0.0, 0.5]),
    "no frames": lambda file: file.attrs.__setitem__("frames", 0),
    "other frames": lambda file: file.attrs.__setitem__("frames", 8),
    "label outside": lambda file: file["train/labels"].__setitem__(0, 3),
    "video outside": lambda file: file["train/video"].__setitem__(0, -1),
    "test is a dataset": lambda file: (file.__delitem__("test"), file.__setitem__("test", 5)),
    "no labels": lambda file: file.__delitem__("train/labels"),
    "no videos": lambda file: file.__delitem__("videos"),
    "sampling is no object": lambda file: file.attrs.__setitem__("sampling", "[]"),
    "notes are no list": lambda file: file.attrs.__setitem__("notes", "{}"),
    "endless split": lambda file: file.attrs.__setitem__("split", np.inf),
    "checksums of another type": lambda file: replaced(file, "train/crc32", np.zeros(36)),
    "too few checksums": lambda file: replaced(file, "train/crc32", np.zeros(35, np.uint32)),
    "frame numbers of longer clips": lambda file: replaced(file, "train/frame_indices", np.zeros((36, 5), np.int32)),
    "skipped are numbers": lambda file: replaced(file, "skipped", np.zeros(3)),
    "names are numbers": lambda file: replaced(file, "videos/name", np.zeros(18)),
    "missing is a group": lambda file: file.create_group("missing"),
}


def replaced(file: h5py.File, name: str, content: object) -> None:
    del file[name]
    file[name] = content


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_content_is_refused(copy: Path, name: str) -> None:
    """Found at once, not as a traceback in the middle of the night."""
    with h5py.File(copy, "r+") as file:
        DAMAGE[name](file)
    refuse(copy, "version" if name == "newer version" else "damaged")


def test_clips_that_were_never_written_are_refused(copy: Path) -> None:
    """HDF5 gives zeros for them: training on black, without a word."""
    with h5py.File(copy, "r+") as file:
        shape = file["train/clips"].shape
        del file["train/clips"]
        file.create_dataset("train/clips", shape, np.uint8, chunks=(1, *shape[1:]))
    refuse(copy, "missing")


DATASETS = (
    *("train/clips", "train/labels", "train/video", "train/frame_indices", "train/crc32"),
    *("videos/name", "videos/split", "videos/label", "videos/frames", "skipped"),
)


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("name", [*DATASETS, "missing"])
def test_claims_beyond_the_file_are_refused(copy: Path, name: str, compression: str | None) -> None:
    """A file that claims a trillion names must not take the machine's memory."""
    with h5py.File(copy, "r+") as file:
        old = file[name if name in file else "videos/name"]
        shape, dtype = old.shape[1:], old.dtype
        if name in file:
            del file[name]
        file.create_dataset(name, (10**12, *shape), dtype, chunks=(1, *shape), compression=compression)
    refuse(copy, "damaged")


def test_all_columns_may_claim_the_same(copy: Path) -> None:
    """Then no two of them differ; that nothing is stored is what gives them away."""
    with h5py.File(copy, "r+") as file:
        for name in DATASETS[:5]:
            shape, dtype = file[name].shape[1:], file[name].dtype
            del file[name]
            file.create_dataset(name, (10**12, *shape), dtype, chunks=(1, *shape))
    refuse(copy, "missing")


def test_few_bytes_that_become_many_are_refused(copy: Path) -> None:
    """A file of a kilobyte that unpacks to the size of the disk."""
    with h5py.File(copy, "r+") as file:
        shape = file["train/clips"].shape
        del file["train/clips"]
        clips = file.create_dataset("train/clips", shape, np.uint8, chunks=(1, *shape[1:]), compression="gzip")
        clips[0] = 0
    refuse(copy, "missing")


def test_texts_that_share_their_bytes_are_refused(copy: Path) -> None:
    """A thousand names that are each the same megabyte: a small file that fills the memory when it is listed."""
    with h5py.File(copy, "r+") as file:
        del file["videos/name"]
        names = ["x" * 60_000] + [f"{k}" for k in range(17)]
        file.create_dataset("videos/name", data=names, dtype=h5py.string_dtype())
        offset = file["videos/name"].id.get_offset()
    content = bytearray(copy.read_bytes())
    content[offset : offset + 18 * 16] = content[offset : offset + 16] * 18
    copy.write_bytes(content)
    refuse(copy, "more than the file holds")


@pytest.mark.parametrize("size", [0, 24, 2**16, 2**63, 2**64 - 16])
def test_heaps_of_texts_without_an_end_are_refused(copy: Path, size: int) -> None:
    """One damaged number there, and HDF5 runs in a circle until somebody kills the process."""
    content = copy.read_bytes()
    start, checked = content.find(b"GCOL"), 0
    while start >= 0:
        place = start + 16
        for _ in range(3):
            free = bytes(8) + size.to_bytes(8, "little")  # number 0: free space
            copy.write_bytes(content[:place] + free + content[place + 16 :])
            if size == 24:
                read_all(copy)
            else:
                refuse(copy, "texts")
            place += 16 + -(-int.from_bytes(content[place + 8 : place + 16], "little") // 8) * 8
            checked += 1
        start = content.find(b"GCOL", start + 1)
    assert checked >= 3


def address_of_a_clip(path: Path) -> tuple[bytes, int]:
    """A file's bytes, and where in them HDF5 says where training clip 20 is."""
    content = path.read_bytes()
    starts: dict[int, int] = {}
    with h5py.File(path) as file:
        file["train/clips"].id.chunk_iter(lambda c: starts.__setitem__(c.chunk_offset[0], c.byte_offset))
    needle = starts[20].to_bytes(8, "little")
    assert content.count(needle) == 1
    return content, content.index(needle)


@pytest.mark.parametrize("address", [2**40, 2**63 - 1, 2**64 - 1, 10**6])
def test_clips_that_lie_outside_of_the_file_are_refused(copy: Path, address: int) -> None:
    """One damaged number among the places of the clips must not become a clip of whatever is there."""
    content, where = address_of_a_clip(copy)
    copy.write_bytes(content[:where] + address.to_bytes(8, "little") + content[where + 8 :])
    with pytest.raises(DataError, match="damaged"), ClipStore.open(copy) as store:
        store.split("train").clips([0])


def test_filters_that_hdf5_would_look_for_are_refused(copy: Path) -> None:
    """HDF5 loads code for them from wherever its plugins are; and what is packed twice is a bomb."""
    original = copy.read_bytes()
    for filters in ([(32015, ())], [(65000, (1, 2))], [(1, (9,)), (1, (9,))], [(1, (9,)), (32000, ())]):
        for name in ("train/clips", "train/labels", "extra"):
            copy.write_bytes(original)
            with h5py.File(copy, "r+") as file:
                shape = (36,) if name == "extra" else file[name].shape
                dtype = h5py.h5t.NATIVE_INT64 if name == "train/labels" else h5py.h5t.NATIVE_UINT8
                plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                plan.set_chunk((1, *shape[1:]))
                for code, values in filters:
                    plan.set_filter(code, h5py.h5z.FLAG_OPTIONAL, values)
                if name in file:
                    del file[name]
                h5py.h5d.create(file.id, name.encode(), dtype, h5py.h5s.create_simple(shape), dcpl=plan)
            refuse(copy, "refused")


def pointers(secret: Path, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[Callable[[h5py.Group, str], object]]:
    """All ways in which HDF5 can take a dataset from elsewhere."""
    virtual = h5py.VirtualLayout(shape, dtype)
    virtual[:] = h5py.VirtualSource(str(secret), "x", shape, dtype)
    yield lambda group, name: group.__setitem__(name, h5py.ExternalLink(str(secret), "/x"))
    yield lambda group, name: group.__setitem__(name, h5py.SoftLink("/test/labels"))
    yield lambda group, name: group.create_virtual_dataset(name, virtual)
    if not dtype.hasobject:
        stored = [("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
        yield lambda group, name: group.create_dataset(name, shape, dtype, external=stored)


@pytest.mark.parametrize("name", [*DATASETS, "missing", "extra", "deep/extra"])
def test_links_out_of_the_file_are_refused(copy: Path, tmp_path: Path, name: str) -> None:
    """A clips file from somebody else must not read the user's other files."""
    with h5py.File(copy) as file:
        shape, dtype = (file[name].shape, file[name].dtype) if name in file else ((36,), np.dtype(np.int64))
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.zeros(5)
    original = copy.read_bytes()
    folder, _, last = name.rpartition("/")
    for make in pointers(tmp_path / "secret.h5", shape, dtype):
        copy.write_bytes(original)
        with h5py.File(copy, "r+") as file:
            if name in file:
                del file[name]
            make(file.require_group(folder or "/"), last)
        refuse(copy, "refused")


def test_a_group_that_holds_itself_is_refused(copy: Path) -> None:
    """Looking for links must end."""
    with h5py.File(copy, "r+") as file:
        file["videos/again"] = file["videos"]
    refuse(copy, "too many groups")


def test_no_torch_is_needed() -> None:
    """`vdtui data` must answer at once."""
    code = "import sys, engine.data.store, engine.data.prepare, engine.data.demo; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


@pytest.mark.skipif(sys.platform != "linux", reason="sparse files and peak memory are looked at as Linux has them")
def test_a_store_larger_than_memory_is_streamed(copy: Path) -> None:
    """A data set of 200 GB must train on a machine of 16: what is read is a batch, wherever it lies."""
    shape = (16, 112, 112, 3)
    counts = {"train": 200 * 10**9 // int(np.prod(shape)), "test": 2}
    with h5py.File(copy, "r+") as file:
        file.attrs.update({"frames": 16, "height": 112, "width": 112})
        for name, count in counts.items():
            del file[name]
            group = file.create_group(name)
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_chunk((1, *shape))
            layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # room in the file, in which nothing is written
            layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            space = h5py.h5s.create_simple((count, *shape))
            h5py.h5d.create(group.id, b"clips", h5py.h5t.NATIVE_UINT8, space, layout)
            labels = np.arange(count, dtype=np.int64) % 3
            group["labels"], group["video"] = labels, np.searchsorted(file["videos/label"][:12], labels)
    size = copy.stat()
    assert size.st_size > 199 * 10**9 > 100 * 512 * size.st_blocks
    grown = []
    with ClipStore.open(copy) as store:
        view = store.split("train")
        generator = np.random.default_rng(0)
        for _ in range(12):
            assert not view.clips(generator.integers(0, counts["train"], 64)).any()
            grown.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert (grown[-1] - grown[1]) * 1024 < 64 * 2**20  # less than two batches
