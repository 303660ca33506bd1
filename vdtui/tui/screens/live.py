"""What the screens that follow something share: to draw only when somebody can see it."""

from __future__ import annotations

from textual.screen import Screen


class LiveScreen(Screen[None]):
    """A screen that is updated from a worker."""

    @property
    def shown(self) -> bool:
        """Whether drawing makes sense: not beneath another screen, without a size, or while all is being closed."""
        return self.is_current and self.app.is_running and self.is_running and bool(self.size.width)
