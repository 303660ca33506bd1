"""If these fail, people start a run for the night that will take the week, or buy memory that they do not need."""

from __future__ import annotations

import math
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import engine.distilling.plan
import engine.distilling.plan_parts
import engine.distilling.process
from engine.config import Preset, load_preset
from engine.config.counts import candidates, expert_epochs, inner_trainings, is_candidate
from engine.data.store import ClipStore
from engine.distilling.learning import preview_every
from engine.distilling.plan import Plan, plan
from engine.distilling.reckoning import Sizes, Unit, Units, reckon
from engine.distilling.rehearsal import shortened
from engine.events import (
    BestChanged,
    CheckpointSaved,
    Evaluated,
    Event,
    NetworkTrained,
    Note,
    PreviewSaved,
    Progress,
    RunStarted,
    StageFinished,
    StageStarted,
    Step,
)
from engine.matching.bank import Schedule
from engine.runs import RunDirectory
from engine.runs.new import new_run
from tests.tiny_run import QUICK, make_clips


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rehearse on a busy machine as on any."""
    monkeypatch.setattr(engine.distilling.plan, "LIMIT", float("inf"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"))


class Machine:
    """A machine whose clock says exactly what things cost, and that does nothing."""

    STATIC, TRAIN, DYNAMIC, FILL, BEGIN = 2.0, 11.0, 3.0, 7.0, 5.0
    CHECKPOINT, PREVIEW, BEST, ENCODE = 0.5, 0.75, 1.5, 0.25
    EPOCH, EXPERT = 6.0, 1.25
    LOAD, BETWEEN, REPORT = 1.75, 0.375, 2.5
    now = 100.0

    def work(self, run: RunDirectory, listen: Any) -> None:
        """Go through a run as the engine tells of it."""
        from engine.config import read_preset

        for event, seconds in self.course(read_preset(run.preset_file)):
            self.now += seconds
            listen(event)
        self.now += self.REPORT

    def course(self, preset: Preset) -> list[tuple[Event, float]]:
        """Every event, and the seconds before it."""
        told: list[tuple[Event, float]] = [(RunStarted("x", 0, "cpu", preset.stages, False), 0.0)]
        told += self.stage("prepare", self.LOAD, [(Progress("prepare", 1, 1, 1.0, "", None), 4.0)])
        if "experts" in preset.stages:
            told += self.stage("experts", self.BETWEEN, list(self.experts(preset)))
        told += self.stage("static", self.BETWEEN, list(self.static(preset)))
        told += self.stage("dynamic", self.BETWEEN, list(self.dynamic(preset)))
        networks = len(preset.kind.rows(preset)) * len(preset.evaluation.models) * preset.evaluation.repeats
        each = 10.0 + 2.0 * preset.evaluation.epochs
        seconds = math.ceil(networks / min(preset.evaluation.repeats, torch.get_num_threads())) * each
        return told + self.stage("evaluate", self.BETWEEN, [(Note("info", "done"), seconds)])

    def stage(self, name: Any, before: float, told: list[tuple[Event, float]]) -> list[tuple[Event, float]]:
        """All events of a stage, and the seconds before it starts."""
        finished = StageFinished(name, sum(seconds for _, seconds in told))
        return [(StageStarted(name, 0, 1), before), *told, (finished, 0.0)]

    def experts(self, preset: Preset) -> Iterator[tuple[Event, float]]:
        """Epochs, of which the very first takes longer; an expert ends with its file."""
        each = expert_epochs(preset) // preset.experts.number
        for epoch in range(expert_epochs(preset)):
            yield self.step("experts", epoch), self.EPOCH + self.BEGIN * (epoch == 0)
            if (epoch + 1) % each == 0:
                yield Progress("experts", epoch, 1, 1.0, "", None), 0.0
        yield Note("info", "experts are written"), preset.experts.number * self.EXPERT

    def static(self, preset: Preset) -> Iterator[tuple[Event, float]]:
        """Steps of stage 1."""
        for step in range(preset.static.steps + 1):
            yield from self.boundary("static", step, preset.static)
            if step < preset.static.steps:
                trained = preset.static.objective == "dc" and (step + 1) % preset.static.outer_loops > 0
                encoding, figures = self.encoding(step, preset)
                seconds = self.STATIC + self.TRAIN * trained + self.BEGIN * (step == 0)
                yield self.step("static", step, figures), seconds + encoding

    def dynamic(self, preset: Preset) -> Iterator[tuple[Event, float]]:
        """Steps of stage 2; each candidate is the best so far."""
        schedule = Schedule.of(preset.dynamic.dm, preset) if preset.dynamic.objective == "dm" else None
        met: set[int] = set()
        for step in range(preset.dynamic.steps + 1):
            yield from self.boundary("dynamic", step, preset.dynamic)
            if is_candidate(preset.dynamic, step):
                seconds = self.rounds(preset.evaluation.selection_repeats) * (1.5 + 0.5 * preset.evaluation.epochs)
                yield Evaluated("synthetic", step, "val", 0.1, 0.0, (0.1,), seconds), seconds
                yield BestChanged(step, 0.1), self.BEST
            if step < preset.dynamic.steps:
                fill = schedule is not None and schedule.number(step) not in met
                met |= {schedule.number(step)} if schedule is not None else set()
                encoding, figures = self.encoding(step, preset)
                yield self.step("dynamic", step, figures), self.DYNAMIC + self.FILL * fill + encoding

    def encoding(self, step: int, preset: Preset) -> tuple[float, dict[str, float]]:
        """The seconds in which the set is encoded at ``step``, and what is told of them."""
        if not preset.storage.learn_through or step % preset.storage.every:
            return 0.0, {}
        return self.ENCODE, {"encoding_seconds": self.ENCODE}

    def boundary(self, stage: Any, step: int, section: Any) -> Iterator[tuple[Event, float]]:
        """What is saved before ``step``, or after the last."""
        last = step == section.steps
        if last or step % section.checkpoint_every == 0:
            yield CheckpointSaved(stage, step), self.CHECKPOINT
        if last or step % preview_every(section.steps) == 0:
            yield PreviewSaved(stage, step, "x"), self.PREVIEW

    def rounds(self, networks: int) -> int:
        """How often as many networks as there are cores are trained, each by one."""
        return math.ceil(networks / min(networks, torch.get_num_threads()))

    def step(self, stage: Any, number: int, figures: dict[str, float] | None = None) -> Step:
        return Step(stage, number + 1, 1, 1.0, 1.0, figures or {})


@pytest.mark.parametrize(("epochs", "static", "outer"), [(1, 40, 1), (2, 40, 3), (400, 41, 10), (2, 2, 10), (2, 3, 2)])
def test_the_time_of_a_run_whose_costs_are_known(
    clips: Path, monkeypatch: pytest.MonkeyPatch, epochs: int, static: int, outer: int
) -> None:
    """From few steps and two lengths of training, to the second; gradient matching trains its network between.

    What happens after some steps only is no part of a step: of a set that takes long to draw or to encode, a plan that
    thinks so says twice of what comes.
    """
    machine = Machine()
    preset = load_preset(
        "default",
        [
            f"dataset.path={clips}",
            f"static.steps={static}",
            f"static.outer_loops={outer}",
            "dynamic.steps=230",
            "dynamic.eval_every=50",
            "dynamic.checkpoint_every=7",
            "storage.how=h264-35",
            "storage.learn_through=true",
            f"storage.every={1 + epochs % 3}",
            f"evaluation.epochs={epochs}",
            "selection.epochs=1",
        ],
    )
    assert preset.dynamic.dm.target == "bank"
    assert planned(machine, preset, monkeypatch) == pytest.approx(seconds_of(machine, preset))


def planned(machine: Machine, preset: Preset, monkeypatch: pytest.MonkeyPatch) -> float:
    """The seconds that a plan on ``machine`` says."""
    monkeypatch.setattr(engine.distilling.process, "carry_out", machine.work)
    monkeypatch.setattr(engine.distilling.plan.time, "monotonic", lambda: machine.now)
    found = plan(preset)
    assert found.device == "cpu" and found.memory_bytes > 10**7
    return found.seconds


def seconds_of(machine: Machine, preset: Preset) -> float:
    """The seconds that the run takes on ``machine``."""
    return sum(seconds for _, seconds in machine.course(preset)) + machine.REPORT


@pytest.mark.parametrize(("steps", "fills"), [(40, 0), (40, 12), (3, 2), (1, 1)])
def test_the_second_fill_of_a_bank_tells_what_one_takes(steps: int, fills: int) -> None:
    """The first step has more that happens once, and in a run of 12 fills that would count 12 times."""
    plain, fill, once = 3.0, 7.0, 50.0
    of_step = [once + plain + fill * (fills > 0), plain, plain + fill * (fills > 0), plain][:steps]
    told = engine.distilling.plan_parts._stepped([of_step], steps, fills)
    assert sum(told) == pytest.approx(once + steps * plain + fills * fill)


def test_the_time_of_experts_whose_costs_are_known(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first epoch of all takes longer, and what an expert takes beside its epochs, is not in each epoch."""
    changes = ["dynamic.objective=mtt", "experts.number=5", "experts.epochs=8", "static.steps=0", "dynamic.steps=30"]
    changes += ["dynamic.mtt.max_start_epoch=2", "dynamic.mtt.expert_epochs=1", "selection.epochs=1"]
    preset, machine = load_preset("default", [f"dataset.path={clips}", *changes]), Machine()
    assert planned(machine, preset, monkeypatch) == pytest.approx(seconds_of(machine, preset))


