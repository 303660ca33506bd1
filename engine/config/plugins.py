"""Networks and objectives that are not ours: by address, ``mypackage.nets:Net``, or by the name of an entry point.

Nothing of the package is edited for them. An address runs the code of the module that it names, from where Python finds
modules, or from the folder in which the command was given; so a preset with one is as much as a program.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from engine.errors import UsageError
from engine.text import one_line

NETWORKS, OBJECTIVES = "vdtui.networks", "vdtui.objectives"
"""The groups of entry points by which an installed package offers its own."""
FOLDER = "VDTUI_PLUGINS"
"""The environment variable with the folder in which modules are looked for last; workers get it from the command."""
_ADDRESS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_address(text: object) -> bool:
    """Return whether ``text`` has the form ``module:Class``."""
    return isinstance(text, str) and _ADDRESS.fullmatch(text) is not None


@cache
def offered(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of installed packages in ``group``, by name; of several of one name the first counts."""
    found: dict[str, EntryPoint] = {}
    for each in entry_points(group=group):
        found.setdefault(each.name, each)
    return found


def load(address: str) -> Any:
    """Return what ``address``, ``module:Class``, names. Raises UsageError if it is not there, or its module fails."""
    os.environ.setdefault(FOLDER, os.getcwd())  # workers, which live elsewhere, look there too
    module, _, name = address.partition(":")
    loaded = _module(module, address)
    try:
        return getattr(loaded, name)
    except AttributeError as error:
        classes = [each for each, value in vars(loaded).items() if isinstance(value, type)]
        hint = f"It has {one_line(', '.join(sorted(classes)[:8]))}." if classes else "It has no classes."
        raise UsageError(f"The module {module} has no {name}.", hint) from error


def _module(module: str, address: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise _failed(module, error) from error
    except Exception as error:
        raise _failed(module, error) from error
    folder = os.environ[FOLDER]
    if folder not in sys.path:
        sys.path.append(folder)  # last: a folder of the user's that is named like a library must not win
        importlib.invalidate_caches()
        return _module(module, address)
    problem = f"There is no module {module} for {one_line(address)}."
    raise UsageError(problem, f"Install its package, or put it into {one_line(folder)} or on PYTHONPATH.")


def _failed(module: str, error: Exception) -> UsageError:
    reason = one_line(f"{type(error).__name__}: {error}")[:200]
    hint = f"Mend it; `python -c 'import {module}'` shows where it fails."
    return UsageError(f"The module {module} cannot be imported: {reason}.", hint)
