"""`vdtui evaluate`: train networks from scratch on a set, and test them on real clips."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vdtui.cli import completion
from vdtui.cli.launching import HERE, Place, carry_out, launching, words_again
from vdtui.cli.options import Changes, Device, Json, RunsDir, human_time, note, print_json, trained_for, warn, with_run
from vdtui.cli.progress import ProgressLine
from vdtui.cli.results import print_results

if TYPE_CHECKING:
    from collections.abc import Callable


@launching
def evaluate(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|SET|FILE.h5...",
            help="Runs, synthetic sets, or all of a clips file.",
            autocompletion=completion.runs,
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(metavar="FILE.h5", help="Real clips to test on (a run knows its own).")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="strict (default), strict-strong, strict-teacher, or vdsd, as published.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Network to train; repeatable.")] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Networks of every row, each with its own seed.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the set.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps, in place of passes.")] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            metavar="NAME",
            help="Beside it: random, static-only, full, class-mean, compressed-random, -herding, -coverage or -easy; "
            "repeatable.",
        ),
    ] = None,
    equal_bytes: Annotated[
        bool,
        typer.Option("--equal-bytes", help="Beside it: random and herded real clips, compressed into as many bytes."),
    ] = False,
    storage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOW", help="Evaluate the set as stored: float16, uint8, h264-23, jpeg-80+h264-28 ...; repeatable."
        ),
    ] = None,
    baseline_storage: Annotated[
        str | None,
        typer.Option(
            "--baseline-storage",
            metavar="HOW",
            help="How compressed real clips are stored: H.264 at a quality, @ a side (default: h264-28, or as much "
            "coarser as their bytes need).",
        ),
    ] = None,
    frames: Annotated[
        str, typer.Option(help="Order of frames while training: as-is, shuffled, frozen or reversed.")
    ] = "as-is",
    set_: Changes = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the networks, and of what is held out.")] = None,
    device: Device = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the results there too.")] = None,
    runs_dir: RunsDir = None,
    json: Json = False,
    place: Place = HERE,
) -> None:
    """Evaluate runs, synthetic sets, or all of the data: networks trained from scratch, tested on the test split.

    A run is evaluated by its own preset, anything else by the default one; options change that. Finished networks are
    kept, so the same command after an interruption goes on. Results of a run are added to it (`vdtui show RUN`).

    Example: vdtui evaluate demo --model r3d_18 --model convnet_gru --baseline random

    Example: vdtui evaluate demo --equal-bytes --storage uint8 --storage jpeg-80+h264-28

    Example: vdtui evaluate best.safetensors --data hmdb51.h5 --protocol vdsd --json
    """
    from engine.errors import UsageError
    from engine.runs import runs_folder

    overrides = with_run(set_, seed, device)
    overrides += [f"evaluation.protocol={protocol}"] if protocol is not None else []
    overrides += [f"evaluation.models={_toml_list(model)}"] if model else []
    overrides += [f"evaluation.repeats={repeats}"] if repeats is not None else []
    overrides += trained_for(epochs, steps)
    from engine.evaluation import FRAMES
    from engine.evaluation import evaluate as engine  # torch comes with it

    order = next((known for known in FRAMES if known == frames), None)
    if order is None:
        raise UsageError(f"--frames {frames} is none of {', '.join(FRAMES)}.", "Choose one of them.")
    beside = [*(baseline or []), *(["compressed-random", "compressed-herding"] if equal_bytes else [])]
    for name in beside:
        if name not in engine.BESIDE:
            raise UsageError(f"--baseline {name} is none of {', '.join(engine.BESIDE)}.", "Choose one of them.")
    folder = runs_folder(runs_dir)
    names = tuple(dict.fromkeys(beside))
    questions = engine.Questions(names, order, tuple(storage or ()), baseline_storage=baseline_storage)
    subjects = [engine.find_source(name, folder, data, overrides) for name in sources]
    if place.resources is None:
        results: list[dict[str, Any]] = []
        try:
            for source in subjects:
                results += engine.evaluate(source, folder, questions, _progress(), warn)
        except KeyboardInterrupt:
            note("Interrupted; run the same command again to go on where it stopped.")
            raise typer.Exit(130) from None
    else:
        results = _in_jobs(context, sources, folder, place)
    if output is not None:
        from engine.files import write_json

        write_json(output, {"results": results})
        note(f"Results: {output}")
    if json:
        print_json({"results": results})
        return
    print_results(results)


def _in_jobs(context: typer.Context, sources: list[str], folder: Path, place: Place) -> list[dict[str, Any]]:
    """Judge each of ``sources`` in a job by this very command; return the results in their order."""
    from vdtui.launchers.slurm import Command

    asked: dict[str, list[str]] = {"json": ["--json"], "output": [], "runs_dir": [str(folder.absolute())]}
    commands = [
        Command(f"evaluate {source}", words_again(context, {**asked, "sources": [source]}), folder)
        for source in sources
    ]
    carry_out(place, commands)
    return [result for command in commands for result in command.document()["results"]]


def _toml_list(names: list[str]) -> str:
    import json

    return json.dumps(names)


def _progress() -> Callable[[int, int, str, float], None]:
    began, line = time.monotonic(), ProgressLine()

    def show(done: int, total: int, what: str, fraction: float) -> None:
        if done == total:
            line.close()  # the table follows
            return
        part = done + fraction
        left = f", {human_time((total - part) * (time.monotonic() - began) / part)} left" if part > 0 else ""
        line.tell(f"{done} of {total} networks: {what}, {100 * fraction:.0f} %{left}")

    return show
