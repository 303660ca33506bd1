"""The final table of a run: the accuracy of networks that learn from its set, or from a baseline, on the test split.

Real clips stand in every table, as many as the set has, or as many as its bytes can hold: a set that does not beat them
has distilled nothing.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

from engine.config.kinds import CLASS_MEAN, COMPRESSED
from engine.distilling.baselines import compressed_baseline
from engine.distilling.keeping import storage_of
from engine.distilling.opening import Work
from engine.distilling.progress import TablePace
from engine.evaluation import Subject, Trial, TrialCache
from engine.evaluation.baselines import all_clips
from engine.evaluation.rows import Row, judged
from engine.evaluation.subjects import as_stored, class_mean, full_data, of_baseline, random_clips, set_of_run
from engine.events import Evaluated, NetworkTrained, Note, Progress, ResultReady, StageFinished, StageStarted
from engine.files import write_json
from engine.synthetic import load_set


def final_table(work: Work) -> None:
    """Train and test the networks of every row, under every model of the preset."""
    session, evaluation = work.session, work.preset.evaluation
    planned = len(work.preset.kind.rows(work.preset)) * len(evaluation.models) * evaluation.repeats
    began = time.monotonic()
    session.emit(StageStarted("evaluate", 0, planned))
    found = list(subjects(work, planned))
    rows = [_row(work, subject, model) for model in evaluation.models for subject in found]
    total, done = len(rows) * evaluation.repeats, itertools.count(1)
    pace = TablePace(session, "evaluate", [_title(work, row) for row in rows], evaluation.repeats)
    all_real = _all_real(work)

    def finished(row: Row, trial: Trial) -> None:
        session.emit(Progress("evaluate", next(done), total, 0.0, ""))
        name, step = row.subject.what, row.subject.step or 0
        session.emit(NetworkTrained(name, step, "test", trial.seed, trial.outcome.top1, trial.seconds))

    for row, document in judged(rows, work.judge, work.test, work.fingerprint, pace.watch, finished):
        if row.subject is found[0] and all_real is not None:
            document["all_clips"] = all_real
        _report(work, row, document)
    session.emit(StageFinished("evaluate", round(time.monotonic() - began, 3)))


def _row(work: Work, subject: Subject, model: str) -> Row:
    name = f"{subject.what}-{model}-test-{subject.step or 0:06d}"
    cache = TrialCache(work.session.run.evaluations, name)
    return Row(subject, work.judge.recipe(model, "final", subject.step_size), cache)


def _report(work: Work, row: Row, document: dict[str, Any]) -> None:
    session, subject, top1 = work.session, row.subject, document["top1"]
    values, seconds = tuple(top1["values"]), document["seconds"]
    session.emit(Evaluated(subject.what, subject.step or 0, "test", top1["mean"], top1["std"], values, seconds))
    session.emit(ResultReady(document))
    if document["caution"]:
        session.emit(Note("warning", f"{_title(work, row)}: {document['caution']}"))
    write_json(session.run.evaluations / f"result-{subject.what}-{row.recipe.model}.json", document)


def _title(work: Work, row: Row) -> str:
    name = row.subject.what
    return name if len(work.preset.evaluation.models) == 1 else f"{name}, {row.recipe.model}"


# --- rows ------------------------------------------------------------------------------------------------------------


def _random(work: Work) -> Subject:
    """Return random real clips; where they are the run's own set, as they come out of its file."""
    preset = work.preset
    clips = random_clips(work.train, preset.synthetic.ipc, work.seed)
    if preset.kind.rows(preset)[0] == "random" and (how := storage_of(preset)).precision is None:
        return as_stored(clips, how, preset.evaluation.repeats)
    return clips


def subjects(work: Work, total: int) -> Iterator[Subject]:
    """Yield the rows of the final table of ``total`` networks: the run's own set, then what stands beside it.

    Compressed baselines are chosen here, which takes networks of their own.
    """
    preset = work.preset
    real = {
        "full": lambda: full_data(work.train),
        "random": lambda: _random(work),
        CLASS_MEAN: lambda: class_mean(work.train, work.seed, work.session.check),
    }
    own, *beside = preset.kind.rows(preset)
    needs_set = bool({own, *beside} - set(real))
    chosen = load_set(work.session.run.best, work.device) if needs_set else None
    first = real[own]() if chosen is None or own in real else set_of_run(chosen, own)
    yield first
    for name in beside:
        if name in COMPRESSED:
            if (found := compressed_baseline(work, name, first.nbytes, total)) is not None:
                yield found
        elif name in real:
            yield real[name]()
        elif chosen is not None:
            yield of_baseline(chosen, name)


def _all_real(work: Work) -> dict[str, Any] | None:
    """Return the bytes of all training clips, where some are compressed to stand beside the set."""
    if not set(COMPRESSED) & set(work.preset.kind.rows(work.preset)):
        return None
    return all_clips(work.train, work.seed, work.session.run.baselines / "all-clips.json")
