"""A preset as a form: its fields with what was typed into them, what is wrong, and what the run would cost.

No widget is in here. Fields come from the schema itself, so that a key that is added there is in the form at once,
with its description as help; what is valid is decided by the schema alone, as for `vdtui distill --set`.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from typing import Any, Literal

from pydantic import BaseModel

from engine.config import Preset, load_preset
from engine.config.counts import baseline_networks, budget_networks, candidates
from engine.config.kinds import chooses_baselines
from engine.config.load import shortened, validate, without_storage
from engine.config.size import plain_bytes, storage_words, stored_values
from engine.data.recipe import OFFICIAL_CLASSES
from engine.errors import PresetError
from vdtui.tui import words

LABEL = "form"
UNSET = ""
"""The text of a field whose key is left unset."""


@dataclasses.dataclass(frozen=True)
class FormField:
    """One key of the preset. ``choices`` are the values that it can have, where there are few."""

    key: str
    help: str
    kind: type
    choices: tuple[str, ...]
    optional: bool
    many: bool

    @property
    def name(self) -> str:
        """The key without its section."""
        return self.key.rpartition(".")[2]


@dataclasses.dataclass(frozen=True)
class DataFacts:
    """The facts of a clips file on which costs depend."""

    classes: int
    frames: int
    size: int
    has_val: bool


def sections(model: type[BaseModel] = Preset, prefix: str = "") -> dict[str, list[FormField]]:
    """The fields of every section of the schema, in its order; ``dynamic.mtt`` is a section of its own."""
    found: dict[str, list[FormField]] = {}
    own, inner = [], {}
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            inner.update(sections(kind, f"{prefix}{name}."))
        elif prefix and name != "options":  # a table, of an objective that is given by its address
            own.append(_field(prefix + name, kind, info.description or ""))
    if own:
        found[prefix.removesuffix(".")] = own
    return {**found, **inner}


def _field(key: str, annotation: Any, help: str) -> FormField:
    """The field of one key; looks through Annotated and Optional."""
    optional = many = False
    choices: tuple[str, ...] = ()
    while True:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            annotation = arguments[0]
        elif origin in (typing.Union, types.UnionType):
            optional = type(None) in arguments
            annotation = next(each for each in arguments if each is not type(None))
        elif origin is tuple:
            many, annotation = True, arguments[0]
        elif origin is Literal:
            return FormField(key, help, str, tuple(map(str, arguments)), optional, many)
        else:
            if annotation is bool:
                choices = ("true", "false")
            kind = annotation if annotation in (bool, int, float) else str
            return FormField(key, help, kind, choices, optional, many)


def text_of(value: Any) -> str:
    """A value of a preset as it stands in its field."""
    if value is None:
        return UNSET
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value))
    return str(value)


def value_of(field: FormField, text: str) -> Any:
    """Read ``text`` as the value of ``field``; unreadable text stays text, and the schema says what it should be."""
    text = text.strip()
    if field.many:
        return [each.strip() for each in text.split(",") if each.strip()]
    if field.kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        if field.kind is int:
            return int(shortened(text.replace("_", "")))
        if field.kind is float:
            return float(text.replace("_", ""))
    except ValueError:
        return text
    return text


class Form:
    """The preset ``name``, a shipped one or a path, and what was changed in it. Raises PresetError."""

    def __init__(self, name: str, run: str = "") -> None:
        self.name = name
        self.run = run
        """The run whose preset it is, where it is one's."""
        self.base = load_preset(name)
        self.sections = sections()
        self.fields = {field.key: field for each in self.sections.values() for field in each}
        self._texts: dict[str, str] = {}

    def preset_text(self, key: str) -> str:
        """The preset's value of ``key`` as text."""
        value: Any = self.base
        for part in key.split("."):
            value = getattr(value, part)
        return text_of(value)

    def text(self, key: str) -> str:
        """The text in the field ``key``."""
        return self._texts.get(key, self.preset_text(key))

    def put(self, key: str, text: str) -> None:
        """Type ``text`` into the field ``key``."""
        if text.strip() == self.preset_text(key):
            self._texts.pop(key, None)
        else:
            self._texts[key] = text

    def reset(self, key: str) -> None:
        """The value of the preset again."""
        self._texts.pop(key, None)

    @property
    def changed(self) -> dict[str, Any]:
        """The changed keys and their values; None for one that is now unset."""
        return {key: self._value(key) for key in self.fields if key in self._texts}

    def _value(self, key: str) -> Any:
        field, text = self.fields[key], self._texts[key]
        return None if field.optional and not text.strip() else value_of(field, text)

    def check(self) -> tuple[Preset | None, str, str]:
        """The preset that the form makes; or None, the key that is wrong ("" if none is named), and what is."""
        changed = self.changed
        tables = without_storage(self.base.tables(), changed)
        for key, value in changed.items():
            *path, last = key.split(".")
            table = tables
            for part in path:
                table = table.setdefault(part, {})
            if value is None:
                table.pop(last, None)
            else:
                table[last] = value
        try:
            return validate(tables, LABEL), "", ""
        except PresetError as error:
            return None, *self._located(error.problem)

    def _located(self, problem: str) -> tuple[str, str]:
        """The key that a message of the schema is about, and the message without key and label."""
        text = problem.removeprefix(f"{LABEL}: ")
        named = re.match(r"([\w.]+) = (.*?): (.*)", text, re.DOTALL)
        if named:
            key = re.sub(r"(\.\d+)+$", "", named[1])
            if key in self.fields:
                return key, named[3]
        mentioned = [key for key in re.findall(r"[a-z_]+(?:\.[a-z_]+)+", text) if key in self.fields]
        mine = [key for key in mentioned if key in self._texts]
        return next(iter(mine or mentioned), ""), text


