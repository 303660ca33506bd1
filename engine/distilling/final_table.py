"""The final table of a run: what networks learn from its set, and from its rivals, on the test split.

Random real clips of the same number stand in every table: a set that does not beat them has distilled nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator
from functools import partial

from engine.distilling.opening import Work
from engine.distilling.progress import TablePace
from engine.evaluation import Recipe, Request, Subject, Trainers, Trial, TrialCache, result
from engine.evaluation.subjects import full_data, of_set, random_clips, set_of_run
from engine.events import Evaluated, NetworkTrained, Note, Progress, ResultReady, StageFinished, StageStarted
from engine.files import write_json
from engine.synthetic import load_set


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
    preset = work.preset
    real = {
        "full": lambda: full_data(work.train),
        "random": lambda: random_clips(work.train, preset.synthetic.ipc, work.seed),
    }
    rows = preset.kind.rows(preset)
    chosen = None if set(rows) <= set(real) else load_set(work.session.run.best, work.device)
    for what in rows:
        if what in real:
            yield real[what]()
        else:
            assert chosen is not None
            yield set_of_run(chosen, what) if what == rows[0] else of_set(what, chosen.synthetic.baselines()[what])
