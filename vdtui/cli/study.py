"""`vdtui study`: a small grid of runs, one after another or several at a time, with a table and a plot."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.text import counted
from vdtui.cli.launching import HERE, Place, carry_out, launching
from vdtui.cli.options import (
    Json,
    RunsDir,
    human_bytes,
    human_time,
    note,
    plus_minus,
    print_json,
    print_table,
    trained_for,
    warn,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.config.kinds import Kind
    from engine.runs.study import OverSeeds, Study

app = typer.Typer(no_args_is_help=True, help="Grids of runs: how accuracy depends on a preset's values.")

PresetName = Annotated[str, typer.Option("--preset", metavar="NAME|FILE.toml", help="What all cells have in common.")]
Data = Annotated[Path | None, typer.Option("--data", metavar="FILE.h5", help="Clips file made by `vdtui prepare`.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one value for all cells.")
]
Name = Annotated[str, typer.Option(metavar="NAME", help="Name of the study; its folder is RUNS/studies/NAME.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, metavar="N", help="Cells that run at the same time here.")]


@app.command()
@launching
def temporal(
    preset: PresetName = "default",
    data: Data = None,
    n_syn: Annotated[str, typer.Option(help="Frames stored per segment, such as 1,2,4,8.")] = "1,2,4,8",
    segments: Annotated[str, typer.Option(help="Segments of a clip, such as 1,2.")] = "1",
    interpolation: Annotated[str, typer.Option(help="duplicate, linear, or both.")] = "duplicate",
    frames: Annotated[
        str, typer.Option(help="Also train on each set with its frames shuffled, frozen, reversed; or: none.")
    ] = "shuffled,frozen,reversed",
    set_: Sets = None,
    jobs: Jobs = 1,
    name: Name = "temporal",
    runs_dir: RunsDir = None,
    place: Place = HERE,
    json: Json = False,
) -> None:
    """Accuracy and cost over the taxonomy of temporal compression, and whether time matters in the sets.

    Every cell is a run; after it, networks are also trained on its set with the order of frames destroyed. The same
    command goes on where it stopped.

    Example: vdtui study temporal --preset miniucf101-ipc1-pixels-dm --n-syn 1,2,4,8,16 --set dynamic.steps=500
    """
    from engine.runs.study import temporal as cells

    orders = [] if frames == "none" else _words(frames)
    resolved, length = _preset(preset, set_, data)
    grid = cells(length, _numbers(n_syn, "--n-syn"), _numbers(segments, "--segments"), _words(interpolation))
    study = _study("temporal", name, preset, _common(set_, data, resolved), grid, runs_dir)
    _run(study, place, jobs)
    if place.resources is None:
        for order in orders:
            _evaluate(study, order)
    else:
        _evaluate_in_jobs(study, orders, place)
    _tell(study, orders, json)


@app.command()
@launching
def grid(
    vary: Annotated[
        list[str], typer.Option("--vary", metavar="SECTION.KEY=V1,V2,...", help="A key and its values; repeatable.")
    ],
    preset: PresetName = "default",
    data: Data = None,
    set_: Sets = None,
    jobs: Jobs = 1,
    name: Name = "grid",
    runs_dir: RunsDir = None,
    place: Place = HERE,
    json: Json = False,
) -> None:
    """Run every combination of the values of some keys of a preset: seeds, IPC, rates, anything.

    With several values of run.seed, a second table has each combination of the others over its seeds, and its
    difference to the first one with a 95 % interval over run seeds: whether one method is better than the other.

    Example: vdtui study grid --preset demo --vary run.seed=0,1,2 --vary synthetic.ipc=1,2
    """
    from engine.runs.study import grid as cells

    resolved, _ = _preset(preset, set_, data)
    study = _study(
        "grid", name, preset, _common(set_, data, resolved), cells([_varied(text) for text in vary]), runs_dir
    )
    _run(study, place, jobs)
    _tell(study, [], json)


STILLS, CLIPS = ("jpeg-80", "jpeg-60"), ("h264-23", "h264-35")
"""The storage of stills, and of what moves, through codecs in the study of bytes, well and poorly."""
REAL = "h264-35@half,h264-35,h264-28,h264-23,h264-18,uint8"


@app.command(name="bytes")
def bytes_(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Finished runs: the arms that were learned.")],
    clips: Annotated[str, typer.Option(help="Real clips per class, such as 1,2,4.")] = "1,2,4",
    real: Annotated[
        str, typer.Option(metavar="HOW,...", help="How real clips are stored; @half: at half their side.")
    ] = REAL,
    storage: Annotated[
        list[str] | None, typer.Option(metavar="HOW", help="How learned sets are stored, in place of the usual ways.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over every set.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps on every set, in place of passes.")] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Networks of every point.")] = None,
    set_: Sets = None,
    name: Name = "bytes",
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Accuracy over bytes per class: learned sets at several precisions and through codecs, and real clips.

    Every point is a whole file, labels and hallucinator in it, decoded again before networks are trained on it. All
    are evaluated by the first run's protocol and recipe. The same command goes on where it stopped.

    Example: vdtui study bytes miniucf101-ipc1 miniucf101-ipc1-pixels-dm --clips 1,2,5
    """
    from engine.export.study import draw_bytes
    from engine.files import write_json
    from engine.runs import runs_folder
    from engine.runs.results import length_in_words

    folder = runs_folder(runs_dir)
    changes = list(set_ or [])
    changes += trained_for(epochs, steps)
    changes += [f"evaluation.repeats={repeats}"] if repeats is not None else []
    try:
        points = list(_points(folder, runs, changes, _numbers(clips, "--clips"), _words(real), storage))
    except KeyboardInterrupt:
        note("Interrupted; the same command goes on where it stopped.")
        raise typer.Exit(130) from None
    classes = points[0].pop("classes")
    for row in points[1:]:
        del row["classes"]
    home = folder / "studies" / name
    document = {"study": name, "kind": "bytes", "classes": classes, "rows": points}
    write_json(home / "results.json", document)
    draw_bytes(home / "results.png", points, classes)
    if json:
        print_json(document)
        return
    columns = ["what", "run", "ipc", "storage", "bytes per class", "top-1 on test"]
    cells = [
        [row["what"], row["run"], str(row["ipc"]), row["storage"], human_bytes(row["bytes"] / classes), _accuracy(row)]
        for row in sorted(points, key=lambda row: row["bytes"])
    ]
    first = points[0]
    protocol = f"{first['protocol']} {first['protocol_version']}"
    title = f"protocol {protocol}, {first['model']}, {length_in_words(first['recipe'])}"
    print_table(columns, cells, title, right=(2, 4, 5))
    note(f"Table and plot: {home / 'results.json'}, {home / 'results.png'}")