@pytest.mark.parametrize(("threads", "repeats", "held"), [(1, 3, 500), (2, 3, 900), (2, 1, 500), (8, 3, 1100)])
def test_memory_is_of_the_processes_that_a_run_has(
    monkeypatch: pytest.MonkeyPatch, threads: int, repeats: int, held: int
) -> None:
    """Networks that are trained in the process itself need no other; of three on two cores two are trained at once."""
    usage = {resource.RUSAGE_SELF: 500, resource.RUSAGE_CHILDREN: 200}
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=usage[who]))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(engine.distilling.plan.sys, "platform", "darwin")
    changes = [f"evaluation.repeats={repeats}", "evaluation.selection_repeats=1"]
    assert engine.distilling.plan._memory(load_preset("default", changes), "cpu", 0) == held
    assert engine.distilling.plan._memory(load_preset("default", changes), "cpu", 77) == 77, "if it was seen at once"


def test_a_bank_of_many_networks_is_held_beside_what_was_seen() -> None:
    """A rehearsal has but one of them."""
    sizes = Sizes(classes=2, frames=8, side=64, train=4, val=2, test=2, largest=2)

    def more(*changes: str) -> int:
        return engine.distilling.plan._bank_bytes(load_preset("ablation-one-stage", changes), sizes)

    assert more("dynamic.dm.bank=1", "dynamic.dm.renew_every=0") == 0 == more("dynamic.dm.target=batch")
    three, sixteen, twenty = (more(f"dynamic.dm.bank={number}", "dynamic.steps=400") for number in (3, 16, 20))
    assert three > 10**6 and sixteen * 2 == three * 15
    assert twenty - sixteen == 4 * 4 * 2 * 256, "sixteen networks are kept, of more of them the means of both classes"
    pooled = more("dynamic.embedding=pooled", "dynamic.dm.bank=3", "dynamic.steps=400")
    assert three - pooled == 4 * 2 * 2 * (256 - 128), "their embeddings are half as long"


