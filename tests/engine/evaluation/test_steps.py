"""Training by steps: networks of all sets make as many, however many clips these have."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from engine.config import load_preset
from engine.config.counts import clips_shown
from engine.errors import PresetError, UsageError
from engine.evaluation import PROTOCOLS, Recipe, training
from engine.evaluation.judge import Judge, planned
from engine.evaluation.results import caution
from engine.evaluation.training import fit
from engine.evaluation.trials import Trial
from engine.export.snippets import Training
from engine.models import Network
from engine.models.registry import VIDEO_MODELS
from engine.runs.results import training_steps
from engine.synthetic import Pixels
from tests.tiny import make_real, make_spec
from vdtui.cli.options import trained_for

SPEC = make_spec("abc", frames=2, height=3)


class Counting(Network):
    """Multinomial regression that notes the size of each batch, and the clips in it."""

    seen: ClassVar[list[torch.Tensor]] = []

    def __init__(self, classes: int, frames: int, size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * frames * size * size, classes)

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.flatten(1)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        self.seen.append(clips.detach().clone())
        return self.layer(self.embed(clips))


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VIDEO_MODELS, "counting", Counting)
    monkeypatch.setattr(Counting, "seen", [])


def recipe(**changes: Any) -> Recipe:
    values = {"model": "counting", "epochs": 500, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "batch": 4}
    return Recipe(**{**values, **changes})


def pixels(ipc: int = 2) -> Pixels:
    return Pixels(SPEC, torch.randn(3, ipc, 2, 3, 3, 3, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(("ipc", "sizes"), [(1, [3] * 7), (2, [4, 2, 4, 2, 4, 2, 4]), (20, [4] * 7)])
def test_every_set_makes_as_many_steps(ipc: int, sizes: list[int]) -> None:
    """Few clips come often, many not even once; the epoch in which the steps end is cut."""
    parts: list[float] = []
    fitted = fit(pixels(ipc), recipe(steps=7), 0, parts.append)
    assert [len(batch) for batch in Counting.seen] == sizes
    assert parts == [pytest.approx(step / 7) for step in range(7)]
    assert fitted.epochs == math.ceil(7 / math.ceil(3 * ipc / 4)) and math.isfinite(fitted.loss)


def test_whole_epochs_of_steps_are_those_epochs() -> None:
    """SGD's rate falls after the same step, so the network is the same to the bit, own labels or not."""
    soft = torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(1))
    labelled = Pixels(SPEC, pixels().pixels, soft_labels=soft)
    for data, labels in ((pixels(), "hard"), (labelled, "own")):
        by_epochs = fit(data, recipe(epochs=4, labels=labels), 5)
        by_steps = fit(data, recipe(steps=8, labels=labels), 5)
        for one, other in zip(by_epochs.network.parameters(), by_steps.network.parameters(), strict=True):
            assert torch.equal(one, other)
        assert (by_epochs.loss, by_epochs.guess) == (by_steps.loss, by_steps.guess)


