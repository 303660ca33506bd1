"""Writing files so that each is complete or absent, and reading small ones that somebody else may have put there.

A reader in another process (the dashboard, `vdtui show`) or after a kill -9 must never see half a file. Every
file of a run goes through here; the event log, which is appended to, has its own rule in ``log.py``.

What is not complete lies in a draft: a folder beside its place, with a name that nobody can know before, which nobody
else can enter. A link that somebody planted there could send the file elsewhere otherwise. The name also tells whose
draft it is, so that what a kill leaves can be swept by a later process.

Presets and the small files of a run are read whole. If that were a plain read, a named pipe would hang the reader for
ever, and a device or a file of gigabytes would take its memory.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import math
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from engine.errors import StorageError

MOST = 1 << 22
"""Bytes of a preset or of a small file of a run; the largest that are written have a hundredth."""
MOST_NESTED = 64
"""Tables and lists in each other, of TOML or JSON; what is written has a tenth."""
DRAFT = re.compile(r"\.vdtui-(?P<pid>[0-9]{1,10})-(?P<where>[0-9a-f]{8})-\w{8}\.tmp")
"""Names of drafts."""
STALE_SECONDS = 24 * 3600.0
"""A draft of another machine, whose processes cannot be asked for, is left over when it is older."""


SET_SUFFIXES = (".vds", ".safetensors")
"""The names of files of synthetic sets end so: coded ones, and those of tensors."""


INDEX, EXPORT_FORMAT = "index.json", "vdtui.export"
"""The list of files in a folder that `vdtui export` made, and what it says that it is."""


def looks_like_set(path: Path) -> bool:
    """Return whether ``path`` is a file that begins as that of a synthetic set, of either sort; it may be damaged."""
    try:
        with open(path, "rb") as file:
            begins = file.read(9)
    except (OSError, ValueError):
        return False
    # A safetensors file begins with the length of its header, which is JSON and begins with a brace.
    return begins.startswith(b"vds") or begins[8:] == b"{"


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into a :class:`StorageError` that names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "Free some space there and go on; whatever was complete before is untouched."
            raise StorageError(f"No space left on the disk while writing {path}.", hint) from error
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            raise StorageError(f"No permission to write {path}.", "Choose a folder that you may write to.") from error
        raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path in a draft; on success flush it to the disk and rename it over ``path``.

    The name is the same, since some encoders choose a container by the suffix. On failure it is removed.
    """
    with storage_errors(path), draft(path.parent) as folder:
        temporary = folder / path.name
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)


_HELD: dict[Path, int] = {}
"""The folders that ``make_folder`` must find, and how many hold each."""


@contextlib.contextmanager
def never_made_anew(folder: Path) -> Iterator[None]:
    """Meanwhile let ``make_folder`` never make ``folder`` itself: who removes or moves it shall not get it back."""
    _HELD[folder] = _HELD.get(folder, 0) + 1
    try:
        yield
    finally:
        _HELD[folder] -= 1
        if _HELD[folder] == 0:
            del _HELD[folder]


def make_folder(folder: Path) -> None:
    """Make ``folder`` and those above it, as far as they are missing; raises FileNotFoundError if a held one is."""
    above = [folder, *folder.parents]
    held = next((number for number, path in enumerate(above) if path in _HELD), None)
    if held is None:
        folder.mkdir(parents=True, exist_ok=True)
        return
    os.stat(above[held])
    for path in reversed(above[:held]):
        path.mkdir(exist_ok=True)


