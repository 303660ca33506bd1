"""Writing files: what a user loses here is the last good file, for a half one."""

from __future__ import annotations

import errno
import json
import math
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import StorageError
from engine.runs.files import finite, read_json, replacing, write_bytes, write_json, write_text


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """An encoder that dies half way must not cost the file that was there."""
    path = tmp_path / "a.mp4"
    write_bytes(path, b"old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_wrote_nothing_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    """An encoder that silently gave no file must not pass for a success."""
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(OSError), replacing(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"


def test_until_the_end_readers_see_the_old_file(tmp_path: Path) -> None:
    """The dashboard reads at any moment."""
    path = tmp_path / "new" / "folder" / "a.png"
    with replacing(path) as temporary:
        temporary.write_bytes(b"x" * 100)
        assert not path.exists()
        assert temporary.parent == path.parent and temporary.suffix == ".png"
    assert path.read_bytes() == b"x" * 100


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_full_disk_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, broken: str
) -> None:
    """Two lines that name the file, the old content, and no litter on a full disk."""
    path = tmp_path / "status.json"
    write_text(path, "old")

    def full(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, broken, full)
    with pytest.raises(StorageError) as caught:
        write_text(path, "new")
    assert str(path) in caught.value.problem and "space" in caught.value.problem.lower()
    assert caught.value.exit_code == 1
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_no_permission_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A read-only mount is the user's to mend, not a bug of ours."""

    def refused(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(StorageError, match="permission"):
        write_text(tmp_path / "a", "x")
    assert not list(tmp_path.iterdir())


def test_other_errors_of_the_system_are_not_dressed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong diagnosis sends the user the wrong way."""

    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="I/O error"):
        write_text(tmp_path / "a", "x")


def test_threads_of_one_process_may_write_the_same_file(tmp_path: Path) -> None:
    """A notebook's thread that asks for a stop while the run's own thread settles the last request."""
    path, errors = tmp_path / "control.json", []

    def write(number: int) -> None:
        try:
            for _ in range(40):
                write_json(path, {"number": number, "filler": "x" * 2000})
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert (read_json(path) or {}).get("number") in range(4)


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def by_hand(document: Any) -> Any:
    if isinstance(document, float) and (math.isnan(document) or math.isinf(document)):
        return None
    if isinstance(document, list):
        return [by_hand(value) for value in document]
    return {key: by_hand(value) for key, value in document.items()} if isinstance(document, dict) else document


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text(), DOCUMENTS, max_size=4))
def test_what_is_not_finite_becomes_null(tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]) -> None:
    """NaN is no JSON: jq, browsers and other languages refuse the whole document for one of them."""
    path = tmp_path_factory.getbasetemp() / "finite.json"
    write_json(path, document)
    strict = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda word: pytest.fail(word))
    assert strict == by_hand(document) == read_json(path)


def test_tuples_and_odd_keys() -> None:
    """Results hold tuples of floats; JSON has lists."""
    assert finite((1.0, math.inf, {"a": (math.nan,), 3: -math.inf})) == [1.0, None, {"a": [None], "3": None}]


RUBBISH = [b"", b"{", b"[1]", b"3", b"null", b"\xff\xfe", b"\x00" * 100, b"[" * 100_000]


@pytest.mark.parametrize("content", RUBBISH, ids=lambda content: repr(content[:6]))
def test_rubbish_reads_as_nothing(tmp_path: Path, content: bytes) -> None:
    """A damaged side file must not take the view of the run with it."""
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert read_json(path) is None
    assert read_json(tmp_path / "gone.json") is None and read_json(tmp_path) is None
