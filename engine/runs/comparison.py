"""Results of several runs side by side, and whether one set, or one method, is better than another.

Two results stand in one table only if everything about their measurement is the same (``results.conditions``). "Better"
means a 95 % interval of the difference that does not contain zero: paired where both were measured with the same seeds,
Welch's otherwise. Between two results the interval is over networks, and tells of these two sets; between methods it is
over seeds of runs (``methods``). Without this, three networks of luck would be read as progress, and an accuracy of one
protocol as better than that of another. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.config.kinds import BASELINES
from engine.errors import RunError, UsageError
from engine.files import looks_like_set
from engine.runs.baselines import distinct, networks, standing
from engine.runs.differences import Difference, Sample, difference
from engine.runs.directory import RunDirectory, find_run
from engine.runs.methods import Measured, Method, Origin, methods_of, origin_of
from engine.runs.results import (
    CEILING,
    Result,
    conditions,
    identity,
    is_real,
    is_result,
    key_of,
    results_in,
    results_of,
)
from engine.runs.state import RunState
from engine.text import one_line

DISTILLING = ("budget", "experts", "static", "dynamic", "select")
"""The stages that make a set."""


# --- what is compared ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Source:
    """A run, or a file of results, that the user named; ``run``, ``folded`` and ``origin`` are None of a file."""

    label: str
    results: tuple[Result, ...]
    run: RunDirectory | None = None
    folded: RunState | None = None
    origin: Origin | None = None
    """Its preset and seed, by which it is known as one run of a method."""


def read_sources(folder: Path, names: Iterable[str], note: Callable[[str], None]) -> list[Source]:
    """Return the sources ``names``: runs in ``folder``, or paths of runs or of JSON files with results; each once.

    ``note`` gets a line for everything that is left out. Raises UsageError for unknown runs (with the nearest name),
    DataError for files without results, RunError for damaged runs.
    """
    found: dict[Path, tuple[str, RunDirectory | None]] = {}
    for name in names:
        is_file = name.endswith(".json") and not any(path.is_dir() for path in (folder / name, Path(name)))
        if not is_file and looks_like_set(Path(name)):
            problem = f"{one_line(name)} is a synthetic set, and sets are compared by their results."
            known = f"vdtui evaluate {one_line(name)} --data FILE.h5 --output results.json"
            raise UsageError(problem, f"Evaluate it first, and compare its results: {known}")
        run = None if is_file else find_run(folder, name)
        found.setdefault((Path(name) if run is None else run.path).resolve(), (name, run))
    taken = [run.name for _, run in found.values() if run is not None]
    sources = []
    for name, run in found.values():
        if run is None:
            sources += _of_file(Path(name))
            continue
        folded = run.folded()
        if damage := run.damage(folded.damaged, run.meta_is_damaged()):
            note(damage[0])
        results = tuple(one for one in results_of(run, folded, note) if is_result(one))
        label = run.name if taken.count(run.name) == 1 else name.rstrip("/")
        if not results:
            note(f"{label} has no results yet; it is left out of the tables.")
        sources.append(Source(label, results, run, folded, _origin(run, label, note)))
    return sources


def _origin(run: RunDirectory, label: str, note: Callable[[str], None]) -> Origin | None:
    """Return the origin of a run; one without a readable preset is compared as a set, and is of no method."""
    try:
        return origin_of(run.preset_values())
    except RunError as error:
        note(f"{label} is compared as a single set: {error.problem}")
        return None


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
class Row:
    """One result of one run."""

    run: str
    result: Result
    seconds: float | None
    """Seconds that it took to make the set; None if it is not made, such as random clips."""
    best: bool
    """True if no other row of the group, but all of the data, has a higher mean."""
    over_baseline: Difference | None
    """To the best real clips of at most as many bytes, of any of the runs (``baselines.standing``)."""
    over_random: Difference | None
    """To random real clips of as many instances under the same conditions (DD-Ranking: Li et al. 2024)."""
    over_best: Difference | None
    """To the best row; None for itself and for all of the data."""

    @property
    def name(self) -> str:
        """The run, where it is named, and what stands in the row."""
        return ", ".join(filter(None, (self.run, self.result["what"])))


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows that may be compared; ``conditions`` is what they have in common (``results.conditions``)."""

    conditions: dict[str, Any]
    rows: tuple[Row, ...]
    dataset: str = ""
    """Its name, where a run tells it."""
    methods: tuple[Method, ...] = ()
    """The rows over seeds of runs; none where no two runs differ in their seed alone."""

    @property
    def deviations(self) -> list[str]:
        """The changes of the protocol's own values, in text; each once."""
        listed = [row.result.get("deviations") for row in self.rows]
        return list(dict.fromkeys(str(text) for texts in listed if isinstance(texts, list) for text in texts))

    @property
    def cautions(self) -> list[str]:
        """Rows with networks that learned nothing, in text."""
        rows = [row for row in self.rows if row.result.get("caution")]
        return [f"{row.name}: {row.result['caution']}" for row in rows]


@dataclasses.dataclass(frozen=True)
class _Entry:
    run: str
    result: Result
    seconds: float | None
    dataset: str
    origin: Origin | None


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
            grouped.setdefault(key_of(result), []).append(_Entry(source.label, result, seconds, dataset, source.origin))
    every = [entry.result for entries in grouped.values() for entry in entries]
    return [_group(entries, every) for entries in grouped.values()]


def _group(entries: list[_Entry], every: Sequence[Result]) -> Group:
    common = conditions(entries[0].result)
    dataset = next((entry.dataset for entry in entries if entry.dataset), "")
    measured = [Measured(entry.run, entry.origin, entry.result) for entry in entries if entry.origin is not None]
    return Group(common, _rows(entries, every), dataset, methods_of(measured, common["measures"]))


def _rows(entries: list[_Entry], every: Sequence[Result]) -> tuple[Row, ...]:
    """The rows of one group; baselines are looked for in ``every`` result."""
    competing = [entry for entry in entries if entry.result["what"] != CEILING] or entries
    best = max(competing, key=lambda entry: entry.result["top1"]["mean"])
    rows = []
    for entry in entries:
        result = entry.result
        found = standing(result, every)
        own, random = networks(result), _random(result, entries)
        compared = entry is not best and result["what"] != CEILING
        rows.append(
            Row(
                entry.run,
                result,
                entry.seconds if _is_made(result) else None,
                entry is best,
                None if found is None else found.over,
                difference(own, random) if random else None,
                difference(own, [networks(best.result)]) if compared else None,
            )
        )
    return tuple(rows)


def _is_made(result: Result) -> bool:
    if result["what"] in BASELINES:
        return result.get("step") is not None  # one that another set contains has no step: nothing was made for it
    return not is_real(result)


def _random(result: Result, entries: list[_Entry]) -> list[Sample]:
    """Random real clips of as many instances as ``result``; of no random clips, and of all of the data, none."""
    if result["what"] in ("random", CEILING):
        return []
    same = [
        entry.result
        for entry in entries
        if entry.result["what"] == "random" and entry.result.get("ipc") == result.get("ipc")
    ]
    return distinct(map(networks, same))
