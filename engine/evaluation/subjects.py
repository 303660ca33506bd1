"""The subjects of rows of a table: a set, or real clips beside it, as networks are trained on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from engine.config.kinds import CLASS_MEAN, KINDS, MEAN_FRAME
from engine.data.batches import RealClips
from engine.evaluation.training import TrainingData
from engine.seeds import generator
from engine.selection import coreset, select_coreset
from engine.synthetic import Coreset, LoadedSet, SyntheticSet
from engine.synthetic.compressed import Stored, encode_set
from engine.synthetic.start import mean_frames
from engine.synthetic.still import StillVideo
from engine.synthetic.storage import Storage
from engine.text import one_line

MEAN_OF = 128
"""The most clips of a class whose mean frame is taken: a data set of terabytes is not read for one image a class."""
MEAN_STORED = "av1-10"
"""The storage of mean frames: that of the presets `stills` and `mean-frame`."""
NAMED_CLASSES = 3
"""The number of classes with too few clips that are named."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """The subject of a row of a table: the clips that networks are trained on, and what it takes to store them."""

    what: str
    data: Callable[[int], TrainingData]
    """The clips that network k is trained on; random clips are drawn anew for each."""
    ipc: int | None
    nbytes: int
    stored_values: int
    precision: str
    selected_on: str = "none"
    step: int | None = None
    step_size: float | None = None
    """The learning rate that was learned with the set."""
    drawn: bool = False
    """True if each network gets another draw."""
    storage: str | None = None
    """The codec where it is not stored as plain numbers, such as ``h264-23``."""
    distinct_clips: int | None = None
    """The number of real clips, where classes with too few show theirs again."""
    objective: str | None = None
    """The objective that learned the set, or the set that this is part of; None for real clips and older files."""
    capped: bool = False
    """True if more real clips would fit into the bytes, and were left out for the sake of time."""
    ladder: tuple[dict[str, Any], ...] | None = None
    """The ways to store real clips among which theirs was chosen."""


def set_of_run(chosen: LoadedSet, name: str) -> Subject:
    """Return the set of a run, learned or chosen, at the precision of its file, as the row ``name``."""
    subject, origin = _of_file(name, chosen), chosen.provenance
    if not chosen.synthetic.description.learned or name == MEAN_FRAME:
        return subject
    return dataclasses.replace(
        subject,
        selected_on=origin.selected_on,
        step=origin.step,
        step_size=origin.step_size,
        objective=origin.objective,
    )


def of_baseline(chosen: LoadedSet, name: str) -> Subject:
    """Return the set ``name`` that the learned set contains, such as its static memory as clips that do not move."""
    contained = of_set(name, chosen.synthetic.baselines()[name])
    if chosen.storage is not None:
        contained = as_stored(contained, chosen.storage.alone(KINDS[name]), 1)
    return dataclasses.replace(contained, objective=chosen.provenance.objective)


def _of_file(what: str, chosen: LoadedSet) -> Subject:
    """Return the subject of a set from a file; one that is coded counts the bytes of its file."""
    if chosen.storage is None:
        return of_set(what, chosen.synthetic, chosen.precision)
    assert chosen.nbytes is not None
    coded = of_set(what, chosen.synthetic)
    return dataclasses.replace(coded, nbytes=chosen.nbytes, precision="codec", storage=str(chosen.storage))


def of_set(what: str, synthetic: SyntheticSet, precision: str = "float32") -> Subject:
    """Return the subject of a set that is the same for all networks."""
    return Subject(
        what,
        lambda k: synthetic,
        synthetic.ipc,
        synthetic.nbytes(precision),
        synthetic.stored_values,
        precision,
        distinct_clips=_distinct_clips(synthetic),
    )


def _distinct_clips(synthetic: SyntheticSet) -> int | None:
    """Return the number of clips of a set of real ones if it has fewer than instances, else None."""
    number = sum(synthetic.distinct or ())
    return number if 0 < number < len(synthetic.spec.classes) * synthetic.ipc else None


def random_clips(train: RealClips, ipc: int, seed: int) -> Subject:
    """Return ``ipc`` random training clips of each class, drawn anew for every network; a small class repeats clips."""

    def drawn(k: int) -> Coreset:
        return coreset(train, select_coreset(train, "random", ipc, seed, number=k))

    return dataclasses.replace(of_set("random", drawn(0), "uint8"), data=drawn, drawn=True)


def class_mean(train: RealClips, seed: int, check: Callable[[], None] = lambda: None) -> Subject:
    """Return the mean frame of each class as MEAN_STORED stores it: what a set must beat that takes more bytes.

    It is over all frames of MEAN_OF random training clips of each class, or of all, where these are no more. ``check``
    is called between reads, and may raise.
    """
    labels = range(len(train.spec.classes))
    chosen = [train.pick(label, MEAN_OF, generator(seed, CLASS_MEAN, label)).sort().values for label in labels]
    still = StillVideo(train.spec, 1, mean_frames(train, chosen, check).unsqueeze(1))
    return as_stored(of_set(CLASS_MEAN, still), Storage.parse(MEAN_STORED), 1)


def full_data(train: RealClips) -> Subject:
    """Return all clips that may be learned from."""
    spec = train.spec
    values = len(train) * spec.frames * spec.height * spec.width * 3
    return Subject("full", lambda k: train, None, values, values, "uint8")


def as_stored(subject: Subject, how: Storage, networks: int) -> Subject:
    """Return ``subject`` as it comes out of a file that stores it as ``how``; its bytes are the largest file's."""

    def encoded(k: int) -> Stored:
        synthetic = subject.data(k)
        assert isinstance(synthetic, SyntheticSet)
        return encode_set(synthetic, how)

    files = {k: encoded(k) for k in range(networks)} if subject.drawn else {0: encoded(0)}
    first = subject.data(0)
    return dataclasses.replace(
        subject,
        data=lambda k: files[k if subject.drawn else 0].decode(first.device),
        nbytes=max(len(stored.blob) for stored in files.values()),
        precision=how.precision or "codec",
        storage=str(how),
    )


def scarce_coreset(train: RealClips, ipc: int) -> str:
    """Return a warning if a coreset of ``ipc`` clips per class wants more of ``train`` than there are, else ""."""
    few = train.fewer(ipc)
    again = "networks see these again in each epoch, and each is stored and counted once"
    return (
        f"{ipc} real clips of each class are wanted, but of training clips {counted_classes(few)}; {again}"
        if few
        else ""
    )


def counted_classes(few: dict[str, int]) -> str:
    """Return ``few``, number of training clips by class, in words; NAMED_CLASSES of them are named."""
    named = [f"{one_line(name)[:40]} has {count}" for name, count in sorted(few.items(), key=lambda item: item[1])]
    more = [f"and {len(named) - NAMED_CLASSES} more too few"] if len(named) > NAMED_CLASSES else []
    return ", ".join([*named[:NAMED_CLASSES], *more])
