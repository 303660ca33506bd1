"""The beginning of a run: its data are opened, what is used is recorded, and the user is told what is ahead.

``Work`` is the outcome, which every stage gets.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engine.config import Preset
from engine.config.counts import baseline_networks, budget_networks, candidates, clips_shown
from engine.data.batches import RealClips
from engine.data.spec import ClipSpec
from engine.data.store import ClipStore
from engine.distilling.progress import UnitPace
from engine.errors import StopRequested
from engine.evaluation.judge import Judge, precision_of
from engine.evaluation.parts import open_parts
from engine.evaluation.subjects import counted_classes, scarce_coreset
from engine.events import Note, Split, StageFinished, StageStarted
from engine.files import write_json
from engine.machine.process_group import ALONE, Group
from engine.models import choose_precision
from engine.models.measured import Chosen
from engine.runs.session import Serve, Session
from engine.text import counted


@dataclass(frozen=True, kw_only=True)
class Work:
    """The surroundings of every stage: the run, its preset, the data in three parts, and where to compute."""

    session: Session
    preset: Preset
    spec: ClipSpec
    fingerprint: str
    train: RealClips
    val: RealClips | None
    test: RealClips
    device: torch.device
    precision: torch.dtype
    judge: Judge
    group: Group = ALONE

    def check(self, serve: Serve | None = None) -> None:
        """Wait while paused; raise StopRequested, in every process, when the run shall stop. At a step boundary.

        ``serve`` carries out what was asked for once, in the leader: see ``Session.check``.
        """
        try:
            self.session.check(serve)
        except StopRequested:
            self.group.agree(True, self.device)
            raise
        if self.group.agree(False, self.device):
            raise StopRequested("the leader stops")

    @property
    def seed(self) -> int:
        """The one seed of the run."""
        return self.preset.run.seed

    @property
    def ladder_clips(self) -> RealClips | None:
        """Return the clips on which a rung of a ladder is chosen: validation, unless the protocol chooses on test."""
        return self.val if self.judge.protocol.selected_on == "val" else None

    @property
    def choosing(self) -> tuple[RealClips, Split] | None:
        """The clips on which the iteration is chosen, and the name of their split; None: the last one is taken."""
        if self.judge.protocol.selected_on == "test":
            return self.test, "test"
        return None if self.val is None else (self.val, "val")


def prepare(session: Session, preset: Preset, device: torch.device, group: Group = ALONE) -> Work:
    """Open the clips, or make the demo's, hold a validation split out of training, and record what is used."""
    began = time.monotonic()
    runs = session.run.path.parent
    session.emit(StageStarted("prepare", 0, 1))
    parts = open_parts(runs, preset, device, UnitPace(session, "prepare").update, session.check)
    chosen = _chosen(session, preset, parts.spec, device, group)
    precision = chosen.precision
    work = Work(
        session=session,
        preset=preset,
        spec=parts.spec,
        fingerprint=parts.store.fingerprint,
        train=parts.train,
        val=parts.val,
        test=parts.test,
        device=device,
        precision=precision,
        judge=Judge.of(preset, parts.train, precision, runs),
        group=group,
    )
    if group.leads:
        _record_meta(work, parts.store, chosen)
    for note in _notes_before(work):
        session.emit(note)
    session.emit(StageFinished("prepare", round(time.monotonic() - began, 3)))
    return work


def _chosen(session: Session, preset: Preset, spec: ClipSpec, device: torch.device, group: Group) -> Chosen:
    """Return the number format of network passes: a run that goes on keeps the one that it began with."""
    chosen = Chosen(torch.float32)  # the leader decides
    if group.leads:
        began = Chosen.of_record(session.run.meta())
        if preset.run.precision == "auto" and began is not None:
            chosen = began
            if chosen.precision == torch.bfloat16 and choose_precision("auto", device) == torch.float32:
                text = "this run began in bfloat16 and goes on in it, which this device is slow at"
                session.emit(Note("warning", text))
        else:
            runs = session.run.path.parent
            chosen = precision_of(preset, len(spec.classes), spec.frames, spec.height, device, runs)
    same = group.agree(chosen.precision == torch.bfloat16, device)
    return dataclasses.replace(chosen, precision=torch.bfloat16 if same else torch.float32)