def _points(
    folder: Path, runs: list[str], changes: list[str], clips: list[int], real: list[str], storage: list[str] | None
) -> Iterator[dict[str, Any]]:
    """The rows of the study as they are measured: every run's set as stored, and real clips beside the first."""
    from engine.config import read_preset
    from engine.evaluation import evaluate as engine
    from engine.runs import find_run
    from engine.runs.study import brief

    alike = [*_recipe_of(find_run(folder, runs[0])), *changes]
    for number, run in enumerate(runs):
        kind = read_preset(find_run(folder, run).preset_file).kind
        source = engine.find_source(run, folder, None, alike)
        ways = tuple(storage or _usual_storages(kind))
        half = f"@{max(16, _side(source.preset) // 2)}"
        points = tuple((n, how.replace("@half", half)) for n in clips for how in real) if number == 0 else ()
        for row in engine.evaluate(source, folder, engine.Questions(storage=ways, real=points), warn=warn):
            classes = len(row["per_class"])
            size, mean = human_bytes(row["bytes"] / classes), 100 * row["top1"]["mean"]
            note(f"{row['what']} {row['storage']}: {size} per class, {mean:.1f} %")
            yield brief(row) | {"run": run, "classes": classes}


def _usual_storages(kind: Kind) -> list[str]:
    """Name the ways to store a learned set in the study of bytes; real clips and stills alone have the one."""
    if not kind.in_stage_2:
        return ["uint8"]
    stills = any(part.still for part in kind.parts)
    coded = [f"{still}+{clip}" if stills else clip for still, clip in zip(STILLS, CLIPS, strict=True)]
    return ["float32", "float16", "uint8", *coded]


def _recipe_of(run: Any) -> list[str]:
    """The evaluation of ``run`` as changes, so that every point is judged alike."""
    import json

    from engine.config import read_preset

    table = read_preset(run.preset_file).evaluation.model_dump(exclude_none=True)
    return [f"evaluation.{key}={json.dumps(value)}" for key, value in table.items()]


