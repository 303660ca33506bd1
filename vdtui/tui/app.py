"""The dashboard as an application: its themes, its screens, its command palette, and how it is left.

It only reads run directories and writes their ``control.json``. The runs themselves live in other processes, so
that leaving it, or losing the terminal it runs in, never touches them.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.theme import Theme
from textual.widget import Widget
from textual.widgets import Input

from engine.errors import RunError
from engine.runs import ALIVE, RunDirectory, find_run
from vdtui.charset import takes_utf8
from vdtui.tui import keys, themes, words
from vdtui.tui.messages import (
    DataPrepared,
    OpenComparison,
    OpenData,
    OpenForm,
    OpenGallery,
    OpenPrepare,
    OpenPresets,
    OpenRun,
    RunCommand,
    RunStarted,
)
from vdtui.tui.screens.base import DashboardScreen
from vdtui.tui.screens.dialogs import HelpScreen
from vdtui.tui.screens.runs import RunsScreen
from vdtui.tui.widgets.workline import WorkLine

BELL = "VDTUI_BELL"
"""The variable with which the bell rings when runs end; the key ``B`` turns it on and off."""
COMMAND_SECONDS = 12.0
"""The time for which the end of a command stays on the screen."""


class VdtuiApp(App[None]):
    """All runs in ``runs_folder``, or at once the run ``run`` (a name in it, or a path).

    ``clock`` gives Unix seconds; ``driver_class`` draws, if not textual's own. Raises UsageError if the run does not
    exist.
    """

    CSS_PATH = "app.tcss"
    TITLE = "vdtui"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "help", "Help", key_display="?", show=False),
        Binding("ctrl+q", "leave", "Leave", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False),  # as everything else in a shell does
    ]

    def __init__(
        self,
        runs_folder: Path,
        run: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
        driver_class: type[Driver] | None = None,
    ) -> None:
        super().__init__(driver_class)
        self._runs_folder = runs_folder
        self._first = find_run(runs_folder, run) if run is not None else None
        self._clock = clock
        self.rings = os.environ.get(BELL, "") not in ("", "0")
        """True if the bell rings when a run ends."""
        self.work: dict[str, float] = {}
        """The commands that go on, in words, and when each began (monotonic seconds)."""
        for theme in themes.THEMES:
            self.register_theme(theme)
        self.theme = themes.chosen()  # here and not later: each change of it parses all style sheets anew

    def get_default_screen(self) -> RunsScreen:
        """The runs screen is always beneath."""
        return RunsScreen(self._runs_folder, self._clock)

    def on_mount(self) -> None:
        """Open the run that was asked for."""
        self.animation_level = "none"
        self.theme_changed_signal.subscribe(self, self._recolour)
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))  # after Ctrl+Z and fg
        if self._first is not None:
            self.open_run(self._first)

    # --- screens, imported when they are wanted: curves need numpy, and the table of runs does not -------------------

    def open_run(self, run: RunDirectory) -> None:
        """Show the screen of ``run``."""
        from vdtui.tui.screens.run import RunScreen

        self.push_screen(RunScreen(run, self._clock))

    def on_open_run(self, request: OpenRun) -> None:
        """Open a run from the table."""
        self.open_run(request.run)

    def on_open_data(self, request: OpenData) -> None:
        """Open the clips file of a run."""
        from vdtui.tui.clips import clips_file
        from vdtui.tui.screens.data import DataScreen

        self.push_screen(DataScreen(clips_file(request.run)))

    def on_open_comparison(self, request: OpenComparison) -> None:
        """Open the comparison of some runs."""
        from vdtui.tui.screens.compare import CompareScreen

        self.push_screen(CompareScreen(request.runs))

    async def on_open_gallery(self, request: OpenGallery) -> None:
        """Open the gallery of a run, or of several side by side."""
        from vdtui.tui.clips import RealClips, frame_interval
        from vdtui.tui.screens.gallery import GalleryScreen, OtherSet, saved_previews

        first, *rest = request.runs
        saved = await asyncio.to_thread(lambda: [saved_previews(run.previews) for run in request.runs])
        others = [
            OtherSet(run.name, run.previews, found[-1][2]) for run, found in zip(rest, saved[1:], strict=True) if found
        ]
        real, interval = RealClips(first), frame_interval(first)
        self.push_screen(GalleryScreen(first.previews, saved[0], real=real, interval=interval, others=others))

    def on_open_presets(self, request: OpenPresets) -> None:
        """Open the choice of a preset."""
        from vdtui.tui.screens.presets import PresetScreen

        self.push_screen(PresetScreen(request.data))

    def on_open_prepare(self, request: OpenPrepare) -> None:
        """Open what makes a clips file of videos."""
        from engine.config.schema import DatasetSection
        from vdtui.tui.screens.prepare import PrepareScreen

        folders = [Path(), Path("data"), self._runs_folder.parent]
        self.push_screen(PrepareScreen(request.wanted or DatasetSection(), folders))

    def on_data_prepared(self, request: DataPrepared) -> None:
        """Go back to the form with the new clips file; from the runs, on to the presets."""
        self.pop_screen()
        take = getattr(self.screen, "take_data", None)
        if callable(take):
            take(request.path)
        else:
            self.post_message(OpenPresets(request.path))

    def on_open_form(self, request: OpenForm) -> None:
        """Open the form of a new run."""
        from vdtui.tui.screens.new import NewRunScreen

        self.push_screen(NewRunScreen(request.form, self._runs_folder))

    def on_run_started(self, request: RunStarted) -> None:
        """Show the run in place of the screens that led to it."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.open_run(request.run)

    # --- commands that go on while one looks at something else -------------------------------------------------------

    def on_run_command(self, request: RunCommand) -> None:
        """Run a command; the line of work of each screen says that it goes on."""
        self.run_worker(self._run_command(request), group="commands")

    async def _run_command(self, request: RunCommand) -> None:
        from vdtui.tui.commands import run_vdtui

        self.work[request.what] = time.monotonic()
        self._show_work()
        try:
            done = await asyncio.to_thread(run_vdtui, *request.arguments)
        finally:
            self.work.pop(request.what, None)
            self._show_work()
        text = words.plain(done.problem or done.out or done.said)
        severity: SeverityLevel = "warning" if done.problem else "information"
        self.notify(text, severity=severity, timeout=COMMAND_SECONDS, markup=False)

    def _show_work(self) -> None:
        for screen in self.screen_stack:
            for line in screen.query(WorkLine):
                line.show(self.work)

    # --- keys in their order -----------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """Take keys in the order in which they were typed.

        Textual hands a key to the widget that has the focus, and acts on what nobody has taken when it has bubbled up
        to here, some turns of the event loop later; meanwhile the next letters land in the old field, and a backspace
        takes away the letter that was typed after it. So what is bound is done here at once, after what was typed
        before it.
        """
        if isinstance(event, events.Key) and not event.is_forwarded and await self._acted(event):
            return
        await super().on_event(event)

    async def _acted(self, event: events.Key) -> bool:
        """Do what the key is bound to; False for what is typed, and for keys that are bound to nothing."""
        if not self.screen_stack:  # it is being left
            return False
        focused = self.focused
        if focused is not None and focused.check_consume_key(event.key, event.character):
            return False
        if isinstance(focused, Input):
            typed = asyncio.Event()
            if focused.call_later(typed.set):  # behind the letters that are waiting in its queue
                await typed.wait()
        return await self._check_bindings(event.key, priority=True) or await self._check_bindings(event.key)

    # --- what all screens have ---------------------------------------------------------------------------------------

    def _recolour(self, theme: Theme) -> None:
        """Texts and curves carry colours of their own: they are drawn anew, as after a change of size."""
        for screen in self.screen_stack:
            recolour = getattr(screen, "recolour", None)
            if callable(recolour):
                screen.call_later(recolour)  # after its widgets are there, should it only be opening now
            else:
                for node in (screen, *screen.walk_children(Widget)):
                    node.post_message(events.Resize(node.size, screen.size))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """List the commands of the palette: all that this screen's keys do, the themes, help and leaving."""
        for names, use in keys.uses(screen.SCREEN) if isinstance(screen, DashboardScreen) else []:
            title = use.effect[:1].upper() + use.effect[1:]
            yield SystemCommand(title, f"key {keys.signs(names)}", partial(self._act, screen, use.action))
        for name, title in themes.TITLES.items():
            if name != self.theme:
                yield SystemCommand(f"Theme: {title}", "colours", partial(self._take_theme, name))
        yield SystemCommand("Help", "the keys of this screen", self.action_help)
        yield SystemCommand("Leave", "the dashboard; runs go on", self.action_leave)

    async def _act(self, screen: Screen[object], action: str) -> None:
        await self.run_action(action, default_namespace=screen)

    def _take_theme(self, name: str) -> None:
        self.theme = name

    def action_help(self) -> None:
        """The keys of the present screen."""
        screen = self.screen
        if isinstance(screen, DashboardScreen):  # a dialog explains itself
            self.push_screen(HelpScreen(screen.HEADING, keys.help_rows(screen.SCREEN), screen.NOTES))

    def action_suspend_process(self) -> None:
        """Ctrl+Z, where the shell can bring the dashboard back; elsewhere the terminal would be stuck."""
        if has_job_control():
            super().action_suspend_process()
        else:
            self.notify("No shell here could bring it back. q leaves; runs go on.", severity="warning")

    def action_leave(self) -> None:
        """End the dashboard, and say below it what goes on."""
        run = next((found for screen in self.screen_stack if (found := getattr(screen, "run", None))), None)
        alive = isinstance(run, RunDirectory) and _lives(run)
        name = words.plain(run.name) if isinstance(run, RunDirectory) else ""
        message = f"The run {name} goes on. Look at it again with: vdtui monitor {name}" if alive else None
        self.exit(message=Text(message) if message else None)


def has_job_control() -> bool:
    """Tell whether a shell started this process as a job of its own: not so under `ssh host vdtui`, or a wrapper."""
    parent = os.getppid()
    try:
        return os.getsid(parent) == os.getsid(0) and os.getpgid(parent) != os.getpgrp()
    except OSError:  # it is another user's, or gone
        return False


def _lives(run: RunDirectory) -> bool:
    try:
        return run.state() in ALIVE
    except RunError:
        return False


def run_dashboard(runs_folder: Path, run: str | None = None) -> None:
    """Show the dashboard until the user leaves it; raises UsageError if there is no such run."""
    from vdtui.tui.plain_driver import PlainDriver

    assert sys.__stdout__ is not None
    VdtuiApp(runs_folder, run, driver_class=None if takes_utf8(sys.__stdout__) else PlainDriver).run()
