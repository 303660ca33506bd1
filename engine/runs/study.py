"""Studies: a small grid of runs that differ in a few values of one preset, and what comes out of it.

A study is a runs folder of its own, ``RUNS/studies/NAME``, so the dashboard, `vdtui runs` and `vdtui compare` work on
its cells as on any run; ``study.json`` in it says which cells it has. A cell that is done is not run again, one that
was interrupted goes on, so the same command continues a study. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.config.kinds import BASELINES, CLASS_MEAN, COMPRESSED
from engine.errors import UsageError
from engine.files import read_json, write_json
from engine.runs import RunDirectory
from engine.runs.differences import Difference, Sample, difference
from engine.runs.log import EventTail
from engine.runs.results import Result, key_of, results_of

FORMAT, VERSION = "vdtui.study", 1
MOST_CELLS = 500
SEED = "run.seed"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a study: ``values`` of the keys that are varied."""

    values: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        """The name of its run."""
        words = [f"{key.rpartition('.')[2]}-{value}" for key, value in self.values if value is not None]
        return re.sub(r"[^\w.+=-]+", "-", "_".join(words)) or "as-is"

    def changes(self) -> list[str]:
        """The values as overrides of the preset; None leaves the preset's."""
        return [f"{key}={_text(value)}" for key, value in self.values if value is not None]


def _text(value: Any) -> str:
    return json.dumps(value)


def grid(varied: Sequence[tuple[str, Sequence[Any]]]) -> list[Cell]:
    """Every combination of the values of the varied keys."""
    keys = [key for key, _ in varied]
    return [
        Cell(tuple(zip(keys, values, strict=True))) for values in itertools.product(*(values for _, values in varied))
    ]


def temporal(frames: int, n_syn: Iterable[int], segments: Iterable[int], interpolations: Iterable[str]) -> list[Cell]:
    """The taxonomy of temporal compression (Wang et al. 2024): those combinations that clips of ``frames`` allow.

    Where every frame is stored there is nothing to interpolate, and cutting into segments changes nothing: one cell.
    """
    cells: dict[str, Cell] = {}
    for number, cut, how in itertools.product(n_syn, segments, interpolations):
        if frames % cut or number > frames // cut:
            continue
        whole = number == frames // cut
        key = (frames, 1, None) if whole else (number, cut, None if number == 1 else how)
        values = zip(("synthetic.n_syn", "synthetic.segments", "synthetic.interpolation"), key, strict=True)
        cell = Cell(tuple(values))
        cells.setdefault(cell.name, cell)
    if not cells:
        problem = f"No combination of these frames and segments fits into clips of {frames} frames."
        raise UsageError(problem, "Choose --segments that divide the frames, and --n-syn of at most frames / segments.")
    return sorted(cells.values(), key=lambda cell: _stored(cell))


def _stored(cell: Cell) -> tuple[int, int, str]:
    values = dict(cell.values)
    return values["synthetic.n_syn"] * values["synthetic.segments"], values["synthetic.segments"], cell.name


@dataclasses.dataclass(frozen=True)
class Study:
    """A study's folder, what all of its cells have in common, and the cells."""

    folder: Path
    kind: str
    preset: str
    common: tuple[str, ...]
    cells: tuple[Cell, ...]

    def save(self) -> None:
        """Write ``study.json``; raises UsageError if the folder holds a study of another preset or other values."""
        path = self.folder / "study.json"
        known = read_json(path)
        head = {"format": FORMAT, "version": VERSION, "kind": self.kind, "preset": self.preset}
        head |= {"common": list(self.common)}
        if known is not None and {key: known.get(key) for key in head} != head:
            problem = f"{self.folder.name} is a study of another preset, or of other values."
            raise UsageError(problem, "Give this one another name (--name), or remove the old one's folder.")
        if len(self.cells) > MOST_CELLS:
            problem = f"That would be {len(self.cells):,} runs."
            raise UsageError(problem, f"Vary fewer values: at most {MOST_CELLS} cells.")
        cells = dict.fromkeys(cell["name"] for cell in (known or {}).get("cells", []))
        documents = {cell["name"]: cell for cell in (known or {}).get("cells", [])}
        documents |= {cell.name: {"name": cell.name, "values": dict(cell.values)} for cell in self.cells}
        order = [*cells, *(cell.name for cell in self.cells if cell.name not in cells)]
        write_json(path, {**head, "cells": [documents[name] for name in order]})

    def run_of(self, cell: Cell) -> RunDirectory:
        """The run directory of ``cell``, which may not exist."""
        return RunDirectory(self.folder / cell.name)


