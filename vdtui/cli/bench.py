"""`vdtui bench`: how fast the parts are here, beside their floors, what follows for a run, and what became slower."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vdtui.cli.options import Json, note, print_json, print_table, say, warn

if TYPE_CHECKING:
    from engine.timings import Measurement, Timings


def bench(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="At most so many timings of each part.")] = 5,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Time for all of them; parts for which there is none are left out.",
            show_default="50; 400 with --output or --against",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Timings of before: tell what became slower by more than its spread."),
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Keep the timings.")] = None,
    json: Json = False,
) -> None:
    """Measure the network's passes, steps of stage 2 and an evaluation, each beside its floor or a plain loop.

    Takes at most about a minute, and says what to expect of a run. Timings that are kept, or compared, take some more,
    so that there are enough of each part.

    With --against it ends with code 1 if a part became slower: if each ratio to what stands beside it is above all of
    before. Times themselves are not compared. A part needs 3 timings in both.

    Example: vdtui bench

    Example: vdtui bench --output before.json

    Example: vdtui bench --against before.json
    """
    from engine.export.output import refuse_existing, unwritable
    from engine.files import write_json
    from engine.timings import read_timings

    before = None if against is None else read_timings(against)
    if output is not None:
        refuse_existing(output, overwrite=False)
    note("Measuring; other work on this machine disturbs it.")
    from engine.bench import SECONDS, SECONDS_TO_COMPARE, conclusions
    from engine.bench import bench as measure

    usual = SECONDS if output is None and before is None else SECONDS_TO_COMPARE
    now = measure(device, repeats, seconds or usual, lambda text: note(f"  {text}"))
    if output is not None:
        with unwritable(output):
            write_json(output, now.document())
    if json:
        print_json(now.document())
    else:
        _tell(now)
        for sentence in conclusions(now.parts):
            say(sentence)
    if before is not None and _slower(before, now):
        raise typer.Exit(1)


def _tell(now: Timings) -> None:
    rows = [
        [
            part.part,
            f"{1e3 * part.seconds:.1f} ms",
            f"{1e3 * part.floor_seconds:.1f} ms",
            f"{part.ratio:.2f}",
            _spread(part),
            part.floor,
        ]
        for part in now.parts
    ]
    print_table(["part", "time", "floor", "ratio", "spread", "the floor is"], rows, right=(1, 2, 3, 4))


def _spread(part: Measurement) -> str:
    return f"{min(part.ratios):.2f} to {max(part.ratios):.2f}"


def _slower(before: Timings, now: Timings) -> bool:
    """Tell on stderr what changed, and return whether a part became slower."""
    from engine.timings import changes, elsewhere

    for difference in elsewhere(before, now):
        warn(f"measured under other conditions: {difference}")
    found, untold = changes(before, now)
    for change in found:
        was, part = change.before, change.now
        verdict = "SLOWER" if change.slower else "as before"
        note(f"{verdict}: {change.part}: ratio {part.ratio:.2f}, before {was.ratio:.2f} ({_spread(was)})")
    for part_untold in untold:
        note(f"not compared: {part_untold}")
    slower = sum(change.slower for change in found)
    note(f"{slower} of {len(found)} parts became slower by more than their spread.")
    return slower > 0
