"""Budgets of bytes: a file above its budget is of no use, and a choice that a power cut changes is no choice."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from engine.api import resume_distillation, run_distillation
from engine.config import Preset, load_preset, read_preset
from engine.config.budget import fixed, rung_named
from engine.distilling import budget as budget_module
from engine.distilling import start_order as start_order_module
from engine.distilling.keeping import as_kept, keep_set
from engine.distilling.plan import plan
from engine.distilling.process import carry_out
from engine.errors import PresetError, StopRequested, UsageError
from engine.evaluation.trials import digest
from engine.events import BudgetSpent, Event, NetworkTrained, RungTried, RunStarted, StageFinished
from engine.export.report import report_data
from engine.files import read_json
from engine.runs import RunDirectory
from engine.runs.new import new_run
from engine.selection import select_coreset
from engine.synthetic import Pixels, Provenance, Temporal, load_set, to_bytes
from engine.synthetic.coded import write_learned
from engine.synthetic.formation import Formation
from engine.synthetic.levels import encoded, to_levels
from engine.synthetic.streams import Coding
from tests.tiny import make_spec
from tests.tiny_run import QUICK, lose_power, make_clips

SHORT = (
    *("dynamic.steps=2", "dynamic.checkpoint_every=1", "dynamic.eval_every=1", "dynamic.optimiser=whitened-adam"),
    *("dynamic.lr_dynamic=0.05", "dynamic.dm.bank=1", "dynamic.dm.bank_clips=2", "evaluation.epochs=1"),
    *("evaluation.repeats=1", "evaluation.baselines=['random']"),
)
BUDGET = 250
"""Bytes per class by which some of the rungs hold one clip, some two, and the first ones none."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def whole(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that nothing has disturbed."""
    return run_distillation(preset_of(f"{BUDGET}B"), clips, runs_dir=tmp_path_factory.mktemp("runs"), name="whole")


def preset_of(budget: str, *changes: str) -> Preset:
    return load_preset("default", [*QUICK, *SHORT, f"storage.budget={budget}", *changes])


def test_the_file_is_within_the_budget_and_all_say_what_was_chosen(whole: RunDirectory) -> None:
    """A set that is too large cannot be handed over, and one that says another size is worse."""
    spent, document, preset = whole.folded().spent, read_json(whole.budget_file), read_preset(whole.preset_file)
    assert spent is not None and document is not None
    for file in (whole.best, whole.last):
        assert file.suffix == ".vds" and file.stat().st_size <= 2 * BUDGET
    loaded, own = load_set(whole.best), whole.folded().results[0]
    rung = rung_named(document["chosen"])
    assert rung is not None and preset.storage.rung == spent["rung"] == rung.title
    assert preset.synthetic.ipc == loaded.synthetic.ipc == own["ipc"] == spent["ipc"]
    assert own["storage"] == preset.storage.how == rung.how and own["bytes"] == whole.best.stat().st_size
    stored = loaded.synthetic.tensors()["pixels"].shape[2]
    assert stored == (rung.frames or 8) and preset.storage.learn_through and preset.storage.budget == f"{BUDGET}B"
    report = report_data(whole)
    assert report["budget"] == document and report["preset"]["synthetic"]["ipc"] == own["ipc"]


def test_the_best_on_validation_is_taken_and_nothing_else_is_looked_at(whole: RunDirectory) -> None:
    """A choice on the test split flatters the number."""
    document = read_json(whole.budget_file)
    assert document is not None and document["selected_on"] == "val"
    judged = {one["rung"]: one for one in document["rungs"] if one["values"]}
    assert len(judged) > 1 and all(one["bytes"] <= 2 * BUDGET and one["ipc"] <= 2 for one in judged.values())
    best = max(one["accuracy"] for one in judged.values())
    rungs = [rung_named(title) for title, one in judged.items() if one["accuracy"] == best]
    assert document["chosen"] == fixed([rung for rung in rungs if rung]).title
    log = [json.loads(line) for line in whole.events_file.read_text().splitlines()[1:]]
    during = log[: next(n for n, one in enumerate(log) if one["event"] == "budget_spent")]
    assert {one["split"] for one in during if one["event"] == "network_trained"} == {"val"}
    assert len([one for one in during if one["event"] == "rung_tried"]) == len(judged)


