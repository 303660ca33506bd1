"""The standing of a set among its baselines: real clips of at most as many bytes, measured in the same way.

Random clips of the same number are too weak to tell anything of a set that takes a hundred times the bytes that a video
takes. So what counts is the best of all real clips that fit into the bytes of the set. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable
from typing import Any

from engine.config.kinds import KINDS
from engine.files import is_number
from engine.runs.differences import Difference, Sample, difference
from engine.runs.results import CEILING, Result, is_real, key_but_rate, network_seeds


@dataclasses.dataclass(frozen=True)
class Standing:
    """A result beside its best baseline."""

    result: Result
    baseline: Result
    over: Difference
    """The difference to the baseline, with its interval over networks."""


def is_baseline(result: Result) -> bool:
    """Return whether ``result`` is of real clips, drawn or chosen, but not of all of them as they are."""
    kind = KINDS.get(result["what"])
    return result["what"] != CEILING and (kind is None or not kind.learned)


def standing(result: Result, results: Iterable[Result]) -> Standing | None:
    """Return ``result`` beside the baseline with the highest mean of those of ``results`` that it competes with.

    These have at most as many bytes and the same conditions, but for a learning rate that was learned with the set.
    Those of the same name, number and storage are one baseline, their mean. None where there is none, and of real clips
    that no run chose.
    """
    if is_real(result) or not is_number(own := result.get("bytes")):
        return None
    key = key_but_rate(result)
    known: dict[tuple[Any, ...], list[Result]] = {}
    for other in results:
        fits = is_number(other.get("bytes")) and other["bytes"] <= own
        if fits and is_baseline(other) and other["what"] != result["what"] and key_but_rate(other) == key:
            # As text: in a damaged file any of them may be a list, which is no key.
            traits = tuple(repr(other.get(name)) for name in ("what", "ipc", "storage", "precision"))
            known.setdefault(traits, []).append(other)
    if not known:
        return None
    best = max(known.values(), key=lambda same: statistics.fmean(one["top1"]["mean"] for one in same))
    return Standing(result, best[0], difference(networks(result), distinct(map(networks, best))))


def is_ahead(over: Difference) -> bool:
    """Return whether a difference to the best baseline is more than noise, or above 0 where none can be told."""
    return over.verdict == "better" or (over.verdict == "no interval" and over.value > 0)


def all_clips_bytes(result: Result) -> int | None:
    """Return the bytes of all training clips, compressed, where they are fewer than those of ``result``; else None."""
    found, own = result.get("all_clips"), result.get("bytes")
    size = found.get("bytes") if isinstance(found, dict) else None
    return int(size) if size is not None and own is not None and is_number(size) and size < own else None


# --- samples ---------------------------------------------------------------------------------------------------------


def networks(result: Result) -> Sample:
    """Return the accuracies of the networks of ``result``."""
    return Sample(tuple(map(float, result["top1"]["values"])), network_seeds(result))


def distinct(samples: Iterable[Sample]) -> list[Sample]:
    """Return ``samples`` with those of the same seeds averaged, seed by seed.

    Runs of one seed have the very same random clips and networks; counted twice, they would pass for more evidence.
    """
    by_seeds: dict[Any, list[Sample]] = {}
    for number, sample in enumerate(samples):
        by_seeds.setdefault(number if sample.seeds is None else frozenset(sample.seeds), []).append(sample)
    found = []
    for same in by_seeds.values():
        first = same[0]
        if first.seeds is None:
            found.append(first)
            continue
        means = [statistics.fmean(sample.by_seed()[seed] for sample in same) for seed in first.seeds]
        found.append(Sample(tuple(means), first.seeds))
    return found
