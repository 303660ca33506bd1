"""If these fail, people must edit this package to try their own network or objective, or are told nothing of use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from engine import resume_distillation
from engine.config import load_preset, plugins, read_preset
from engine.errors import PresetError, UsageError
from engine.models import registry
from engine.models.registry import check_model, has_buffers, video_model
from engine.runs.new import new_run
from tests.tiny_run import QUICK, make_clips

NETWORKS = '''
from torch import nn


class Net(nn.Module):
    """A network that knows nothing of this package."""

    def __init__(self, classes, frames, size):
        super().__init__()
        self.layers = nn.Sequential(nn.AvgPool3d((1, 8, 8)), nn.Flatten(), nn.Linear(3 * frames * (size // 8) ** 2, 8))
        self.head = nn.Linear(8, classes)

    def embed(self, clips):
        return self.layers(clips)

    def forward(self, clips):
        return self.head(self.embed(clips))


class Blind(Net):
    embed = None

    def forward(self, clips):
        return self.head(self.layers(clips))


class Wrong(Net):
    def forward(self, clips):
        return self.embed(clips)


class Normed(Net):
    def __init__(self, classes, frames, size):
        super().__init__(classes, frames, size)
        self.norm = nn.BatchNorm1d(8)


class Fussy(Net):
    def __init__(self, classes, frames, size):
        raise ValueError("16 frames only")


number = 3
'''
OBJECTIVE = """
from engine.config.fields import Rate, Section
from engine.lazy import torch
from engine.matching.base import Objective
from engine.seeds import generator


class Settings(Section):
    power: Rate = 2.0


class Means(Objective):
    name = "my-means"
    title = "means of pixels"
    clip_settings = Settings

    def __init__(self, setting, power):
        self.setting, self.power = setting, power

    @classmethod
    def for_clips(cls, preset, setting):
        return cls(setting, preset.dynamic.table(cls.name, Settings).power)

    def losses(self, synthetic, step):
        for label in self.setting.group.share(range(len(synthetic.spec.classes))):
            rng = generator(self.setting.seed, "mine", step, label)
            real, _ = self.setting.real.draw_clips([label], 2, rng)
            drawn = synthetic.draw(rng, [label])
            yield (drawn.clips.mean(0) - real.mean(0)).abs().pow(self.power).mean()
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a user's package, in which commands are given; modules and caches are forgotten afterwards."""
    (tmp_path / "mynets.py").write_text(NETWORKS)
    (tmp_path / "mygoal.py").write_text(OBJECTIVE)
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    monkeypatch.setenv(plugins.FOLDER, str(tmp_path))
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    for name in ("mynets", "mygoal", "broken"):
        sys.modules.pop(name, None)
    registry._foreign.cache_clear()
    registry._try.cache_clear()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("evaluation.models", ["nowhere.nets:Net"], "There is no module nowhere.nets"),
        ("evaluation.models", ["mynets:Nt"], "has no Nt (It has Blind, Fussy, Net"),
        ("evaluation.models", ["broken:Net"], "cannot be imported: ModuleNotFoundError: No module named 'nothing"),
        ("evaluation.models", ["mynets.Net"], "should be 'convnet3d'"),
        ("dynamic.objective", "mynets:Net", "is no objective"),
        ("static.objective", "mygoal:Means", "does not work in stage static"),
        ("dynamic.objective", "mygoal.Means", "should be 'dm'"),
    ],
)
def test_what_is_not_there_is_told_with_its_key(package: Path, key: str, value: object, told: str) -> None:
    with pytest.raises(PresetError) as refusal:
        load_preset("default", {key: value})
    assert key.partition(".")[2] in refusal.value.problem and told.lower() in refusal.value.problem.lower()


def test_workers_look_where_the_command_was_given(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m vdtui` found a module in its folder, and the worker, which lives elsewhere, did not."""
    monkeypatch.setenv(plugins.FOLDER, "")
    monkeypatch.delenv(plugins.FOLDER)
    monkeypatch.chdir(package)
    monkeypatch.syspath_prepend(str(package))
    plugins.load("mynets:Net")
    assert os.environ[plugins.FOLDER] == os.getcwd()


def test_options_are_checked_as_our_own_keys_are(package: Path) -> None:
    given = {"dynamic.objective": "mygoal:Means", "dynamic.options.power": 3.0}
    assert load_preset("default", given).dynamic.settings.power == 3.0  # type: ignore[attr-defined]
    for wrong, told in (({"power": "much"}, "power"), ({"pow": 1.0}, "pow")):
        with pytest.raises(PresetError, match=told):
            load_preset("default", {"dynamic.objective": "mygoal:Means", "dynamic.options": wrong})
    with pytest.raises(PresetError, match="options are for what is named by its address"):
        load_preset("default", {"dynamic.options.power": 3.0})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mynets:Wrong", r"answers two clips of two classes with \(2, 8\)"),
        ("mynets:Fussy", "ValueError: 16 frames only"),
        ("mynets:number", "is no network"),
    ],
)
def test_a_network_that_cannot_do_it_is_refused_before_anything_is_trained(package: Path, name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_model(name, 8, 64)


def test_networks_of_others_are_built_by_seed_as_ours_are(package: Path) -> None:
    check_model("mynets:Net", 8, 64)
    first, again = (video_model("mynets:Net", 5, 8, 64, 7, torch.device("cpu")) for _ in range(2))
    clips = torch.rand(2, 3, 8, 64, 64)
    assert torch.equal(first(clips), again(clips)) and first(clips).shape == (2, 5)
    assert first.embed(clips).shape == (2, 8)
    assert has_buffers("mynets:Normed", 8, 64) and not has_buffers("mynets:Net", 8, 64)


def test_installed_packages_offer_networks_by_name(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer = EntryPoint("their_net", "mynets:Net", plugins.NETWORKS)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [offer] if group == plugins.NETWORKS else [])
    plugins.offered.cache_clear()
    try:
        assert load_preset("default", {"evaluation.models": ["their_net"]}).evaluation.models == ("their_net",)
        check_model("their_net", 8, 64)
        assert video_model("their_net", 3, 8, 64, 0, torch.device("cpu"))(torch.zeros(1, 3, 8, 64, 64)).shape == (1, 3)
    finally:
        plugins.offered.cache_clear()


def test_a_run_by_an_objective_and_a_network_of_ones_own(package: Path) -> None:
    """From the preset through the checkpoint's check to results: nothing knows that they are not ours."""
    clips = make_clips(package)
    changes = [*QUICK, "dynamic.objective=mygoal:Means", "dynamic.options.power=1.0", "synthetic.kind=pixels"]
    changes += ['evaluation.models=["mynets:Net"]', "evaluation.epochs=2"]
    run = new_run(load_preset("default", changes), clips, package / "runs", "own", "own", ["test"])
    resume_distillation(run)
    (row, *_) = run.folded().results
    assert row["model"] == "mynets:Net" and row["objective"] == "mygoal:Means" and len(row["top1"]["values"]) == 2
    again = read_preset(run.preset_file)
    assert again.dynamic.options == {"power": 1.0} and again.dynamic.objective == "mygoal:Means"
    blind = new_run(
        load_preset("default", [*QUICK, 'evaluation.models=["mynets:Blind"]']), clips, package / "runs", "b", "b", [""]
    )
    with pytest.raises(UsageError, match="has no method embed"):
        resume_distillation(blind)