def rows(study: Study) -> list[dict[str, Any]]:
    """A row per cell: its values, state, what its own set reaches, and what that cost."""
    found = []
    for cell in study.cells:
        run = study.run_of(cell)
        row: dict[str, Any] = {"name": cell.name, "values": dict(cell.values), "state": "not started"}
        found.append(row)
        if not run.preset_file.is_file():
            continue
        folded = run.folded()
        row["state"] = run.state()
        row["seconds"] = folded.seconds or None
        row["seconds_per_step"] = _seconds_per_step(run)
        row["results"] = [brief(result) for result in results_of(run, folded)]
    return found


@dataclasses.dataclass(frozen=True)
class OverSeeds:
    """The cells of a grid that differ in their seed alone, as one row."""

    values: dict[str, Any]
    """Values of the varied keys but the seed."""
    runs: tuple[str, ...]
    """Run seeds that have a result."""
    top1: Sample
    """By run seed, the mean over networks of the cell's own set."""
    over_first: Difference | None
    """To the first row of the grid; None for itself, and where anything was measured under other conditions."""

    def document(self) -> dict[str, Any]:
        """The row as JSON; accuracies and differences are fractions."""
        return {
            "values": self.values,
            "runs": list(self.runs),
            "run_seeds": list(self.top1.seeds or ()),
            "top1": {"mean": self.top1.mean, "std": self.top1.std, "values": list(self.top1.values)},
            "over_first": None if self.over_first is None else self.over_first.document(),
        }


def over_seeds(found: Sequence[dict[str, Any]]) -> list[OverSeeds]:
    """``rows`` of a grid over its run seeds, for each combination of the other values that has results.

    Empty where the seed is not varied. The first row is that of the grid; without its results there are no differences.
    """
    combinations: dict[str, dict[int, dict[str, Any]]] = {}
    for row in found:
        if SEED in row["values"]:
            others = {key: value for key, value in row["values"].items() if key != SEED}
            combinations.setdefault(json.dumps(others), {})[row["values"][SEED]] = row
    if len({seed for by_seed in combinations.values() for seed in by_seed}) < 2:
        return []
    seeded = [(json.loads(values), _results(by_seed)) for values, by_seed in combinations.items()]
    return [
        OverSeeds(
            values,
            tuple(by_seed[seed]["name"] for seed in results),
            _sample(results),
            _over_first(results, seeded[0][1]),
        )
        for (values, results), by_seed in zip(seeded, combinations.values(), strict=True)
        if results
    ]


def _results(by_seed: dict[int, dict[str, Any]]) -> dict[int, Result]:
    """Return the results of the cells' own sets by run seed, for those that have one."""
    return {seed: own for seed, row in by_seed.items() if (own := own_result(row)) is not None}


def _sample(results: dict[int, Result]) -> Sample:
    return Sample(tuple(own["top1"]["mean"] for own in results.values()), tuple(results))


def _over_first(results: dict[int, Result], first: dict[int, Result]) -> Difference | None:
    """Return the difference to ``first``, or None under other conditions; a teacher of the run's own seed is one."""
    mine, theirs = ({key_of(own) for own in one.values()} for one in (results, first))
    comparable = first and (mine <= theirs or theirs <= mine)
    return difference(_sample(results), [_sample(first)], "method") if comparable and results is not first else None


def _seconds_per_step(run: RunDirectory) -> float | None:
    """Return the seconds per step of the last optimiser steps of stage 2, without evaluations."""
    rates = [
        record.get("rate")
        for record in EventTail(run.events_file).read()
        if record.get("event") == "step" and record.get("stage") == "dynamic"
    ]
    return 1 / rates[-1] if rates and isinstance(rates[-1], (int, float)) and rates[-1] > 0 else None


def brief(result: Result) -> dict[str, Any]:
    """A result without its matrices: what a table of many needs."""
    left_out = ("per_class", "confusion")
    return {key: value for key, value in result.items() if key not in left_out}


def own_result(row: dict[str, Any], frames: str = "as-is") -> Result | None:
    """The result of a cell's own set, of networks that saw its frames in this order while training."""
    beside = ("random", CLASS_MEAN, *BASELINES, *COMPRESSED)
    for result in row.get("results", []):
        order = (result.get("recipe") or {}).get("frames", "as-is")
        if order == frames and (result["what"] not in beside or len(row["results"]) == 1):
            return result
    return None
