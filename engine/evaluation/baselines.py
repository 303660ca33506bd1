"""Baselines of real clips, compressed into as many bytes as a set: how they are filled, and the choice of a storage.

A set of some kilobytes competes with all that a codec makes of real clips in as many: many poor ones or few good ones.
Which is best is found on the validation split, as the iteration of the set is, among the rungs of a small ladder. A
baseline stored in one way that somebody happened to name would be weak, and a victory over it worthless.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from engine.config.budget import AV1_AS, Kept
from engine.data.batches import RealClips
from engine.data.spec import ClipSpec
from engine.errors import DataError
from engine.evaluation.judge import Judge
from engine.evaluation.requests import Watch
from engine.evaluation.rungs import Held, in_a_name, judged, worth_judging
from engine.evaluation.subjects import Subject
from engine.evaluation.trials import Trial
from engine.files import read_json, write_bytes, write_json
from engine.models import Network
from engine.seeds import generator
from engine.selection import select_coreset
from engine.synthetic import Coreset
from engine.synthetic.compressed import Stored, clip_bytes, compressed_clips
from engine.synthetic.container import unpack
from engine.synthetic.storage import Storage
from engine.synthetic.streams import Coding

QUALITIES = (18, 28, 35, 43, 51)
"""Rate factors of H.264 on the ladder."""
SHARES = (1.0, 0.5, 0.25)
"""Sides on the ladder, of the clips' own; LEAST_SIDE pixels or more."""
LEAST_SIDE = 16
AV1 = 10
"""The quality of AV1 on the ladder: of stills, and of whole clips at their own side, where it takes fewer bytes."""
FRAMES = (4, 2, 1)
"""Frames of a clip on the ladder beside all of them, each shown for its share of the time; one is a still."""
FIXED = "h264-28"
"""The storage where there is no validation split to choose by; the next coarser rung where it cannot hold a clip."""
SAMPLED = 1000
"""Clips that are encoded to tell how many bytes all training clips take."""


@dataclasses.dataclass(frozen=True)
class Rung:
    """One way to store clips: a ``storage`` as ``Storage.parse`` reads it, and what is left of the clips."""

    storage: str
    frames: int = 0
    side: int = 0
    quality: int = 0
    """The rate factor; the smaller, the better. Of AV1 that of H.264 which keeps more than it."""
    codec: str = "h264"

    @property
    def title(self) -> str:
        """The text that tells the rung from all others: its storage."""
        return self.storage

    def as_good(self, other: Rung) -> bool:
        """Return whether nothing that a codec keeps of a clip is less than on ``other``."""
        return self._kept.as_good(other._kept)

    @property
    def _kept(self) -> Kept:
        return Kept(self.codec, self.quality, self.side, self.frames)


def ladder(spec: ClipSpec) -> list[Rung]:
    """Return the rungs for clips of ``spec``, each after all that are better in everything."""
    own = min(spec.height, spec.width)
    sides = dict.fromkeys(own if share == 1 else max(LEAST_SIDE, 8 * round(share * own / 8)) for share in SHARES)
    rungs = []
    for frames in (spec.frames, *(number for number in FRAMES if number < spec.frames)):
        for side in (side for side in sides if side <= own):
            for quality in QUALITIES:
                size, stored = None if side == own else side, None if frames == spec.frames else frames
                rungs.append(Rung(str(Coding("h264", quality, size, stored)), frames, side, quality))
                if quality == AV1_AS and (frames == 1 or (side == own and frames == spec.frames)):
                    rungs.append(Rung(str(Coding("av1", AV1, size, stored)), frames, side, AV1_AS, "av1"))
    return rungs


