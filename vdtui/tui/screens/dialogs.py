"""The dialogs: help, and the question before a run is stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from vdtui.tui import words


class HelpScreen(ModalScreen[None]):
    """The keys of the screen below, and a few words on what it shows."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter,space", "dismiss", "Close")]

    def __init__(self, title: str, keys: Sequence[tuple[str, str]], notes: Sequence[str]) -> None:
        super().__init__()
        self._heading, self._keys, self._notes = title, keys, notes

    def compose(self) -> ComposeResult:
        """One box with a table of keys."""
        colours = self.app.theme_variables
        text = Text()
        for key, meaning in self._keys:
            text.append(f"{key:>12}", f"bold {colours['primary']}").append(f"   {meaning}\n")
        for note in self._notes:
            text.append(f"\n{note}", colours["text-muted"])
        with Vertical(classes="dialog") as box:
            box.border_title = Text(self._heading)
            box.border_subtitle = Text("escape closes")
            yield Static(text)


class ConfirmStop(ModalScreen[bool]):
    """Asks before stopping a run; the answer is True for stop. Escape and enter at once both keep it running."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "answer(False)", "Keep running"),
        Binding("y", "answer(True)", "Stop"),
        Binding("left,right,up,down", "app.focus_next", show=False),
    ]
    AUTO_FOCUS = "#keep"

    def __init__(self, name: str) -> None:
        super().__init__()
        self._run_name = words.plain(name)

    def compose(self) -> ComposeResult:
        """The question and two buttons."""
        colours = self.app.theme_variables
        text = Text.assemble(
            "It finishes its present step, saves its state and ends: no work is lost.\nIt goes on later with ",
            (f"vdtui resume {self._run_name}", f"bold {colours['primary']}"),
        )
        with Vertical(classes="dialog") as box:
            box.border_title = Text(f"Stop {words.short(self._run_name, 40)}?")
            yield Static(text)
            with Horizontal(classes="buttons"):
                yield Button("Keep running (esc)", id="keep", compact=True)
                yield Button("Stop it (y)", id="stop", variant="warning", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with the button."""
        self.dismiss(event.button.id == "stop")

    def action_answer(self, stop: bool) -> None:
        """Answer with a key."""
        self.dismiss(stop)
