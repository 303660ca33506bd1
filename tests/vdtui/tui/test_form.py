"""The form of a new run: its fields are the schema's, its errors the schema's, its costs what the run will do."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.config import Preset, keys, load_preset, preset_names
from engine.config.kinds import PRESET_KINDS
from engine.config.load import override
from tests.tiny import PYTHON, ROOT
from vdtui.tui import form as forms
from vdtui.tui.form import DataFacts, Form, sections, text_of, value_of


def test_every_key_of_the_schema_is_a_field() -> None:
    """A value could be set on the command line that the form does not know."""
    fields = [field.key for each in sections().values() for field in each]
    elsewhere = ["title", "description", "published", "static.options", "dynamic.options"]  # of foreign objectives
    assert sorted([*fields, *elsewhere]) == sorted(keys())
    assert all(field.help for each in sections().values() for field in each)


@pytest.mark.parametrize("name", ["demo", "default", "hmdb51-ipc5-mtt"])
def test_an_untouched_form_is_the_preset(name: str) -> None:
    """Looking at a preset would change it."""
    form = Form(name)
    for key in form.fields:
        form.put(key, form.text(key))
    preset, key, problem = form.check()
    assert (preset, key, problem, form.changed) == (load_preset(name), "", "", {})


def test_every_value_survives_its_field() -> None:
    """Typing a value as it stands there would change it, or be an error."""
    form = Form("default")
    for key, field in form.fields.items():
        text = form.preset_text(key)
        value: Any = form.base
        for part in key.split("."):
            value = getattr(value, part)
        if text:
            assert value_of(field, text) == (list(value) if field.many else value), key


@example("storage.how", "0\n0")
@given(st.sampled_from(sorted(Form("default").fields)), st.text(max_size=12))
@settings(max_examples=150)
def test_whatever_is_typed_is_a_preset_or_an_error_of_that_key(key: str, text: str) -> None:
    """A key press would end the dashboard, or the error would stand beside a field that is right."""
    form = Form("default")
    form.put(key, text)
    preset, wrong, problem = form.check()
    assert (preset is None) == bool(problem)
    if preset is None:
        assert wrong == key and "\n" not in problem.strip()


@pytest.mark.parametrize(
    ("typed", "key", "problem"),
    [
        ({"dynamic.steps": "-1"}, "dynamic.steps", "greater than or equal to 0"),
        ({"dynamic.steps": "many"}, "dynamic.steps", "valid integer"),
        ({"dynamic.steps": ""}, "dynamic.steps", "valid integer"),
        ({"dynamic.steps": "1" + "0" * 400}, "dynamic.steps", "less than or equal to 10000000"),
        ({"dynamic.steps": "1" + "0" * 5000}, "dynamic.steps", "less than or equal to 10000000"),
        ({"dynamic.steps": "20_000", "dynamic.eval_every": "1"}, "dynamic.eval_every", "10000 are the most"),
        ({"run.device": "gpu"}, "run.device", "match pattern"),
        ({"evaluation.models": "convnet3d, foo"}, "evaluation.models", "input should be 'convnet3d'"),
        (
            {"synthetic.kind": "pixels", "synthetic.dynamic_size": "8"},
            "synthetic.dynamic_size",
            "needs a dynamic memory",
        ),
        ({"synthetic.labels": "learned"}, "synthetic.labels", "needs dynamic.objective = frepo"),
    ],
)
def test_errors_name_their_field(typed: dict[str, str], key: str, problem: str) -> None:
    """The user would know that something is wrong, but not where."""
    form = Form("default")
    for name, text in typed.items():
        form.put(name, text)
    preset, found, said = form.check()
    assert preset is None and found == key and problem in said and "form:" not in said
    for name in typed:
        form.reset(name)
    assert form.check()[0] == form.base


def test_changes_are_those_of_the_command_line() -> None:
    """The same values would make another run in the dashboard than on the command line."""
    form = Form("default")
    typed = {
        "dynamic.steps": "1_000",
        "dynamic.lr_dynamic": "1e-3",
        "dynamic.train_static": "true",
        "synthetic.n_syn": "4",
        "evaluation.protocol": "vdsd",
    }
    for key, text in typed.items():
        form.put(key, text)
    words = forms.command(form, "mine")
    overrides = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    assert words[:4] == ["vdtui", "distill", "--preset", "default"] and words[-2:] == ["--run", "mine"]
    assert form.check()[0] == load_preset("default", overrides)


def test_an_emptied_field_is_unset() -> None:
    """A limit that a preset sets could not be taken away."""
    form = Form("demo")
    form.put("dataset.frames", " ")
    preset, _, _ = form.check()
    assert preset is not None and preset.dataset.frames is None and form.changed == {"dataset.frames": None}
    form.put("dataset.frames", form.preset_text("dataset.frames"))
    assert form.changed == {}


def test_bytes_are_those_of_the_data() -> None:
    """The size that the user decides by would be of another data set. The count is by hand: 5 classes, 16 x 20 x 20."""
    preset = override(load_preset("default"), ["synthetic.kind=pixels", "synthetic.ipc=2"], "test")
    assert forms.stored(preset, DataFacts(5, 16, 20, False)) == 5 * 2 * 16 * 3 * 20 * 20
    assert forms.stored(preset, None) is None
    facts, values = DataFacts(5, 16, 20, False), f"{5 * 2 * 16 * 3 * 20 * 20:,} values"
    assert forms.stored_words(preset, facts) == f"{values}, h264-35" and "depends" in forms.stored_words(preset, None)
    plain = override(preset, ["storage.how=float16"], "test")
    assert forms.stored_words(plain, facts) == f"{values}, 384 kB"
    form = Form("default")
    for key, text in {"synthetic.kind": "coreset", "dynamic.steps": "0"}.items():
        form.put(key, text)
    chosen, _, _ = form.check()
    assert chosen is not None and forms.stored_words(chosen, facts).endswith(", 96.0 kB")  # real clips are bytes


@pytest.mark.parametrize(("steps", "every"), [(100, 40), (100, 50), (0, 7), (5, 10)])
def test_networks_and_steps_are_what_the_engine_will_do(steps: int, every: int) -> None:
    """The user would plan an evening, and the run take a week."""
    changes = [f"dynamic.steps={steps}", f"dynamic.eval_every={every}", "evaluation.repeats=5", "static.steps=1000"]
    preset = override(load_preset("default"), [*changes, "evaluation.selection_repeats=2"], "test")
    counts = forms.networks(preset, None)
    assert counts["to choose the step"] == 2 * len({*range(0, steps, every), steps})
    assert counts["for the table"] == 6 * 5 and "experts" not in counts
    assert counts["at most to choose baselines"] == 2 * 12 * 2 and counts["for features"] == 1
    assert forms.steps(preset) == {"static": 1000, "dynamic": steps}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["synthetic.kind=full"], {"for the table": 3}),
        (["synthetic.kind=coreset"], {"for the table": 3}),
        (["synthetic.kind=coreset", "selection.method=herding"], {"for the table": 6, "for features": 1}),
        (["dataset.val_fraction=0.0", "synthetic.kind=pixels"], {"for the table": 15, "for features": 1}),
    ],
)
def test_other_kinds_of_runs_train_other_networks(changes: list[str], expected: dict[str, int]) -> None:
    """As above, for what is not learned and what has nothing to choose by."""
    assert forms.networks(override(load_preset("default"), changes, "test"), None) == expected


@pytest.mark.parametrize("kind", PRESET_KINDS)
def test_every_kind_of_set_can_be_chosen(kind: str) -> None:
    """A kind that the engine has could be had from the command line only, or without its cost."""
    form = Form("default")
    field = next(field for field in forms.sections()["synthetic"] if field.name == "kind")
    assert field.choices == PRESET_KINDS and kind in field.help
    form.put(field.key, kind)
    preset, _, _ = form.check()
    assert preset is not None and preset.synthetic.kind == kind
    assert forms.networks(preset, None)["for the table"] == 3 * len(preset.kind.rows(preset))
    assert set(forms.steps(preset)) == {"static", "dynamic"} & set(preset.stages)
    values = forms.stored(preset, DataFacts(5, 16, 20, False))
    assert values is not None and (values > 0) == bool(preset.kind.parts)


def test_every_preset_can_be_described() -> None:
    """The list of presets would stop at the first that lacks a number."""
    for name in preset_names():
        preset = load_preset(name)
        assert forms.networks(preset, None)["for the table"] > 0
        assert all(re.fullmatch("[a-z]+", stage) for stage in forms.steps(preset))


def test_texts_of_values() -> None:
    """A field would show Python instead of what one types."""
    assert [text_of(value) for value in (None, True, ("a", "b"), 1e-05, 3)] == ["", "true", "a, b", "1e-05", "3"]
    assert tomllib.loads(f"x = {text_of(1e-05)}") == {"x": 1e-05}
    assert isinstance(Preset(), Preset)


def test_the_form_of_every_objective_comes_without_torch() -> None:
    """Their settings stand beside code that computes with torch, which takes seconds to load."""
    code = (
        "import sys, vdtui.tui.screens.new\n"
        "from engine.config.objectives import working_in\n"
        "from vdtui.tui.form import Form\n"
        "for name in working_in('dynamic'):\n"
        "    form = Form('default')\n"
        "    form.put('dynamic.objective', name)\n"
        "    preset, _, problem = form.check()\n"
        "    assert preset is not None and not problem\n"
        "print(sorted({'torch', 'torchvision', 'h5py', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run([PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
