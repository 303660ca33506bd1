"""The choice of how a budget of bytes is spent: frames, side, quality and instances per class, before stage 2.

Real clips, those that the set would start from, are stored on each rung of a ladder, as many as the budget holds; the
best rung is that whose networks are best on the validation split. The run then goes on from this start, at this rung:
what was chosen is written into its preset. Files and networks are kept, so that a run that was cut in between goes on
with what it has, and ends with the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from engine.config import Preset, read_preset, to_toml
from engine.config.budget import LADDER, Rung, fixed
from engine.config.kinds import KINDS
from engine.config.load import override
from engine.distilling.keeping import MARGIN, longest_origin, most_bytes, too_small
from engine.distilling.opening import Work, costs_ahead
from engine.distilling.progress import TablePace, UnitPace
from engine.distilling.start_order import start_order
from engine.errors import StopRequested
from engine.evaluation import Trial, mean_std, stopped
from engine.evaluation.rungs import Held, judged, worth_judging
from engine.events import BudgetSpent, NetworkTrained, Note, RungTried, StageFinished, StageStarted
from engine.files import write_bytes, write_json, write_text
from engine.seeds import generator
from engine.synthetic import SyntheticSet, Temporal, decode_set
from engine.synthetic.coded import write_learned
from engine.synthetic.compressed import fill
from engine.synthetic.container import unpack
from engine.synthetic.formation import Formation
from engine.synthetic.levels import to_levels
from engine.synthetic.pixels import pictures_of
from engine.synthetic.streams import Coded, Coding
from engine.text import counted

FORMAT, VERSION = "vdtui.budget", 1


def spend_budget(work: Work) -> Work:
    """Return ``work`` with the preset that spends its budget, which is written to the run's folder.

    The leader chooses, the others read what it has written. Raises UsageError, before anything is trained, if the
    budget holds not one clip of each class.
    """
    if work.group.leads:
        try:
            _choose(work)
        except StopRequested:
            work.group.agree(True, work.device)
            raise
    if work.group.agree(False, work.device):
        raise StopRequested("the leader stops")
    return dataclasses.replace(work, preset=read_preset(work.session.run.preset_file))


class StartClips:
    """The real clips that a set would start from, stored on rungs, as many of each class as the budget holds.

    No class gives more than the smallest has. Files are made once and kept in the run's folder.
    """

    what = "start"

    def __init__(self, work: Work) -> None:
        self._work = work
        self._train, self._spec = work.train, work.spec
        self._most = most_bytes(work.preset, len(work.spec.classes)) or 0
        self._origin = longest_origin(work.preset)
        labels = range(len(self._spec.classes))
        self.available = min(self._train.available(label) for label in labels)
        """Clips of the smallest class."""
        order = start_order(work, "budget", self.available)
        self._order = (
            [self._train.pick(label, self.available, generator(work.seed, "start", label)) for label in labels]
            if order is None
            else list(order)
        )
        self._files: dict[str, bytes] = {}

    def held(self) -> Iterator[Held[Rung]]:
        """Yield what the budget holds of each rung of the ladder, but of those that cannot be needed."""
        full: list[Rung] = []
        pace = UnitPace(self._work.session, "budget")
        for number, rung in enumerate(LADDER):
            if any(other.as_good(rung) for other in full) or not self._can_be(rung):
                continue
            pace.update(number, len(LADDER), f"real clips stored as {rung.storage}")
            file = self._files[rung.title] = self._kept(rung)
            fits = len(file) <= self._most - MARGIN
            per_class = int(unpack(file)[0]["ipc"]) if fits else 0
            if per_class == self.most(rung):
                full.append(rung)
            yield Held(rung, per_class, len(file))

    def most(self, rung: Rung) -> int:
        """Return the most clips of a class that a set on ``rung`` can have: those of whole pictures."""
        return self.available - self.available % rung.shared

    def decoded(self, one: Held[Rung], number: int) -> SyntheticSet:
        """Return the set in the file of a rung, the same for every network."""
        return decode_set(self._files[one.rung.title], self._train.device)

    def _kept(self, rung: Rung) -> bytes:
        """Return the file of ``rung``, from the run's folder if it is there."""
        key = json.dumps([self._train.digest(), self._most, dataclasses.asdict(self._origin), self._work.seed])
        name = f"{rung.title.replace(' ', '-')}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.vds"
        path = self._work.session.run.rungs / name
        if path.is_file():
            return path.read_bytes()
        content = self._made(rung)
        write_bytes(path, content)
        return content

    def _made(self, rung: Rung) -> bytes:
        codec, temporal, formation = Coding.parse(rung.how), self._temporal(rung), self._formation(rung)
        part = KINDS["pixels"].parts[0]

        def clips(number: int, labels: Sequence[int]) -> np.ndarray:
            first, last = number * rung.shared, (number + 1) * rung.shared
            chosen = torch.cat([self._order[label][first:last] for label in labels])
            memory = pictures_of(self._train.clips(chosen), temporal, formation).unsqueeze(1)
            levels, ranges = to_levels(part, memory.cpu(), self._spec)
            assert ranges is None, "real clips are pixels"
            return levels[:, 0]

        def write(coded: Sequence[Sequence[Coded]], number: int) -> bytes:
            return write_learned(self._spec, codec, coded, number, self._origin, temporal, formation)

        number = [self.most(rung) // rung.shared] * len(self._spec.classes)
        return fill(number, clips, codec, write, self._most - MARGIN, self._work.session.check)[1]

    def _temporal(self, rung: Rung) -> Temporal | None:
        stored = rung.values(1, self._spec.frames)["synthetic.n_syn"]
        return None if stored is None else Temporal(self._spec.frames, stored)

    def _formation(self, rung: Rung) -> Formation | None:
        return None if rung.formation is None else Formation(self._spec, rung.formation)

    def _can_be(self, rung: Rung) -> bool:
        """Return whether clips of this size, and as many, can be pictures of ``rung``."""
        return self.most(rung) > 0 and (rung.formation is None or Formation.fits(self._spec, rung.formation))


def _choose(work: Work) -> None:
    """Choose a rung and write the preset of it; raises UsageError if none holds a clip of each class."""
    session, preset = work.session, work.preset
    began = time.monotonic()
    session.emit(StageStarted("budget", 0, len(LADDER)))
    clips = StartClips(work)
    found = list(clips.held())
    rungs = worth_judging(found)
    if not rungs:
        smallest = min(found, key=lambda one: one.nbytes)
        what = f"one clip of each class takes {smallest.nbytes + MARGIN:,} bytes or more"
        raise too_small(preset, len(work.spec.classes), what, smallest.nbytes)
    by_val = work.ladder_clips is not None and len(rungs) > 1
    trials = _judged(work, clips, rungs) if by_val else {one.rung.title: [] for one in rungs}
    best = _best(rungs, trials)
    accuracy = _mean(trials[best.rung.title])
    write_json(session.run.budget_file, _document(work, found, trials, best, "val" if by_val else "none"))
    most = most_bytes(preset, len(work.spec.classes)) or 0
    session.emit(BudgetSpent(most, best.rung.title, best.rung.storage, best.per_class, best.nbytes, accuracy))
    if best.per_class == clips.most(best.rung):
        what = counted(best.per_class, "clip is", "clips are")
        whole = "" if best.per_class == clips.available else " in whole pictures"
        session.emit(Note("info", f"{what} all that the smallest class has{whole}, so no class gives more"))
    values = best.rung.values(best.per_class, work.spec.frames, preset.storage.every)
    chosen = override(preset, values, str(session.run.preset_file))
    session.emit(Note("info", costs_ahead(chosen, len(work.spec.classes), chooses=work.choosing is not None)))
    _write_preset(work, chosen)
    session.emit(StageFinished("budget", round(time.monotonic() - began, 3)))


def _judged(work: Work, clips: StartClips, rungs: Sequence[Held[Rung]]) -> dict[str, list[Trial]]:
    """Return the networks of each rung, by its title, and tell them."""
    assert work.val is not None
    session = work.session
    each = [f"{one.rung.title}, {counted(one.per_class, 'clip')} per class" for one in rungs]
    titles = [f"choosing how to spend the budget: {rung}" for rung in each]
    pace = TablePace(session, "budget", titles, work.preset.evaluation.selection_repeats)

    def finished(one: Held[Rung], trial: Trial) -> None:
        session.emit(NetworkTrained(one.rung.title, 0, "val", trial.seed, trial.outcome.top1, trial.seconds))

    trials = {}
    networks = judged(clips, rungs, work.judge, work.val, session.run.evaluations, pace.watch, finished)
    for one, own in networks:
        trials[one.rung.title] = own
        values = tuple(trial.outcome.top1 for trial in own)
        mean, std = mean_std(values, work.judge.protocol)
        session.emit(RungTried(one.rung.title, one.rung.storage, one.per_class, one.nbytes, mean, std, values))
    if early := stopped([trial for own in trials.values() for trial in own], work.preset.evaluation):
        session.emit(Note("info", early))
    return trials


def _best(rungs: Sequence[Held[Rung]], trials: dict[str, list[Trial]]) -> Held[Rung]:
    """Return the best on validation; of equally good ones, or where nothing was trained, what ``fixed`` says."""
    means = {one.rung: _mean(trials[one.rung.title]) or 0.0 for one in rungs}
    chosen = fixed([rung for rung in means if means[rung] == max(means.values())])
    return next(one for one in rungs if one.rung == chosen)


def _mean(trials: Sequence[Trial]) -> float | None:
    return mean_std([trial.outcome.top1 for trial in trials])[0] if trials else None


def _document(
    work: Work, found: Sequence[Held[Rung]], trials: dict[str, list[Trial]], best: Held[Rung], selected_on: str
) -> dict[str, object]:
    """Return what budget.json says (docs/formats.md, "Budget")."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "budget": work.preset.storage.budget,
        "bytes": most_bytes(work.preset, len(work.spec.classes)),
        "classes": len(work.spec.classes),
        "selected_on": selected_on,
        "chosen": best.rung.title,
        "rungs": [
            {
                "rung": one.rung.title,
                "storage": one.rung.storage,
                "ipc": one.per_class,
                "bytes": one.nbytes,
                "accuracy": _mean(trials.get(one.rung.title, [])),
                "values": [trial.outcome.top1 for trial in trials.get(one.rung.title, [])],
            }
            for one in found
        ],
    }


def _write_preset(work: Work, chosen: Preset) -> None:
    """Replace the run's preset; runs are listed by the age of that file, which stays."""
    file = work.session.run.preset_file
    before = file.stat()
    write_text(file, to_toml(chosen))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
