"""Networks that choose stop early: what a user loses is the meaning of a number, or the time that was to be saved."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from engine.api import resume_distillation
from engine.config import load_preset
from engine.errors import PresetError
from engine.evaluation import PROTOCOLS, Recipe, TrialCache, run_trial, trials
from engine.evaluation.augmentation import crop_and_flip
from engine.evaluation.evaluate import find_source
from engine.evaluation.judge import Judge
from engine.evaluation.rows import Row
from engine.evaluation.stopping import STOPS, StoppingRule
from engine.evaluation.subjects import of_set
from engine.evaluation.training import fit
from engine.evaluation.trials import trial_key
from engine.events import Event, NetworkTrained, Note
from engine.models.registry import VIDEO_MODELS
from engine.runs.new import new_run
from engine.seeds import derive, generator
from engine.synthetic import Pixels
from tests.tiny import TinyClassifier, make_real, make_spec
from tests.tiny_run import QUICK, cut_run, make_clips

SPEC = make_spec("abc", frames=2, height=3)
EPOCHS = 40
RULE = StoppingRule("learned", 1, share=0.3)
ENDLESS = StoppingRule("learned", 1, share=0.0)
RECIPES = [("strict", "hard", 0.01), ("strict", "own", 0.003), ("strict-strong", "hard", 0.05)]
"""Protocols, labels, and rates at which the loss gets small before the last epoch."""


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VIDEO_MODELS, "tiny", TinyClassifier)


def pixels() -> Pixels:
    return Pixels(SPEC, torch.randn(3, 2, 2, 3, 3, 3, generator=torch.Generator().manual_seed(0)))


def recipe(**changes: Any) -> Recipe:
    values = {"model": "tiny", "epochs": EPOCHS, "lr": 0.01, "momentum": 0.9, "weight_decay": 0.01, "batch": 4}
    return Recipe(**{**values, **changes})


def by_hand(synthetic: Pixels, how: Recipe, seed: int) -> tuple[nn.Module, list[float]]:
    """Train as the recipe says until the mean loss of an epoch is small; return the network and all mean losses."""
    torch.manual_seed(derive(seed, "init"))
    network = TinyClassifier(3, 2, 3)
    strong = how.protocol.name == "strict-strong"
    optimiser: torch.optim.Optimizer
    if strong:
        optimiser = torch.optim.AdamW(network.parameters(), how.lr, weight_decay=0.01)
    else:
        optimiser = torch.optim.SGD(network.parameters(), how.lr, momentum=0.9, weight_decay=0.01)
    clips, targets = synthetic.pixels.transpose(2, 3).flatten(0, 1), torch.arange(3).repeat_interleave(2)
    centred = (torch.eye(3)[targets] - 1 / 3) / math.sqrt(0.3)
    guess = math.log(3) if how.labels == "hard" else float(centred.square().sum(1).mean())  # their mean is zero
    means: list[float] = []
    for epoch in range(how.epochs):
        falling = 0.5 * (1 + math.cos(math.pi * epoch / how.epochs)) if strong else 1 if epoch < how.epochs / 2 else 0.1
        optimiser.param_groups[0]["lr"] = how.lr * falling
        draws = generator(seed, "epoch", epoch)
        torch.randint(1, (3, 2), generator=draws)  # the one variant of each instance
        losses = []
        for number, chosen in enumerate(torch.randperm(6, generator=draws).split(4)):
            batch = clips[chosen]
            if strong:
                batch = crop_and_flip(batch, generator(seed, "augment", epoch, number))
            logits = network(batch)
            if how.labels == "hard":
                loss = nn.functional.cross_entropy(logits, targets[chosen])
            else:
                loss = (logits - centred[chosen]).square().sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        means.append(float(torch.stack(losses).mean()))
        if means[-1] <= 0.3 * guess:
            break
    return network, means


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "labels", "rate"), RECIPES)
def test_a_network_stops_where_a_plain_loop_does(protocol: str, labels: str, rate: float) -> None:
    """After the first epoch whose loss is small, with the weights that it has then, to the bit."""
    how = recipe(protocol=PROTOCOLS[protocol], labels=labels, lr=rate, stop=RULE)
    expected, means = by_hand(pixels(), how, 3)
    assert 2 < len(means) < EPOCHS
    parts: list[float] = []
    found = fit(pixels(), how, 3, parts.append)
    assert (found.epochs, found.loss) == (len(means), means[-1])
    assert all(torch.equal(a, b) for a, b in zip(found.network.parameters(), expected.parameters(), strict=True))
    assert not found.network.training
    assert len(parts) == 2 * len(means) and parts[-1] == pytest.approx((len(means) - 0.5) / EPOCHS)


def test_a_rule_that_is_not_met_changes_nothing() -> None:
    """A rule that reads the loss between epochs must not touch the draws, the rate or the dropout of the next one."""
    whole, never = fit(pixels(), recipe(), 3), fit(pixels(), recipe(stop=ENDLESS), 3)
    assert (whole.epochs, never.epochs) == (EPOCHS, EPOCHS)
    assert all(torch.equal(a, b) for a, b in zip(whole.network.parameters(), never.network.parameters(), strict=True))


@pytest.mark.parametrize(("stop", "reads"), [(None, 1), (ENDLESS, EPOCHS + 1)])
def test_the_loss_is_read_once_and_once_an_epoch_where_there_is_a_rule(
    monkeypatch: pytest.MonkeyPatch, stop: StoppingRule | None, reads: int
) -> None:
    """A GPU would be waited for after every epoch of all networks, also of those that are reported."""
    read = []
    monkeypatch.setattr(torch.Tensor, "item", lambda tensor, item=torch.Tensor.item: read.append(1) or item(tensor))
    fit(pixels(), recipe(stop=stop), 3)
    assert len(read) == reads


def test_what_diverged_is_not_learned() -> None:
    """A comparison with NaN that ends a training would call it learned."""
    assert not RULE.ends(math.nan, 1.0) and not RULE.ends(math.inf, 1.0)
    assert RULE.ends(0.3 * 0.7, 0.7) and not RULE.ends(0.2101, 0.7)


# --- what is what ----------------------------------------------------------------------------------------------------


def test_a_stopped_network_is_never_taken_for_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one of another rule; and what is known without a rule stays known."""
    plain, early = recipe(), recipe(stop=RULE)
    others = [
        early,
        recipe(stop=dataclasses.replace(RULE, share=0.2)),
        recipe(stop=dataclasses.replace(RULE, version=2)),
    ]
    assert len({one.digest() for one in (plain, *others)}) == 4
    assert "stop" not in plain.record() and early.record() == plain.record() | {"stop": RULE.record()}

    real, cache = make_real(SPEC, (2, 2, 2)), TrialCache(tmp_path, "t")
    stopped = run_trial(pixels(), real, early, 5, cache)
    assert stopped.epochs is not None and stopped.epochs < EPOCHS
    monkeypatch.setattr(trials, "fitting", lambda *_: pytest.fail("trained again"))
    assert run_trial(pixels(), real, early, 5, cache) == stopped
    assert cache.load(trial_key(pixels(), real, plain), 5) is None
    document = json.loads((tmp_path / "t-5.json").read_text())
    del document["epochs"]  # as in files of older versions
    (tmp_path / "t-5.json").write_text(json.dumps(document))
    assert run_trial(pixels(), real, early, 5, cache).epochs is None


