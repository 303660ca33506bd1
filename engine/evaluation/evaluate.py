"""Judging anything by itself: the set of a run, a set from a file, a coreset, or all of the data.

What `vdtui evaluate` does. A finished run's own table stays what it is; what is measured here is added beside it, with
protocol, recipe, data and seeds, so that it can be told apart.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from engine.config import Preset, load_preset, read_preset
from engine.config.kinds import BASELINES, KINDS
from engine.config.load import override
from engine.data.batches import RealClips
from engine.data.opening import open_data
from engine.data.spec import ClipSpec
from engine.errors import DataError, UsageError
from engine.evaluation import QueueState, Recipe, Request, Subject, Trainers, TrialCache, result
from engine.evaluation.judge import Judge, networks_folder, train_and_val
from engine.evaluation.subjects import (
    as_stored,
    compressed_real,
    full_data,
    of_set,
    random_clips,
    scarce_coreset,
    set_of_run,
)
from engine.evaluation.trainers import networks_text
from engine.files import write_json
from engine.models import check_model, choose_device, choose_precision
from engine.models.precision import deterministic
from engine.runs import RunDirectory, find_run
from engine.synthetic import LoadedSet, SyntheticSet, load_set
from engine.synthetic.compressed import Storage
from engine.text import one_line

Progress = Callable[[int, int, str, float], None]
"""(networks that are done, all networks, what is trained now, and the part of the next network that is done).

Where several are trained at once, halves of two count as one that is done."""

RIVALS = ("random", *BASELINES, "full", "compressed-random", "compressed-herding")
"""What may stand beside a set, under the same recipe; the compressed ones are real clips in as many bytes."""
RIVAL_STORAGE = "h264-28"


@dataclasses.dataclass(frozen=True)
class Questions:
    """What is asked of a source beside its preset."""

    rivals: tuple[str, ...] = ()
    frames: str = "as-is"
    """The order of frames while training."""
    storage: tuple[str, ...] = ()
    """Ways to store the set, each judged as it comes out of its file; none: as it is."""
    real: tuple[tuple[int, str], ...] = ()
    """Random real clips beside it: how many per class, and how they are stored."""
    rival_storage: str = RIVAL_STORAGE
    """How compressed rivals are stored."""


@dataclasses.dataclass(frozen=True)
class Source:
    """One thing to judge: what the user named, the preset that it is judged by, and its set if it has one."""

    name: str
    preset: Preset
    run: RunDirectory | None = None
    file: Path | None = None
    """The set's; None for all of the data."""


def find_source(name: str, runs: Path, data: Path | None, overrides: Iterable[str]) -> Source:
    """What ``name`` is: a synthetic set's file, a clips file, or a run. Raises VdtuiError.

    ``overrides`` (``section.key=value``) change the preset of a run, or the default preset of anything else.
    """
    changes = list(overrides)
    if name.endswith((".h5", ".hdf5")):
        whole = ["synthetic.kind=full", *changes]
        return Source(name, _on(load_preset("default", whole), data or Path(name)))
    if name.endswith(".safetensors"):
        loaded = load_set(name)
        preset = load_preset("default", [f"run.seed={loaded.provenance.seed}", *changes])
        if data is None:
            problem = f"{one_line(name)} is judged on real clips, and no file of them is given."
            raise UsageError(problem, f"Add the data: vdtui evaluate {one_line(name)} --data FILE.h5")
        return Source(name, _on(preset, data), file=Path(name))
    run = find_run(runs, name)
    preset = override(read_preset(run.preset_file), changes, str(run.preset_file))
    needs_set = bool(preset.kind.parts)
    if needs_set and not run.best.is_file():
        problem = f"The run {run.name} has no synthetic set yet."
        raise UsageError(problem, f"Wait for its first evaluation: vdtui show {run.name}")
    return Source(name, _on(preset, data), run, run.best if needs_set else None)


def _on(preset: Preset, data: Path | None) -> Preset:
    if data is None:
        return preset
    section = preset.dataset.model_copy(update={"path": str(data.resolve())})
    return preset.model_copy(update={"dataset": section})


