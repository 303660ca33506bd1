"""Presets: what a user loses here is a run that is not the one they asked for, found out hours later."""

from __future__ import annotations

import ast
import re
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from engine.config import Preset, keys, load_preset, preset_names, read_preset, to_toml
from engine.config.fields import Section
from engine.config.kinds import KINDS, LABELS
from engine.errors import PresetError
from tests.tiny import ROOT


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield prefix + name, field.annotation
            yield from sections(field.annotation, f"{prefix}{name}.")


SECTIONS = dict(sections(Preset))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# --- shipped presets -------------------------------------------------------------------------------------------------


def test_there_are_presets() -> None:
    """A package without its TOML files would have none."""
    assert {"default", "demo"} <= set(preset_names())
    assert preset_names() == sorted(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_every_shipped_preset_loads(name: str) -> None:
    """A shipped preset that is refused is of no use to anybody."""
    preset = load_preset(name)
    assert preset.title and preset.description
    assert preset.stages[0] == "prepare" and preset.stages[-1] == "evaluate"


def test_defaults_are_the_published_ones() -> None:
    """Someone who sets nothing gets the paper's values (method.md), not made-up ones."""
    preset = Preset()
    assert (preset.static.steps, preset.static.lr, preset.static.momentum) == (1000, 0.1, 0.5)
    assert (preset.static.lr_network, preset.static.batch_real) == (0.01, 256)
    assert (preset.static.outer_loops, preset.static.inner_loops) == (1, 1)
    assert (preset.dynamic.lr_dynamic, preset.dynamic.lr_hallucinator, preset.dynamic.momentum) == (1e-4, 1e-5, 0.95)
    assert (preset.dynamic.steps, preset.dynamic.batch_real, preset.dynamic.eval_every) == (5000, 64, 400)
    assert (preset.synthetic.statics_per_instance, preset.synthetic.dynamics_per_instance) == (2, 2)
    table = preset.evaluation
    assert (table.epochs, table.lr, table.momentum, table.weight_decay, table.batch) == (500, None, 0.9, 5e-4, 256)


def test_an_unknown_preset_names_its_neighbour() -> None:
    """A typing mistake costs one look, not a search."""
    with pytest.raises(PresetError) as caught:
        load_preset("demmo")
    assert "demmo" in caught.value.problem and "demo" in caught.value.hint


@pytest.mark.parametrize("name", ["", "..", "__init__"])
def test_names_that_are_no_presets(name: str) -> None:
    """Not a traceback, and no file outside the presets."""
    with pytest.raises(PresetError):
        load_preset(name)


# --- inheritance -----------------------------------------------------------------------------------------------------


def test_an_own_file_extends_a_shipped_preset(tmp_path: Path) -> None:
    """Own presets say only what is different; all else must come from the parent, key by key."""
    path = write(tmp_path / "mine.toml", 'extends = "demo"\ntitle = "mine"\n[dynamic]\nsteps = 7\n')
    mine, demo = load_preset(path), load_preset("demo")
    assert (mine.title, mine.dynamic.steps) == ("mine", 7)
    assert mine.description == demo.description and mine.dataset == demo.dataset
    assert mine.dynamic.model_copy(update={"steps": demo.dynamic.steps}) == demo.dynamic


def test_own_files_extend_each_other_by_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in a file is meant from that file, wherever the command is called."""
    write(tmp_path / "base" / "root.toml", 'title = "root"\n[run]\nseed = 5\n[static]\nsteps = 3\nlr = 2.0\n')
    write(tmp_path / "base" / "middle.toml", 'extends = "root.toml"\n[static]\nsteps = 4\n')
    leaf = write(tmp_path / "leaf" / "leaf.toml", 'extends = "../base/middle.toml"\n[run]\ndevice = "cpu"\n')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder, name in ((elsewhere, str(leaf)), (tmp_path, "leaf/leaf.toml"), (tmp_path / "leaf", "leaf.toml")):
        monkeypatch.chdir(folder)
        preset = load_preset(name)
        assert (preset.title, preset.run.seed, preset.run.device) == ("root", 5, "cpu")
        assert (preset.static.steps, preset.static.lr) == (4, 2.0)


@pytest.mark.parametrize(
    ("one", "other"), [("b.toml", "a.toml"), ("./b.toml", "./a.toml"), ("../circle/b.toml", "../circle/a.toml")]
)
def test_a_circle_is_named(tmp_path: Path, one: str, other: str) -> None:
    """However the files name each other: the message says what is wrong, and the command ends."""
    first = write(tmp_path / "circle" / "a.toml", f'extends = "{one}"')
    write(tmp_path / "circle" / "b.toml", f'extends = "{other}"')
    with pytest.raises(PresetError) as caught:
        load_preset(first)
    assert "in a circle" in caught.value.problem and "b.toml" in caught.value.problem


def test_a_preset_that_extends_itself(tmp_path: Path) -> None:
    """The shortest circle."""
    with pytest.raises(PresetError, match="in a circle"):
        load_preset(write(tmp_path / "self.toml", 'extends = "self.toml"'))


@pytest.mark.parametrize("parent", ["gone.toml", "nosuch"])
def test_a_missing_parent_is_named(tmp_path: Path, parent: str) -> None:
    """Without its parent a preset would silently run on defaults."""
    with pytest.raises(PresetError) as caught:
        load_preset(write(tmp_path / "a.toml", f'extends = "{parent}"'))
    assert parent in caught.value.problem


def test_extends_must_be_a_name(tmp_path: Path) -> None:
    """One sentence instead of a traceback."""
    with pytest.raises(PresetError, match="extends"):
        load_preset(write(tmp_path / "a.toml", "extends = 3"))


# --- overrides -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("dynamic.steps=12", lambda p: p.dynamic.steps == 12),
        ("dynamic.lr_dynamic=1e3", lambda p: p.dynamic.lr_dynamic == 1000.0),
        ("dynamic.lr_dynamic=30", lambda p: p.dynamic.lr_dynamic == 30.0 and type(p.dynamic.lr_dynamic) is float),
        ("synthetic.kind=pixels", lambda p: p.synthetic.kind == "pixels" and p.stages[1] == "dynamic"),
        ('synthetic.kind="pixels"', lambda p: p.synthetic.kind == "pixels"),
        ("run.device=cuda:1", lambda p: p.run.device == "cuda:1"),
        ("dataset.path=/data/a b.h5", lambda p: p.dataset.path == "/data/a b.h5"),
        ("dataset.path=/data/a=b.h5", lambda p: p.dataset.path == "/data/a=b.h5"),
        ('evaluation.models=["convnet3d"]', lambda p: p.evaluation.models == ("convnet3d",)),
        (" dynamic.steps = 12 ", lambda p: p.dynamic.steps == 12),
        ("title=two words", lambda p: p.title == "two words"),
    ],
)
def test_overrides_of_each_type(text: str, read: Any) -> None:
    """--set is how studies are made; a value read as another type is another study."""
    assert read(load_preset("default", [text]))


def test_overrides_as_a_mapping_and_the_last_one_wins() -> None:
    """Notebooks give a dict; on the command line a later --set corrects an earlier one."""
    assert load_preset("default", {"dynamic.steps": 3, "run.seed": 9}).run.seed == 9
    assert load_preset("default", ["run.seed=1", "run.seed=2"]).run.seed == 2


@pytest.mark.parametrize("text", ["dynamic.steps", "dynamic.steps=", "dynamic.steps=  "])
def test_an_empty_value_is_refused(text: str) -> None:
    """The reference's empty shell variables reached the learning rates."""
    with pytest.raises(PresetError, match="no value"):
        load_preset("default", [text])


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("dynamic.stpes=3", "dynamic.steps"),
        ("synthetic.icp=3", "synthetic.ipc"),
        ("lr_dynamic=3", "dynamic.lr_dynamic"),
        ("evaluaton.epochs=3", "evaluation.epochs"),
        ("run.sed=3", "run.seed"),
    ],
)
def test_an_unknown_key_names_the_nearest_valid_one(text: str, near: str) -> None:
    """An option that is quietly ignored is a run with other values than asked for."""
    with pytest.raises(PresetError) as caught:
        load_preset("default", [text])
    section = text.partition("=")[0].partition(".")[0]
    assert section in caught.value.problem and near in caught.value.hint