@pytest.mark.parametrize("labels", ["hard", "own"])
def test_the_published_protocol_stops_nothing(labels: str) -> None:
    """It reports the very networks that it chooses by."""
    with pytest.raises(PresetError) as refused:
        load_preset(
            "default", ["evaluation.protocol=vdsd", f"evaluation.labels={labels}", "evaluation.selection_stop=learned"]
        )
    assert "selection_stop = learned cannot be had with protocol vdsd" in refused.value.problem


@pytest.mark.parametrize("protocol", ["strict", "strict-strong", "strict-teacher"])
def test_only_networks_that_choose_have_a_rule(protocol: str, tmp_path: Path) -> None:
    """Under each of our protocols. The teacher is the same for both: it is no network that chooses."""
    changes = [f"evaluation.protocol={protocol}", "evaluation.selection_stop=learned"]
    judge = Judge(load_preset("default", changes).evaluation, make_real(SPEC, (2, 2, 2)), 0, torch.float32, tmp_path)
    final, choosing = judge.recipe("tiny", "final"), judge.recipe("tiny", "selection")
    assert (final.stop, choosing.stop) == (None, STOPS["learned"])
    assert dataclasses.replace(choosing, stop=None) == final
    if protocol == "strict-teacher":
        assert judge._teacher(choosing).fingerprint == judge._teacher(final).fingerprint
    with pytest.raises(AssertionError, match="trained for all epochs"):
        Row(of_set("pixels", pixels()), choosing, TrialCache(tmp_path, "t"))


# --- runs ------------------------------------------------------------------------------------------------------------


def test_a_run_stops_what_chooses_and_nothing_that_it_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the iteration is chosen or the storage of a baseline; cut and resumed, it ends with the same networks."""
    monkeypatch.setitem(STOPS, "learned", StoppingRule("learned", 1, share=100.0))  # after the first epoch
    monkeypatch.setattr("engine.evaluation.baselines.QUALITIES", (28, 51))
    changes = ("evaluation.epochs=3", "evaluation.repeats=1", "evaluation.selection_stop=learned", "dynamic.steps=1")
    baselines = 'evaluation.baselines=["random","compressed-random"]'
    preset = load_preset("default", [*QUICK, *changes, baselines, "synthetic.kind=pixels", "storage.how=h264-51"])
    clips = make_clips(tmp_path, 8)
    events: list[Event] = []

    def second_of_the_ladder(event: Event) -> bool:
        events.append(event)
        return isinstance(event, NetworkTrained) and event.what.startswith("compressed-random ")

    run = cut_run(preset, clips, tmp_path / "runs", second_of_the_ladder)
    resume_distillation(run, on_event=events.append)
    made = {file.name: json.loads(file.read_text()) for file in run.evaluations.glob("*-*-*.json")}
    epochs = {name: one["epochs"] for name, one in made.items() if "epochs" in one}
    chose = {name for name in epochs if "-val-" in name}
    assert {name.split("-")[0] for name in chose} == {"synthetic", "compressed"}
    assert {epochs[name] for name in chose} == {1}
    assert {epochs[name] for name in epochs.keys() - chose} == {3}
    results = run.folded().results
    assert len(results) == 3 and not any("stop" in row["recipe"] for row in results)
    said = [event.text for event in events if isinstance(event, Note) and "stopped after 1 of 3" in event.text]
    assert {text.split(":")[0] for text in said} == {"step 0", "step 1", "compressed-random"}

    published = find_source(run.name, tmp_path / "runs", None, ["evaluation.protocol=vdsd"])
    assert published.preset.evaluation.protocol == "vdsd"

    whole = new_run(preset, clips, tmp_path / "runs", "whole", "whole", ["test"])
    resume_distillation(whole)
    assert [row["top1"] for row in whole.folded().results] == [row["top1"] for row in results]
