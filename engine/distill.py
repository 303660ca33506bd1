"""The two stages of a distillation, from data to report, readable from top to bottom.

A run is: prepare (open or make the data), static (still images, by gradient matching), dynamic (dynamic memory and
hallucinator, by distribution matching; the validation split chooses the iteration), evaluate (the final table on the
test split). Everything that happens is emitted as an event; everything that could be lost is in a checkpoint. All
randomness is derived from the seed by name and step, so a resumed run is the run that was never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.config import Preset
from engine.data.batches import RealClips
from engine.data.check import needed_path, open_checked
from engine.data.demo import prepare_demo
from engine.data.spec import ClipSpec
from engine.data.store import ClipStore
from engine.errors import DataError, DivergedError, StopRequested
from engine.evaluation import Recipe, TrialCache, mean_std, network_seed, result, run_trial
from engine.evaluation.protocols import PROTOCOL, Trial
from engine.events import (
    BestChanged,
    Evaluated,
    NetworkTrained,
    Note,
    PreviewSaved,
    ResultReady,
    RunStarted,
    StageFinished,
    StageStarted,
    Step,
)
from engine.export.report import write_html
from engine.matching import DistributionMatching, GradientMatching, Objective
from engine.models import Hallucinator, choose_device, choose_precision, image_model, seeded, video_model
from engine.pace import NetworkPace, StepPace, UnitPace
from engine.previews import save_preview
from engine.runs.checkpoints import Checkpoint
from engine.runs.files import write_json
from engine.runs.session import RunSession
from engine.seeds import derive, generator
from engine.synthetic import (
    Coreset,
    Pixels,
    Provenance,
    StaticDynamic,
    StaticImages,
    StillVideo,
    SyntheticSet,
    load_set,
    residual_dynamic,
    save_synthetic,
)

PREVIEWS_PER_STAGE = 12
IN_MEMORY_BYTES = 2 << 30
"""Splits up to this size are read once and kept in memory as uint8."""


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

    @property
    def seed(self) -> int:
        """The one seed of the run."""
        return self.preset.run.seed

    @property
    def recipe(self) -> Recipe:
        """How networks are trained to judge a set."""
        table = self.preset.evaluation
        return Recipe(
            table.models[0], table.epochs, table.lr, table.momentum, table.weight_decay, table.batch, self.precision
        )


def distill(session: RunSession, preset: Preset) -> None:
    """Run ``preset`` from its last checkpoint, or from the beginning, to its report.

    Raises StopRequested when the run is asked to stop (its state is saved), and VdtuiError for what a user can mend.
    """
    checkpoint = session.load_checkpoint()
    device = choose_device(preset.run.device)
    session.emit(RunStarted(session.run.name, preset.run.seed, str(device), preset.stages, checkpoint is not None))
    with deterministic():
        work = prepare(session, preset, device)
        stages = preset.stages
        reached = stages.index(checkpoint.stage) if checkpoint else 0
        if checkpoint is not None and checkpoint.document.get("data") != work.fingerprint:
            problem = "The data is not the one that this run was started with."
            raise DataError(problem, "Put the original clips file back, or start a new run.")
        static = None
        if "static" in stages:
            static = learn_static(work, checkpoint if reached <= stages.index("static") else None, checkpoint)
        if reached <= stages.index("dynamic"):
            learn_dynamic(work, static, checkpoint if checkpoint and checkpoint.stage == "dynamic" else None)
        final_table(work)
    session.complete()
    write_html(session.run, session.run.report)


@contextmanager
def deterministic() -> Iterator[None]:
    """The same seed gives the same bytes: torch prefers deterministic kernels inside."""
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)


# --- prepare ---------------------------------------------------------------------------------------------------------


def prepare(session: RunSession, preset: Preset, device: torch.device) -> Work:
    """Open the clips, or make the demo's, hold a validation split out of training, and record what is used."""
    began = time.monotonic()
    session.emit(StageStarted("prepare", 0, 1))
    store = open_data(session, preset)
    spec = ClipSpec(store.classes, store.frames, store.height, store.width, store.mean, store.std)
    whole = store.split("train")
    if "val" in store.splits and len(store.split("val")):
        train, val = whole, store.split("val")
    else:
        train, val = whole.holdout(preset.dataset.val_fraction, derive(preset.run.seed, "holdout"))
    test = store.split("test")
    for view in (train, val, test):
        if len(view) * int(np.prod(store.clip_shape)) <= IN_MEMORY_BYTES:
            view.load()
    precision = choose_precision(preset.run.precision, device)
    work = Work(
        session,
        preset,
        spec,
        store.fingerprint,
        RealClips(train, spec, device),
        RealClips(val, spec, device) if len(val) else None,
        RealClips(test, spec, device),
        device,
        precision,
    )
    record_meta(work, store)
    counts = f"{len(spec.classes)} classes, {len(train)} training, {len(val)} validation, {len(test)} test clips"
    session.emit(
        Note("info", f"{counts} of {spec.frames} x {spec.height} x {spec.width}; networks in {_name(precision)}")
    )
    if work.val is None:
        session.emit(Note("warning", "no validation split: the last iteration is taken, not the best one"))
    session.emit(StageFinished("prepare", round(time.monotonic() - began, 3)))
    return work


