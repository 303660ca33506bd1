"""What every objective owes to whoever runs it; one that is added to the registry meets these tests unnamed."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from engine.api import resume_distillation, run_distillation
from engine.config import Preset, load_preset
from engine.config.objectives import OBJECTIVES, named, working_in
from engine.machine.process_group import ALONE, Group
from engine.matching import Objective, Setting, clips_objective, stills_objective
from engine.matching.bank import BankSettings
from engine.matching.experts import Trajectories
from engine.models import Network
from engine.synthetic import StaticImages, SyntheticSet
from tests.engine.matching.test_trajectory import FakeTrajectories
from tests.tiny import PYTHON, ROOT, make_real, make_spec, make_static_dynamic
from tests.tiny_run import QUICK, at_step, cut_run, make_clips
from tests.turns import in_turns

SPEC = make_spec("abc", frames=2, height=3)
HIDDEN = 16
BANK = {"target": "bank", "bank": 2, "renew_every": 2}


def cases() -> list[Any]:
    """(stage, objective, settings) of each objective in each stage in which it works, with a bank too if it has one."""
    found = []
    for stage in ("static", "dynamic"):
        for name, each in working_in(stage).items():
            found.append(pytest.param(stage, name, {}, id=f"{stage}-{name}"))
            if issubclass(cast(type, each.settings_in(stage)), BankSettings):
                found.append(pytest.param(stage, name, BANK, id=f"{stage}-{name}-bank"))
    return found


ALL = pytest.mark.parametrize(("stage", "name", "settings"), cases())


class Tiny(Network):
    """logits = w2 tanh(w1 x), for clips or images of SPEC; ``pooled`` sees half of its features."""

    def __init__(self, number: int, inputs: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(number)
        self.w1 = nn.Parameter(0.3 * torch.randn(HIDDEN, inputs, generator=rng))
        self.w2 = nn.Parameter(0.5 * torch.randn(3, HIDDEN, generator=rng))

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(batch.flatten(1), self.w1).tanh()

    def pooled(self, batch: torch.Tensor) -> torch.Tensor:
        return self.embed(batch)[:, : HIDDEN // 2]

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(self.embed(batch), self.w2)


def make(stage: str, name: str, settings: dict[str, Any], group: Group = ALONE, embedding: str = "map") -> Objective:
    """The objective with its default settings, but for what fills slowly, and for ``settings``."""
    preset = Preset.model_validate({stage: {"objective": name}})
    section = getattr(preset, stage)
    changed = named(name).rehearsed(section.settings).model_copy(update=settings)
    preset = preset.model_copy(update={stage: section.with_settings(changed)})
    inputs = 3 * SPEC.height * SPEC.width * (1 if stage == "static" else SPEC.frames)
    setting = Setting(
        make_real(SPEC, (4, 5, 3)), lambda number: Tiny(number, inputs), 7, embedding=embedding, group=group
    )
    if named(name).needs_experts:
        trajectories = FakeTrajectories(HIDDEN * (inputs + 3))
        setting = dataclasses.replace(setting, trajectories=cast(Trajectories, trajectories))
    return (stills_objective if stage == "static" else clips_objective)(preset, setting)


def make_set(stage: str, name: str) -> SyntheticSet:
    """Three classes of two instances, all of whose parameters want a gradient."""
    made: SyntheticSet
    if stage == "static":
        made = StaticImages(SPEC, torch.randn(3, 2, 3, 3, 3, generator=torch.Generator().manual_seed(1)))
    else:
        made = make_static_dynamic(SPEC, ipc=2, train_static=True, soft=named(name).learns_labels)
    for parameter in made.parameters().values():
        parameter.requires_grad_()
    return made


def gradients(objective: Objective, synthetic: SyntheticSet, step: int) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss and its gradients as the worker gets them: part by part."""
    learned = synthetic.parameters() | objective.parameters()
    for tensor in learned.values():
        tensor.grad = torch.zeros_like(tensor)
    total = 0.0
    for part in objective.losses(synthetic, step):
        part.backward()
        total += part.item()
    return total, {name: cast(torch.Tensor, tensor.grad).clone() for name, tensor in learned.items()}


