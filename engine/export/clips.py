"""The clips of a synthetic set, composed, for training code that knows nothing of memories.

A ``.pt`` or HDF5 file has every clip that the set can give, in the order of ``SyntheticSet.expand``, with its label.
The files take as many bytes as the clips; the size of a set, as results report it, is that of a ``safetensors`` file.
"""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import torch

from engine.data.exports import FORMAT, VERSION
from engine.errors import StorageError
from engine.export.output import Exported, refuse_existing, unwritable, write_file
from engine.files import replacing, sweep
from engine.synthetic import LoadedSet, SyntheticSet, check_precision
from engine.synthetic.composed import unnormalised_share


def export_pt(
    loaded: LoadedSet, output: Path, precision: str = "float32", overwrite: bool = False, card: str = ""
) -> Exported:
    """Write the clips as a file that ``torch.load(output, weights_only=True)`` reads: tensors, numbers and text.

    It is a dictionary of ``clips`` (N, 3, T, H, W), normalised by ``mean`` and ``std``, or pixels from 0 to 255 if
    ``precision`` is uint8; ``labels``, int64 (N), or float32 (N, C) if they are soft, and then ``hard_labels``, int64
    (N); ``classes``; the provenance of the set; and ``card``.

    Raises UsageError if ``output`` exists, StorageError if it cannot be written.
    """
    check_precision(precision)
    refuse_existing(output, overwrite)
    parts = list(composed(loaded.synthetic, precision))
    document = {"clips": torch.cat([clips for clips, _ in parts]), "labels": torch.cat([labels for _, labels in parts])}
    if loaded.synthetic.soft_labels is not None:
        document["hard_labels"] = hard_labels(loaded.synthetic)
    buffer = io.BytesIO()
    torch.save(_about(loaded, precision, card) | document, buffer)
    write_file(output, buffer.getvalue(), overwrite)
    return Exported(output, (output,), lost(loaded.synthetic, precision))


def export_h5(
    loaded: LoadedSet, output: Path, precision: str = "float32", overwrite: bool = False, card: str = ""
) -> Exported:
    """Write the contents of :func:`export_pt` as HDF5.

    ``clips``, one to a chunk, and the labels are datasets; everything else is an attribute, of which ``classes``,
    ``mean``, ``std`` and ``provenance`` are JSON. Memory holds one class at a time. Raises as :func:`export_pt` does.
    """
    check_precision(precision)
    refuse_existing(output, overwrite)
    synthetic = loaded.synthetic
    number = len(synthetic.spec.classes) * synthetic.clips_per_class
    sweep(output.parent)
    with unwritable(output), replacing(output) as path:
        done = 0
        with h5py.File(path, "w", libver=("v108", "v110")) as file:  # older ones limit attributes to 64 KiB
            for name, value in _about(loaded, precision, card).items():
                file.attrs[name] = value if isinstance(value, (str, int)) else json.dumps(value)
            for clips, labels in composed(synthetic, precision):
                if not done:
                    _require_room(output, number * clips[0].nbytes)
                    shape = tuple(clips.shape[1:])
                    file.create_dataset("clips", (number, *shape), clips.numpy().dtype, chunks=(1, *shape))
                    file.create_dataset("labels", (number, *labels.shape[1:]), labels.numpy().dtype)
                file["clips"][done : done + len(clips)] = clips.numpy()
                file["labels"][done : done + len(clips)] = labels.numpy()
                done += len(clips)
            if synthetic.soft_labels is not None:
                file["hard_labels"] = hard_labels(synthetic).numpy()
    return Exported(output, (output,), lost(synthetic, precision))


def composed(synthetic: SyntheticSet, precision: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the clips (clips_per_class, 3, T, H, W) and labels of each class in turn, on the CPU."""
    choice = torch.arange(synthetic.clips_per_class, device=synthetic.device)
    for label in range(len(synthetic.spec.classes)):
        labels = torch.full_like(choice, label)
        with torch.no_grad():
            clips, targets = synthetic.compose(labels, choice), synthetic.targets(labels, choice)
        if precision == "uint8":
            clips = synthetic.spec.to_pixels(clips).movedim(-1, 1)
        yield clips.to(getattr(torch, precision)).contiguous().cpu(), targets.cpu()


def hard_labels(synthetic: SyntheticSet) -> torch.Tensor:
    """Return the class of each composed clip, int64 (N)."""
    return torch.arange(len(synthetic.spec.classes)).repeat_interleave(synthetic.clips_per_class)


def lost(synthetic: SyntheticSet, precision: str) -> tuple[str, ...]:
    """Return a note on the share of values that pixels cannot show, if ``precision`` is uint8 and there are any."""
    if precision != "uint8":
        return ()
    shares = [unnormalised_share(synthetic.spec, clips) for clips, _ in composed(synthetic, "float32")]
    share = sum(shares) / len(shares)
    if share < 1e-4:
        return ()
    return (f"{100 * share:.1f} % of the values are beyond black or white, and are cut off in pixels of 8 bits.",)


def _about(loaded: LoadedSet, precision: str, card: str) -> dict[str, Any]:
    spec = loaded.synthetic.spec
    return {
        "format": FORMAT,
        "version": VERSION,
        "precision": precision,
        "classes": list(spec.classes),
        "mean": list(spec.mean),
        "std": list(spec.std),
        "provenance": dataclasses.asdict(loaded.origin_as(precision)),
        "card": card,
    }


def _require_room(output: Path, needed: int) -> None:
    """Raise StorageError if ``needed`` bytes are not free: HDF5 leaves files half closed when a disk fills up."""
    free = shutil.disk_usage(output.resolve().parent).free
    if free < needed:
        problem = f"The clips need {needed / 1e6:.0f} MB, but only {free / 1e6:.0f} MB are free at {output}."
        raise StorageError(problem, "Free some space, choose another --output, or --precision uint8.")