def test_a_bank_of_stage_1_is_held_beside_what_was_seen() -> None:
    """Embeddings of frames are long, so that their means may take more than the networks."""
    sizes = Sizes(classes=2, frames=8, side=64, train=4, val=2, test=2, largest=2)
    stills = ("synthetic.kind=static-only", "static.dm.target=batch", "static.network=convnet", "static.steps=400")

    def more(*changes: str) -> int:
        return engine.distilling.plan._bank_bytes(load_preset("default", [*stills, *changes]), sizes)

    assert more() == 0 == more("static.dm.target=bank", "static.dm.bank=1", "static.dm.renew_every=0")
    ten, twenty = (more("static.dm.target=bank", f"static.dm.bank={number}") for number in (10, 20))
    weights = 3 * 128 * 9 + 2 * 128 * 128 * 9 + 3 * 3 * 128 + 2 * (128 * 8 * 8 + 1)
    means = 2 * 128 * 8 * 8
    assert ten == 4 * 9 * (weights + means) and twenty == 4 * (15 * weights + 19 * means)
    assert more("static.dm.target=bank", "static.dm.bank=10", "static.network=collapsed") > ten
    assert more("static.dm.target=bank", "static.steps=3") == 0, "so few are rehearsed as they are"
    # Stage 1's is gone when stage 2 begins.
    both = ("synthetic.kind=static-dynamic", "static.dm.target=bank", "static.dm.bank=10")
    second = more("synthetic.kind=static-dynamic", "dynamic.dm.bank=3")
    assert more(*both, "dynamic.dm.bank=3") == max(ten, second)


