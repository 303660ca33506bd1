"""Requests of a screen to the application, which alone knows all screens: a screen that opened another would import it,
and two that open each other would import in a circle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.message import Message

from engine.runs import RunDirectory

if TYPE_CHECKING:
    from engine.config.schema import DatasetSection
    from vdtui.tui.form import Form


@dataclasses.dataclass
class OpenRun(Message):
    """Show the screen of ``run``."""

    run: RunDirectory


@dataclasses.dataclass
class OpenData(Message):
    """Show the clips file of ``run``."""

    run: RunDirectory


@dataclasses.dataclass
class OpenComparison(Message):
    """Show ``runs`` beside each other."""

    runs: Sequence[RunDirectory]


@dataclasses.dataclass
class OpenGallery(Message):
    """Show the clips of the first of ``runs``, with those of the others beside them."""

    runs: Sequence[RunDirectory]


@dataclasses.dataclass
class OpenPresets(Message):
    """Show the presets, of which one begins a new run; ``data`` is its clips file, where that is known."""

    data: str = ""


@dataclasses.dataclass
class OpenPrepare(Message):
    """Show what makes a clips file of videos, such as ``wanted`` asks for."""

    wanted: DatasetSection | None = None


@dataclasses.dataclass
class DataPrepared(Message):
    """Tell that the clips file ``path`` is to be the data of the new run."""

    path: str


@dataclasses.dataclass
class OpenForm(Message):
    """Show ``form``, from which a new run is started."""

    form: Form


@dataclasses.dataclass
class RunCommand(Message):
    """Run `vdtui` with ``arguments`` in a process of its own, whatever screen comes next; ``what`` says it in words."""

    what: str
    arguments: tuple[str, ...]


@dataclasses.dataclass
class RunStarted(Message):
    """Tell that ``run`` was started: its screen takes the place of the form's."""

    run: RunDirectory
