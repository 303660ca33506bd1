"""`vdtui presets`: list, show, validate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vdtui.cli import completion
from vdtui.cli.options import Json, human_bytes, note, print_json, print_table

if TYPE_CHECKING:
    from engine.config import Preset


def presets(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="Show this preset with every value.",
            autocompletion=completion.presets,
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="List the published settings (-published) too.")] = False,
    check: Annotated[Path | None, typer.Option(metavar="FILE", help="Validate a preset file of your own.")] = None,
    json: Json = False,
) -> None:
    """List the presets, show one resolved, or validate a file.

    NAME has the rates that we recommend; NAME-published, where there is one, has the published ones, and what differs
    is marked.

    Example: vdtui presets demo > mine.toml

    Example: vdtui presets --check mine.toml
    """
    from engine.config import is_published, load_preset, preset_names, published_twin, to_toml

    if check is not None:
        load_preset(check if check.suffix == ".toml" else Path(f"./{check}"))
        note(f"{check} is a valid preset.")
        return
    if name is not None:
        resolved = load_preset(name)
        if json:
            print_json(resolved.tables())
        else:
            typer.echo(to_toml(resolved, published_twin(name)), nl=False)
        return
    by_name = {each: load_preset(each) for each in preset_names()}
    if json:
        print_json(
            [
                {
                    "name": each,
                    "published_setting": is_published(each),
                    "stored_bytes": _bytes(preset),
                    **preset.tables(),
                }
                for each, preset in by_name.items()
            ]
        )
        return
    print_table(
        ["preset", "data", "method", "ipc", "stored", "what it is"],
        [_row(*item) for item in by_name.items() if all_ or not is_published(item[0])],
        right=(3, 4),
        least_needed=("what it is", "stored", "ipc"),
    )
    hidden = 0 if all_ else sum(map(is_published, by_name))
    if hidden:
        note(f"{hidden} more, NAME-published, have the published settings: --all lists them.")


def _row(name: str, preset: Preset) -> list[str]:
    stage = preset.dynamic if "dynamic" in preset.stages else preset.static
    published = f" Published, unchecked: {preset.published}." if preset.published else ""
    return [
        name,
        preset.dataset.layout or "any",
        f"{preset.synthetic.kind}, {stage.objective}",
        str(preset.synthetic.ipc),
        _stored(preset),
        preset.description + published,
    ]


def _stored(preset: Preset) -> str:
    """Say the bytes of a set of the preset, or the codec that decides them."""
    from engine.config.size import storage_words
    from engine.config.storage import PLAIN

    if preset.storage.budget is not None or preset.storage.how not in PLAIN:
        return storage_words(preset)
    size = _bytes(preset)
    return "-" if size is None else human_bytes(size)


def _bytes(preset: Preset) -> int | None:
    """Bytes of the synthetic set, where the preset says of which data, and no codec stores it."""
    from engine.config.size import plain_bytes, stored_values
    from engine.data.recipe import OFFICIAL_CLASSES

    table = preset.dataset
    classes = OFFICIAL_CLASSES.get(table.layout or "")
    if classes is None or table.frames is None or table.size is None:
        return None
    return plain_bytes(preset, stored_values(preset.synthetic, classes, table.frames, table.size))