def _notes_before(work: Work) -> Iterator[Note]:
    """Yield what a user should know before anything is learned: the data, the costs, and what may disappoint."""
    preset, spec, protocol = work.preset, work.spec, work.judge.protocol
    splits = f"{len(work.train)} training, {len(work.val or ())} validation, {len(work.test)} test clips"
    shape = f"{spec.frames} x {spec.height} x {spec.width}"
    yield Note("info", f"{len(spec.classes)} classes, {splits} of {shape}; networks in {_name(work.precision)}")
    yield Note("info", costs_ahead(preset, len(spec.classes), chooses=work.choosing is not None))
    for text in scarce_clips(preset, work.train):
        yield Note("warning", text)
    if protocol.selected_on == "test":
        text = f"protocol {protocol.name}, as published: the best iteration is chosen on the test split"
        yield Note("warning", f"{text}, which flatters the number")
    elif work.val is None and "dynamic" in preset.stages:
        yield Note("warning", "no validation split: the last iteration is taken, not the best one")


def costs_ahead(preset: Preset, classes: int, *, chooses: bool) -> str:
    """Return what the run will cost in units that do not depend on the machine: experts, steps, networks, clips.

    ``chooses`` says that there are clips to choose the iteration by.
    """
    evaluation = preset.evaluation
    models = "" if len(evaluation.models) == 1 else f"{len(evaluation.models)} models x "
    if "dynamic" not in preset.stages:
        final = counted(evaluation.repeats, "network")
        return f"ahead: {models}{final} for every row of the final table{_baselines(preset)}"
    experts = f"{counted(preset.experts.number, 'expert')}, " if "experts" in preset.stages else ""
    static = f"{experts}{preset.static.steps} static and " if "static" in preset.stages else experts
    steps = counted(preset.dynamic.steps, "dynamic step")
    evaluations = candidates(preset.dynamic) if chooses else 0
    rows, clips = len(preset.kind.rows(preset)), clips_shown(evaluation, classes * preset.synthetic.ipc)
    trained = counted(round(clips), "clip")
    if preset.storage.open_budget:
        trained = "as many clips as the budget holds"
    if evaluation.steps:
        trained = f"what it learns from, for {counted(evaluation.steps, 'step')}"
    tried = budget_networks(preset)
    choice = f"up to {counted(tried, 'network')} to choose how {preset.storage.budget} per class are spent, "
    first = choice if chooses and tried else ""
    return (
        f"ahead: {first}{static}{steps}, {evaluations} x {evaluation.selection_repeats} networks to "
        f"choose the iteration, {models}{rows} x {evaluation.repeats} for the final table; each is trained on "
        + trained
        + _baselines(preset)
    )


def _baselines(preset: Preset) -> str:
    """Return what compressed baselines may cost beside, or ""."""
    most = baseline_networks(preset)
    if not most:
        return ""
    times = preset.evaluation.baseline_clips
    choose = counted(most, "network chooses", "networks choose")
    return f"; compressed baselines on up to {times} times as many, and up to {choose} their storage"


def scarce_clips(preset: Preset, train: RealClips) -> list[str]:
    """Return warnings of classes of ``train`` that have fewer clips than ``preset`` wants of each."""
    warnings = []
    wanted = preset.kind.start_clips(preset)
    if few := train.fewer(wanted):
        start = f"the memories start from {wanted} real clips of each class"
        again = "clips are taken again, and memories that start alike may stay alike"
        warnings.append(f"{start}, but of training clips {counted_classes(few)}; {again}")
    if preset.kind.parts and (text := scarce_coreset(train, preset.synthetic.ipc)):
        warnings.append(f"beside the set, {text}" if preset.kind.learned else text)
    return warnings


def experts_folder(runs: Path) -> Path:
    """Return the folder in which the runs of the folder ``runs`` keep their experts, and share them."""
    return runs / ".data" / "experts"


def _record_meta(work: Work, store: ClipStore, chosen: Chosen) -> None:
    """Add device, threads and data to meta.json, which are known only now."""
    run = work.session.run
    meta = run.meta()
    threads = torch.get_num_threads()
    if meta.get("threads", threads) != threads:
        text = f"this run began with {meta['threads']} threads and goes on with {threads}: its bytes may differ"
        work.session.emit(Note("warning", text))
    described = torch.cuda.get_device_name(work.device) if work.device.type == "cuda" else str(work.device)
    meta |= {
        "device": described,
        "threads": threads,
        **chosen.record(),
        "data_fingerprint": work.fingerprint,
        "dataset": store.dataset,
        "layout": store.layout,
        "classes": list(work.spec.classes),
        "data_clips": {"train": len(work.train), "val": len(work.val or ()), "test": len(work.test)},
        "data_bytes": len(work.train) * int(np.prod(store.clip_shape)),
    }
    write_json(run.meta_file, meta)


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")