def test_a_process_is_started_twice_to_see_how_long_that_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one may have to read torch from the disk, as no run after it has to."""
    monkeypatch.undo()
    machine, took, run = Machine(), [9.0, 2.0], subprocess.run

    def start(command: list[str], **options: Any) -> None:
        if len(took) == 2:
            run(command, **options)
        machine.now += took.pop(0)

    monkeypatch.setattr(engine.distilling.plan.time, "monotonic", lambda: machine.now)
    monkeypatch.setattr(engine.distilling.plan.subprocess, "run", start)
    assert engine.distilling.plan._start_seconds() == 2.0


def test_a_chosen_coreset_has_a_rival_and_a_random_one_has_none(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the networks of a night would be missing from its plan."""
    machine = Machine()
    monkeypatch.setattr(engine.distilling.process, "carry_out", machine.work)
    rows = {}
    for method in ("herding", "random"):
        changes = ["synthetic.kind=coreset", f"selection.method={method}", "evaluation.repeats=5"]
        rows[method] = plan(load_preset("default", [f"dataset.path={clips}", *changes])).parts[-1].number
    assert rows == {"herding": 10, "random": 5}


def test_a_rehearsal_of_a_real_run(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of what will happen are those of the whole run; nothing stays behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    changes = ["dynamic.steps=9", "dynamic.eval_every=4", "evaluation.epochs=1", "dynamic.dm.bank=2"]
    preset = load_preset("default", [*QUICK, *changes, f"dataset.path={clips}"])
    heard: list[Event] = []
    found = plan(preset, heard.append)
    parts = {(part.stage, part.what): part for part in found.parts}
    assert [stage for stage, _ in parts] == ["prepare", *2 * ["static"], *3 * ["dynamic"], "evaluate"]
    assert parts["static", "steps"].number == 4 and parts["dynamic", "steps"].number == 9
    assert parts["dynamic", "networks to choose the step"].number == 4  # steps 0, 4, 8 and 9
    assert parts["evaluate", "networks for the final table"].number == 6
    # What a fill of the bank takes is the first step less a usual one: of such small clips it may be nothing.
    assert all(part.seconds > 0 or "target bank" in part.what for part in found.parts)
    assert all(part.seconds >= 0 for part in found.parts) and found.rehearsed_seconds > 0
    statics, dynamics = 2 * 2 * 3 * 64 * 64, 2 * 2 * 8 * 64 * 64
    assert found.stored_values == statics + dynamics + 327 and found.stored_bytes == 4 * found.stored_values
    with ClipStore.open(clips) as store:
        assert 0 < found.data_bytes <= len(store.split("train")) * 8 * 64 * 64 * 3
    assert any(isinstance(event, StageStarted) for event in heard) and not list(tmp_path.glob("vdtui*"))


def test_seconds_are_passes_times_what_one_takes() -> None:
    """By hand, of matching with batches and with a bank, of unrolled steps, and of the networks that judge."""
    sizes = Sizes(classes=10, frames=8, side=64, train=400, val=100, test=200, largest=50)
    units = Units({"convnet3d": Unit(1.0, 3.0, 10.0)}, Unit(0.1, 0.3, 1.0))
    table = {"evaluation.repeats": 2, "evaluation.selection_repeats": 1, "evaluation.epochs": 5, "synthetic.ipc": 2}
    table |= {"evaluation.baselines": ["random"], "synthetic.kind": "pixels", "dynamic.steps": 7}
    table |= {"dynamic.eval_every": 4, "dynamic.batch_real": 16, "dynamic.dm.target": "batch"}

    def seconds(**more: Any) -> dict[str, float]:
        given = table | {name.replace("__", "."): value for name, value in more.items()}
        parts = reckon(load_preset("default", given), sizes, units)
        assert parts is not None
        return {part.what: part.seconds for part in parts}

    stills = Units({"convnet3d": Unit(1.0, 3.0, 10.0, still=0.5)}, units.images)
    for preset in ("stills", "mean-frame"):
        of_stills = reckon(load_preset(preset, table | {"synthetic.kind": "static-only"}), sizes, stills)
        assert of_stills is not None
        assert of_stills[-1].seconds == 2 * (5 * 20 * 0.5 + 200) + 2 * (5 * 20 * 3.0 + 200)  # the set, and real clips
    counted = seconds(evaluation__steps=9, evaluation__batch=8)  # 20 clips in three batches
    assert counted["networks for the final table"] == 2 * 2 * (9 * (20 / 3) * 3.0 + 200)
    judged = 5 * 20 * 3.0
    assert seconds() == {
        "steps": 7 * (10 * 16 * 1.0 + 10 * 2 * 3.0),
        "networks to choose the step": 3 * (judged + 100),
        "networks for the final table": 2 * 2 * (judged + 200),
    }
    bank = seconds(dynamic__dm__target="bank", dynamic__dm__bank=3, dynamic__dm__bank_clips=16)
    assert bank["steps"] == 7 * 10 * 2 * 3.0 and bank["networks of the target bank"] % (10 * 16) == 0
    mtt = seconds(dynamic__objective="mtt", dynamic__mtt__syn_steps=4, experts__number=2, experts__epochs=10)
    assert mtt["steps"] == 7 * 4 * 20 * 10.0 and mtt["epochs on all training clips"] == 20 * 400 * 3.0
    chosen = seconds(synthetic__kind="coreset", selection__method="herding", selection__epochs=3)
    assert chosen["coreset"] == 3 * 400 * 3.0 + 400 * 1.0
    beside = seconds(evaluation__baselines=["compressed-herding"], selection__epochs=3, storage__how="h264-35")
    assert beside["epochs of the network by whose features real clips are chosen"] == 3 * 400 * 3.0
    frepo = seconds(dynamic__objective="frepo", dynamic__frepo__batch_real=32)
    assert frepo["steps"] == 7 * (32 * 1.0 + 2 * 20 * 3.0)


# --- against real runs -----------------------------------------------------------------------------------------------

TINY = (*QUICK, "evaluation.epochs=1", "dataset.val_fraction=0.3")
MTT = ["dynamic.objective=mtt", "dynamic.mtt.syn_steps=1", "dynamic.mtt.max_start_epoch=1", "static.steps=0"]
PIXELS = ["synthetic.kind=pixels", 'evaluation.models=["convnet3d", "convnet_mean"]', "dynamic.dm.target=batch"]
RUNS = {
    "bank": ["dynamic.steps=12", "dynamic.eval_every=5", "dynamic.dm.bank=3", "dynamic.dm.renew_every=2"],
    "ncfm": ["dynamic.objective=ncfm", "dynamic.ncfm.target=bank", "dynamic.ncfm.bank=2", "dynamic.steps=7"],
    "mtt": [*MTT, "experts.number=2", "experts.epochs=2", "dynamic.steps=5", "dynamic.eval_every=3"],
    "dc": ["synthetic.kind=static-only", "static.objective=dc", "static.outer_loops=3", "static.steps=7"],
    "herding": ["synthetic.kind=coreset", "selection.method=herding", "selection.epochs=4"],
    "by-steps": ["evaluation.steps=3", "synthetic.kind=pixels", "dynamic.dm.target=batch", "dynamic.steps=1"],
    "two-models": [*PIXELS, "evaluation.selection_repeats=2", "evaluation.repeats=1", "dynamic.steps=1"],
}


def happened(heard: list[Event]) -> dict[tuple[str, str], int]:
    """How often each thing that a plan counts did happen."""
    stage, counts = "", {}
    networks = {"dynamic": "networks to choose the step", "evaluate": "networks for the final table"}
    for event in heard:
        if isinstance(event, StageStarted):
            stage = event.stage
        if isinstance(event, Step) and event.stage != "experts":
            counts[event.stage, "steps"] = counts.get((event.stage, "steps"), 0) + 1
            if "bank_fills" in event.figures:
                counts[event.stage, "networks of the target bank"] = int(event.figures["bank_fills"])
        if isinstance(event, NetworkTrained):
            counts[stage, networks[stage]] = counts.get((stage, networks[stage]), 0) + 1
        if isinstance(event, StageFinished) and event.stage == "select":
            counts["select", "coreset"] = 1
        if isinstance(event, Progress) and event.stage == "experts":
            counts["experts", "epochs on all training clips"] = event.step
    return counts


@pytest.mark.parametrize("name", RUNS)
def test_what_is_counted_is_what_happens(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A plan that counts other steps, networks, epochs or fills of the bank than the run makes is of another run."""
    preset = load_preset("default", [*TINY, *RUNS[name], f"dataset.path={clips}", "run.seed=5"])
    heard: list[Event] = []
    engine.distilling.process.carry_out(new_run(preset, None, tmp_path, name, "", ["test"]), heard.append)
    found = {(part.stage, part.what): part.number for part in plan(preset).parts}
    assert found.pop(("prepare", "data opened, or made")) == 1
    assert {key: number for key, number in found.items() if number} == happened(heard)
    monkeypatch.setattr(engine.distilling.plan, "LIMIT", -1.0)  # the way for runs that are too large to rehearse
    said: list[str] = []
    reckoned = plan(preset, tell=said.append)
    counted = {(part.stage, part.what): part.number for part in reckoned.parts if part.stage != "prepare"}
    assert counted == found and reckoned.reckoned and "counted instead" in said[0]
    assert all(part.seconds > 0 for part in reckoned.parts if part.number and part.stage != "prepare")


def test_other_seeds_meet_other_networks(clips: Path) -> None:
    """The test above would prove nothing of the fills if all schedules had as many."""
    changes = [*RUNS["bank"], f"dataset.path={clips}"]
    fills = []
    for seed in range(8):
        preset = load_preset("default", [*TINY, *changes, f"run.seed={seed}"])
        schedule = Schedule.of(preset.dynamic.dm, preset)
        fills.append(len({schedule.number(step) for step in range(preset.dynamic.steps)}))
    assert len(set(fills)) > 1


@pytest.mark.parametrize("steps", [0, 1, 5, 6, 7, 40])
@pytest.mark.parametrize("every", [1, 2, 3, 7, 100])
def test_candidates_counted_are_those_that_are_met(steps: int, every: int) -> None:
    """The plan, the form and the time left count by a formula what the run meets step by step."""
    section = load_preset("default", [f"dynamic.steps={steps}", f"dynamic.eval_every={every}"]).dynamic
    met = [step for step in range(steps + 1) if step % every == 0 or step == steps]
    assert [step for step in range(-3, steps + 3) if is_candidate(section, step)] == met
    for after in range(-1, steps + 2):
        assert candidates(section, after) == sum(step > after for step in met)


def test_networks_that_may_stop_early_are_planned_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody knows when they will have learned their clips: a plan that rehearses a stop promises what may not come."""
    from vdtui.cli.plan import plan as typed

    rehearsed = []

    def made(preset: Preset, check: Any, tell: Any) -> Plan:
        rehearsed.append(shortened(preset, 3).evaluation)
        return Plan((), 0, 0, 0, 0, "cpu", 0.0, "", 0, 0, "")

    monkeypatch.setattr("engine.distilling.plan.plan", made)
    for rule in ("learned", "none"):
        typed("demo", set_=[f"evaluation.selection_stop={rule}"])
        assert (rehearsed[-1].selection_stop, rehearsed[-1].epochs) == ("none", 3)
        assert ("all of their epochs count" in capsys.readouterr().err) == (rule == "learned")


def test_candidates_of_millions_of_steps_take_no_time() -> None:
    """Each boundary asked whether its step was one, and made all of them anew."""
    section = load_preset("default", ["dynamic.steps=10_000_000", "dynamic.eval_every=2_000"]).dynamic
    assert candidates(section) == 5_001 and is_candidate(section, 9_998_000) and not is_candidate(section, 9_999_999)


@pytest.mark.parametrize(("objective", "steps", "outer"), [("dc", 7, 3), ("dc", 4, 1), ("dc", 0, 5), ("dm", 7, 3)])
def test_inner_trainings(objective: str, steps: int, outer: int) -> None:
    """All steps but the last of each network are followed by its training."""
    section = load_preset("default", [f"static.objective={objective}", f"static.steps={steps}"])
    section = section.static.model_copy(update={"outer_loops": outer})
    followed = [step for step in range(steps) if objective == "dc" and (step + 1) % outer]
    assert inner_trainings(section) == len(followed)


def test_what_a_run_warns_of_first_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The plan is where one still can choose another IPC; that networks of one epoch learn nothing is no news."""
    from vdtui.cli.plan import _teller

    tell = _teller()
    for _ in range(2):
        tell(StageStarted("prepare", 0, 1))
        tell(Note("info", "2 classes"))
        tell(Note("warning", "few clips of \x1b[1m"))
        tell(StageStarted("evaluate", 0, 1))
        tell(Note("warning", "networks did not learn"))
    said = capsys.readouterr().err
    assert said.count("warning: few clips of \\x1b[1m") == 1 and "did not learn" not in said and "2 classes" not in said
