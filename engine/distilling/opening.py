"""What every stage of a run works with: the data in three parts, normalisation, device, precision.

Opening the data, checking it against the preset and holding a validation split out of training happens here, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engine.config import Preset
from engine.config.counts import candidates
from engine.data.batches import RealClips
from engine.data.opening import open_data
from engine.data.spec import ClipSpec
from engine.data.store import ClipStore
from engine.distilling.progress import UnitPace
from engine.errors import StopRequested
from engine.evaluation.judge import Judge, networks_folder, train_and_val
from engine.evaluation.subjects import counted_classes, scarce_coreset
from engine.events import Note, StageFinished, StageStarted
from engine.files import write_json
from engine.machine.process_group import ALONE, Group
from engine.models import check_model, choose_precision
from engine.runs.session import RunSession


@dataclass(frozen=True)
class Work:
    """What every stage needs: the run, its preset, the data in three parts, and where to compute."""

    session: RunSession
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

    def check(self, serve: Callable[[str], None] | None = None) -> None:
        """At a step boundary: wait while paused; raise StopRequested, in every process, when the run shall stop.

        ``serve`` does what is asked for once, in the leader: see ``RunSession.check``.
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
    def choosing(self) -> tuple[RealClips, str] | None:
        """The clips on which the iteration is chosen, and the name of their split; None: the last one is taken."""
        if self.judge.protocol.selected_on == "test":
            return self.test, "test"
        return None if self.val is None else (self.val, "val")


def prepare(session: RunSession, preset: Preset, device: torch.device, group: Group = ALONE) -> Work:
    """Open the clips, or make the demo's, hold a validation split out of training, and record what is used."""
    began = time.monotonic()
    session.emit(StageStarted("prepare", 0, 1))
    pace = UnitPace(session, "prepare")
    store = open_data(session.run.path.parent, preset, pace.update, session.check)
    spec = ClipSpec(store.classes, store.frames, store.height, store.width, store.mean, store.std)
    for model in preset.evaluation.models:
        check_model(model, spec.frames, spec.height)
    train, val = train_and_val(store, preset)
    test = store.split("test")
    precision = choose_precision(preset.run.precision, device)
    real_train = RealClips(train, spec, device).keep_on_device()
    networks = networks_folder(session.run.path.parent)
    work = Work(
        session,
        preset,
        spec,
        store.fingerprint,
        real_train,
        RealClips(val, spec, device).keep_on_device() if len(val) else None,
        RealClips(test, spec, device).keep_on_device(),
        device,
        precision,
        Judge(preset.evaluation, real_train, preset.run.seed, precision, networks),
        group,
    )
    if group.leads:
        record_meta(work, store)
    counts = f"{len(spec.classes)} classes, {len(train)} training, {len(val)} validation, {len(test)} test clips"
    session.emit(
        Note("info", f"{counts} of {spec.frames} x {spec.height} x {spec.width}; networks in {_name(precision)}")
    )
    session.emit(Note("info", ahead(work)))
    for text in scarce_clips(preset, real_train):
        session.emit(Note("warning", text))
    if work.judge.protocol.selected_on == "test":
        text = f"protocol {work.judge.protocol.name}, as published: the best iteration is chosen on the test split"
        session.emit(Note("warning", f"{text}, which flatters the number"))
    elif work.val is None and "dynamic" in preset.stages:
        session.emit(Note("warning", "no validation split: the last iteration is taken, not the best one"))
    session.emit(StageFinished("prepare", round(time.monotonic() - began, 3)))
    return work


def ahead(work: Work) -> str:
    """What the run will cost, in units that do not depend on the machine; the pace of each is told as it goes."""
    preset, evaluation = work.preset, work.preset.evaluation
    models = "" if len(evaluation.models) == 1 else f"{len(evaluation.models)} models x "
    if "dynamic" not in preset.stages:
        return f"ahead: {models}{evaluation.repeats} networks for every row of the final table"
    experts = f"{preset.experts.number} experts, " if "experts" in preset.stages else ""
    static = f"{experts}{preset.static.steps} static and " if "static" in preset.stages else experts
    steps = preset.dynamic.steps
    evaluations = candidates(preset.dynamic) if work.choosing is not None else 0
    rows, clips = len(preset.kind.rows(preset)), evaluation.epochs * len(work.spec.classes) * preset.synthetic.ipc
    return (
        f"ahead: {static}{steps} dynamic steps, {evaluations} x {evaluation.selection_repeats} networks to choose the "
        f"iteration, {models}{rows} x {evaluation.repeats} for the final table; each is trained on "
        f"{clips:,} clips"
    )


def scarce_clips(preset: Preset, train: RealClips) -> list[str]:
    """What to warn of where classes of ``train`` have fewer clips than ``preset`` wants of each."""
    said = []
    wanted = preset.kind.start_clips(preset)
    if few := train.fewer(wanted):
        asked = f"the memories start from {wanted} real clips of each class"
        again = "clips are taken again, and memories that start alike may stay alike"
        said.append(f"{asked}, but of training clips {counted_classes(few)}; {again}")
    if preset.kind.parts and (text := scarce_coreset(train, preset.synthetic.ipc)):
        said.append(f"beside the set, {text}" if preset.kind.learned else text)
    return said


def experts_folder(runs: Path) -> Path:
    """Where the runs of the folder ``runs`` keep their experts, and share them."""
    return runs / ".data" / "experts"


def record_meta(work: Work, store: ClipStore) -> None:
    """Add to meta.json what is known only now: device, threads, data."""
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
        "precision": _name(work.precision),
        "data_fingerprint": work.fingerprint,
        "dataset": store.dataset,
        "classes": list(work.spec.classes),
        "data_clips": {"train": len(work.train), "val": len(work.val or ()), "test": len(work.test)},
        "data_bytes": len(work.train) * int(np.prod(store.clip_shape)),
    }
    write_json(run.meta_file, meta)


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")
