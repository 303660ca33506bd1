"""Writing files so that each is complete or absent.

A reader in another process (the dashboard, `vdtui show`) or after a kill -9 must never see half a file. Every
file of a run goes through here; the event log, which is appended to, has its own rule in ``log.py``.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.errors import StorageError


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
    """Yield a temporary path beside ``path``; on success flush it to the disk and rename it over ``path``.

    The temporary name keeps the suffix, since some encoders choose a container by it. On failure it is removed.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident()}.tmp{path.suffix}")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
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


def finite(document: Any) -> Any:
    """``document`` with every non-finite float replaced by None, since JSON has no word for them."""
    if isinstance(document, float):
        return document if document - document == 0 else None
    if isinstance(document, dict):
        return {str(key): finite(value) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [finite(value) for value in document]
    return document


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in ``path``, or None if it is absent, unreadable or not an object."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
