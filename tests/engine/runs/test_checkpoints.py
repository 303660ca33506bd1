"""Checkpoints: what a user loses here is all the work since the run began."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.errors import RunError
from engine.runs.checkpoints import Checkpoint, checkpoint_files, load_checkpoint, save_checkpoint


def save(folder: Path, order: int, step: int) -> Path:
    return save_checkpoint(folder, order, Checkpoint("dynamic", step, {"x": np.full(3, step, np.float32)}, {}))


def step_of(folder: Path) -> int:
    found = load_checkpoint(folder)
    assert found is not None
    assert np.array_equal(found.arrays["x"], np.full(3, found.step, np.float32))
    return found.step


ARRAYS = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=10).filter(
        lambda name: name != "__metadata__"
    ),
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.uint8, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
    ),
    max_size=3,
)
DOCUMENTS = st.dictionaries(st.text(), st.none() | st.floats(allow_nan=False) | st.integers() | st.text(), max_size=3)


@settings(deadline=None, max_examples=60)
@given(ARRAYS, DOCUMENTS, st.integers(0, 10**9))
def test_what_is_saved_is_what_is_loaded(tmp_path_factory: pytest.TempPathFactory, arrays, document, step) -> None:
    """To the bit, with dtype and shape: or the resumed run is another run."""
    folder = tmp_path_factory.getbasetemp() / "round-trip"
    for path in checkpoint_files(folder):
        path.unlink()
    save_checkpoint(folder, 1, Checkpoint("static", step, arrays, document))
    found = load_checkpoint(folder)
    assert found is not None
    assert (found.stage, found.step, found.document) == ("static", step, document)
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found.arrays[name].dtype, found.arrays[name].shape) == (array.dtype, array.shape)
        assert found.arrays[name].tobytes() == array.tobytes()


def test_views_of_an_array_are_saved_as_what_they_show(tmp_path: Path) -> None:
    """Memories are often permuted views (channels last)."""
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    save_checkpoint(tmp_path, 1, Checkpoint("static", 0, {"a": array.transpose(2, 0, 1), "b": array[:, ::2]}, {}))
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert np.array_equal(found.arrays["a"], array.transpose(2, 0, 1))
    assert np.array_equal(found.arrays["b"], array[:, ::2])


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    """Disks do not fill over a long run; also past the order's tenth and in a run that goes back to an earlier step."""
    for order, step in enumerate([0, 50, 100, 50, 150, 200, 250, 300, 350, 400, 450], start=1):
        save(tmp_path, order, step)
        assert step_of(tmp_path) == step
        assert len(list(tmp_path.iterdir())) == min(order, 2)
    assert [path.name[:8] for path in checkpoint_files(tmp_path)] == ["00000010", "00000011"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "rubbish", "header only", "no metadata"])
def test_a_damaged_newest_one_falls_back(tmp_path: Path, damage: str) -> None:
    """A power cut may cost the newest checkpoint, not the run."""
    save(tmp_path, 1, 50)
    newest = save(tmp_path, 2, 100)
    whole = newest.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    contents = {
        "truncated": whole[:-1],
        "empty": b"",
        "rubbish": os.urandom(200),
        "header only": whole[:header],
        "no metadata": whole.replace(b"__metadata__", b"__metadota__"),
    }
    newest.write_bytes(contents[damage])
    assert step_of(tmp_path) == 50


def test_if_all_are_damaged_the_user_decides(tmp_path: Path) -> None:
    """Beginning anew without a word would throw away what a backup may bring back."""
    for order in (1, 2):
        save(tmp_path, order, order).write_bytes(b"")
    with pytest.raises(RunError) as caught:
        load_checkpoint(tmp_path)
    assert str(tmp_path) in caught.value.problem and "2" in caught.value.problem


def test_none_yet(tmp_path: Path) -> None:
    """A run's first worker; and files of others in the folder."""
    assert load_checkpoint(tmp_path / "gone") is None
    (tmp_path / "mine.safetensors").write_bytes(b"x")
    (tmp_path / ".00000001-static-1.99.tmp.safetensors").write_bytes(b"half")
    assert load_checkpoint(tmp_path) is None


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """A run directory from somebody else must not be able to run code."""

    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "harmed"),)

    (tmp_path / "00000001-static-1.safetensors").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(RunError):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "harmed").exists()