def take(objective: Objective, synthetic: SyntheticSet, steps: range) -> list[float]:
    """Plain gradient steps, as the worker takes them; the losses."""
    losses = []
    for step in steps:
        loss, found = gradients(objective, synthetic, step)
        with torch.no_grad():
            for name, tensor in synthetic.parameters().items():
                tensor -= 0.01 * found[name]
        objective.after_step(synthetic, step)
        losses.append(loss)
    return losses


# --- loss and gradient -----------------------------------------------------------------------------------------------


@ALL
def test_parts_sum_to_the_loss(stage: str, name: str, settings: dict[str, Any]) -> None:
    """The worker runs backward on one part after the other; together they must be the loss, and so must the slopes."""
    synthetic = make_set(stage, name)
    total, found = gradients(make(stage, name, settings), synthetic, 3)
    whole = make(stage, name, settings)
    loss = whole.loss(synthetic, 3)
    learned = synthetic.parameters() | whole.parameters()
    expected = torch.autograd.grad(loss, list(learned.values()), allow_unused=True)
    assert total == pytest.approx(loss.item(), rel=1e-5) and np.isfinite(total)
    for (key, gradient), wanted in zip(found.items(), expected, strict=True):
        wanted = torch.zeros_like(gradient) if wanted is None else wanted
        assert torch.allclose(gradient, wanted, rtol=1e-4, atol=1e-6 * float(wanted.abs().max())), key
    assert any(gradient.abs().max() > 0 for gradient in found.values())


@ALL
def test_the_gradient_is_the_slope_of_the_loss(stage: str, name: str, settings: dict[str, Any]) -> None:
    """Against finite differences, along the gradient and a random direction of each tensor that is learned."""
    synthetic, objective = make_set(stage, name), make(stage, name, settings)
    _, found = gradients(objective, synthetic, 4)
    rng = torch.Generator().manual_seed(0)
    for key, tensor in (synthetic.parameters() | objective.parameters()).items():
        noise = torch.randn(tensor.shape, generator=rng)
        along = found[key] / found[key].norm().clamp_min(1e-12) + noise / noise.norm()
        reach = 3e-3 * float(tensor.detach().norm())
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                tensor += sign * reach * along
            values.append(gradients(objective, synthetic, 4)[0])
            with torch.no_grad():
                tensor -= sign * reach * along
        slope = (values[0] - values[1]) / (2 * reach)
        assert (found[key] * along).sum().item() == pytest.approx(slope, rel=0.02, abs=1e-4), key


@ALL
def test_two_processes_share_a_step(stage: str, name: str, settings: dict[str, Any]) -> None:
    """A class that nobody computes, or that two do, makes other memories with more GPUs than with one."""

    def work(group: Group) -> list[tuple[float, dict[str, torch.Tensor]]]:
        synthetic, objective = make_set(stage, name), make(stage, name, settings, group)
        found = []
        for step in range(3):
            found.append(gradients(objective, synthetic, step))
            objective.after_step(synthetic, step)
        return found

    shares = in_turns(2, work)
    for step, (loss, found) in enumerate(work(ALONE)):
        assert sum(share[step][0] for share in shares) == pytest.approx(loss, rel=1e-4, abs=1e-6)
        for key, gradient in found.items():
            together = shares[0][step][1][key] + shares[1][step][1][key]
            assert torch.allclose(together, gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max())), key


@ALL
def test_a_step_is_a_function_of_its_number(stage: str, name: str, settings: dict[str, Any]) -> None:
    """Whatever was computed before: a resumed run repeats a step to the bit."""
    synthetic, objective = make_set(stage, name), make(stage, name, settings)
    first = [gradients(objective, synthetic, step)[0] for step in (0, 1, 0)]
    torch.rand(3)
    assert first[0] == first[2] == gradients(make(stage, name, settings), synthetic, 0)[0]


# --- going on --------------------------------------------------------------------------------------------------------


