"""`vdtui data`: what is in a clips file, in words, as pictures, and whether it is still whole."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.data.exports import is_composed
from engine.errors import UsageError
from engine.files import looks_like_set
from engine.text import counted
from vdtui.cli.options import human_bytes, note, print_json, say

if TYPE_CHECKING:
    from engine.data.sheet import Strip
    from engine.data.store import ClipStore
    from engine.data.verify import Damage

SHOWN_CLASSES = 20
SHOWN_SKIPPED = 5
SHEET_CLASSES = 60
STRIP_COLUMNS = 24
"""Columns of the terminal that one frame takes."""


def data(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A clips file (.h5) of `vdtui prepare`; a synthetic set; or an export."),
    ],
    sheet: Annotated[bool, typer.Option("--sheet", help="Show random clips here, in colour.")] = False,
    png: Annotated[Path | None, typer.Option(metavar="OUT.png", help="Save random clips as a picture.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read every clip and compare its checksum.")] = False,
    split: Annotated[str, typer.Option(help="Of the clips shown: train, val or test.")] = "train",
    classes: Annotated[int | None, typer.Option(min=1, help="Classes shown; default: as many as fit.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each class in the picture.")] = 3,
    frames: Annotated[int, typer.Option(min=1, help="Frames of each clip.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Decides which clips are shown.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.png if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON on stdout.")] = False,
    preview: Annotated[Path | None, typer.Option(hidden=True, help="For the dashboard: clips as an .npz.")] = None,
) -> None:
    """Show what is in a clips file: classes, counts, shape, bytes, sampling, skipped videos.

    Example: vdtui data hmdb51.h5

    Example: vdtui data hmdb51.h5 --png sheet.png --clips 2 --split test
    """
    from engine.data.store import ClipStore

    if looks_like_set(file) or is_composed(file):
        if verify or png is not None or sheet or preview is not None:
            problem = f"{file} is a synthetic set, and these options are about clips files."
            raise UsageError(problem, "Pictures of a set: vdtui export SET --format png --output OUT.png")
        _tell_set(file, as_json)
        return
    if file.is_dir():
        problem = f"{file} is a folder that no export made, and no clips file."
        raise UsageError(problem, f"Make one of its videos: vdtui prepare folders --source {file} --output FILE.h5")
    if verify:
        _verify(file, as_json)
        return
    with ClipStore.open(file) as store:
        if png is not None:
            _save(store, png, split, classes or SHEET_CLASSES, clips, frames, seed, overwrite)
        elif sheet:
            _show(store, split, classes, frames, seed)
        elif as_json:
            print_json(_describe(store))
        else:
            say(_text(_describe(store)))
        if preview is not None:
            from engine.data.sheet import save_preview

            save_preview(preview, store, split, seed=seed)


# --- synthetic sets --------------------------------------------------------------------------------------------------


def _tell_set(file: Path, as_json: bool) -> None:
    """Tell what is in the file of a set."""
    import dataclasses

    from engine.synthetic import load_set

    loaded = load_set(file)
    synthetic, spec, how = loaded.synthetic, loaded.synthetic.spec, loaded.how
    parts = [path for path in file.rglob("*") if path.is_file()] if file.is_dir() else [file]
    size = sum(path.stat().st_size for path in parts)
    if as_json:
        about = {"kind": synthetic.kind, "classes": list(spec.classes), "ipc": synthetic.ipc, "storage": how}
        shape = {"frames": spec.frames, "height": spec.height, "width": spec.width}
        print_json(about | shape | {"bytes": size, "provenance": dataclasses.asdict(loaded.provenance)})
        return
    say(f"{file}: a synthetic set of kind {synthetic.kind}, {len(spec.classes)} classes, IPC {synthetic.ipc}")
    say(f"clips of {spec.frames} x {spec.height} x {spec.width}, {synthetic.clips_per_class} per class")
    say(f"{human_bytes(size)} as {how}, {human_bytes(size / len(spec.classes))} per class")
    if loaded.provenance.preset:
        say(f"learned by {loaded.provenance.preset}, seed {loaded.provenance.seed}, step {loaded.provenance.step}")


# --- pictures --------------------------------------------------------------------------------------------------------


def _save(
    store: ClipStore, png: Path, split: str, classes: int, clips: int, frames: int, seed: int, overwrite: bool
) -> None:
    from engine.data.sheet import save_sheet, strips

    labels = range(min(classes, len(store.classes)))
    rows = [strips(store, [label], split=split, clips=clips, frames=frames, seed=seed) for label in labels]
    width, height = save_sheet(png, rows, overwrite)
    note(f"{png}: {len(rows)} of {len(store.classes)} classes, {width} x {height} pixels")


def _show(store: ClipStore, split: str, classes: int | None, frames: int, seed: int) -> None:
    from rich.console import Console

    from engine.data.sheet import strips

    console = Console()
    if not console.is_terminal or console.color_system is None:
        raise UsageError("There is no terminal with colours here to show clips on.", "Save them: --png OUT.png")
    columns = min(STRIP_COLUMNS, max(4, console.width // frames))
    rows = columns // 2 + 1
    fitting = max(1, (shutil.get_terminal_size().lines - 1) // rows)
    labels = list(range(min(classes or fitting, len(store.classes))))
    for strip in strips(store, labels, split=split, frames=frames, seed=seed):
        _print_strip(console, strip, columns)
    if len(labels) < len(store.classes):
        note(f"{len(labels)} of {len(store.classes)} classes; more with --classes N or --png OUT.png")


def _print_strip(console: Any, strip: Strip, columns: int) -> None:
    """A caption, and the strip as half blocks: two pixels, one above the other, in each character."""
    import numpy as np
    from PIL import Image
    from rich.style import Style
    from rich.text import Text

    from engine.text import one_line

    height, width = strip.pixels.shape[:2]
    wide = columns * (width // height)
    small = np.asarray(Image.fromarray(strip.pixels).resize((wide, columns), Image.Resampling.BOX)).tolist()
    console.print(Text(one_line(f"{strip.name}   {strip.video}"), no_wrap=True, overflow="ellipsis"))
    for top in range(0, columns - 1, 2):
        line = Text(no_wrap=True)
        for upper, lower in zip(small[top], small[top + 1], strict=True):
            line.append("▀", Style.parse(f"rgb({_rgb(upper)}) on rgb({_rgb(lower)})"))
        console.print(line)


def _rgb(pixel: list[int]) -> str:
    return ",".join(map(str, pixel))


# --- damage ----------------------------------------------------------------------------------------------------------


def _verify(file: Path, as_json: bool) -> None:
    from engine.data.verify import verify
    from engine.errors import DataError

    damages = verify(file, _progress())
    if damages is None:
        raise DataError(f"{file} has no checksums: an older version made it.", "Make it anew with `vdtui prepare`.")
    if as_json:
        print_json({"path": str(file), "whole": not damages, "damages": [vars(damage) for damage in damages]})
    if damages:
        first = "; ".join(_damage(damage) for damage in damages[:3])
        more = f"; and {len(damages) - 3} more" if len(damages) > 3 else ""
        raise DataError(
            f"{file} is damaged in {len(damages)} places: {first}{more}.",
            "Copy it again from where it is whole, or make it anew with `vdtui prepare`.",
        )
    if not as_json:
        say(f"{file} is as it was written.")


def _damage(damage: Damage) -> str:
    if damage.clip < 0:
        return damage.what
    return f"{damage.split} clip {damage.clip} ({damage.video}): {damage.what}"


def _progress() -> Any:
    """Tell on a terminal how far it is; elsewhere nothing, since it is a matter of seconds to minutes."""
    shown = sys.stderr.isatty()

    def show(done: int, total: int, what: str) -> None:
        if shown:
            end = "\n" if done == total else ""
            typer.echo(f"\r{done:,} of {total:,} clips{end}", nl=False, err=True)

    return show


# --- words -----------------------------------------------------------------------------------------------------------


def _describe(store: ClipStore) -> dict[str, Any]:
    splits = {}
    for name in store.splits:
        view = store.split(name)
        per_class = [len(view.by_class(label)) for label in range(len(store.classes))]
        splits[name] = {"clips": len(view), "videos": len(set(view.video.tolist())), "per_class": per_class}
    return {
        "path": str(store.path),
        "dataset": store.dataset,
        "layout": store.layout,
        "split": store.official_split or None,
        "classes": list(store.classes),
        "splits": splits,
        "frames": store.frames,
        "height": store.height,
        "width": store.width,
        "interval": store.interval,
        "sampling": store.sampling,
        "bytes": store.path.stat().st_size,
        "mean": list(store.mean),
        "std": list(store.std),
        "created": store.created,
        "tool": store.tool,
        "fingerprint": store.fingerprint,
        "source_fingerprint": store.source_fingerprint,
        "missing": store.missing,
        "short_videos": store.short_videos,
        "dense_videos": store.dense_videos,
        "skipped": [{"path": path, "reason": reason} for path, reason in store.skipped],
        "notes": list(store.notes),
    }


def _text(description: dict[str, Any]) -> str:
    from engine.text import one_line

    splits, classes = description["splits"], description["classes"]
    official = f", official split {description['split']}" if description["split"] else ""
    lines = [
        one_line(description["path"]),
        f"data set     {one_line(description['dataset'])} (layout {one_line(description['layout'])}{official})",
        "clips        {frames} frames of {height} x {width}".format_map(description),
        *(f"             {line}" for line in _sampling(description)),
        *(f"{name:<12} {_counts(split)}" for name, split in splits.items()),
        f"size         {human_bytes(description['bytes'])}",
        f"mean, std    {_numbers(description['mean'])}, {_numbers(description['std'])}",
        f"created      {one_line(description['created'])} by {one_line(description['tool'])}",
        f"fingerprint  {description['fingerprint']}",
        f"classes      {len(classes)}, with clips in {', '.join(splits)}:",
    ]
    for label, name in list(enumerate(classes))[:SHOWN_CLASSES]:
        counts = " ".join(f"{split['per_class'][label]:>6}" for split in splits.values())
        lines.append(f"  {label:>4} {counts}  {one_line(name)}")
    lines += [f"  ... and {len(classes) - SHOWN_CLASSES} more; all with --json"] if len(classes) > SHOWN_CLASSES else []
    lines += [f"short        {counted(description['short_videos'], 'video')}, last frame repeated"] * bool(
        description["short_videos"]
    )
    lines += [f"dense        {counted(description['dense_videos'], 'short video')}, frames closer"] * bool(
        description["dense_videos"]
    )
    lines += [f"missing      {counted(description['missing'], 'video')} not on the disk"] * bool(description["missing"])
    skipped = description["skipped"]
    lines.append(f"skipped      {counted(len(skipped), 'video')}")
    lines += [f"  {one_line(row['path'])}: {one_line(row['reason'])}" for row in skipped[:SHOWN_SKIPPED]]
    lines += ["  ... all with --json"] if len(skipped) > SHOWN_SKIPPED else []
    lines += [f"note         {one_line(text)}" for text in description["notes"]]
    return "\n".join(lines)


def _counts(split: dict[str, Any]) -> str:
    ordered = sorted(split["per_class"])
    balance = f"classes of {ordered[0]} to {ordered[-1]}, median {ordered[len(ordered) // 2]}"
    return f"{counted(split['clips'], 'clip')} of {counted(split['videos'], 'video')}; {balance}"


def _sampling(description: dict[str, Any]) -> list[str]:
    """Say how the clips were taken from the videos."""
    sampling = description["sampling"]
    if not sampling:
        return [f"every {description['interval']}. frame"]
    spacing = {
        "interval": f"every {sampling['interval']}. frame" if sampling["interval"] > 1 else "every frame",
        "fps": f"{sampling['fps']} frames per second",
        "uniform": "frames evenly from the whole video",
    }[sampling["spacing"]]
    train, test = _placement(sampling["train"]), _placement(sampling["test"])
    placed = train if train == test else f"{train} (training), {test} (testing)"
    return [f"{spacing}; {placed}", f"resize {sampling['resize']}"]


def _placement(placement: dict[str, Any]) -> str:
    if placement["where"] == "sliding":
        return f"a clip every {placement['stride']} frames"
    number, where = placement["number"], placement["where"]
    if number == 1:
        return "1 clip per video from the middle" if where == "uniform" else "1 clip per video at random"
    return f"{number} clips per video, {'evenly' if where == 'uniform' else 'at random'}"


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)
