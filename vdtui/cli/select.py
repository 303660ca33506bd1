"""`vdtui select`: a coreset of real clips as a run."""

from __future__ import annotations

from typing import Annotated

import typer

from vdtui.cli.distill import start
from vdtui.cli.launching import HERE, Place, launching
from vdtui.cli.options import Changes, Data, Detach, Device, Plain, RunsDir

METHODS = ("random", "herding", "k-center", "clusters", "coverage", "easy", "full")


@launching
def select(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="random, herding, k-center, clusters, coverage, easy, or full.")
    ],
    data: Data = None,
    ipc: Annotated[int, typer.Option(min=1, metavar="N", help="Clips per class.")] = 1,
    preset: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="Where its evaluation, and its data, are taken from.")
    ] = "default",
    run: Annotated[
        str | None, typer.Option("--run", metavar="NAME", help="Name of the run (default: METHOD-ipcN).")
    ] = None,
    runs_dir: RunsDir = None,
    set_: Changes = None,
    seed: Annotated[int | None, typer.Option(help="The one seed of the run.")] = None,
    device: Device = None,
    plain: Plain = False,
    detach: Detach = False,
    place: Place = HERE,
) -> None:
    """Choose real clips instead of learning some, and evaluate them: a coreset, as a run like any other.

    herding, k-center, clusters and coverage look at the features of a network that is trained on all training clips
    (or, with --set selection.features=seeded, of one with random weights), easy at its losses: with fewer --set
    selection.epochs these tell more. Of `random`, each network of the table gets another draw.

    Example: vdtui select herding --data hmdb51.h5 --ipc 5
    """
    from engine.errors import UsageError

    if method not in METHODS:
        raise UsageError(f"There is no selection {method!r}.", f"Choose one of: {', '.join(METHODS)}.")
    kind = "full" if method == "full" else "coreset"
    stem = "full" if method == "full" else f"{method}-ipc{ipc}"
    overrides = [f"synthetic.kind={kind}", f"synthetic.ipc={ipc}", f"title={stem}"]
    overrides += [] if method == "full" else [f"selection.method={method}"]
    start(preset, [*overrides, *(set_ or [])], data, run, stem, runs_dir, seed, device, place.launcher(), plain, detach)
