"""`vdtui data`: what is in a clips file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from engine.data.store import ClipStore

SHOWN_CLASSES = 20
SHOWN_SKIPPED = 5


def data(
    file: Annotated[Path, typer.Argument(metavar="FILE.h5", help="A clips file, made by `vdtui prepare`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON on stdout.")] = False,
) -> None:
    """Show what is in a clips file: classes, counts, shape, bytes, skipped videos.

    Example: vdtui data my.h5
    """
    from engine.data.store import ClipStore

    with ClipStore.open(file) as store:
        description = _describe(store)
    typer.echo(json.dumps(description, indent=1) if as_json else _text(description))


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
        "classes": list(store.classes),
        "splits": splits,
        "frames": store.frames,
        "height": store.height,
        "width": store.width,
        "interval": store.interval,
        "bytes": store.path.stat().st_size,
        "mean": list(store.mean),
        "std": list(store.std),
        "created": store.created,
        "tool": store.tool,
        "fingerprint": store.fingerprint,
        "source_fingerprint": store.source_fingerprint,
        "skipped": [{"path": path, "reason": reason} for path, reason in store.skipped],
    }


def _text(description: dict[str, Any]) -> str:
    from engine.data.layouts.base import one_line

    splits, classes = description["splits"], description["classes"]
    shape = "{frames} frames of {height} x {width}, every {interval}. of the video".format_map(description)
    lines = [
        one_line(description["path"]),
        f"data set     {one_line(description['dataset'])} (layout {one_line(description['layout'])})",
        f"clips        {shape}",
        *(f"{name:<12} {split['clips']} clips of {split['videos']} videos" for name, split in splits.items()),
        f"size         {description['bytes'] / 1e6:.1f} MB",
        f"mean, std    {_numbers(description['mean'])}, {_numbers(description['std'])}",
        f"created      {one_line(description['created'])} by {one_line(description['tool'])}",
        f"fingerprint  {description['fingerprint']}",
        f"classes      {len(classes)}, with clips in {', '.join(splits)}:",
    ]
    for label, name in list(enumerate(classes))[:SHOWN_CLASSES]:
        counts = " ".join(f"{split['per_class'][label]:>6}" for split in splits.values())
        lines.append(f"  {label:>4} {counts}  {one_line(name)}")
    lines += [f"  ... and {len(classes) - SHOWN_CLASSES} more; all with --json"] if len(classes) > SHOWN_CLASSES else []
    skipped = description["skipped"]
    lines.append(f"skipped      {len(skipped)} videos")
    lines += [f"  {one_line(row['path'])}: {one_line(row['reason'])}" for row in skipped[:SHOWN_SKIPPED]]
    lines += ["  ..."] if len(skipped) > SHOWN_SKIPPED else []
    return "\n".join(lines)


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)
