"""Differences of two means, and whether they are more than noise.

A difference is of sets where the values are networks trained on them, and of methods where the values are runs of
several seeds: the same formula, and two statements. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Sequence
from typing import Any, Literal

LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Sample:
    """Accuracies, fractions: of several networks, or of several runs, each by its seed.

    ``seeds`` is None where they are unknown or not all different.
    """

    values: tuple[float, ...]
    seeds: tuple[int, ...] | None = None

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """The sample standard deviation of the values; None for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def by_seed(self) -> dict[int, float]:
        """Accuracy by seed."""
        return dict(zip(self.seeds or (), self.values, strict=True))


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference of two mean accuracies, and the interval that has the true one with 95 % confidence; fractions."""

    value: float
    low: float | None = None
    high: float | None = None
    test: str | None = None
    """``paired`` or ``welch``; None, like the interval, where a single value has no spread."""
    of: Literal["set", "method"] = "set"
    """The thing that is better or worse: ``set`` for an interval over network seeds, ``method`` for run seeds."""

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``within noise``, or ``no interval``."""
        if self.low is None or self.high is None:
            return "no interval"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "within noise"

    @property
    def said(self) -> str:
        """The verdict, with what is better or worse: ``better set``, ``worse method``, ``within noise``."""
        return f"{self.verdict} {self.of}" if self.verdict in ("better", "worse") else self.verdict

    def document(self) -> dict[str, Any]:
        """``{value, low, high, test, of, verdict}``."""
        return {**dataclasses.asdict(self), "verdict": self.verdict}


def difference(one: Sample, others: Sequence[Sample], of: Literal["set", "method"] = "set") -> Difference:
    """Return the mean of ``one`` less the mean of the means of ``others``, with its 95 % interval.

    Paired t where all have the same seeds; otherwise Welch's, with the degrees of freedom of Welch and Satterthwaite
    for this sum of means. No interval where any has a single value.
    """
    value = round(one.mean - statistics.fmean(other.mean for other in others), 12)  # rounding is no difference
    samples = (one, *others)
    if min(len(sample.values) for sample in samples) < 2:
        return Difference(value, of=of)
    if one.seeds is not None and all(set(other.seeds or ()) == set(one.seeds) for other in others):
        mine, theirs = one.by_seed(), [other.by_seed() for other in others]
        pairs = [mine[seed] - statistics.fmean(other[seed] for other in theirs) for seed in one.seeds]
        error, freedom, test = math.sqrt(statistics.variance(pairs) / len(pairs)), len(pairs) - 1.0, "paired"
    else:
        error, freedom = _welch(samples)
        test = "welch"
    half = student_t(freedom) * error
    return Difference(value, value - half, value + half, test, of)


def _welch(samples: Sequence[Sample]) -> tuple[float, float]:
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
