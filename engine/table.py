"""The final table of a run: what networks learn from its set, and from its rivals, on the test split.

Random real clips of the same number stand in every table: a set that does not beat them has distilled nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator
from functools import partial

import torch

from engine.data.batches import RealClips
from engine.evaluation import Recipe, Request, Subject, Trainers, Trial, TrialCache, result
from engine.events import Evaluated, NetworkTrained, Note, Progress, ResultReady, StageFinished, StageStarted
from engine.models import Network
from engine.pace import TablePace
from engine.runs.files import write_json
from engine.seeds import generator
from engine.selection import coreset, select_coreset
from engine.synthetic import Coreset, LoadedSet, StaticDynamic, StillVideo, SyntheticSet, load_set
from engine.synthetic.compressed import Storage, Stored, compressed_clips, encode_set
from engine.work import Work


def final_table(work: Work) -> None:
    """Train and test the networks of every row, under every model of the preset."""
    session, evaluation = work.session, work.preset.evaluation
    rows = [_Row.of(work, subject, model) for model in evaluation.models for subject in subjects(work)]
    total = len(rows) * evaluation.repeats
    began = time.monotonic()
    session.emit(StageStarted("evaluate", 0, total))
    titles = [_titled(row.subject, row.model, evaluation.models) for row in rows]
    pace = TablePace(session, "evaluate", titles, evaluation.repeats)
    done = 0
    with Trainers(work.device) as trainers:
        asked = (request for row in rows for request in row.requests(work))
        trained = trainers.trials(asked, work.judge.at_once("final"), pace.watch)
        for row in rows:
            trials: list[Trial] = []
            for trial in itertools.islice(trained, evaluation.repeats):
                trials.append(trial)
                done += 1
                session.emit(Progress("evaluate", done, total, 0.0, ""))
                what, step = row.subject.what, row.subject.step or 0
                session.emit(NetworkTrained(what, step, "test", trial.seed, trial.outcome.top1, trial.seconds))
            _report(work, row.subject, row.model, trials, row.recipe)
    session.emit(StageFinished("evaluate", round(time.monotonic() - began, 3)))


@dataclasses.dataclass(frozen=True)
class _Row:
    subject: Subject
    model: str
    recipe: Recipe

    @classmethod
    def of(cls, work: Work, subject: Subject, model: str) -> _Row:
        return cls(subject, model, work.judge.recipe(model, subject.step_size))

    def requests(self, work: Work) -> Iterator[Request]:
        name = f"{_stem(self.subject, self.model)}-test-{self.subject.step or 0:06d}"
        cache = TrialCache(work.session.run.evaluations, name)
        for k, seed in enumerate(work.judge.seeds("final", work.preset.evaluation.repeats)):
            yield work.judge.request(partial(self.subject.data, k), work.test, self.recipe, seed, cache)


def _report(work: Work, subject: Subject, model: str, trials: list[Trial], recipe: Recipe) -> None:
    row = result(subject, trials, recipe, work.fingerprint, work.test.several_clips)
    top1, step = row["top1"], subject.step or 0
    values = tuple(top1["values"])
    work.session.emit(Evaluated(subject.what, step, "test", top1["mean"], top1["std"], values, row["seconds"]))
    work.session.emit(ResultReady(row))
    if row["caution"]:
        title = _titled(subject, model, work.preset.evaluation.models)
        work.session.emit(Note("warning", f"{title}: {row['caution']}"))
    write_json(work.session.run.evaluations / f"result-{_stem(subject, model)}.json", row)


def _stem(subject: Subject, model: str) -> str:
    return f"{subject.what}-{model}"


def _titled(subject: Subject, model: str, models: tuple[str, ...]) -> str:
    return subject.what if len(models) == 1 else f"{subject.what}, {model}"


# --- rows ------------------------------------------------------------------------------------------------------------


def subjects(work: Work) -> Iterator[Subject]:
    """The rows of the final table: the run's own set, and its rivals of as many instances."""
    table = work.preset.synthetic
    if table.kind == "full":
        yield full_data(work.train)
        return
    method = work.preset.selection.method if table.kind == "coreset" else "coreset"
    random = random_clips(work.train, table.ipc, work.seed)
    if method == "random":
        yield random
        return
    chosen = load_set(work.session.run.best, work.device)
    yield set_of_run(chosen, method)
    yield random
    if isinstance(chosen.synthetic, StaticDynamic) and chosen.synthetic.statics_per_instance:
        yield still_video(chosen.synthetic)


