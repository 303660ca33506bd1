"""`vdtui experts`: train the experts of trajectory matching before a run needs them."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.text import counted
from vdtui.cli.launching import HERE, Place, carry_out, launching, words_again
from vdtui.cli.options import (
    Changes,
    Data,
    Device,
    Json,
    RunsDir,
    human_bytes,
    human_time,
    note,
    percent,
    print_json,
    print_table,
    warn,
    with_run,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engine.config import Preset

PLAIN_SECONDS = 5.0


@launching
def experts(
    context: typer.Context,
    preset: Annotated[str, typer.Option(metavar="NAME|FILE.toml", help="A preset whose objective follows experts.")],
    data: Data = None,
    runs_dir: RunsDir = None,
    set_: Changes = None,
    seed: Annotated[int | None, typer.Option(help="The one seed of the runs that will use them.")] = None,
    device: Device = None,
    jobs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Jobs that divide the experts, with --launcher slurm.")
    ] = 1,
    json: Json = False,
    place: Place = HERE,
) -> None:
    """Train the experts of trajectory matching (MTT), or show those that are there.

    `vdtui distill` does it by itself where they are missing; runs of one folder, data and seed share them. After an
    interruption the same command goes on where it stopped; several may work on the same experts at once.

    Example: vdtui experts --preset hmdb51-ipc1-mtt --data hmdb51.h5
    """
    from engine.config import load_preset
    from engine.config.objectives import names_with
    from engine.data.check import check_data
    from engine.errors import PresetError, UsageError
    from engine.runs import runs_folder
    from engine.runs.new import with_data

    resolved = with_data(load_preset(preset, with_run(set_, seed, device)), data)
    if "experts" not in resolved.stages:
        problem = f"The preset {resolved.title or preset} matches no trajectories, so it needs no experts."
        followers = " or ".join(f"--set dynamic.objective={name}" for name in names_with("needs_experts"))
        raise PresetError(problem, f"Choose one that ends in -mtt, or add {followers}.")
    if warning := check_data(resolved):
        warn(warning)
    if place.resources is not None:
        document = _in_jobs(context, runs_folder(runs_dir), jobs, place)
    elif jobs > 1:
        raise UsageError("--jobs is for jobs of a cluster.", "Add --launcher slurm, or start several commands.")
    else:
        document = _trained(resolved, runs_folder(runs_dir))
    for warning in document["warnings"]:
        note(f"warning: {warning}")
    if json:
        print_json(document)
        return
    records = document["experts"]
    rows = [
        [str(record["number"]), percent(record["train_accuracy"]), percent(record["test_accuracy"]), _state(record)]
        for record in records
    ]
    print_table(["expert", "training clips", "held out", ""], rows, right=(0, 1, 2))
    note(f"{document['folder']}: {human_bytes(document['bytes'])}, {counted(document['epochs'], 'epoch')} each")


def _trained(preset: Preset, folder: Path) -> dict[str, Any]:
    """Train the experts that are missing in ``folder`` here; return all as a JSON document. Raises typer.Exit."""
    from engine.distilling.stages import train_experts

    try:
        trajectories, warnings = train_experts(preset, folder, _progress(), lambda: None)
    except KeyboardInterrupt:
        note("Interrupted; run the same command again to go on where it stopped.")
        raise typer.Exit(130) from None
    records = [vars(record) for record in trajectories.records]
    document = {"folder": str(trajectories.folder), "bytes": trajectories.nbytes, "epochs": trajectories.epochs}
    return {**document, "experts": records, "warnings": warnings}


def _in_jobs(context: typer.Context, folder: Path, jobs: int, place: Place) -> dict[str, Any]:
    """Train the experts in ``jobs`` jobs by this very command; return them as the last one saw them."""
    from vdtui.launchers.slurm import Command

    words = words_again(context, {"json": ["--json"], "jobs": [], "runs_dir": [str(folder.absolute())]})
    commands = [Command(f"experts {number} of {jobs}", words, folder) for number in range(1, jobs + 1)]
    carry_out(place, commands)
    return max((command.document() for command in commands), key=lambda document: len(document["experts"]))


def _state(record: Any) -> str:
    return "diverged" if not record["finite"] else "no better than chance" if record["failed"] else ""


def _progress() -> Callable[[int, int, str], None]:
    began, last = time.monotonic(), 0.0
    first: int | None = None

    def show(done: int, total: int, what: str) -> None:
        nonlocal first, last
        now = time.monotonic()
        first = done if first is None else first
        if now - last < (0.2 if sys.stderr.isatty() else PLAIN_SECONDS):
            return
        last = now
        left = (total - done) * (now - began) / (done - first) if done > first else None
        note(f"{done} of {total}: {what}" + (f", {human_time(left)} left" if left is not None else ""))

    return show
