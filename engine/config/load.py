"""Loading presets: TOML, inheritance by ``extends``, overrides by ``section.key=value``.

Every mistake (unknown key, wrong type, missing file, circle of inheritance) is a PresetError that names the file and
the key, with the nearest valid name, before any work starts.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from engine import version
from engine.config.kinds import KINDS
from engine.config.schema import Preset
from engine.config.tables import dotted
from engine.errors import PresetError
from engine.files import UnfitFileError, read_text, too_deep

_PUBLISHED = "-published"
"""The end of the names of published settings."""
WHOLE_CLIPS = "h264-35"
"""The storage of whole clips where a preset has one of stills and dynamic memories: that of presets of pixels."""
_SHOWN = 60
"""The number of characters of a wrong value that a message shows."""
MOST_LEVELS = 30
"""The longest chain of presets of which each extends the next."""
MOST_FILES = 200
"""The most names in the `extends` of a preset and of all that it extends; links in a circle have no end otherwise."""
MOST_PARTS = 10
"""The most parts of a key of `--set`; real keys have at most four."""
_LONG_KEY = re.compile(r"(?:\.[\w\"' \t-]{1,80}){100}")
"""A key of a hundred parts or more: the TOML reader's time grows with their square, so it would not come back."""


@dataclasses.dataclass(frozen=True)
class _Source:
    """A preset as it stands in one file; ``label`` names it in messages."""

    label: str
    tables: dict[str, Any]
    folder: Path | None


def preset_names() -> list[str]:
    """Return the names of the package's presets, sorted, without those for inheritance only, which start with _."""
    files = [path for path in _shipped().glob("*.toml") if path.is_file()]
    return sorted(path.stem for path in files if not path.name.startswith("_"))


def _shipped() -> Path:
    """Return the folder of the package's presets: inside the package where it is installed, beside it in a checkout."""
    package = Path(str(version.__file__)).parent
    inside = package / "presets"
    return inside if inside.is_dir() else package.parent / "presets"


def is_published(name: str) -> bool:
    """Return True if ``name`` is that of a published setting; the learning rates of other presets are ours."""
    return name.endswith(_PUBLISHED)


def published_twin(name: str) -> Preset | None:
    """Return the published setting beside the preset ``name``, or None if there is none."""
    twin = f"{name}{_PUBLISHED}"
    return load_preset(twin) if twin in preset_names() else None


def load_preset(name: str | Path, overrides: Mapping[str, Any] | Iterable[str] = ()) -> Preset:
    """Return the preset ``name`` (a shipped one, or the path of a .toml file) with ``overrides`` applied, validated.

    ``overrides`` is a mapping of ``"section.key"`` to values, or strings ``"section.key=value"`` as on the command
    line. Raises PresetError.
    """
    tables, label = _resolve(str(name))
    return validate(_overridden(tables, overrides), label)


def override(preset: Preset, overrides: Mapping[str, Any] | Iterable[str], label: str) -> Preset:
    """Return ``preset`` with ``overrides`` as in ``load_preset``; raises PresetError, naming ``label``."""
    return validate(_overridden(preset.tables(), overrides), label)


def _overridden(tables: dict[str, Any], overrides: Mapping[str, Any] | Iterable[str]) -> dict[str, Any]:
    """Return ``tables`` with ``overrides`` laid over them."""
    changes = list(_override_items(overrides))
    tables = without_storage(tables, dict(changes))
    for key, value in changes:
        _set(tables, key, value)
    return tables


def validate(tables: dict[str, Any], label: str) -> Preset:
    """Return ``tables`` as a Preset; raises PresetError, naming ``label`` and the first key that is wrong."""
    try:
        return Preset.model_validate(tables)
    except ValidationError as error:
        raise _explained(error, label) from error


def read_preset(path: Path) -> Preset:
    """Return the resolved preset that the run directory stores at ``path``; raises PresetError."""
    return validate(_parse(path.name, _read(path)), str(path))


