"""Writing files: what a user loses here is the last good file, for a half one."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import StorageError
from engine.files import DRAFT, draft, finite, read_json, replacing, sweep, write_bytes, write_json, write_text
from engine.runs.status import Lock
from tests.tiny import ROOT


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
        assert temporary.suffix == ".png" and temporary.stat().st_dev == path.parent.stat().st_dev
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


# --- drafts -----------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from engine.files import draft, replacing
with draft(Path(sys.argv[1])) as folder, replacing(Path(sys.argv[1]) / "a.txt") as temporary:
    temporary.write_text("half")
    (folder / "new").mkdir()
    (folder / "new" / "b").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_in(folder: Path) -> list[Path]:
    """The two drafts that a killed process left in ``folder``."""
    command = [sys.executable, "-c", KILLED, str(folder)]
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode == -signal.SIGKILL
    left = [path for path in folder.iterdir() if DRAFT.fullmatch(path.name)]
    assert len(left) == 2
    return left


def test_nobody_can_plant_a_link_where_a_file_is_made(tmp_path: Path) -> None:
    """In a folder that others may write to, a link under a name known before would send the file over another one."""
    names = []
    for _ in range(2):
        with replacing(tmp_path / "a.txt") as temporary:
            names.append(temporary.parent.name)
            assert stat.S_IMODE(temporary.parent.stat().st_mode) == 0o700
            temporary.write_text("mine")
    assert len({*names}) == 2 and all(DRAFT.fullmatch(name) for name in names)


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """Whatever it leads to is not this file."""
    (tmp_path / "precious").write_text("theirs")
    (tmp_path / "a.txt").symlink_to(tmp_path / "precious")
    write_text(tmp_path / "a.txt", "mine")
    assert (tmp_path / "precious").read_text() == "theirs" and not (tmp_path / "a.txt").is_symlink()


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    """A group that shares its runs must be able to read them."""
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
        with draft(tmp_path) as folder:
            (folder / "new").mkdir()
            os.replace(folder / "new", tmp_path / "b")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o750


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    """Hundreds of megabytes of half a checkpoint, once for each kill."""
    killed_in(tmp_path)
    write_text(tmp_path / "a.txt", "whole")
    sweep(tmp_path, tmp_path / "gone")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_drafts_of_living_processes_are_not_swept(tmp_path: Path) -> None:
    """The other terminal's export, in the middle of its work."""
    with draft(tmp_path) as folder:
        (folder / "half").write_text("x")
        os.utime(folder, (0, 0))
        sweep(tmp_path)
        assert (folder / "half").exists()


@pytest.mark.parametrize("hours, stays", [(1, True), (30, False)])
def test_drafts_from_elsewhere_are_swept_when_they_are_old(tmp_path: Path, hours: int, stays: bool) -> None:
    """On a shared disk the number of a process says nothing; the youngest file in a draft does."""
    folder = tmp_path / f".vdtui-{2**22 + 1}-00000000-abcdefgh.tmp"
    folder.mkdir()
    (folder / "half").write_text("x")
    then = time.time() - 3600 * hours
    os.utime(folder / "half", (then, then))
    os.utime(folder, (0, 0))
    sweep(tmp_path)
    assert folder.exists() == stays


FOREIGN = [".vdtui-notes", ".vdtui-1-00000000-abcdefgh.tmp.bak", "vdtui-1-00000000-abcdefgh.tmp", ".mine.tmp", "a.tmp"]


@pytest.mark.parametrize("name", FOREIGN)
def test_nothing_foreign_is_swept(tmp_path: Path, name: str) -> None:
    """However old it is, and however much its name looks like one of ours."""
    (tmp_path / name).mkdir()
    os.utime(tmp_path / name, (0, 0))
    sweep(tmp_path)
    assert (tmp_path / name).exists()


def test_links_and_files_with_the_name_of_a_draft_stay(tmp_path: Path) -> None:
    """A draft is a folder: a link leads to somebody's own."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("theirs")
    link, file = (tmp_path / f".vdtui-{2**22 + 1}-00000000-{end}.tmp" for end in ("abcdefgh", "bcdefghi"))
    link.symlink_to(tmp_path / "precious")
    file.write_text("theirs")
    for path in (tmp_path / "precious" / "file", tmp_path / "precious", file):
        os.utime(path, (0, 0))
    sweep(tmp_path)
    assert link.is_symlink() and file.exists() and (tmp_path / "precious" / "file").exists()


def test_a_name_that_can_be_foreseen_is_not_followed(tmp_path: Path) -> None:
    """A lock that is a link would empty the file that it leads to."""
    (tmp_path / "precious").write_text("theirs")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(StorageError, match="link"):
        Lock(tmp_path / "lock").acquire()
    assert (tmp_path / "precious").read_text() == "theirs"


# --- content ----------------------------------------------------------------------------------------------------------


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