@pytest.mark.parametrize(("protocol", "batch"), [("strict-strong", 4), ("strict-strong", 2), ("strict", 4)])
def test_the_rate_falls_with_the_steps(protocol: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule of epochs would have one rate for all of a large set."""
    rates: list[float] = []
    made = training._optimiser

    def optimiser(*arguments: Any) -> torch.optim.Optimizer:
        found = made(*arguments)
        found.register_step_pre_hook(lambda one, *_: rates.append(one.param_groups[0]["lr"]))
        return found

    monkeypatch.setattr(training, "_optimiser", optimiser)
    fit(pixels(20), recipe(steps=9, protocol=PROTOCOLS[protocol], batch=batch), 0)
    cosine = [0.05 * 0.5 * (1 + math.cos(math.pi * step / 9)) for step in range(9)]
    assert rates == pytest.approx(cosine if protocol == "strict-strong" else [0.05] * 5 + [0.005] * 4)


def test_the_loss_is_of_as_many_steps_as_an_epoch_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an epoch that is cut after its first step the loss would be that of one batch."""
    losses: list[float] = []
    take = training._Gradients.take

    def noted(self: Any, made: Any) -> torch.Tensor:
        losses.append(float(made[0]))
        return take(self, made)

    monkeypatch.setattr(training._Gradients, "take", noted)
    fitted = fit(pixels(4), recipe(steps=7), 0)  # 12 clips in three batches: two epochs, and a step
    assert fitted.loss == pytest.approx(sum(losses[-3:]) / 3)


def test_a_recipe_says_which_it_counts() -> None:
    """Results of both never share a column, and what was known of epochs is not taken for what steps made."""
    by_epochs, by_steps, longer = recipe(), recipe(steps=7), recipe(steps=8)
    assert "steps" not in by_epochs.record() and by_epochs.record()["epochs"] == 500
    assert (by_steps.record()["steps"], by_steps.record()["epochs"]) == (7, None)
    assert len({one.digest() for one in (by_epochs, by_steps, longer)}) == 3
    assert by_steps.digest() == recipe(steps=7, epochs=3).digest()  # of which nothing is made
    document = {"ipc": 2, "per_class": [0.1, 0.2, 0.3], "recipe": by_steps.record()}
    assert training_steps(document) == 7
    assert training_steps({**document, "recipe": by_epochs.record()}) == 500 * 2


def test_a_network_that_learned_nothing_is_told_to_make_more_steps() -> None:
    outcome = training.Outcome(0.3, 0.3, [0.3] * 3, [[1] * 3] * 3)
    said = caution([Trial(0, outcome, 1.0, math.log(3))], recipe(steps=7))
    assert said is not None and "more evaluation.steps than 7" in said


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("evaluation.protocol=vdsd", "cannot be had with protocol vdsd, which was published with epochs"),
        ("evaluation.selection_stop=learned", "goes on to its end, and selection_stop = learned stops after an epoch"),
    ],
)
def test_what_has_epochs_refuses_steps(change: str, reason: str) -> None:
    with pytest.raises(PresetError) as refused:
        load_preset("default", ["evaluation.steps=100", change])
    assert f"evaluation.steps = 100 {reason}" in refused.value.problem


def test_teachers_and_networks_that_choose_clips_count_epochs(tmp_path: Path) -> None:
    """A teacher has a length of its own; whoever judges by steps must find the one that is trained already."""
    known = set()
    for steps in (0, 50):
        changes = ["evaluation.protocol=strict-teacher", f"evaluation.steps={steps}"]
        section = load_preset("default", changes).evaluation
        judge = Judge(section, make_real(SPEC, (2, 2, 2)), 0, torch.float32, tmp_path)
        known.add(judge.recipe("counting", "final").teacher)
    assert len(known) == 1


@pytest.mark.parametrize(("ipc", "shown"), [(1, 7 * 3), (2, 7 * 3), (20, 7 * 4)])
def test_clips_that_are_shown_are_counted(ipc: int, shown: float) -> None:
    """On average over the steps; a plan multiplies them by the time of one."""
    section = load_preset("default", ["evaluation.steps=7", "evaluation.batch=4"]).evaluation
    assert clips_shown(section, 3 * ipc) == shown
    assert clips_shown(section.model_copy(update={"steps": 0}), 3 * ipc) == 500 * 3 * ipc


def test_a_card_makes_as_many_steps() -> None:
    """Its code counts epochs, of all clips at once."""
    steps = planned(load_preset("default", ["evaluation.steps=90", "evaluation.batch=4"]), None)
    found = Training.of_results(steps, None)
    assert found.words.startswith("90 steps in batches of 4, SGD at 0.003")
    assert (found.passes(6, 1), found.passes(6, 3), found.passes(1000, 1)) == (45, 45, 1)
    measured = {"model": "tiny", "recipe": {"epochs": 12, "batch": 5}}
    assert Training.of_results(steps, measured).words.startswith("12 epochs in batches of 5")
    by_epochs = planned(load_preset("default", ["evaluation.epochs=3"]), None)
    measured = {"model": "tiny", "recipe": json.loads(json.dumps(recipe(steps=8).record()))}
    assert Training.of_results(by_epochs, measured).words.startswith("8 steps in batches of 4")


def test_one_of_both_options() -> None:
    assert trained_for(None, None) == []
    assert trained_for(3, None) == ["evaluation.epochs=3", "evaluation.steps=0"]
    assert trained_for(None, 40) == ["evaluation.steps=40"]
    with pytest.raises(UsageError, match="both"):
        trained_for(3, 40)


def test_networks_that_choose_are_trained_as_those_that_report(tmp_path: Path) -> None:
    section = load_preset("default", ["evaluation.steps=50"]).evaluation
    judge = Judge(section, make_real(SPEC, (2, 2, 2)), 0, torch.float32, tmp_path)
    assert judge.recipe("counting", "selection") == judge.recipe("counting", "final")
    assert judge.recipe("counting", "final").length == 50
