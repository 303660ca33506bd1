"""Judging anything by itself, as `vdtui evaluate` does: the set of a run, a set from a file, or all of the data.

A finished run's own table stays what it is; what is measured here is added beside it, with
protocol, recipe, data and seeds, so that it can be told apart.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from engine.config import Preset, load_preset, read_preset
from engine.config.kinds import BASELINES, CLASS_MEAN, COMPRESSED, KINDS, chosen_by
from engine.config.load import override
from engine.data.batches import RealClips
from engine.data.exports import is_composed
from engine.data.spec import ClipSpec
from engine.data.store import ClipStore
from engine.errors import DataError, StorageError, UsageError
from engine.evaluation import QueueState, Subject, TrialCache
from engine.evaluation.baselines import Rung, Shelf, chosen_order, from_fixed, ladder, random_order
from engine.evaluation.judge import Judge, precision_of
from engine.evaluation.parts import open_parts
from engine.evaluation.protocols import FrameOrder
from engine.evaluation.requests import Watch, networks_text
from engine.evaluation.rows import Row, judged
from engine.evaluation.rungs import Held
from engine.evaluation.subjects import (
    as_stored,
    class_mean,
    full_data,
    of_baseline,
    random_clips,
    scarce_coreset,
    set_of_run,
)
from engine.files import SET_SUFFIXES, draft, looks_like_set, never_made_anew, write_json
from engine.models import choose_device
from engine.models.precision import deterministic
from engine.runs import RunDirectory, find_run
from engine.synthetic import LoadedSet, load_set
from engine.synthetic.compressed import fewest_bytes
from engine.synthetic.storage import Storage
from engine.text import one_line

Report = Callable[[int, int, str, float], None]
"""Called with the networks that are done, all networks, what is trained now, and the done part of the next network.

Where several are trained at once, halves of two count as one that is done."""

BESIDE = ("random", *BASELINES, "full", CLASS_MEAN, *COMPRESSED)
"""Baselines that may stand beside a set, under the same recipe; the compressed ones are real clips in as many bytes."""


@dataclasses.dataclass(frozen=True)
class Questions:
    """The questions to a source that its preset does not answer."""

    baselines: tuple[str, ...] = ()
    frames: FrameOrder = "as-is"
    """The order of frames while training."""
    storage: tuple[str, ...] = ()
    """Ways to store the set, each judged as it comes out of its file; none: as it is."""
    real: tuple[tuple[int, str], ...] = ()
    """Random real clips beside it: how many per class, and how they are stored."""
    baseline_storage: str | None = None
    """The way in which compressed baselines are stored; None: as FIXED, or coarser where that cannot hold a clip."""


@dataclasses.dataclass(frozen=True)
class Source:
    """One thing to evaluate: what the user named, the preset for it, and its set if it has one."""

    name: str
    preset: Preset
    run: RunDirectory | None = None
    file: Path | None = None
    """The set's; None for all of the data."""
    clips: Path | None = None
    """A clips file whose training clips are the set, tested on the data of another."""


