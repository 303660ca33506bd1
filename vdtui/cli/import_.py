"""`vdtui import`: sets that the public code of video distillation left, as set files."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from vdtui.cli.options import Json, human_bytes, note, print_json, say


class Normalised(enum.StrEnum):
    """The normalisation of the values that are imported."""

    IMAGENET = "imagenet"
    DATA = "data"
    NONE = "none"


def import_(
    source: Annotated[
        Path, typer.Argument(metavar="PATH", help="A folder with images_best.pt and the like, or a .pt file.")
    ],
    output: Annotated[Path, typer.Option("--output", metavar="SET", help="The set file to write.")],
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FILE.h5", help="Real clips: they name classes and normalisation.")
    ] = None,
    ipc: Annotated[int | None, typer.Option(min=1, help="Instances per class, where nothing else says it.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames of a clip, where there are stills alone.")] = None,
    static: Annotated[
        Path | None, typer.Option("--static", metavar="FILE.pt", help="The stills, if they are not in the folder.")
    ] = None,
    normalised: Annotated[
        Normalised, typer.Option("--normalised", help="By ImageNet's mean, by the data's, or not: pixels from 0 to 1.")
    ] = Normalised.IMAGENET,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace SET if it exists.")] = False,
    json: Json = False,
) -> None:
    """Import a set of the public reference code: clips, or static and dynamic memory with hallucinators.

    Takes images_best.pt, dynamic_best.pt and weights_best.pt of a folder, y_syn_*.pt as soft labels, a dictionary with
    "image", or a plain tensor. Nothing in them is run. With --data the set can be evaluated on these clips at once.

    Example: vdtui import logged_files/S2D/run --data hmdb51.h5 --output theirs.safetensors

    Example: vdtui evaluate theirs.safetensors --data hmdb51.h5 --protocol vdsd
    """
    from engine.errors import UsageError
    from engine.export.output import refuse_existing, write_file
    from engine.synthetic import Provenance, to_bytes
    from engine.synthetic.reference import IMAGENET, UNIT, Wanted, read_reference

    refuse_existing(output, overwrite)
    if normalised is Normalised.DATA and data is None:
        raise UsageError("--normalised data needs the data.", "Add it: --data FILE.h5")
    classes: tuple[str, ...] | None = None
    own: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    if data is not None:
        from engine.data.store import ClipStore

        with ClipStore.open(data) as store:
            classes, own = tuple(store.classes), (tuple(store.mean), tuple(store.std))
            frames = frames or store.frames
    given = {Normalised.IMAGENET: IMAGENET, Normalised.DATA: own, Normalised.NONE: UNIT}[normalised]
    synthetic, notes = read_reference(source, Wanted(classes, ipc, frames, given, own), static)
    write_file(output, to_bytes(synthetic, Provenance(preset=f"imported from {source.name}")), overwrite)
    for line in notes:
        note(line)
    spec, size = synthetic.spec, output.stat().st_size
    if json:
        about = {"kind": synthetic.kind, "classes": list(spec.classes), "ipc": synthetic.ipc, "bytes": size}
        clip = {"frames": spec.frames, "height": spec.height, "width": spec.width}
        print_json({"output": str(output), **about, **clip, "notes": list(notes)})
        return
    shape = f"{spec.frames} x {spec.height} x {spec.width}"
    what = f"{synthetic.kind}, {len(spec.classes)} classes, IPC {synthetic.ipc}"
    say(f"{output}: {what}, clips of {shape}, {human_bytes(size)}")
    say(f"Evaluate it: vdtui evaluate {output} --data {data or 'FILE.h5'}")
