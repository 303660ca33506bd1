"""Stopping and resuming: what a user loses when machine, connection or patience ends. It must be nothing."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.config import load_preset
from engine.export.report import html
from engine.runs import EventTail, RunDirectory
from engine.runs.checkpoints import load_checkpoint, save_checkpoint
from engine.runs.new import new_run
from engine.synthetic import load_set
from tests.forked import Forked
from tests.tiny_run import QUICK, make_clips

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def reference(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The run that was never interrupted."""
    run = quick_run(clips, tmp_path_factory.mktemp("runs"), "reference")
    assert start_anew(run).wait(timeout=120) == 0, run.engine_log.read_text()
    assert run.state() == "completed"
    return run


def quick_run(clips: Path, folder: Path, name: str) -> RunDirectory:
    return new_run(load_preset("default", QUICK), clips, folder, name, name, ["test"])


def start(run: RunDirectory) -> Forked:
    with open(run.engine_log, "ab") as log:
        return Forked(command(run), cwd=ROOT, stdout=log)


def start_anew(run: RunDirectory) -> subprocess.Popen[bytes]:
    """The same as users start it: imports are a part of what is interrupted."""
    with open(run.engine_log, "ab") as log:
        return subprocess.Popen(command(run), cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def command(run: RunDirectory) -> list[str]:
    return [sys.executable, "-m", "engine.worker", str(run.path)]


ROUNDED = 0.001
"""Seconds by which an event's time may be early: it has three decimals."""


def wait_for(run: RunDirectory, wanted: Callable[[dict[str, object]], bool], worker: Forked) -> None:
    """Wait until the worker logs a record that is wanted, not counting those of earlier workers."""
    for record in events_since(run, worker):
        if wanted(record):
            return
    pytest.fail(f"the worker ended before: {run.engine_log.read_text()[-2000:]}")


def events_since(run: RunDirectory, worker: Forked) -> Iterator[dict[str, object]]:
    tail = EventTail(run.events_file)
    while worker.poll() is None:
        yield from (record for record in tail.read() if record["time"] >= worker.began - ROUNDED)
        time.sleep(0.01)


def same_sets(one: RunDirectory, other: RunDirectory) -> None:
    assert one.best.read_bytes() == other.best.read_bytes()
    assert one.last.read_bytes() == other.last.read_bytes()
    for mine, theirs in zip(one.folded().results, other.folded().results, strict=True):
        assert mine["top1"] == theirs["top1"] and mine["confusion"] == theirs["confusion"]
    assert one.folded().losses == other.folded().losses


MOMENTS = {
    "in stage 1": lambda r: r["event"] == "step" and r["stage"] == "static" and r["step"] == 3,
    "between the stages": lambda r: r["event"] == "stage_started" and r["stage"] == "dynamic",
    "in the evaluation of step 0": lambda r: r["event"] == "network_trained" and r["step"] == 0,
    "in stage 2": lambda r: r["event"] == "step" and r["stage"] == "dynamic" and r["step"] == 3,
    "in the final table": lambda r: r["event"] == "network_trained" and r["what"] == "random",
}


def test_killed_in_every_stage_it_ends_with_the_same_bytes(clips, reference, tmp_path):
    """kill -9 once in each stage of one run: a user who resumes gets the very set that they would have got."""
    run = quick_run(clips, tmp_path, "killed")
    for wanted in MOMENTS.values():
        worker = start(run)
        wait_for(run, wanted, worker)
        worker.kill()
        worker.wait()
        assert run.state() == "crashed"
    assert start(run).wait(timeout=120) == 0, run.engine_log.read_text()
    same_sets(run, reference)


KILLED_IN_THE_REPORT = """
import os, signal, sys
from engine import worker
from engine.export import report
report._view = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(worker.main())
"""


def test_killed_while_it_writes_its_report_it_can_go_on_and_has_one(reference, tmp_path):
    """A run that is complete without its report would never get one: there is nothing to resume."""
    run = RunDirectory(tmp_path / "reported")
    shutil.copytree(reference.path, run.path)
    run.report.unlink()
    killed = [sys.executable, "-c", KILLED_IN_THE_REPORT, str(run.path)]
    assert subprocess.run(killed, cwd=ROOT, timeout=120).returncode == -signal.SIGKILL
    assert run.state() == "crashed" and not run.report.exists()
    assert start(run).wait(timeout=120) == 0, run.engine_log.read_text()
    assert run.state() == "completed" and run.report.exists()


def test_killed_at_random_moments_it_ends_with_the_same_bytes(clips, reference, tmp_path):
    """Moments that nobody thought of: in an import, in a write, between two events."""
    run, rng = quick_run(clips, tmp_path, "random"), random.Random(time.time())
    for begin, longest in ((start_anew, 5.0), (start, 4.0), (start, 4.0)):
        worker = begin(run)
        time.sleep(rng.uniform(0.0, longest))
        worker.kill()
        worker.wait()
    assert run.state() == "completed" or start(run).wait(timeout=120) == 0, run.engine_log.read_text()
    same_sets(run, reference)


def test_sigterm_stops_at_a_boundary_with_the_step_saved(clips, reference, tmp_path):
    """A cluster's SIGTERM costs at most the present step: the resumed run begins where the stopped one was."""
    run = quick_run(clips, tmp_path, "term")
    worker = start(run)
    wait_for(run, lambda r: r["event"] == "step" and r["stage"] == "dynamic" and r["step"] == 1, worker)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=200) == 0
    assert run.state() == "stopped"
    stopped_at = run.folded().step
    worker = start(run)
    wait_for(run, lambda r: r["event"] == "stage_started" and r["stage"] == "dynamic", worker)
    resumed = [r for r in EventTail(run.events_file).read() if r["event"] == "stage_started"][-1]
    assert resumed["step"] == stopped_at
    assert worker.wait(timeout=120) == 0
    same_sets(run, reference)