def find_source(name: str, runs: Path, data: Path | None, overrides: Iterable[str]) -> Source:
    """Find the source ``name``: the file of a set or an export of one, a clips file, or a run. Raises VdtuiError.

    The content of a file says what it is.
    ``overrides`` (``section.key=value``) change the preset of a run, or the default preset of anything else. Nothing is
    chosen by networks here, so a run's rule for those that choose stands in no protocol's way.
    """
    changes = ["evaluation.selection_stop=none", *overrides]
    is_set = looks_like_set(Path(name)) or is_composed(Path(name))
    if name.endswith((".h5", ".hdf5")) and not is_set:
        whole = ["synthetic.kind=full", *changes]
        other = data is not None and data.resolve() != Path(name).resolve()
        return Source(name, _on(load_preset("default", whole), data or Path(name)), clips=Path(name) if other else None)
    if is_set or name.endswith(SET_SUFFIXES):
        loaded = load_set(name)
        preset = load_preset("default", [f"run.seed={loaded.provenance.seed}", *changes])
        if data is None:
            problem = f"{one_line(name)} is evaluated on real clips, and no file of them is given."
            raise UsageError(problem, f"Add the data: vdtui evaluate {one_line(name)} --data FILE.h5")
        return Source(name, _on(preset, data), file=Path(name))
    try:
        run = find_run(runs, name)
    except UsageError as error:
        if not Path(name).is_dir():
            raise
        problem = f"{one_line(name)} is neither a run, nor a folder that `vdtui export` made."
        hint = f"Make clips of its videos first: vdtui prepare folders --source {one_line(name)}"
        raise UsageError(problem, hint) from error
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
    questions: Questions = Questions(),
    progress: Report | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> Iterator[dict[str, Any]]:
    """Yield the results (docs/formats.md, "A result") of ``source`` and its baselines, model by model.

    Networks that are done are kept in a folder, so the same call after an interruption goes on. Before
    anything is trained, ``warn`` gets warnings, such as that of classes with too few clips for a baseline, and
    VdtuiError is raised if a model cannot take the clips, or the set is not one of these classes.
    """
    preset = source.preset
    device = choose_device(preset.run.device)
    with (
        deterministic(),
        open_parts(runs, preset, device, lambda *_: None, lambda: None) as parts,
        _kept(source, runs, warn) as kept,
        contextlib.ExitStack() as opened,
    ):
        train, test = parts.train, parts.test
        spec = parts.spec
        precision = precision_of(preset, len(spec.classes), spec.frames, spec.height, device, runs).precision
        judge = Judge.of(preset, train, precision, runs)
        subjects = list(_subjects(source, judge, questions, progress, opened))
        drawn = sorted({row.ipc for row in subjects if row.what == "random" and row.ipc is not None})
        for text in filter(None, (scarce_coreset(train, number) for number in drawn)):
            warn(text)
        rows = [
            _row(judge, subject, model, questions.frames, kept)
            for model in judge.section.models
            for subject in subjects
        ]
        watch = _watch(progress, [f"{row.subject.what}, {row.recipe.model}" for row in rows], judge.section.repeats)
        for row, document in judged(rows, judge, test, parts.store.fingerprint, watch):
            document |= {"evaluated": True, "source": source.name}
            if source.run is not None:
                name = f"evaluated-{row.cache.name}-{judge.section.repeats}-{judge.seed}.json"
                try:
                    write_json(kept / name, document)
                except (StorageError, OSError) as error:  # what was measured for an hour is told all the same
                    warn(f"A result could not be kept in {kept}: {error}")
            yield document


@contextlib.contextmanager
def _kept(source: Source, runs: Path, warn: Callable[[str], None]) -> Iterator[Path]:
    """Yield the folder of finished networks and results of ``source``; where nothing can be written, a passing one."""
    folder = source.run.evaluations if source.run is not None else runs / ".data" / "evaluations"
    with contextlib.ExitStack() as ends:
        if source.run is not None:
            ends.enter_context(never_made_anew(source.run.path))
        try:
            with draft(folder):
                pass
        except OSError as error:
            reason = error.strerror or type(error).__name__
            warn(f"{folder} cannot be written ({reason}): results are not kept there. Add --output FILE.json.")
            folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="vdtui-")))
        yield folder


def _row(judge: Judge, subject: Subject, model: str, frames: FrameOrder, kept: Path) -> Row:
    recipe = dataclasses.replace(judge.recipe(model, "final", subject.step_size), frames=frames)
    stored = "" if subject.storage is None else f"-{subject.storage}-{subject.nbytes}"
    name = f"{subject.what}{stored}-{model}-{recipe.digest()}"
    return Row(subject, recipe, TrialCache(kept, name))


def _watch(progress: Report | None, titles: list[str], repeats: int) -> Watch:
    def watch(queue: QueueState) -> None:
        if progress is not None and queue.now:
            whole = int(queue.networks)
            progress(whole, len(titles) * repeats, networks_text(queue, titles, repeats), queue.networks - whole)

    return watch


def _subjects(
    source: Source, judge: Judge, questions: Questions, progress: Report | None, opened: contextlib.ExitStack
) -> Iterator[Subject]:
    own, loaded = _own(source, judge.train, opened)
    networks = judge.section.repeats
    ways = [Storage.parse(text) for text in questions.storage]
    if ways and loaded is None:
        raise UsageError("All of the data is not a set that could be stored.", "Leave --storage out, or name a set.")
    yield from (as_stored(own, way, networks) for way in ways) if ways else [own]
    for number, way in questions.real:
        yield as_stored(random_clips(judge.train, number, judge.seed), Storage.parse(way), networks)
    for name in questions.baselines:
        if name == "full":
            yield full_data(judge.train)
        elif loaded is None:
            hint = "Leave --baseline out, or name a run or a set."
            raise UsageError(f"All of the data has no baseline {name}.", hint)
        else:
            yield _baseline(name, source, own, loaded, judge, questions, progress)


