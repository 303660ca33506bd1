"""`vdtui prepare`: ask the engine for a clips file and show how it goes."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.machine.cores import usable_cores
from engine.text import counted
from vdtui.cli.options import human_bytes, note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engine.data.layouts import Layout, LayoutOptions, Listing
    from engine.data.prepare import PrepareSummary, ShardSummary
    from engine.data.sampling import Sampling

    Progress = Callable[[int, int, str], None]

LAYOUT_NAMES = "hmdb51, ucf101, miniucf101, kinetics400, ssv2, folders, table, demo"
PLAIN_SECONDS = 5.0
ANNOUNCED_VIDEOS = 200
SHOWN_SKIPPED = 5


def prepare(
    layout: Annotated[str, typer.Argument(metavar="LAYOUT", help=f"How the videos lie: {LAYOUT_NAMES}.")],
    source: Annotated[Path | None, typer.Option(help="Folder of the data set; for table also the file.")] = None,
    output: Annotated[Path | None, typer.Option(help="File to write; default: the data set's name, here.")] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Split files (a folder), or the table, if not in the source.")
    ] = None,
    split: Annotated[int | None, typer.Option(help="Which official split; default 1.")] = None,
    unused: Annotated[
        str | None, typer.Option(metavar="leave|train", help="HMDB51's videos of neither side of a split.")
    ] = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Share for testing, where the data has no split; default 0.3.")
    ] = None,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Read what links lead to outside of the source.")
    ] = False,
    frames: Annotated[int | None, typer.Option(help="Frames per clip; default as published, else 16.")] = None,
    size: Annotated[
        int | None, typer.Option(help="Height and width in pixels; default as published, else 112.")
    ] = None,
    interval: Annotated[int | None, typer.Option(help="Take every N-th frame; default as published, else 4.")] = None,
    fps: Annotated[float | None, typer.Option(help="Take frames at this rate, whatever the video's own is.")] = None,
    uniform: Annotated[bool, typer.Option("--uniform", help="Take frames evenly from the whole video.")] = False,
    clips_per_video: Annotated[int | None, typer.Option(help="Clips taken from each video; default 1.")] = None,
    placement: Annotated[
        str | None, typer.Option(metavar="uniform|random|sliding", help="Where in the video they begin.")
    ] = None,
    stride: Annotated[int | None, typer.Option(help="Frames from one sliding window to the next.")] = None,
    test_clips_per_video: Annotated[int | None, typer.Option(help="The same for testing; default as above.")] = None,
    test_placement: Annotated[str | None, typer.Option(metavar="uniform|random|sliding", help="The same.")] = None,
    test_stride: Annotated[int | None, typer.Option(help="The same.")] = None,
    resize: Annotated[
        str, typer.Option(metavar="published|pad|centre-crop|shorter-side", help="How frames become square.")
    ] = "published",
    folder_fps: Annotated[
        float | None, typer.Option(help="Frames per second of folders of frames, for --fps and stretches of time.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Decides a split made here, random placements, and the demo's videos.")
    ] = 0,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Decoding processes; default: one per CPU, up to 8.")
    ] = None,
    max_skipped: Annotated[float, typer.Option(help="Percent of videos that may be unusable.")] = 5.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    compression: Annotated[
        str | None, typer.Option(metavar="gzip|lzf", help="Smaller, and slower to train from.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="3/16", help="Do part 3 of 16; without it, parts that are done are joined.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")] = False,
) -> None:
    """Turn videos into one file of clips, ready for training.

    A video is a file that FFmpeg reads, or a folder of frames (images in natural order). The official layouts find
    class folders and split files wherever they lie in SOURCE. LAYOUT folders takes SOURCE/CLASS/VIDEO, or
    SOURCE/train/CLASS/VIDEO beside SOURCE/test/; LAYOUT table a CSV or JSON Lines file with path, label and split;
    LAYOUT demo makes its own videos. After an interruption, the same command goes on where it stopped. Several
    machines with a disk in common share the work by --shard; the same command without it then joins the parts.

    Frames are resized to 160 x 120 and cropped to 112 x 112 as published (other sizes in proportion). --resize keeps
    the aspect instead: pad (black around), centre-crop (shorter side to size), shorter-side (to 8/7 of it, cropped).

    Example: vdtui prepare hmdb51 --source ~/data/hmdb51

    Example: vdtui prepare folders --source my-videos --output my.h5 --frames 8 --size 64
    """
    from engine.data import prepare as engine
    from engine.data.layouts import LayoutOptions
    from engine.data.recipe import choose_placement, choose_sampling, default_output
    from engine.data.shards import Shard
    from engine.errors import UsageError

    part = None if shard is None else Shard.parse(shard)
    if part is not None and (overwrite or compression):
        raise UsageError(
            "--overwrite and --compression mean nothing to a shard.", "Give them when the shards are joined."
        )
    chosen_layout = _layout(layout)
    sampling = choose_sampling(
        chosen_layout,
        frames=frames,
        size=size,
        interval=interval,
        fps=fps,
        uniform=uniform,
        train=choose_placement(placement, clips_per_video, stride),  # type: ignore[arg-type]
        test=choose_placement(test_placement, test_clips_per_video, test_stride),  # type: ignore[arg-type]
        resize=resize,  # type: ignore[arg-type]
        seed=seed,
        folder_fps=folder_fps,
    )
    options = LayoutOptions(test_fraction, split, unused, annotations, seed, follow_links)
    try:
        with _progress() as progress:
            listing = _listing(chosen_layout, source, output, options, progress)
            output = output or default_output(listing.dataset, listing.official_split)
            _say_what_comes(listing, output, sampling)
            processes = min(8, usable_cores()) if workers is None else workers
            if part is not None:
                done = engine.prepare_shard(
                    listing,
                    output,
                    sampling,
                    part,
                    workers=processes,
                    max_skipped_percent=max_skipped,
                    progress=progress,
                )
                _print_shard(done, as_json)
                return
            summary = engine.prepare(
                listing,
                output,
                sampling,
                workers=processes,
                max_skipped_percent=max_skipped,
                overwrite=overwrite,
                compression=compression,
                progress=progress,
            )
    except KeyboardInterrupt:
        note("Interrupted; run the same command again to go on where it stopped.")
        raise typer.Exit(130) from None
    if as_json:
        _print_json(summary)
    else:
        _print_summary(summary)


def _say_what_comes(listing: Listing, output: Path, sampling: Sampling) -> None:
    """The cost before it is paid; sliding windows cannot be counted before videos are opened."""
    from engine.text import one_line

    if len(listing.videos) < ANNOUNCED_VIDEOS:
        return  # a matter of seconds
    numbers = [sampling.placement(video.split).number for video in listing.videos]
    clips = sum(number for number in numbers if number is not None)
    shape = f"{sampling.frames} x {sampling.size} x {sampling.size}"
    if None in numbers:
        size = f"sliding windows of {shape}"
    else:
        size = f"{counted(clips, 'clip')} of {shape}: {human_bytes(clips * 3 * sampling.frames * sampling.size**2)}"
    counts = f"{counted(len(listing.videos), 'video')} of {len(listing.classes)} classes"
    note(f"{one_line(listing.dataset)}: {counts}; {size}, to be written to {one_line(output)}")


def _layout(name: str) -> Layout:
    from engine.data.layouts import LAYOUTS
    from engine.errors import UsageError

    if name not in LAYOUTS:
        raise UsageError(f"There is no layout named {name!r}.", f"Choose one of: {', '.join(LAYOUTS)}.")
    return LAYOUTS[name]


def _listing(
    layout: Layout, source: Path | None, output: Path | None, options: LayoutOptions, progress: Progress
) -> Listing:
    from engine.data.demo import demo_videos
    from engine.data.layouts import list_videos
    from engine.errors import UsageError

    if layout.name == "demo":
        if source is not None:
            raise UsageError("The demo makes its own videos.", "Leave out --source, or use LAYOUT folders.")
        source = demo_videos((output or Path("demo.h5")).parent, options.seed, progress)
    elif source is None:
        where = f"; {layout.title} is at {layout.home}" if layout.home else ""
        raise UsageError(
            "The folder of the videos is missing.", f"Add it: vdtui prepare {layout.name} --source DIR{where}"
        )
    return list_videos(layout.name, source, options)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Return the display of progress on stderr: a bar on a terminal, else a line now and then."""
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
            note(f"{done} of {total} videos, {rate:.1f}/s, {(total - done) / rate:.0f} s left")

    return show


