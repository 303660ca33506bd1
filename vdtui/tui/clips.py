"""Real clips for the dashboard, fetched by a process of their own.

The dashboard reads no HDF5 (and imports nothing that does): it asks `vdtui data`, which checks the file, and shows what
that says. A damaged file can so cost it a message, and never its life.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import tomllib
from dataclasses import dataclass
from pathlib import Path

import vdtui
from engine.runs import RunDirectory
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
        out, problems = Path(folder) / "out", Path(folder) / "problems"
        command = [sys.executable, "-m", "vdtui.cli.main", "data", f"--preview={folder}/clips.npz", "--", str(file)]
        home = Path(str(vdtui.__file__)).parent.parent
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")])}
        with out.open("wb") as stdout, problems.open("wb") as stderr:  # files: never the screen's own
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    env=environment,
                    timeout=PATIENCE_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return ClipsAnswer(f"Reading {file} took longer than {PATIENCE_SECONDS} s.", None)
        if done.returncode != 0:
            return ClipsAnswer(problems.read_text(encoding="utf-8", errors="replace").strip(), None)
        text = out.read_text(encoding="utf-8", errors="replace")
        try:
            return ClipsAnswer(text, load_preview(Path(folder), "clips.npz"))
        except PreviewError as error:
            return ClipsAnswer(f"{text}\n{error}", None)
