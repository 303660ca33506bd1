"""Telling the exports that `vdtui export` makes for other code, composed sets, from clips files and everything else.

Without torch, since every command that takes a file asks this first; ``engine.synthetic.composed`` reads them.
"""

from __future__ import annotations

from pathlib import Path

from engine.files import EXPORT_FORMAT, INDEX, read_json

FORMAT, VERSION = "vdtui.composed", 1
READ = ("folders", "webdataset")
"""The kinds of exported folders that have all clips and labels."""
_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_composed(path: Path) -> bool:
    """Return whether ``path`` is a `.pt` file, a folder of an export, or a composed set as HDF5; it may be damaged."""
    try:
        if path.is_dir():
            return (read_json(path / INDEX) or {}).get("format") == EXPORT_FORMAT
        with open(path, "rb") as file:
            begins = file.read(8)
    except (OSError, ValueError):
        return False
    return begins.startswith(b"PK\x03\x04") or (begins == _HDF5 and _hdf5_format(path) == FORMAT)


def _hdf5_format(path: Path) -> str:
    import h5py

    try:
        with h5py.File(path) as file:
            return str(file.attrs.get("format", ""))
    except (OSError, ValueError, RuntimeError):
        return ""
