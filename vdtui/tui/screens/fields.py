"""Screens on which one types values into fields: how tab and enter go from one field to the next."""

from __future__ import annotations

from textual.widget import Widget
from textual.widgets import Input

from vdtui.tui.screens.base import DashboardScreen
from vdtui.tui.widgets.fields import FieldRow


class FieldsScreen(DashboardScreen):
    """A screen of ``FieldRow``s; ``OTHERS`` selects what else tab comes to, after the fields."""

    OTHERS = "#files, #start, #sections"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let enter choose in lists and press buttons; it goes to the next field from one that is typed in."""
        return isinstance(self.focused, Input) if action == "next_field" else True

    def action_next_field(self) -> None:
        """Go on from a field that is typed in."""
        self.action_field(1)

    def action_field(self, by: int) -> None:
        """Go to the next or the last field: by their order, which Textual knows only once they are laid out."""
        stops: list[Widget] = [row.editor for row in self.query(FieldRow)]
        stops += [widget for widget in self.query(self.OTHERS) if widget.focusable]
        inside = set(self.focused.ancestors_with_self) if self.focused is not None else set()
        at = next((place for place, stop in enumerate(stops) if stop in inside), -1)
        self.set_focus(stops[(at + by) % len(stops)])

    def put(self, key: str, text: str) -> None:
        """Show ``text`` in the field ``key``."""
        for row in self.query(FieldRow):
            if row.field.key == key:
                row.put(text)
