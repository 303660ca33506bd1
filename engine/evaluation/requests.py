"""Networks that are wanted, in the order in which their trials are, and the progress of those who train them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from engine.data.batches import RealClips
from engine.evaluation.protocols import Recipe
from engine.evaluation.training import TrainingData
from engine.evaluation.trials import Trial, TrialCache, trial_key


@dataclass(frozen=True)
class Request:
    """One network that is wanted. Clips and teacher are made when its turn comes, unless its trial is known."""

    data: Callable[[], TrainingData]
    real: RealClips
    recipe: Recipe
    seed: int
    cache: TrialCache
    teacher: Callable[[Callable[[float], None]], nn.Module] | None = None
    """Returns the teacher; its argument is called with the part of the teacher that is trained."""


@dataclass(frozen=True)
class QueueState:
    """The progress of the networks that were asked for."""

    finished: int
    known: int
    """Finished ones that were in the cache."""
    now: tuple[tuple[int, float], ...]
    """(place in the queue, part that is done) of those that are being trained, in the order of the queue."""

    @property
    def networks(self) -> float:
        """The number of networks that are done, parts of them counted."""
        return self.finished + sum(part for _, part in self.now)


Watch = Callable[[QueueState], None]


@dataclass(frozen=True)
class Wanted:
    """A network that must be trained: its place in the queue, what it is trained on, and its teacher, if it has one."""

    place: int
    request: Request
    data: TrainingData
    teacher: nn.Module | None


class Queue:
    """The requests in order: those to come, those under way, and finished ones that an earlier one holds up."""

    def __init__(self, requests: Iterable[Request], watch: Watch, threads: int | None = None) -> None:
        """Take the threads of each network where they are not those of this process."""
        self._requests = enumerate(requests)
        self._threads, self._watch = threads, watch
        self._keys: dict[int, tuple[str, TrialCache]] = {}
        self._done: dict[int, Trial] = {}
        self._finished = self._known = self._answered = 0
        self._under_way: dict[int, float] = {}

    def next(self) -> Wanted | None:
        """Return the next network that must be trained, with its teacher, or None if there is none."""
        for place, request in self._requests:
            data = request.data()
            key = trial_key(data, request.real, request.recipe, self._threads)
            known = request.cache.load(key, request.seed)
            if known is None:
                self._keys[place] = key, request.cache
                self._under_way[place] = 0.0
                return Wanted(place, request, data, self._teacher(place, request))
            self._done[place] = known
            self._finished += 1
            self._known += 1
            self.report()
        return None

    def _teacher(self, place: int, request: Request) -> nn.Module | None:
        def teach(part: float) -> None:
            self.progress(place, part)
            self.report()

        return None if request.teacher is None else request.teacher(teach)

    def progress(self, place: int, part: float) -> None:
        """Note that ``part`` of the network at ``place`` is done."""
        self._under_way[place] = part

    def finish(self, place: int, trial: Trial) -> None:
        """Keep the trial of the network at ``place`` at once."""
        key, cache = self._keys.pop(place)
        cache.save(key, trial)
        del self._under_way[place]
        self._done[place] = trial
        self._finished += 1

    def answers(self) -> Iterator[Trial]:
        """Yield the trials whose turn it is in the order of the requests."""
        while self._answered in self._done:
            self._answered += 1
            yield self._done.pop(self._answered - 1)

    def report(self) -> None:
        """Call ``watch`` with the present state."""
        self._watch(QueueState(self._finished, self._known, tuple(sorted(self._under_way.items()))))


def networks_text(queue: QueueState, titles: Sequence[str], repeats: int) -> str:
    """Return the networks that are trained now as ``random: networks 1, 2 of 3``.

    ``titles`` are those of the rows, each of ``repeats`` networks.
    """
    rows: dict[int, list[int]] = {}
    for place, _ in queue.now:
        rows.setdefault(place // repeats, []).append(place % repeats + 1)
    return "; ".join(
        f"{titles[row]}: network{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))} of {repeats}"
        for row, numbers in rows.items()
    )
