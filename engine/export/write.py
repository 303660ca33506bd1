"""One way to all exports: what is to be written, in which format, with its card."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from engine.export import card
from engine.export.card import About
from engine.export.clips import export_h5, export_pt, lost
from engine.export.folders import export_folders, export_webdataset
from engine.export.media import FPS, export_gif, export_mp4, export_png, is_single
from engine.export.output import Exported, refuse_existing
from engine.export.tensors import export_safetensors, export_set


@dataclasses.dataclass(frozen=True)
class Wish:
    """An export as a user wants it; None where the format decides."""

    format: str
    """set, safetensors, pt, h5, folders, webdataset, mp4, gif or png."""
    output: Path
    precision: str = "float32"
    """Precisions of the values in safetensors, pt, h5 and webdataset."""
    storage: str | None = None
    """The precision of a set; None: as it is stored."""
    fps: float = FPS
    frames: bool = False
    """True for frames as pictures in place of videos in folders."""


def write(about: About, wish: Wish, overwrite: bool = False) -> Exported:
    """Write the set ``about`` as ``wish`` says, with a card in the folder, or beside the file.

    Raises UsageError for what exists or does not go together, DataError for a damaged set, and StorageError.
    """
    output, loaded = wish.output, about.loaded
    notes = _soft_notes(about, wish)
    said = (*notes, *(lost(loaded.synthetic, "uint8") if _is_pixels(wish) else ()))
    kind = "frames" if wish.frames else wish.format
    how = _stored(about, wish)
    text = card.text(about, kind, how, output.name, said)
    if _is_folder(wish):
        exported = _folder(about, wish, overwrite, text)
        beside = output / "README.md"
    else:
        refuse_existing(output.with_name(output.name + card.SUFFIX), overwrite)
        exported = _file(about, wish, overwrite, text)
        beside = card.write_beside(output, text, overwrite)
    return dataclasses.replace(exported, notes=(*notes, *exported.notes), card=beside)


def _is_pixels(wish: Wish) -> bool:
    return wish.format == "folders" or (wish.format in ("pt", "h5", "webdataset") and wish.precision == "uint8")


def _is_folder(wish: Wish) -> bool:
    looked_at = wish.format in ("mp4", "gif", "png") and not is_single(wish.output, wish.format)
    return looked_at or wish.format in ("folders", "webdataset")


def _stored(about: About, wish: Wish) -> str:
    """Return the storage of what is written, as results name it."""
    if wish.format == "set":
        return wish.storage or about.loaded.how
    return "uint8" if _is_pixels(wish) else wish.precision


def _file(about: About, wish: Wish, overwrite: bool, text: str) -> Exported:
    loaded, output = about.loaded, wish.output
    if wish.format == "set":
        return export_set(about.source, output, wish.storage, overwrite)
    if wish.format == "safetensors":
        return export_safetensors(loaded, output, wish.precision, overwrite)
    if wish.format in ("pt", "h5"):
        return (export_pt if wish.format == "pt" else export_h5)(loaded, output, wish.precision, overwrite, text)
    if wish.format == "png":
        return export_png(loaded.synthetic, output, overwrite)
    return (export_mp4 if wish.format == "mp4" else export_gif)(loaded.synthetic, output, wish.fps, overwrite)


def _folder(about: About, wish: Wish, overwrite: bool, text: str) -> Exported:
    loaded, output = about.loaded, wish.output
    if wish.format == "folders":
        return export_folders(loaded, output, wish.frames, wish.fps, overwrite, text)
    if wish.format == "webdataset":
        return export_webdataset(loaded, output, wish.precision, overwrite, text)
    if wish.format == "png":
        return export_png(loaded.synthetic, output, overwrite, text)
    return (export_mp4 if wish.format == "mp4" else export_gif)(loaded.synthetic, output, wish.fps, overwrite, text)


def _soft_notes(about: About, wish: Wish) -> tuple[str, ...]:
    """Return a note where soft labels are left out, as in pictures and videos for looking at."""
    if about.loaded.synthetic.soft_labels is None or wish.format not in ("mp4", "gif", "png"):
        return ()
    return (f"The set has soft labels, which {wish.format} cannot hold: it is for looking at.",)
