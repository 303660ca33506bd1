"""The compressed baselines of a run: real clips in as many bytes as its set, stored as is best on the validation split.

The clips are encoded once and kept in the run's folder, trained networks too, so that a run that was cut goes on here
without doing anything again, and ends with the same bytes.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from engine.config.kinds import chosen_by
from engine.distilling.opening import Work
from engine.distilling.progress import TablePace
from engine.distilling.start_order import selecting_network
from engine.evaluation import Subject, Trial, stopped
from engine.evaluation.baselines import (
    Held,
    Shelf,
    chosen_order,
    fixed,
    held,
    judged_rungs,
    ladder,
    random_order,
)
from engine.events import NetworkTrained, Note
from engine.text import counted


def compressed_baseline(work: Work, what: str, budget: int, total: int) -> Subject | None:
    """Return the row ``what`` of real clips in ``budget`` bytes; None where it would say nothing, which is told.

    ``total`` is the number of networks of the final table.
    """
    shelf = _shelf(work, what, budget, total)
    rungs = ladder(work.spec)
    by_val = work.ladder_clips is not None
    found = held(shelf, rungs) if by_val else list(filter(None, [fixed(shelf, rungs)]))
    if not found:
        _tell(work, f"no {what}: {budget} bytes hold no real clip of each class, however it is stored")
        return None
    if chosen_by(what) != "random" and len(found) == 1 and found[0].per_class >= max(shelf.available):
        _tell(work, f"no {what}: all training clips fit into {budget} bytes, so that none have to be chosen")
        return None
    if len(found) == 1:
        why = "no other way keeps more of as many clips" if by_val else "fixed, since there is no validation split"
        subject = shelf.subject(found[0])
        _tell(work, f"{what}: stored as {subject.storage} ({why}), {_per_class(subject)}")
        return subject
    return _chosen(work, shelf, found, total)


def _per_class(subject: Subject) -> str:
    assert subject.ipc is not None
    return f"{counted(subject.ipc, 'clip')} per class"


def _shelf(work: Work, what: str, budget: int, total: int) -> Shelf:
    preset = work.preset
    most = preset.evaluation.baseline_clips * preset.synthetic.ipc
    order = random_order(work.train, work.seed)
    if (method := chosen_by(what)) != "random":
        text = f"{what}: training the network by which clips are chosen"
        features = partial(selecting_network, work, "evaluate", text, total)
        check = work.session.check
        order = chosen_order(work.train, method, most, work.seed, features, work.precision, check)
    return Shelf(
        what,
        work.train,
        budget,
        most,
        order,
        draws=max(preset.evaluation.repeats, preset.evaluation.selection_repeats),
        seed=work.seed,
        folder=work.session.run.baselines,
        check=work.session.check,
    )


def _chosen(work: Work, shelf: Shelf, found: list[Held], total: int) -> Subject:
    """The row of the rung whose networks are best on the validation split; of equally good ones the first counts."""
    assert work.val is not None
    session, what, number = work.session, shelf.what, work.preset.evaluation.selection_repeats
    titles = [f"choosing {what}, {one.rung.storage}" for one in found]
    pace = TablePace(session, "evaluate", titles, number, step=0, total=total)
    trials = []

    def finished(one: Held, trial: Trial) -> None:
        trials.append(trial)
        session.emit(
            NetworkTrained(f"{what} {one.rung.storage}", 0, "val", trial.seed, trial.outcome.top1, trial.seconds)
        )

    folder = session.run.evaluations
    accuracies = judged_rungs(shelf, found, work.judge, work.val, folder, pace.watch, finished)
    best = max(range(len(found)), key=lambda place: (accuracies[place], -place))
    subject = shelf.subject(found[best])
    text = f"{what}: stored as {subject.storage}, {_per_class(subject)}, which is the best on validation"
    _tell(work, f"{text} ({100 * accuracies[best]:.1f} %) of {len(found)} ways")
    if early := stopped(trials, work.preset.evaluation):
        _tell(work, f"{what}: {early}")
    tried = tuple(
        {"storage": one.rung.storage, "ipc": one.per_class, "bytes": one.nbytes, "accuracy": accuracy}
        for one, accuracy in zip(found, accuracies, strict=True)
    )
    return dataclasses.replace(subject, selected_on="val", ladder=tried)


def _tell(work: Work, text: str) -> None:
    work.session.emit(Note("info", text))
