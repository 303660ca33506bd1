"""The plan of a run before it is started: its time and memory, measured by rehearsing it here with its own data.

What a step costs depends on the machine, the number format, the decoder's page cache and the bank of targets. So the
very preset is run twice in a temporary folder, with a few steps and epochs (``rehearsal``), and each part is multiplied
by how often it will happen (``plan_parts``).

Where a budget of bytes is to be spent, networks choose how, and all later costs follow from it. Networks of few epochs
would choose something else, so there is one rehearsal with all epochs, if the time allows it.

Where even that would take longer than ``LIMIT``, passes of a few clips are timed and multiplied by their number
(``reckoning``), so that every plan is there within two minutes.
"""

from __future__ import annotations

import dataclasses
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from engine.config import Preset
from engine.config.choosing import split_of_choice
from engine.config.counts import length_of
from engine.config.networks import still_network
from engine.config.objectives import named
from engine.config.size import plain_bytes, stored_values
from engine.config.storage import PLAIN
from engine.distilling.keeping import storage_of
from engine.distilling.plan_parts import Part, networks_at_once, parts_of
from engine.distilling.reckoning import Counted, Sizes, measure, reckon, total
from engine.distilling.rehearsal import STEPS, Rehearsal, shortened
from engine.evaluation.parts import open_parts, train_and_val
from engine.events import Event
from engine.export.wording import duration
from engine.machine.imports import own_environment
from engine.machine.usage import MemoryPeak
from engine.matching.bank import KEPT_NETWORKS
from engine.models import choose_device, still_model, video_model
from engine.models.base import Network
from engine.seeds import generator
from engine.synthetic import load_set, to_bytes

LIMIT = 45.0
"""The seconds that the passes of the rehearsals may take, as they are reckoned; what they do besides comes on top."""
EPOCHS = (1, 3)
"""Epochs of the networks in the two rehearsals."""
STEPS_OF_NETWORKS = (4, 12)
"""Their steps, where networks count these."""
STARTS = 2
"""Processes that are started to see how long that takes: what is not in memory yet makes the first one slow."""


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
    whole_length, few = length_of(preset.evaluation), STEPS_OF_NETWORKS if preset.evaluation.steps else EPOCHS
    lengths: tuple[int, ...] = few if whole_length > few[0] else (whole_length,)
    with tempfile.TemporaryDirectory(prefix="vdtui-plan-") as folder:
        sizes, data_bytes = sizes_of(preset, Path(folder))
        opening = time.monotonic() - began if preset.dataset.path is None else 0.0  # the demo's clips are made once
        start = _start_seconds()
        units = measure(preset, sizes)
        features = sizes.train * units.clips[preset.evaluation.models[0]].trained
        whole = reckon(preset, sizes, units)
        if whole is not None:

            def passes(*numbers: int) -> float:
                return sum(total(reckon(shortened(preset, number), sizes, units) or []) for number in numbers)

            if preset.storage.open_budget and passes(whole_length) <= LIMIT:
                lengths = (whole_length,)
            seconds = passes(*lengths)
            if seconds > LIMIT:
                tell(f"A rehearsal would take {duration(seconds)}; passes are counted instead.")
                return _reckoned(preset, whole, sizes, data_bytes, start + opening, began)
            how = "twice, with a few steps and epochs" if len(lengths) > 1 else "with a few steps"
            tell(f"Rehearsing the run {how}: about {duration(10 + 1.5 * seconds)} ...")
        with MemoryPeak() as peak:
            first = Rehearsal(preset, lengths[0], Path(folder), check)
        spent = _spent(preset, first.preset)
        rehearsals = [first, *(Rehearsal(spent, number, Path(folder), check) for number in lengths[1:])]
        best = first.best
        kept = load_set(best).synthetic if best.is_file() else None
        content, measured = _file(spent, best, Path(folder)) if kept else (b"", "")
    return Plan(
        tuple(parts_of(spent, sizes.classes, rehearsals, start, opening, features)),
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


def _spent(preset: Preset, rehearsed: Preset) -> Preset:
    """Return ``preset`` with its budget spent as that of ``rehearsed`` is."""
    return preset.model_copy(update={name: getattr(rehearsed, name) for name in ("synthetic", "storage")})


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
    processes = max(networks_at_once(preset, number) for number in (evaluation.repeats, evaluation.selection_repeats))
    return unit * (own + processes * child if processes > 1 else own)


def _bank_bytes(preset: Preset, sizes: Sizes) -> int:
    """Return the bytes that a run's target bank keeps beyond those of a rehearsal's, which has one network.

    They are of networks, and of the means of all classes, counted as if they were of embeddings themselves. Of two
    stages with a bank the larger counts: that of stage 1 is gone when stage 2 begins.
    """
    model, cpu = preset.evaluation.models[0], torch.device("cpu")
    classes, frames, side = sizes.classes, sizes.frames, sizes.side
    found = [0]
    # So few steps of stage 1 are rehearsed with the run's own bank.
    if (members := _members(preset, "static")) > 1 and preset.static.steps > STEPS:
        stills = still_model(still_network(preset), model, classes, frames, side, 0, cpu)
        found.append(_bank(members, stills, stills.embed, torch.zeros(classes, 3, side, side)))
    if (members := _members(preset, "dynamic")) > 1:
        clips = video_model(model, classes, frames, side, 0, cpu)
        embed = clips.pooled if preset.dynamic.embedding == "pooled" else clips.embed
        found.append(_bank(members, clips, embed, torch.zeros(classes, 3, frames, side, side)))
    return max(found)


def _members(preset: Preset, stage: str) -> int:
    """Return the most networks whose targets ``stage`` has at once; 0 without a bank."""
    if stage not in preset.stages:
        return 0
    section = getattr(preset, stage)
    fills = named(section.objective).banked_networks(preset, stage)
    return min(fills, getattr(section.settings, "bank", fills))


def _bank(members: int, network: Network, embed: Callable[[torch.Tensor], torch.Tensor], means: torch.Tensor) -> int:
    """Return the bytes of all ``members`` but one; ``means`` have the shape of what is embedded, one of each class."""
    with torch.no_grad():
        values = len(means) * embed(means[:1]).numel()
    weights = sum(parameter.numel() for parameter in network.parameters())
    return 4 * ((min(KEPT_NETWORKS, members) - 1) * weights + (members - 1) * values)
