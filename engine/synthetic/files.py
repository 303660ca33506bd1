"""The synthetic set file: numbers as safetensors, or streams in the coded container; its content says which.

The same set gives the same bytes: safetensors writes its metadata in a random order, so the header is put in order
before it is written. Nothing is unpickled when a file from outside is read.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from engine.config.kinds import KINDS, LABELS
from engine.data.exports import is_composed
from engine.errors import DataError
from engine.files import write_bytes
from engine.synthetic.base import SyntheticSet
from engine.synthetic.coded import read_coded, write_coded
from engine.synthetic.composed import read_composed
from engine.synthetic.container import MAGIC, is_packed
from engine.synthetic.described import DAMAGE, OPTIONAL, Provenance, checked_spec, hard_labels, refuse_infinite
from engine.synthetic.numbers import PRECISIONS
from engine.synthetic.registry import set_class
from engine.synthetic.storage import Storage
from engine.text import one_line

FORMAT, VERSION = "vdtui.synthetic", 1
_HINT = "Export it again with `vdtui export RUN --format safetensors`, or use another file."


def to_bytes(synthetic: SyntheticSet, provenance: Provenance, how: Storage | str = "float32") -> bytes:
    """The file's content, stored as ``how`` says; equal sets and provenances give equal bytes.

    At one precision for all memories it is safetensors, else a coded file (``write_coded``). Raises UsageError if
    ``how`` does not fit the set, DataError for values that it cannot hold.
    """
    how = Storage.parse(how) if isinstance(how, str) else how
    if how.precision is None:
        return write_coded(synthetic, provenance, how)
    return _tensors_file(synthetic, provenance, how.precision)


def _tensors_file(synthetic: SyntheticSet, provenance: Provenance, precision: str) -> bytes:
    spec = synthetic.spec
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "kind": synthetic.kind,
        "classes": json.dumps(list(spec.classes), ensure_ascii=False),
        "ipc": str(synthetic.ipc),
        "pairing": json.dumps(synthetic.pairing()),
        "frames": str(spec.frames),
        "mean": json.dumps(list(spec.mean)),
        "std": json.dumps(list(spec.std)),
        "precision": precision,
        **synthetic.metadata(),
        **provenance.metadata(),
    }
    stored, extra = synthetic.encoded(precision)
    soft = stored.pop(LABELS.name, None)
    stored["labels"] = hard_labels(len(spec.classes), synthetic.ipc) if soft is None else soft
    return ordered(save(stored, metadata | extra))


def save_synthetic(path: Path, synthetic: SyntheticSet, provenance: Provenance, how: Storage | str = "float32") -> None:
    """Write ``synthetic``, stored as ``how`` says, to ``path``, complete or not at all."""
    write_bytes(path, to_bytes(synthetic, provenance, how))


def ordered(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted by key; tensors and their bytes stay as they are."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


@dataclasses.dataclass(frozen=True)
class LoadedSet:
    """A set from a file, with where it comes from and how it was stored."""

    synthetic: SyntheticSet
    provenance: Provenance
    precision: str
    """The precision of its numbers; ``codec`` of a coded file."""
    storage: Storage | None = None
    """The storage of a coded file; None where the file has plain tensors."""
    nbytes: int | None = None
    """The length of a coded file."""

    @property
    def how(self) -> str:
        """The storage in words: the precision of its numbers, or that of a coded file."""
        return self.precision if self.storage is None else str(self.storage)

    def origin_as(self, how: str) -> Provenance:
        """Return what a file of the same set states of its origin that is stored as ``how``."""
        return self.provenance.stored_as(how, self.how)


def load_synthetic(path: str | Path, device: torch.device | str = "cpu") -> SyntheticSet:
    """The synthetic set in ``path``: an object with ``sample``, ``expand`` and ``as_dataset``. Raises DataError."""
    return load_set(path, device).synthetic


def load_set(path: str | Path, device: torch.device | str = "cpu") -> LoadedSet:
    """Load a set with its provenance and storage. Raises DataError, and UsageError for a codec that is missing.

    ``path`` is a set file, or what `vdtui export` made of one without loss of clips: a ``.pt`` or HDF5 file, or a
    folder of ``folders`` or ``webdataset``. What it is, is told by its content; its name may be any.
    """
    shown = one_line(path)
    if is_composed(Path(path)):
        return LoadedSet(*read_composed(Path(path), device))
    if _is_coded(Path(path)):
        try:
            return of_bytes(Path(path).read_bytes(), device)
        except OSError as error:
            raise DataError(f"{shown} cannot be read: {error.strerror}.", "Check the path.") from error
        except DataError as error:
            raise DataError(f"{shown}: {error.problem}", error.hint) from error
    stored, metadata = _read(Path(path), str(device))
    return _loaded(stored, metadata, shown)


def of_bytes(content: bytes, device: torch.device | str = "cpu") -> LoadedSet:
    """The set in the content of a file, as ``load_set``."""
    if is_packed(content):
        read = read_coded(content, device)
        return LoadedSet(read.synthetic, read.provenance, "codec", read.storage, len(content))
    try:
        stored = load(content)
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError) as error:
        reason = one_line((str(error).splitlines() or ["empty"])[0][:120])
        raise DataError(f"This is not a synthetic set, or only a part of one: {reason}.", _HINT) from error
    return _loaded({name: tensor.to(device) for name, tensor in stored.items()}, metadata, "This")


def _is_coded(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return is_packed(file.read(len(MAGIC)))
    except (OSError, ValueError):
        return False


def _loaded(stored: dict[str, torch.Tensor], metadata: dict[str, str], path: str) -> LoadedSet:
    if metadata.get("format") != FORMAT:
        raise DataError(f"{path} is a safetensors file, but not a synthetic set.", _HINT)
    if metadata.get("version") != str(VERSION):
        version = one_line(str(metadata.get("version"))[:20])
        problem = f"{path} has version {version} of the format; this vdtui reads {VERSION}."
        raise DataError(problem, "Update vdtui to read it.")
    try:
        precision = metadata["precision"]
        if precision not in PRECISIONS:
            raise ValueError(precision)
        synthetic = built(stored, metadata, precision)
        provenance = Provenance.of_metadata(metadata)
        refuse_infinite(synthetic.tensors())
    except DAMAGE as error:
        reason = one_line(str(error))[:120]
        raise DataError(f"{path} is damaged: its tensors do not fit its description ({reason}).", _HINT) from error
    return LoadedSet(synthetic, provenance, precision)


def _read(path: Path, device: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    shown = one_line(path)
    try:
        with safe_open(path, framework="pt", device=device) as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError as error:
        raise DataError(f"There is no file {shown}.", "Check the path.") from error
    except (OSError, SafetensorError) as error:
        reason = one_line(str(error).splitlines()[0][:120])
        raise DataError(f"{shown} cannot be read as a synthetic set: {reason}.", _HINT) from error


def built(stored: dict[str, torch.Tensor], metadata: dict[str, str], precision: str) -> SyntheticSet:
    """The set of a file's tensors and metadata. Raises what ``load_set`` makes a DataError of."""
    kind, ipc = set_class(metadata["kind"]), int(metadata["ipc"])
    said = {name: json.loads(metadata[name]) for name in ("classes", "mean", "std")}
    spec = checked_spec(**said, frames=metadata["frames"], memory=stored[KINDS[kind.kind].parts[0].name].shape)
    if ipc < 1:
        raise ValueError("ipc")
    if unread := [name for name in OPTIONAL if name in metadata and name not in kind.metadata_read]:
        raise ValueError(unread[0])
    soft = _soft_labels(stored, len(spec.classes), ipc)
    tensors = kind.decoded(spec, ipc, stored, metadata, precision) | ({} if soft is None else {LABELS.name: soft})
    synthetic = kind.build(spec, ipc, tensors, metadata)
    if synthetic.ipc != ipc:
        raise ValueError("ipc")
    return synthetic


def _soft_labels(stored: Mapping[str, torch.Tensor], classes: int, ipc: int) -> torch.Tensor | None:
    """The labels if they are soft; hard ones can only be those that the places of the instances say."""
    labels = stored["labels"]
    if labels.dtype == torch.float32 and labels.shape == (classes, ipc, classes):
        return labels
    hard = labels.dtype == torch.int64 and labels.shape == (classes, ipc)
    if not (hard and torch.equal(labels.cpu(), hard_labels(classes, ipc))):
        raise ValueError("labels")
    return None