@pytest.mark.parametrize("text", ["dynamic=5", "title.x=5", "dynamic.steps.x=5", "extends=demo", "=5"])
def test_overrides_that_fit_nowhere(text: str) -> None:
    """Two lines, not a traceback."""
    with pytest.raises(PresetError):
        load_preset("default", [text])


# --- wrong values ----------------------------------------------------------------------------------------------------


def test_an_unknown_key_in_a_file_names_file_and_key(tmp_path: Path) -> None:
    """With ten presets open, one wants to know which file."""
    path = write(tmp_path / "mine.toml", "[dynamic]\nlr_hallucinater = 1.0\n")
    with pytest.raises(PresetError) as caught:
        load_preset(path)
    assert str(path) in caught.value.problem and "dynamic.lr_hallucinater" in caught.value.problem
    assert "dynamic.lr_hallucinator" in caught.value.hint


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("dynamic", "steps", '"100"'),
        ("dynamic", "steps", "100.0"),
        ("dynamic", "steps", "true"),
        ("dynamic", "steps", "-1"),
        ("dynamic", "eval_every", "0"),
        ("dynamic", "lr_dynamic", '"1e-4"'),
        ("dynamic", "lr_dynamic", "nan"),
        ("dynamic", "lr_dynamic", "inf"),
        ("dynamic", "lr_dynamic", "-1.0"),
        ("dynamic", "lr_dynamic", "true"),
        ("dynamic", "momentum", "1.0"),
        ("synthetic", "ipc", "0"),
        ("synthetic", "kind", '"pixel"'),
        ("run", "seed", "-1"),
        ("run", "seed", "2147483648"),
        ("run", "device", '"gpu"'),
        ("run", "precision", '"float16"'),
        ("dataset", "val_fraction", "1.0"),
        ("dataset", "path", "3"),
        ("dataset", "path", "2024-01-01"),
        ("evaluation", "models", "[]"),
        ("evaluation", "models", '["resnet"]'),
        ("evaluation", "models", '"convnet3d"'),
    ],
)
def test_wrong_values_name_file_and_key(tmp_path: Path, section: str, key: str, value: str) -> None:
    """A wrong value is found before any work starts, and says where it stands."""
    path = write(tmp_path / "wrong.toml", f"[{section}]\n{key} = {value}\n")
    with pytest.raises(PresetError) as caught:
        load_preset(path)
    assert str(path) in caught.value.problem and f"{section}.{key}" in caught.value.problem
    assert "\n" not in caught.value.problem and "\n" not in caught.value.hint