def to_toml(preset: Preset, published: Preset | None = None) -> str:
    """Return ``preset`` as TOML with every value spelled out; loading it gives an equal preset.

    Where ``published``, the published setting, has another value, a comment gives it.
    """
    published_tables = None if published is None else published.tables()
    return "\n".join(_table_lines(preset.tables(), published_tables, "")).lstrip("\n") + "\n"


def _table_lines(section: dict[str, Any], published: dict[str, Any] | None, prefix: str) -> Iterator[str]:
    """Yield the lines of a table, its own values before the tables in it."""
    for key, value in section.items():
        if not isinstance(value, dict):
            other = value if published is None or not prefix else published.get(key)
            remark = "" if other == value else f"  # ours; published: {'unset' if other is None else _toml(other)}"
            yield f"{key} = {_toml(value)}{remark}"
    for name, inner in section.items():
        if isinstance(inner, dict):
            yield from ("", f"[{prefix}{name}]")
            yield from _table_lines(inner, None if published is None else published.get(name, {}), f"{prefix}{name}.")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)  # the shortest decimal that reads back as the same float; TOML accepts 1e-05
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        # JSON's escapes are valid TOML. It leaves these characters as they are, and a terminal obeys some of them.
        quoted = json.dumps(value, ensure_ascii=False)
        return re.sub("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]", lambda match: f"\\u{ord(match[0]):04x}", quoted)
    return str(value)


def _resolve(name: str) -> tuple[dict[str, Any], str]:
    """Return the tables of the preset ``name``, laid over those that it extends, and its label."""
    return _Lineage().tables_of(_find(name, None), ())


class _Lineage:
    """The reader of a preset and of all that it extends; a file that several presets extend is read once."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._files = 0

    def tables_of(self, source: _Source, below: tuple[str, ...]) -> tuple[dict[str, Any], str]:
        """Return the tables of ``source``, laid over those that it extends, and its label.

        ``below`` are the labels of the presets that led here, each of which extends the next.
        """
        if source.label in below:
            circle = " -> ".join(below[below.index(source.label) :])
            problem = f"Presets extend each other in a circle: {circle} -> {source.label}."
            raise PresetError(problem, "Remove one of the `extends` lines.")
        if len(below) > MOST_LEVELS:
            problem = f"{below[0]} extends presets over more than {MOST_LEVELS} levels."
            raise PresetError(problem, "Extend the preset with the values directly.")
        if source.label not in self._known:
            self._known[source.label] = self._merged_tables(source, (*below, source.label))
        return dict(self._known[source.label]), source.label

    def _merged_tables(self, source: _Source, lineage: tuple[str, ...]) -> dict[str, Any]:
        tables = dict(source.tables)
        parents = tables.pop("extends", None)
        inherited: dict[str, Any] = {}
        for name in [] if parents is None else _parents(parents, source.label):
            above, _ = self.tables_of(self._found(name, source.folder, lineage[0]), lineage)
            inherited = _laid_over(inherited, above)
        return _laid_over(inherited, tables)

    def _found(self, name: str, folder: Path | None, first: str) -> _Source:
        self._files += 1
        if self._files > MOST_FILES:
            raise PresetError(f"{first} extends more than {MOST_FILES} presets.", "Put their values into fewer files.")
        return _find(name, folder)


def _parents(extends: Any, label: str) -> list[str]:
    """Return the names in the ``extends`` of the preset ``label``; the values of later ones win."""
    names = [extends] if isinstance(extends, str) else extends
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        hint = 'Write, for example, extends = "default", or a list of names of which the later ones win.'
        raise PresetError(f"{label}: extends must be a name, or a list of names.", hint)
    return names


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the values of the preset ``above``."""
    return _merged(without_storage(below, dict(dotted(above))), above)


