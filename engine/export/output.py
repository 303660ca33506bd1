"""The output of an export: nothing that exists is overwritten unasked, and only complete files appear.

Files and folders are made in a draft (``engine.files``) and renamed when they are complete. A folder has an
``index.json`` that lists its files. By that list ``--overwrite`` tells the folder of an earlier export from one with
somebody's own files in it, which it never removes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from engine.errors import StorageError, UsageError
from engine.files import EXPORT_FORMAT, INDEX, draft, read_json, storage_errors, sweep, write_bytes, write_json


@dataclasses.dataclass(frozen=True)
class Exported:
    """The outcome of an export: ``output`` as the user named it, all ``files``, and one-line ``notes`` for the user."""

    output: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    card: Path | None = None
    """The card that stands beside them, or is one of them."""

    @property
    def nbytes(self) -> int:
        """The size of all ``files`` in bytes."""
        return sum(path.stat().st_size for path in self.files)


def refuse_existing(output: Path, overwrite: bool) -> None:
    """Raise UsageError if ``output`` is a folder, or a file that exists without ``overwrite``."""
    if output.is_dir():
        raise UsageError(f"{output} is a folder.", "Name a file with --output.")
    if not overwrite and (output.exists() or output.is_symlink()):
        raise UsageError(f"{output} exists already.", "Choose another --output, or replace it with --overwrite.")


def write_file(output: Path, content: bytes, overwrite: bool) -> None:
    """Write ``content`` to ``output``, complete or not at all.

    Raises UsageError if it may not be written (``refuse_existing``), StorageError if it cannot be.
    """
    refuse_existing(output, overwrite)
    with unwritable(output):
        sweep(output.parent)
        write_bytes(output, content)


def write_folder(
    output: Path,
    contents: Callable[[], Iterator[tuple[PurePosixPath, bytes]]],
    about: Mapping[str, Any],
    overwrite: bool,
) -> tuple[Path, ...]:
    """Make the folder ``output`` from ``contents`` (relative path, bytes), with an index that also holds ``about``.

    Returns the paths of its files. The folder appears when it is complete; after an error nothing of it is left.
    Raises UsageError if it is not empty and may not be replaced, StorageError if it cannot be written.
    """
    refuse_folder(output, overwrite)
    target = output.resolve()
    sweep(target.parent)
    with unwritable(output), draft(target.parent) as folder:
        made, names = folder / "new", []
        for relative, content in contents():
            write_bytes(made / relative, content)
            names.append(str(relative))
        write_json(made / INDEX, {"format": EXPORT_FORMAT, "version": 1, **about, "files": names})
        _swap(made, target)
    return tuple(output / name for name in [*names, INDEX])


def _swap(made: Path, target: Path) -> None:
    """Rename ``made`` to ``target``; an earlier export, or an empty folder, of that name moves beside ``made``."""
    old = made.with_name("old")
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(made, target)
    except BaseException:
        if old.exists():
            os.replace(old, target)
        raise


def refuse_folder(output: Path, overwrite: bool) -> None:
    """Raise UsageError unless ``output`` is absent, an empty folder, or a folder that may be replaced."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file, not a folder.", "Choose another --output.")
    with unwritable(output):
        present = {path.relative_to(output).as_posix() for path in output.rglob("*") if not path.is_dir()}
    if not present:
        return
    index = read_json(output / INDEX) or {}
    files = index.get("files") if index.get("format") == EXPORT_FORMAT else None
    foreign = present - ({*map(str, files), INDEX} if isinstance(files, list) else set())
    if foreign:
        problem = f"{output} is not empty: it holds files that no export wrote, such as {min(foreign)!r}."
        raise UsageError(problem, "Choose an empty or new folder; --overwrite replaces only what an export wrote.")
    if not overwrite:
        hint = "Choose another --output, or replace that export with --overwrite."
        raise UsageError(f"{output} is not empty: it holds an earlier export.", hint)


@contextlib.contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """Turn every OSError inside into a StorageError that names ``path``."""
    try:
        with storage_errors(path):
            yield
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}.", "Choose another --output."
        ) from error
