"""The line of keys at the foot of a screen: those that are of use now, as many as fit, each to be clicked too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.style import Style
from rich.text import Text
from textual.screen import Screen
from textual.widgets import Input

from vdtui.tui import keys
from vdtui.tui.widgets.lines import Lines

LAST = ("app.help", "app.leave", "app.pop_screen", "back")
"""Ways to learn more, and out: they stay where the line is too short for all."""


class KeyLine(Lines):
    """The keys of ``screen``; ``useful`` tells of an action whether it can do something at present."""

    def __init__(self, screen_name: str, useful: Callable[[str], bool], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._screen_name, self._useful = screen_name, useful

    def on_mount(self) -> None:
        """Follow the focus: where one types, letters are letters."""
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)
        self.show()

    def on_resize(self) -> None:
        """Choose what fits."""
        self.show()

    def _bindings_changed(self, screen: Screen[object]) -> None:
        self.show()

    def show(self) -> None:
        """Show the keys that are of use now."""
        entries = keys.foot(self._screen_name, self._useful)
        if isinstance(self.screen.focused, Input):
            entries = [entry for entry in entries if len(entry[0]) > 1 or not entry[0].isascii()]
        colours = self.app.theme_variables
        text = Text(no_wrap=True, overflow="crop")
        for sign, label, action in fitting(entries, self.size.width):
            name = action if action.startswith("app.") else f"screen.{action}"
            click = Style.from_meta({"@click": name})
            text.append(f" {sign} ", Style.parse(f"bold {colours['primary']}") + click)
            text.append(f"{label} ", Style.parse(colours["foreground"]) + click)
        self.put(text)


def fitting(entries: list[tuple[str, str, str]], width: int) -> list[tuple[str, str, str]]:
    """Leave out the latest entries that are no way out until the rest fits into ``width`` cells."""
    kept = list(entries)
    while sum(len(sign) + len(label) + 3 for sign, label, _ in kept) > width:
        spare = [entry for entry in kept if entry[2] not in LAST]
        if not spare:
            break
        kept.remove(spare[-1])
    return kept
