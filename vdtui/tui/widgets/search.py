"""The line in which one types what to look for: in the log, or among classes."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input


class SearchLine(Input):
    """Hidden until ``open``; says ``Sought`` with each letter, and once more, ``done``, with enter."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "All of the log", show=False)]

    @dataclasses.dataclass
    class Sought(Message):
        """The text that is looked for; ``done`` when typing has ended."""

        text: str
        done: bool

    def __init__(self, hint: str = "search the log: enter keeps it, escape ends it", **kwargs: Any) -> None:
        super().__init__(placeholder=hint, compact=True, **kwargs)
        self.display = False

    def open(self) -> None:
        """Show the line and type in it."""
        self.display = True
        self.screen.set_focus(self)  # at once: letters may follow

    def close(self) -> bool:
        """Forget what was looked for; whether there was anything to close."""
        if not self.display:
            return False
        self.display = False
        self.value = ""
        self.post_message(self.Sought("", True))
        return True

    def on_input_changed(self, event: Input.Changed) -> None:
        """Look while typing."""
        event.stop()
        if self.display:
            self.post_message(self.Sought(self.value, False))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep what was found."""
        event.stop()
        if event.value:
            self.post_message(self.Sought(event.value, True))
        else:
            self.close()

    def action_leave(self) -> None:
        """Show everything again."""
        self.close()