def counts() -> list[str]:
    """The keys of whole numbers."""

    def whole(kind: Any) -> bool:
        return kind is int or (kind is not bool and any(whole(part) for part in typing.get_args(kind)[:2]))

    fields = [(f"{name}.{key}", field) for name, table in SECTIONS.items() for key, field in table.model_fields.items()]
    return [key for key, field in fields if whole(field.annotation)]


def test_the_keys_of_whole_numbers_are_found() -> None:
    """The tests of their bounds would be of nothing."""
    assert {"dynamic.steps", "synthetic.n_syn", "dynamic.dm.bank", "run.seed", "evaluation.repeats"} <= set(counts())
    assert not {"run.device", "dynamic.lr_dynamic", "dynamic.train_static", "evaluation.models"} & set(counts())


@pytest.mark.parametrize("key", counts())
@given(st.integers(2**31, 10**25))
@settings(max_examples=10)
def test_a_count_that_no_machine_finishes_is_refused(key: str, number: int) -> None:
    """A slip of the keyboard would start a run that fills the memory, or that never ends."""
    with pytest.raises(PresetError) as caught:
        load_preset("default", {key: number})
    assert key in caught.value.problem and re.search(r"less than (or equal to )?\d+\.$", caught.value.problem)


@pytest.mark.parametrize("digits", [400, 4300, 4301, 5000, 70_000])
@pytest.mark.parametrize("sign", ["", "-", "+"])
def test_a_number_of_thousands_of_digits_is_a_wrong_value(tmp_path: Path, digits: int, sign: str) -> None:
    """Python reads no such number, and writes none: the user would meet its traceback, here or in the message."""
    number = sign + "1" + "0" * (digits - 1)
    path = write(tmp_path / "long.toml", f"[dynamic]\nsteps = {number}\n")
    bound = "greater than or equal to 0" if sign == "-" else "less than or equal to 10000000"
    for load in (lambda: load_preset(path), lambda: load_preset("default", [f"dynamic.steps={number}"])):
        with pytest.raises(PresetError) as caught:
            load()
        problem = caught.value.problem
        assert "dynamic.steps = " in problem and bound in problem
        assert len(problem) - len(str(path)) < 200 and "\n" not in problem


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("title", "7" * 5000),
        ("dynamic.lr_dynamic", "7" * 5000),
        ("dynamic.lr_dynamic", "7" * 5000 + ".5"),
        ("dynamic.steps", "0x" + "f" * 5000),
        ("dynamic.steps", "1" + "_000" * 2000),
        ("evaluation.models", "[" + "7" * 5000 + "]"),
        ("dynamic", "[0x" + "f" * 5000 + "]"),
        ("dynamic.steps", "[0x" + "f" * 5000 + "]"),
        ("dynamic.nothing", "7" * 5000),
    ],
    ids=range(9),
)
def test_such_numbers_anywhere(tmp_path: Path, key: str, value: str) -> None:
    """Two short lines, wherever the number stands and however it is written."""
    *section, name = key.split(".")
    table = f"[{'.'.join(section)}]\n" if section else ""
    path = write(tmp_path / "long.toml", f"{table}{name} = {value}\n")
    for load in (lambda: load_preset(path), lambda: load_preset("default", [f"{key}={value}"])):
        with pytest.raises(PresetError) as caught:
            load()
        assert key in caught.value.problem and len(caught.value.problem) - len(str(path)) < 300


