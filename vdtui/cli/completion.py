"""The words that a shell completes: names of runs and presets, and keys of a preset. `vdtui --install-completion`."""

from __future__ import annotations

import typer


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """The names of runs that begin with ``incomplete``, in the folder that the command line names so far."""
    from engine.errors import VdtuiError
    from engine.runs import list_runs, runs_folder

    try:
        directories = list_runs(runs_folder(context.params.get("runs_dir")))
    except (VdtuiError, OSError):
        return []
    return sorted(run.name for run in directories if run.name.startswith(incomplete))


def presets(incomplete: str) -> list[str]:
    """The names of presets that begin with ``incomplete``."""
    from engine.config import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def keys(incomplete: str) -> list[str]:
    """The keys of a preset that begin with ``incomplete``, each with the ``=`` that a value follows."""
    from engine.config import keys as all_keys

    return [f"{key}=" for key in all_keys() if "." in key and key.startswith(incomplete)]
