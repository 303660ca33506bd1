"""From what is wanted to the `prepare` command that makes it, and the other way round.

A preset names a layout and a clip shape; `prepare` has defaults per layout, as published. Both meet here, so that the
command which a message tells the user to type is one that makes a file which the preset then accepts.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from engine.config.schema import DatasetSection
from engine.data.layouts import LAYOUTS, Layout
from engine.data.sampling import Placement, Resize, Sampling, Spacing, Where
from engine.errors import UsageError

DEMO = "demo"
OFFICIAL_CLASSES = {"hmdb51": 51, "ucf101": 101, "miniucf101": 50, "kinetics400": 400, "ssv2": 174, DEMO: 8}
"""The numbers of classes of the official data sets; for sizes that are told before any data is there."""


def choose_sampling(
    layout: Layout,
    *,
    frames: int | None = None,
    size: int | None = None,
    interval: int | None = None,
    fps: float | None = None,
    uniform: bool = False,
    train: Placement | None = None,
    test: Placement | None = None,
    resize: Resize = "published",
    seed: int = 0,
    folder_fps: float | None = None,
) -> Sampling:
    """Return the user's choices, and the published ones of the layout where there are none. Raises UsageError."""
    if sum((interval is not None, fps is not None, uniform)) > 1:
        raise UsageError("--interval, --fps and --uniform exclude each other.", "Give one of them.")
    if interval is None and fps is None and not uniform:
        fps, uniform = layout.fps, layout.uniform
    spacing: Spacing = "uniform" if uniform else "interval" if fps is None else "fps"
    train = train or Placement()
    return Sampling(
        frames=layout.frames if frames is None else frames,
        size=layout.size if size is None else size,
        interval=(layout.interval if interval is None else interval) if spacing == "interval" else 1,
        fps=fps,
        spacing=spacing,
        train=train,
        test=test or train,
        resize=resize,
        seed=seed,
        folder_fps=folder_fps,
    )


def choose_placement(where: Where | None, number: int | None, stride: int | None) -> Placement | None:
    """The placement that three options describe; None if none of them was given. Raises UsageError."""
    if where is None and number is None and stride is None:
        return None
    where = where or ("uniform" if stride is None else "sliding")
    return Placement(where, (1 if number is None else number) if where != "sliding" else number, stride)


def default_output(dataset: str, official_split: int | None) -> Path:
    """The name of a clips file that was given none: that of the data set, and of its split but for the first."""
    split = f"-split{official_split}" if official_split is not None and official_split > 1 else ""
    return Path(f"{dataset.replace('/', '-')}{split}.h5")


def default_file(wanted: DatasetSection) -> Path | None:
    """The clips file that a preset's data set has if `prepare` was run in this folder; None if it names no data set."""
    if wanted.layout is None or wanted.layout == DEMO:
        return None
    return default_output(wanted.layout, wanted.split)


def prepare_command(wanted: DatasetSection, source: str = "DIR", found: str = "LAYOUT") -> str:
    """The command that makes the clips file which ``wanted`` asks for.

    ``source`` are the videos, and ``found`` their layout, where these are known.
    """
    place = source if source == "DIR" else shlex.quote(source)
    layout = LAYOUTS.get(wanted.layout or found)
    if layout is None:
        return f"vdtui prepare LAYOUT --source {place} --output FILE.h5"
    return " ".join([f"vdtui prepare {layout.name} --source {place}", *_options(wanted, layout)])


def other_data(wanted: DatasetSection, layout: str, classes: int) -> str:
    """Say that a clips file of ``layout`` with so many ``classes`` is of other data than ``wanted`` names; else ""."""
    expected = wanted.layout
    if expected is None:
        return ""
    number = OFFICIAL_CLASSES.get(expected)
    if layout != expected:
        return f"the preset is for {expected}, and these clips were prepared as {layout}"
    if number is not None and classes != number:
        return f"the preset is for {expected} with {number} classes, and these clips have {classes}"
    return ""


def _options(wanted: DatasetSection, layout: Layout) -> Iterator[str]:
    """The options in which ``wanted`` differs from what `prepare` does by itself."""
    for name, value, default in (
        ("split", wanted.split, 1),
        ("frames", wanted.frames, layout.frames),
        ("size", wanted.size, layout.size),
    ):
        if value is not None and value != default:
            yield f"--{name} {value}"
    published = layout.interval if layout.fps is None and not layout.uniform else 0
    if wanted.interval is not None and wanted.interval != published:
        yield f"--interval {wanted.interval}"


def where_from(wanted: DatasetSection) -> str | None:
    """A sentence that says where the data set comes from, if it has a home."""
    layout = LAYOUTS.get(wanted.layout or "")
    return None if layout is None or layout.home is None else f"{layout.title} is at {layout.home}"
