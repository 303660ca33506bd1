"""`vdtui plan`: what a run will store and take on this machine, before it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vdtui.cli.options import (
    Budget,
    Changes,
    Data,
    Device,
    Json,
    human_bytes,
    human_time,
    note,
    print_json,
    print_table,
    say,
    warn,
    with_run,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.events import Event


def plan(
    preset: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="What would be run; see `vdtui presets`.")
    ] = "default",
    data: Data = None,
    set_: Changes = None,
    budget: Budget = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Tell bytes, memory and time of a run on this device, by rehearsing it: three steps of each stage, a few epochs.

    The times are of this machine as it is now; other work on it makes them longer.

    Example: vdtui plan --preset demo

    Example: vdtui plan --data clips.h5 --set dynamic.steps=400
    """
    import dataclasses

    from engine.config import load_preset
    from engine.data.check import check_data
    from engine.runs.new import with_data

    resolved = with_data(load_preset(preset, with_run(set_, None, device, budget)), data)
    if warning := check_data(resolved):
        warn(warning)
    note("Rehearsing the run twice, with three steps of each stage and networks of a few epochs ...")
    from engine.distilling.plan import plan as rehearse

    estimate = rehearse(resolved, _teller())
    if json:
        totals = {"seconds": estimate.seconds, "bytes_per_class": estimate.bytes_per_class}
        print_json({"preset": resolved.title, **dataclasses.asdict(estimate), **totals})
        return
    rows = [[part.stage, f"{part.number:,} {part.what}", human_time(part.seconds)] for part in estimate.parts]
    print_table(["stage", "work", "time"], [*rows, ["all", "", human_time(estimate.seconds)]], right=(2,))
    stored, real = estimate.stored_bytes, estimate.data_bytes
    share = f", {100 * stored / real:.1f} % of the training clips" if real else ""
    say(f"Stores: {estimate.stored_values:,} values, {human_bytes(stored)} in float32{share}.")
    if estimate.storage:
        size, each = human_bytes(estimate.file_bytes), human_bytes(estimate.bytes_per_class)
        say(f"File: {size} as {estimate.storage}, {each} per class (measured on {estimate.measured_on}).")
    if estimate.budget:
        say(f"Budget: {estimate.budget} per class, spent as {estimate.rung} here; the run may choose another way.")
    say(f"Needs: about {human_bytes(estimate.memory_bytes)} of memory on {estimate.device}.")
    note(f"Measured in {human_time(estimate.rehearsed_seconds)}.")


def _teller() -> Callable[[Event], None]:
    """Tells the stages, since rehearsals of large data take minutes, and once what the run would warn of first."""
    from engine.events import Note, StageStarted

    warnings: set[str] = set()
    stage = ""

    def tell(event: Event) -> None:
        nonlocal stage
        if isinstance(event, StageStarted):
            stage = event.stage
            note(f"  {stage} ...")
        # Later ones are of the rehearsal: its networks are trained too briefly to learn anything.
        elif isinstance(event, Note) and event.level == "warning" and stage == "prepare" and event.text not in warnings:
            warnings.add(event.text)
            note(f"  warning: {event.text}")

    return tell
