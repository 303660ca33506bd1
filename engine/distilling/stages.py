"""The two stages of a distillation, from data to report, readable from top to bottom.

A run is: prepare (open or make the data), budget (where its bytes are given: how they are spent), experts (where
trajectories are matched), static (still images, by gradient matching), dynamic (dynamic memory and hallucinator, by any
objective; the validation split chooses the iteration) or,
for a coreset, select (real clips are chosen), and evaluate (the final table on the test split). Everything that
happens is emitted as an event; everything that could be lost is in a checkpoint. All randomness is derived from the
seed by name and step, so a resumed run is the run that was never stopped. A run of kind static-only ends with its
still images; one without still images has no stage static.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from engine.config import Preset, earlier, outdated
from engine.config.networks import still_network
from engine.data.batches import RealClips
from engine.distilling.budget import spend_budget
from engine.distilling.choosing import NoChoice, choice_of_iteration
from engine.distilling.final_table import final_table
from engine.distilling.keeping import keep_set
from engine.distilling.learning import Learning
from engine.distilling.opening import Work, experts_folder, prepare
from engine.distilling.optimisers import dynamic_optimiser, static_optimiser
from engine.distilling.previews import save_preview
from engine.distilling.progress import UnitPace
from engine.distilling.start_order import selecting_network, start_order
from engine.errors import DataError, RunError
from engine.evaluation.judge import precision_of
from engine.evaluation.parts import open_parts
from engine.events import Note, PreviewSaved, RunStarted, StageFinished, StageStarted
from engine.export.report import write_html
from engine.machine.process_group import joined, local_device
from engine.matching import Setting, clips_objective, stills_objective
from engine.matching.experts import Trajectories, open_or_train
from engine.matching.kernel import start_labels
from engine.models import Network, choose_device, still_model, video_model
from engine.models.precision import deterministic
from engine.runs.checkpoints import Checkpoint
from engine.runs.session import Session
from engine.seeds import derive, stage_seed
from engine.selection import select_coreset
from engine.synthetic import Provenance, Start, StaticImages, SyntheticSet, set_class
from engine.text import counted


def distill(session: Session, preset: Preset) -> None:
    """Run ``preset`` from its last checkpoint, or from the beginning, to its report.

    Of several processes (``engine.machine.process_group``) all learn, and the leader does the rest. Raises
    StopRequested when the run is asked to stop (its state is saved), and VdtuiError for what a user can mend.
    """
    checkpoint = session.load_checkpoint()
    device = choose_device(local_device(preset.run.device))
    session.emit(RunStarted(session.run.name, preset.run.seed, str(device), preset.stages, checkpoint is not None))
    with deterministic(), joined(device) as group:
        work = prepare(session, preset, device, group)
        if preset.storage.open_budget:
            work = spend_budget(work)
            preset = work.preset
        stages = preset.stages
        reached = stages.index(checkpoint.stage) if checkpoint else 0
        if checkpoint is not None and checkpoint.document.get("data") != work.fingerprint:
            problem = "The data is not the one that this run was started with."
            raise DataError(problem, "Put the original clips file back, or start a new run.")
        if checkpoint is not None and checkpoint.stage == "dynamic":
            refuse_outdated(checkpoint, preset)
        trajectories = None
        if "experts" in stages and reached <= stages.index("dynamic"):
            trajectories = expert_trajectories(work)
        if "select" in stages and reached <= stages.index("select"):
            choose_coreset(work)
        static = None
        if "static" in stages:
            static = learn_static(work, checkpoint if reached <= stages.index("static") else None, checkpoint)
            if "dynamic" not in stages and reached <= stages.index("static"):
                keep_still(work, static)
        if "dynamic" in stages and reached <= stages.index("dynamic"):
            resume = checkpoint if checkpoint and checkpoint.stage == "dynamic" else None
            learn_dynamic(work, static, trajectories, resume)
        if group.leads:
            final_table(work)
    if group.leads:
        session.complete(lambda ending: write_html(session.run, session.run.report, ending))


def refuse_outdated(checkpoint: Checkpoint, preset: Preset) -> None:
    """Raise RunError if what stage 2 has learned so far was learned by an earlier revision of the method."""
    if parts := outdated(checkpoint.document.get("revisions"), preset):
        problem = f"This run began with {earlier(parts)}."
        raise RunError(problem, "Start it anew from the preset.toml in its folder: vdtui distill --preset FILE.toml")


# --- experts ---------------------------------------------------------------------------------------------------------


def expert_trajectories(work: Work) -> Trajectories:
    """Open the experts of trajectory matching, or train those that are missing; runs of one folder share them."""
    session, preset = work.session, work.preset
    began = time.monotonic()
    session.emit(StageStarted("experts", 0, 1))
    pace = UnitPace(session, "experts")
    trajectories, warnings = open_or_train(
        experts_folder(session.run.path.parent),
        preset,
        work.train,
        work.val,
        work.fingerprint,
        work.precision,
        pace.update,
        session.check,
        pace.learned,
    )
    for warning in warnings:
        session.emit(Note("warning", warning))
    accuracies = [record.test_accuracy for record in trajectories.records if record.test_accuracy is not None]
    if accuracies:
        who, mean = counted(len(accuracies), "expert"), 100 * statistics.fmean(accuracies)
        text = f"{who}: top-1 {mean:.1f} % on held-out clips"
        session.emit(Note("info", f"{text} ({100 * min(accuracies):.1f} to {100 * max(accuracies):.1f} %)"))
    session.emit(StageFinished("experts", round(time.monotonic() - began, 3)))
    return trajectories


def train_experts(
    preset: Preset, runs: Path, progress: Callable[[int, int, str], None], check: Callable[[], None]
) -> tuple[Trajectories, list[str]]:
    """Train the experts that a run of ``preset`` in the folder ``runs`` will need; return them, and warnings."""
    device = choose_device(preset.run.device)
    with deterministic(), open_parts(runs, preset, device, progress, check) as parts:
        spec = parts.spec
        precision = precision_of(preset, len(spec.classes), spec.frames, spec.height, device, runs).precision
        fingerprint = parts.store.fingerprint
        return open_or_train(
            experts_folder(runs), preset, parts.train, parts.val, fingerprint, precision, progress, check
        )


# --- stage 1 ---------------------------------------------------------------------------------------------------------


def learn_static(work: Work, resume: Checkpoint | None, newest: Checkpoint | None) -> torch.Tensor:
    """Learn the static memory (C, spc, 3, H, W) by matching single frames: stage 1.

    A run that is beyond this stage has the memory in its newest checkpoint.
    """
    if resume is None and newest is not None:
        return torch.from_numpy(newest.arrays["static"]).to(work.device)
    section = work.preset.static
    order = start_order(work, "static", work.preset.kind.start_clips(work.preset)) if resume is None else None
    images = StaticImages.start(Start(work.preset, work.train, chosen=order))
    if resume is not None:
        images.static.copy_(torch.from_numpy(resume.arrays["static"]))
    static = images.static.requires_grad_()
    setting = Setting(
        work.train,
        partial(_still_network, work),
        stage_seed(work.seed, "static"),
        work.precision,
        group=work.group,
        record=work.judge.record,
    )
    objective = stills_objective(work.preset, setting)
    Learning(
        work=work,
        stage="static",
        synthetic=images,
        objective=objective,
        optimiser=static_optimiser(work, images),
        steps=section.steps,
        checkpoint_every=section.checkpoint_every,
        choice=NoChoice(work.session),
        resume=resume,
        cosine=section.schedule == "cosine",
    ).run()
    return static.detach()


def _still_network(work: Work, number: int) -> Network:
    """Return the network of ``number`` of stage 1."""
    spec, seed = work.spec, derive(work.seed, "static-network", number)
    network, model = still_network(work.preset), work.preset.evaluation.models[0]
    return still_model(network, model, len(spec.classes), spec.frames, spec.height, seed, work.device)


def keep_still(work: Work, static: torch.Tensor) -> None:
    """Save the set of a run that ends with stage 1, which is made of its images (static-only).

    No iteration is chosen: the set is that of the last step, as it is the start of stage 2 where there is one.
    """
    session, preset = work.session, work.preset
    still = set_class(preset.kind.name).start(Start(preset, work.train, static))
    if work.group.leads:
        origin = Provenance(
            preset.title,
            work.seed,
            preset.static.steps,
            preset.evaluation.protocol,
            objective=preset.static.objective if preset.static.steps else None,
        )
        keep_set(work, "best", still, origin)
        keep_set(work, "last", still, origin)
    session.save_checkpoint(Checkpoint("evaluate", 0, {"static": static.cpu().numpy()}, {"data": work.fingerprint}))


# --- coresets --------------------------------------------------------------------------------------------------------


def choose_coreset(work: Work) -> None:
    """Choose the real clips of a coreset, by the features of a trained or a seeded network."""
    session, section = work.session, work.preset.selection
    began = time.monotonic()
    session.emit(StageStarted("select", 0, 1))
    network = None
    if section.method != "random":
        network = selecting_network(work, "select", "training the network whose features clips are chosen by")
    chosen = select_coreset(
        work.train, section.method, work.preset.synthetic.ipc, work.seed, network, work.precision, check=session.check
    )
    clips = set_class(work.preset.kind.name).start(Start(work.preset, work.train, chosen=chosen))
    if work.group.leads:
        origin = Provenance(work.preset.title, work.seed, 0, work.preset.evaluation.protocol)
        keep_set(work, "best", clips, origin)
        keep_set(work, "last", clips, origin)
        session.emit(PreviewSaved("select", 0, save_preview(session.run.previews, "select", 0, clips)))
    document = {"data": work.fingerprint}
    session.save_checkpoint(Checkpoint("evaluate", 0, {"chosen": chosen.numpy()}, document))
    session.emit(StageFinished("select", round(time.monotonic() - began, 3)))


# --- stage 2 ---------------------------------------------------------------------------------------------------------


def learn_dynamic(
    work: Work, static: torch.Tensor | None, trajectories: Trajectories | None, resume: Checkpoint | None
) -> None:
    """Learn dynamic memory and hallucinator (or pixels) by the preset's objective: stage 2. Keep the best iteration."""
    section = work.preset.dynamic
    order = start_order(work, "dynamic", work.preset.kind.start_clips(work.preset)) if resume is None else None
    synthetic = start_set(work.preset, work.train, static, order)
    if resume is not None:
        for name, tensor in synthetic.tensors().items():
            tensor.copy_(torch.from_numpy(resume.arrays[name]))
    for parameter in synthetic.parameters().values():
        parameter.requires_grad_()
    setting = Setting(
        work.train,
        lambda number: stage_network(work, number),
        stage_seed(work.seed, "dynamic"),
        work.precision,
        section.embedding,
        work.group,
        trajectories,
        work.judge.record,
    )
    objective = clips_objective(work.preset, setting)
    optimiser = dynamic_optimiser(work, synthetic, objective)
    choice = choice_of_iteration(work, synthetic, objective, resume)
    learning = Learning(
        work=work,
        stage="dynamic",
        synthetic=synthetic,
        objective=objective,
        optimiser=optimiser,
        steps=section.steps,
        checkpoint_every=section.checkpoint_every,
        choice=choice,
        resume=resume,
        cosine=section.schedule == "cosine",
    )
    learning.run()
    if work.group.leads:
        keep_set(work, "last", synthetic, choice.provenance(section.steps, None))
    work.session.save_checkpoint(learning.state("evaluate", 0))


def stage_network(work: Work, number: int) -> Network:
    """Return a freshly initialised video network for the objective of stage 2."""
    spec, seed = work.spec, derive(work.seed, "dynamic-network", number)
    return video_model(work.preset.evaluation.models[0], len(spec.classes), spec.frames, spec.height, seed, work.device)


def start_set(
    preset: Preset, train: RealClips, static: torch.Tensor | None, order: torch.Tensor | None = None
) -> SyntheticSet:
    """The set before the first step of stage 2, with the static memory of stage 1 if there was one.

    It starts from the clips that ``order`` has first (``start_order``), or from random ones.
    """
    section = preset.synthetic
    labels = start_labels(len(train.spec.classes), section.ipc) if section.labels == "learned" else None
    labels = None if labels is None else labels.to(train.device)
    return set_class(preset.kind.name).start(Start(preset, train, static, labels, order))