@ALL
def test_the_state_is_all_that_there_is_to_go_on_from(stage: str, name: str, settings: dict[str, Any]) -> None:
    """Through NumPy, as checkpoints store it, into a new objective: the next losses are the same, to the bit."""
    whole, halves = make_set(stage, name), make_set(stage, name)
    expected = take(make(stage, name, settings), whole, range(5))
    before = make(stage, name, settings)
    found = take(before, halves, range(2))
    stored = {key: tensor.detach().cpu().numpy().copy() for key, tensor in before.state().items()}
    after = make(stage, name, settings)
    after.load_state({key: torch.from_numpy(np.asarray(array)) for key, array in stored.items()})
    assert found + take(after, halves, range(2, 5)) == expected
    for key, tensor in whole.tensors().items():
        assert torch.equal(halves.tensors()[key], tensor), key


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"))


FEW = {"steps": 2, "checkpoint_every": 1, "batch_real": 2}
ONCE = ("evaluation.epochs=1", "evaluation.repeats=1", "dynamic.eval_every=100", "experts.number=1")


@pytest.mark.parametrize(
    ("stage", "name"), [(stage, name) for stage in ("static", "dynamic") for name in working_in(stage)]
)
def test_a_run_goes_on_from_its_checkpoint_to_the_byte(clips: Path, tmp_path: Path, stage: str, name: str) -> None:
    """A night's work that cannot be gone on with is lost; one that goes on otherwise is nobody's."""
    kind = "static-only" if stage == "static" else "pixels"
    preset = load_preset("default", [*QUICK, *ONCE, f"synthetic.kind={kind}", f"{stage}.objective={name}"])
    section = getattr(preset, stage)
    section = section.with_settings(named(name).rehearsed(section.settings)).model_copy(update=FEW)
    rates = {"lr": 0.1} if stage == "static" else {"lr_dynamic": 0.01, "optimiser": "adam"}
    preset = preset.model_copy(update={stage: section.model_copy(update=rates)})
    whole = run_distillation(preset, clips, runs_dir=tmp_path / "runs", name="whole")
    run = cut_run(preset, clips, tmp_path / "runs", at_step(2))
    resume_distillation(run)
    assert run.last.read_bytes() == whole.last.read_bytes()
    losses, expected = run.folded().losses, whole.folded().losses
    expected.pop("experts", None)  # they were there
    assert losses == expected
    (own,) = (row for row in run.folded().results if row["what"] == kind)
    assert own["objective"] == name
    assert [row["objective"] for row in run.folded().results if row["what"] == "random"] == [None]


# --- what is said of it ----------------------------------------------------------------------------------------------


@ALL
def test_facts_are_true(stage: str, name: str, settings: dict[str, Any]) -> None:
    """Presets are refused, stages added and revisions noted by them."""
    facts, synthetic = named(name), make_set(stage, name)
    objective = make(stage, name, settings)
    loss, found = gradients(objective, synthetic, 0)
    pooled, _ = gradients(make(stage, name, settings, embedding="pooled"), synthetic, 0)
    assert facts.compares_embeddings == (pooled != loss)
    assert facts.learns_step_size == ("step_size" in objective.parameters())
    assert set(objective.parameters()) <= set(objective.rates()) & set(objective.momenta())
    if stage == "dynamic":
        assert ("soft_labels" in objective.rates()) == facts.learns_labels
        assert not facts.learns_labels or found["soft_labels"].abs().max() > 0
        preset = Preset.model_validate({"dynamic": {"objective": name}})
        assert ("experts" in preset.stages) == facts.needs_experts == (preset.expert_snapshots > 0)


@pytest.mark.parametrize("address", OBJECTIVES)
def test_an_objective_is_imported_without_torch(address: str) -> None:
    """Presets, forms and the dashboard read its settings; with torch they would take seconds to start."""
    module, _, name = address.partition(":")
    code = (
        f"import sys, {module} as first; from engine.config import load_preset; objective = first.{name}\n"
        "stage = 'dynamic' if objective.clip_settings else 'static'\n"
        "preset = load_preset('default', {f'{stage}.objective': objective.name})\n"
        "assert type(getattr(preset, stage).settings) and preset.stages\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "torch was imported"
