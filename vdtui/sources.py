"""`python -m vdtui.sources`: folders of videos, looked at and made into a clips file, for the dashboard.

``find FOLDER...`` prints, as one JSON list, what in these folders looks like videos; ``look JSON`` what a prepare would
read; ``prepare JSON`` does it and prints a line of JSON for each step: ``done``, ``total`` and ``video``, at the end
``summary``, or ``problem``. JSON is an object of the fields of ``Wish``. The dashboard itself opens no video.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.data.layouts import LAYOUTS, LayoutOptions, Listing, list_videos, recognised
from engine.data.prepare import PrepareSummary
from engine.data.prepare import prepare as engine_prepare
from engine.data.recipe import choose_placement, choose_sampling, default_output
from engine.data.sampling import Sampling
from engine.errors import UsageError, VdtuiError
from engine.machine.cores import usable_cores

MOST_FOUND = 12
MOST_LOOKED_AT = 200
SECONDS_BETWEEN = 0.25
MOST_WORKERS = 8


@dataclass(frozen=True)
class Wish:
    """The wishes of a user for a clips file; None is the layout's default."""

    source: str
    layout: str | None = None
    output: str | None = None
    frames: int | None = None
    size: int | None = None
    interval: int | None = None
    fps: float | None = None
    uniform: bool = False
    clips_per_video: int | None = None
    resize: str = "published"
    test_fraction: float | None = None
    split: int | None = None
    max_skipped: float = 5.0

    def listing(self) -> Listing:
        """List the videos; raises VdtuiError if the folder is not of the layout, or of none."""
        path = Path(self.source).expanduser()
        layout = self.layout or getattr(recognised(path), "name", None)
        if layout is None:
            problem = f"{self.source} does not look like videos of any layout."
            raise UsageError(problem, "Put the videos of each class into a folder of its own.")
        options = LAYOUTS[layout].options if layout in LAYOUTS else frozenset()
        split = self.split if "split" in options else None
        test_fraction = self.test_fraction if "test_fraction" in options else None
        return list_videos(layout, path, LayoutOptions(test_fraction, split))

    def sampling(self, layout: str) -> Sampling:
        """Return how clips are taken from videos; raises UsageError."""
        return choose_sampling(
            LAYOUTS[layout],
            frames=self.frames,
            size=self.size,
            interval=self.interval,
            fps=self.fps,
            uniform=self.uniform,
            train=choose_placement(None, self.clips_per_video, None),
            resize=self.resize,  # type: ignore[arg-type]
        )

    def file(self, listing: Listing) -> Path:
        """Return the file to write."""
        given = default_output(listing.dataset, listing.official_split) if self.output is None else Path(self.output)
        return given.expanduser()


def find(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the folders and tables in ``folders`` that look like videos, with the layout that each looks like."""
    found: dict[Path, dict[str, Any]] = {}
    for folder in folders:
        try:
            inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except OSError:
            continue
        for path in inside[:MOST_LOOKED_AT]:
            layout = recognised(path) if path.is_dir() else None
            if layout is not None and path.resolve() not in found:
                found[path.resolve()] = {"path": str(path), "layout": layout.name, "title": layout.title}
    return list(found.values())[:MOST_FOUND]


def look(wish: Wish) -> dict[str, Any]:
    """Return what a prepare would read and write."""
    listing = wish.listing()
    sampling, output = wish.sampling(listing.layout), wish.file(listing)
    videos: dict[str, int] = {}
    for video in listing.videos:
        videos[video.split] = videos.get(video.split, 0) + 1
    numbers = [sampling.placement(video.split).number or 1 for video in listing.videos]
    return {
        "layout": listing.layout,
        "title": LAYOUTS[listing.layout].title,
        "classes": len(listing.classes),
        "videos": videos,
        "rejected": len(listing.rejected),
        "missing": len(listing.missing),
        "notes": list(listing.notes),
        "frames": sampling.frames,
        "size": sampling.size,
        "bytes": sum(numbers) * 3 * sampling.frames * sampling.size**2,
        "output": str(output),
        "exists": output.exists(),
    }


def prepare(wish: Wish, tell: Callable[[dict[str, Any]], None]) -> PrepareSummary:
    """Make the clips file, and ``tell`` how far it is."""
    last = 0.0

    def progress(done: int, total: int, name: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN or done == total:
            last = now
            tell({"done": done, "total": total, "video": name})

    listing = wish.listing()
    return engine_prepare(
        listing,
        wish.file(listing),
        wish.sampling(listing.layout),
        workers=min(MOST_WORKERS, usable_cores()),
        max_skipped_percent=wish.max_skipped,
        progress=progress,
    )


def main() -> int:
    """The process's entry point."""
    what, *arguments = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if what == "find":
        _tell(find([Path(name) for name in arguments]))
        return 0
    try:
        wish = Wish(**json.loads(arguments[0]))
        if what == "look":
            _tell(look(wish))
        else:
            summary = prepare(wish, _tell)
            _tell({"summary": {**asdict(summary), "path": os.fspath(summary.path)}})
    except VdtuiError as error:
        _tell({"problem": error.problem, "hint": error.hint})
        return 1
    return 0


def _tell(document: Any) -> None:
    print(json.dumps(document), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
