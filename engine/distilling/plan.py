"""The plan of a run before it is started: its time and memory, measured by rehearsing it here with its own data.

What a step costs depends on the machine, the number format, the decoder's page cache and the bank of targets. So the
very preset is run twice in a temporary folder, with a few steps and as few networks of few epochs as the cores train at
once, and each part is multiplied by how often it will happen. Two rehearsals that differ in nothing but the epochs tell
what an epoch costs, and what a network costs beside its epochs. Steps are timed apart from what happens after some of
them only: previews, checkpoints, files of the best set, encodings, and fills of a bank.

Where a budget of bytes is to be spent, networks choose how, and all later costs follow from it. Networks of few epochs
would choose something else, so there is one rehearsal with all epochs, if the time allows it.

Where even that would take longer than ``LIMIT``, passes of a few clips are timed and multiplied by their number
(``reckoning``), so that every plan is there within two minutes.
"""

from __future__ import annotations

import dataclasses
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from engine.config import Preset, read_preset
from engine.config.choosing import split_of_choice
from engine.config.counts import candidates, expert_epochs, feature_epochs, inner_trainings
from engine.config.kinds import COMPRESSED
from engine.config.objectives import named
from engine.config.schema import DynamicSection, StageSection, StaticSection
from engine.config.size import plain_bytes, stored_values
from engine.config.storage import PLAIN
from engine.distilling.keeping import storage_of
from engine.distilling.learning import preview_every
from engine.distilling.reckoning import FEATURES, Counted, Sizes, measure, reckon, total
from engine.evaluation.parts import open_parts, train_and_val
from engine.evaluation.trainers import shares
from engine.events import (
    BestChanged,
    CheckpointSaved,
    Evaluated,
    Event,
    NetworkTrained,
    PreviewSaved,
    RungTried,
    StageFinished,
    StageStarted,
    Step,
)
from engine.export.wording import duration
from engine.machine.imports import own_environment
from engine.machine.torchrun import started_by_torchrun
from engine.machine.usage import MemoryPeak
from engine.matching.bank import KEPT_NETWORKS
from engine.models import choose_device, video_model
from engine.runs.new import new_run
from engine.seeds import generator
from engine.synthetic import load_set, to_bytes

STEPS = 3
"""Steps of stage 1 that are rehearsed: the first has what happens once."""
DYNAMIC_STEPS = 4
"""Steps of stage 2 that are rehearsed. A bank is filled in the first and the third; the median of the rest is usual."""
REFILLED = 2
"""The step, counted from 0, at which a rehearsal fills a bank again: the first one has more that happens once."""
LIMIT = 45.0
"""The seconds that the passes of the rehearsals may take, as they are reckoned; what they do besides comes on top."""
EPOCHS = (1, 3)
"""Epochs of the networks in the two rehearsals."""
EXPERT_EPOCHS = 2
"""Epochs of the expert that is rehearsed: the first has what happens once."""
STARTS = 2
"""Processes that are started to see how long that takes: what is not in memory yet makes the first one slow."""
MARKS = (StageStarted, Step, Evaluated, CheckpointSaved, PreviewSaved, BestChanged)
"""Events at whose time something has ended that is timed by itself."""

S = TypeVar("S", bound=StageSection)


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a run: ``number`` units of ``what``, and the seconds that they are expected to take."""

    stage: str
    number: int
    what: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """The storage, time and memory of a run. Bytes are of float32 memories, and of the clips learned from as uint8."""

    parts: tuple[Part, ...]
    stored_values: int
    stored_bytes: int
    data_bytes: int
    memory_bytes: int
    """The most that is held at once: on CUDA of the card, else of a run's process and the networks' beside it."""
    device: str
    rehearsed_seconds: float
    storage: str
    """The storage of the set; "" where there is none."""
    file_bytes: int
    """The length of its file, which depends on what is learned where it is coded: as measured before."""
    classes: int
    measured_on: str
    """The clips whose file has ``file_bytes``."""
    budget: str = ""
    """The bytes that the set may take per class, as the preset has them; "" where there is no such bound."""
    rung: str = ""
    """The rung on which the rehearsal spent them; networks of more epochs may choose another one."""
    reckoned: bool = False
    """True if nothing was rehearsed: times are those of passes alone, and memory and file are not known."""

    @property
    def bytes_per_class(self) -> float:
        """The file's bytes for each class."""
        return self.file_bytes / self.classes if self.classes else 0.0

    @property
    def seconds(self) -> float:
        """The seconds of the whole run."""
        return sum(part.seconds for part in self.parts)