def test_a_long_number_in_a_text_is_a_text(tmp_path: Path) -> None:
    """Only numbers that nothing can be set to are cut."""
    path = write(tmp_path / "text.toml", f'title = "{"7" * 5000}"\n')
    assert load_preset(path).title == "7" * 5000


@pytest.mark.parametrize(
    ("steps", "every", "allowed"),
    [(10_000_000, 1, False), (9_999, 1, True), (10_000, 1, False), (0, 1, True), (10_000_000, 1_001, True)],
)
def test_evaluations_are_bounded(steps: int, every: int, allowed: bool) -> None:
    """Each trains networks: with ten million steps and one of them after each, the run would never begin to learn."""
    changes = {"dynamic.steps": steps, "dynamic.eval_every": every}
    if allowed:
        assert load_preset("default", changes).dynamic.steps == steps
        assert len({*range(0, steps, every), steps}) <= 10_000
        return
    assert len({*range(0, steps, every), steps}) > 10_000
    with pytest.raises(PresetError) as caught:
        load_preset("default", changes)
    assert all(word in caught.value.problem for word in ("dynamic.steps", "dynamic.eval_every", "10000"))


def test_whole_numbers_do_for_rates(tmp_path: Path) -> None:
    """`lr = 30` is what everybody writes."""
    preset = load_preset(write(tmp_path / "a.toml", "[static]\nlr = 30\nmomentum = 0\n"))
    assert preset.static.lr == 30.0 and preset.static.momentum == 0.0


def test_a_combination_that_learns_nothing_is_refused() -> None:
    """Hours for a set that is the noise it began with."""
    with pytest.raises(PresetError, match="nothing would be learned"):
        load_preset("default", ["dynamic.lr_dynamic=0", "dynamic.lr_hallucinator=0"])


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["synthetic.kind=static-only", "synthetic.statics_per_instance=0"], "statics_per_instance"),
        (["synthetic.kind=static-only", "synthetic.n_syn=2"], "synthetic.n_syn"),
        (["synthetic.kind=static-only", "synthetic.dynamic_size=8"], "synthetic.dynamic_size"),
        (
            ["synthetic.kind=static-only", "synthetic.labels=learned", "dynamic.objective=frepo"],
            "synthetic.labels = learned needs stage 2",
        ),
        (["synthetic.kind=static-only", "synthetic.hallucinator=per-class"], "synthetic.hallucinator"),
        (["synthetic.kind=pixels", "synthetic.hallucinator=per-class"], "synthetic.hallucinator"),
        (["synthetic.hallucinator=per-class", "synthetic.hallucinators=2"], "synthetic.hallucinators must be 1"),
    ],
)
def test_memories_that_cannot_be_are_refused(overrides: list[str], named: str) -> None:
    """Before any work starts, and named: a switch that did nothing would be taken for an ablation."""
    with pytest.raises(PresetError) as caught:
        load_preset("default", overrides)
    assert named in caught.value.problem and "\n" not in caught.value.problem and caught.value.hint