def _side(preset: Any) -> int:
    """Height and width of the clips of ``preset``."""
    from engine.data.store import ClipStore

    if preset.dataset.path is None:
        return int(preset.dataset.size or 64)
    with ClipStore.open(Path(preset.dataset.path)) as store:
        return store.height


# --- what is asked for -----------------------------------------------------------------------------------------------


def _preset(name: str, changes: list[str] | None, data: Path | None) -> tuple[Any, int]:
    """The preset of all cells, on its data, and the frames of its clips."""
    from engine.config import load_preset
    from engine.data.check import check_data, needed_path
    from engine.data.store import ClipStore
    from engine.runs.new import with_data

    resolved = with_data(load_preset(name, list(changes or [])), data)
    if warning := check_data(resolved):
        warn(warning)
    if resolved.dataset.path is None:
        return resolved, resolved.dataset.frames or 1  # the demo makes its own
    with ClipStore.open(Path(needed_path(resolved))) as store:
        return resolved, store.frames


def _common(changes: list[str] | None, data: Path | None, resolved: Any) -> tuple[str, ...]:
    path = resolved.dataset.path
    return (*(changes or []), *([f'dataset.path="{path}"'] if path is not None else []))


def _study(
    kind: str, name: str, preset: str, common: tuple[str, ...], cells: list[Any], runs_dir: Path | None
) -> Study:
    from engine.config import load_preset
    from engine.errors import UsageError
    from engine.runs import runs_folder
    from engine.runs.study import Study

    if not name or "/" in name or name.startswith("."):
        raise UsageError(f"{name!r} is no name for a study.", "Use letters, digits, - and _.")
    for cell in cells:
        load_preset(preset, [*common, *cell.changes()])  # a wrong value is told before the first run
    study = Study(runs_folder(runs_dir) / "studies" / name, kind, preset, common, tuple(cells))
    _refuse_outdated(study)
    study.save()
    return study


def _refuse_outdated(study: Study) -> None:
    """A cell that an earlier revision of the method has run is no cell of this study."""
    from engine.config import earlier, outdated, read_preset
    from engine.errors import UsageError

    for run in map(study.run_of, study.cells):
        if run.preset_file.is_file() and (parts := outdated(run.meta().get("revisions"), read_preset(run.preset_file))):
            problem = f"The run {run.name} is of {earlier(parts)}."
            raise UsageError(problem, f"Give this study another name (--name), or remove {run.path}.")


def _numbers(text: str, option: str) -> list[int]:
    from engine.errors import UsageError

    try:
        numbers = [int(word) for word in _words(text)]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UsageError(f"{option} {text}: not a list of whole numbers above 0.", f"Write {option} 1,2,4.")
    return numbers


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _varied(text: str) -> tuple[str, list[Any]]:
    from engine.config.load import parsed
    from engine.errors import UsageError

    key, equals, values = text.partition("=")
    if not equals or not _words(values):
        raise UsageError(f"--vary {text}: no values.", "Write --vary section.key=value,value, such as run.seed=0,1,2.")
    return key.strip(), [parsed(word) for word in _words(values)]


# --- running it ------------------------------------------------------------------------------------------------------


def _run(study: Study, place: Place, jobs: int) -> None:
    """Run each cell to its end, ``jobs`` at a time on this machine; a cell that fails is told and left out."""
    from vdtui.launchers import Work

    left = [cell for cell in study.cells if not _done(study.run_of(cell))]
    total, began = len(study.cells), time.monotonic()
    done = first = total - len(left)
    note(f"{counted(total, 'run')}, {done} of them done. Watch them: vdtui monitor --runs-dir {study.folder}")
    launcher = place.launcher(jobs=jobs)
    try:
        for ended in launcher.run_all([Work(cell.name, functools.partial(_make, study, cell)) for cell in left]):
            done += 1
            seconds = (time.monotonic() - began) / (done - first) * (total - done)
            later = f", about {human_time(seconds)} left" if done < total else ""
            reason = f" ({ended.reason})" if ended.reason else ""
            note(f"{done} of {total}: {ended.run.name} {ended.run.state()}{reason}{later}")
    except KeyboardInterrupt:
        note(launcher.interrupted())
        raise typer.Exit(130) from None


def _done(run: Any) -> bool:
    return run.preset_file.is_file() and run.state() == "completed"


