"""`python -m vdtui.headers PRESET FILE.h5...`: what clips files are, and whether a preset takes them.

For the dashboard, which reads no HDF5 itself: a damaged file, or a library that fails on one, costs it a message.
PRESET is all of its values as JSON. Prints one JSON list: for each file its facts, or under ``problem`` why it will
not do.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from engine.config import Preset
from engine.data.check import open_checked
from engine.data.recipe import other_data
from engine.data.store import ClipStore
from engine.errors import VdtuiError


def facts(path: Path, wanted: Preset) -> dict[str, Any]:
    """The header of the clips file ``path``; ``problem`` is empty if ``wanted`` takes it.

    ``warning`` says that it does, but that it is for other data.
    """
    found: dict[str, Any] = {"path": str(path), "problem": "", "warning": ""}
    try:
        with ClipStore.open(path) as store:
            found |= {
                "dataset": store.dataset,
                "classes": len(store.classes),
                "frames": store.frames,
                "size": store.height,
                "bytes": path.stat().st_size,
                "has_val": "val" in store.splits,
                "warning": other_data(wanted.dataset, store.layout, len(store.classes)),
            }
        open_checked(path, wanted).close()
    except VdtuiError as error:
        found["problem"] = f"{error.problem} {error.hint}"
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # HDF5 raises all of these on rubbish
        found["problem"] = f"{path} cannot be read: {error}"
    return found


def main() -> int:
    """The process's entry point."""
    wanted = Preset.model_validate(json.loads(sys.argv[1]))
    print(json.dumps([facts(Path(name), wanted) for name in sys.argv[2:]]))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
