"""Results of several runs side by side, and whether one is better than another.

Two results stand in one table only if everything about their measurement is the same (``results.conditions``). "Better"
means a 95 % interval of the difference that does not contain zero: paired where both were measured with networks of
the same seeds, Welch's otherwise. Without this, three networks of luck would be read as progress, and an accuracy of
one protocol as better than that of another. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.runs.directory import RunDirectory, find_run
from engine.runs.results import Result, conditions, identity, is_result, key_of, results_in, results_of
from engine.runs.state import RunState

LEVEL = 0.95
DISTILLING = ("experts", "static", "dynamic", "select")
"""The stages that make a set."""
CEILING = "full"
"""All of the training clips: no set competes with them, so they are never the best row."""


# --- what is compared ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Source:
    """A run, or a file of results, that the user named; ``run`` and ``folded`` are None of a file."""

    label: str
    results: tuple[Result, ...]
    run: RunDirectory | None = None
    folded: RunState | None = None


def read_sources(folder: Path, names: Iterable[str], note: Callable[[str], None]) -> list[Source]:
    """What ``names`` are: runs in ``folder``, paths of runs, or of JSON files with results. Each counts once.

    ``note`` is told, one line each, of what is left out. Raises UsageError for unknown runs (with the nearest name),
    DataError for files without results, RunError for damaged runs.
    """
    found: dict[Path, tuple[str, RunDirectory | None]] = {}
    for name in names:
        is_file = name.endswith(".json") and not any(path.is_dir() for path in (folder / name, Path(name)))
        run = None if is_file else find_run(folder, name)
        found.setdefault((Path(name) if run is None else run.path).resolve(), (name, run))
    taken = [run.name for _, run in found.values() if run is not None]
    sources = []
    for name, run in found.values():
        if run is None:
            sources += _of_file(Path(name))
            continue
        folded = run.folded()
        results = tuple(one for one in results_of(run, folded, note) if is_result(one))
        label = run.name if taken.count(run.name) == 1 else name.rstrip("/")
        if not results:
            note(f"{label} has no results yet; it is left out of the tables.")
        sources.append(Source(label, results, run, folded))
    return sources


def _of_file(path: Path) -> list[Source]:
    """The results of a file, by what was measured: a compared or evaluated result says whose it is."""
    by_label: dict[str, list[Result]] = {}
    for result in results_in(path):
        label = str(result.get("run") or result.get("source") or path.stem)
        by_label.setdefault(label, []).append(result)
    return [Source(label, tuple(results)) for label, results in by_label.items()]


def distilled_seconds(folded: RunState) -> float | None:
    """Seconds that it took to make the set of a run, evaluations on the way included; None if it is not made.

    A stage says what its last worker spent on it; of a run that was resumed, the working time of all its workers,
    less what was not distillation, is nearer to what was paid.
    """
    stages = [stage for stage in folded.stages.values() if stage.finished]
    spent = sum(stage.seconds for stage in stages if stage.name in DISTILLING)
    if not spent:
        return None
    other = sum(stage.seconds for stage in stages if stage.name not in DISTILLING)
    return max(spent, folded.seconds - other)


# --- tables ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference of two mean accuracies, and the interval that has the true one with 95 % confidence; fractions."""

    value: float
    low: float | None = None
    high: float | None = None
    test: str | None = None
    """``paired`` or ``welch``; None, like the interval, where a single network has no spread."""

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``within noise``, or ``no interval``."""
        if self.low is None or self.high is None:
            return "no interval"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "within noise"


@dataclasses.dataclass(frozen=True)
class Row:
    """One result of one run."""

    run: str
    result: Result
    seconds: float | None
    """What it took to make the set; None for what is not made, such as random clips."""
    best: bool
    """Whether no other row of the group, but all of the data, has a higher mean."""
    over_random: Difference | None
    """To random real clips of as many instances under the same conditions (DD-Ranking: Li et al. 2024)."""
    over_best: Difference | None
    """To the best row; None for itself and for all of the data."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows that may be compared; ``conditions`` is what they have in common (``results.conditions``)."""

    conditions: dict[str, Any]
    rows: tuple[Row, ...]
    dataset: str = ""
    """Its name, where a run tells it."""

    @property
    def deviations(self) -> list[str]:
        """Where the protocol's own values were changed, in text; each once."""
        listed = [row.result.get("deviations") for row in self.rows]
        return list(dict.fromkeys(str(text) for texts in listed if isinstance(texts, list) for text in texts))

    @property
    def cautions(self) -> list[str]:
        """Rows with networks that learned nothing, in text."""
        rows = [row for row in self.rows if row.result.get("caution")]
        return [f"{row.run}, {row.result['what']}: {row.result['caution']}" for row in rows]


@dataclasses.dataclass(frozen=True)
class _Entry:
    run: str
    result: Result
    seconds: float | None
    dataset: str


def compare(sources: Sequence[Source]) -> list[Group]:
    """The results of ``sources`` in groups of equal conditions, in the order in which they come."""
    grouped: dict[str, list[_Entry]] = {}
    seen = set()
    for source in sources:
        seconds = distilled_seconds(source.folded) if source.folded is not None else None
        meta = source.run.meta() if source.run is not None else {}
        for result in source.results:
            name = (source.label, identity(result), str(result["top1"]))
            if name in seen:
                continue  # a run, and the file that `evaluate --output` wrote of it
            seen.add(name)
            known = meta.get("data_fingerprint") == result.get("data_fingerprint")
            dataset = str(meta.get("dataset") or "") if known else ""
            grouped.setdefault(key_of(result), []).append(_Entry(source.label, result, seconds, dataset))
    return [
        Group(
            conditions(entries[0].result),
            _rows(entries),
            next((entry.dataset for entry in entries if entry.dataset), ""),
        )
        for entries in grouped.values()
    ]