def plan(
    preset: Preset,
    check: Callable[[Event], None] = lambda event: None,
    tell: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Rehearse ``preset`` and return the plan of all of it; ``check`` gets every event, and may raise.

    ``preset`` must have its data (``engine.runs.new.with_data``). Takes a few steps of each stage, and few networks of
    few epochs for every row of the final table; or, where that would take longer than LIMIT, a few passes of clips.
    ``tell`` gets a line on what comes and how long it will take. Raises VdtuiError for what would stop the run as well.
    A teacher (``strict-teacher``) is not multiplied: it is trained for one epoch. Where networks of all epochs would
    take too long, a budget's rung is chosen by some of one epoch; the run may choose another, at other costs.
    """
    began = time.monotonic()
    epochs = EPOCHS if preset.evaluation.epochs > EPOCHS[0] else EPOCHS[:1]
    with tempfile.TemporaryDirectory(prefix="vdtui-plan-") as folder:
        sizes, data_bytes = sizes_of(preset, Path(folder))
        opening = time.monotonic() - began if preset.dataset.path is None else 0.0  # the demo's clips are made once
        start = _start_seconds()
        units = measure(preset, sizes)
        features = sizes.train * units.clips[preset.evaluation.models[0]].trained
        whole = reckon(preset, sizes, units)
        if whole is not None:

            def passes(*numbers: int) -> float:
                return sum(total(reckon(_shortened(preset, number), sizes, units) or []) for number in numbers)

            if preset.storage.open_budget and passes(preset.evaluation.epochs) <= LIMIT:
                epochs = (preset.evaluation.epochs,)
            seconds = passes(*epochs)
            if seconds > LIMIT:
                tell(f"A rehearsal would take {duration(seconds)}; passes are counted instead.")
                return _reckoned(preset, whole, sizes, data_bytes, start + opening, began)
            how = "twice, with a few steps and epochs" if len(epochs) > 1 else "with a few steps"
            tell(f"Rehearsing the run {how}: about {duration(10 + 1.5 * seconds)} ...")
        with MemoryPeak() as peak:
            first = _Rehearsal(preset, epochs[0], Path(folder), check)
        spent = _spent(preset, first.preset)
        rehearsals = [first, *(_Rehearsal(spent, number, Path(folder), check) for number in epochs[1:])]
        best = first.best
        kept = load_set(best).synthetic if best.is_file() else None
        content, measured = _file(spent, best, Path(folder)) if kept else (b"", "")
    return Plan(
        tuple(_parts(spent, rehearsals, start, opening, features)),
        kept.stored_values if kept else 0,
        kept.nbytes() if kept else 0,
        first.data_bytes,
        _memory(preset, first.device, peak.bytes) + _bank_bytes(spent, sizes),
        first.device,
        time.monotonic() - began,
        str(storage_of(spent)) if kept else "",
        len(content),
        len(kept.spec.classes) if kept else 0,
        measured,
        preset.storage.budget or "",
        spent.storage.rung or "",
    )


def sizes_of(preset: Preset, folder: Path) -> tuple[Sizes, int]:
    """Open the data, or make the demo's in ``folder``; return its numbers, and the bytes of the training clips."""
    device = choose_device("cpu")
    with open_parts(folder, preset, device, lambda *_: None, lambda: None) as opened:
        spec, store = opened.spec, opened.store
        train, val = train_and_val(store, preset)
        by_test = split_of_choice(preset.evaluation.protocol) == "test"
        test = len(store.split("test"))
        counts = [int(count) for count in np.bincount(train.labels, minlength=len(spec.classes))]
        chosen = test if by_test else len(val)
        size = len(train) * 3 * spec.frames * spec.height * spec.width
        return Sizes(len(spec.classes), spec.frames, spec.height, len(train), chosen, test, max(counts)), size


def _start_seconds() -> float:
    """Return the seconds in which a worker's process starts, torch and all: of several the fewest."""
    command = [sys.executable, "-P", "-c", "import engine.distilling.stages"]
    times = []
    for _ in range(STARTS):
        began = time.monotonic()
        subprocess.run(command, check=True, env=own_environment())
        times.append(time.monotonic() - began)
    return min(times)


def _reckoned(preset: Preset, whole: list[Counted], sizes: Sizes, data_bytes: int, start: float, began: float) -> Plan:
    """Return the plan of a run of which nothing was tried but passes of a few clips."""
    values = stored_values(preset.synthetic, sizes.classes, sizes.frames, sizes.side)
    parts = [Part("prepare", 1, "data opened, or made", start)]
    parts += [Part(part.stage, part.number, part.what, part.seconds) for part in whole]
    plain = plain_bytes(preset, values) if preset.kind.parts else None
    return Plan(
        tuple(parts),
        values,
        4 * values,
        data_bytes,
        0,
        str(choose_device(preset.run.device)),
        time.monotonic() - began,
        preset.storage.how if preset.kind.parts else "",
        plain or 0,
        sizes.classes if plain else 0,
        "its numbers alone",
        preset.storage.budget or "",
        reckoned=True,
    )


def _file(preset: Preset, best: Path, folder: Path) -> tuple[bytes, str]:
    """Return the file of the set, and what it was measured on.

    Memories that start from noise end as something that a codec stores in far fewer bytes, so real clips are stored in
    their place, as each memory would store one; others are as they are after a few steps.
    """
    if preset.storage.how in PLAIN or not _starts_from_noise(preset):
        return best.read_bytes(), "the set after a few steps"
    loaded = load_set(best)
    kept = loaded.synthetic
    device = choose_device(preset.run.device)
    with open_parts(folder, preset, device, lambda *_: None, lambda: None) as opened:
        train, stored = opened.train, {}
        for part in (part for part in kept.description.parts if part.channels and part.smooth):
            memory = kept.tensors()[part.name]
            if memory.numel():
                own = (train.pick(c, len(train), generator(preset.run.seed, "plan", c)) for c in range(len(memory)))
                chosen = [indices[torch.arange(memory.shape[1]) % len(indices)] for indices in own]
                clips = (kept.project(part.name, train.clips(indices).cpu()) for indices in chosen)
                stored[part.name] = torch.stack([each.contiguous() for each in clips])
    return to_bytes(kept.seen_as(stored), loaded.provenance, storage_of(preset)), "real clips"


def _starts_from_noise(preset: Preset) -> bool:
    """Return whether a stage that the preset runs starts from noise."""
    return any(stage in preset.stages and getattr(preset, stage).init == "noise" for stage in ("static", "dynamic"))


class _Rehearsal:
    """One short run of ``preset`` with networks of ``epochs``, and the times of its events."""

    def __init__(self, preset: Preset, epochs: int, folder: Path, check: Callable[[Event], None]) -> None:
        from engine.distilling.process import carry_out

        self.epochs = epochs
        self.device = ""
        self._happened: list[tuple[float, Event]] = []

        def listen(event: Event) -> None:
            self._happened.append((time.monotonic(), event))
            self.device = getattr(event, "device", self.device)
            check(event)

        run = new_run(_shortened(preset, epochs), None, folder, f"epochs-{epochs}", "", ["plan"])
        self._began = time.monotonic()
        carry_out(run, listen)
        self._ended = time.monotonic()
        self.best = run.best
        self.preset = read_preset(run.preset_file)
        """The preset that the rehearsal ended with: its budget, if there is one, is spent."""
        self.data_bytes: int = run.meta().get("data_bytes", 0)

    def stage(self, stage: str) -> float:
        """Return the seconds of a stage."""
        return sum(one.seconds for _, one in self._happened if isinstance(one, StageFinished) and one.stage == stage)

    def rungs(self) -> list[int]:
        """Return the clips per class of each rung on which networks were trained to choose one."""
        return [one.ipc for _, one in self._happened if isinstance(one, RungTried)]

    def selection(self) -> tuple[float, float]:
        """Return the seconds of one evaluation on the split that chooses the step, and those of the first beyond that.

        Both are 0 if none does.
        """
        found = [one.seconds for _, one in self._happened if isinstance(one, Evaluated) and one.what == "synthetic"]
        usual = min(found, default=0.0)
        return usual, max(0.0, found[0] - usual) if found else 0.0

    def baselines(self) -> tuple[int, float]:
        """Return how many networks chose the storage of baselines, and the seconds until all had."""
        began = min((when for when, one in self._happened if _begins_table(one)), default=0.0)
        chose = [when for when, one in self._happened if _chooses_baseline(one)]
        return len(chose), max(chose, default=began) - began

    def outside(self) -> tuple[float, float]:
        """Return the seconds before the first stage, and those between stages and after the last.

        Libraries are loaded in them, sets are written, and the report.
        """
        gaps, last = [], self._began
        for when, event in self._happened:
            if isinstance(event, StageStarted):
                gaps.append(when - last)
            if isinstance(event, (StageStarted, StageFinished)):
                last = when
        return gaps[0] if gaps else 0.0, sum(gaps[1:]) + self._ended - last

    def spans(self, stage: str, kind: type[Event]) -> list[float]:
        """Return the seconds of what each event of ``kind`` in ``stage`` tells the end of, since the mark before it."""
        found, last, now = [], self._began, ""
        for when, event in self._happened:
            now = event.stage if isinstance(event, StageStarted) else now
            if now == stage and isinstance(event, kind):
                found.append(when - last)
            last = when if isinstance(event, MARKS) else last
        return found

    def encodings(self, stage: str) -> list[float]:
        """Return the seconds in which the set was encoded, 0 where it was not, of each step of ``stage``."""
        steps = [one for _, one in self._happened if isinstance(one, Step) and one.stage == stage]
        return [step.figures.get("encoding_seconds", 0.0) for step in steps]

    def steps(self, stage: str) -> list[float]:
        """Return the seconds of each step of ``stage``, without those in which the set was encoded."""
        pairs = zip(self.spans(stage, Step), self.encodings(stage), strict=True)
        return [max(0.0, seconds - encoding) for seconds, encoding in pairs]

    def saved(self, stage: str, section: StaticSection | DynamicSection) -> float:
        """Return the seconds of all checkpoints and previews of ``stage``, whose steps ``section`` has."""
        checkpoints = _boundaries(section.steps, section.checkpoint_every)
        previews = _boundaries(section.steps, preview_every(section.steps))
        seconds = _all(self.spans(stage, CheckpointSaved), checkpoints)
        return seconds + _all(self.spans(stage, PreviewSaved), previews)

    def experts(self, preset: Preset) -> float:
        """Return the seconds of all experts: their epochs, and what each of them takes beside."""
        epochs = self.spans("experts", Step)
        beside = self.stage("experts") - sum(epochs)
        return _all(epochs, expert_epochs(preset)) + preset.experts.number * beside

    def static(self, preset: Preset) -> float:
        """Return the seconds of all steps of stage 1, after some of which its network may be trained."""
        section, times = preset.static, self.steps("static")
        encoded = _encoded(self.encodings("static"), section.steps, preset)
        if section.steps <= STEPS:
            return sum(times) + encoded  # that was all of it
        if not inner_trainings(section):
            return _all(times, section.steps) + encoded
        first, plain, trained = times  # of a network of two steps: one that it is trained after, one that it is not
        more = max(0.0, trained - plain)
        return section.steps * plain + inner_trainings(section) * more + max(0.0, first - trained) + encoded


def _spent(preset: Preset, rehearsed: Preset) -> Preset:
    """Return ``preset`` with its budget spent as that of ``rehearsed`` is."""
    return preset.model_copy(update={name: getattr(rehearsed, name) for name in ("synthetic", "storage")})


def _shortened(preset: Preset, epochs: int) -> Preset:
    """Return ``preset`` with a few steps, and with one of everything that fills slowly."""

    def section(name: str, **changes: Any) -> Any:
        return getattr(preset, name).model_copy(update=changes)

    epochs_of_expert = expert_epochs(preset) // preset.experts.number if "experts" in preset.stages else 1
    dynamic = _rehearsed(preset.dynamic)
    static = preset.static if preset.static.steps <= STEPS else _rehearsed(preset.static)
    shorter = {
        "static": static.model_copy(update={"steps": min(STEPS, static.steps)}),
        "dynamic": dynamic.model_copy(update={"steps": min(DYNAMIC_STEPS, dynamic.steps), "eval_every": DYNAMIC_STEPS}),
        "experts": section("experts", number=1, epochs=min(EXPERT_EPOCHS, epochs_of_expert)),
        "selection": section("selection", epochs=1),
        "evaluation": section("evaluation", epochs=epochs, teacher_epochs=1, **_fewer(preset)),
    }
    return preset.model_copy(update=shorter)


def _fewer(preset: Preset) -> dict[str, int]:
    """Return the networks of a row, and of an evaluation, that are rehearsed: as many as are trained at once."""
    section, cores = preset.evaluation, max(1, torch.get_num_threads())
    return {name: min(getattr(section, name), cores) for name in ("repeats", "selection_repeats")}


def _rehearsed(section: S) -> S:
    """``section`` with its objective's settings as they are to be rehearsed."""
    return section.with_settings(named(section.objective).rehearsed(section.settings))


def _parts(preset: Preset, rehearsals: list[_Rehearsal], start: float, opening: float, features: float) -> list[Part]:
    """Return all parts; ``features`` are the seconds of an epoch on all training clips, of which one is tried."""
    first, stages, evaluation = rehearsals[0], preset.stages, preset.evaluation
    fewer = _fewer(preset)
    rows = len(preset.kind.rows(preset))
    choose = evaluation.selection_repeats / fewer["selection_repeats"]
    at_once = _at_once(preset, evaluation.repeats)
    table = rows * len(evaluation.models)
    final = _longer(table * evaluation.repeats, table * fewer["repeats"], at_once)
    before, between = first.outside()
    parts = [Part("prepare", 1, "data opened, or made", start + before + max(opening, first.stage("prepare")))]
    if rungs := first.rungs():
        known = [(one.epochs, one.selection()[0]) for one in rehearsals]
        longer = _at(evaluation.epochs, known) - _at(first.epochs, known)  # of an evaluation of the rung that was taken
        seconds = choose * (first.stage("budget") + longer * sum(rungs) / preset.synthetic.ipc)
        networks = len(rungs) * evaluation.selection_repeats
        parts.append(Part("budget", networks, "networks to choose how the budget is spent", seconds))
    if "experts" in stages:
        epochs = expert_epochs(preset)
        parts.append(Part("experts", epochs, "epochs on all training clips", first.experts(preset)))
    if "static" in stages:
        fills = named(preset.static.objective).banked_networks(preset, "static")
        seconds, filling = _static(preset, rehearsals, fills)
        parts.append(Part("static", preset.static.steps, "steps", seconds))
        if fills:
            parts.append(Part("static", fills, "networks of the target bank", filling))
    if "dynamic" in stages:
        fills = named(preset.dynamic.objective).banked_networks(preset)
        seconds, filling = _dynamic(preset, rehearsals, fills)
        parts.append(Part("dynamic", preset.dynamic.steps, "steps", seconds))
        if fills:
            parts.append(Part("dynamic", fills, "networks of the target bank", filling))
        if first.selection()[0]:
            number = candidates(preset.dynamic)
            known = [(one.epochs, one.selection()[0]) for one in rehearsals]
            at_once = _at_once(preset, evaluation.selection_repeats)
            longer = _longer(evaluation.selection_repeats, fewer["selection_repeats"], at_once)
            seconds = longer * number * _at(evaluation.epochs, known) + first.selection()[1]
            networks = number * evaluation.selection_repeats
            parts.append(Part("dynamic", networks, "networks to choose the step", seconds))
    if "select" in stages:
        more = max(0, feature_epochs(preset, "select") - 1) * features
        parts.append(Part("select", 1, "coreset", first.stage("select") + more))
    if epochs := feature_epochs(preset, "evaluate"):
        parts.append(Part("evaluate", epochs, FEATURES, (epochs - 1) * features))
    choosing = first.baselines()[0]
    if choosing:
        seconds = choose * _at(evaluation.epochs, [(one.epochs, one.baselines()[1]) for one in rehearsals])
        number = round(choose * choosing)
        parts.append(Part("evaluate", number, "networks to choose the storage of baselines", seconds))
    known = [(one.epochs, one.stage("evaluate") - one.baselines()[1]) for one in rehearsals]
    networks = table * evaluation.repeats
    seconds = final * _at(evaluation.epochs, known) + between
    return [*parts, Part("evaluate", networks, "networks for the final table", seconds)]


def _static(preset: Preset, rehearsals: list[_Rehearsal], fills: int) -> tuple[float, float]:
    """Return the seconds of all steps of stage 1 with what is saved after them, and those of all fills of a bank."""
    section, first = preset.static, rehearsals[0]
    saved = first.saved("static", section)
    if not fills or section.steps <= STEPS:
        return first.static(preset) + saved, 0.0
    stepped, filling = _stepped([one.steps("static") for one in rehearsals], section.steps, fills)
    return stepped + _encoded(first.encodings("static"), section.steps, preset) + saved, filling


def _dynamic(preset: Preset, rehearsals: list[_Rehearsal], fills: int) -> tuple[float, float]:
    """Return the seconds of all steps of stage 2 with what is saved after them, and those of all fills of a bank.

    The best set is counted as if every candidate took the place of the one before.
    """
    section, first = preset.dynamic, rehearsals[0]
    stepped, filling = _stepped([one.steps("dynamic") for one in rehearsals], section.steps, fills)
    encodings = [seconds for one in rehearsals for seconds in one.encodings("dynamic")]
    kept = [seconds for one in rehearsals for seconds in one.spans("dynamic", BestChanged)]
    saved = first.saved("dynamic", section) + _all(kept, candidates(section))
    return stepped + _encoded(encodings, section.steps, preset) + saved, filling


def _stepped(runs: list[list[float]], steps: int, fills: int) -> tuple[float, float]:
    """Return the seconds of ``steps`` and those of ``fills`` of a bank; ``runs`` are the steps of each rehearsal."""
    first = runs[0]
    if not first:
        return 0.0, 0.0
    filled = (0, REFILLED) if fills else (0,)
    plain = statistics.median(
        [seconds for times in runs for place, seconds in enumerate(times) if place not in filled] or first
    )
    again = REFILLED if len(first) > REFILLED else 0
    fill = max(0.0, statistics.median(times[again] for times in runs) - plain) if fills else 0.0
    return steps * plain + max(0.0, first[0] - plain - fill), fills * fill


def _encoded(seconds: list[float], steps: int, preset: Preset) -> float:
    """Return the seconds of all encodings in ``steps``; of those tried, 0 are of steps without one."""
    return _all([one for one in seconds if one], -(-steps // preset.storage.every))


def _all(times: list[float], number: int) -> float:
    """Return the seconds of ``number`` of what took ``times``, of which the first has what happens once."""
    if not times or not number:
        return 0.0
    usual = statistics.median(times[1:] or times)
    return number * usual + max(0.0, times[0] - usual)


def _boundaries(steps: int, every: int) -> int:
    """Return how many boundaries of steps are the first, the last, or one that ``every`` divides."""
    return -(-steps // every) + 1


def _begins_table(event: Event) -> bool:
    return isinstance(event, StageStarted) and event.stage == "evaluate"


def _chooses_baseline(event: Event) -> bool:
    return isinstance(event, NetworkTrained) and event.split == "val" and event.what.partition(" ")[0] in COMPRESSED


def _at(epochs: int, known: list[tuple[int, float]]) -> float:
    """Return the seconds of ``epochs`` on the line through ``known``: pairs of epochs and seconds.

    An epoch costs no less than nothing.
    """
    few, seconds = known[0]
    more, longer = known[-1]
    an_epoch = max(0.0, (longer - seconds) / (more - few)) if more > few else 0.0
    return seconds + (epochs - few) * an_epoch


def _memory(preset: Preset, device: str, seen: int) -> int:
    """Return the most bytes that were held: on the CPU ``seen``, of this process and all below it at once.

    Where the system does not tell that (0): the most of this process, and that of the largest which trains networks,
    times as many as a run has.
    """
    if device.startswith("cuda"):
        return torch.cuda.max_memory_reserved(torch.device(device))
    if seen:
        return seen
    unit = 1 if sys.platform == "darwin" else 1024
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    evaluation = preset.evaluation
    processes = max(_at_once(preset, networks) for networks in (evaluation.repeats, evaluation.selection_repeats))
    return unit * (own + processes * child if processes > 1 else own)


def _bank_bytes(preset: Preset, sizes: Sizes) -> int:
    """Return the bytes of the networks that a run's bank keeps, without the one of a rehearsal's."""
    fills = named(preset.dynamic.objective).banked_networks(preset) if "dynamic" in preset.stages else 0
    kept = min(KEPT_NETWORKS, fills, getattr(preset.dynamic.settings, "bank", fills))
    if kept < 2:
        return 0
    model = preset.evaluation.models[0]
    network = video_model(model, sizes.classes, sizes.frames, sizes.side, 0, torch.device("cpu"))
    return (kept - 1) * sum(4 * parameter.numel() for parameter in network.parameters())


def _longer(networks: int, tried: int, at_once: int) -> float:
    """Return how many times as long ``networks`` take as those ``tried``, with so many trained ``at_once``.

    Of three networks on two cores the last is trained alone, and takes as long as the two before it.
    """
    return math.ceil(networks / at_once) / math.ceil(tried / at_once)


def _at_once(preset: Preset, networks: int) -> int:
    """Return how many of ``networks`` of a row are trained at once."""
    on_cpu = choose_device(preset.run.device).type == "cpu"
    return shares(torch.get_num_threads(), networks)[1] if on_cpu and not started_by_torchrun() else 1