def open_data(session: RunSession, preset: Preset) -> ClipStore:
    """The clips file of the preset, checked against what the preset says of it."""
    table = preset.dataset
    if table.path is None and table.layout == "demo":
        pace = UnitPace(session, "prepare")
        path = prepare_demo(session.run.path.parent / ".data", 0, progress=pace.update, check=session.check)
    else:
        path = Path(needed_path(preset))
    return open_checked(path, preset.dataset)


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


# --- stage 1 ---------------------------------------------------------------------------------------------------------


def learn_static(work: Work, resume: Checkpoint | None, newest: Checkpoint | None) -> torch.Tensor:
    """Stage 1: the static memory (C, spc, 3, H, W), by gradient matching on single frames.

    A run that is beyond this stage has the memory in its newest checkpoint.
    """
    if resume is None and newest is not None:
        return torch.from_numpy(newest.arrays["static"]).to(work.device)
    table = work.preset.static
    static = start_static(work) if resume is None else torch.from_numpy(resume.arrays["static"]).to(work.device)
    images = StaticImages(work.spec, static.requires_grad_())
    objective = GradientMatching(
        work.train,
        lambda number: image_model(
            len(work.spec.classes), work.spec.height, derive(work.seed, "static-network", number), work.device
        ),
        table.batch_real,
        derive(work.seed, "static"),
        table.outer_loops,
        table.inner_loops,
        table.lr_network,
    )
    optimiser = torch.optim.SGD([{"params": [static], "lr": table.lr}], momentum=table.momentum)
    Learning(work, "static", images, objective, optimiser, table.steps, table.checkpoint_every).run(resume)
    return static.detach()


def start_clips(work: Work, per_class: int) -> torch.Tensor:
    """Real clips to start from, (C, per_class, 3, T, H, W), normalised; a class with fewer repeats its own."""
    chosen = []
    for label in range(len(work.spec.classes)):
        own = work.train.pick(label, per_class, generator(work.seed, "start", label))
        chosen.append(own[torch.arange(per_class) % len(own)])
    return work.train.clips(torch.cat(chosen)).unflatten(0, (-1, per_class))


def start_static(work: Work) -> torch.Tensor:
    """The static memory before its first step."""
    table = work.preset.synthetic
    shape = (len(work.spec.classes), table.ipc * table.statics_per_instance, 3, work.spec.height, work.spec.width)
    if work.preset.static.init == "noise":
        return torch.randn(shape, generator=generator(work.seed, "static-noise")).to(work.device)
    clips = start_clips(work, shape[1])
    if work.preset.static.init == "median":
        return clips.median(dim=3).values.contiguous()
    return clips[:, :, :, 0].contiguous()


# --- stage 2 ---------------------------------------------------------------------------------------------------------


def learn_dynamic(work: Work, static: torch.Tensor | None, resume: Checkpoint | None) -> None:
    """Stage 2: dynamic memory and hallucinator (or pixels), by distribution matching; keeps the best iteration."""
    table = work.preset.dynamic
    synthetic = start_set(work, static)
    if resume is not None:
        for name, tensor in synthetic.tensors().items():
            tensor.copy_(torch.from_numpy(resume.arrays[name]))
    for parameter in synthetic.parameters().values():
        parameter.requires_grad_()
    objective = DistributionMatching(
        work.train,
        lambda step: video_model(
            work.preset.evaluation.models[0],
            len(work.spec.classes),
            work.spec.frames,
            work.spec.height,
            derive(work.seed, "dynamic-network", step),
            work.device,
        ),
        table.batch_real,
        derive(work.seed, "dynamic"),
        work.precision,
    )
    rates = dict.fromkeys(synthetic.parameters(), table.lr_dynamic)
    rates |= {name: table.lr_hallucinator for name in rates if name.startswith("hallucinator.")}
    groups = [{"params": [tensor], "lr": rates[name]} for name, tensor in synthetic.parameters().items()]
    optimiser = torch.optim.SGD(groups, momentum=table.momentum)
    selection = Selection(work, synthetic, resume)
    learning = Learning(
        work, "dynamic", synthetic, objective, optimiser, table.steps, table.checkpoint_every, selection
    )
    learning.run(resume)


