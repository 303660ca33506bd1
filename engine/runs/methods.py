"""Methods: runs that differ in their seed alone, and whether one method is better than another.

The networks of a run are all trained on the one set that it made, so their spread tells of that set. What a method
would make under another seed is told only by runs of other seeds: here each of them counts as one value, the mean over
its networks, and intervals are over run seeds. Without this, a lucky set would be read as a better method. Nothing here
needs torch.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from engine.config.kinds import COMPRESSED
from engine.files import is_number
from engine.runs.baselines import is_baseline
from engine.runs.differences import Difference, Sample, difference
from engine.runs.results import CEILING, Result, is_real, network_seeds

UNSAID = ("title", "description", "published")
"""Keys of a preset that compute nothing."""
BESIDE = ("baselines", "baseline_clips")
"""Keys of [evaluation] that say what stands beside a set, and change nothing about it."""
LISTED = 4
"""Runs without a common name of which each is named."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """The origin of a run: its resolved preset without the seed, as one text, and the seed."""

    preset: str
    seed: int


def origin_of(preset: Mapping[str, Any]) -> Origin | None:
    """The origin of a run with this resolved preset, or None if it names no seed. One ``preset`` text is one method.

    Left out are the seed, what computes nothing, what stands beside the set, where the clips file lies (results name
    their data by fingerprint), which one of several GPUs was used, and trackers.
    """
    run = preset.get("run")
    if not isinstance(run, Mapping) or not isinstance(run.get("seed"), int):
        return None
    tables = {name: value for name, value in preset.items() if name not in UNSAID}
    apart = {"seed": None, "device": str(run.get("device")).partition(":")[0]}
    tables["run"] = {name: value for name, value in run.items() if name != "trackers"} | apart
    if isinstance(judged := preset.get("evaluation"), Mapping):
        tables["evaluation"] = {name: value for name, value in judged.items() if name not in BESIDE}
    if isinstance(dataset := preset.get("dataset"), Mapping):
        tables["dataset"] = {**dataset, "path": None}
    return Origin(json.dumps(tables, sort_keys=True, default=str), run["seed"])


@dataclasses.dataclass(frozen=True)
class Measured:
    """A result of a run."""

    run: str
    origin: Origin
    result: Result


@dataclasses.dataclass(frozen=True)
class Method:
    """One row over seeds of runs: what all of these ``results`` are of, each measured in another run.

    Random real clips depend on seed and number alone, so those of all methods are one row.
    """

    name: str
    what: str
    ipc: int | None
    storage: str | None
    precision: str | None
    runs: tuple[str, ...]
    """In the order of their seeds; runs of one seed count as one value, their mean."""
    results: tuple[Result, ...]
    """One or more of each run, in the order of ``runs``."""
    measures: dict[str, Sample]
    """By measure (``top1``, ``top5``): the mean over networks of each run seed."""
    best: bool = False
    """True if no other row of two seeds or more, but all of the data, has a higher mean."""
    over_baseline: Difference | None = None
    """To the best real clips of at most as many bytes, of the same run seeds where those have them."""
    over_random: Difference | None = None
    """To random real clips of as many instances, of the same run seeds where those have them."""
    over_best: Difference | None = None
    """To the best row; None for itself and for all of the data."""

    @property
    def top1(self) -> Sample:
        """Top-1 by run seed."""
        return self.measures["top1"]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The run seeds, ascending."""
        return self.top1.seeds or ()


def methods_of(measured: Sequence[Measured], measures: Sequence[str]) -> tuple[Method, ...]:
    """The rows over run seeds of results of equal conditions, in the order in which they come.

    None where no two runs differ in their seed alone. A method of a single seed has a row without an interval.
    """
    known = [one for one in measured if one.result.get("data_fingerprint") is not None]
    seeds: dict[str, set[int]] = {}
    for one in known:
        seeds.setdefault(one.origin.preset, set()).add(one.origin.seed)
    if not any(len(found) > 1 for found in seeds.values()):
        return ()
    families: dict[tuple[Any, ...], list[Measured]] = {}
    for one in known:
        result = one.result
        method = "" if result["what"] == "random" else one.origin.preset
        own_way = result["what"] in COMPRESSED and not result.get("evaluated")  # each run chooses how to store them
        keys = ("what", "precision") if own_way else ("what", "ipc", "storage", "precision")
        traits = tuple(repr(result.get(key)) for key in keys)  # in a damaged file it may be a list, which is no key
        families.setdefault((method, *traits), []).append(one)
    rows = [_row(_drawn_once(family), measures, known) for family in families.values()]
    return _judged(rows)