def assert_starts_from_what_was_judged(run: RunDirectory) -> None:
    """The networks of the chosen rung are those of step 0."""
    document = read_json(run.budget_file)
    assert document is not None
    rung = rung_named(document["chosen"])
    assert rung is not None
    name = rung.title.replace(" ", "-")
    (judged,), (start,) = (
        list(run.evaluations.glob(pattern)) for pattern in (f"start-{name}-val-*.json", "synthetic-val-000000-*.json")
    )
    found, first = (json.loads(file.read_text()) for file in (judged, start))
    assert found["set"] == first["set"] and found["outcome"] == first["outcome"]


def test_stage_2_starts_from_what_was_judged(whole: RunDirectory) -> None:
    """A rung would be chosen for clips that the run does not have."""
    assert_starts_from_what_was_judged(whole)


def test_a_budget_can_start_from_clips_that_are_chosen_for_their_bytes(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of coverage, which is asked for again by stage 2 and gives the same clips first."""
    asked: list[tuple[int, list[list[int]], bool]] = []

    def told(train: Any, method: str, number: int, *rest: Any, costs: Any = None, **more: Any) -> torch.Tensor:
        found = select_coreset(train, method, number, *rest, costs=costs, **more)
        if method == "coverage":
            asked.append((number, found.tolist(), costs is not None and len(costs) == len(train)))
        return found

    monkeypatch.setattr(start_order_module, "select_coreset", told)
    chosen = ("selection.method=coverage", "selection.features=seeded")
    run = run_distillation(preset_of(f"{BUDGET}B", *chosen), clips, runs_dir=tmp_path, name="chosen")
    assert_starts_from_what_was_judged(run)
    (_, every, by_bytes), (ipc, first, again) = asked
    assert by_bytes and again and ipc == read_preset(run.preset_file).synthetic.ipc
    assert first == [own[:ipc] for own in every]
    with pytest.raises(PresetError, match="clusters cannot be had with storage"):
        preset_of("250B", "selection.method=clusters")


def test_a_run_that_is_cut_in_the_choice_ends_with_the_same_bytes(
    whole: RunDirectory, clips: Path, tmp_path: Path
) -> None:
    """A night's power cut must not make another set, nor train again what was trained: at each moment of the choice."""
    networks = iter(range(1, 100))
    moments: list[Callable[[Event], bool]] = [
        lambda event: isinstance(event, NetworkTrained) and next(networks) == 2,
        lambda event: isinstance(event, BudgetSpent),
        lambda event: isinstance(event, StageFinished) and event.stage == "budget",
    ]
    run = new_run(preset_of(f"{BUDGET}B"), clips, tmp_path, "cut", "cut", ["test"])
    age = run.preset_file.stat().st_mtime_ns
    kept: dict[str, int] = {}
    for moment in moments:
        lose_power(run, moment)
        now = {file.name: file.stat().st_mtime_ns for file in [*run.evaluations.iterdir(), *run.rungs.iterdir()]}
        assert now and kept.items() <= now.items()
        kept = now
    resume_distillation(run)
    assert {name: next(run.path.glob(f"*/{name}")).stat().st_mtime_ns for name in kept} == kept
    assert run.preset_file.read_bytes() == whole.preset_file.read_bytes()
    assert run.preset_file.stat().st_mtime_ns == age, "runs are listed by its age"
    for name in ("best", "last", "budget_file"):
        assert getattr(run, name).read_bytes() == getattr(whole, name).read_bytes()


def test_without_a_validation_split_the_rung_is_fixed_and_nothing_is_trained(clips: Path, tmp_path: Path) -> None:
    """Otherwise it would be chosen on what the number is measured on."""
    events: list[Event] = []
    preset = preset_of("400B", "dataset.val_fraction=0")
    run = run_distillation(preset, clips, runs_dir=tmp_path, name="fixed", on_event=events.append)
    document = read_json(run.budget_file)
    assert (
        document is not None
        and document["selected_on"] == "none"
        and not any(isinstance(event, RungTried) for event in events)
    )
    (spent,) = (event for event in events if isinstance(event, BudgetSpent))
    assert spent.accuracy is None and spent.rung == document["chosen"] and run.best.stat().st_size <= 800


def test_a_budget_that_holds_no_clip_is_refused_with_the_smallest_that_does(clips: Path, tmp_path: Path) -> None:
    """A user would try sizes, one after the other."""
    events: list[Event] = []
    with pytest.raises(UsageError) as refused:
        run_distillation(preset_of("90B"), clips, runs_dir=tmp_path, name="small", on_event=events.append)
    assert not any(isinstance(event, NetworkTrained) for event in events)
    assert "90B per class is 180 bytes" in refused.value.problem and "\n" not in refused.value.problem
    least = refused.value.hint.split()[2]
    run = run_distillation(preset_of(least, "dynamic.steps=1"), clips, runs_dir=tmp_path, name="least")
    assert run.best.stat().st_size <= 2 * int(least.removesuffix("B"))
    below = preset_of(f"{int(least.removesuffix('B')) - 1}B")
    with pytest.raises(UsageError):
        run_distillation(below, clips, runs_dir=tmp_path, name="below")


def test_a_set_that_grows_is_stored_coarser_and_refused_only_at_the_end(tmp_path: Path) -> None:
    """Learned pictures may take more bytes than real ones; the file must not."""
    spec = make_spec(frames=4, height=32)
    rng = torch.Generator().manual_seed(0)
    noise = Pixels(spec, torch.rand(2, 1, 4, 3, 32, 32, generator=rng) * 2 - 1)
    origin = Provenance("default", 0, 100, "strict", "val", 0.5, None, "dm")
    wanted = len(to_bytes(noise, origin, "h264-28"))
    notes: list[Any] = []

    def work_of(per_class: int) -> Any:
        rung = {"storage.rung": "clips h264-28", "storage.how": "h264-28", "storage.learn_through": True}
        preset = load_preset("default", {"synthetic.kind": "pixels", "storage.budget": f"{per_class}B", **rung})
        session = SimpleNamespace(run=RunDirectory(tmp_path), emit=notes.append)
        return SimpleNamespace(preset=preset, spec=spec, session=session, device=torch.device("cpu"))

    keep_set(work_of(wanted), "best", noise, origin)
    assert len(RunDirectory(tmp_path).best.read_bytes()) == wanted and not notes
    for most in (wanted // 4, wanted // 6):
        keep_set(work_of(most), "best", noise, origin)
        loaded, judged = load_set(RunDirectory(tmp_path).best), as_kept(work_of(most), noise)
        assert loaded.nbytes is not None and loaded.nbytes <= 2 * most and digest(loaded.synthetic) == digest(judged)
        assert str(loaded.storage) in notes[-1].text and str(loaded.storage) != "h264-28"
    with pytest.raises(UsageError) as refused:
        keep_set(work_of(100), "best", noise, origin)
    least = int(refused.value.hint.split()[2].removesuffix("B"))
    keep_set(work_of(least), "best", noise, origin)
    assert len(RunDirectory(tmp_path).best.read_bytes()) <= 2 * least
    with pytest.raises(UsageError):
        keep_set(work_of(least - 1), "best", noise, origin)


@pytest.mark.parametrize("side", [None, 2])
@pytest.mark.parametrize("stored", [None, 1, 2])
@pytest.mark.parametrize("how", ["h264-35", "h264-35@half", "av1-10"])
def test_counted_files_are_those_that_a_set_writes(how: str, stored: int | None, side: int | None) -> None:
    """A budget that is filled by another layout is filled by guessing."""
    spec = make_spec(frames=4, height=32)
    pixels = torch.rand(2, 3, stored or 4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) - 0.5
    temporal = None if stored is None else Temporal(4, stored)
    formation = None if side is None else Formation(spec, side)
    learned = Pixels(spec, pixels, temporal=temporal, formation=formation)
    origin = Provenance("default", 3, 100, "strict", "val", 0.5, 0.01, "mtt")
    levels, ranges = to_levels(learned.description.part("pixels"), pixels, spec)
    assert ranges is None
    coded = [encoded(Coding.parse(how), list(own)) for own in levels]
    for number in (1, 3):
        part = Pixels(spec, pixels[:, :number], temporal=temporal, formation=formation)
        written = write_learned(spec, Coding.parse(how), coded, number, origin, temporal, formation)
        assert written == to_bytes(part, origin, how)


def test_followers_take_the_leader_s_choice_and_its_stop(whole: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that learned sets of other shapes would wait for each other for a week."""

    @dataclasses.dataclass(frozen=True)
    class FakeWork:
        group: Any
        session: Any
        preset: Any
        device: Any = None

    def stops(work: Any) -> None:
        raise StopRequested("asked to stop")

    def work_of(leads: bool, answer: Callable[[bool, Any], bool]) -> Any:
        group = SimpleNamespace(leads=leads, agree=answer)
        return cast(Any, FakeWork(group, SimpleNamespace(run=whole), preset_of(f"{BUDGET}B")))

    said: list[bool] = []
    monkeypatch.setattr(budget_module, "_choose", stops)
    with pytest.raises(StopRequested):
        budget_module.spend_budget(work_of(True, lambda value, _: said.append(value) or value))
    assert said == [True]
    with pytest.raises(StopRequested):
        budget_module.spend_budget(work_of(False, lambda value, _: True))
    follower = budget_module.spend_budget(work_of(False, lambda value, _: False))
    assert follower.preset == read_preset(whole.preset_file)


@pytest.mark.parametrize(("trained", "name"), [("evaluation.epochs=2", "epochs-2"), ("evaluation.steps=3", "steps-3")])
def test_a_plan_counts_the_choice_and_says_the_budget(clips: Path, trained: str, name: str) -> None:
    """Half an hour of networks before the first step would come as a surprise; so would another rung than the plan's.

    Networks of one epoch choose by chance, so those of a rehearsal are trained to their end, where that is quick.
    """
    preset = preset_of(f"{BUDGET}B", f"dataset.path={clips}", trained)
    heard: list[Event] = []
    found = plan(preset, heard.append)
    assert [event.name for event in heard if isinstance(event, RunStarted)] == [name]
    (choice,) = (part for part in found.parts if part.stage == "budget")
    assert choice.number > 1 and choice.seconds > 0 and found.budget == f"{BUDGET}B"
    rung = rung_named(found.rung)
    assert rung is not None and found.storage == rung.how and found.file_bytes <= 2 * BUDGET


def test_a_run_that_is_started_from_the_preset_it_left_makes_no_choice(
    whole: RunDirectory, clips: Path, tmp_path: Path
) -> None:
    """Running the preset of a run again gives the run."""
    events: list[Event] = []
    preset = read_preset(whole.preset_file)
    run = new_run(preset, clips, tmp_path, "again", "again", ["test"])
    carry_out(run, events.append)
    assert not any(isinstance(event, (BudgetSpent, RungTried)) for event in events)
    assert run.best.read_bytes() == whole.best.read_bytes() and run.last.read_bytes() == whole.last.read_bytes()
