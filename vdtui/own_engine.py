"""`engine` means the package beside this one in every process that imports `vdtui`, whatever else has that name.

Theirs is a common name: a user's own engine.py in the working directory or on PYTHONPATH comes before an installed
package. Without this, `vdtui` would end there with an ImportError about a module that is none of ours.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

OWN = Path(__file__).parent.parent / "engine"
"""The folder of the package `engine` of this installation, or of this checkout."""
ALIAS = "vdtui.engine."
"""The beginning of the second names of its modules."""


def take_own_engine() -> None:
    """Import `engine` from ``OWN``, and let `vdtui.engine` and what is in it name the same modules.

    Raises ImportError if this process has imported another module of that name before.
    """
    init = OWN / "__init__.py"
    loaded = sys.modules.get("engine")
    if loaded is None:
        _load(init)
    elif not _is(loaded, init):
        raise ImportError(
            f"vdtui needs its own module `engine`, but another one is imported already: {_place(loaded)}. "
            "Rename that one, or do not import it in a process that imports vdtui."
        )
    if not any(isinstance(finder, _Alias) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Alias())


def _load(init: Path) -> None:
    spec = importlib.util.spec_from_file_location("engine", init, submodule_search_locations=[str(OWN)])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["engine"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["engine"]
        raise


def _is(module: ModuleType, init: Path) -> bool:
    file = getattr(module, "__file__", None)
    try:
        return file is not None and os.path.samefile(file, init)
    except OSError:
        return False


def _place(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or ", ".join(getattr(module, "__path__", ())) or repr(module)


class _Alias(MetaPathFinder, InspectLoader):
    """The finder of `vdtui.engine.NAME`: it is the module `engine.NAME`, and no second copy of its file."""

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return how to import ``fullname``, or None if it is no second name of a module of ours."""
        if not fullname.startswith(ALIAS):
            return None
        real = importlib.util.find_spec(_real(fullname))
        if real is None:
            return None
        return ModuleSpec(fullname, self, origin=real.origin, is_package=real.submodule_search_locations is not None)

    def exec_module(self, module: ModuleType) -> None:
        """Put the module itself in the place of the new, empty one."""
        sys.modules[module.__name__] = importlib.import_module(_real(module.__name__))

    def get_code(self, fullname: str) -> CodeType | None:
        """Return its code, for `python -m vdtui.engine.worker`."""
        real = importlib.util.find_spec(_real(fullname))
        assert real is not None and isinstance(real.loader, InspectLoader)
        return real.loader.get_code(_real(fullname))

    def get_source(self, fullname: str) -> None:
        """Return None; the code has the path of the file."""


def _real(alias: str) -> str:
    return alias.removeprefix("vdtui.")
