"""Real clips for the dashboard, fetched by a process of their own.

The dashboard reads no HDF5 (and imports nothing that does): it asks `vdtui data`, which checks the file, and shows what
that says. A damaged file can so cost it a message, and never its life.
"""

from __future__ import annotations

import tempfile
import threading
import tomllib
from dataclasses import dataclass
from pathlib import Path

from engine.runs import RunDirectory
from vdtui.tui.commands import run_module
from vdtui.tui.previews import Preview, PreviewError, load_preview

PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class ClipsAnswer:
    """The facts of a clips file: ``text`` about it and clips to play, or only the ``text`` of what is wrong."""

    text: str
    preview: Preview | None


def clips_file(run: RunDirectory) -> Path | None:
    """The clips file of ``run``: that of its preset, or the demo's beside the runs; None if there is none yet."""
    dataset = _dataset(run)
    if dataset is None:
        return None
    named = dataset.get("path")
    if isinstance(named, str):
        return Path(named)
    made = sorted((run.path.parent / ".data").glob("demo-*.h5"), key=lambda path: path.stat().st_mtime)
    return made[-1] if made else None


class RealClips:
    """The clips of a run's data file, asked for once and kept; ``preview`` may take long, so call it in a thread."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._file: Path | None = None
        self._found: Preview | None = None
        self._guard = threading.Lock()

    def preview(self) -> Preview | None:
        """Random real clips of every class, or None where there is no file or it cannot be read."""
        with self._guard:
            file = clips_file(self._run)
            if file is not None and file != self._file:
                self._found = ask(file).preview
                self._file = file if self._found is not None else None
            return self._found


def frame_interval(run: RunDirectory) -> int:
    """Return the interval of the frames of ``run`` in their videos, as the preset says; 0 if it does not."""
    interval = (_dataset(run) or {}).get("interval")
    return interval if isinstance(interval, int) and not isinstance(interval, bool) and interval > 0 else 0


def _dataset(run: RunDirectory) -> dict[str, object] | None:
    try:
        found = tomllib.loads(run.preset_file.read_text(encoding="utf-8")).get("dataset", {})
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else {}


def ask(file: Path) -> ClipsAnswer:
    """Ask `vdtui data` about ``file``; takes as long as that takes, so call it in a thread."""
    with tempfile.TemporaryDirectory(prefix="vdtui-") as folder:
        done = run_module(
            "vdtui.cli.main", "data", f"--preview={folder}/clips.npz", "--", str(file), patience=PATIENCE_SECONDS
        )
        if done.code != 0:
            return ClipsAnswer(done.said, None)
        try:
            return ClipsAnswer(done.out, load_preview(Path(folder), "clips.npz"))
        except PreviewError as error:
            return ClipsAnswer(f"{done.out}\n{error}", None)
