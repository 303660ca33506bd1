"""The final table of a run: the accuracy of networks that learn from its set, or from a rival, on the test split.

Random real clips of the same number stand in every table: a set that does not beat them has distilled nothing.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

from engine.distilling.keeping import storage_of
from engine.distilling.opening import Work
from engine.distilling.progress import TablePace
from engine.evaluation import Subject, Trial, TrialCache
from engine.evaluation.rows import Row, judged
from engine.evaluation.subjects import as_stored, full_data, of_baseline, random_clips, set_of_run
from engine.events import Evaluated, NetworkTrained, Note, Progress, ResultReady, StageFinished, StageStarted
from engine.files import write_json
from engine.synthetic import load_set


def final_table(work: Work) -> None:
    """Train and test the networks of every row, under every model of the preset."""
    session, evaluation = work.session, work.preset.evaluation
    rows = [_row(work, subject, model) for model in evaluation.models for subject in subjects(work)]
    total, done = len(rows) * evaluation.repeats, itertools.count(1)
    began = time.monotonic()
    session.emit(StageStarted("evaluate", 0, total))
    pace = TablePace(session, "evaluate", [_title(work, row) for row in rows], evaluation.repeats)

    def finished(row: Row, trial: Trial) -> None:
        session.emit(Progress("evaluate", next(done), total, 0.0, ""))
        name, step = row.subject.what, row.subject.step or 0
        session.emit(NetworkTrained(name, step, "test", trial.seed, trial.outcome.top1, trial.seconds))

    for row, document in judged(rows, work.judge, work.test, work.fingerprint, pace.watch, finished):
        _report(work, row, document)
    session.emit(StageFinished("evaluate", round(time.monotonic() - began, 3)))


def _row(work: Work, subject: Subject, model: str) -> Row:
    name = f"{subject.what}-{model}-test-{subject.step or 0:06d}"
    cache = TrialCache(work.session.run.evaluations, name)
    return Row(subject, work.judge.recipe(model, subject.step_size), cache)


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


def subjects(work: Work) -> Iterator[Subject]:
    """Yield the rows of the final table: the run's own set, and its baselines of as many instances."""
    preset = work.preset
    real = {
        "full": lambda: full_data(work.train),
        "random": lambda: _random(work),
    }
    rows = preset.kind.rows(preset)
    chosen = None if set(rows) <= set(real) else load_set(work.session.run.best, work.device)
    for name in rows:
        if name in real:
            yield real[name]()
        else:
            assert chosen is not None
            yield set_of_run(chosen, name) if name == rows[0] else of_baseline(chosen, name)
