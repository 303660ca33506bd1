"""Composed clips as folders that other loaders take: lossless videos or frames by class, or the shards of WebDataset.

Class numbers are the same for all of them: folders begin with the label, ``classes.txt`` has the names in its order,
and lists and shards have it as a number. ``index.json`` has what `vdtui` needs to read the set back.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from engine.data.exports import VERSION
from engine.export import encode
from engine.export.clips import composed, hard_labels, lost
from engine.export.media import FPS, card_file, class_rows
from engine.export.output import Exported, refuse_folder, write_folder
from engine.export.pictures import class_clips
from engine.synthetic import LoadedSet, check_precision
from engine.text import one_line

Contents = Iterator[tuple[PurePosixPath, bytes]]
SHARD_BYTES = 256 << 20
"""The most bytes of clips in a shard, which is made in memory."""


def export_folders(
    loaded: LoadedSet,
    output: Path,
    frames: bool = False,
    fps: float = FPS,
    overwrite: bool = False,
    card: str = "",
) -> Exported:
    """Write every clip as ``<class>/<clip>.mp4``, lossless, or with ``frames`` as ``<class>/<clip>/frame000001.png``.

    ``list.txt`` has a row for each clip: path and class, and of frames their number between these. Soft labels are in
    ``soft_labels.csv``. Raises UsageError (output is a file, or not empty; impossible ``fps``) and StorageError.
    """
    encode.check_fps(fps, "folders")
    refuse_folder(output, overwrite)
    synthetic = loaded.synthetic
    samples = _samples(loaded)
    places = [sample.pop("place") for sample in samples]
    suffix = "" if frames else ".mp4"
    for sample, place in zip(samples, places, strict=True):
        sample["path"] = f"{place}{suffix}"

    def contents() -> Contents:
        for label in range(len(synthetic.spec.classes)):
            first = label * synthetic.clips_per_class
            for number, clip in enumerate(class_clips(synthetic, label)):
                path = PurePosixPath(samples[first + number]["path"])
                if frames:
                    yield from ((path / f"frame{t:06d}.png", encode.png(one)) for t, one in enumerate(clip, start=1))
                else:
                    yield path, encode.lossless(iter(clip), fps)
        number_of = f" {synthetic.frames}" if frames else ""
        rows = [f"{sample['path']}{number_of} {sample['label']}\n" for sample in samples]
        yield PurePosixPath("list.txt"), "".join(rows).encode("utf-8")
        yield from _beside(loaded, samples, "path", card)

    about = _index(loaded, "folders", "uint8", samples)
    return Exported(output, write_folder(output, contents, about, overwrite), lost(synthetic, "uint8"))


def export_webdataset(
    loaded: LoadedSet, output: Path, precision: str = "float32", overwrite: bool = False, card: str = ""
) -> Exported:
    """Write the clips as shards ``shard-000000.tar``, for WebDataset and everything else that reads tar.

    Of each clip there are ``KEY.npy``, (3, T, H, W) of ``precision`` as in ``export_pt``, ``KEY.cls``, its class, and
    ``KEY.labels.npy`` (C), if labels are soft. Raises UsageError (output is a file, or not empty) and StorageError.
    """
    check_precision(precision)
    refuse_folder(output, overwrite)
    samples = _samples(loaded)
    spec = loaded.synthetic.spec
    size = 3 * spec.frames * spec.height * spec.width * torch.empty(0, dtype=getattr(torch, precision)).element_size()
    each = max(1, SHARD_BYTES // size)
    for number, sample in enumerate(samples):
        del sample["place"]
        sample |= {"key": f"{number:06d}", "shard": f"shard-{number // each:06d}.tar"}

    def contents() -> Contents:
        clips = (clip for part, _ in composed(loaded.synthetic, precision) for clip in part.numpy())
        for first in range(0, len(samples), each):
            shard = samples[first : first + each]
            yield PurePosixPath(shard[0]["shard"]), _shard(shard, clips)
        yield from _beside(loaded, samples, "key", card)

    about = _index(loaded, "webdataset", precision, samples)
    return Exported(output, write_folder(output, contents, about, overwrite), lost(loaded.synthetic, precision))


def _shard(samples: list[dict[str, Any]], clips: Iterator[np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for sample in samples:
            files = {"cls": str(sample["label"]).encode(), "npy": _npy(next(clips))}
            if "soft_label" in sample:
                files["labels.npy"] = _npy(np.array(sample["soft_label"], np.float32))
            for suffix, content in files.items():
                member = tarfile.TarInfo(f"{sample['key']}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _samples(loaded: LoadedSet) -> list[dict[str, Any]]:
    """Return of each clip its label, its place without a suffix, and its soft label if it has one."""
    synthetic = loaded.synthetic
    own = synthetic.clips_per_class
    digits = len(str(own))
    samples: list[dict[str, Any]] = [
        {"label": row["label"], "place": f"{row['folder']}/{number:0{digits}d}"}
        for row in class_rows(synthetic.spec.classes)
        for number in range(1, own + 1)
    ]
    if synthetic.soft_labels is not None:
        labels = hard_labels(synthetic)
        choice = torch.arange(own).repeat(len(synthetic.spec.classes))
        soft = synthetic.targets(labels.to(synthetic.device), choice.to(synthetic.device)).detach().cpu()
        for sample, row in zip(samples, soft.tolist(), strict=True):
            sample["soft_label"] = row
    return samples


def _beside(loaded: LoadedSet, samples: list[dict[str, Any]], name: str, card: str) -> Contents:
    """Yield the names of the classes, the soft labels as a table, and the card."""
    names = [one_line(each) for each in loaded.synthetic.spec.classes]
    yield PurePosixPath("classes.txt"), "".join(f"{each}\n" for each in names).encode("utf-8")
    if loaded.synthetic.soft_labels is not None:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow([name, *(str(label) for label in range(len(names)))])
        writer.writerows([sample[name], *sample["soft_label"]] for sample in samples)
        yield PurePosixPath("soft_labels.csv"), table.getvalue().encode("utf-8")
    yield from card_file(card)


def _index(loaded: LoadedSet, kind: str, precision: str, samples: list[dict[str, Any]]) -> dict[str, Any]:
    spec = loaded.synthetic.spec
    return {
        "version": VERSION,
        "kind": kind,
        "classes": class_rows(spec.classes),
        "frames": spec.frames,
        "height": spec.height,
        "width": spec.width,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "precision": precision,
        "provenance": dataclasses.asdict(loaded.origin_as(precision)),
        "samples": samples,
    }
