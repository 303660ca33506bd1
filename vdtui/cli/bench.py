"""`vdtui bench`: how fast the parts are here, beside their floors, and what that means for a run."""

from __future__ import annotations

from typing import Annotated

import typer

from vdtui.cli.options import Json, note, print_json, print_table, say


def bench(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="At most so many timings of each part.")] = 5,
    seconds: Annotated[
        float, typer.Option(min=1, help="Time for all of them; parts for which there is none are left out.")
    ] = 50,
    json: Json = False,
) -> None:
    """Measure the network's passes, steps of stage 2 and an evaluation, each beside its floor or a plain loop.

    Takes at most about a minute, and says what to expect of a run. On two cores some parts need more: --seconds 400.

    Example: vdtui bench
    """
    import dataclasses

    note("Measuring; other work on this machine disturbs it.")
    from engine.bench import bench as measure
    from engine.bench import conclusions

    measured = measure(device, repeats, seconds, lambda text: note(f"  {text}"))
    if json:
        print_json([dataclasses.asdict(part) for part in measured])
        return
    rows = [
        [
            part.part,
            f"{1e3 * part.seconds:.1f} ms",
            f"{1e3 * part.floor_seconds:.1f} ms",
            f"{part.ratio:.2f}",
            part.floor,
        ]
        for part in measured
    ]
    print_table(["part", "time", "floor", "ratio", "the floor is"], rows, right=(1, 2, 3))
    for sentence in conclusions(measured):
        say(sentence)
