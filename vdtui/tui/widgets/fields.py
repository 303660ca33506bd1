"""One value of a preset in the form of a new run: its name, where it is typed or chosen, and a word beside it."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
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
        self._text = text
        self._heading = title or field.name

    def compose(self) -> ComposeResult:
        """Name, editor, note."""
        yield Static(self._heading, classes="name", markup=False)
        yield self._editor()
        yield Lines(classes="note")

    def _editor(self) -> Widget:
        field = self.field
        if field.choices and not field.many and self._text in field.choices:
            options = [(choice, choice) for choice in field.choices]
            return Select(options, value=self._text, allow_blank=False, compact=True)
        return Input(self._text, placeholder="unset" if field.optional else "", compact=True)

    @property
    def editor(self) -> Input | Select[str]:
        """Where the value is typed or chosen."""
        chosen = self.query(Select)
        return chosen.first() if chosen else self.query_one(Input)

    def put(self, text: str) -> None:
        """Show ``text`` in the field."""
        editor = self.editor
        if editor.value != text:
            editor.value = text

    def say(self, note: str, style: str) -> None:
        """A word beside the field."""
        self.query_one(Lines).put(Text(note, style, no_wrap=True, overflow="ellipsis"))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Pass on what was typed."""
        event.stop()
        self.post_message(self.Changed(self.field.key, event.value))

    def on_select_changed(self, event: Select.Changed) -> None:
        """Pass on what was chosen."""
        event.stop()
        self.post_message(self.Changed(self.field.key, str(event.value)))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes on to the next field."""
        event.stop()
        self.screen.focus_next()

    def on_descendant_focus(self) -> None:
        """Tell that the user is here."""
        self.post_message(self.Looked(self.field.key))
