"""`vdtui export`: a synthetic set as tensors, video or pictures."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vdtui.cli.options import Json, RunsDir, human_bytes, note, print_json, say

if TYPE_CHECKING:
    from engine.export.output import Exported


class ExportFormat(enum.StrEnum):
    """The formats that `export` writes."""

    SET = "set"
    SAFETENSORS = "safetensors"
    PT = "pt"
    H5 = "h5"
    MP4 = "mp4"
    GIF = "gif"
    PNG = "png"
    FOLDERS = "folders"


class Precision(enum.StrEnum):
    """The number formats in which `export` stores tensors."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    UINT8 = "uint8"


def export(
    source: Annotated[str, typer.Argument(metavar="RUN|SET", help="A run, or the file of a synthetic set.")],
    format: Annotated[ExportFormat, typer.Option("--format", help="What to write.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="PATH",
            help="A file; or a folder: for mp4, gif and png, one file per class and clip; for folders, all frames.",
        ),
    ],
    precision: Annotated[
        Precision | None,
        typer.Option("--precision", help="Of the values in safetensors, pt and h5 (default: float32)."),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="HOW",
            help="Of a set: uint8, h264-35@half, jpeg-80+h264-28 ... (default: as the run stores it).",
        ),
    ] = None,
    fps: Annotated[
        float | None, typer.Option("--fps", metavar="N", help="Frames per second of mp4 and gif (default: 8).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Write the synthetic set of a run as tensors, video or pictures.

    Of a run, the set that the validation split chose is taken, or the last one if none is chosen yet. set is the
    file that counts, in as few bytes as --storage makes it, and safetensors has its tensors; pt and h5 have the clips
    that it makes, for any training code, and folders has their frames as pictures, one folder per clip, which
    `vdtui prepare folders` reads. Videos, gifs and png are for looking at.

    Example: vdtui export demo --format mp4 --output demo.mp4

    Example: vdtui export demo --format set --storage jpeg-80+h264-28 --output demo.vds
    """
    from engine.export.media import FPS

    _refuse_unread(format, precision, storage, fps)
    path = _set_path(source, runs_dir)
    if format is ExportFormat.SET:
        from engine.export.tensors import export_set

        exported = export_set(path, output, storage, overwrite)
    else:
        exported = _write(format, path, output, precision or Precision.FLOAT32, FPS if fps is None else fps, overwrite)
    for line in exported.notes:
        note(line)
    if json:
        document = {
            "format": format.value,
            "set": str(path),
            "output": str(exported.output),
            "files": [{"path": str(file), "bytes": file.stat().st_size} for file in exported.files],
            "bytes": exported.nbytes,
            "notes": list(exported.notes),
        }
        print_json(document)
        return
    files = f"{len(exported.files)} files" if len(exported.files) > 1 else "1 file"
    say(f"{exported.output}: {files}, {human_bytes(exported.nbytes)}")


def _write(
    format: ExportFormat, path: Path, output: Path, precision: Precision, fps: float, overwrite: bool
) -> Exported:
    from engine.export.clips import export_h5, export_pt
    from engine.export.media import export_folders, export_gif, export_mp4, export_png
    from engine.export.tensors import export_safetensors
    from engine.synthetic import load_set

    loaded = load_set(path)
    tensors = {
        ExportFormat.SAFETENSORS: export_safetensors,
        ExportFormat.PT: export_pt,
        ExportFormat.H5: export_h5,
    }
    if format in tensors:
        return tensors[format](loaded, output, precision.value, overwrite)
    if format in (ExportFormat.PNG, ExportFormat.FOLDERS):
        still = export_png if format is ExportFormat.PNG else export_folders
        return still(loaded.synthetic, output, overwrite)
    moving = export_mp4 if format is ExportFormat.MP4 else export_gif
    return moving(loaded.synthetic, output, fps, overwrite)


def _refuse_unread(format: ExportFormat, precision: Precision | None, storage: str | None, fps: float | None) -> None:
    """An option that this format does not read is a mistake, not a wish to pass over."""
    from engine.errors import UsageError

    if precision is not None and format not in (ExportFormat.SAFETENSORS, ExportFormat.PT, ExportFormat.H5):
        hint = "Leave it out, or use --format safetensors, pt or h5."
        raise UsageError(f"--precision says nothing about {format.value}.", hint)
    if storage is not None and format is not ExportFormat.SET:
        raise UsageError(f"--storage says nothing about {format.value}.", "Leave it out, or use --format set.")
    if fps is not None and format not in (ExportFormat.MP4, ExportFormat.GIF):
        raise UsageError(f"--fps says nothing about {format.value}.", "Leave it out, or use --format mp4 or gif.")


def _set_path(source: str, runs_dir: Path | None) -> Path:
    """The set file that ``source`` means: itself, or the best, else the last set of a run."""
    from engine.errors import UsageError
    from engine.files import SET_SUFFIXES
    from engine.runs import find_run, runs_folder

    if Path(source).is_file():
        return Path(source)
    if source.endswith(SET_SUFFIXES):
        raise UsageError(f"There is no file {source}.", "Check the path, or give the name of a run.")
    run = find_run(runs_folder(runs_dir), source)
    for path in (run.best, run.last):
        if path.is_file():
            return path
    hint = f"It is written when the first evaluation is done; see `vdtui show {run.name}`."
    raise UsageError(f"The run {run.name} ({run.state()}) has no synthetic set yet.", hint)