def _print_json(summary: PrepareSummary) -> None:
    from dataclasses import asdict

    typer.echo(json.dumps({**asdict(summary), "path": str(summary.path)}, indent=1))


def _print_shard(summary: ShardSummary, as_json: bool) -> None:
    from dataclasses import asdict

    from engine.text import one_line

    if as_json:
        typer.echo(json.dumps({**asdict(summary), "folder": str(summary.folder)}, indent=1))
        return
    skipped = f", {len(summary.skipped)} of them skipped" if summary.skipped else ""
    note(f"Shard {summary.shard}: {counted(summary.videos, 'video')}{skipped}, in {summary.seconds:.1f} s.")
    for name, reason in summary.skipped[:SHOWN_SKIPPED]:
        note(f"  {one_line(name)}: {reason}")
    note("When all shards are done, run the same command without --shard to join them.")


def _print_summary(summary: PrepareSummary) -> None:
    from engine.text import one_line

    counts = ", ".join(
        f"{split} {counted(summary.videos[split], 'video')} ({counted(clips, 'clip')})"
        for split, clips in summary.clips.items()
    )
    lines = [
        f"{one_line(summary.path)}: {len(summary.classes)} classes, {counts}",
        f"{summary.nbytes / 1e6:.1f} MB in {summary.seconds:.1f} s",
    ]
    for number, one, several, text in (
        (summary.resumed_videos, "was", "were", "done already by an interrupted prepare."),
        (summary.dense_videos, "is", "are", "short: frames are taken closer together, length // frames apart."),
        (summary.short_videos, "has", "have", "fewer frames than a clip; the last frame is repeated."),
        (summary.missing, "is", "are", "of the data set, but not on the disk."),
    ):
        if number:
            lines.append(f"{counted(number, f'video {one}', f'videos {several}')} {text}")
    if summary.skipped:
        lines.append(f"{counted(len(summary.skipped), 'video')} skipped:")
        lines += [f"  {one_line(name)}: {reason}" for name, reason in summary.skipped[:SHOWN_SKIPPED]]
        lines += ["  ..."] if len(summary.skipped) > SHOWN_SKIPPED else []
    for line in (*lines, *(one_line(text) for text in summary.notes)):
        note(line)