def evaluate(
    source: Source,
    runs: Path,
    asked: Questions = Questions(),
    progress: Progress | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> Iterator[dict[str, Any]]:
    """Results (docs/formats.md, "A result") of ``source`` and its rivals, model by model, as each is finished.

    Networks that are done are kept in a folder, so the same call after an interruption goes on. ``warn`` gets what a
    user should know before, as of classes with too few clips for a rival. Raises VdtuiError before anything is trained
    if a model cannot take the clips, or the set is not one of these classes.
    """
    preset = source.preset
    device = choose_device(preset.run.device)
    precision = choose_precision(preset.run.precision, device)
    with deterministic(), open_data(runs, preset, lambda *_: None, lambda: None) as store:
        spec = ClipSpec(store.classes, store.frames, store.height, store.width, store.mean, store.std)
        for model in preset.evaluation.models:
            check_model(model, spec.frames, spec.height)
        train = RealClips(train_and_val(store, preset)[0], spec, device).keep_on_device()
        test = RealClips(store.split("test"), spec, device).keep_on_device()
        judge = Judge(preset.evaluation, train, preset.run.seed, precision, networks_folder(runs))
        subjects = list(_subjects(source, judge, asked, progress))
        drawn = sorted({row.ipc for row in subjects if row.what == "random" and row.ipc is not None})
        for text in filter(None, (scarce_coreset(train, number) for number in drawn)):
            warn(text)
        yield from _judged(source, judge, test, subjects, store.fingerprint, asked.frames, runs, progress)


def _judged(
    source: Source,
    judge: Judge,
    test: RealClips,
    subjects: list[Subject],
    fingerprint: str,
    frames: str,
    runs: Path,
    progress: Progress | None,
) -> Iterator[dict[str, Any]]:
    repeats = judge.section.repeats
    rows = [
        _Row.of(source, judge, subject, model, frames, runs) for model in judge.section.models for subject in subjects
    ]
    with Trainers(judge.train.device) as trainers:
        asked = (request for row in rows for request in row.requests(judge, test))
        watch = _watch(progress, [f"{row.subject.what}, {row.recipe.model}" for row in rows], repeats)
        trained = trainers.trials(asked, judge.at_once("final"), watch)
        for row in rows:
            trials = list(itertools.islice(trained, repeats))
            document = result(row.subject, trials, row.recipe, fingerprint, test.several_clips)
            document |= {"evaluated": True, "source": source.name}
            if source.run is not None:
                name = f"evaluated-{row.cache.name}-{repeats}-{judge.seed}.json"
                write_json(source.run.evaluations / name, document)
            yield document


@dataclasses.dataclass(frozen=True)
class _Row:
    subject: Subject
    recipe: Recipe
    cache: TrialCache

    @classmethod
    def of(cls, source: Source, judge: Judge, subject: Subject, model: str, frames: str, runs: Path) -> _Row:
        recipe = dataclasses.replace(judge.recipe(model, subject.step_size), frames=frames)
        stored = "" if subject.storage is None else f"-{subject.storage}-{subject.nbytes}"
        name = f"{subject.what}{stored}-{model}-{recipe.digest()}"
        return cls(subject, recipe, TrialCache(_cache_folder(source, runs), name))

    def requests(self, judge: Judge, test: RealClips) -> Iterator[Request]:
        for k, seed in enumerate(judge.seeds("final", judge.section.repeats)):
            yield judge.request(partial(self.subject.data, k), test, self.recipe, seed, self.cache)


def _watch(progress: Progress | None, titles: list[str], repeats: int) -> Callable[[QueueState], None]:
    def told(going: QueueState) -> None:
        if progress is not None and going.now:
            whole = int(going.networks)
            progress(whole, len(titles) * repeats, networks_text(going, titles, repeats), going.networks - whole)

    return told


def _cache_folder(source: Source, runs: Path) -> Path:
    return source.run.evaluations if source.run is not None else runs / ".data" / "evaluations"


def _subjects(source: Source, judge: Judge, asked: Questions, progress: Progress | None) -> Iterator[Subject]:
    own, loaded = _own(source, judge.train)
    networks = judge.section.repeats
    ways = [Storage.parse(text) for text in asked.storage]
    if ways and loaded is None:
        raise UsageError("All of the data is not a set that could be stored.", "Leave --storage out, or name a set.")
    yield from (as_stored(own, way, networks) for way in ways) if ways else [own]
    for number, way in asked.real:
        yield as_stored(random_clips(judge.train, number, judge.seed), Storage.parse(way), networks)
    for rival in asked.rivals:
        if rival == "full":
            yield full_data(judge.train)
        elif loaded is None:
            raise UsageError(f"All of the data has no rival {rival}.", "Leave --rival out, or name a run or a set.")
        else:
            yield _rival(rival, source, own, loaded.synthetic, judge, asked, progress)


def _own(source: Source, train: RealClips) -> tuple[Subject, LoadedSet | None]:
    """The source itself, and its set if it has one."""
    if source.file is None:
        return full_data(train), None
    loaded = load_set(source.file, train.device)
    _check_fits(source.name, loaded, train.spec)
    preset = source.preset
    kind = loaded.synthetic.kind
    own = set_of_run(loaded, preset.kind.rows(preset)[0] if kind == preset.kind.name else kind)
    if source.run is not None and own.what == "random":
        own = random_clips(train, loaded.synthetic.ipc, preset.run.seed)
    return own, loaded


def _rival(
    rival: str,
    source: Source,
    own: Subject,
    synthetic: SyntheticSet,
    judge: Judge,
    asked: Questions,
    progress: Progress | None,
) -> Subject:
    if rival == "random":
        return random_clips(judge.train, synthetic.ipc, judge.seed)
    if rival in BASELINES:
        if rival in (contained := synthetic.baselines()):
            return of_set(rival, contained[rival])
        memory = KINDS[rival].parts[0].name
        lacks = f"is of kind {rival} itself" if synthetic.kind == rival else f"has no {memory} memory"
        raise UsageError(f"{one_line(source.name)} {lacks}, so there is no rival {rival}.", "Leave that rival out.")

    def watch(fraction: float) -> None:
        if progress is not None:
            progress(0, 1, "first one by whose features clips are chosen", fraction)

    network = judge.feature_network(source.preset.selection, watch) if rival == "compressed-herding" else None
    how, networks = Storage.parse(asked.rival_storage), judge.section.repeats
    return compressed_real(judge.train, own.nbytes, how, judge.seed, networks, network, judge.precision)


def _check_fits(name: str, loaded: LoadedSet, real: ClipSpec) -> None:
    own = loaded.synthetic.spec
    if own.classes != real.classes:
        problem = f"{one_line(name)} has {len(own.classes)} classes, and the data has {len(real.classes)} or others."
        raise DataError(problem, "Judge it on the data that it was made of: --data FILE.h5.")
    shapes = [f"{s.frames} x {s.height} x {s.width}" for s in (own, real)]
    if shapes[0] != shapes[1]:
        problem = f"{one_line(name)} has clips of {shapes[0]}, and the data of {shapes[1]}."
        raise DataError(problem, "Prepare the data with the same --frames and --size.")
    if (own.mean, own.std) != (real.mean, real.std):
        problem = f"{one_line(name)} was made with another normalisation than that of the data."
        raise DataError(problem, "Judge it on the data that it was made of: --data FILE.h5.")
