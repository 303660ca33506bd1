"""`vdtui plan`: what a run will store and take on this machine, before it is started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.text import counted
from vdtui.cli.options import (
    Budget,
    Changes,
    Data,
    Device,
    Json,
    RunsDir,
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

    from engine.config import Preset
    from engine.distilling.fitting import Fitter, Fitting
    from engine.events import Event


def plan(
    preset: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="What would be run; see `vdtui presets`.")
    ] = "default",
    data: Data = None,
    set_: Changes = None,
    budget: Budget = None,
    device: Device = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="Plan what fits here: what leaves results alone is reduced first.")
    ] = False,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Tell bytes, time and memory of a run on this device, by rehearsing it: a few steps of each stage, a few epochs.

    Bytes come first. A run whose rehearsal would take minutes is reckoned from the passes of a few clips. The times are
    of this machine as it is now; other work on it makes them longer.

    Where memory or the disk of the runs is too small, it tells what would fit, and --fit plans that.

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
    _tell_bytes(resolved)
    from engine.distilling.plan import plan as rehearse

    fitter = _fitter(resolved, runs_dir)
    fitting = None if fitter is None else fitter.fit(resolved)
    if fitting is not None and not fitting.fits:
        _tell_fit(fitting, "as counted")
        if fit:
            resolved = _reduce(fitting)
            fitter = _fitter(resolved, runs_dir)
    estimate = rehearse(resolved, _teller(), note)
    if fitter is not None:
        fitting = fitter.fit(resolved, estimate.memory_bytes)
    if json:
        totals = {"seconds": estimate.seconds, "bytes_per_class": estimate.bytes_per_class}
        fits = None if fitting is None else fitting.document()
        print_json({"preset": resolved.title, **dataclasses.asdict(estimate), **totals, "fit": fits})
        return
    rows = [[part.stage, _work(part.number, part.what), human_time(part.seconds)] for part in estimate.parts]
    print_table(["stage", "work", "time"], [*rows, ["all", "", human_time(estimate.seconds)]], right=(2,))
    if resolved.evaluation.selection_stop != "none":
        note("Networks that choose may stop early: here all of their epochs count, so times are the most it takes.")
    if resolved.run.cuda_graphs:
        note("On a GPU run.cuda_graphs needs the memory of all networks of a row at once, which is not counted here.")
    stored, real = estimate.stored_bytes, estimate.data_bytes
    share = f", {100 * stored / real:.1f} % of the training clips" if real else ""
    if estimate.reckoned:
        note("Reckoned from the passes of a few clips: reading, encoding and memory are not in it.")
    say(f"Stores: {estimate.stored_values:,} values, {human_bytes(stored)} in float32{share}.")
    if estimate.storage and estimate.file_bytes:
        size, each = human_bytes(estimate.file_bytes), human_bytes(estimate.bytes_per_class)
        say(f"File: {size} as {estimate.storage}, {each} per class (measured on {estimate.measured_on}).")
    if estimate.budget and estimate.rung:
        say(f"Budget: {estimate.budget} per class, spent as {estimate.rung} here; the run may choose another way.")
    if estimate.memory_bytes:
        say(f"Needs: about {human_bytes(estimate.memory_bytes)} of memory on {estimate.device}.")
    if fitting is not None and not fitting.fits:
        _tell_fit(fitting, "as rehearsed" if estimate.memory_bytes else "as counted")
    note(f"Measured in {human_time(estimate.rehearsed_seconds)}.")


def _work(number: int, what: str) -> str:
    """Return ``what`` of a plan's part, which begins with a plural, with its number."""
    first, space, rest = what.partition(" ")
    return counted(number, first.removesuffix("s"), first) + space + rest


def _fitter(preset: Preset, runs_dir: Path | None) -> Fitter | None:
    """Return what tells whether ``preset`` fits here; None for the demo, which fits everywhere."""
    from engine.runs import runs_folder

    if preset.dataset.path is None:
        return None
    from engine.distilling.fitting import Fitter

    return Fitter(preset, runs_folder(runs_dir))


def _tell_fit(fitting: Fitting, how: str) -> None:
    """Tell what is short, and what would fit."""
    pairs = [("memory", fitting.need.memory, fitting.room.memory), ("disk", fitting.need.disk, fitting.room.disk)]
    short = [
        f"{human_bytes(need)} of {what}, and {human_bytes(free)} are free" for what, need, free in pairs if need > free
    ]
    warn(f"It does not fit, {how}: it needs {'; '.join(short)}.")
    reduced = fitting.reduced
    if reduced is None:
        note("Nothing that may be reduced makes it fit: it needs smaller clips, fewer classes, or a larger machine.")
        return
    if reduced.alone or reduced.same:
        words = [*(["OMP_NUM_THREADS=1 before the command"] if reduced.alone else []), *_options(reduced.same)]
        note(f"Would fit, by the same method: {', '.join(words)}")
    if reduced.other:
        begins = "And" if reduced.alone or reduced.same else "Would fit"
        note(f"{begins}, with other results: {' '.join(_options(reduced.other))}")


def _options(changes: tuple[str, ...]) -> list[str]:
    return [f"--set {change}" for change in changes]


def _reduce(fitting: Fitting) -> Preset:
    """Return the preset that fits; networks are then trained one at a time where that is a part of it."""
    from engine.errors import MemoryShortError

    reduced = fitting.reduced
    if reduced is None:
        hint = "Make smaller clips (vdtui prepare --size, --frames), or run it on a larger machine."
        raise MemoryShortError("Nothing that may be reduced makes this run fit here.", hint)
    if reduced.alone:
        import torch

        torch.set_num_threads(1)
    note("Planned so.")
    return reduced.preset


def _tell_bytes(preset: Preset) -> None:
    """Tell at once what the set will store, from the preset and the shape of the clips alone."""
    from engine.config.size import plain_bytes, storage_words, stored_values
    from engine.data.store import ClipStore

    path = preset.dataset.path
    if path is None or not preset.kind.parts or preset.storage.open_budget:
        return  # the demo's clips are not made yet, all of the data is no set, and a budget says its bytes itself
    with ClipStore.open(Path(path)) as store:
        values = stored_values(preset.synthetic, len(store.classes), store.frames, store.height)
        number = len(store.classes)
    size = plain_bytes(preset, values)
    if size is None:
        from engine.distilling.first_size import first_size

        said = f"The set: {values:,} values, stored as {storage_words(preset)}"
        if (first := first_size(preset, values)) is None:
            note(f"{said}; how many bytes that is depends on them.")
            return
        each = human_bytes(first / number)
        note(f"{said}: {human_bytes(first)} at its start from real clips, {each} per class; learning changes that.")
        return
    note(f"The set: {values:,} values, {human_bytes(size)}, {human_bytes(size / number)} per class.")


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
