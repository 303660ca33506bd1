"""`vdtui export`: a synthetic set as tensors, video or pictures."""

from __future__ import annotations

import enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vdtui.cli.options import Json, RunsDir, human_bytes, note, print_json, say

if TYPE_CHECKING:
    from engine.export.card import About


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
    WEBDATASET = "webdataset"


class Precision(enum.StrEnum):
    """The number formats in which `export` stores tensors."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    UINT8 = "uint8"


def export(
    source: Annotated[str, typer.Argument(metavar="RUN|SET", help="A run, or the file of a set, or an export of one.")],
    format: Annotated[ExportFormat, typer.Option("--format", help="What to write.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="PATH",
            help="A file; or a folder: for mp4, gif, png and folders, one file per clip; for webdataset, shards.",
        ),
    ],
    precision: Annotated[
        Precision | None,
        typer.Option("--precision", help="Of the values in safetensors, pt, h5 and webdataset (default: float32)."),
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
        float | None, typer.Option("--fps", metavar="N", help="Frames per second of mp4, gif and folders (default: 8).")
    ] = None,
    frames: Annotated[
        bool, typer.Option("--frames", help="Frames as pictures in place of lossless videos, in folders.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Write the synthetic set of a run as tensors, video or pictures.

    Of a run, the set that the validation split chose is taken, or the last one if none is chosen yet. set is the
    file that counts, in as few bytes as --storage makes it, and safetensors has its tensors; pt, h5, folders (lossless
    videos by class, with a list) and webdataset have the clips that it makes, for any training code. Videos, gifs and
    png are for looking at. A card stands beside each file, or in each folder: what it is, how accurate, and code to
    train on it. `vdtui evaluate` reads all but those for looking at.

    Example: vdtui export demo --format mp4 --output demo.mp4

    Example: vdtui export demo --format set --storage jpeg-80+h264-28 --output demo.vds
    """
    from engine.export.media import FPS
    from engine.export.write import Wish, write

    _refuse_unread(format, precision, storage, fps, frames)
    about = _about(source, runs_dir)
    wish = Wish(
        format.value,
        output,
        (precision or Precision.FLOAT32).value,
        storage,
        FPS if fps is None else fps,
        frames,
    )
    exported = write(about, wish, overwrite)
    for line in exported.notes:
        note(line)
    if json:
        document = {
            "format": format.value,
            "set": str(about.source),
            "output": str(exported.output),
            "files": [{"path": str(file), "bytes": file.stat().st_size} for file in exported.files],
            "bytes": exported.nbytes,
            "card": str(exported.card),
            "notes": list(exported.notes),
        }
        print_json(document)
        return
    files = f"{len(exported.files)} files" if len(exported.files) > 1 else "1 file"
    say(f"{exported.output}: {files}, {human_bytes(exported.nbytes)}; how to use it: {exported.card}")


def _refuse_unread(
    format: ExportFormat, precision: Precision | None, storage: str | None, fps: float | None, frames: bool
) -> None:
    """Refuse an option that this format does not read: it is a mistake, not a wish to pass over."""
    from engine.errors import UsageError

    valued = (ExportFormat.SAFETENSORS, ExportFormat.PT, ExportFormat.H5, ExportFormat.WEBDATASET)
    if precision is not None and format not in valued:
        hint = "Leave it out, or use --format safetensors, pt, h5 or webdataset."
        raise UsageError(f"--precision says nothing about {format.value}.", hint)
    if storage is not None and format is not ExportFormat.SET:
        raise UsageError(f"--storage says nothing about {format.value}.", "Leave it out, or use --format set.")
    if fps is not None and (frames or format not in (ExportFormat.MP4, ExportFormat.GIF, ExportFormat.FOLDERS)):
        what = "frames" if frames else format.value
        raise UsageError(f"--fps says nothing about {what}.", "Leave it out, or use --format mp4, gif or folders.")
    if frames and format is not ExportFormat.FOLDERS:
        raise UsageError(f"--frames says nothing about {format.value}.", "Leave it out, or use --format folders.")


def _about(source: str, runs_dir: Path | None) -> About:
    """Return the set that ``source`` means: of a file, or the best, else the last of a run."""
    from engine.config import load_preset, read_preset
    from engine.data.exports import is_composed
    from engine.errors import PresetError, UsageError
    from engine.evaluation.judge import planned
    from engine.export.card import About
    from engine.files import SET_SUFFIXES, looks_like_set
    from engine.runs import find_run, runs_folder

    default = partial(planned, load_preset("default"))
    path = Path(source)
    if path.is_file() or is_composed(path):
        if not looks_like_set(path) and not is_composed(path) and path.suffix in (".h5", ".hdf5"):
            problem = f"{source} has real clips, not a synthetic set."
            raise UsageError(problem, f"Choose clips of it first: vdtui select herding --data {source} --ipc 1")
        return About.of_file(path, default)
    if source.endswith(SET_SUFFIXES):
        raise UsageError(f"There is no file {source}.", "Check the path, or give the name of a run.")
    run = find_run(runs_folder(runs_dir), source)
    for path in (run.best, run.last):
        if path.is_file():
            try:
                return About.of_run(run, path, partial(planned, read_preset(run.preset_file)))
            except PresetError:  # that of another version; the card says that the recipe is assumed
                return About.of_run(run, path, default, assumed=True)
    hint = f"It is written when the first evaluation is done; see `vdtui show {run.name}`."
    raise UsageError(f"The run {run.name} ({run.state()}) has no synthetic set yet.", hint)
