"""The layouts that `prepare` knows, by name. A new one is a module beside this and a line in ``LAYOUTS``."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from engine.data.layouts import folders, hmdb51, kinetics400, ssv2, table, ucf101
from engine.data.layouts.base import Layout, LayoutOptions, Listing, VideoEntry
from engine.data.layouts.expected import WrongSourceError
from engine.data.layouts.official import SPLITS_EACH
from engine.errors import DataError, UsageError
from engine.text import one_line

__all__ = ["LAYOUTS", "Layout", "LayoutOptions", "Listing", "VideoEntry", "list_videos", "recognised"]

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        hmdb51.LAYOUT,
        ucf101.LAYOUT,
        ucf101.MINI,
        kinetics400.LAYOUT,
        ssv2.LAYOUT,
        folders.LAYOUT,
        table.LAYOUT,
        folders.DEMO,
    )
}

_MAY_BE_MEANINGLESS = ("test_fraction", "split", "unused", "annotations")
"""Options that are None unless a user gave them."""


def recognised(source: Path) -> Layout | None:
    """Return the layout that ``source`` looks like, that of a published data set before others; a quick look only."""
    found = [layout for layout in LAYOUTS.values() if layout.fits(source)]
    return next((layout for layout in found if layout.home is not None), found[0] if found else None)


def list_videos(layout: str, source: Path, options: LayoutOptions | None = None) -> Listing:
    """List the videos under ``source``.

    Raises :class:`UsageError` for a layout that does not exist or an option that means nothing to it, and
    :class:`DataError` where ``source`` does not look like that layout.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"There is no layout named {layout!r}.", f"Choose one of: {', '.join(LAYOUTS)}.")
    options = options or LayoutOptions()
    chosen = LAYOUTS[layout]
    _check_options(chosen, options)
    try:
        with _collector_paused():
            listing = chosen.list_videos(source, options)
    except WrongSourceError as error:
        raise DataError(error.problem, _add_likeness(error.hint, chosen, source), error.details) from error
    return replace(listing, notes=(*listing.notes, *_likeness_notes(chosen, source)))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Millions of small objects are made and kept, without cycles; the collector would look through them all again and
    again, a third of the time that listing 240,000 videos takes."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _check_options(layout: Layout, options: LayoutOptions) -> None:
    for name in _MAY_BE_MEANINGLESS:
        if getattr(options, name) is not None and name not in layout.options:
            readers = ", ".join(other.name for other in LAYOUTS.values() if name in other.options)
            raise UsageError(
                f"--{name.replace('_', '-')} means nothing to {layout.name}.", f"Leave it out; it is for {readers}."
            )
    if options.split is not None and not 1 <= options.split <= SPLITS_EACH:
        raise UsageError(f"{layout.title} has no split {options.split}.", f"Give --split 1 to {SPLITS_EACH}.")


def _likeness_notes(layout: Layout, source: Path) -> list[str]:
    """A word to whom is about to make a split of an official data set that has one."""
    if layout is not folders.LAYOUT:
        return []
    likeness = next((other for other in LAYOUTS.values() if other.home is not None and other.fits(source)), None)
    return [] if likeness is None else [f"{_looks_like(likeness, source)} uses its official split."]


def _add_likeness(hint: str, layout: Layout, source: Path) -> str:
    """``hint``, and which other data set the folder looks like, if it does."""
    for other in LAYOUTS.values():
        same_data = other is layout or (other.home is not None and other.home == layout.home)
        if not same_data and other.fits(source):
            return f"{hint} {_looks_like(other, source)}"
    return hint


def _looks_like(layout: Layout, source: Path) -> str:
    command = f"vdtui prepare {layout.name} --source {one_line(shlex.quote(str(source)))}"
    return f"It looks like {layout.title}: {command}"
