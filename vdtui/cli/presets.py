"""`vdtui presets`: list, show, validate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vdtui.cli.options import Json, note, print_json, print_table


def presets(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this preset with every value.")] = None,
    check: Annotated[Path | None, typer.Option(metavar="FILE", help="Validate a preset file of your own.")] = None,
    json: Json = False,
) -> None:
    """List the presets, show one resolved, or validate a file.

    Example: vdtui presets demo > mine.toml

    Example: vdtui presets --check mine.toml
    """
    from engine.config import load_preset, preset_names, to_toml

    if check is not None:
        load_preset(check if check.suffix == ".toml" else Path(f"./{check}"))
        note(f"{check} is a valid preset.")
        return
    if name is not None:
        chosen = load_preset(name)
        if json:
            print_json(chosen.tables())
        else:
            typer.echo(to_toml(chosen), nl=False)
        return
    found = {each: load_preset(each) for each in preset_names()}
    if json:
        print_json([{"name": each, **preset.tables()} for each, preset in found.items()])
        return
    rows = [
        [each, preset.synthetic.kind, str(preset.synthetic.ipc), preset.description] for each, preset in found.items()
    ]
    print_table(["preset", "kind", "ipc", "what it is"], rows, right=(2,))
