"""Folders of videos as the dashboard knows them: it asks a process of its own (``vdtui.sources``), and opens none."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.config.schema import DatasetSection
from engine.data.layouts.base import Layout
from vdtui.tui.commands import run_module
from vdtui.tui.form import FormField

PATIENCE_SECONDS = 120
RECOGNISED = "recognised"
"""The choice of whatever layout the folder looks like."""


@dataclasses.dataclass(frozen=True)
class FoundVideos:
    """A folder, or a table, that looks like videos of ``layout``."""

    path: str
    layout: str
    title: str


def find_videos(folders: Sequence[Path]) -> list[FoundVideos]:
    """Return what in ``folders`` looks like videos; takes a moment, so call it in a thread."""
    done = run_module("vdtui.sources", "find", *map(str, folders), patience=PATIENCE_SECONDS)
    try:
        return [FoundVideos(str(one["path"]), str(one["layout"]), str(one["title"])) for one in json.loads(done.out)]
    except (ValueError, TypeError, KeyError):
        return []


def look(wish: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a prepare of ``wish`` would read, or its ``problem`` and ``hint``; call it in a thread."""
    done = run_module("vdtui.sources", "look", json.dumps(dict(wish)), patience=PATIENCE_SECONDS)
    try:
        found = json.loads(done.out)
        return found if isinstance(found, dict) else {"problem": done.problem, "hint": ""}
    except ValueError:
        return {"problem": done.problem or "The folder could not be looked at.", "hint": ""}


def wanted_first(found: Sequence[FoundVideos], wanted: DatasetSection) -> FoundVideos | None:
    """Return the videos that a preset is for; of a preset for any data, the first ones."""
    same = [one for one in found if one.layout == wanted.layout]
    if same:
        return same[0]
    return found[0] if found and wanted.layout is None else None


def fields(layouts: Mapping[str, Layout]) -> list[FormField]:
    """Return the fields of a prepare."""
    names = (RECOGNISED, *(name for name in layouts if name != "demo"))

    def field(key: str, help: str, kind: type = int, choices: tuple[str, ...] = (), optional: bool = True) -> FormField:
        return FormField(key, help, kind, choices, optional, False)

    return [
        field("source", "the folder of the videos, a folder for each class; or a table of them", str, (), False),
        field("layout", "how the videos lie", str, names, False),
        field("output", "the clips file that is written; unset: the data set's name, here", str),
        field("frames", "frames of a clip; unset: as published, else 16"),
        field("size", "height and width in pixels; unset: as published, else 112"),
        field("interval", "every N-th frame; unset: as published, else 4"),
        field("fps", "frames a second instead, whatever the video's own rate is", float),
        field("uniform", "frames evenly from the whole video instead", bool, ("false", "true"), False),
        field("clips_per_video", "clips of each video; unset: 1"),
        field("resize", "how frames become square", str, ("published", "pad", "centre-crop", "shorter-side"), False),
        field("test_fraction", "share for testing, where the data have no split; unset: 0.3", float),
        field("split", "which of the data set's official splits; unset: 1"),
        field("max_skipped", "percent of videos that may be unusable", float, (), False),
    ]


DEFAULTS = {"layout": RECOGNISED, "uniform": "false", "resize": "published", "max_skipped": "5"}


def wish_of(texts: Mapping[str, str], known: Sequence[FormField]) -> tuple[dict[str, Any], str, str]:
    """Read what was typed; the key and the problem of the first text that is no value, or two empty ones."""
    wish: dict[str, Any] = {}
    for field in known:
        text = texts.get(field.key, "").strip()
        if field.key == "layout":
            wish["layout"] = None if text == RECOGNISED else text
            continue
        if not text:
            if not field.optional:
                return wish, field.key, "needed"
            continue
        try:
            wish[field.key] = text == "true" if field.kind is bool else field.kind(text)
        except ValueError:
            return wish, field.key, "a number, please"
    return wish, "", ""


def command(wish: Mapping[str, Any], layout: str) -> str:
    """Return the command that makes the same clips file without the dashboard."""
    words = ["vdtui", "prepare", layout]
    for key, value in wish.items():
        option = f"--{key.replace('_', '-')}"
        if key == "layout" or value == DEFAULTS.get(key) or (key == "max_skipped" and value == 5):
            continue
        if isinstance(value, bool):
            words += [option] if value else []
        else:
            words += [option, str(value)]
    return shlex.join(words)
