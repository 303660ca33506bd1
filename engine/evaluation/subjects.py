"""What rows of a table are about: a set, or real clips beside it, as networks are trained on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from engine.data.batches import RealClips
from engine.evaluation.training import TrainingData
from engine.models import Network
from engine.seeds import generator
from engine.selection import coreset, select_coreset
from engine.synthetic import Coreset, LoadedSet, SyntheticSet
from engine.synthetic.compressed import Storage, Stored, compressed_clips, encode_set
from engine.text import one_line

NAMED_CLASSES = 3
"""As many classes with too few clips are named."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """What a row of a table is about: what networks are trained on, and what it takes to store that."""

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
    """Whether each network gets another draw."""
    storage: str | None = None
    """How it is stored where that is not plain numbers, such as ``h264-23``."""
    distinct_clips: int | None = None
    """Of real clips: how many there are, where classes with too few show theirs again."""


def set_of_run(chosen: LoadedSet, what: str) -> Subject:
    """The set that was learned, or the coreset that was chosen, at the precision of its file, as the row ``what``."""
    subject, origin = of_set(what, chosen.synthetic, chosen.precision), chosen.provenance
    if not chosen.synthetic.description.learned:
        return subject
    return dataclasses.replace(subject, selected_on=origin.selected_on, step=origin.step, step_size=origin.step_size)


def of_set(what: str, synthetic: SyntheticSet, precision: str = "float32") -> Subject:
    """A set that is the same for all networks."""
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
    """Return how many clips a set of real ones has, if it has fewer than instances."""
    number = sum(synthetic.distinct or ())
    return number if 0 < number < len(synthetic.spec.classes) * synthetic.ipc else None


def random_clips(train: RealClips, ipc: int, seed: int) -> Subject:
    """``ipc`` random real training clips per class, drawn anew for every network; a small class repeats its own."""

    def drawn(k: int) -> Coreset:
        return coreset(train, select_coreset(train, "random", ipc, seed, number=k))

    return dataclasses.replace(of_set("random", drawn(0), "uint8"), data=drawn, drawn=True)


def full_data(train: RealClips) -> Subject:
    """All clips that may be learned from."""
    spec = train.spec
    values = len(train) * spec.frames * spec.height * spec.width * 3
    return Subject("full", lambda k: train, None, values, values, "uint8")


def as_stored(subject: Subject, how: Storage, networks: int) -> Subject:
    """``subject`` as it comes out of a file that stores it as ``how``; its bytes are those of the (largest) file."""

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


def compressed_real(
    train: RealClips,
    budget: int,
    how: Storage,
    seed: int,
    networks: int,
    network: Network | None,
    precision: torch.dtype,
) -> Subject:
    """The honest rival: as many real clips of each class as ``budget`` bytes hold, stored as ``how``.

    Random ones, drawn anew for each network, or with a ``network`` those that herding takes first by its features.
    Raises DataError if not one clip of each class fits.
    """

    def filled(k: int) -> tuple[Stored, Coreset]:
        order = [
            train.pick(label, train.available(label), generator(seed, "compressed-random", k, label))
            for label in range(len(train.spec.classes))
        ]
        if network is not None:
            most = max(len(own) for own in order)
            order = list(select_coreset(train, "herding", most, seed, network, precision))
        return compressed_clips(train, budget, order, how)

    sets = {k: filled(k) for k in range(1 if network is not None else networks)}
    _, first = sets[0]
    return Subject(
        "compressed-random" if network is None else "compressed-herding",
        lambda k: sets[k if network is None else 0][1],
        first.ipc,
        max(len(stored.blob) for stored, _ in sets.values()),
        first.stored_values,
        "codec",
        storage=str(how),
        drawn=network is None,
        distinct_clips=_distinct_clips(first),
    )


def scarce_coreset(train: RealClips, ipc: int) -> str:
    """What to warn of where a coreset of ``ipc`` clips per class wants more of ``train`` than there are; or ""."""
    few = train.fewer(ipc)
    again = "networks see these again in each epoch, and each is stored and counted once"
    return (
        f"{ipc} real clips of each class are wanted, but of training clips {counted_classes(few)}; {again}"
        if few
        else ""
    )


def counted_classes(few: dict[str, int]) -> str:
    """``few``, number of training clips by class, in words; a handful of classes is named."""
    named = [f"{one_line(name)[:40]} has {count}" for name, count in sorted(few.items(), key=lambda item: item[1])]
    more = [f"and {len(named) - NAMED_CLASSES} more too few"] if len(named) > NAMED_CLASSES else []
    return ", ".join([*named[:NAMED_CLASSES], *more])
