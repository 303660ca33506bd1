"""Every shipped preset builds its memories and takes a step, on clips of the smallest size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from engine.config import Preset, load_preset, preset_names
from engine.config.size import stored_values
from engine.data.recipe import OFFICIAL_CLASSES
from engine.distill import dynamic_optimiser, stage_network, start_set, start_static
from engine.judge import Judge
from engine.matching import CLIP_OBJECTIVES, IMAGE_OBJECTIVES, Setting
from engine.matching.experts import open_or_train
from engine.models import image_model
from engine.synthetic import StaticDynamic, StaticImages
from engine.work import Work
from tests.tiny import make_real, make_spec

CPU = torch.device("cpu")
SPEC = make_spec(("a", "b"), frames=8, height=64)
SMALL = {
    "static.batch_real": 1,
    "dynamic.batch_real": 1,
    "dynamic.mtt.syn_steps": 1,
    "dynamic.mtt.max_start_epoch": 1,
    "dynamic.frepo.pool": 1,
    "dynamic.frepo.batch_real": 3,
    "experts.number": 1,
    "run.device": "cpu",
}
METHODS = ("", "-dm", "-mtt", "-frepo", "-pixels-dm", "-pixels-mtt", "-pixels-frepo")


def test_all_presets_of_the_published_table_are_there() -> None:
    """A row of the paper that cannot be run by name is one that nobody repeats."""
    names = {f"{data}-ipc{ipc}{method}" for data in OFFICIAL_CLASSES for ipc in (1, 5) for method in METHODS}
    assert set(preset_names()) == {name for name in names if not name.startswith("demo")} | {"default", "demo"}


def resolved(name: str) -> Preset:
    """The preset ``name`` at the smallest size, without what only says for which data it is."""
    preset = load_preset(name, SMALL)
    shown = {"title": "", "description": "", "published": None, "dataset": Preset().dataset}
    return preset.model_copy(update=shown)


def different() -> list[Any]:
    """One preset of all those that differ only in their data."""
    found: dict[str, str] = {}
    for name in preset_names():
        found.setdefault(resolved(name).model_dump_json(), name)
    return [pytest.param(name, id=name) for name in found.values()]


@pytest.mark.parametrize("name", different())
def test_a_preset_builds_its_memories_and_takes_a_step(name: str, tmp_path: Path) -> None:
    """A combination that crashes in its first step was never run by those who shipped it."""
    preset = resolved(name)
    real = make_real(SPEC, (3, 2))
    judge = Judge(preset.evaluation, real, 0, torch.float32, tmp_path)
    work = Work(cast(Any, None), preset, SPEC, "fingerprint", real, None, real, CPU, torch.float32, judge)
    static = None
    if "static" in preset.stages:
        static = first_static_step(work)
    synthetic = start_set(work, static)
    assert synthetic.stored_values == stored_values(preset.synthetic, 2, 8, 64)
    assert synthetic.nbytes() == 4 * synthetic.stored_values
    trajectories = None
    if "experts" in preset.stages:
        ignore = lambda *_: None  # noqa: E731
        trajectories, _ = open_or_train(tmp_path, preset, real, None, "fingerprint", torch.float32, ignore, ignore)
    for parameter in synthetic.parameters().values():
        parameter.requires_grad_()
    setting = Setting(real, lambda number: stage_network(work, number), 0, trajectories=trajectories)
    objective = CLIP_OBJECTIVES[preset.dynamic.objective](preset, setting)
    optimiser = dynamic_optimiser(work, synthetic, objective)
    before = {key: tensor.clone() for key, tensor in synthetic.tensors().items()}
    for part in objective.losses(synthetic, 0):
        part.backward()
    optimiser.step()
    objective.after_step(synthetic, 0)
    main = "dynamic" if isinstance(synthetic, StaticDynamic) else "pixels"
    after = synthetic.tensors()
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    assert not torch.equal(after[main], before[main])


def first_static_step(work: Work) -> torch.Tensor:
    table, static = work.preset.static, start_static(work)
    images = StaticImages(SPEC, static.requires_grad_())
    setting = Setting(work.train, lambda number: image_model(2, 64, number, CPU), 0)
    objective = IMAGE_OBJECTIVES[table.objective](work.preset, setting)
    for part in objective.losses(images, 0):
        part.backward()
    torch.optim.SGD([static], table.lr, momentum=table.momentum).step()
    return static.detach()


@pytest.mark.parametrize(
    "overrides",
    [
        {"synthetic.n_syn": 2, "synthetic.segments": 2, "synthetic.interpolation": "linear"},
        {"synthetic.n_syn": 1, "synthetic.kind": "pixels"},
        {"synthetic.dynamic_size": 16, "synthetic.hallucinators": 3},
        {"synthetic.statics_per_instance": 3, "synthetic.dynamics_per_instance": 1, "synthetic.ipc": 2},
        {"synthetic.labels": "learned", "dynamic.objective": "frepo"},
    ],
)
def test_what_will_be_stored_is_told_beforehand(overrides: dict[str, Any], tmp_path: Path) -> None:
    """The size is what a distilled set is for; a wrong one in a plan or a list misleads."""
    preset = load_preset("default", overrides)
    real = make_real(SPEC, (3, 2))
    judge = Judge(preset.evaluation, real, 0, torch.float32, tmp_path)
    work = Work(cast(Any, None), preset, SPEC, "fingerprint", real, None, real, CPU, torch.float32, judge)
    static = start_static(work) if "static" in preset.stages else None
    assert start_set(work, static).stored_values == stored_values(preset.synthetic, 2, 8, 64)
