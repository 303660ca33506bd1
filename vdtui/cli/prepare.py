"""`vdtui prepare`: ask the engine for a clips file and show how it goes."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engine.data.layouts import Listing
    from engine.data.prepare import PrepareSummary

    Progress = Callable[[int, int, str], None]

PLAIN_SECONDS = 5.0
SHOWN_SKIPPED = 5


def prepare(
    layout: Annotated[str, typer.Argument(metavar="LAYOUT", help="How the videos lie: folders or demo.")],
    source: Annotated[Path | None, typer.Option(help="Folder of the data set; not for demo.")] = None,
    output: Annotated[Path | None, typer.Option(help="File to write; default: the data set's name, here.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames per clip; default 16, demo 8.")] = None,
    size: Annotated[int | None, typer.Option(help="Height and width in pixels; default 112, demo 64.")] = None,
    interval: Annotated[int | None, typer.Option(help="Take every N-th frame; default 4, demo 1.")] = None,
    clips_per_video: Annotated[int, typer.Option(help="Clips taken from each video.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Decoding processes; default: one per CPU, up to 8.")
    ] = None,
    max_skipped: Annotated[float, typer.Option(help="Percent of videos that may be unreadable.")] = 5.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    compression: Annotated[
        str | None, typer.Option(metavar="NAME", help="gzip or lzf: smaller, and slower to train from.")
    ] = None,
    test_fraction: Annotated[float, typer.Option(help="Share for testing, where the folders have no split.")] = 0.3,
    seed: Annotated[int, typer.Option(min=0, help="Decides that split, and what the demo's videos show.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")] = False,
) -> None:
    """Turn videos into one file of clips, ready for training.

    LAYOUT folders takes SOURCE/CLASS/VIDEO, or SOURCE/train/CLASS/VIDEO beside SOURCE/test/; a video is a file or a
    folder of images. LAYOUT demo makes its own videos, in a folder beside the output. After an interruption, the same
    command goes on where it stopped.

    Example: vdtui prepare folders --source my-videos --output my.h5 --frames 8 --size 64
    """
    from engine.data import prepare as engine

    # Not 16, 112, 4 for the demo: its videos are as large and as long as its clips should be.
    shape = (8, 64, 1) if layout == "demo" else (16, 112, 4)
    frames, size, interval = (
        default if given is None else given for given, default in zip((frames, size, interval), shape, strict=True)
    )
    try:
        with _progress() as progress:
            listing = _listing(layout, source, output, test_fraction, seed, progress)
            output = output or Path(f"{listing.dataset}.h5")
            summary = engine.prepare(
                listing,
                output,
                frames=frames,
                size=size,
                interval=interval,
                clips_per_video=clips_per_video,
                workers=_cpus() if workers is None else workers,
                max_skipped_percent=max_skipped,
                overwrite=overwrite,
                compression=compression,
                progress=progress,
            )
    except KeyboardInterrupt:
        typer.echo("Interrupted; run the same command again to go on where it stopped.", err=True)
        raise typer.Exit(130) from None
    if as_json:
        _print_json(summary)
    else:
        _print_summary(summary)


def _listing(
    layout: str, source: Path | None, output: Path | None, test_fraction: float, seed: int, progress: Progress
) -> Listing:
    from engine.data.demo import demo_videos
    from engine.data.layouts import LAYOUTS, LayoutOptions, list_videos
    from engine.errors import UsageError

    if layout == "demo":
        if source is not None:
            raise UsageError("The demo makes its own videos.", "Leave out --source, or use LAYOUT folders.")
        source = demo_videos((output or Path("demo.h5")).parent, seed, progress)
    elif layout in LAYOUTS and source is None:
        raise UsageError("The folder of the videos is missing.", f"Add it: vdtui prepare {layout} --source DIR")
    return list_videos(layout, source or Path(), LayoutOptions(test_fraction, seed))


def _cpus() -> int:
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@contextmanager
def _progress() -> Iterator[Progress]:
    """What tells the user on stderr how far it is: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _plain_progress()
        return
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("videos"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TextColumn("{task.fields[rate]}"),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as bar:

        def show(done: int, total: int, name: str) -> None:
            current = bar.tasks[-1] if bar.tasks else None
            if current is None or done < current.completed or total != current.total:  # the demo has two rounds
                for task in bar.tasks:
                    bar.remove_task(task.id)
                bar.add_task("", total=total, completed=done, rate="")
            else:
                rate = f"{current.speed:.1f}/s" if current.speed else ""
                bar.update(current.id, completed=done, rate=rate)

        yield show


def _plain_progress() -> Progress:
    started, first, last = time.monotonic(), 0, 0.0

    def show(done: int, total: int, name: str) -> None:
        nonlocal started, first, last
        now = time.monotonic()
        if not name:  # a round begins, perhaps where an interrupted one stopped
            started, first, last = now, done, now
        elif now - last >= PLAIN_SECONDS:
            last = now
            rate = (done - first) / (now - started)
            typer.echo(f"{done} of {total} videos, {rate:.1f}/s, {(total - done) / rate:.0f} s left", err=True)

    return show


def _print_json(summary: PrepareSummary) -> None:
    from dataclasses import asdict

    typer.echo(json.dumps({**asdict(summary), "path": str(summary.path)}, indent=1))


def _print_summary(summary: PrepareSummary) -> None:
    from engine.data.layouts.base import one_line

    counts = ", ".join(
        f"{split} {summary.videos[split]} videos ({clips} clips)" for split, clips in summary.clips.items()
    )
    lines = [
        f"{one_line(summary.path)}: {len(summary.classes)} classes, {counts}",
        f"{summary.nbytes / 1e6:.1f} MB in {summary.seconds:.1f} s",
    ]
    if summary.resumed_videos:
        lines.append(f"{summary.resumed_videos} videos were done already by an interrupted prepare.")
    if summary.short_videos:
        lines.append(f"{summary.short_videos} videos are shorter than a clip; their last frame is repeated.")
    if summary.skipped:
        lines.append(f"{len(summary.skipped)} videos skipped:")
        lines += [f"  {one_line(name)}: {reason}" for name, reason in summary.skipped[:SHOWN_SKIPPED]]
        lines += ["  ..."] if len(summary.skipped) > SHOWN_SKIPPED else []
    for line in (*lines, *summary.notes):
        typer.echo(line, err=True)
