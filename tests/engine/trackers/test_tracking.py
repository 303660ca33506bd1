"""Trackers of a run: what is lost here is a run, to a tool that should only have drawn its curves."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from engine import resume_distillation
from engine.config import load_preset
from engine.config.schema import RunSection
from engine.events import Evaluated, Event, Note, ResultReady, RunCompleted, RunStopped, StageStarted, Step
from engine.runs import RunDirectory, create_run
from engine.runs.log import EventTail
from engine.runs.methods import origin_of
from engine.runs.removal import remove_run
from engine.trackers import tracking
from engine.trackers.base import Point, Tracker, points_of
from engine.trackers.tracking import TRACKERS, Tracking
from tests.engine.export.made_up import result
from tests.tiny_run import QUICK, at_step, cut_run, make_clips


class Recorder(Tracker):
    """A tracker that remembers all that it is told, over all workers of a run."""

    told: list[object]

    def __init__(self, run: RunDirectory, settings: Mapping[str, str]) -> None:
        self.told.append(dict(settings))

    def begin_stage(self, stage: str, step: int) -> None:
        self.told.append((stage, step))

    def log(self, points: Sequence[Point]) -> None:
        self.told += points

    def close(self, state: str) -> None:
        self.told.append(state)


class Failing(Recorder):
    """A tracker that fails at its first numbers, as one without a network does."""

    def log(self, points: Sequence[Point]) -> None:
        if points:
            raise ConnectionError("no route to\nthe host")


class Hanging(Recorder):
    """A tracker that does not come back."""

    go_on = threading.Event()

    def log(self, points: Sequence[Point]) -> None:
        self.go_on.wait(20)


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[Recorder]]:
    """Stand-ins for the trackers by name; each begins with nothing told."""
    found = {"tensorboard": Recorder, "wandb": Failing, "mlflow": Hanging}
    for kind in found.values():
        monkeypatch.setattr(kind, "told", [], raising=False)
    monkeypatch.setattr(tracking, "_load", found.__getitem__)
    return found


def test_a_tracked_run_makes_the_same_set_whatever_becomes_of_its_trackers(
    tmp_path: Path, kinds: dict[str, type[Recorder]]
) -> None:
    """A run that was cut and resumed, with one tracker that works and one that fails, beside one that has none."""
    clips = make_clips(tmp_path)
    quick = [*QUICK, "static.steps=0", "evaluation.epochs=1", "dynamic.eval_every=4"]
    plain = cut_run(load_preset("default", quick), clips, tmp_path, at_the_table, "plain")
    watched = load_preset("default", [*quick, 'run.trackers=["tensorboard", "wandb"]'])
    run = cut_run(watched, clips, tmp_path, at_step(3, "dynamic"))
    with pytest.raises(RuntimeError):
        resume_distillation(run, on_event=pull_the_plug_at_the_table)
    for file in ("best", "last"):
        name = f"synthetic/{file}.safetensors"
        assert (run.path / name).read_bytes() == (plain.path / name).read_bytes()
    assert origin_of(run.preset_values()) == origin_of(plain.preset_values())  # one method, as comparisons see it

    told = kinds["tensorboard"].told
    assert isinstance(told[0], dict) and told[0]["dynamic.steps"] == "4"
    assert told.count("failed") == 2 and sum(isinstance(one, dict) for one in told) == 2  # one for each worker
    assert ("dynamic", 2) in told[told.index("failed") :]  # the resumed worker says from where it goes on
    losses = {one.step: one.value for one in told if isinstance(one, Point) and one.name == "loss"}
    records = EventTail(plain.events_file).read()
    assert losses == {one["step"]: one["loss"] for one in records if one["event"] == "step"} and len(losses) == 4
    notes = [one["text"] for one in EventTail(run.events_file).read() if one["event"] == "note"]
    warning = "The tracker wandb failed: ConnectionError: no route to. The run goes on without it."
    assert [text for text in notes if "tracker" in text] == 2 * [warning]  # once by each worker


def at_the_table(event: Event) -> bool:
    return isinstance(event, StageStarted) and event.stage == "evaluate"


def pull_the_plug_at_the_table(event: Event) -> None:
    if at_the_table(event):
        raise RuntimeError("pulled the plug")


def test_numbers_of_results_and_evaluations() -> None:
    """A table of many runs in a tracker, without the accuracies for which they were made."""
    row = result("static-dynamic", (0.25, 0.75), 3)
    points = {one.name: one.value for one in points_of(ResultReady(row), "evaluate", 1.0)}
    kind = f"static-dynamic/{row['precision']}/{row['model']}"
    assert points[f"top1/{kind}"] == 0.5 and points[f"bytes/{kind}"] == row["bytes"]
    assert points_of(Evaluated("synthetic", 20, "val", 0.5, 0.1, (0.4, 0.6), 1.0), "dynamic", 1.0) == [
        Point("dynamic", "accuracy/val", 20, 0.5, 1.0),
        Point("dynamic", "accuracy_std/val", 20, 0.1, 1.0),
    ]
    assert points_of(Note("info", "x"), "dynamic", 1.0) == []


def emit(watcher: Tracking, *events: Event) -> None:
    for event in events:
        watcher(event)


def step(number: int, loss: float = 1.0) -> Step:
    return Step("dynamic", number, 4, loss, 2.0, {"grad_dynamic": 0.5})


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = create_run(tmp_path, "r", "r", "[dynamic]\nsteps = 4\n", {"seed": 3})
    return RunDirectory(made.path.rename(tmp_path / 'r "1"'))


def test_a_tracker_that_hangs_holds_nothing_up(
    run: RunDirectory, kinds: dict[str, type[Recorder]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not answer would stop the run in the midst of a step, for as long as it likes."""
    monkeypatch.setattr(tracking, "MOST_WAITING", 3)
    monkeypatch.setattr(tracking, "LAST_SECONDS", 0.1)
    told: list[Event] = []
    began = time.monotonic()
    watcher = Tracking(run, ("mlflow",), told.append)
    emit(watcher, *(step(number) for number in range(50)), RunCompleted(1.0))
    assert time.monotonic() - began < 10
    (warning,) = told
    assert isinstance(warning, Note) and "mlflow is too slow" in warning.text and warning.level == "warning"
    Hanging.go_on.set()


