"""Reading clips: the right ones in the right order, fair holdouts, and files that cannot be trusted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.layouts import list_videos
from engine.data.prepare import prepare
from engine.data.store import ClipStore, SplitView
from engine.errors import DataError
from tests.videos import write_dataset

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def clips_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    source = write_dataset(folder / "s", ("a", "b", "c"), each=6)
    prepare(list_videos("folders", source), folder / "c.h5", frames=4, size=32, clips_per_video=3)
    return folder / "c.h5"


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


@pytest.mark.parametrize("loaded", [False, True])
@given(indices=st.lists(st.integers(0, 35), max_size=20), frames=st.lists(st.integers(0, 3), min_size=20, max_size=20))
def test_clips_come_in_the_order_asked(clips_file: Path, loaded: bool, indices: list[int], frames: list[int]) -> None:
    """Clips under each other's labels: training would run, and learn nothing."""
    with h5py.File(clips_file) as file, ClipStore.open(clips_file) as store:
        truth = file["train/clips"][()]
        view = store.split("train")
        if loaded:
            view.load()
        clips = view.clips(indices)
        assert clips.dtype == np.uint8
        assert clips.shape == (len(indices), 4, 32, 32, 3)
        assert all(np.array_equal(clip, truth[index]) for clip, index in zip(clips, indices, strict=True))
        pictures = view.frames_at(indices, frames[: len(indices)])
        assert pictures.shape == (len(indices), 32, 32, 3)
        for picture, index, frame in zip(pictures, indices, frames, strict=False):
            assert np.array_equal(picture, truth[index, frame])


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

    def __init__(self, labels: list[int], clips_per_video: int) -> None:
        count = len(labels)
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


@given(st.integers(0, 10**9), st.integers(0, 255))
def test_a_flipped_byte_never_crashes(clips_file: Path, position: int, value: int) -> None:
    """Whatever a damaged file holds, the answer is clips or a DataError."""
    content = bytearray(clips_file.read_bytes())
    content[position % len(content)] = value
    path = clips_file.with_name("flipped.h5")
    path.write_bytes(content)
    try:
        with ClipStore.open(path) as store:
            _ = store.fingerprint, store.skipped, store.video_names
            store.split("train").clips([0, 35])
    except DataError:
        pass


def replaced(path: Path, name: str, content: object) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = content


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
    "no test": lambda file: file.__delitem__("test"),
    "test is a dataset": lambda file: (file.__delitem__("test"), file.__setitem__("test", 5)),
    "no labels": lambda file: file.__delitem__("train/labels"),
    "no videos": lambda file: file.__delitem__("videos"),
}


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


def test_claims_beyond_the_file_are_refused(copy: Path) -> None:
    """A file that claims a trillion labels must not take the machine's memory."""
    with h5py.File(copy, "r+") as file:
        shape = file["train/clips"].shape
        for name, size in (("clips", (10**12, *shape[1:])), ("labels", (10**12,)), ("video", (10**12,))):
            dtype = file[f"train/{name}"].dtype
            del file[f"train/{name}"]
            file.create_dataset(f"train/{name}", size, dtype, chunks=(1, *size[1:]))
    refuse(copy, "missing")


def test_links_out_of_the_file_are_refused(copy: Path, tmp_path: Path) -> None:
    """A clips file from somebody else must not read the user's other files."""
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.zeros(5)
    original = copy.read_bytes()
    shape = (36, 4, 32, 32, 3)
    virtual = h5py.VirtualLayout(shape, np.uint8)
    virtual[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", shape, np.uint8)
    external = {"shape": shape, "dtype": np.uint8, "external": [("/etc/passwd", 0, h5py.h5f.UNLIMITED)]}
    makers: list[Callable[[h5py.File], object]] = [
        lambda file: file.__setitem__("extra", h5py.ExternalLink(str(tmp_path / "secret.h5"), "/x")),
        lambda file: file["train"].__setitem__("clips", h5py.ExternalLink(str(tmp_path / "secret.h5"), "/x")),
        lambda file: file["train"].__setitem__("clips", h5py.SoftLink("/test/clips")),
        lambda file: file["train"].create_virtual_dataset("clips", virtual),
        lambda file: file["train"].create_dataset("clips", **external),
    ]
    for make in makers:
        copy.write_bytes(original)
        with h5py.File(copy, "r+") as file:
            del file["train/clips"]
            make(file)
        refuse(copy, "refused")


def test_no_torch_is_needed() -> None:
    """`vdtui data` must answer at once."""
    code = "import sys, engine.data.store, engine.data.prepare, engine.data.demo; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