@pytest.mark.parametrize("change", ["kind=pixels", "kind=static-only", "statics_per_instance=0"])
def test_what_the_default_learns_besides_is_no_obstacle(change: str) -> None:
    """`default` learns its stills in stage 2; pixels, or a set without stills or stage 2, have none to learn there."""
    assert load_preset("default").dynamic.train_static
    load_preset("default", [f"synthetic.{change}"])


@pytest.mark.parametrize("content", [b"steps = = 3\n", b"[dynamic\n", b"a = 1\na = 2\n", b"\xff\xfe\x00", b"\x00\x01"])
def test_bad_files_are_named(tmp_path: Path, content: bytes) -> None:
    """Whatever stands in the file: its name and a hint."""
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(PresetError) as caught:
        load_preset(path)
    assert "bad.toml" in caught.value.problem and caught.value.hint


def test_missing_files_and_folders(tmp_path: Path) -> None:
    """As above, for what is not a file."""
    for path in (tmp_path / "gone.toml", tmp_path):
        with pytest.raises(PresetError) as caught:
            load_preset(f"{path}" if path.suffix else f"{path}/")
        assert tmp_path.name in caught.value.problem


def test_a_preset_cannot_be_changed_later() -> None:
    """What was validated is what runs."""
    with pytest.raises(ValueError, match="frozen"):
        load_preset("demo").dynamic.steps = 3  # type: ignore[misc]


# --- writing ---------------------------------------------------------------------------------------------------------

TEXTS = st.text(max_size=30) | st.sampled_from(
    ['"', "\\", "'''", '"""', "\x7f", "\r\n", "é漢\U0001f600", "a#b", "\x00"]
)
RATES = st.floats(0, 1e308, allow_subnormal=True) | st.sampled_from([5e-324, 1e-05, 1e16, 0.1 + 0.2])
FRACTIONS = st.floats(0, 1, exclude_max=True)


@st.composite
def presets(draw: st.DrawFn) -> Preset:
    return load_preset(
        "default",
        {
            "title": draw(TEXTS),
            "description": draw(TEXTS),
            "published": draw(TEXTS | st.none()),
            "dataset.path": draw(TEXTS | st.none()),
            "dataset.frames": draw(st.integers(1, 65_536) | st.none()),
            "dataset.val_fraction": draw(FRACTIONS),
            "synthetic.kind": draw(st.sampled_from(["static-dynamic", "pixels"])),
            "static.lr": draw(RATES),
            "dynamic.lr_dynamic": draw(RATES.filter(lambda rate: rate > 0)),
            "dynamic.momentum": draw(FRACTIONS),
            "evaluation.weight_decay": draw(RATES),
            "run.seed": draw(st.integers(0, 2**31 - 1)),
        },
    )


@given(presets())
def test_a_run_s_preset_is_the_one_it_was_started_with(
    tmp_path_factory: pytest.TempPathFactory, preset: Preset
) -> None:
    """preset.toml in a run directory is what a resumed worker runs: to the last bit of every rate."""
    path = write(tmp_path_factory.getbasetemp() / "round" / "preset.toml", to_toml(preset))
    assert read_preset(path) == preset
    assert load_preset(path) == preset


def test_every_value_is_spelled_out() -> None:
    """A run must be the same under a later version with other defaults."""
    written = tomllib.loads(to_toml(load_preset("demo")))
    unset = {"published", "dataset.path", "dataset.split"}
    unset |= {"synthetic.n_syn", "synthetic.dynamic_size", "synthetic.rank", "storage.budget", "storage.rung"}
    unset |= {"dynamic.dm.classes_per_step", "dynamic.ncfm.classes_per_step", "dynamic.mtt.batch", "experts.epochs"}
    unset |= {"dynamic.mtt.first_max_start_epoch", "storage.budget", "storage.rung"}
    unset |= {
        "synthetic.formation",
        "static.options",
        "dynamic.options",
    }  # keys of an objective that is given by its address
    unset |= {"evaluation.lr"}  # that of the protocol and its version
    assert set(flat(written)) == set(keys()) - unset