def set_of_run(chosen: LoadedSet, method: str) -> Subject:
    """The set that was learned, or the coreset that was chosen by ``method``, at the precision of its file."""
    origin = chosen.provenance
    if isinstance(chosen.synthetic, Coreset):
        return of_set(method, chosen.synthetic, chosen.precision)
    return dataclasses.replace(
        of_set(chosen.synthetic.kind, chosen.synthetic, chosen.precision),
        selected_on=origin.selected_on,
        step=origin.step,
        step_size=origin.step_size,
    )


def of_set(what: str, synthetic: SyntheticSet, precision: str) -> Subject:
    """A set that is the same for all networks."""
    return Subject(
        what,
        lambda k: synthetic,
        synthetic.ipc,
        synthetic.nbytes(precision),
        synthetic.stored_values,
        precision,
        distinct_clips=_distinct_clips(synthetic),
    )


def _distinct_clips(synthetic: SyntheticSet) -> int | None:
    """How many clips a coreset has, if it has fewer than instances."""
    if not isinstance(synthetic, Coreset):
        return None
    number = sum(synthetic.distinct)
    return number if number < len(synthetic.spec.classes) * synthetic.ipc else None


def still_video(synthetic: StaticDynamic) -> Subject:
    """The static memory alone, as clips that do not move."""
    still = StillVideo(synthetic.spec, synthetic.ipc, synthetic.static)
    return of_set(still.kind, still, "float32")


def random_clips(train: RealClips, ipc: int, seed: int) -> Subject:
    """``ipc`` random real training clips per class, drawn anew for every network; a small class repeats its own."""

    def drawn(k: int) -> Coreset:
        return coreset(train, select_coreset(train, "random", ipc, seed, number=k))

    return dataclasses.replace(of_set("random", drawn(0), "uint8"), data=drawn, drawn=True)


def full_data(train: RealClips) -> Subject:
    """All clips that may be learned from."""
    spec = train.spec
    values = len(train) * spec.frames * spec.height * spec.width * 3
    return Subject("full", lambda k: train, None, values, values, "uint8")


def as_stored(subject: Subject, how: Storage, networks: int) -> Subject:
    """``subject`` as it comes out of a file that stores it as ``how``; its bytes are those of the (largest) file."""

    def encoded(k: int) -> Stored:
        synthetic = subject.data(k)
        assert isinstance(synthetic, SyntheticSet)
        return encode_set(synthetic, how)

    files = {k: encoded(k) for k in range(networks)} if subject.drawn else {0: encoded(0)}
    first = subject.data(0)
    return dataclasses.replace(
        subject,
        data=lambda k: files[k if subject.drawn else 0].decode(first.device),
        nbytes=max(len(stored.blob) for stored in files.values()),
        precision=how.precision or "codec",
        storage=str(how),
    )


def compressed_real(
    train: RealClips,
    budget: int,
    how: Storage,
    seed: int,
    networks: int,
    network: Network | None,
    precision: torch.dtype,
) -> Subject:
    """The honest rival: as many real clips of each class as ``budget`` bytes hold, stored as ``how``.

    Random ones, drawn anew for each network, or with a ``network`` those that herding takes first by its features.
    Raises DataError if not one clip of each class fits.
    """

    def filled(k: int) -> tuple[Stored, Coreset]:
        order = [
            train.pick(label, train.available(label), generator(seed, "compressed-random", k, label))
            for label in range(len(train.spec.classes))
        ]
        if network is not None:
            most = max(len(own) for own in order)
            order = list(select_coreset(train, "herding", most, seed, network, precision))
        return compressed_clips(train, budget, order, how)

    sets = {k: filled(k) for k in range(1 if network is not None else networks)}
    _, first = sets[0]
    return Subject(
        "compressed-random" if network is None else "compressed-herding",
        lambda k: sets[k if network is None else 0][1],
        first.ipc,
        max(len(stored.blob) for stored, _ in sets.values()),
        first.stored_values,
        "codec",
        storage=str(how),
        drawn=network is None,
        distinct_clips=_distinct_clips(first),
    )
