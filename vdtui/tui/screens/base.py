"""The base of all screens: head and notes of their help, short messages, and drawing only when somebody sees it."""

from __future__ import annotations

from typing import ClassVar

from textual.screen import Screen
from textual.widget import Widget

from engine.errors import VdtuiError
from vdtui.tui import words
from vdtui.tui.messages import RunCommand

SAID_SECONDS = 6.0
"""The time for which a short message stays."""


class DashboardScreen(Screen[None]):
    """A screen of the dashboard; ``HEADING`` and ``NOTES`` stand over and under the keys in its help."""

    SCREEN: ClassVar[str]
    """Its name in the table of keys."""
    HEADING: ClassVar[str] = "keys"
    NOTES: ClassVar[tuple[str, ...]] = ()

    @property
    def shown(self) -> bool:
        """Tell whether drawing makes sense: not beneath another screen, without a size, or while all closes."""
        return self.is_current and self.app.is_running and self.is_running and bool(self.size.width)

    def say(self, text: str, warn: bool = False, seconds: float = SAID_SECONDS) -> None:
        """Show a short message in the corner; its text is never markup."""
        severity = "warning" if warn else "information"
        self.app.notify(words.plain(text), severity=severity, timeout=seconds, markup=False)  # type: ignore[arg-type]

    def useful(self, action: str) -> bool:
        """Tell whether ``action`` can do something at present, and so has a place in the line of keys."""
        return True

    def scrolled(self) -> Widget:
        """The widget in which the keys that scroll move."""
        raise NotImplementedError

    def action_scroll(self, where: str) -> None:
        """Scroll ``up``, ``down``, to ``home`` or to the ``end``."""
        getattr(self.scrolled(), f"scroll_{where}")(animate=False)

    def copy(self, text: str) -> None:
        """Put ``text`` on the clipboard, through the terminal (OSC 52): also over SSH, where the terminal lets us."""
        self.app.copy_to_clipboard(text)
        self.say(f"Copied: {text}")

    def run_command(self, what: str, *arguments: str) -> None:
        """Run `vdtui` with ``arguments`` in a process of its own; screens say ``what`` goes on, and how it ended."""
        self.app.post_message(RunCommand(what, arguments))

    def say_error(self, error: Exception) -> None:
        """Show what went wrong, and its remedy where it has one."""
        self.say(f"{error} {error.hint}" if isinstance(error, VdtuiError) else str(error), warn=True)
