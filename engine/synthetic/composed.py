"""Composed sets read back: what `vdtui export` wrote for other people's training code, as sets of plain clips again.

A composed set has every clip that the set before it could give, so each is an instance of its class here: four variants
of one instance have become four instances. Nothing is unpickled: `.pt` files are read by ``weights_only``.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.data.exports import FORMAT, READ, VERSION
from engine.data.spec import ClipSpec
from engine.errors import DataError
from engine.files import INDEX, read_json
from engine.synthetic.described import DAMAGE, Provenance, checked_spec, refuse_infinite
from engine.synthetic.numbers import PRECISIONS
from engine.synthetic.pixels import Pixels
from engine.text import one_line

_HINT = "Export it again with `vdtui export`, or use another file."


def read_composed(path: Path, device: torch.device | str = "cpu") -> tuple[Pixels, Provenance, str]:
    """Return the set, its origin and its precision. Raises DataError for what is damaged, or no export of a set."""
    shown = one_line(path)
    try:
        about, clips, labels = _read(path)
        synthetic = _built(about, clips, labels)
        origin = Provenance.of_metadata({name: json.dumps(value) for name, value in about["provenance"].items()})
        refuse_infinite(synthetic.tensors())
    except (*DAMAGE, OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        reason = one_line(str(error).strip("'\"") or type(error).__name__)[:120]
        raise DataError(f"{shown} cannot be read as an exported set: {reason}.", _HINT) from error
    moved = Pixels(synthetic.spec, synthetic.pixels.to(device), soft_labels=_on(synthetic.soft_labels, device))
    return moved, origin, str(about["precision"])


def _on(tensor: torch.Tensor | None, device: torch.device | str) -> torch.Tensor | None:
    return None if tensor is None else tensor.to(device)


def _read(path: Path) -> tuple[Mapping[str, Any], torch.Tensor, torch.Tensor]:
    """Return what the export says of itself, its clips (N, 3, T, H, W), and its labels (N), or soft ones (N, C)."""
    if path.is_dir():
        return _read_folder(path)
    if zipfile.is_zipfile(path):
        return _read_pt(path)
    return _read_h5(path)


def _read_pt(path: Path) -> tuple[Mapping[str, Any], torch.Tensor, torch.Tensor]:
    import pickle

    foreign = DataError(
        f"{one_line(path)} is a .pt file, but not one that `vdtui export` wrote.",
        "If other code left it: vdtui import FILE.pt --data FILE.h5 --output SET.safetensors",
    )
    try:
        with path.open("rb") as file:  # by its content: of a path, torch would go by the name
            document = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError) as error:
        raise foreign from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise foreign
    _refuse_version(path, document.get("version"))
    return document, document["clips"], document["labels"]


def _read_h5(path: Path) -> tuple[Mapping[str, Any], torch.Tensor, torch.Tensor]:
    import h5py

    with h5py.File(path) as file:
        _refuse_version(path, file.attrs.get("version"))
        about = {name: json.loads(file.attrs[name]) for name in ("classes", "mean", "std", "provenance")}
        about["precision"] = str(file.attrs["precision"])
        return about, torch.from_numpy(file["clips"][:]), torch.from_numpy(file["labels"][:])


def _read_folder(path: Path) -> tuple[Mapping[str, Any], torch.Tensor, torch.Tensor]:
    index = read_json(path / INDEX) or {}
    kind = index.get("kind")
    if kind not in READ:
        problem = f"{one_line(path)} is an export for looking at ({one_line(str(kind))}), which has lost something."
        raise DataError(problem, "Export it as folders, webdataset, pt, h5 or set to read it again.")
    if "samples" not in index:
        raise DataError(f"{one_line(path)} was exported by an older version, without its labels.", _HINT)
    _refuse_version(path, index.get("version"))
    samples = index["samples"]
    clips = _from_tars(path, samples) if kind == "webdataset" else _from_files(path, samples)
    soft = [sample["soft_label"] for sample in samples if "soft_label" in sample]
    labels = torch.tensor(soft) if soft else torch.tensor([sample["label"] for sample in samples])
    names = [str(row["class"]) for row in index["classes"]]
    return index | {"classes": names}, clips, labels


def _inside(folder: Path, name: Any) -> Path:
    """Return the path of ``name`` in ``folder``. Raises ValueError for one that leads out of it."""
    path = (folder / str(name)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{name} is not inside of the folder")
    return path


def _from_files(folder: Path, samples: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """Decode lossless videos, or folders of frames, as pixels (N, 3, T, H, W)."""
    import av
    from PIL import Image

    clips = []
    for sample in samples:
        path = _inside(folder, sample["path"])
        if path.is_dir():
            frames = [np.asarray(Image.open(frame).convert("RGB")) for frame in sorted(path.glob("*.png"))]
        else:
            with av.open(str(path), metadata_errors="replace") as container:
                frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        clips.append(torch.from_numpy(np.stack(frames)))
    return torch.stack(clips).movedim(-1, 1)


def _from_tars(folder: Path, samples: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """Read the arrays of the shards: (N, 3, T, H, W)."""
    clips = {}
    for shard in sorted({str(sample["shard"]) for sample in samples}):
        with tarfile.open(_inside(folder, shard)) as archive:
            for member in archive:
                key, _, suffix = member.name.partition(".")
                content = archive.extractfile(member)
                if suffix == "npy" and content is not None:
                    array = np.load(io.BytesIO(content.read()), allow_pickle=False)
                    clips[key] = torch.from_numpy(array)
    return torch.stack([clips[str(sample["key"])] for sample in samples])


def _built(about: Mapping[str, Any], clips: torch.Tensor, labels: torch.Tensor) -> Pixels:
    """Return the set of clips that lie class by class. Raises what ``read_composed`` makes a DataError of."""
    precision, names = about["precision"], about["classes"]
    if precision not in PRECISIONS or clips.dim() != 5 or clips.shape[1] != 3:
        raise ValueError("precision, or the shape of the clips")
    frames = clips.shape[2]
    spec = checked_spec(names, frames, about["mean"], about["std"], memory=clips.shape)
    ipc, rest = divmod(len(clips), len(spec.classes))
    if rest or not ipc or len(labels) != len(clips):
        raise ValueError("the numbers of clips, classes and labels")
    soft = labels.float().reshape(len(spec.classes), ipc, len(spec.classes)) if labels.dim() == 2 else None
    if soft is None and not torch.equal(labels.long(), torch.arange(len(spec.classes)).repeat_interleave(ipc)):
        raise ValueError("labels, which are not in the order of the classes")
    values = spec.normalise(clips.movedim(1, -1)) if precision == "uint8" else clips.float()
    pixels = values.transpose(1, 2).reshape(len(spec.classes), ipc, frames, 3, spec.height, spec.width)
    return Pixels(spec, pixels.contiguous(), soft_labels=soft)


def _refuse_version(path: Path, version: object) -> None:
    if version != VERSION:
        problem = (
            f"{one_line(path)} has version {one_line(str(version))[:20]} of its format; this vdtui reads {VERSION}."
        )
        raise DataError(problem, "Update vdtui to read it.")


def unnormalised_share(spec: ClipSpec, clips: torch.Tensor) -> float:
    """Return the share of the values of normalised ``clips`` (N, 3, ...) that no pixel from 0 to 255 can show."""
    shape = (3,) + (1,) * (clips.dim() - 2)
    mean, std = (torch.tensor(values, device=clips.device).view(shape) for values in (spec.mean, spec.std))
    levels = (clips * std + mean) * 255
    return float(((levels < -0.5) | (levels > 255.5)).float().mean())
