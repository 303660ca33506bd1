"""`python -m vdtui.stored RUN FOLDER`: a preview of the set that is stored in a run, as its file decodes, into FOLDER.

For the dashboard, which starts without torch: the gallery shows what a codec has made of what was learned. Prints the
name of the preview (``stored-STEP.npz``).
"""

from __future__ import annotations

import sys
from pathlib import Path

from engine.errors import VdtuiError
from engine.runs import RunDirectory


def main() -> int:
    """The process's entry point."""
    run, folder = RunDirectory(Path(sys.argv[1])), Path(sys.argv[2])
    from engine.distilling.previews import save_preview
    from engine.synthetic import load_set

    try:
        loaded = load_set(run.best)
        print(save_preview(folder, "stored", loaded.provenance.step, loaded.synthetic))  # noqa: T201
    except VdtuiError as error:
        print(f"error: {error.problem}\nhint: {error.hint}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