# --- what it costs ---------------------------------------------------------------------------------------------------


def stored(preset: Preset, data: DataFacts | None) -> int | None:
    """Count the values that the synthetic set will store; None where nothing says of which data."""
    table = preset.dataset
    if data is not None:
        return stored_values(preset.synthetic, data.classes, data.frames, data.size)
    classes = OFFICIAL_CLASSES.get(table.layout or "")
    if classes is None or table.frames is None or table.size is None:
        return None
    return stored_values(preset.synthetic, classes, table.frames, table.size)


def stored_words(preset: Preset, data: DataFacts | None) -> str:
    """Say what the set will store; bytes of a codec depend on the clips, and ``vdtui plan`` measures them."""
    values = stored(preset, data)
    if values is None:
        return "depends on the data"
    size = plain_bytes(preset, values)
    if size is None:
        return f"{values:,} values, {storage_words(preset)}"
    return f"{values:,} values, {words.size(size)}"


def steps(preset: Preset) -> dict[str, int]:
    """Optimiser steps of each stage that has some."""
    counts = {"static": preset.static.steps, "dynamic": preset.dynamic.steps}
    return {stage: count for stage, count in counts.items() if stage in preset.stages}


def networks(preset: Preset, data: DataFacts | None) -> dict[str, int]:
    """Count the networks that will be trained, by their purpose."""
    evaluation, stages = preset.evaluation, preset.stages
    counts = {"to spend the budget, at most": budget_networks(preset) if _chooses(preset, data) else 0}
    counts["experts"] = preset.experts.number if "experts" in stages else 0
    if "dynamic" in stages and _chooses(preset, data):
        counts["to choose the step"] = candidates(preset.dynamic) * evaluation.selection_repeats
    counts["at most to choose baselines"] = baseline_networks(preset) if _holds_out(preset, data) else 0
    counts["for the table"] = len(preset.kind.rows(preset)) * len(evaluation.models) * evaluation.repeats
    counts["teacher"] = int(evaluation.protocol == "strict-teacher")
    chosen = preset.selection.method != "random" if "select" in stages else False
    needs_features = chosen or chooses_baselines(preset) or preset.kind.chooses_start(preset)
    counts["for features"] = int(needs_features and preset.selection.features == "trained")
    return {what: count for what, count in counts.items() if count}


def summed(counts: dict[str, int]) -> str:
    """Write counts as a sum: ``8 static + 100 dynamic``."""
    return " + ".join(f"{count:,} {what}" for what, count in counts.items())


def _chooses(preset: Preset, data: DataFacts | None) -> bool:
    """Tell whether there is a split to choose the step by."""
    return preset.evaluation.protocol == "vdsd" or _holds_out(preset, data)


def _holds_out(preset: Preset, data: DataFacts | None) -> bool:
    """Tell whether there is a validation split."""
    has_val = data is not None and data.has_val
    return preset.evaluation.protocol != "vdsd" and (preset.dataset.val_fraction > 0 or has_val)


def command(form: Form, run: str) -> list[str]:
    """The command that starts the same run without the dashboard; only a preset file can leave a key unset."""
    words = ["vdtui", "distill", "--preset", form.name]
    for key, value in form.changed.items():
        if value is not None:
            listed = "[" + ", ".join(f'"{each}"' for each in value) + "]" if isinstance(value, list) else ""
            words += ["--set", f"{key}={listed or form.text(key).strip()}"]
    return [*words, "--run", run]
