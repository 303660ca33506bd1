"""Checkpoints: what a user loses here is all the work since the run began."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save as as_safetensors

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


def begin(folder: Path) -> tuple[Path, bytes]:
    """Two checkpoints in the folder, emptied before; the newest, and its content."""
    for path in [*folder.glob("*")]:
        path.unlink()
    save(folder, 1, 50)
    newest = save(folder, 2, 100)
    return newest, newest.read_bytes()


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_no_damage_is_learned_from(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A bit that fell over in a weight, a step or a checksum: the run goes on from what is whole, and nothing else."""
    folder = tmp_path_factory.getbasetemp() / "damaged"
    newest, whole = begin(folder)
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    start = data.draw(st.integers(0, len(whole)))
    newest.write_bytes(damaged[: data.draw(st.sampled_from([start, len(whole), len(whole)]))])
    assert step_of(folder) in (50, 100)  # and its array is that of the step


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path) -> None:
    """In every byte, not in those that chance tries; the padding of the header says nothing."""
    newest, whole = begin(tmp_path)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        newest.write_bytes(damaged)
        assert step_of(tmp_path) == 50 or whole[place : place + 1].isspace()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
KNOWN = st.sampled_from(["data", "seconds", "revisions", "best_step", "best_accuracy", "evaluated", "other"])
TYPES = {
    "data": str,
    "seconds": (int, float),
    "revisions": dict,
    "best_step": int,
    "best_accuracy": (int, float, type(None)),
    "evaluated": int,
}


@settings(deadline=None, max_examples=100)
@given(JSON | st.dictionaries(KNOWN, JSON, max_size=3), st.text(max_size=4) | st.just("7"))
def test_foreign_files_fall_back(tmp_path_factory: pytest.TempPathFactory, document: object, step: str) -> None:
    """A file that somebody put there under such a name: its types must not end the run in a traceback."""
    folder = tmp_path_factory.getbasetemp() / "foreign"
    newest, _ = begin(folder)
    said = {"stage": "dynamic", "step": step, "document": json.dumps(document)}
    newest.write_bytes(as_safetensors({"x": np.full(3, 7, np.float32)}, said))
    found = load_checkpoint(folder)
    assert found is not None
    if found.step != 50:
        assert found.step == int(step)
        assert all(isinstance(found.document[name], TYPES[name]) for name in TYPES.keys() & found.document.keys())


FOREIGN = {
    "nested": {"stage": "dynamic", "step": "100", "document": "[" * 100_000},
    "nested objects": {"stage": "dynamic", "step": "100", "document": '{"a":' * 100_000},
    "a list": {"stage": "dynamic", "step": "100", "document": "[]"},
    "null": {"stage": "dynamic", "step": "100", "document": "null"},
    "another stage": {"stage": "mine", "step": "100", "document": "{}"},
    "a step below 0": {"stage": "dynamic", "step": "-1", "document": "{}"},
    "a step of many digits": {"stage": "dynamic", "step": "9" * 5000, "document": "{}"},
    "seconds without end": {"stage": "dynamic", "step": "100", "document": '{"seconds": 1' + "0" * 400 + "}"},
    "another checksum": {"stage": "dynamic", "step": "100", "document": "{}", "check": "0" * 64},
    "more": {"stage": "dynamic", "step": "100", "document": "{}", "chekc": "0" * 64},
    "nothing": {},
}


@pytest.mark.parametrize("what", FOREIGN)
def test_odd_metadata_falls_back(tmp_path: Path, what: str) -> None:
    """The run goes on from its own checkpoint; with no other there are two lines, no traceback."""
    newest, _ = begin(tmp_path)
    newest.write_bytes(as_safetensors({"x": np.full(3, 100, np.float32)}, FOREIGN[what] or None))
    assert step_of(tmp_path) == 50
    checkpoint_files(tmp_path)[0].unlink()
    with pytest.raises(RunError) as caught:
        load_checkpoint(tmp_path)
    assert "\n" not in caught.value.problem + caught.value.hint


def test_types_that_numpy_has_not_fall_back(tmp_path: Path) -> None:
    """A set in bfloat16 that another program wrote."""
    newest, _ = begin(tmp_path)
    header = b'{"x":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]},"__metadata__":{"stage":"dynamic"}}'
    newest.write_bytes(len(header).to_bytes(8, "little") + header + b"x")
    assert step_of(tmp_path) == 50


def test_what_is_no_file_is_no_checkpoint(tmp_path: Path) -> None:
    """A pipe would be waited at for ever, and a folder could not be removed when it is old."""
    os.mkfifo(tmp_path / "00000008-mine-1.safetensors")
    (tmp_path / "00000000-mine-1.safetensors").mkdir()
    for order in (1, 2, 3):
        save(tmp_path, order, order)
    assert step_of(tmp_path) == 3
    assert [path.name[:8] for path in checkpoint_files(tmp_path)] == ["00000002", "00000003"]


def test_one_by_an_earlier_version_is_read(tmp_path: Path) -> None:
    """It has no checksum; an upgrade must not cost the work so far."""
    said = {"stage": "dynamic", "step": "4", "document": '{"data": "d", "seconds": 1.5}'}
    content = as_safetensors({"x": np.full(3, 4, np.float32)}, said)
    (tmp_path / "00000003-dynamic-4.safetensors").write_bytes(content)
    assert step_of(tmp_path) == 4


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