def start_set(work: Work, static: torch.Tensor | None) -> SyntheticSet:
    """The synthetic set before the first step of stage 2."""
    table, spec, noise = work.preset.synthetic, work.spec, work.preset.dynamic.init == "noise"
    if static is None:
        if noise:
            shape = (len(spec.classes), table.ipc, spec.frames, 3, spec.height, spec.width)
            return Pixels(spec, torch.randn(shape, generator=generator(work.seed, "pixels-noise")).to(work.device))
        return Pixels(spec, start_clips(work, table.ipc).transpose(2, 3).contiguous())
    number = table.ipc * table.dynamics_per_instance
    if noise:
        shape = (len(spec.classes), number, spec.frames, 1, spec.height, spec.width)
        dynamic = torch.randn(shape, generator=generator(work.seed, "dynamic-noise")).to(work.device)
        with seeded(derive(work.seed, "hallucinator"), torch.device("cpu")):
            hallucinator = Hallucinator()
    else:
        dynamic = residual_dynamic(start_clips(work, number), static, table.ipc, spec.std)
        hallucinator = Hallucinator.identity(spec.std)
    return StaticDynamic(spec, table.ipc, static, dynamic, hallucinator.to(work.device))


class Selection:
    """Which iteration is kept: the one whose networks are best on the validation split; step 0 is a candidate too.

    The kept set is written to ``synthetic/best.safetensors`` at once. Without a validation split the last one is kept.
    """

    def __init__(self, work: Work, synthetic: SyntheticSet, resume: Checkpoint | None) -> None:
        document = resume.document if resume else {}
        self._work = work
        self._synthetic = synthetic
        self.best_step: int = document.get("best_step", -1)
        self.best_accuracy: float | None = document.get("best_accuracy")
        self._evaluated: int = document.get("evaluated", -1)
        self._seconds: list[float] = []

    def due(self, step: int) -> bool:
        """Whether ``step`` is to be evaluated, and is not yet."""
        table = self._work.preset.dynamic
        return step > self._evaluated and (step % table.eval_every == 0 or step == table.steps)

    def seconds_left(self, step: int) -> float:
        """What the evaluations after ``step`` will take, judging by those that were made."""
        if self._work.val is None or not self._seconds:
            return 0.0
        table = self._work.preset.dynamic
        number = len({*range(0, table.steps, table.eval_every), table.steps} & set(range(step + 1, table.steps + 1)))
        return number * mean_std(self._seconds)[0]

    def document(self) -> dict[str, Any]:
        """What a checkpoint must hold of it."""
        return {"best_step": self.best_step, "best_accuracy": self.best_accuracy, "evaluated": self._evaluated}

    def consider(self, step: int) -> None:
        """Evaluate the set as it is at ``step``, and keep it if it is the best so far."""
        work = self._work
        accuracy = None
        if work.val is not None:
            accuracy = self._accuracy(step)
        if accuracy is None or self.best_accuracy is None or accuracy > self.best_accuracy:
            self.best_step, self.best_accuracy = step, accuracy
            save_synthetic(work.session.run.best, self._synthetic, self.provenance(step, accuracy))
            work.session.emit(BestChanged(step, accuracy))
        self._evaluated = step

    def provenance(self, step: int, accuracy: float | None) -> Provenance:
        """What the file says of itself."""
        selected_on = "none" if self._work.val is None else "val"
        return Provenance(self._work.preset.title, self._work.seed, step, PROTOCOL, selected_on, accuracy)

    def _accuracy(self, step: int) -> float:
        work, number = self._work, self._work.preset.evaluation.selection_repeats
        assert work.val is not None
        began = time.monotonic()
        values = []
        for k in range(number):
            seed = network_seed(work.seed, "selection", k)
            what = f"evaluating step {step}: network {k + 1} of {number}"
            pace = NetworkPace(
                work.session,
                "dynamic",
                what,
                step=step,
                total=work.preset.dynamic.steps,
                networks=number,
                trained=k,
                seconds=time.monotonic() - began,
            )
            cache = TrialCache(work.session.run, f"synthetic-val-{step:06d}")
            trial = run_trial(self._synthetic, work.val, work.recipe, seed, cache, pace.watch)
            values.append(trial.outcome.top1)
            work.session.emit(NetworkTrained("synthetic", step, "val", seed, trial.outcome.top1, trial.seconds))
        mean, std = mean_std(values)
        seconds = time.monotonic() - began
        self._seconds.append(seconds)
        work.session.emit(Evaluated("synthetic", step, "val", mean, std, tuple(values), round(seconds, 3)))
        return mean


