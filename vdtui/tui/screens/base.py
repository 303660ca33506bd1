"""The base of all screens: head and notes of their help, short messages, and drawing only when somebody sees it."""

from __future__ import annotations

from typing import ClassVar

from textual.screen import Screen

from engine.errors import VdtuiError
from vdtui.tui import words

SAID_SECONDS = 6.0
"""The time for which a short message stays."""


class DashboardScreen(Screen[None]):
    """A screen of the dashboard; ``HEADING`` and ``NOTES`` stand over and under the keys in its help."""

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

    def say_error(self, error: Exception) -> None:
        """Show what went wrong, and its remedy where it has one."""
        self.say(f"{error} {error.hint}" if isinstance(error, VdtuiError) else str(error), warn=True)
