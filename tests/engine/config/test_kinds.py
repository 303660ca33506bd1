"""Descriptions of kinds: what is asked of them must be asked nowhere else, or a new kind is forgotten there."""

from __future__ import annotations

import ast
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import load_preset
from engine.config.kinds import BASELINES, KINDS, PRESET_KINDS, Pictures
from engine.config.schema import SyntheticSection
from engine.errors import PresetError
from tests.tiny import ROOT

ROWS = {"full"}
"""Kinds that are rows of every table too: random clips and all of the data are no sets of a run."""


def asked(tree: ast.AST) -> Iterator[str]:
    """Names of kinds that something is compared with, and classes of sets that something is asked to be."""
    classes = {kind.made_by.rpartition(":")[2] for kind in KINDS.values() if kind.made_by}
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            words = (word for part in (node.left, *node.comparators) for word in ast.walk(part))
            yield from (word.value for word in words if isinstance(word, ast.Constant) and word.value in KINDS)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            names = (word for word in ast.walk(node.args[1]) if isinstance(word, ast.Name))
            yield from (name.id for name in names if name.id in classes)


def test_nothing_else_asks_for_a_kind() -> None:
    """An `if` somewhere would treat a new kind as whatever stands in its last branch."""
    found = set()
    for path in (path for root in ("engine", "vdtui") for path in sorted((ROOT / root).rglob("*.py"))):
        own = path.relative_to(ROOT)
        if own != Path("engine/config/kinds.py"):
            found |= {(own.as_posix(), word) for word in asked(ast.parse(path.read_text(encoding="utf-8")))}
    # The baseline of equal bytes is made of real clips, and decodes to them; a budget is spent on clips of pixels; rows
    # of tables are not only kinds.
    expected = {("engine/synthetic/compressed.py", "Coreset"), ("engine/config/budget.py", "pixels")}
    # Cards have code for those that can be read without us; of others they load the set.
    known = {(path, word) for path, word in found if word not in ROWS and path != "engine/export/snippets.py"}
    assert known == expected


def test_the_schema_has_the_kinds_of_the_registry() -> None:
    """A kind that cannot be set, or one that can and does nothing."""
    assert typing.get_args(SyntheticSection.model_fields["kind"].annotation) == PRESET_KINDS
    with pytest.raises(PresetError) as caught:
        load_preset("default", {"synthetic.kind": "static-images"})
    assert all(name in f"{caught.value.problem} {caught.value.hint}" for name in PRESET_KINDS)


@pytest.mark.parametrize("name", PRESET_KINDS)
def test_rows_are_the_set_and_its_rivals(name: str) -> None:
    """A table without random clips says of no set that it has distilled anything."""
    preset = load_preset("default", {"synthetic.kind": name, "selection.method": "herding"})
    rows, kind = preset.kind.rows(preset), KINDS[name]
    assert len(set(rows)) == len(rows) and ("random" in rows) == bool(kind.parts)
    assert set(kind.baselines(preset.synthetic)) == set(rows) & set(BASELINES) - {name}


@pytest.mark.parametrize(
    ("changes", "clips"),
    [
        ({"synthetic.statics_per_instance": 2, "dynamic.init": "residual", "synthetic.ipc": 3}, 6),
        ({"static.init": "noise", "dynamic.init": "residual"}, 1),
        ({"static.init": "noise", "synthetic.dynamics_per_instance": 2}, 2),
        ({"static.init": "noise", "dynamic.init": "noise"}, 0),
        ({"synthetic.kind": "pixels", "dynamic.init": "residual", "synthetic.ipc": 3}, 3),
        ({"synthetic.kind": "pixels", "dynamic.init": "noise", "static.init": "frame"}, 0),
        ({"synthetic.kind": "static-only", "synthetic.statics_per_instance": 2}, 2),
        ({"synthetic.kind": "coreset"}, 0),
        ({"synthetic.kind": "full"}, 0),
        ({"synthetic.kind": "low-rank", "static.init": "frame", "synthetic.dynamics_per_instance": 3}, 3),
    ],
)
def test_clips_that_memories_start_from(changes: dict[str, object], clips: int) -> None:
    """Too few clips in a class are warned of by this number."""
    preset = load_preset("default", changes)
    assert preset.kind.start_clips(preset) == clips


def test_a_coreset_stores_all_frames() -> None:
    """Whatever the preset's learned sets store of a clip: real clips are whole, and have no labels to learn."""
    changes = {"synthetic.n_syn": 2, "synthetic.labels": "learned", "dynamic.objective": "frepo"}
    section = load_preset("default", {"synthetic.kind": "coreset", **changes}).synthetic
    assert KINDS["coreset"].stored_values(section, 5, Pictures(3, 8, 6, 6)) == 5 * 8 * 3 * 36


@pytest.mark.parametrize(("name", "shape"), [("static", (2, 4, 3, 6, 7)), ("dynamic", (2, 4, 5, 1, 6, 7))])
def test_a_memory_as_a_series_of_pictures(name: str, shape: tuple[int, ...]) -> None:
    """What stores memories as streams must know how many pictures of what size each of them is."""
    channels, frames = (3, 1) if name == "static" else (1, 5)
    assert KINDS["static-dynamic"].part(name).pictures(shape) == Pictures(channels, frames, 6, 7)
    assert KINDS["static-dynamic"].part("hallucinator.weight").pictures((3, 4, 3, 3, 3)) is None