def _own(source: Source, train: RealClips, opened: contextlib.ExitStack) -> tuple[Subject, LoadedSet | None]:
    """Return the source itself as a subject, and its set if it has one; a clips file stays open as ``opened`` does."""
    if source.clips is not None:
        store = opened.enter_context(ClipStore.open(source.clips))
        spec = dataclasses.replace(train.spec, classes=tuple(store.classes), frames=store.frames)
        _check_same(source.name, dataclasses.replace(spec, height=store.height, width=store.width), train.spec)
        return full_data(RealClips(store.split("train"), train.spec, train.device).keep_on_device()), None
    if source.file is None:
        return full_data(train), None
    loaded = load_set(source.file, train.device)
    _check_fits(source.name, loaded, train.spec)
    preset = source.preset
    kind = loaded.synthetic.kind
    own = set_of_run(loaded, preset.kind.rows(preset)[0] if kind == preset.kind.name else kind)
    if source.run is not None and own.what == "random":
        own = random_clips(train, loaded.synthetic.ipc, preset.run.seed)
        if loaded.storage is not None:
            own = as_stored(own, loaded.storage, preset.evaluation.repeats)
    return own, loaded


def _baseline(
    name: str,
    source: Source,
    own: Subject,
    loaded: LoadedSet,
    judge: Judge,
    questions: Questions,
    progress: Report | None,
) -> Subject:
    synthetic, train = loaded.synthetic, judge.train
    if name == "random":
        return random_clips(train, synthetic.ipc, judge.seed)
    if name == CLASS_MEAN:
        return class_mean(train, judge.seed)
    if name in BASELINES:
        if name in synthetic.baselines():
            return of_baseline(loaded, name)
        memory = KINDS[name].parts[0].name
        lacks = f"is of kind {name} itself" if synthetic.kind == name else f"has no {memory} memory"
        problem = f"{one_line(source.name)} {lacks}, so there is no baseline {name}."
        raise UsageError(problem, "Leave that baseline out.")

    def watch(fraction: float) -> None:
        if progress is not None:
            progress(0, 1, "first one by whose features clips are chosen", fraction)

    most = max(train.available(label) for label in range(len(train.spec.classes)))
    order = random_order(train, judge.seed)
    if (method := chosen_by(name)) != "random":
        features = partial(judge.feature_network, source.preset.selection, watch)
        order = chosen_order(train, method, most, judge.seed, features, judge.precision)
    shelf = Shelf(name, train, own.nbytes, most, order, draws=judge.section.repeats, seed=judge.seed)
    return shelf.subject(_held(shelf, questions.baseline_storage))


def _held(shelf: Shelf, storage: str | None) -> Held[Rung]:
    """Return what ``shelf`` holds of clips that are stored as ``storage``; None: as FIXED, or coarser if it must be."""
    rungs = from_fixed(ladder(shelf.train.spec)) if storage is None else [Rung(str(Storage.parse(storage)))]
    for rung in rungs:
        # Asked before the network is trained by which clips are chosen.
        fewest = fewest_bytes(shelf.train, shelf.budget, rung.storage)
        if fewest <= shelf.budget and (found := shelf.held(rung)) is not None:
            return found
    why = f"the smallest take {fewest}" if fewest > shelf.budget else "those that are chosen take more"
    problem = f"{shelf.budget} bytes cannot hold one real clip of each class as {rungs[-1].storage}: {why}."
    coarser = "Store them coarser (--baseline-storage h264-51@16), or leave" if storage is not None else "Leave"
    raise DataError(problem, f"{coarser} compressed baselines out.")


def _check_fits(name: str, loaded: LoadedSet, real: ClipSpec) -> None:
    own = loaded.synthetic.spec
    _check_same(name, own, real)
    if (own.mean, own.std) != (real.mean, real.std):
        problem = f"{one_line(name)} was made with another normalisation than that of the data."
        raise DataError(problem, "Evaluate it on the data that it was made of: --data FILE.h5.")


def _check_same(name: str, own: ClipSpec, real: ClipSpec) -> None:
    """Raise DataError unless both have the same classes and clips of the same shape."""
    if own.classes != real.classes:
        problem = f"{one_line(name)} has {len(own.classes)} classes, and the data has {len(real.classes)} or others."
        raise DataError(
            problem, "Evaluate it on the data that it was made of: --data FILE.h5. Of an import, name it there."
        )
    shapes = [f"{s.frames} x {s.height} x {s.width}" for s in (own, real)]
    if shapes[0] != shapes[1]:
        problem = f"{one_line(name)} has clips of {shapes[0]}, and the data of {shapes[1]}."
        raise DataError(problem, "Prepare the data with the same --frames and --size.")