@contextlib.contextmanager
def draft(parent: Path) -> Iterator[Path]:
    """Yield a new folder in ``parent`` (made if absent), for what gets its place when it is complete; then remove it.

    It is for this user alone; what is made inside has the usual permissions, and keeps them when it is renamed. The
    first draft of a process in a folder sweeps it.
    """
    make_folder(parent)
    _sweep_once(parent)
    folder = Path(tempfile.mkdtemp(".tmp", f".vdtui-{os.getpid()}-{_here()}-", parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(*folders: Path) -> None:
    """Remove the drafts in ``folders`` that killed processes of this user have left, and nothing else.

    A draft made here is left over if its process is gone, one from elsewhere if nothing in it is younger than
    ``STALE_SECONDS``. What cannot be looked at or removed stays.
    """
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in [*entries]:
                if _is_left_over(entry):
                    shutil.rmtree(entry.path, ignore_errors=True)


@functools.cache
def _sweep_once(folder: Path) -> None:
    sweep(folder)


def _is_left_over(entry: os.DirEntry[str]) -> bool:
    named = DRAFT.fullmatch(entry.name)
    try:
        if (
            not named
            or not entry.is_dir(follow_symlinks=False)
            or entry.stat(follow_symlinks=False).st_uid != os.getuid()
        ):
            return False
        if named["where"] == _here():
            return not _lives(int(named["pid"]))
        return time.time() - max(os.lstat(path).st_mtime for path in _all_in(entry.path)) > STALE_SECONDS
    except OSError:  # it went meanwhile
        return False


def _all_in(folder: str) -> Iterator[str]:
    yield folder
    for parent, folders, files in os.walk(folder):
        yield from (os.path.join(parent, name) for name in (*folders, *files))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


@functools.cache
def _here() -> str:
    """Return 8 hexadecimal digits of this host, boot and container, within which a process number has one meaning."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def try_lock(file: IO[Any] | int) -> str:
    """Lock the open ``file`` until it is closed; raises BlockingIOError if another process holds it.

    Returns why the disk gives no locks; "" if it does. Without them, whoever needs one goes on, and may say so.
    """
    import fcntl  # Windows has none, and is told so before anything is locked (vdtui.cli.main)

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        return error.strerror or str(error)
    return ""


def unlinked(path: str, flags: int) -> int:
    """Open ``path`` as an ``opener`` of ``open`` does, for files whose name can be foreseen.

    Raises StorageError if it is a link, which is not followed.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            problem = f"{path} is a link, and would be written where it leads."
            raise StorageError(problem, "Nothing was written. Remove the link, and find out who made it.") from error
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` (UTF-8) atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, document: Any) -> None:
    """Replace ``path`` by ``document`` as JSON atomically; NaN and infinity become null."""
    write_text(path, json.dumps(finite(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_once(path: Path, document: Any) -> None:
    """Make ``path``, with ``document`` as JSON, atomically; if it is there already, it stays as it is."""
    with storage_errors(path), draft(path.parent) as folder:
        whole = folder / path.name
        write_json(whole, document)
        with contextlib.suppress(FileExistsError):
            os.link(whole, path)  # unlike a rename, it never takes the place of another


def is_number(value: Any) -> bool:
    """Return whether ``value`` of a JSON document is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def finite(document: Any) -> Any:
    """Return ``document`` with every non-finite float replaced by None, since JSON has no word for them."""
    if isinstance(document, float):
        return document if document - document == 0 else None
    if isinstance(document, dict):
        return {str(key): finite(value) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [finite(value) for value in document]
    return document


class UnfitFileError(ValueError):
    """A path that is no file to read whole; ``reason`` says what it is, as the end of a sentence about it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_text(path: Path, most: int = MOST) -> str:
    """Return the text (UTF-8, maybe with a byte order mark) of the regular file ``path`` of at most ``most`` bytes.

    Never waits. Raises OSError, UnicodeDecodeError, ValueError for a path with a null character, and UnfitFileError for
    what is no regular file or too long.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise UnfitFileError("is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise UnfitFileError("is no regular file")
    if found.st_size > most:
        raise UnfitFileError(f"is longer than {most / 1e6:.0f} MB")
    return path.read_text(encoding="utf-8-sig")


def too_deep(document: Any, most: int = MOST_NESTED) -> bool:
    """Return whether more than ``most`` dicts and lists lie in each other, where code that walks them would fail."""
    level = [document]
    for _ in range(most + 1):
        level = [inner for outer in level if isinstance(outer, (dict, list)) for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(outer: dict[Any, Any] | list[Any]) -> list[Any]:
    values = outer.values() if isinstance(outer, dict) else outer
    return [value for value in values if isinstance(value, (dict, list))]


GREATEST = 1e100
"""Bound of the numbers of an event: greater ones cannot be computed with, or fill a screen with digits."""
LONGEST = 1 << 28
"""Bytes of a file of results, which has a confusion matrix in each."""
_SUSPECT = re.compile(r"\d{25}|[eE]\+?\d{3}|\\u[dD][89a-fA-F]|NaN|Infinity")
"""Characters in every text that holds something that cannot be shown, nesting aside; others need no second look."""


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``, or None if it is absent, unreadable, not an object, or cannot be shown.

    Half characters, numbers beyond floats and deep nesting cannot; a damaged disk or another program made them.
    """
    try:
        document = _parsed(read_text(path, LONGEST), _STRICT)
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def parse_record(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a line of an event log, or None if it is none or cannot be shown.

    Numbers from ``GREATEST`` on are null, as those are that are not finite when they are written.
    """
    try:
        record = _parsed(line.decode("utf-8"), _LENIENT)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _parsed(text: str, careful: json.JSONDecoder) -> Any:
    """Parse ``text``, by ``careful`` where it may hold something that cannot be shown; raises ValueError."""
    suspect = _SUSPECT.search(text)
    try:
        document = careful.decode(text) if suspect else json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if text.count("[") + text.count("{") > MOST_NESTED and too_deep(document):
        raise ValueError("nested too deeply")
    if suspect:
        json.dumps(document, ensure_ascii=False).encode("utf-8")  # half characters raise
    return document


def _moderate(text: str) -> float | int | None:
    """Return the number that ``text`` says, or None from ``GREATEST`` on."""
    return _number(text) if abs(float(text)) < GREATEST else None


def _finite(text: str) -> float | int:
    """Return the number that ``text`` says; raises ValueError beyond floats."""
    if not math.isfinite(float(text)):
        raise ValueError("a number beyond floats")
    return _number(text)


def _number(text: str) -> float | int:
    return int(text) if text.lstrip("-").isdigit() else float(text)


_LENIENT = json.JSONDecoder(parse_float=_moderate, parse_int=_moderate, parse_constant=_moderate)
_STRICT = json.JSONDecoder(parse_float=_finite, parse_int=_finite, parse_constant=_finite)
