"""Writing files so that each is complete or absent.

A reader in another process (the dashboard, `vdtui show`) or after a kill -9 must never see half a file. Every
file of a run goes through here; the event log, which is appended to, has its own rule in ``log.py``.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.errors import StorageError
from engine.textfiles import MOST_NESTED, read_text, too_deep


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


GREATEST = 1e100
"""Numbers of an event are smaller; what is not cannot be computed with, or fills a screen with digits."""
LONGEST = 1 << 28
"""Bytes of a file of results, which has a confusion matrix in each."""
_SUSPECT = re.compile(r"\d{25}|[eE]\+?\d{3}|\\u[dD][89a-fA-F]|NaN|Infinity")
"""What every text has that holds something that cannot be shown, but for nesting; others need no second look."""


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in ``path``, or None if it is absent, unreadable, not an object, or cannot be shown.

    Half characters, numbers beyond floats and deep nesting cannot; a damaged disk or another program made them.
    """
    try:
        document = _parsed(read_text(path, LONGEST), _STRICT)
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def parse_record(line: bytes) -> dict[str, Any] | None:
    """The JSON object in a line of an event log, or None if it is none or cannot be shown.

    Numbers from ``GREATEST`` on are null, as those are that are not finite when they are written.
    """
    try:
        record = _parsed(line.decode("utf-8"), _LENIENT)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _parsed(text: str, careful: json.JSONDecoder) -> Any:
    """``text`` as JSON, by ``careful`` where it may hold what cannot be shown; raises ValueError."""
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
    """The number that ``text`` says, or None from ``GREATEST`` on."""
    return _number(text) if abs(float(text)) < GREATEST else None


def _finite(text: str) -> float | int:
    """The number that ``text`` says; raises ValueError beyond floats."""
    if not math.isfinite(float(text)):
        raise ValueError("a number beyond floats")
    return _number(text)


def _number(text: str) -> float | int:
    return int(text) if text.lstrip("-").isdigit() else float(text)


_LENIENT = json.JSONDecoder(parse_float=_moderate, parse_int=_moderate, parse_constant=_moderate)
_STRICT = json.JSONDecoder(parse_float=_finite, parse_int=_finite, parse_constant=_finite)