def flat(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def test_later_parents_win_and_tables_are_merged_at_any_depth(tmp_path: Path) -> None:
    """A preset made of small files must be the sum of them, not the last one."""
    write(
        tmp_path / "one.toml", "title = 'one'\n[dynamic]\nsteps = 7\n[dynamic.mtt]\nsyn_steps = 3\nexpert_epochs = 2\n"
    )
    write(tmp_path / "two.toml", "title = 'two'\n[dynamic.mtt]\nsyn_steps = 4\n")
    own = write(tmp_path / "own.toml", "extends = ['one.toml', 'two.toml']\n[dynamic]\nmomentum = 0.1\n")
    preset = load_preset(own)
    assert preset.title == "two" and (preset.dynamic.steps, preset.dynamic.momentum) == (7, 0.1)
    assert (preset.dynamic.mtt.syn_steps, preset.dynamic.mtt.expert_epochs) == (4, 2)


# --- no dead options -------------------------------------------------------------------------------------------------


def sources(*packages: str) -> Iterator[tuple[Path, str]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path != ROOT / "engine" / "config" / "schema.py":  # whose checks alone are no use of a key
                yield path, path.read_text(encoding="utf-8")


def sections_of_classes() -> dict[str, set[str]]:
    """Of the name of each class of settings: the sections that are of it, or of a class that inherits from it."""
    found: dict[str, set[str]] = {}
    for section, model in SECTIONS.items():
        for each in model.__mro__:
            if issubclass(each, Section) and each is not Section:
                found.setdefault(each.__name__, set()).add(section)
    return found


CLASSES = sections_of_classes()


def section_of(node: ast.expr, names: dict[str, set[str]]) -> set[str]:
    """The sections that an expression gives: ``preset.dynamic``, ``section.table("mtt", MttSettings)``, or a name."""
    if isinstance(node, ast.Attribute):
        inner = {f"{outer}.{node.attr}" for outer in section_of(node.value, names)} & {*SECTIONS}
        return inner or {node.attr} & {*SECTIONS}
    if isinstance(node, ast.Call):
        return set[str]().union(*(CLASSES.get(each.id, ()) for each in node.args if isinstance(each, ast.Name)))
    return names.get(node.id, set()) if isinstance(node, ast.Name) else set()


def reads(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(section, key) of every access to a key of a section inside the functions of ``tree``."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        names: dict[str, set[str]] = {}
        for argument in function.args.args:
            if isinstance(argument.annotation, ast.Name) and argument.annotation.id in CLASSES:
                names[argument.arg] = CLASSES[argument.annotation.id]
        for node in ast.walk(function):
            if isinstance(node, ast.Assert) and isinstance(node.test, ast.Call) and len(node.test.args) == 2:
                one, kind = node.test.args  # assert isinstance(settings, MttSettings)
                if isinstance(one, ast.Name) and isinstance(kind, ast.Name) and kind.id in CLASSES:
                    names[one.id] = CLASSES[kind.id]
            if isinstance(node, ast.Assign):
                target, value = node.targets[0], node.value
                pairs = [(target, value)]
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    pairs = list(zip(target.elts, value.elts, strict=True))
                for one, other in pairs:
                    found = section_of(other, names)
                    if isinstance(one, ast.Name) and found:
                        names[one.id] = found
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute):
                yield from ((section, node.attr) for section in section_of(node.value, names))


ENGINE_READS = {pair for _, text in sources("engine") for pair in reads(ast.parse(text))}
RATES_OF_PARTS = {part.rate for kind in KINDS.values() for part in (*kind.parts, LABELS)}
"""Keys that the optimiser reads by what a part of a set says."""
OF_ADDRESSES = "options"
"""The key that a stage's section reads itself, for an objective that is given by its address (test_plugins)."""


@pytest.mark.parametrize("key", [key for key in keys() if "." in key])
def test_every_option_is_read_by_the_engine(key: str) -> None:
    """An option that nothing reads is a promise that is not kept (style.md: no dead options)."""
    section, _, name = key.rpartition(".")
    assert (section, name) in ENGINE_READS or key in RATES_OF_PARTS or name == OF_ADDRESSES, (
        f"nothing in engine/ reads {key}"
    )


@pytest.mark.parametrize("key", [key for key in keys() if "." not in key])
def test_every_word_about_a_preset_is_shown(key: str) -> None:
    """Title, description and the paper's number are for people: something must show them."""
    used = re.compile(rf"\.{key}\b|\"{key}\"")
    assert any(used.search(text) for _, text in sources("engine", "vdtui"))
