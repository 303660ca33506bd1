"""The engine from Python: what `from engine import ...` gives a notebook or a script."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from engine.config import Preset
from engine.events import Event
from engine.runs import RunDirectory
from engine.runs.new import new_run


def run_distillation(
    preset: Preset,
    data: str | Path | None = None,
    *,
    runs_dir: str | Path | None = None,
    name: str | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> RunDirectory:
    """Distil in this process and return the finished run's directory.

    ``on_event`` is called with every event (``engine.events``). After Ctrl+C (KeyboardInterrupt) the last
    checkpoint counts; `vdtui resume` or ``resume_distillation`` goes on from it. Raises VdtuiError.
    """
    folder = None if runs_dir is None else Path(runs_dir)
    run = new_run(preset, data, folder, name, re.sub(r"[^\w.+=-]+", "-", preset.title).strip("-.") or "run", sys.argv)
    return resume_distillation(run, on_event=on_event)


def resume_distillation(run: RunDirectory, *, on_event: Callable[[Event], None] | None = None) -> RunDirectory:
    """Go on with ``run`` in this process, as ``run_distillation`` does."""
    from engine.distilling.process import carry_out

    carry_out(run, *([on_event] if on_event is not None else []))
    return run
