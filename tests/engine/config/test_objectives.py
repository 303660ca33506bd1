"""The registry of objectives: what is built of it must not drift, or a name is offered here and refused there."""

from __future__ import annotations

import subprocess
import typing
from typing import cast

import pytest

from engine.config import Preset, keys, load_preset
from engine.config.fields import Section
from engine.config.networks import still_network
from engine.config.objectives import named, names_with, objectives, working_in
from engine.errors import PresetError
from tests.tiny import PYTHON, ROOT
from vdtui.tui.form import sections

STAGES = ("static", "dynamic")
PAIRS = [(stage, name) for stage in STAGES for name in working_in(stage)]


def test_all_that_were_there_are_there() -> None:
    """Presets of earlier versions name them."""
    assert {*working_in("static")} >= {"dc", "dm"} and {*working_in("dynamic")} >= {"dm", "mtt", "frepo"}


@pytest.mark.parametrize("stage", STAGES)
def test_the_names_that_a_preset_may_say_are_those_of_the_registry(stage: str) -> None:
    """In the schema, in the form, and in the message about a wrong one; each with what it is."""
    field = Preset.model_fields[stage].annotation.model_fields["objective"]  # type: ignore[union-attr]
    (form,) = (each for each in sections()[stage] if each.name == "objective")
    assert [*typing.get_args(field.annotation)] == [*form.choices] == [*working_in(stage)]
    with pytest.raises(PresetError) as caught:
        load_preset("default", [f"{stage}.objective=nothing"])
    for name, objective in working_in(stage).items():
        assert f"'{name}'" in caught.value.problem and f"{name}: {objective.title}" in caught.value.hint


@pytest.mark.parametrize(("stage", "name"), PAIRS)
def test_an_objective_has_the_keys_of_its_settings(stage: str, name: str) -> None:
    """All of them, described, under its name; those of DC stand in [static], as presets have them."""
    settings = cast(type[Section], named(name).settings_in(stage))
    table = stage if stage == "static" and named(name).still_settings_inline else f"{stage}.{name}"
    own = {f"{table}.{key}" for key in settings.model_fields}
    assert own <= {*keys()} and all(field.description for field in settings.model_fields.values())
    assert not own or own <= {field.key for field in sections()[table]}
    preset = load_preset("default", [f"{stage}.objective={name}"])
    assert isinstance(getattr(preset, stage).settings, settings)


@pytest.mark.parametrize("name", objectives())
def test_what_an_objective_cannot_do_is_refused_with_those_that_can(name: str) -> None:
    """Hours of learning labels that have no gradient; or a rate that nobody learned."""
    if name not in working_in("dynamic"):
        return
    for fact, change in (
        ("learns_labels", "synthetic.labels=learned"),
        ("learns_step_size", "evaluation.use_learned_lr=true"),
    ):
        chosen = [f"dynamic.objective={name}", change]
        if getattr(named(name), fact):
            assert load_preset("default", chosen).dynamic.objective == name
            continue
        with pytest.raises(PresetError) as caught:
            load_preset("default", chosen)
        assert f"dynamic.objective = {' or '.join(names_with(fact))}, which learns" in caught.value.problem


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("static.objective=dc", "static.objective = dm or ncfm, which compares embeddings"),
        (
            'evaluation.models=["convnet_mean"]',
            "or convnet3d_collapsed as the first of evaluation.models, not convnet_mean",
        ),
    ],
)
def test_only_what_can_be_summed_over_time_is_collapsed(change: str, said: str) -> None:
    """A run would end in an assertion, after its data was opened."""
    collapsed = "static.network=collapsed"
    assert still_network(load_preset("stills", [collapsed, 'evaluation.models=["convnet3d_small"]'])) == "collapsed"
    with pytest.raises(PresetError) as caught:
        load_preset("stills", [collapsed, change])
    assert said in caught.value.problem


def test_easy_clips_need_a_network_that_has_learned() -> None:
    """Losses of random weights say nothing of a clip."""
    for easy in ("selection.method=easy", "evaluation.baselines=['compressed-easy']"):
        with pytest.raises(PresetError) as caught:
            load_preset("default", [easy, "selection.features=seeded"])
        assert "easy needs selection.features = trained" in caught.value.problem


@pytest.mark.parametrize(
    ("change", "network"),
    [
        ("run.seed=1", "collapsed"),
        ("static.objective=ncfm", "collapsed"),
        ("static.objective=dc", "convnet"),
        ('evaluation.models=["convnet_mean"]', "convnet"),
        ('evaluation.models=["convnet_mean", "convnet3d"]', "convnet"),
    ],
)
def test_stage_1_sees_what_evaluates_where_that_can_be_summed_over_time(change: str, network: str) -> None:
    """`default` is run with any network: no change of it may be refused for a key that nobody wrote."""
    assert still_network(load_preset("default", [change])) == network


def test_a_copy_with_other_settings_changes_nothing_else() -> None:
    """A plan rehearses a run with a few of its values changed, and those alone."""
    for stage, name in PAIRS:
        section = getattr(load_preset("default", [f"{stage}.objective={name}"]), stage)
        assert section.with_settings(section.settings) == section
        changed = named(name).rehearsed(section.settings)
        assert section.with_settings(changed).settings == changed


@pytest.mark.parametrize(
    ("address", "named"), [("engine.matching.kernel:Nothing", "Nothing"), ("engine.nowhere:Kernel", "engine.nowhere")]
)
def test_a_line_of_the_registry_that_is_wrong_is_named(address: str, named: str) -> None:
    """Whoever adds an objective would be told that presets cannot be imported."""
    add = f"from engine.config.objectives import OBJECTIVES; OBJECTIVES.append({address!r})"
    code = f"{add}; from engine.config import Preset"
    done = subprocess.run([PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and named in done.stderr.splitlines()[-1]