def without_storage(below: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` without the storage that it names, where ``changes``, by dotted key, make another sort of set.

    A budget chooses how the set is stored, and real clips are stored as they are: a preset that says how its learned
    set is stored shall stand in the way of neither. Of two ways, for stills and clips, a set that has one sort keeps
    its own; but one that leaves out pixels or frames is of a dynamic memory, and whole clips take ``WHOLE_CLIPS``. What
    the changes themselves name stays, and may be impossible.
    """
    storage, kind = below.get("storage"), KINDS.get(str(changes.get("synthetic.kind")))
    if not isinstance(storage, dict):
        return below
    if "storage.budget" in changes or (kind is not None and not kind.learned):
        kept = {key: value for key, value in storage.items() if key not in ("how", "learn_through", "every")}
        return {**below, "storage": kept}
    ways = str(storage.get("how", "")).split("+")
    sorts = {part.still for part in kind.parts if part.channels} if kind is not None else set()
    if len(ways) == 2 and len(sorts) == 1:
        clips = WHOLE_CLIPS if {"@", ":"} & set(ways[1]) else ways[1]
        return {**below, "storage": {**storage, "how": ways[0] if True in sorts else clips}}
    return below


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the values of ``above``; tables are merged key by key."""
    result = dict(below)
    for key, value in above.items():
        both_tables = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both_tables else value
    return result


def _find(name: str, folder: Path | None) -> _Source:
    if name.endswith(".toml") or "/" in name:
        # Normalised, so that a circle of presets is found by whatever paths they name each other.
        path = Path(os.path.normpath(Path(name) if folder is None else folder / name))
        return _Source(str(path), _parse(str(path), _read(path)), path.parent)
    entry = _shipped() / f"{name}.toml"
    if not re.fullmatch(r"[\w-]{1,100}", name) or not entry.is_file():
        near = difflib.get_close_matches(_short(name), preset_names(), n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise PresetError(
            f"There is no preset {_short(name)!r}.", hint + "`vdtui presets` lists them; FILE.toml works too."
        )
    return _Source(f"preset {name}", _parse(name, entry.read_text(encoding="utf-8")), None)


def _read(path: Path) -> str:
    shown = _short(str(path))
    try:
        return read_text(path)
    except OSError as error:
        raise PresetError(f"{shown} cannot be read: {error.strerror}.", "Check the path.") from error
    except UnfitFileError as error:
        raise PresetError(f"{shown} {error.reason}.", "A preset is a TOML file of some kilobytes.") from error
    except UnicodeDecodeError as error:
        raise PresetError(f"{shown} is not a text file.", "A preset is a TOML file in UTF-8.") from error
    except ValueError as error:
        raise PresetError(f"{shown!r} is no path: {error}.", "Check the path.") from error


def _short(text: str, most: int = 300) -> str:
    return text if len(text) <= most else text[:most] + "..."


def _parse(label: str, text: str) -> dict[str, Any]:
    try:
        return _toml_tables(text)
    except tomllib.TOMLDecodeError as error:
        raise PresetError(
            f"{label} is not valid TOML: {error}.", "Mend that line; `key = value`, text in quotes."
        ) from error
    except RecursionError as error:
        raise PresetError(
            f"{label} is nested too deeply.", "No value of a preset lies in more than two tables."
        ) from error
    except ValueError:
        return _parse(label, shortened(text))


def shortened(text: str) -> str:
    """Return ``text`` with each run of digits cut to 4,000, so that Python does not refuse to read a whole number.

    Only for a text that Python has refused: a number cut to 4,000 digits is still beyond every bound of the schema,
    so validation refuses the key that has it.
    """
    return re.sub(r"(\d[\d_]{3999})[\d_]+", r"\1", text)


def _toml_tables(text: str) -> dict[str, Any]:
    """Return the tables of ``text``; raises TOMLDecodeError, and RecursionError where they are nested too deeply."""
    if _LONG_KEY.search(text):
        raise RecursionError
    tables = tomllib.loads(text)
    if too_deep(tables):
        raise RecursionError
    return tables


def _override_items(overrides: Mapping[str, Any] | Iterable[str]) -> Iterator[tuple[str, Any]]:
    if isinstance(overrides, Mapping):
        yield from overrides.items()
        return
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not value.strip():
            raise PresetError(
                f"--set {text}: no value.", "Write --set section.key=value, for example dynamic.steps=100."
            )
        try:
            typed_value = parsed(value.strip())
        except RecursionError as error:
            problem = f"--set {_short(key.strip())}: the value is nested too deeply."
            raise PresetError(problem, "Write a number, a word, or a list of them.") from error
        yield key.strip(), typed_value


def parsed(text: str) -> Any:
    """Return ``text`` read as a TOML value, or as it is: a bare word needs no quotes on the command line."""
    try:
        return _toml_tables(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    except ValueError:
        return parsed(shortened(text))


def _set(tables: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    if len(sections) > MOST_PARTS:
        raise PresetError(f"--set {_short(key)}: unknown key.", "`vdtui presets default` shows all keys.")
    table = tables
    for name in sections:
        if not isinstance(table.get(name, {}), dict):
            raise PresetError(f"--set {key}: {name} is not a section.", _suggest(key))
        table[name] = table = dict(table.get(name, {}))
    table[last] = value


def keys(model: type[BaseModel] = Preset, prefix: str = "") -> list[str]:
    """Return all valid keys of ``model``, dotted, each with ``prefix`` before it."""
    dotted = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            dotted += keys(kind, f"{prefix}{name}.")
        else:
            dotted.append(prefix + name)
    return dotted


def _suggest(key: str) -> str:
    same_last_part = [valid for valid in keys() if valid.rpartition(".")[2] == key.rpartition(".")[2]]
    near = (
        difflib.get_close_matches(key, same_last_part, n=1, cutoff=0.5)
        or difflib.get_close_matches(key, keys(), n=1, cutoff=0.5)
        or same_last_part
    )
    return f"Did you mean {near[0]}?" if near else "`vdtui presets default` shows all keys."


def _explained(error: ValidationError, label: str) -> PresetError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        if isinstance(first["input"], dict) and first["input"]:  # the section does not exist
            key = f"{key}.{next(iter(first['input']))}"
        return PresetError(f"{label}: unknown key {key}.", _suggest(key))
    message = first["msg"].removeprefix("Value error, ")
    if not key:
        return PresetError(f"{label}: {message}.", "Change one of these values.")
    if first["type"] == "value_error":  # ``key`` is a table, whose keys contradict each other
        names = "|".join(_model_at(key).model_fields)
        dotted = re.sub(rf"(?<![\w.])({names})\b", rf"{key}.\1", message)
        return PresetError(f"{label}: {dotted}.", "Change one of these values.")
    given = _shown(first.get("input"))
    return PresetError(f"{label}: {key} = {given}: {message[:1].lower()}{message[1:]}.", _expectation(key))


def _shown(value: Any) -> str:
    """Return ``value`` as JSON, of which a message shows no more than the beginning."""
    try:
        text = json.dumps(value, default=str)
    except ValueError:
        return "a number of thousands of digits"  # written in hex, octal or binary, where Python reads any length
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _expectation(key: str) -> str:
    section, _, last = re.sub(r"(\.\d+)+$", "", key).rpartition(".")
    fields = _model_at(section).model_fields
    described = fields[last].description if last in fields else None
    return f"{key} is: {described}." if described else "`vdtui presets default` shows all keys with their values."


def _model_at(section: str) -> type[BaseModel]:
    """Return the model of the dotted ``section``, or of the nearest section above it that exists."""
    model: type[BaseModel] = Preset
    for name in filter(None, section.split(".")):
        kind = model.model_fields[name].annotation if name in model.model_fields else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            break
        model = kind
    return model