# --- the loop of both stages -----------------------------------------------------------------------------------------


@dataclass
class Learning:
    """The loop of both stages: steps of an optimiser on a synthetic set, with checkpoints, previews and a selection.

    At the boundary before step k, in this order: checkpoint, preview, evaluation, request to stop; then step k.
    """

    work: Work
    stage: str
    synthetic: SyntheticSet
    objective: Objective
    optimiser: torch.optim.SGD
    steps: int
    checkpoint_every: int
    selection: Selection | None = None

    def run(self, resume: Checkpoint | None) -> None:
        """All steps that are left."""
        session = self.work.session
        first = self._restore(resume)
        began = time.monotonic()
        session.emit(StageStarted(self.stage, first, self.steps))
        pace = StepPace(self.steps)
        for step in range(first, self.steps + 1):
            if step % self.checkpoint_every == 0 or step == self.steps:
                self._save(step, resume)
            self._preview(step)
            try:
                if self.selection is not None and self.selection.due(step):
                    self.selection.consider(step)
                if step == self.steps:
                    break
                session.check()
            except StopRequested:
                self._save(step, resume)
                raise
            started = time.monotonic()
            loss, figures = self._step(step, resume)
            later = self.selection.seconds_left(step) if self.selection else 0.0
            rate, eta = pace.stepped(time.monotonic() - started, step + 1, later)
            session.emit(Step(self.stage, step + 1, self.steps, loss, rate, figures, eta))
        if self.selection is not None:
            last = self.selection.provenance(self.steps, None)
            save_synthetic(session.run.last, self.synthetic, last)
            session.save_checkpoint(Checkpoint("evaluate", 0, self._arrays(), self._document()))
        session.emit(StageFinished(self.stage, round(time.monotonic() - began, 3)))

    def _step(self, step: int, resume: Checkpoint | None) -> tuple[float, dict[str, float]]:
        self.optimiser.zero_grad()
        total = 0.0
        for part in self.objective.losses(self.synthetic, step):
            part.backward()
            total += part.item()
        if not np.isfinite(total):
            self._save(step, resume)
            problem = f"The loss of stage {self.stage} is not finite at step {step}; the state before it is kept."
            raise DivergedError(
                problem, f"Start again with a lower rate: --set {self.stage}.{_rate_key(self.stage)}=..."
            )
        self.optimiser.step()
        self.objective.after_step(self.synthetic, step)
        return total, self._figures()

    def _figures(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for name, tensor in self.synthetic.parameters().items():
            if not name.startswith("hallucinator."):
                low, high = tensor.detach().aminmax()
                figures |= {f"min_{name}": low.item(), f"max_{name}": high.item()}
            if name != "hallucinator.bias" and tensor.grad is not None:
                figures[f"grad_{name.removesuffix('.weight')}"] = tensor.grad.norm().item()
        return {name: float(f"{value:.5g}") for name, value in figures.items()}

    def _preview(self, step: int) -> None:
        every = max(1, -(-self.steps // PREVIEWS_PER_STAGE))
        if step % every == 0 or step == self.steps:
            file = save_preview(self.work.session.run.previews, self.stage, step, self.synthetic)
            self.work.session.emit(PreviewSaved(self.stage, step, file))

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {name: _array(tensor) for name, tensor in self.synthetic.tensors().items()}
        for name, tensor in self.synthetic.parameters().items():
            buffer = self.optimiser.state.get(tensor, {}).get("momentum_buffer")
            if buffer is not None:
                arrays[f"momentum.{name}"] = _array(buffer)
        return arrays | {f"objective.{name}": _array(tensor) for name, tensor in self.objective.state().items()}

    def _document(self) -> dict[str, Any]:
        document = {"data": self.work.fingerprint}
        return document | (self.selection.document() if self.selection is not None else {})

    def _save(self, step: int, resume: Checkpoint | None) -> None:
        document = self._document()
        if resume is not None and resume.step == step and document.items() <= resume.document.items():
            return  # just loaded: nothing is new
        self.work.session.save_checkpoint(Checkpoint(self.stage, step, self._arrays(), document))

    def _restore(self, resume: Checkpoint | None) -> int:
        if resume is None:
            return 0
        for name, tensor in self.synthetic.parameters().items():
            stored = resume.arrays.get(f"momentum.{name}")
            if stored is not None:
                self.optimiser.state[tensor]["momentum_buffer"] = torch.from_numpy(stored).to(tensor)
        own = {name.removeprefix("objective."): array for name, array in resume.arrays.items() if "objective." in name}
        self.objective.load_state({name: torch.from_numpy(array).to(self.work.device) for name, array in own.items()})
        return resume.step


def _array(tensor: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


def _rate_key(stage: str) -> str:
    return {"static": "lr", "dynamic": "lr_dynamic"}[stage]


# --- the final table -------------------------------------------------------------------------------------------------


def final_table(work: Work) -> None:
    """Networks trained on the chosen set, on random real clips and on the still video, tested on the test split."""
    session, number = work.session, work.preset.evaluation.repeats
    chosen = load_set(session.run.best, work.device)
    rows = list(table_rows(work, chosen.synthetic))
    began = time.monotonic()
    session.emit(StageStarted("evaluate", 0, len(rows) * number))
    done = 0
    for what, sets, precision in rows:
        trials: list[Trial] = []
        is_chosen = what == chosen.synthetic.kind
        step = chosen.provenance.step if is_chosen else 0
        for k in range(number):
            seed = network_seed(work.seed, "final", k)
            pace = NetworkPace(
                session,
                "evaluate",
                f"{what}: network {k + 1} of {number}",
                step=done,
                total=len(rows) * number,
                networks=len(rows) * number,
                trained=done,
                seconds=time.monotonic() - began,
            )
            cache = TrialCache(session.run, f"{what}-test-{step:06d}")
            trials.append(run_trial(sets(k), work.test, work.recipe, seed, cache, pace.watch))
            done += 1
            session.emit(NetworkTrained(what, step, "test", seed, trials[-1].outcome.top1, trials[-1].seconds))
        row = result(
            what,
            sets(0),
            trials,
            precision=precision,
            selected_on=chosen.provenance.selected_on if is_chosen else "none",
            model=work.recipe.model,
            data_fingerprint=work.fingerprint,
            step=step if is_chosen else None,
        )
        session.emit(
            Evaluated(
                what,
                step,
                "test",
                row["top1"]["mean"],
                row["top1"]["std"],
                tuple(row["top1"]["values"]),
                row["seconds"],
            )
        )
        session.emit(ResultReady(row))
        write_json(session.run.evaluations / f"result-{what}.json", row)
    session.emit(StageFinished("evaluate", round(time.monotonic() - began, 3)))


def table_rows(work: Work, chosen: SyntheticSet) -> Iterator[tuple[str, Callable[[int], SyntheticSet], str]]:
    """Rows of the final table: name, the set of network k, stored precision. Random clips are drawn anew for each k."""
    yield chosen.kind, lambda k: chosen, "float32"
    yield "random", lambda k: random_clips(work, k), "uint8"
    if isinstance(chosen, StaticDynamic):
        yield "static-only", lambda k: StillVideo(work.spec, chosen.ipc, chosen.static), "float32"


def random_clips(work: Work, number: int) -> Coreset:
    """As many random real training clips per class as the synthetic set has instances."""
    ipc = work.preset.synthetic.ipc
    chosen = []
    for label in range(len(work.spec.classes)):
        own = work.train.pick(label, ipc, generator(work.seed, "random-clips", number, label))
        chosen.append(own[torch.arange(ipc) % len(own)])
    clips = work.train.clips(torch.cat(chosen)).unflatten(0, (-1, ipc))
    return Coreset(work.spec, clips.transpose(2, 3).contiguous())