def _rows(entries: list[_Entry]) -> tuple[Row, ...]:
    rivals = [entry for entry in entries if entry.result["what"] != CEILING] or entries
    best = max(rivals, key=lambda entry: entry.result["top1"]["mean"])
    rows = []
    for entry in entries:
        result = entry.result
        own, random = _networks(result), _random(result, entries)
        compared = entry is not best and result["what"] != CEILING
        rows.append(
            Row(
                entry.run,
                result,
                entry.seconds if _is_made(result) else None,
                entry is best,
                difference(own, random) if random else None,
                difference(own, [_networks(best.result)]) if compared else None,
            )
        )
    return tuple(rows)


def _is_made(result: Result) -> bool:
    what = result["what"]
    if what == "static-only":
        return result.get("step") is not None  # the still video of another set has no step: nothing was made for it
    return what not in ("random", CEILING) and not what.startswith("compressed-")


def _random(result: Result, entries: list[_Entry]) -> list[Networks]:
    """Random real clips of as many instances as ``result``; of no random clips, and of all of the data, none."""
    if result["what"] in ("random", CEILING):
        return []
    same = [
        entry.result
        for entry in entries
        if entry.result["what"] == "random" and entry.result.get("ipc") == result.get("ipc")
    ]
    return _distinct(map(_networks, same))


# --- differences -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Networks:
    """Accuracies of several networks; ``seeds`` is None where they are unknown or not all different."""

    values: tuple[float, ...]
    seeds: tuple[int, ...] | None = None

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    def by_seed(self) -> dict[int, float]:
        """Accuracy by seed."""
        return dict(zip(self.seeds or (), self.values, strict=True))


def _networks(result: Result) -> Networks:
    values, seeds = result["top1"]["values"], result["top1"].get("seeds")
    known = isinstance(seeds, list) and len(seeds) == len(values) == len(set(map(str, seeds)))
    return Networks(tuple(map(float, values)), tuple(seeds) if known else None)


def _distinct(samples: Iterable[Networks]) -> list[Networks]:
    """``samples`` with those of the same seeds averaged, seed by seed.

    Runs of one seed have the very same random clips and networks; counted twice, they would pass for more evidence.
    """
    by_seeds: dict[Any, list[Networks]] = {}
    for number, sample in enumerate(samples):
        by_seeds.setdefault(number if sample.seeds is None else frozenset(sample.seeds), []).append(sample)
    found = []
    for same in by_seeds.values():
        first = same[0]
        if first.seeds is None:
            found.append(first)
            continue
        means = [statistics.fmean(sample.by_seed()[seed] for sample in same) for seed in first.seeds]
        found.append(Networks(tuple(means), first.seeds))
    return found


def difference(one: Networks, others: Sequence[Networks]) -> Difference:
    """By how much the mean of ``one`` is above the mean of the means of ``others``, with its 95 % interval.

    Paired t where all have the same seeds; otherwise Welch's, with the degrees of freedom of Welch and Satterthwaite
    for this sum of means. No interval where any has a single network.
    """
    value = round(one.mean - statistics.fmean(other.mean for other in others), 12)  # rounding is no difference
    samples = (one, *others)
    if min(len(sample.values) for sample in samples) < 2:
        return Difference(value)
    if one.seeds is not None and all(set(other.seeds or ()) == set(one.seeds) for other in others):
        mine, theirs = one.by_seed(), [other.by_seed() for other in others]
        pairs = [mine[seed] - statistics.fmean(other[seed] for other in theirs) for seed in one.seeds]
        error, freedom, test = math.sqrt(statistics.variance(pairs) / len(pairs)), len(pairs) - 1.0, "paired"
    else:
        error, freedom = _welch(samples)
        test = "welch"
    half = student_t(freedom) * error
    return Difference(value, value - half, value + half, test)


def _welch(samples: Sequence[Networks]) -> tuple[float, float]:
    """Standard error of mean_0 - (mean_1 + ... + mean_R) / R, and its degrees of freedom (Satterthwaite 1946)."""
    weights = [1.0] + [1 / (len(samples) - 1)] * (len(samples) - 1)
    numbers = [len(sample.values) for sample in samples]
    parts = [
        weight**2 * statistics.variance(sample.values) / number
        for weight, sample, number in zip(weights, samples, numbers, strict=True)
    ]
    below = sum(part**2 / (number - 1) for part, number in zip(parts, numbers, strict=True))
    freedom = sum(parts) ** 2 / below if below > 0 else min(numbers) - 1.0
    return math.sqrt(sum(parts)), freedom


# --- Student's t -----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def student_t(freedom: float, level: float = LEVEL) -> float:
    """The t for which Student's distribution of ``freedom`` degrees lies within +- t with probability ``level``."""
    low, high = 0.0, 1.0
    while _within(high, freedom) < level:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:  # until no number lies between
        low, high = (middle, high) if _within(middle, freedom) < level else (low, middle)
    return high


def _within(t: float, freedom: float) -> float:
    """P(|T| <= t) = 1 - I_x(freedom / 2, 1 / 2) with x = freedom / (freedom + t^2)."""
    return 1 - incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b) by its continued fraction (DLMF 8.17.22).

    The fraction is summed from its end, which needs a number of terms: some 10 times the root of the larger parameter
    are more than enough where it converges fast, which is below the mean of the distribution.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    fraction = 1.0
    for k in range(100 + 10 * math.isqrt(int(max(a, b))), 0, -1):
        m = k // 2
        if k % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        fraction = 1 + term / fraction
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) / (a * fraction)