class Shelf:
    """Real clips of one baseline in files of at most ``budget`` bytes, each made once and kept in a folder.

    ``order`` gives the clips of each class by draw, the first to be taken first, at most ``most`` of them. There are
    ``draws`` of random clips, all with the same number; chosen ones are the same for every network.
    """

    def __init__(
        self,
        what: str,
        train: RealClips,
        budget: int,
        most: int,
        order: Callable[[int], Sequence[torch.Tensor]],
        *,
        draws: int,
        seed: int,
        folder: Path | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.what, self.train, self.budget, self.most = what, train, budget, most
        self.drawn = what == "compressed-random"
        self._draws = draws if self.drawn else 1
        self._order, self._check = order, check
        key = json.dumps([train.digest(), budget, seed])
        self._stem = f"{what}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        self._folder = folder
        self._known: dict[tuple[str, int, int], bytes] = {}

    def held(self, rung: Rung) -> Held[Rung] | None:
        """Return how many clips of each class ``rung`` holds in every draw; None if there is a draw of none."""
        numbers = []
        for draw in range(self._draws):
            blob = self._blob(rung.storage, draw, self.most)
            if not blob:
                return None
            numbers.append(_per_class(blob))
        sizes = [len(self._cut(rung.storage, draw, min(numbers))) for draw in range(self._draws)]
        return Held(rung, min(numbers), max(sizes))

    def decoded(self, one: Held[Rung], number: int) -> Coreset:
        """Return what network ``number`` is trained on."""
        draw = number % self._draws
        stored = Stored(self._cut(one.rung.storage, draw, one.per_class), Storage.parse(one.rung.storage))
        return cast(Coreset, stored.decode(self.train.device))

    def subject(self, one: Held[Rung]) -> Subject:
        """Return the row of clips that are stored so."""
        spec, available = self.train.spec, self.available
        clips = sum(min(one.per_class, number) for number in available)
        return Subject(
            self.what,
            partial(self.decoded, one),
            one.per_class,
            one.nbytes,
            clips * spec.frames * spec.height * spec.width * 3,
            "codec",
            storage=one.rung.storage,
            drawn=self.drawn,
            distinct_clips=clips if clips < one.per_class * len(available) else None,
            capped=one.per_class == self.most < max(available),
        )

    @property
    def available(self) -> list[int]:
        """The number of training clips of each class."""
        return [self.train.available(label) for label in range(len(self.train.spec.classes))]

    def _cut(self, storage: str, draw: int, per_class: int) -> bytes:
        """The file of a draw that holds ``per_class`` clips of each class, or more, with only so many."""
        whole = self._blob(storage, draw, self.most)
        return whole if _per_class(whole) == per_class else self._blob(storage, draw, per_class)

    def _blob(self, storage: str, draw: int, most: int) -> bytes:
        """The file of as many clips of each class as fit, up to ``most``; empty if not even one does."""
        place = (storage, draw, most)
        if place not in self._known:
            self._known[place] = self._kept(*place)
        return self._known[place]

    def _kept(self, storage: str, draw: int, most: int) -> bytes:
        """The file's content, from the folder if it is there."""
        name = f"{self._stem}-{in_a_name(storage)}-{draw}-{most}.vds"
        path = None if self._folder is None else self._folder / name
        if path is not None and path.is_file():
            return path.read_bytes()
        blob = self._made(storage, draw, most)
        if path is not None:
            write_bytes(path, blob)
        return blob

    def _made(self, storage: str, draw: int, most: int) -> bytes:
        order = [own[:most] for own in self._order(draw)]
        if any(not len(own) for own in order):
            return b""
        try:
            found = compressed_clips(self.train, self.budget, order, storage, check=self._check)
        except DataError:
            return b""
        return found.stored.blob


def _per_class(blob: bytes) -> int:
    """The number of clips of each class in a file."""
    head, _ = unpack(blob)
    return int(head["ipc"])


def random_order(train: RealClips, seed: int) -> Callable[[int], list[torch.Tensor]]:
    """Return the order of draw k: all clips of each class, shuffled by ``seed`` and k."""

    def order(draw: int) -> list[torch.Tensor]:
        return [
            train.pick(label, train.available(label), generator(seed, "compressed-random", draw, label))
            for label in range(len(train.spec.classes))
        ]

    return order


def chosen_order(
    train: RealClips,
    method: str,
    most: int,
    seed: int,
    network: Callable[[], Network],
    precision: torch.dtype,
    check: Callable[[], None] = lambda: None,
) -> Callable[[int], list[torch.Tensor]]:
    """Return the order of every draw: the first ``most`` clips that ``method`` takes by what ``network`` makes of them.

    The network is asked for once, when the first file is filled. What a clip adds to the coverage of its class is for
    its bytes, as FIXED; ``check`` is called between clips, and may raise.
    """
    known: list[torch.Tensor] = []

    def order(draw: int) -> list[torch.Tensor]:
        if not known:
            number = min(most, max(train.available(label) for label in range(len(train.spec.classes))))
            costs = clip_costs(train, method, check)
            known.extend(select_coreset(train, method, number, seed, network(), precision, check=check, costs=costs))
        return known

    return order


def clip_costs(train: RealClips, method: str, check: Callable[[], None] = lambda: None) -> torch.Tensor | None:
    """Return what each clip costs where bytes are counted, int64 (n); None if ``method`` asks for no costs.

    These are the bytes that a clip takes as FIXED, whatever it is stored as: one order serves all rungs.
    """
    return clip_bytes(train, FIXED, check) if method == "coverage" else None


# --- the choice of a rung --------------------------------------------------------------------------------------------


def held(shelf: Shelf, rungs: Sequence[Rung]) -> list[Held[Rung]]:
    """Return the rungs that may be best in the bytes of ``shelf``, at most MOST_RUNGS, by clips per class.

    Left out are those that hold no clip, and those of which another, as good in everything, holds as many clips; where
    more are left, they are taken evenly among them. None is encoded that cannot be needed.
    """
    found: list[Held[Rung]] = []
    full = min(shelf.most, max(shelf.available))
    for rung in rungs:
        if any(one.per_class >= full and one.rung.as_good(rung) for one in found):
            continue
        if (one := shelf.held(rung)) is not None:
            found.append(one)
    return worth_judging(found)


def fixed(shelf: Shelf, rungs: Sequence[Rung]) -> Held[Rung] | None:
    """Return FIXED, or where it cannot hold a clip the first coarser rung of its codec that can; None if none can."""
    return next((one for rung in from_fixed(rungs) if (one := shelf.held(rung)) is not None), None)


def from_fixed(rungs: Sequence[Rung]) -> list[Rung]:
    """Return FIXED and the coarser ones of its codec among ``rungs``, in their order."""
    start = next(rung for rung in rungs if rung.storage == FIXED)
    return [start, *(rung for rung in rungs if rung is not start and rung.codec == start.codec and start.as_good(rung))]


def judged_rungs(
    shelf: Shelf,
    rungs: Sequence[Held[Rung]],
    judge: Judge,
    val: RealClips,
    folder: Path,
    watch: Watch,
    finished: Callable[[Held[Rung], Trial], None] = lambda rung, trial: None,
) -> list[float]:
    """Return the mean accuracy on ``val`` of networks that are trained on each of ``rungs``.

    As many networks as evaluate a step, of the seeds that choose and not of those that report; finished ones are kept
    in ``folder``. ``watch`` and ``finished`` are as in ``rows.judged``.
    """
    networks = judged(shelf, rungs, judge, val, folder, watch, finished)
    return [statistics.fmean(trial.outcome.top1 for trial in own) for _, own in networks]


def all_clips(train: RealClips, seed: int, file: Path | None = None) -> dict[str, Any]:
    """Return the bytes of all clips of ``train`` as FIXED: ``{storage, clips, encoded, bytes}``.

    With more than SAMPLED clips it is an estimate by about so many of them. It is kept in ``file``.
    """
    known = None if file is None else read_json(file)
    if known is not None:
        return known
    labels = range(len(train.spec.classes))
    share = max(1, SAMPLED // len(labels)) if len(train) > SAMPLED else len(train)
    order = [train.pick(label, share, generator(seed, "all-clips", label)) for label in labels]
    encoded = sum(map(len, order))
    found = compressed_clips(train, 1 << 62, order, FIXED)
    size = round(found.nbytes * len(train) / encoded)
    document = {"storage": FIXED, "clips": len(train), "encoded": encoded, "bytes": size}
    if file is not None:
        write_json(file, document)
    return document