def _make(study: Study, cell: Any) -> Any:
    """The cell's run, made if it is not there."""
    import sys

    from engine.config import load_preset
    from engine.runs.new import new_run

    run = study.run_of(cell)
    if run.preset_file.is_file():
        return run
    chosen = load_preset(study.preset, [*study.common, *cell.changes()])
    return new_run(chosen, None, study.folder, cell.name, cell.name, ["vdtui", *sys.argv[1:]])


def _evaluate_in_jobs(study: Study, orders: list[str], place: Place) -> None:
    """The same as ``_evaluate``, each cell and order in a job; a run that has the result is left alone."""
    from engine.runs.study import own_result, rows
    from vdtui.launchers.slurm import Command

    folder = study.folder.absolute()
    commands = []
    for row in rows(study):
        for order in [order for order in orders if own_result(row, order) is None and row["state"] == "completed"]:
            words = ("evaluate", row["name"], "--frames", order, "--runs-dir", str(folder))
            commands.append(Command(f"{row['name']}, frames {order}", words, folder))
    if commands:
        carry_out(place, commands)


def _evaluate(study: Study, order: str) -> None:
    """Networks trained on each cell's set with its frames in another order."""
    from engine.errors import UsageError
    from engine.evaluation import FRAMES
    from engine.evaluation import evaluate as engine

    if order not in FRAMES:
        raise UsageError(f"--frames {order} is none of {', '.join(FRAMES)}.", "Choose among them, or none.")
    try:
        for cell in study.cells:
            if _done(study.run_of(cell)):
                source = engine.find_source(cell.name, study.folder, None, [])
                for row in engine.evaluate(source, study.folder, engine.Questions(frames=order)):
                    note(f"{cell.name}, frames {order}: {100 * row['top1']['mean']:.1f} %")
    except KeyboardInterrupt:
        note("Interrupted; the same command goes on.")
        raise typer.Exit(130) from None


# --- telling it ------------------------------------------------------------------------------------------------------


def _tell(study: Study, orders: list[str], json: bool) -> None:
    from engine.export.study import draw
    from engine.files import write_json
    from engine.runs.study import over_seeds, own_result, rows

    table_rows = rows(study)
    seeded = over_seeds(table_rows)
    document: dict[str, Any] = {"study": study.folder.name, "kind": study.kind, "preset": study.preset}
    document |= {"common": list(study.common), "rows": table_rows, "over_seeds": [row.document() for row in seeded]}
    write_json(study.folder / "results.json", document)
    draw(study.folder / "results.png", table_rows, study.kind)
    if json:
        print_json(document)
        return
    keys = [key for key, _ in study.cells[0].values]
    columns = [
        *(key.rpartition(".")[2] for key in keys),
        "top-1 on test",
        *orders,
        "bytes",
        "s / step",
        "time",
        "state",
    ]
    table = []
    for row in table_rows:
        own = own_result(row)
        table.append(
            [
                *("-" if row["values"][key] is None else str(row["values"][key]) for key in keys),
                _accuracy(own),
                *(_accuracy(own_result(row, order)) for order in orders),
                human_bytes(own["bytes"]) if own else "-",
                f"{row['seconds_per_step']:.3g}" if row.get("seconds_per_step") else "-",
                human_time(row["seconds"]) if row.get("seconds") else "-",
                row["state"],
            ]
        )
    first = next((own for row in table_rows if (own := own_result(row)) is not None), None)
    title = f"protocol {first['protocol']} {first['protocol_version']}, {first['model']}" if first else None
    print_table(columns, table, title)
    if seeded:
        _tell_seeded(seeded)
    note(f"Table and plot: {study.folder / 'results.json'}, {study.folder / 'results.png'}")


def _tell_seeded(rows: list[OverSeeds]) -> None:
    """A row for each combination of values but the seed, each run counting as one value."""
    from engine.export.tables import points

    keys = list(rows[0].values)
    cells = [
        [
            *(str(row.values[key]) for key in keys),
            str(len(row.runs)),
            plus_minus(row.top1.mean, row.top1.std),
            "-" if row.over_first is None else points(row.over_first),
        ]
        for row in rows
    ]
    title = (
        "over run seeds: mean +- sample std of the runs' means; difference to the first with its 95 % interval\n"
        "(none where it was measured under other conditions)"
    )
    print_table([*(key.rpartition(".")[2] for key in keys), "run seeds", "top-1 on test", "to first"], cells, title)


def _accuracy(result: dict[str, Any] | None) -> str:
    if result is None:
        return "-"
    return plus_minus(result["top1"]["mean"], result["top1"]["std"])