def test_same_seed_same_bytes_and_another_seed_others(clips, reference, tmp_path):
    """A published seed must give the published set, and seeds must matter."""
    run = quick_run(clips, tmp_path, "again")
    assert start(run).wait(timeout=120) == 0
    same_sets(run, reference)
    few = [*QUICK, "run.seed=1", "evaluation.repeats=1", "dynamic.eval_every=4"]
    other = new_run(load_preset("default", few), clips, tmp_path, "seed", "seed", ["test"])
    assert start(other).wait(timeout=120) == 0
    one, another = (load_set(found.last).synthetic.tensors() for found in (reference, other))
    assert all(not tensor.equal(another[name]) for name, tensor in one.items())


def test_a_finished_run_has_everything_that_was_promised(reference):
    """Set, report, results and a log that agree with each other."""
    state, loaded = reference.folded(), load_set(reference.best)
    assert [result["what"] for result in state.results] == ["static-dynamic", "random", "static-only"]
    assert all(len(result["top1"]["values"]) == 2 for result in state.results)
    assert state.best is not None and loaded.provenance.step == state.best[0]
    assert loaded.provenance.accuracy == state.best_accuracy
    assert [accuracy.step for accuracy in state.accuracy_curve()] == [0, 2, 4]
    assert state.losses["static"].steps == state.losses["dynamic"].steps == [1, 2, 3, 4]
    page = reference.report.read_text()
    assert "still &lt;b&gt;" in page and "still <b>" not in page
    # It was written before the run said that it was completed: the minute of the last event may be the one before.
    first, again = (re.sub(r"\d\d:\d\d UTC", "UTC", text) for text in (page, html(reference)))
    assert first == again
    completed = next(r for r in EventTail(reference.events_file).read() if r["event"] == "run_completed")
    assert reference.report.stat().st_mtime <= completed["time"] + 0.001
    assert not list(reference.path.rglob("*.tmp*"))
    assert len(list(reference.checkpoints.iterdir())) == 2


def test_a_second_worker_is_refused(clips, tmp_path):
    """Two workers on one run would write over each other."""
    longer = [*QUICK, "dynamic.steps=1000", "dynamic.eval_every=1000"]
    run = new_run(load_preset("default", longer), clips, tmp_path, "busy", "busy", ["test"])
    worker = start(run)
    wait_for(run, lambda r: r["event"] == "stage_finished", worker)
    second = subprocess.run(command(run), cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert second.returncode == 2 and "already being worked on" in second.stderr
    assert len(second.stderr.strip().splitlines()) == 2
    assert run.state() == "running"
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def test_other_data_under_the_same_path_is_refused(clips, tmp_path):
    """A set learned half from one file and half from another would be nobody's result."""
    run = quick_run(clips, tmp_path, "swapped")
    worker = start(run)
    wait_for(run, lambda r: r["event"] == "checkpoint_saved" and r["step"] == 2, worker)
    worker.kill()
    worker.wait()
    other = make_clips(tmp_path / "other", per_class=6)
    text = run.preset_file.read_text().replace(json.dumps(str(clips)), json.dumps(str(other)))
    run.preset_file.write_text(text)
    assert start(run).wait(timeout=200) == 2
    assert run.state() == "failed"
    problem = run.folded().problem
    assert problem is not None and "not the one" in problem[0]


def test_half_a_run_by_an_earlier_revision_of_the_method_is_refused(clips, tmp_path):
    """Steps that compared other features, and then these: a set of no method, under the name of one."""
    run = quick_run(clips, tmp_path, "earlier")
    worker = start(run)
    wait_for(run, lambda r: r["event"] == "checkpoint_saved" and r["stage"] == "dynamic" and r["step"] == 2, worker)
    worker.kill()
    worker.wait()
    newest = load_checkpoint(run.checkpoints)
    assert newest.stage == "dynamic" and newest.document.pop("revisions") == {"embedding": 2, "whitening": 2}
    save_checkpoint(run.checkpoints, 10**6, newest)  # as it was before there were revisions
    assert start(run).wait(timeout=200) == 2
    problem = run.folded().problem
    assert run.state() == "failed" and problem is not None
    assert "earlier vdtui, in which embedding and whitening" in problem[0]


def test_a_run_that_needs_more_memory_than_there_is(clips, tmp_path):
    """An IPC with a few noughts too many is no bug of the program."""
    overrides = [*QUICK, "synthetic.ipc=2000000"]
    run = new_run(load_preset("default", overrides), clips, tmp_path, "large", "large", ["test"])
    worker = start(run)
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (2**37, 2**37))  # some systems promise what they do not have
    assert worker.wait(timeout=120) == 1
    problem = run.folded().problem
    assert run.state() == "failed" and problem is not None and problem[0].startswith("Memory ran out when ")


def test_a_diverging_run_stops_before_it_spoils_its_memories(clips, tmp_path):
    """A rate that is far too high: a clear message and finite memories, not hours of NaN."""
    overrides = [*QUICK, "dynamic.lr_dynamic=1e30", "evaluation.epochs=1"]
    run = new_run(load_preset("default", overrides), clips, tmp_path, "diverged", "diverged", ["test"])
    assert start(run).wait(timeout=120) == 1
    problem = run.folded().problem
    assert run.state() == "failed" and problem is not None and "not finite" in problem[0]
    assert load_set(run.best).provenance.step == 0