def _drawn_once(family: list[Measured]) -> list[Measured]:
    """``family`` without real clips that were measured of several run seeds by the same networks.

    They depend on the seed of the evaluation alone: runs that are all evaluated with one ``--seed`` have the same
    ones, which counted for each would pass for a spread of nothing.
    """
    first: dict[frozenset[Any], int] = {}
    kept = []
    for one in family:
        seed, networks = one.origin.seed, network_seeds(one.result)
        if not is_real(one.result) or networks is None or first.setdefault(frozenset(networks), seed) == seed:
            kept.append(one)
    return kept


def _row(family: list[Measured], measures: Sequence[str], every: Sequence[Measured]) -> Method:
    family = sorted(family, key=lambda one: one.origin.seed)
    runs = tuple(dict.fromkeys(one.run for one in family))
    others = {one.run for one in every} - set(runs)
    result = family[0].result
    known = [name for name in measures if all(is_number(one.result[name].get("mean")) for one in family)]
    return Method(
        common_name(runs, others),
        result["what"],
        _common(family, "ipc"),
        _common(family, "storage"),
        _common(family, "precision"),
        runs,
        tuple(one.result for one in family),
        {name: _over_seeds(family, name) for name in known},
    )


def _common(family: Sequence[Measured], name: str) -> Any:
    """The value that all results of the family have, or None."""
    values = [one.result.get(name) for one in family]
    return values[0] if all(value == values[0] for value in values) else None


def _over_seeds(family: Sequence[Measured], measure: str) -> Sample:
    """The mean over networks by run seed."""
    means: dict[int, list[float]] = {}
    for one in family:
        means.setdefault(one.origin.seed, []).append(one.result[measure]["mean"])
    return Sample(tuple(statistics.fmean(same) for same in means.values()), tuple(means))


def _judged(rows: Sequence[Method]) -> tuple[Method, ...]:
    """``rows`` with their differences."""
    competing = [row for row in rows if row.what != CEILING and len(row.seeds) > 1]
    best = max(competing, key=lambda row: row.top1.mean, default=None)
    return tuple(
        dataclasses.replace(
            row,
            best=row is best,
            over_baseline=_over_baseline(row, rows),
            over_random=_over_random(row, rows),
            over_best=None
            if best is None or row is best or row.what == CEILING
            else difference(row.top1, [best.top1], "method"),
        )
        for row in rows
    )


def _over_random(row: Method, rows: Sequence[Method]) -> Difference | None:
    """Return the difference to random clips stored as ``row`` is, else to plain ones; None for real clips."""
    if row.what in ("random", CEILING):
        return None
    random = [one for one in rows if one.what == "random" and one.ipc == row.ipc]
    found = next((one for how in (row.storage, None) for one in random if one.storage == how), None)
    return None if found is None else difference(row.top1, [_of_seeds(found.top1, row.seeds)], "method")


def _over_baseline(row: Method, rows: Sequence[Method]) -> Difference | None:
    """Return the difference to the best real clips of at most as many bytes; None for real clips that no run chose."""
    if is_real(row.results[0]):
        return None
    own = _bytes(row)
    fitting = [one for one in rows if is_baseline(one.results[0]) and one.what != row.what and _fits(one, own)]
    best = max(fitting, key=lambda one: one.top1.mean, default=None)
    return None if best is None else difference(row.top1, [_of_seeds(best.top1, row.seeds)], "method")


def _bytes(row: Method) -> list[float]:
    return [result["bytes"] for result in row.results if is_number(result.get("bytes"))]


def _fits(row: Method, into: Sequence[float]) -> bool:
    """Return whether all sets of ``row`` are known to take at most the least of the bytes ``into``."""
    own = _bytes(row)
    return bool(into) and len(own) == len(row.results) and max(own) <= min(into)


def _of_seeds(sample: Sample, seeds: Sequence[int]) -> Sample:
    """The values of ``seeds`` if ``sample`` has them all, so that they make pairs; else ``sample``."""
    values = sample.by_seed()
    return Sample(tuple(values[seed] for seed in seeds), tuple(seeds)) if set(seeds) <= set(values) else sample


def common_name(runs: Sequence[str], others: set[str]) -> str:
    """Return what the names of ``runs`` share, as ``demo-*``, or the names if that would fit one of ``others`` too."""
    if len(runs) == 1:
        return runs[0]
    head = _beginning(runs)
    tail = _beginning([name[len(head) :][::-1] for name in runs])[::-1]
    too_wide = any(name.startswith(head) and name[len(head) :].endswith(tail) for name in others)
    if head + tail and not too_wide:
        return f"{head}*{tail}"
    return ", ".join(runs) if len(runs) <= LISTED else f"{runs[0]} and {len(runs) - 1} more"


def _beginning(texts: Sequence[str]) -> str:
    """The longest text with which all of them begin."""
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in alike)
