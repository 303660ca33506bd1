"""The dashboard as an application: its theme, its screens, and how it is left.

It only reads run directories and writes their ``control.json``. The runs themselves live in other processes, so
that leaving it, or losing the terminal it runs in, never touches them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.text import Text
from textual.app import App
from textual.theme import Theme

from engine.errors import RunError
from engine.runs import ALIVE, RunDirectory, find_run
from vdtui.tui import words
from vdtui.tui.screens.runs import RunsScreen, run_screen

THEME = Theme(
    name="vdtui",
    primary="#7cc4ff",
    secondary="#b9a5ff",
    accent="#ffb86b",
    success="#8fd694",
    warning="#ffc66d",
    error="#ff7b80",
    foreground="#d8dee9",
    background="#10131a",
    surface="#161b24",
    panel="#212938",
    dark=True,
    variables={
        "text-muted": "#8b97ab",
        "text-disabled": "#465063",
        "border": "#3a4559",
        "border-blurred": "#2b3445",
        "footer-key-foreground": "#7cc4ff",
        "footer-background": "#161b24",
        "footer-description-foreground": "#aeb8c9",
        "scrollbar": "#2b3445",
        "scrollbar-background": "#161b24",
        "scrollbar-hover": "#465063",
        "scrollbar-active": "#7cc4ff",
    },
)


class VdtuiApp(App[None]):
    """All runs in ``runs_folder``, or at once the run ``run`` (a name in it, or a path).

    ``clock`` gives Unix seconds. Raises UsageError if there is no such run.
    """

    CSS_PATH = "app.tcss"
    TITLE = "vdtui"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, runs_folder: Path, run: str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._runs_folder = runs_folder
        self._first = find_run(runs_folder, run) if run is not None else None
        self._clock = clock

    def on_mount(self) -> None:
        """Open the first screen; the runs screen is always beneath."""
        self.register_theme(THEME)
        self.theme = THEME.name
        self.animation_level = "none"
        self.push_screen(RunsScreen(self._runs_folder, self._clock))
        if self._first is not None:
            self.push_screen(run_screen(self._first, self._clock))

    def action_leave(self) -> None:
        """End the dashboard, and say below it what goes on."""
        run = next((found for screen in self.screen_stack if (found := getattr(screen, "run", None))), None)
        alive = isinstance(run, RunDirectory) and _lives(run)
        name = words.plain(run.name) if isinstance(run, RunDirectory) else ""
        message = f"The run {name} goes on. Look at it again with: vdtui monitor {name}" if alive else None
        self.exit(message=Text(message) if message else None)


def _lives(run: RunDirectory) -> bool:
    try:
        return run.state() in ALIVE
    except RunError:
        return False


def run_dashboard(runs_folder: Path, run: str | None = None) -> None:
    """Show the dashboard until the user leaves it; raises UsageError if there is no such run."""
    VdtuiApp(runs_folder, run).run()
