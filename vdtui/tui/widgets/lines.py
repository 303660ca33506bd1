"""A panel of text that repaints only when its text changes."""

from __future__ import annotations

from typing import Any

from rich.text import Text
from textual.widgets import Static


class Lines(Static):
    """``put`` replaces the text; the size of the panel does not depend on it, unless ``flows``."""

    def __init__(self, flows: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._flows = flows
        self._text: Text | None = None

    def put(self, text: Text) -> None:
        """Show ``text``; nothing happens if it is the present one."""
        # Text's equality covers characters and spans, but not the base style.
        if self._text is None or text != self._text or text.style != self._text.style:
            self._text = text
            self.update(text, layout=self._flows)
