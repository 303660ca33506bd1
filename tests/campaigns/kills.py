"""Kills: every command and every stage, ended at a random moment, goes on and ends with the bytes of one that was not.

The moment is a change of the file system, drawn evenly from all that the work makes, or a time. Networks are tiny, so
that a run takes a second; whatever is written to the disk is written as ever.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import load_preset
from engine.data.demo import make_demo
from engine.data.layouts import list_videos
from engine.data.prepare import prepare
from engine.distilling.process import carry_out
from engine.files import DRAFT
from engine.runs import RunDirectory
from engine.runs.new import new_run
from engine.runs.results import results_of
from tests.campaigns.base import SAMPLING, SMALL, make_base, use_tiny_networks
from tests.campaigns.children import Ending, must, run_child
from tests.campaigns.folders import home
from vdtui.cli.main import main

Outcome = dict[str, Any]
WAS_DONE = 3
"""The exit code of work that finds nothing left to do."""
RUNS: dict[str, tuple[str, ...]] = {
    "static-dynamic": (),
    "ncfm": ("dynamic.objective=ncfm", "static.objective=ncfm"),
    "pixels": ("synthetic.kind=pixels",),
    "static-only": ("synthetic.kind=static-only",),
    "herding": ("synthetic.kind=coreset", "selection.method=herding", "selection.epochs=1"),
    "frepo": ("dynamic.objective=frepo", "synthetic.labels=learned", "evaluation.labels=own"),
    "mtt": ("dynamic.objective=mtt", "experts.number=2", "dynamic.mtt.max_start_epoch=2"),
    "coded": ("storage.how=jpeg-80+h264-28", "storage.learn_through=true"),
    "budget": ('storage.budget="4kB"',),
    "compressed": ('evaluation.baselines=["random", "compressed-random", "compressed-herding"]',),
}
"""Overrides of runs that together have every stage."""


@dataclass(frozen=True)
class Scenario:
    """Work on a folder that is killed and done again. ``work`` gets the folder, and whether it was killed before."""

    name: str
    work: Callable[[Path, bool], int]
    outcome: Callable[[Path], Outcome]


class Kills:
    """The campaign; ``attempt`` kills the work of one scenario one to three times, and compares how it ends."""

    name = "kills"

    def __init__(self) -> None:
        use_tiny_networks()
        self._home = home("kills")
        self._base = Path(self._home.name) / "base"
        self._scenarios = list(scenarios())
        self._expected: dict[str, tuple[Outcome, int, float]] = {}
        make_base(self._base)

    def close(self) -> None:
        """Remove the folders."""
        self._home.cleanup()

    def attempt(self, seed: int) -> int:
        """Return the number of kills of the attempt ``seed``; raises AssertionError if anything is not as it was."""
        rng = random.Random(f"kills {seed}")
        scenario = rng.choice(self._scenarios)
        wanted, changes, seconds = self._reference(scenario)
        folder = self._new()
        try:
            kills = 0
            for again in range(rng.choice((1, 1, 1, 2, 3))):
                if rng.random() < 0.75:
                    moment: dict[str, Any] = {"die_at": rng.randint(1, max(1, changes))}
                else:
                    moment = {"kill_after": rng.uniform(0, 1.1 * seconds)}
                killed = run_child(lambda again=again: scenario.work(folder, again > 0), **moment)
                assert killed.code in (0, -9, WAS_DONE) and not killed.hung, _told(
                    scenario, f"killed at {moment}", killed
                )
                kills += killed.code == -9
                if rng.random() < 0.15:
                    _tear(folder, rng)
            ended = run_child(lambda: scenario.work(folder, True))
            assert ended.code in (0, WAS_DONE), _told(scenario, "afterwards", ended)
            found = self._outcome(scenario, folder)
            if ended.code == WAS_DONE:  # killed after the last rename: whoever writes there next sweeps its draft
                found["left over"] = []
            differ = [key for key in {*wanted, *found} if wanted.get(key) != found.get(key)]
            assert not differ, (
                f"{scenario.name}, {moment}: other than without a kill: {sorted(differ)} {found['left over']}"
            )
            return kills
        finally:
            shutil.rmtree(folder)

    def _reference(self, scenario: Scenario) -> tuple[Outcome, int, float]:
        if scenario.name not in self._expected:
            folder = self._new()
            began = time.monotonic()
            ended = run_child(lambda: scenario.work(folder, False))
            seconds = time.monotonic() - began
            must(ended, scenario.name)
            self._expected[scenario.name] = self._outcome(scenario, folder), ended.changes, seconds
            shutil.rmtree(folder)
        return self._expected[scenario.name]

    def _outcome(self, scenario: Scenario, folder: Path) -> Outcome:
        """Return the outcome by a child, for it may compute."""
        file = folder.with_suffix(".json")

        def look() -> int:
            left = [str(path.relative_to(folder)) for path in folder.rglob("*") if DRAFT.fullmatch(path.name)]
            file.write_text(json.dumps({**scenario.outcome(folder), "left over": sorted(left)}))
            return 0

        must(run_child(look), f"the outcome of {scenario.name}")
        found: Outcome = json.loads(file.read_text())
        file.unlink()
        return found

    def _new(self) -> Path:
        folder = Path(self._home.name) / "work"  # one name, for paths are in presets
        shutil.copytree(self._base, folder)
        return folder


def _told(scenario: Scenario, when: str, ended: Ending) -> str:
    how = "hung" if ended.hung else f"exit code {ended.code}"
    return f"{scenario.name} {when}: {how}\n{ended.output[-3000:]}"


def _tear(folder: Path, rng: random.Random) -> None:
    """Do what a disk does that lied about a flush: the last line of the log or the newest checkpoint loses its end."""
    logs = [*folder.glob("runs/*/events.jsonl")]
    checkpoints = sorted(folder.glob("runs/mine/checkpoints/*.safetensors"))
    for file in [logs[0]] if logs and rng.random() < 0.5 else checkpoints[1:]:
        content = file.read_bytes()
        if file.suffix == ".jsonl":
            with file.open("ab") as log:
                log.write(content[: rng.randint(0, 30)].replace(b"\n", b""))
        else:
            file.write_bytes(content[: rng.randint(0, len(content) - 1)])


def scenarios() -> Iterator[Scenario]:
    """Yield all of them: runs of every stage, and every command that writes."""
    for name, overrides in RUNS.items():
        yield Scenario(f"run {name}", lambda folder, again, own=overrides: _run(folder, own), _run_outcome)
    yield Scenario("prepare", _prepare, lambda folder: _digests(folder, "new.h5"))
    yield Scenario("make demo", _demo, lambda folder: _digests(folder, "demo"))
    yield Scenario("evaluate", lambda folder, again: _vdtui(folder, "evaluate", "done", "--epochs", "2"), _evaluated)
    yield Scenario(
        "remove", _remove, lambda folder: {"runs": sorted(path.name for path in (folder / "runs").iterdir())}
    )
    for words in (
        ("export", "done", "--format", "mp4"),
        ("export", "done", "--format", "png"),
        ("export", "done", "--format", "gif"),
        ("export", "done", "--format", "safetensors"),
        ("export", "done", "--format", "h5"),
        ("export", "done", "--format", "folders"),
        ("report", "done"),
        ("compare", "done", "done", "--format", "md"),
    ):
        yield Scenario(" ".join(words), lambda folder, again, own=words: _export(folder, own), _exported)


def _vdtui(folder: Path, *words: str) -> int:
    sys.argv = ["vdtui", *words, *(["--runs-dir", str(folder / "runs")] if words[0] != "data" else [])]
    main()
    return 0


def _run(folder: Path, overrides: tuple[str, ...]) -> int:
    run = RunDirectory(folder / "runs" / "mine")
    if not run.path.is_dir():
        new_run(
            load_preset("default", [*SMALL, *overrides]), folder / "clips.h5", folder / "runs", "mine", "", ["test"]
        )
    if run.state() == "completed":
        return WAS_DONE
    carry_out(run, signals=True)
    return 0


def _run_outcome(folder: Path) -> Outcome:
    run = RunDirectory(folder / "runs" / "mine")
    folded = run.folded()
    return {
        "state": run.state(),
        "report": run.report.is_file(),
        "results": json.dumps([{**row, "seconds": 0} for row in results_of(run, folded)], sort_keys=True),
        # Experts that are there already tell their losses to no later worker.
        "losses": {stage: curve.values for stage, curve in folded.losses.items() if stage != "experts"},
        "best": folded.best,
        **_digests(run.path, "synthetic"),
        **_digests(run.path, "previews"),
        "checkpoints": [path.name for path in sorted(run.checkpoints.iterdir())][-1:] and "there",
    }


def _prepare(folder: Path, again: bool) -> int:
    if (folder / "new.h5").exists():
        return WAS_DONE
    prepare(list_videos("folders", folder / "videos"), folder / "new.h5", SAMPLING, workers=0)
    return 0


def _demo(folder: Path, again: bool) -> int:
    if (folder / "demo").exists():
        return WAS_DONE
    make_demo(folder / "demo", 0, 1, 1)
    return 0


def _evaluated(folder: Path) -> Outcome:
    run = RunDirectory(folder / "runs" / "done")
    return {"results": json.dumps([{**row, "seconds": 0} for row in results_of(run)], sort_keys=True)}


def _remove(folder: Path, again: bool) -> int:
    if not (folder / "runs" / "done").exists():
        return WAS_DONE
    return _vdtui(folder, "remove", "done", "--yes")


def _export(folder: Path, words: tuple[str, ...]) -> int:
    output = (
        folder / "out" / ("page.md" if words[0] == "compare" else "page.html" if words[0] == "report" else "export")
    )
    more = ["--overwrite"] if output.exists() else []
    return _vdtui(folder, *words, "--output", str(output), *more)


def _exported(folder: Path) -> Outcome:
    return _digests(folder, "out")


def _digests(folder: Path, name: str) -> Outcome:
    """Return the digests of all files below ``folder``/``name`` by their paths."""
    place = folder / name
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}
