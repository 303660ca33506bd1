"""One value of a preset in the form of a new run: its name, where it is typed or chosen, and a word beside it."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Select, Static

from vdtui.tui.form import FormField
from vdtui.tui.widgets.lines import Lines


class FieldRow(Horizontal):
    """The field ``field`` with ``text`` in it; tells of every change, and when it is looked at."""

    class Changed(Message):
        """``text`` stands in the field ``key`` now."""

        def __init__(self, key: str, text: str) -> None:
            super().__init__()
            self.key, self.text = key, text

    class Looked(Message):
        """The user came to the field ``key``."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, field: FormField, text: str, title: str = "") -> None:
        super().__init__(classes="field")
        self.field = field
        self.editor = _editor(field, text)
        # Made here and not in compose: what is said may be said before the row is on the screen.
        self._note = Lines(classes="note")
        self._heading = title or field.name

    def compose(self) -> ComposeResult:
        """Name, editor, note."""
        yield Static(self._heading, classes="name", markup=False)
        yield self.editor
        yield self._note

    @property
    def text(self) -> str:
        """The text in the field as it is now."""
        return str(self.editor.value)

    def put(self, text: str) -> None:
        """Show ``text`` in the field."""
        if self.editor.value != text:
            self.editor.value = text

    def say(self, note: str, style: str) -> None:
        """A word beside the field."""
        self._note.put(Text(note, style, no_wrap=True, overflow="ellipsis"))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Pass on what was typed."""
        event.stop()
        self.post_message(self.Changed(self.field.key, self.text))

    def on_select_changed(self, event: Select.Changed) -> None:
        """Pass on what was chosen."""
        event.stop()
        self.post_message(self.Changed(self.field.key, self.text))

    def on_descendant_focus(self) -> None:
        """Tell that the user is here."""
        self.post_message(self.Looked(self.field.key))


def _editor(field: FormField, text: str) -> Input | Select[str]:
    """Make the box in which the value is typed, or chosen where there are few."""
    if field.choices and not field.many and text in field.choices:
        return Select([(choice, choice) for choice in field.choices], value=text, allow_blank=False, compact=True)
    return Input(text, placeholder="unset" if field.optional else "", compact=True)