def test_a_tracker_that_is_not_installed_is_told_with_its_extra(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for curves and gets none would look for the reason in the wrong place."""
    monkeypatch.setitem(TRACKERS, "tensorboard", "no_such_package:Nothing")
    told: list[Event] = []
    emit(Tracking(run, ("tensorboard",), told.append), step(1), RunCompleted(1.0))
    assert len(told) == 1 and isinstance(told[0], Note) and "pip install 'vdtui[tensorboard]'" in told[0].text


def test_the_names_of_presets_are_those_of_trackers() -> None:
    """A name that a preset takes and nothing answers to."""
    for name in TRACKERS:
        assert RunSection(trackers=(name,)).trackers == (name,)  # type: ignore[arg-type]


def twice(run: RunDirectory, name: str) -> list[Event]:
    """Let two workers have a run, the second from the checkpoint at step 2; return what is told of troubles."""
    told: list[Event] = []
    first = Tracking(run, (name,), told.append)
    emit(first, StageStarted("dynamic", 0, 4), *(step(n, 10.0 * n) for n in (1, 2, 3)), RunStopped("SIGTERM"))
    second = Tracking(run, (name,), told.append)
    emit(second, StageStarted("dynamic", 2, 4), step(3, 3.5), step(4, 4.5), RunCompleted(1.0))
    return told


def test_curves_of_a_resumed_run_in_tensorboard(run: RunDirectory) -> None:
    """Read as TensorBoard reads them: without a second curve for what the resumed run did again."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    told: list[Event] = []
    first = Tracking(run, ("tensorboard",), told.append)
    emit(first, StageStarted("dynamic", 0, 4), *(step(n, 10.0 * n) for n in (1, 2, 3)), RunCompleted(1.0))
    time.sleep(1.1)  # event files are in the order of their seconds
    second = Tracking(run, ("tensorboard",), told.append)
    emit(second, StageStarted("dynamic", 2, 4), step(3, 3.5), step(4, 4.5), RunCompleted(1.0))
    assert told == []
    found = events.EventAccumulator(str(run.path / "tensorboard/dynamic"))
    found.Reload()
    assert {"loss", "steps_per_second", "grad_dynamic"} == {*found.Tags()["scalars"]}
    assert [(one.step, one.value) for one in found.Scalars("loss")] == [(1, 10.0), (2, 20.0), (3, 3.5), (4, 4.5)]


def test_metrics_for_prometheus(run: RunDirectory) -> None:
    """A file that its collector refuses as a whole for one line, as for a quote in a name."""
    assert twice(run, "prometheus") == []
    text = (run.path / "metrics.prom").read_text()
    labels = r'run="r \"1\"",stage="dynamic"'
    assert f"# TYPE vdtui_loss gauge\nvdtui_loss{{{labels}}} 4.5\n" in text and f"vdtui_step{{{labels}}} 4.0\n" in text
    assert len(text.splitlines()) == 8


def test_one_run_of_mlflow_for_all_workers(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run would stand there twice, each with half of its curve."""
    pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tracking, "LAST_SECONDS", 120.0)  # it makes its tables by migrations, one after another
    assert twice(run, "mlflow") == []
    client = MlflowClient(tracking_uri=f"sqlite:///{run.path.parent / '.mlflow.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "vdtui"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED" and found.data.params == {"dynamic.steps": "4"}
    assert {one.step for one in client.get_metric_history(found.info.run_id, "dynamic/loss")} == {1, 2, 3, 4}


def test_one_run_of_wandb_for_all_workers(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network, and without what it would send: two folders of one id, which a sync makes one run of."""
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(tracking, "LAST_SECONDS", 120.0)
    assert twice(run, "wandb") == []
    folders = [path.name for path in (run.path / "wandb").glob("offline-run-*")]
    assert len(folders) == 2 and len({name.rpartition("-")[2] for name in folders}) == 1


def test_files_of_trackers_are_files_of_the_run(run: RunDirectory) -> None:
    """`vdtui remove` would leave every tracked run where it is."""
    for name in ("tensorboard/dynamic", "wandb/offline"):
        (run.path / name).mkdir(parents=True)
    for name in ("metrics.prom", "trackers.json", "tensorboard/dynamic/events"):
        (run.path / name).write_text("{}")
    status = run.status_file.read_text().replace("queued", "stopped")
    run.status_file.write_text(status)
    remove_run(run)
    assert not run.path.exists()
